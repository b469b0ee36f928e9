"""A program under callgrind, and what its profiles say: instructions, and how often memory was asked for."""

import re
import subprocess
from collections import Counter
from pathlib import Path

TOTAL = re.compile(r"^(?:summary|totals):\s*(\d+)", re.MULTILINE)
NAME = re.compile(r"\((\d+)\)(?: (.*))?$")

# Where memory is asked for. What these call among themselves is no asking.
ASKS = re.compile(r"^(malloc|calloc|realloc|memalign|aligned_alloc|posix_memalign)$")
WITHIN = re.compile(r"^(malloc|calloc|realloc|_int_\w+|memalign|_mid_memalign|aligned_alloc|posix_memalign)$")


def plain(name):
    """A function's name without what callgrind and the linker add: `malloc@@GLIBC_2.2.5`, `foo'2`."""
    return re.sub(r"@.*|'\d+$", "", name)


def wrapper(out):
    # Nothing is counted until it is told to; the parts of one run go to `out.1`, `out.2` and so on.
    return ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--instr-atstart=no", "-q"]


def control(pid, *what):
    done = subprocess.run(["callgrind_control", *what, str(pid)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"callgrind_control {' '.join(what)}: {done.stdout}{done.stderr}")


class Part:
    """One dump: from when counting began, or from the dump before, to its end."""

    def __init__(self, file):
        text = Path(file).read_text(errors="replace")
        self.instructions = sum(int(found) for found in TOTAL.findall(text)[:1])
        self.allocations = sum(asked(text).values())


def asked(text):
    """How often each door was gone through from outside."""
    names, caller, callee, count = {}, "", "", Counter()

    def name(rest):
        found = NAME.match(rest)
        if found is None:
            return plain(rest)
        number, given = found.groups()
        if given is not None:
            names[number] = plain(given)
        return names.get(number, "")

    for line in text.splitlines():
        if line.startswith("fn="):
            caller = name(line[3:])
        elif line.startswith("cfn="):
            callee = name(line[4:])
        elif line.startswith("calls=") and ASKS.match(callee) and not WITHIN.match(caller):
            count[callee] += int(line[6:].split()[0])
    return count


class Counting:
    """Counts what a running program does, from here on, in parts."""

    def __init__(self, pid, out):
        self.pid, self.out, self.parts = pid, out, 0
        control(pid, "-i", "on")

    def part(self):
        """What was done since the part before."""
        control(self.pid, "-d")
        self.parts += 1
        return Part(f"{self.out}.{self.parts}")
