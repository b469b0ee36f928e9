#!/usr/bin/env python3
"""What a call costs in instructions and allocations, and whether that is what benches/budget.toml says.

    count.py check     counts, compares, exits 1 where it differs by more than the slack, either way
    count.py set       counts and writes the file, and the table in docs/performance.md
    count.py           counts and prints

The shipped binary, whole: `gatekeeper serve` with gates, journal and writer under callgrind, one worker, one connection. Instructions repeat
where times do not, as long as the compiler, the C library and what the processor offers are the same: the file names them, and a check
elsewhere says that it cannot compare, and compares nothing."""

import argparse
import json
import os
import platform
import signal
import sqlite3
import subprocess
import sys
import time
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parent / "support"))
import callgrind  # noqa: E402
import postgres  # noqa: E402
import target  # noqa: E402
from program import BINARY, KEY, PATH, ROOT, Folder, Gatekeeper, policies, written_into  # noqa: E402

BUDGET = HERE.parent / "budget.toml"
DATA = HERE.parent / "data"
SLACK = 0.03
WARM = 100
SQL = json.dumps({"target": "brain", "action": "query", "payload": {"sql": "delete from memories"}}).encode()


def request(body, key=KEY, source="agent"):
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: gatekeeper\r\naccept: */*\r\nuser-agent: bench/1\r\ncontent-type: application/json\r\n"
        f"x-eliza-key: {key}\r\nx-eliza-source: {source}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def scenarios():
    """Name, request, status, calls. The number is part of what is counted: a batch of records costs something of its own."""
    small, large = (DATA / "body500.json").read_bytes(), (DATA / "body64k.json").read_bytes()
    return [
        ("allowed, 500 B", request(small), 200, 2000),
        ("allowed, 64 KB", request(large), 200, 500),
        ("refused, 401, wrong key", request(small, key="x" * len(KEY)), 401, 2000),
        ("refused, 429, source's limit", request(small, source="spent"), 429, 2000),
        ("refused, 403, SQL", request(SQL), 403, 1000),
    ]


class Records:
    """The rows of the calls, counted from outside; and the table held, so that a scenario's records are written at its end."""

    def wait_for(self, number):
        until = time.monotonic() + 120
        while self.count() < number:
            if time.monotonic() > until:
                raise RuntimeError(f"{self.count()} records, not {number}")
            time.sleep(0.05)


class InSqlite(Records):
    def __init__(self, file):
        self.db = sqlite3.connect(file, timeout=60, isolation_level=None)

    def count(self):
        return self.db.execute("select count(*) from eliza_activity_log").fetchone()[0]

    def hold(self):
        self.db.execute("begin immediate")

    def let_go(self):
        self.db.execute("rollback")


class InPostgres(Records):
    def __init__(self, session):
        self.session = session

    def _answered(self, sql):
        self.session.stdin.write(f"{sql};\n")
        return self.session.stdout.readline().strip()

    def count(self):
        return int(self._answered("select count(*) from eliza_activity_log"))

    def hold(self):
        self._answered("begin; lock table eliza_activity_log in exclusive mode; select 'held'")

    def let_go(self):
        self._answered("rollback; select 'let go'")


def count(binary, folder):
    """Instructions and allocations a call, by scenario; and of the first once more, with the records in PostgreSQL."""
    there = target.Target()
    found = counted(binary, folder / "sqlite", there, scenarios(), lambda gatekeeper: InSqlite(gatekeeper.database))
    programs = postgres.programs()
    if programs is None:
        raise RuntimeError("PostgreSQL's server is needed: sh tests/install.sh")
    with postgres.Postgres(programs, folder / "postgres") as server:
        name, *rest = scenarios()[0]
        session = server.session()
        try:
            there_too = [(f"{name}, PostgreSQL", *rest)]
            return found | counted(binary, folder / "beside", there, there_too, lambda _: InPostgres(session), database=server.url)
        finally:
            session.kill()
            session.wait()


def counted(binary, folder, there, scenarios, records_of, **settings):
    folder.mkdir(parents=True)
    rules = policies(HERE / "policies", folder / "policies", there.address)
    out = folder / "callgrind.out"
    # Nothing is shed for being slow: here everything is.
    settings["GATEKEEPER_LONGEST_WAIT_MS"] = 0
    core = min(os.sched_getaffinity(0))
    with Gatekeeper(binary, folder / "gatekeeper", rules, core, callgrind.wrapper(out), patience=120, **settings) as gatekeeper:
        counting = callgrind.Counting(gatekeeper.pid, out)
        records = records_of(gatekeeper)
        caller = target.Caller(gatekeeper.port)
        for _ in range(2):  # the first call of the source with a limit of one
            caller.stream.sendall(request(b"{}", source="spent"))
            caller.answers.message()
        for _, call, status, _ in scenarios:
            caller.calls(call, WARM, status)
        records.wait_for(2 + WARM * len(scenarios))

        # What goes on without calls, by the second: a scenario takes as long as this machine does, and that is none of its cost.
        counting.part()
        began = time.monotonic()
        time.sleep(8)
        waited, idle = time.monotonic() - began, counting.part()

        found = {}
        for name, call, status, calls in scenarios:
            before = records.count()
            counting.part()
            began = time.monotonic()
            # Records come in batches of what has gathered, and what gathers in a tenth of a second under callgrind depends on the
            # machine. Written in one go, batches are as full as where the gatekeeper has much to do, and the same every time.
            records.hold()
            caller.calls(call, calls, status)
            records.let_go()
            records.wait_for(before + calls)
            took = time.monotonic() - began
            part = counting.part()
            found[name] = {
                "instructions": round((part.instructions - idle.instructions * took / waited) / calls),
                "allocations": round((part.allocations - idle.allocations * took / waited) / calls, 1),
            }
            print(f"{name}: {found[name]} in {took:.1f} s", file=sys.stderr)
        return found


def counted_with():
    """What a count depends on besides the code."""
    compiler = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    flags = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "").split()
    features = [flag for flag in ["avx2", "bmi2", "fma", "erms"] if flag in flags]
    return {
        "compiler": compiler,
        "valgrind": subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True).stdout.strip(),
        "libc": " ".join(platform.libc_ver()),
        "cpu": f"{platform.machine()} {' '.join(features)}",
    }


def written(found, given):
    lines = [
        "# What a call costs: user-space instructions, and how often memory is asked for, everything included: gates, journal, record in SQLite where nothing else is said.",
        "# `make budget` counts again and fails where a scenario differs by more than 3 %, dearer or cheaper; `make budget-set` writes this file.",
        "",
        "# Counts hold where these do. `make budget` compares nothing elsewhere, and says so.",
        "[counted_with]",
        *(f'{name} = "{value}"' for name, value in given.items()),
    ]
    for name, cost in found.items():
        lines += ["", f'["{name}"]', *(f"{what} = {number}" for what, number in cost.items())]
    return "\n".join(lines) + "\n"


def compared(found, budget):
    """What is wrong, in sentences."""
    wrong = [f"{name} is in the budget, but nothing counts it" for name in budget if name not in found]
    for name, cost in found.items():
        for what, number in cost.items():
            allowed = budget.get(name, {}).get(what)
            if allowed is None:
                wrong.append(f"{name} has no budget of {what}: make budget-set")
            elif number > allowed * (1 + SLACK):
                wrong.append(f"{name}: {number} {what}, {number / allowed - 1:.1%} more than the {allowed} of the budget")
            elif number < allowed * (1 - SLACK):
                wrong.append(f"{name}: {number} {what}, {1 - number / allowed:.1%} fewer than {allowed}: lower the budget with make budget-set")
    return wrong


def table(found, budget):
    yield "| scenario | instructions | budget | allocations | budget |"
    yield "|---|---|---|---|---|"
    for name, cost in found.items():
        allowed = budget.get(name, {})
        cells = [name] + [source.get(what, "") for what in ("instructions", "allocations") for source in (cost, allowed)]
        yield "| " + " | ".join(f"{cell:,}" if isinstance(cell, (int, float)) else cell for cell in cells) + " |"


def short(found):
    yield "| scenario | instructions | allocations |"
    yield "|---|---|---|"
    for name, cost in found.items():
        yield f"| {name} | {cost['instructions']:,} | {cost['allocations']:,.0f} |"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("what", nargs="?", choices=["check", "set"])
    arguments.add_argument("--gatekeeper", type=Path, default=BINARY, help="the program to count; else target/release/gatekeeper")
    asked = arguments.parse_args()

    # Told to end, it ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    given = counted_with()
    budget = tomllib.loads(BUDGET.read_text()) if BUDGET.exists() else {}
    held_with = budget.pop("counted_with", {})
    if asked.what == "check" and held_with != given:
        print(f"budget: NOT COMPARED. It was counted with {held_with}, and here is {given}.", file=sys.stderr)
        return 0

    with Folder() as folder:
        found = count(asked.gatekeeper.resolve(), folder)
    print("\n".join(table(found, budget)))
    if asked.what == "set":
        BUDGET.write_text(written(found, given))
        written_into(ROOT / "docs/performance.md", "budget", "\n".join(short(found)))
    if asked.what == "check":
        wrong = compared(found, budget)
        print("\n".join(f"budget: {line}" for line in wrong) or "budget: held", file=sys.stderr)
        return 1 if wrong else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
