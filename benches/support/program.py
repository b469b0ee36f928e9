"""A gatekeeper as a program, with folders and ports of its own: what the measurements have in common."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BINARY = ROOT / "target/release/gatekeeper"
KEY = "bench-key-0123456789abcdef0123456789abcdef"
PATH = "/functions/v1/eliza-gatekeeper"
# As the policies have it, for a target whose port is not known before it listens.
TARGET_IN_POLICIES = "127.0.0.1:18080"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def pinned(core, command):
    """The command, on one core; `None` leaves it to the system."""
    return [str(part) for part in (command if core is None else ["taskset", "-c", core, *command])]


class Folder:
    """A folder that goes when the measurement ends. Anybody may pass: some programs give up being root."""

    def __init__(self):
        self.path = Path(tempfile.mkdtemp(prefix="gk-bench-"))
        self.path.chmod(0o755)

    def __enter__(self):
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


class Program:
    """A process and what it starts, ended with the block it is used in."""

    def __init__(self, name, command, log, core=None, env=None):
        self.name, self.log = name, Path(log)
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(
                pinned(core, command), env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self, patience=15):
        if self.process.poll() is None:
            self._signal(signal.SIGTERM)
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                pass
        self._signal(signal.SIGKILL)
        self.process.wait()

    def _signal(self, number):
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            pass

    def wait_for(self, ready, patience=60):
        """Until `ready()` says so; what the program said, if it ends before or never is."""
        until = time.monotonic() + patience
        while not ready():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{self.name} does not come up: {self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)

    def listens(self, port, patience=60):
        self.wait_for(lambda: connects(port), patience)
        return self


def connects(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def policies(source, into, target):
    """A copy of a directory of policies, with the target where it is."""
    into.mkdir(parents=True, exist_ok=True)
    for file in sorted(Path(source).glob("*.toml")):
        (into / file.name).write_text(file.read_text().replace(TARGET_IN_POLICIES, target))
    return into


class Gatekeeper(Program):
    def __init__(self, binary, folder, policies, core=None, wrapper=(), database=None, patience=60, **settings):
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self.ops = free_port(), free_port()
        self.database = folder / "db.sqlite"
        self.settings = {
            "INTERNAL_ELIZA_KEY": KEY,
            "SUPABASE_URL": f"http://{TARGET_IN_POLICIES}",
            "DATABASE_URL": database or f"sqlite://{self.database}",
            "GATEKEEPER_STATE": str(folder / "state"),
            "GATEKEEPER_JOURNAL": str(folder / "journal"),
            "GATEKEEPER_POLICIES": str(policies),
            "GATEKEEPER_LISTEN": f"127.0.0.1:{self.port}",
            "GATEKEEPER_OPS_LISTEN": f"127.0.0.1:{self.ops}",
            "GATEKEEPER_LAME_DUCK_SECONDS": "0",
            **{name: str(value) for name, value in settings.items()},
        }
        # Nothing of the caller's environment but where programs are: a setting of theirs would be measured.
        env = {"PATH": os.environ["PATH"], **self.settings}
        super().__init__("gatekeeper", [*wrapper, binary, "serve"], folder / "gatekeeper.log", core, env)
        began = time.monotonic()
        try:
            self.wait_for(lambda: status(f"http://127.0.0.1:{self.port}/readyz") == 200, patience)
        except BaseException:
            self.end(1)
            raise
        self.started_in = time.monotonic() - began

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}{PATH}"


def call_headers(key=KEY, source="agent-3"):
    return {"content-type": "application/json", "x-eliza-key": key, "x-eliza-source": source, "accept": "*/*", "user-agent": "bench/1"}


def status(url, body=None, headers=None):
    """The status of an answer, or what went wrong instead."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers or {}), timeout=10) as answer:
            answer.read()
            return answer.status
    except urllib.error.HTTPError as refusal:
        return refusal.code
    except OSError as problem:
        return str(problem)


def written_into(file, mark, text):
    """Replaces what stands between `<!-- mark -->` and `<!-- /mark -->`."""
    before, _, rest = file.read_text().partition(f"<!-- {mark} -->\n")
    _, closing, after = rest.partition(f"<!-- /{mark} -->")
    if not closing:
        raise RuntimeError(f"{file} has no place marked {mark}")
    file.write_text(f"{before}<!-- {mark} -->\n{text.strip()}\n{closing}{after}")
