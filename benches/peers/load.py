"""Load: wrk where there is much, a connection of our own where there is little."""

import http.client
import math
import os
import re
import resource
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import machine
from program import pinned

LUA = Path(__file__).resolve().parent / "load.lua"
UNITS = {"us": 1, "ms": 1e3, "s": 1e6, "m": 6e7}


def wrk(contestant, call, seconds, cores, connections=64, sources_from=None, pause=None):
    """One run of wrk against one contestant: what wrk saw, and what the contestant's processes did meanwhile and until they had done all."""
    pids = machine.family(contestant.pids)
    env = {**os.environ, "BODY": str(call.body), "HEADERS": "\n".join(f"{name}: {value}" for name, value in call.headers.items())}
    if sources_from is not None:
        env["SOURCES_FROM"] = str(sources_from)
    if pause is not None:
        env["PAUSE"] = str(pause)
    machine.forget_peak(pids)
    others, own, began = machine.busy_us(0), machine.cpu_us(pids), time.monotonic()
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "--latency", "-s", LUA, contestant.url]
    said = subprocess.run(pinned(cores.load, command), env=env, capture_output=True, text=True)
    ended = time.monotonic()
    machine.settled(pids)
    own = machine.cpu_us(pids) - own
    others = machine.busy_us(0) - others - own
    if said.returncode != 0:
        raise RuntimeError(f"wrk: {said.stdout}{said.stderr}")

    def number(pattern):
        found = re.search(pattern, said.stdout)
        return float(found[1]) if found else 0.0

    def latency(percentile):
        found = re.search(rf"{percentile}%\s+([\d.]+)(us|ms|s|m)\b", said.stdout)
        return float(found[1]) * UNITS[found[2]] if found else 0.0

    calls, refused = number(r"(\d+) requests in"), number(r"Non-2xx or 3xx responses: (\d+)")
    errors = sum(int(part) for part in re.findall(r"(?:connect|read|write|timeout) (\d+)", said.stdout))
    return {
        "calls": calls,
        "rate": calls / (ended - began),
        "cpu": own / max(calls, 1),
        "p50": latency(50),
        "p99": latency(99),
        "memory": machine.memory_mib(pids, peak=True),
        "others": others / 1e6 / (time.monotonic() - began),
        "wrong": (refused if call.expected == 200 else calls - refused) + errors,
    }


class Steady(threading.Thread):
    """A caller that calls at an even, low rate over one connection, and remembers how long each call took, counted from when it was due."""

    def __init__(self, port, path, call, rate=100):
        super().__init__(daemon=True)
        self.port, self.path, self.call, self.pause = port, path, call, 1 / rate
        self.took, self.wrong, self.stopped = [], [], threading.Event()

    def run(self):
        body = Path(self.call.body).read_bytes()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        due = time.monotonic()
        while not self.stopped.is_set():
            try:
                connection.request("POST", self.path, body, self.call.headers)
                answer = connection.getresponse()
                answer.read()
                if answer.status != self.call.expected:
                    self.wrong.append(answer.status)
            except OSError as problem:
                self.wrong.append(str(problem))
                connection.close()
            now = time.monotonic()
            self.took.append(now - due)
            due = max(due + self.pause, now)
            time.sleep(max(0, due - time.monotonic()))
        connection.close()

    def stop(self):
        self.stopped.set()
        self.join()
        return sorted(self.took)


class Bystander:
    """Somebody on the measured core who has next to nothing to do: sleeps a millisecond at a time, and notes how much later it wakes."""

    PROGRAM = """
import sys, time
late, until = [], time.monotonic() + float(sys.argv[1])
while (asleep := time.monotonic()) < until:
    time.sleep(0.001)
    late.append(time.monotonic() - asleep - 0.001)
late.sort()
print(late[int(len(late) * 0.999)], late[-1])
"""

    def __init__(self, cores, seconds):
        command = pinned(cores.proxy, [sys.executable, "-c", self.PROGRAM, seconds])
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)

    def late(self):
        """The 99.9th percentile and the most, in seconds."""
        return [float(figure) for figure in self.process.communicate()[0].split()]


class Turns:
    """How long what was ready in a gatekeeper waited for its turn, from now on: it asks itself fifty times a second."""

    def __init__(self, gatekeeper):
        self.url = f"http://127.0.0.1:{gatekeeper.ops}/metrics"
        self.before = self.asked()

    def asked(self):
        with urllib.request.urlopen(self.url, timeout=10) as answer:
            text = answer.read().decode()
        return {float(most): int(count) for most, count in re.findall(r'gatekeeper_turn_seconds_bucket\{le="([^"]+)"\} (\d+)', text)}

    def longer_than(self, *bounds):
        """How many waited longer than each of these seconds; and how many there were."""
        now = {most: count - self.before[most] for most, count in self.asked().items()}
        return [now[math.inf] - now[bound] for bound in bounds] + [now[math.inf]]


class Crowd:
    """Many connections, each kept after one call."""

    def __init__(self, port, path, call, number):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < number + 100:
            raise RuntimeError(f"{number} connections need a limit of {number + 100} open files, and it is {hard}: ulimit -n")
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        body = Path(call.body).read_bytes()
        head = f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-length: {len(body)}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in call.headers.items())
        request = head.encode() + b"\r\n" + body
        self.streams = []
        for _ in range(number):
            stream = socket.create_connection(("127.0.0.1", port), 30)
            stream.sendall(request)
            answer = stream.recv(65536)
            if answer.split(b" ", 2)[1:2] != [b"%d" % call.expected]:
                raise RuntimeError(f"connection {len(self.streams)} was answered {answer[:80]!r}")
            self.streams.append(stream)

    def gone(self):
        """How many have been ended by the other side."""
        gone = 0
        for stream in self.streams:
            stream.setblocking(False)
            try:
                gone += stream.recv(65536) == b""
            except BlockingIOError:
                pass
        return gone

    def close(self):
        for stream in self.streams:
            stream.close()
