-- One call, over and over; with SOURCES_FROM each call from a source of its own, counted up from there; with PAUSE each connection waits so
-- many milliseconds before a call, in the mean.
local file = assert(io.open(os.getenv("BODY"), "rb"))
wrk.method, wrk.body = "POST", file:read("*a")
file:close()
for line in os.getenv("HEADERS"):gmatch("[^\n]+") do
    local name, value = line:match("^([^:]+): (.*)$")
    wrk.headers[name] = value
end

local source = tonumber(os.getenv("SOURCES_FROM") or "")
if source then
    request = function()
        wrk.headers["x-eliza-source"] = "agent-" .. source
        source = source + 1
        return wrk.format()
    end
end

local pause = tonumber(os.getenv("PAUSE") or "")
if pause then
    delay = function()
        return math.random(0, 2 * pause)
    end
end
