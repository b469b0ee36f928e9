"""What is measured: the gatekeeper, the proxies beside it where they are installed, and the target behind all of them."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from program import KEY, PATH, ROOT, Gatekeeper, Program, call_headers, free_port, policies, status

HERE = Path(__file__).resolve().parent
DATA = HERE.parent / "data"
FLOOR = ROOT / "target/floor/release/floor"
FILES = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "caddy": "Caddyfile"}


@dataclass
class Cores:
    """Which cores are for what is measured, and which for the load and the target; `None`: all for all, and as many workers."""

    proxy: str | None = "0"
    load: str | None = "1"
    workers: int = 1


@dataclass
class Call:
    """What is called, and what it must be answered."""

    body: Path
    expected: int = 200
    headers: dict = field(default_factory=call_headers)


@dataclass
class Contestant:
    name: str
    url: str
    pids: list

    @property
    def port(self):
        return int(self.url.split(":")[2].split("/")[0])

    @classmethod
    def gatekeeper(cls, gatekeeper, name="gatekeeper"):
        return cls(name, gatekeeper.url, [gatekeeper.pid])


def probe(one, call):
    return status(one.url, call.body.read_bytes(), call.headers)


def find(program):
    return shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")


def written(file, folder, **values):
    text = (HERE / "conf" / file).read_text().replace("RUN", str(folder))
    for name, value in values.items():
        text = text.replace(name, str(value))
    into = folder / file
    into.write_text(text)
    return into


def backend(stack, folder, cores):
    """The target: an nginx that answers at once."""
    nginx, port = find("nginx"), free_port()
    if nginx is None or find("wrk") is None:
        raise RuntimeError("nginx and wrk are needed: sh benches/peers/install.sh")
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    config = written("backend.conf", folder, PORT=port)
    program = Program("backend", [nginx, "-c", config], folder / "backend.out", cores.load)
    return stack.enter_context(program).listens(port) and port


def peers(stack, folder, cores, target):
    """Those that are here, started; and the names of those that are not."""
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    there, missing = [], []
    env = {**os.environ, "GOMAXPROCS": str(cores.workers), "TOKIO_WORKER_THREADS": str(cores.workers), "HOME": str(folder)}
    for name in [*FILES, "floor"]:
        port = free_port()
        program = FLOOR if name == "floor" else find(name)
        if program is None or not os.access(program, os.X_OK):
            missing.append(name)
            continue
        if name == "floor":
            command = [program, port, f"127.0.0.1:{target}"]
        else:
            config = written(FILES[name], folder, PORT=port, TARGET=target, WORKERS=cores.workers, KEY=KEY)
            command = [program, *{"nginx": ["-c"], "haproxy": ["-f"], "caddy": ["run", "--adapter", "caddyfile", "--config"]}[name], config]
        process = stack.enter_context(Program(name, command, folder / f"{name}.out", cores.proxy, env))
        try:
            process.listens(port)
        except RuntimeError as problem:
            if name == "nginx":
                raise
            print(problem)  # another version of it, perhaps, that does not know our configuration
            missing.append(name)
            continue
        there.append(Contestant(name, f"http://127.0.0.1:{port}{PATH}", [process.pid]))
    return there, missing


def gatekeeper(stack, binary, folder, cores, target, extend=None, **settings):
    """One with a folder of its own; `extend` adds to its policies."""
    rules = policies(HERE / "policies", folder / "policies", f"127.0.0.1:{target}")
    if extend is not None:
        extend(rules, target)
    # As shipped it looks whether there are too many calls; but a machine that is too slow for the load makes no refusals of them here.
    settings.setdefault("GATEKEEPER_LONGEST_WAIT_MS", 5000)
    if cores.proxy is None:
        settings["TOKIO_WORKER_THREADS"] = cores.workers
    return stack.enter_context(Gatekeeper(binary, folder, rules, cores.proxy, patience=120, **settings))
