"""A PostgreSQL server for tests: a cluster in a temporary folder, reached by a Unix socket alone."""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

#: what a test is skipped for, which the end of a run counts
NO_SERVER = "no PostgreSQL server here (Debian's package postgresql, or pip install pgserver)"
NO_VECTOR = (
    "no PostgreSQL server with pgvector here (pip install pgserver, or FACEKD_TEST_POSTGRES=FOLDER/bin)"
)
NO_CLIENT = "psycopg is not installed (the extra postgres)"

_START_SECONDS = 60
#: the server's log, once all its processes have ended after one was killed
_RECOVERS = b"all server processes terminated"
#: a test waits for nothing that a crash of the machine would need, and templates must not stay in old logs
_SETTINGS = {
    "listen_addresses": "", "fsync": "off", "shared_buffers": "16MB", "max_connections": "40",
    "wal_recycle": "off", "autovacuum": "off",
}  # fmt: skip


def programs(vector: bool = False) -> Path | None:
    """The folder of ``initdb`` and ``postgres``, with ``vector`` those of a server that has pgvector; `None`
    if there is none. ``FACEKD_TEST_POSTGRES`` names a folder to try last."""
    given, on_path = os.environ.get("FACEKD_TEST_POSTGRES"), shutil.which("initdb")
    found = [Path(on_path).resolve().parent] if on_path else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    carried = importlib.util.find_spec("pgserver")
    if carried is not None and carried.origin is not None:
        found.append(Path(carried.origin).parent / "pginstall" / "bin")
    found += [Path(given)] if given else []
    there = (folder for folder in found if (folder / "postgres").exists())
    return next((folder for folder in there if not vector or _has_vector(folder)), None)


def _has_vector(folder: Path) -> bool:
    shared = subprocess.run(
        [folder / "pg_config", "--sharedir"], check=False, capture_output=True, text=True
    ).stdout.strip()
    return bool(shared) and (Path(shared) / "extension" / "vector.control").exists()


def why_not(vector: bool = False) -> str | None:
    """Why tests with a server, or with one that has pgvector, are impossible here; `None` if they are
    possible."""
    if importlib.util.find_spec("psycopg") is None:
        return NO_CLIENT
    return None if programs(vector) else NO_VECTOR if vector else NO_SERVER


class PostgresServer:
    """A server with databases of its own. If the tests run as root, for whom PostgreSQL refuses to start, it
    is run by an unprivileged account."""

    def __init__(self, settings: dict[str, str] | None = None, vector: bool = False) -> None:
        found = programs(vector)
        assert found is not None
        self.folder = Path(tempfile.mkdtemp(prefix="facekd-pg-"))  # a socket's path must be short
        self.data = self.folder / "data"
        self.settings = _SETTINGS | (settings or {})
        self._numbers = itertools.count(1)
        self._free: list[str] = []
        self._taken: list[str] = []
        self._server: subprocess.Popen[bytes] | None = None
        #: whether a process of it was killed, which may leave files in the databases
        self.was_killed = False
        if self._account is not None:
            os.chown(self.folder, self._account.pw_uid, self._account.pw_gid)
        self._programs = found if self._may_run(found) else self._copied(found)
        self._call("initdb", "--pgdata", self.data, "--username", "admin", "--encoding", "UTF8",
                   "--locale", "C", "--auth", "trust", "--no-sync")  # fmt: skip
        self.start()

    def start(self) -> None:
        settings = [f"--{name}={value}" for name, value in self.settings.items()]
        self._server = subprocess.Popen(
            [self._programs / "postgres", "-D", self.data, "-k", self.folder, *settings],
            stdout=subprocess.DEVNULL, stderr=(self.folder / "log").open("ab"), cwd=self.folder,
            **self._as_whom,
        )  # fmt: skip
        end = time.monotonic() + _START_SECONDS
        while not self.is_up():
            if self._server.poll() is not None or time.monotonic() > end:
                self.stop("QUIT")
                raise RuntimeError((self.folder / "log").read_text())
            time.sleep(0.05)

    @property
    def pid(self) -> int:
        """Of the server's first process."""
        assert self._server is not None
        return self._server.pid

    def stop(self, how: str = "INT") -> None:
        """End it, with its connections: INT in good order, QUIT as a crash."""
        if self._server is not None:
            self._server.send_signal(signal.Signals[f"SIG{how}"])
            self._server.wait(60)
            self._server = None

    def crash(self, patience: float = 60) -> None:
        """Kill its first process, and start it again as soon as it can be."""
        self.was_killed = True
        self.stop("KILL")
        end = time.monotonic() + patience
        while True:
            try:
                return self.start()
            except (
                RuntimeError
            ):  # its other processes hold the shared memory until they notice that it is gone
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def kill_backend(self, pid: int) -> None:
        """Kill a process that serves a connection, after which the server ends all others, and recovers."""
        self.was_killed, log = True, self.folder / "log"
        before = log.read_bytes().count(_RECOVERS)
        os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + _START_SECONDS
        while log.read_bytes().count(_RECOVERS) == before or not self.is_up():
            if time.monotonic() > end:
                raise RuntimeError(log.read_text())
            time.sleep(0.05)

    def close(self) -> None:
        self.stop("QUIT")
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str, user: str = "admin") -> str:
        port = f"&port={self.settings['port']}" if "port" in self.settings else ""
        return f"postgresql://{user}@/{database}?host={quote(str(self.folder), safe='')}{port}"

    def new_database(self) -> str:
        """The URL of an empty database."""
        if not self._free:
            name = f"gallery_{next(self._numbers)}"
            self.ask(f"CREATE DATABASE {name} TEMPLATE template0", "postgres")
            self._free.append(name)
        self._taken.append(self._free.pop())
        return self.url(self._taken[-1])

    def team_of(self, url: str) -> dict[str, str]:
        """URLs of a database for an "owner", a "writer" and a "reader" of its gallery."""
        from facekd.gallery import database_roles

        self.ask(database_roles(), url)
        database = url.partition("@/")[2].partition("?")[0]
        users = {}
        for role in ("owner", "writer", "reader"):
            name = f"{database}_{role}"
            self.ask(f"DROP ROLE IF EXISTS {name}", url)
            self.ask(f"CREATE ROLE {name} LOGIN IN ROLE facekd_{role}", url)
            users[role] = self.url(database, user=name)
        return users

    def empty_databases(self) -> None:
        """Those that were given become empty, and are given again, since each consists of 300 files; unless
        the server was killed."""
        for name in self._taken:
            self.ask(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'", "postgres"
            )
            if self.was_killed:
                self.ask(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", "postgres")
            else:
                self.ask("DROP SCHEMA IF EXISTS facekd CASCADE", name)
        self._free += [] if self.was_killed else self._taken
        self._taken, self.was_killed = [], False

    def ask(
        self, query: str, database: str, values: Sequence[object] = (), user: str = "admin"
    ) -> list[tuple]:
        """The rows of ``query``, each in a transaction of its own; ``database`` by name or URL."""
        import psycopg

        url = database if "://" in database else self.url(database, user)
        with psycopg.connect(url, autocommit=True, connect_timeout=10) as db:
            # without values a query may be several statements, and a % is no placeholder
            found = db.execute(query, values or None)
            return found.fetchall() if found.description else []

    def files_with(self, *contents: bytes, under: str = ".", but: Collection[str] = ()) -> list[Path]:
        """The files of the cluster, write-ahead log included, that hold any of these bytes: those in a folder
        ``under`` the data folder, ``but`` certain ones, whose names stand for all their segments."""
        found = []
        for path in (self.data / under).rglob("*"):
            if str(path.relative_to(self.data)).partition(".")[0] in but:
                continue
            try:
                read = path.read_bytes() if path.is_file() else b""
            except FileNotFoundError:  # the server deletes files, too
                continue
            if any(content in read for content in contents):
                found.append(path)
        return found

    def is_up(self) -> bool:
        """Whether it answers."""
        import psycopg

        try:
            self.ask("SELECT 1", "postgres")
        except psycopg.OperationalError:
            return False
        return True

    def _call(self, program: str, *arguments: object) -> None:
        command = [str(self._programs / program), *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder, **self._as_whom)

    def _may_run(self, programs: Path) -> bool:
        """Whether the server's account may go to these programs: a home may be closed to it."""
        tried = subprocess.run(
            ["sh", "-c", 'test -x "$0"', programs / "postgres"], check=False, cwd=self.folder, **self._as_whom
        )
        return tried.returncode == 0

    def _copied(self, programs: Path) -> Path:
        """These programs, with what they need, in the folder of the server."""
        package = programs.parent.parent
        for needed in (package, package.with_name(f"{package.name}.libs")):  # as a wheel brings both
            if needed.exists():
                shutil.copytree(needed, self.folder / "wheel" / needed.name, symlinks=True)
        return self.folder / "wheel" / package.name / programs.relative_to(package)

    @cached_property
    def _account(self) -> pwd.struct_passwd | None:
        """An unprivileged account to run the server; `None` if the current one will do."""
        if os.geteuid() != 0:
            return None
        known = {account.pw_name: account for account in pwd.getpwall()}
        return known.get("postgres") or known["nobody"]

    @property
    def _as_whom(self) -> dict:
        account = self._account
        if account is None:
            return {}
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
