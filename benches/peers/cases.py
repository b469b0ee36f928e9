"""What the side-by-side run measures: each case starts what it needs, prints its table and says what went wrong."""

import hashlib
import json
import random
import sqlite3
import statistics
import time
from contextlib import ExitStack

import load
import machine
import postgres
import proxies
from program import PATH, call_headers
from proxies import Call, Contestant, Cores
from sheet import LARGE, SMALL


def allowed(run):
    """calls that pass: 500 B and 64 KB"""
    with ExitStack() as stack:
        contestants, _ = run.stage(stack)
        for name, body in [("500 B", SMALL), ("64 KB", LARGE)]:
            run.title(f"A call of {name}")
            run.measure(contestants, Call(body), headline=True)


def body(file, size):
    """A call of about this many bytes: many strings, as agents send them, the same ones every time."""
    chance, words = random.Random(size), "memory value market thread vector plan recent agent prepare entry".split()
    payload = {"agent_id": "7f3b1c9e-5a52-4a0e-9a55-0f6a1d2f9b11", "items": []}
    while size > 0:
        item = {"k": " ".join(chance.choices(words, k=2)), "v": " ".join(chance.choices(words, k=12)), "n": chance.randrange(1000)}
        payload["items"].append(item)
        size -= len(json.dumps(item)) + 2
    file.write_text(json.dumps({"target": "brain", "action": "store_memory", "operation": "create", "payload": payload}))
    return file


def bodies(run):
    """bodies from 0.5 KB to 8 MB: what a byte costs"""
    with ExitStack() as stack:
        contestants, _ = run.stage(stack)
        contestants = [one for one in contestants if one.name in ("nginx", "gatekeeper")]
        costs = []
        for size in [250, 4_000, 32_000, 256_000, 1_000_000, 8_000_000]:
            file = body(run.new("body"), size)
            run.title(f"A call of {file.stat().st_size:,} B")
            # As many at once as are answered within a run: one that is cut off at its end has cost something, too, and is not counted.
            crowd = 64 if size < 100_000 else 16 if size < 1_000_000 else 4 if size < 8_000_000 else 1
            costs.append((file.stat().st_size, run.measure(contestants, Call(file), connections=crowd)["gatekeeper"]["cpu"]))
        run.title("The gatekeeper, by the byte")
        run.say("| bytes | CPU µs a call | ns a byte beyond the smallest |\n|---|---|---|")
        for size, cost in costs:
            each = f"{(cost - costs[0][1]) / (size - costs[0][0]) * 1e3:.2f}" if size > costs[0][0] else ""
            run.say(f"| {size:,} | {cost:.1f} | {each} |")


def refusals(run):
    """a wrong key, and a limit used up"""
    with ExitStack() as stack:
        contestants, _ = run.stage(stack)
        contestants = [one for one in contestants if one.name != "floor"]  # it refuses nothing
        run.title("Refused: a wrong key")
        run.measure(contestants, Call(SMALL, 401, call_headers(key="x" * 40)), headline=True)
        run.title("Refused: over the limit")
        spent = Call(SMALL, 429, call_headers(source="spent"))
        for one in contestants:  # the first calls use up the limit
            for _ in range(3):
                proxies.probe(one, spent)
        run.measure([one for one in contestants if one.name != "caddy"], spent, headline=True)


def workers(run):
    """two workers, on all cores that load and target use too"""
    with ExitStack() as stack:
        cores = Cores(None, None, 2)
        contestants, _ = run.stage(stack, cores)
        run.title("A call of 500 B, two workers each, nothing pinned")
        run.measure(contestants, Call(SMALL), cores)


def stores(run):
    """records in SQLite and in PostgreSQL"""
    with ExitStack() as stack:
        cores = Cores()
        contestants, target = run.stage(stack, cores)
        contestants = [one for one in contestants if one.name in ("nginx", "gatekeeper")]
        programs = postgres.programs()
        if programs is None:
            run.say("PostgreSQL's server is not here, and left out.\n")
        else:
            database = stack.enter_context(postgres.Postgres(programs, run.new("postgres"), cores.load))
            other = proxies.gatekeeper(stack, run.options.gatekeeper, run.new("gatekeeper"), cores, target, database=database.url)
            contestants.append(Contestant.gatekeeper(other, "gatekeeper, PostgreSQL"))
        run.title("A call of 500 B; gatekeeper alone is on SQLite")
        run.measure(contestants, Call(SMALL))


def connections(run):
    """10,000 connections that are kept open without a call"""
    number = run.options.connections
    with ExitStack() as stack:
        cores = Cores()
        target = proxies.backend(stack, run.new("backend"), cores)
        there, _ = proxies.peers(stack, run.new("peers"), cores, target)
        bounds = {"GATEKEEPER_MAX_CONNECTIONS": number + 1000, "GATEKEEPER_MAX_CONNECTIONS_PER_NETWORK": number + 1000}
        ours = proxies.gatekeeper(stack, run.options.gatekeeper, run.new("gatekeeper"), cores, target, GATEKEEPER_IDLE_SECONDS=900, **bounds)
        run.title(f"{number:,} idle connections")
        run.say("| | MiB before | with them | peak | KiB a connection | a call meanwhile, ms |\n|---|---|---|---|---|---|")
        for one in [*there, Contestant.gatekeeper(ours)]:
            pids, call = machine.family(one.pids), Call(SMALL)
            proxies.probe(one, call)
            machine.settled(pids)
            before = machine.memory_mib(pids)
            crowd = load.Crowd(one.port, PATH, call, number)
            try:
                machine.settled(pids)
                within, began = machine.memory_mib(pids), time.monotonic()
                answered = proxies.probe(one, call)
                took = (time.monotonic() - began) * 1e3
                peak, gone = machine.memory_mib(pids, peak=True), crowd.gone()
            finally:
                crowd.close()
            each = (within - before) * 1024 / number
            run.say(f"| {one.name} | {before:.0f} | {within:.0f} | {peak:.0f} | {each:.1f} | {took:.1f} |")
            if answered != 200 or gone:
                run.complain(f"{one.name}: a call beside them was answered {answered}, and {gone} of them were ended")


# Milliseconds that each of 64 connections waits before a call: some 5,000 calls a second, a third of what the core can do.
PACE = 12


def sources(run):
    """1,000,000 different sources that one pattern lets in"""
    number = run.options.sources

    def any_name(rules, _):
        # Each source has two counts, and those a pattern lets in get half of all there may be. None is let go of while this goes on.
        pattern = f'[[source]]\nnames = ["agent-*"]\ntier = "hourly"\n\n[limits]\nbuckets = {number * 8}\n'
        (rules / "sources.toml").write_text(pattern + '\n[tiers.hourly]\nlimit = ["4000000000/1h"]\nburst = "off"\n')

    with ExitStack() as stack:
        cores = Cores()
        target = proxies.backend(stack, run.new("backend"), cores)
        ours = proxies.gatekeeper(stack, run.options.gatekeeper, run.new("gatekeeper"), cores, target, any_name, GATEKEEPER_LONGEST_WAIT_MS=0)
        one, call, at = Contestant.gatekeeper(ours), Call(SMALL), 100
        run.title(f"{number:,} sources")
        load.wrk(one, call, 2, cores)
        before, there = machine.memory_mib(one.pids), 0

        def calls(name, wanted, seconds, is_own, pause=None):
            """Runs of wrk until there were as many calls, or one if it does not matter how many; and a steady caller beside them."""
            nonlocal at
            steady, found = load.Steady(one.port, PATH, call), []
            steady.start()
            while not found or sum(it["calls"] for it in found) < wanted:
                found.append(load.wrk(one, call, seconds, cores, sources_from=at if is_own else None, pause=pause))
                # What is under way when a run ends is not in its number: names go on beyond that.
                at += int(found[-1]["calls"]) + 1000
                if not found[-1]["calls"]:
                    break
            took, made = steady.stop(), sum(it["calls"] for it in found)
            wrong = sum(it["wrong"] for it in found)
            if wrong or steady.wrong or not made:
                run.complain(f"{name}: {wrong:.0f} of {made:.0f} calls went wrong, and of the steady caller {steady.wrong[:5]}")
            return found, made, [took[int(len(took) * part)] * 1e3 for part in (0.5, 0.99)] + [took[-1] * 1e3]

        run.say("| | calls | CPU µs a call | MiB | a steady caller: p50 ms | p99 | slowest |\n|---|---|---|---|---|---|---|")
        for name, wanted in [("one source", 0), ("each its own", number * 0.8)]:
            found, made, (half, most, slowest) = calls(name, wanted, run.options.seconds, wanted > 0)
            cost, memory = statistics.median(it["cpu"] for it in found), machine.memory_mib(one.pids)
            there += made * (wanted > 0)
            run.say(f"| {name} | {made:,.0f} | {cost:.1f} | {memory:.0f} | {half:.2f} | {most:.1f} | {slowest:.1f} |")

        run.title(f"{number:,} sources: what keeps calls waiting")
        run.say("| some 5,000 calls a second | calls | turns: asked | over 1 ms | over 5 ms | a bystander: p99.9 ms | slowest | a steady caller: p50 ms | p99 | slowest |")
        run.say("|---|---|---|---|---|---|---|---|---|---|")
        long = max(number * 0.2 / 5000, run.options.seconds)
        for name in ["nobody", "one source", "each its own"]:
            turns, bystander = load.Turns(ours), load.Bystander(cores, long)
            made, times = 0, [0, 0, 0]
            if name != "nobody":
                _, made, times = calls(name, 0, int(long), name == "each its own", PACE)
            there += made * (name == "each its own")
            late, (milli, five, asked) = [second * 1e3 for second in bystander.late()], turns.longer_than(0.001, 0.005)
            half, most, slowest = times
            run.say(
                f"| {name} | {made:,.0f} | {asked} | {milli} | {five} | {late[0]:.1f} | {late[1]:.1f} "
                f"| {half:.2f} | {most:.1f} | {slowest:.1f} |"
            )
        each = (machine.memory_mib(one.pids) - before) * 1024 * 1024 / there
        run.say(f"\nA source takes {each:.0f} bytes, of {there:,.0f} that are held, what waits to be written included.")


def policy(run):
    """100,000 targets in policy, and 10,000 stored keys"""
    targets, keys = run.options.targets, run.options.keys

    def many_targets(rules, target):
        entry = '[[target]]\nnames = ["brain-{0}"]\nurl = "http://127.0.0.1:{1}/t/{0}"\ncredentials = "none"\n'
        for part in range(0, targets, 5000):
            text = "\n".join(entry.format(number, target) for number in range(part, min(part + 5000, targets)))
            (rules / f"targets-{part:06}.toml").write_text(text)

    def stored(file):
        """Keys as `gatekeeper keys new` stores them: by their hash."""
        rows = ((f"bench-{number}", "bench", hashlib.sha256(f"bench-{number}".encode()).digest()) for number in range(keys))
        with sqlite3.connect(file, timeout=30) as db:
            db.executemany("insert into gatekeeper_keys (id, name, hash, created_at) values (?, ?, ?, '2026-01-01 00:00:00.000000')", rows)
        db.close()

    with ExitStack() as stack:
        cores = Cores()
        target = proxies.backend(stack, run.new("backend"), cores)
        start = lambda folder, **more: proxies.gatekeeper(stack, run.options.gatekeeper, folder, cores, target, **more)  # noqa: E731
        plain, wide = start(run.new("gatekeeper")), start(run.new("gatekeeper"), extend=many_targets)
        # Its database is made by a first start, and its keys are read by a second.
        folder = run.new("gatekeeper")
        start(folder).end()
        stored(folder / "db.sqlite")
        keyed = start(folder)
        names = {"gatekeeper": plain, f"{targets:,} targets": wide, f"{keys:,} keys": keyed}
        contestants = [Contestant.gatekeeper(program, name) for name, program in names.items()]
        run.title(f"{targets:,} targets, {keys:,} keys: the start")
        run.say("| | start, s | MiB |\n|---|---|---|")
        for name, program in names.items():
            run.say(f"| {name} | {program.started_in:.2f} | {machine.memory_mib([program.pid]):.0f} |")
        run.title("A call of 500 B")
        run.measure(contestants, Call(SMALL))
        # One that is far down the lists is found like the first.
        last = run.new("body")
        last.write_text(SMALL.read_text().replace('"brain"', f'"brain-{targets - 1}"'))
        run.title("A call to the last of the targets")
        run.measure(contestants[1:2], Call(last))
        run.title("A call with the last of the keys")
        run.measure(contestants[2:], Call(SMALL, headers=call_headers(key=f"bench-{keys - 1}")))


CASES = {case.__name__: case for case in [allowed, bodies, refusals, workers, stores, connections, sources, policy]}
