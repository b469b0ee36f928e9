"""A PostgreSQL server for one measurement, with a folder and a port of its own."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from program import free_port, pinned


def programs():
    """Where the server's programs are, the newest if there are several; `None` where there are none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    initdb = shutil.which("initdb")
    return found[-1] if found else initdb and Path(initdb).parent


class Postgres:
    """Runs for as long as the block it is used in."""

    def __init__(self, programs, folder, core=None):
        self.programs, self.folder, self.core, self.account = programs, folder, core, {}
        folder.mkdir(parents=True)
        if os.getuid() == 0:  # initdb refuses root
            names = {entry.pw_name: entry for entry in pwd.getpwall()}
            entry = names.get("postgres") or names["nobody"]
            self.account = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        self.port = free_port()
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/postgres"
        data = folder / "data"
        self.control = ["pg_ctl", "-D", data, "-w", "-l", folder / "server.log"]
        self._run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale", "--no-sync", "-D", data)
        self._run(*self.control, "-o", f"-p {self.port} -h 127.0.0.1 -k {folder}", "start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._run(*self.control, "-m", "immediate", "stop")

    def session(self):
        """psql, to be told SQL line by line; the answers come bare, a row a line."""
        command = [self.programs / "psql", "--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1", self.url]
        return subprocess.Popen(command, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def _run(self, program, *arguments):
        done = subprocess.run(
            pinned(self.core, [self.programs / program, *arguments]),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            **self.account,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{program}: {done.stderr.decode(errors='replace')}")
