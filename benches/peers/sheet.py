"""A run of the side-by-side measurements: its stage, its probes, its tables, and what went wrong."""

import json
import statistics

import load
import machine
import proxies
from program import call_headers
from proxies import DATA, Call, Contestant, Cores

SMALL, LARGE = DATA / "body500.json", DATA / "body64k.json"
# Other work on the measured core beyond this share of it, and a figure is not to be believed.
OTHERS = 0.05


class Run:
    """What the cases share: the options, the folder, and what went wrong so far."""

    def __init__(self, options, folder):
        self.options, self.folder, self.wrong, self.number, self.is_quiet = options, folder, [], 0, True
        self.missing, self.said, self.heading, self.headlines = set(), [], "", []

    def new(self, what):
        self.number += 1
        return self.folder / f"{self.number}-{what}"

    def say(self, line=""):
        self.said.append(line)
        print(line, flush=True)

    def title(self, text):
        self.heading = text
        self.say(f"\n### {text}\n")

    def complain(self, text):
        self.wrong.append(text)
        self.say(f"**{text}**")

    def stage(self, stack, cores=Cores()):
        """The target and every proxy there is, the gatekeeper last."""
        target = proxies.backend(stack, self.new("backend"), cores)
        there, missing = proxies.peers(stack, self.new("peers"), cores, target)
        if set(missing) - self.missing:
            self.missing.update(missing)
            self.say(f"Not here, and left out: {', '.join(missing)}.")
        ours = proxies.gatekeeper(stack, self.options.gatekeeper, self.new("gatekeeper"), cores, target)
        contestants = [*there, Contestant.gatekeeper(ours)]
        self.probe(contestants)
        return contestants, target

    def probe(self, contestants):
        """Nothing is measured that does not refuse what it must."""
        sql = self.new("sql")
        sql.write_text(json.dumps({"target": "brain", "action": "query", "payload": {"sql": "drop table memories"}}))
        for one in contestants:
            expected = {"a good call": Call(SMALL)}
            if one.name != "floor":
                expected["a wrong key"] = Call(SMALL, 401, call_headers(key="x" * 40))
                expected["an unknown source"] = Call(SMALL, 401, call_headers(source="nobody"))
            if one.name.startswith("gatekeeper"):
                expected["destructive SQL"] = Call(sql, 403)
            for what, call in expected.items():
                found = proxies.probe(one, call)
                if found != call.expected:
                    self.complain(f"{one.name}: {what} is answered {found}, not {call.expected}")

    def measure(self, contestants, call, cores=Cores(), base=None, connections=64, headline=False):
        """All in turns, forwards and backwards; the medians, as a table whose ratios are to the base, by default the first."""
        runs, base = {one.name: [] for one in contestants}, base or contestants[0].name
        for one in contestants:  # connections opened, memory touched, caches filled
            load.wrk(one, call, 1, cores, connections)
        for turn in range(self.options.rounds):
            for one in contestants if turn % 2 == 0 else reversed(contestants):
                # A machine that never is quiet is waited for once.
                self.is_quiet = cores.proxy is None or machine.quiet(int(cores.proxy), 20 if self.is_quiet else 1)
                runs[one.name].append(load.wrk(one, call, self.options.seconds, cores, connections))
        middle = {name: {key: statistics.median(run[key] for run in those) for key in those[0]} for name, those in runs.items()}
        others = "" if cores.proxy is None else " others on the core |"
        self.say(f"| | CPU µs a call | × {base} | from – to | calls/s | p50 ms | p99 ms | peak MiB |{others}")
        self.say("|---|---|---|---|---|---|---|---|" + ("---|" if others else ""))
        for name in sorted(middle, key=lambda name: middle[name]["cpu"]):
            it, cpus = middle[name], [run["cpu"] for run in runs[name]]
            disturbed = max(run["others"] for run in runs[name])
            self.say(
                f"| {name} | {it['cpu']:.1f} | {it['cpu'] / middle[base]['cpu']:.2f} | {min(cpus):.1f} – {max(cpus):.1f} | {it['rate']:,.0f} "
                f"| {it['p50'] / 1e3:.2f} | {it['p99'] / 1e3:.2f} | {it['memory']:.0f} |" + (f" {disturbed:.0%} |" if others else "")
            )
        if others and any(run["others"] > OTHERS for those in runs.values() for run in those):
            self.say("\nOther work on the measured core is not small: take these figures again on a quiet machine.")
        for name, those in runs.items():
            wrong = sum(run["wrong"] for run in those)
            if wrong or not all(run["calls"] for run in those):
                self.complain(f"{name}: {wrong:.0f} of {sum(run['calls'] for run in those):.0f} calls were not answered {call.expected}")
        if headline:
            self.headlines.append((self.heading, middle))
        return middle

    def short(self):
        """The tables that are headlines in one: the gatekeeper's cost, and everybody's as ratios to nginx."""
        names = [name for name in ["floor", "haproxy", "caddy"] if any(name in middle for _, middle in self.headlines)]
        yield "| | CPU µs a call | × nginx | " + " | ".join(f"{name} × nginx" for name in names) + " |"
        yield "|---|---|---|" + "---|" * len(names)
        for title, middle in self.headlines:
            ratios = [f"{middle[name]['cpu'] / middle['nginx']['cpu']:.2f}" if name in middle else "" for name in ["gatekeeper", *names]]
            yield f"| {title} | {middle['gatekeeper']['cpu']:.1f} | " + " | ".join(ratios) + " |"
