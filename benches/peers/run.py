#!/usr/bin/env python3
"""The gatekeeper beside other proxies, on this machine: CPU time a call, latency and memory, in turns, medians, as Markdown.

What is measured has one core to itself, load and target the other. CPU time is what /proc says of the processes from the first call until the
last record is written. It is the figure to go by: rates and latencies on two cores are as much the load's as the proxy's."""

import argparse
import datetime
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
from cases import CASES  # noqa: E402
from program import BINARY, ROOT, Folder, written_into  # noqa: E402
from sheet import Run  # noqa: E402


def options():
    cases = "\n".join(f"  {name:12} {case.__doc__}" for name, case in CASES.items())
    parser = argparse.ArgumentParser(
        description=f"{__doc__}\n\ncases:\n{cases}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gatekeeper", type=Path, default=BINARY, help="the program; else target/release/gatekeeper")
    parser.add_argument("--cases", default=",".join(CASES), help="which, by commas; else all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--sources", type=int, default=1_000_000)
    parser.add_argument("--targets", type=int, default=100_000)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--write", action="store_true", help="put the tables into benches/peers/RESULTS.md and the short one into README.md")
    asked = parser.parse_args()
    asked.cases = asked.cases.split(",")
    unknown = [name for name in asked.cases if name not in CASES]
    if unknown:
        parser.error(f"no such case: {', '.join(unknown)}")
    if not asked.gatekeeper.exists():
        parser.error(f"{asked.gatekeeper} is not there: make build")
    asked.gatekeeper = asked.gatekeeper.resolve()
    return asked


def main():
    asked = options()
    # Told to end, it ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("two cores are needed: one for what is measured, one for load and target")
    done = subprocess.run([asked.gatekeeper, "--version"], capture_output=True, text=True)
    processor = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    title = f"{datetime.date.today()}, {done.stdout.strip()}, {processor}, Linux {platform.release()}"
    with Folder() as folder:
        run = Run(asked, folder)
        run.say(f"## {title}\n\n{asked.rounds} rounds of {asked.seconds} s.")
        for name in asked.cases:
            try:
                CASES[name](run)
            except (RuntimeError, OSError) as problem:
                run.complain(f"{name}: {problem}")
    if asked.write and not run.wrong:
        results = Path(__file__).resolve().parent / "RESULTS.md"
        written_into(results, "run", "\n".join(run.said))
        written_into(ROOT / "README.md", "peers", f"On {title}:\n\n" + "\n".join(run.short()))
    if run.wrong:
        print("\nWent wrong:\n" + "\n".join(f"- {line}" for line in run.wrong))
    return 1 if run.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
