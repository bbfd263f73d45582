"""The private PostgreSQL + PostGIS cluster: made and run by the twin itself, reachable from this machine only."""

import fcntl
import logging
import secrets
import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import URL

from twin import postgres
from twin.access import GATE_ROLE
from twin.errors import DatabaseUnavailable, SetupError

__all__ = ["OWNER_ROLE", "Cluster", "ClusterStatus"]

OWNER_ROLE = "twin"
"""The superuser of the private cluster: owns every table; ingest and the CLI connect as it."""

_START_TIMEOUT_S = 300  # recovery after a crash reads up to max_wal_size of log
_STOP_TIMEOUT_S = 30
_LINGER_TIMEOUT_S = 15.0
_ACCESS = "local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """What `Cluster.status` found. `pid` is None when the server is down, `version` and `port` before it was made."""

    folder: Path
    pid: int | None
    version: int | None
    port: int | None

    @property
    def running(self) -> bool:
        """Whether the server runs."""
        return self.pid is not None


@dataclass(frozen=True)
class Cluster:
    """The cluster of the state folder `home`.

    It lives in `home/postgres`. Started by root it runs as the user `postgres`; where that user cannot reach `home`
    (a closed home such as /root), it lives in `/var/lib/citytwin/<hash of home>` and `home/postgres.location` says so.

    `durable=False` gives up crash safety for speed: for tests only.
    """

    home: Path
    durable: bool = True
    _account: postgres.Account = field(default_factory=postgres.account, init=False, repr=False)

    @property
    def folder(self) -> Path:
        """Where the cluster lives: data, log, port, password and, when its path is short enough, the socket."""
        return postgres.place_for(self.home.absolute(), self._account)

    def start(self) -> None:
        """Make the cluster if there is none, and start it if it does not run. Many processes may call this at once.

        Raises SetupError when PostgreSQL or PostGIS is missing, DatabaseUnavailable when the server does not come up.
        """
        with self._alone():
            if not self._is_up():
                if not self._data.exists():
                    self._create()
                self._clear_stale_locks()
                self._launch()
            self._let_gate_in()

    def stop(self) -> bool:
        """Stop the server: politely, then at once. Returns whether it was running. Nothing committed is lost."""
        if self._pid() is None:
            return False
        with self._alone():
            for mode in ("fast", "immediate"):
                result = self._pg_ctl("stop", "-m", mode, "-t", str(_STOP_TIMEOUT_S))
                if result.ok or self._pid() is None:
                    return True
            raise DatabaseUnavailable(f"PostgreSQL does not stop: {result.text}", where=str(self.folder))

    def status(self) -> ClusterStatus:
        """Look, and change nothing."""
        version = self._data / "PG_VERSION"
        return ClusterStatus(
            folder=self.folder,
            pid=self._pid(),
            version=int(version.read_text()) if version.exists() else None,
            port=self._port(),
        )

    def url(self, role: str = OWNER_ROLE, database: str = "postgres", *, tcp: bool = False) -> URL:
        """How `role` (the owner or the gate) connects: through the socket, or through 127.0.0.1 for other programs.

        Raises SetupError when the cluster was never started.
        """
        if not self._data.exists():
            raise SetupError("there is no database yet.", where=str(self.home), remedy="Run: twin up.")
        port, password = self._port(), (self.folder / "password").read_text()
        return URL.create(
            "postgresql+psycopg",
            username=role,
            password=password,
            host="127.0.0.1" if tcp else None,
            port=port if tcp else None,
            database=database,
            query={} if tcp else {"host": str(self._socket), "port": str(port)},
        )

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _socket(self) -> Path:
        return postgres.socket_folder(self.folder, self._account)

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Hold the cluster's lock: one process at a time makes, starts or stops it."""
        self.home.mkdir(parents=True, exist_ok=True)
        self._account.make_folder(self.folder)
        if postgres.note_place(self.home, self.folder):
            _log.info(
                "The user %s cannot enter %s: the database lives in %s", self._account.name, self.home, self.folder
            )
        with (self.home / "postgres.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _create(self) -> None:
        server = postgres.newest()
        _log.info("Making a private PostgreSQL %s cluster in %s", server.major, self.folder)
        draft = self.folder / "data.new"  # renamed when whole: an interrupted initdb leaves no half cluster behind
        shutil.rmtree(draft, ignore_errors=True)
        password = self.folder / "password"
        self._account.write(password, secrets.token_urlsafe(24))
        options = ["--username", OWNER_ROLE, "--pwfile", str(password), "--auth", "scram-sha-256", "--data-checksums"]
        # The order of C is that of C.UTF-8, but PostgreSQL compares bytes only when it is told the former.
        options += ["--encoding", "UTF8", "--locale", "C.UTF-8", "--lc-collate", "C", "--no-instructions"]
        options += [] if self.durable else ["--no-sync"]
        result = self._account.run([str(server.bin / "initdb"), *options, "--pgdata", str(draft)])
        if not result.ok:
            raise SetupError(f"initdb failed: {result.text}", where=str(self.folder))
        conf = draft / "postgresql.conf"
        include = "\ninclude 'citytwin.conf'  # written anew at each start; ALTER SYSTEM overrides it\n"
        self._account.write(conf, conf.read_text(encoding="utf-8") + include)
        draft.rename(self._data)

    def _launch(self) -> None:
        """Start the server on its port; on another one when a stranger holds that."""
        log = self.folder / "log" / "start.log"
        while True:
            port = self._choose_port()
            self._write_configuration(port)
            result = self._pg_ctl("start", "--log", str(log), "-t", str(_START_TIMEOUT_S))
            if result.ok:
                return
            if self._pid() is not None or postgres.is_free(port):  # still recovering, or it was not the port
                break
        raise DatabaseUnavailable(
            f"PostgreSQL does not start: {postgres.last_lines(self.folder / 'log') or result.text}",
            where=str(self.folder),
            remedy=f"Read the logs in {self.folder / 'log'}.",
        )

    def _port(self) -> int | None:
        path = self.folder / "port"
        return int(path.read_text()) if path.exists() else None

    def _choose_port(self) -> int:
        port = self._port()
        if port is None or not postgres.is_free(port):
            port = postgres.free_port()
            self._account.write(self.folder / "port", str(port))
        return port

    def _write_configuration(self, port: int) -> None:
        self._account.make_folder(self.folder / "log")
        self._account.make_folder(self._socket)
        conf = postgres.configuration(
            port=port,
            socket=self._socket,
            log=self.folder / "log",
            durable=self.durable,
            has_lz4=self._server().has_lz4,
        )
        self._account.write(self._data / "citytwin.conf", conf)
        self._account.write(self._data / "pg_hba.conf", _ACCESS)

    def _server(self) -> postgres.Installation:
        """The programs that fit the data: an upgrade of the machine must not start the old data with a new server."""
        return postgres.of_major(int((self._data / "PG_VERSION").read_text()), self.folder)

    def _pg_ctl(self, action: str, *options: str) -> postgres.Result:
        command = [
            str(self._server().bin / "pg_ctl"),
            action,
            "--wait",
            "--silent",
            "--pgdata",
            str(self._data),
            *options,
        ]
        return self._account.run(command)

    def _pid(self) -> int | None:
        """Process number of the running postmaster; None when there is none, whatever a pid file left behind says."""
        try:
            pid = int((self._data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None
        return pid if postgres.is_server(pid, self._data) else None

    def _clear_stale_locks(self) -> None:
        """After a crash: wait for the dead postmaster's children, then remove the lock files it left.

        PostgreSQL would remove them itself, but not when its process number now belongs to another process.
        """
        deadline = time.monotonic() + _LINGER_TIMEOUT_S
        while postgres.servers_in(self._data):
            if time.monotonic() > deadline:
                raise DatabaseUnavailable("processes of a dead PostgreSQL are still there.", where=str(self._data))
            time.sleep(0.1)
        for left in [self._data / "postmaster.pid", *self._socket.glob(".s.PGSQL.*")]:
            left.unlink(missing_ok=True)

    def _is_up(self) -> bool:
        """Whether the server answers. One that another process just started may be recovering: wait for it."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while self._pid() is not None:
            probe = [str(self._server().bin / "pg_isready"), "--host", str(self._socket), "--port", str(self._port())]
            answer = self._account.run(probe)
            if answer.ok:
                return True
            if time.monotonic() > deadline:
                raise DatabaseUnavailable(f"PostgreSQL does not answer: {answer.text}", where=str(self.folder))
            time.sleep(0.1)
        return False

    def _let_gate_in(self) -> None:
        """Make the gate role, which the reading connections of this cluster log in as: they are never the owner."""
        password = (self.folder / "password").read_text()
        with self._connect() as connection:
            if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [GATE_ROLE]).rowcount == 0:
                statement = sql.SQL("CREATE ROLE {} LOGIN NOINHERIT PASSWORD {}")
                connection.execute(statement.format(sql.Identifier(GATE_ROLE), sql.Literal(password)))

    def _connect(self) -> psycopg.Connection:
        password = (self.folder / "password").read_text()
        return psycopg.connect(
            host=str(self._socket),
            port=self._port(),
            user=OWNER_ROLE,
            password=password,
            dbname="postgres",
            autocommit=True,
        )
