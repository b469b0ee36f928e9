#!/usr/bin/env python3
"""Where the time of a call goes: a flame graph and a table, sampled while wrk calls as much as it can.

The gatekeeper is the shipped one. The linker has put functions into one another, so a rectangle stands for all that was put into it. Stacks are
unwound by `perf` from what the compiler leaves for panics; what only holds and polls others is left out, and the kernel is one rectangle a
system call."""

import argparse
import datetime
import re
import signal
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
import load  # noqa: E402
import proxies  # noqa: E402
import svg  # noqa: E402
from program import BINARY, ROOT, Folder, written_into  # noqa: E402
from proxies import DATA, Call, Contestant, Cores  # noqa: E402

PLUMBING = re.compile(
    r"^<?(std|core|alloc|tokio::runtime|futures_util|tower|start_thread|clone3|__libc_start|_start|main$|\[unknown|hyper_util::server"
    r"|eliza_gatekeeper::server::connection::serve)"
)
PICTURE = ROOT / "docs/performance.svg"
THREAD = "thread: "
# As the kernel cuts their names.
THREADS = {"tokio-rt-worker": "calls", "sqlx-sqlite-wor": "SQLite"}
# What a stack is counted as: the first of these, from the innermost function outwards.
PARTS = [
    ("the kernel: connections", r"^kernel: (writev|sendto|sendmsg|recvfrom|recvmsg|readv|accept4?|connect|shutdown|softirq)"),
    ("the kernel: waiting and waking", r"^kernel: (epoll_wait|epoll_ctl|futex|eventfd2?|sched_yield|exit_to_user_mode|schedule|clock_nanosleep)"),
    ("the kernel: files", r"^kernel: (pwrite64|pread64|fsync|fdatasync|write|writeback|openat|ftruncate|unlink|fcntl|lseek)"),
    ("the kernel: the rest", r"^kernel"),
    ("SQLite: writing rows", r"sqlite|^pcache|^wal|^pager|^btree|^vdbe"),
    ("writing records: batches, binding", r"store::|record::writer|sqlx|record::page::read|journal::reader"),
    ("its record: composing, journal", r"record::|journal::|telemetry::|^Trail"),
    ("towards the target", r"upstream::|hyper_util::client|hyper::client|proto::h1::role::Client"),
    ("gates and pipeline", r"gates::|pipeline::|sql::|intake::|call::|live::|keys::"),
    ("doors and answers", r"doors::|reply::|server::|axum|tower"),
    ("HTTP and connections", r"hyper|httparse|http::|http_body|h2::"),
    ("the runtime", r"tokio|mio::|parking_lot"),
]


def short(name):
    """A function's path without types and closures, and of libraries the end of it alone."""
    name = re.sub(r"\{\{[a-z_]+\}\}(::)?", "", name)
    implemented = re.match(r"<(.+) as (.+)>::(\w+)", name)
    if implemented:
        name = f"{implemented[1]}::{implemented[3]}"
    for _ in range(8):
        name = re.sub(r"<[^<>]*>", "", name)
    name = re.sub(r"[<>&]|mut |::$", "", name).split(" ")[0].strip(":")
    parts = [part for part in name.split("::") if part]
    if parts[:1] == ["eliza_gatekeeper"]:
        return "::".join(parts[1:]) or name
    return "::".join(parts[:1] + parts[-2:]) if len(parts) > 3 else "::".join(parts) or name


def system_call(frames):
    """Kernel frames, innermost first, as one: the system call, or what broke in."""
    names = [re.sub(r"^(__x64_sys_|__do_sys_|do_sys_|ksys_|do_)", "", name) for name in frames]
    outer = [name for name in names if not re.match(r"(syscall_64|entry_SYSCALL|asm_|sysvec_|.*__irq_exit|irqentry)", name)]
    name = outer[-1] if outer else "interrupt"
    return "kernel: " + {"exc_page_fault": "page fault", "handle_softirqs": "softirq"}.get(name, name.split(".")[0])


def folded(script):
    """Stacks by how often they were met, outermost first."""
    stacks = Counter()
    for block in script.split("\n\n"):
        head, *lines = block.strip("\n").split("\n")
        frames = [line.split(None, 1) for line in lines if line.strip()]
        if not frames:
            continue
        # As perf has it, names of threads may hold spaces; its fields follow in a fixed form.
        thread = re.sub(r"\s+\d+\s+[\d.]+:.*", "", head).strip()
        kernel = [name for address, name in frames if address.startswith("ffffffff8")]
        program = [name for address, name in frames if not address.startswith("ffffffff")]
        stack = [short(name) for name in reversed(program) if not PLUMBING.match(name)]
        stack = [name for at, name in enumerate(stack) if at == 0 or stack[at - 1] != name]
        if kernel:
            stack.append(system_call(kernel))
        stacks[(THREAD + THREADS.get(thread, thread), *stack)] += 1
    return stacks


def kind(name, caller):
    if caller == "" or name.startswith(THREAD):
        return "thread"
    if name.startswith("kernel"):
        return "kernel"
    if re.match(r"_?mi_|malloc|calloc|realloc|_int_|cfree|free|sqlite3(Db)?(Malloc|Free|Realloc)", name):
        return "memory"
    # What SQLite calls without a path is its own, or is asked of the C library for it.
    if re.search(r"sqlite|sqlx", name) or (caller == "store" and "::" not in name):
        return "store"
    ours = r"^(admin|call|control|doors|gates|gatekeeper|intake|journal|keys|live|pipeline|policy|record|reply|seal|server|sql|store|telemetry|upkeep|upstream)(::|$)"
    return "ours" if re.match(ours, name) else "library"


def shares(stacks):
    """Samples by part of a call."""
    counted = Counter()
    for stack, samples in stacks.items():
        part = next((part for name in reversed(stack[1:]) for part, pattern in PARTS if re.search(pattern, name)), "the rest")
        counted[part] += samples
    return counted


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gatekeeper", type=Path, default=BINARY)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--body", type=Path, default=DATA / "body500.json")
    parser.add_argument("--write", action="store_true", help="put the picture and the table into docs/performance.svg and .md")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    with Folder() as folder, ExitStack() as stack:
        cores, call, data = Cores(), Call(asked.body.resolve()), folder / "perf.data"
        target = proxies.backend(stack, folder / "backend", cores)
        gatekeeper = proxies.gatekeeper(stack, asked.gatekeeper.resolve(), folder / "gatekeeper", cores, target)
        contestant = Contestant.gatekeeper(gatekeeper)
        load.wrk(contestant, call, 2, cores)
        cost = load.wrk(contestant, call, asked.seconds, cores)["cpu"]
        # Samples weigh on what is sampled: what a call costs is measured before.
        record = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "499", "--call-graph", "dwarf,65528", "-o", data, "-p", str(gatekeeper.pid)]
        recorder = stack.enter_context(subprocess.Popen([*record, "--", "sleep", str(asked.seconds)], stderr=subprocess.DEVNULL))
        load.wrk(contestant, call, asked.seconds, cores)
        recorder.wait()
        script = subprocess.run(
            ["perf", "script", "-i", data, "-F", "comm,tid,time,event,ip,sym"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
        ).stdout.decode(errors="replace")
    stacks = folded(script)
    total = sum(stacks.values())
    title = f"A call of {asked.body.stat().st_size:,} B: {cost:.1f} µs of CPU time, its record included; {datetime.date.today()}, {total:,} samples"
    table = [f"{datetime.date.today()}, {total:,} samples:", "", "| | µs | share |", "|---|---|---|"]
    table += [f"| {part} | {samples / total * cost:.1f} | {samples / total:.0%} |" for part, samples in shares(stacks).most_common()]
    table.append(f"| **together** | {cost:.1f} | |")
    print("\n".join(table))
    if asked.write:
        PICTURE.write_text(svg.drawn(stacks, title, kind))
        written_into(ROOT / "docs/performance.md", "flame", "\n".join(table))


if __name__ == "__main__":
    main()
