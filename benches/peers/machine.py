"""What the kernel says of a process and of a core."""

import os
import re
import time
from pathlib import Path

TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")


def family(pids):
    """The processes, and what they started."""
    found = []
    for pid in pids:
        found.append(pid)
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                found += family(int(child) for child in (task / "children").read_text().split())
        except FileNotFoundError:
            pass
    return found


def cpu_us(pids):
    """User and kernel time so far, of all of them."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total * TICK_US


def memory_mib(pids, peak=False):
    field = "VmHWM" if peak else "VmRSS"
    found = (re.search(rf"{field}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()) for pid in pids)
    return sum(int(match[1]) for match in found if match) / 1024


def forget_peak(pids):
    """The peak is what comes from here on, where the kernel lets us say so."""
    for pid in pids:
        try:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        except OSError:
            pass


def busy_us(core):
    """How long a core was at work so far, for whomever; taken away by the host counts."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system, _idle, _wait, interrupt, soft, stolen = (int(field) for field in line.split()[1:9])
            return (user + nice + system + interrupt + soft + stolen) * TICK_US
    raise RuntimeError(f"this machine has no core {core}")


def settled(pids, patience=30):
    """Until the processes have done what was left to do, such as writing records down: a tenth of a second without work."""
    until = time.monotonic() + patience
    before = cpu_us(pids)
    while time.monotonic() < until:
        time.sleep(0.15)
        now = cpu_us(pids)
        if now - before <= TICK_US:
            return
        before = now


def quiet(core, patience=20):
    """Waits until a core has next to nothing to do. Measuring goes on without; the tables show what else ran there."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        before = busy_us(core)
        time.sleep(0.25)
        if busy_us(core) - before < 0.04 * 0.25e6:
            return True
    return False
