"""What `twin/cluster.py` stands on: the PostgreSQL installed on this machine and the system user that runs it."""

import hashlib
import os
import pwd
import random
import re
import shutil
import socket
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from twin.errors import SetupError

__all__ = [
    "Account",
    "Installation",
    "Result",
    "account",
    "configuration",
    "free_port",
    "installed",
    "is_free",
    "is_server",
    "last_lines",
    "newest",
    "note_place",
    "of_major",
    "place_for",
    "servers_in",
    "socket_folder",
]

MINIMUM_MAJOR = 15
MINIMUM_POSTGIS = (3, 3)

_INSTALL = "Install PostgreSQL 15+ with PostGIS 3.3+; on Debian and Ubuntu: sudo apt-get install postgresql-postgis."
_SYSTEM_FOLDER = Path("/var/lib/citytwin")
_LOCATION = "postgres.location"
_SOCKET_PATH_BYTES = 107  # sun_path holds 108 with its closing NUL (unix(7))
_PORTS = range(20_000, 30_000)  # below the ports that the kernel hands out to clients


@dataclass(frozen=True, slots=True)
class Installation:
    """An installed server: its major version, the folder of its programs, its PostGIS's version, if it has LZ4."""

    major: int
    bin: Path
    postgis: tuple[int, ...] | None
    has_lz4: bool

    @property
    def fits(self) -> bool:
        """Whether a new cluster can be made with it."""
        return self.major >= MINIMUM_MAJOR and self.postgis is not None and self.postgis >= MINIMUM_POSTGIS


def installed() -> list[Installation]:
    """The servers on this machine: Debian's side-by-side folders and the one on PATH."""
    configs = [str(path) for path in Path("/usr/lib/postgresql").glob("*/bin/pg_config")]
    on_path = shutil.which("pg_config")
    found = {_inspect(config) for config in [*configs, *([on_path] if on_path else [])]}
    return sorted((server for server in found if server), key=lambda server: server.major)


def newest() -> Installation:
    """The newest installed server that a cluster can be made with. Raises SetupError when there is none."""
    servers = installed()
    fitting = [server for server in servers if server.fits]
    if not fitting:
        found = ", ".join(f"PostgreSQL {s.major} {'with' if s.postgis else 'without'} PostGIS" for s in servers)
        raise SetupError(f"no usable PostgreSQL is installed (found: {found or 'none'}).", remedy=_INSTALL)
    return fitting[-1]


def of_major(major: int, folder: Path) -> Installation:
    """The installed server that can run the data of `major` in `folder`. Raises SetupError when it is gone."""
    for server in installed():
        if server.major == major:
            return server
    raise SetupError(
        f"the database was made by PostgreSQL {major}, which is not installed any more.",
        where=str(folder),
        remedy=f"Install it again: sudo apt-get install postgresql-{major}-postgis-3.",
    )


def _inspect(pg_config: str) -> Installation | None:
    """The server that `pg_config` describes; None when only its client library is there."""
    wanted = [pg_config, "--version", "--bindir", "--sharedir", "--configure"]
    answer = subprocess.run(wanted, capture_output=True, text=True, check=False).stdout.splitlines()  # noqa: S603
    major = re.match(r"PostgreSQL (\d+)", answer[0]) if len(answer) == len(wanted) - 1 else None
    if major is None or not Path(answer[1], "initdb").exists():
        return None
    control = Path(answer[2], "extension", "postgis.control")
    text = control.read_text(encoding="utf-8") if control.exists() else ""
    version = re.search(r"default_version = '(\d+)\.(\d+)", text)
    postgis = (int(version[1]), int(version[2])) if version else None
    return Installation(int(major[1]), Path(answer[1]), postgis, "--with-lz4" in answer[3])


@dataclass(frozen=True, slots=True)
class Result:
    """How a program ended and what it said."""

    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class Account:
    """The system user that owns the cluster's files and runs its programs; `step_down`: we are root and it is not."""

    name: str
    uid: int
    gid: int
    step_down: bool

    def run(self, command: list[str]) -> Result:
        """Run a program as this user, in `/` and with a clean environment, and wait for it."""
        done = subprocess.run(  # noqa: S603
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            umask=0o077,
            user=self.uid if self.step_down else None,
            group=self.gid if self.step_down else None,
            extra_groups=[] if self.step_down else None,
        )
        return Result(done.returncode == 0, " ".join((done.stderr or done.stdout).split()))

    def make_folder(self, path: Path) -> None:
        """Make `path` a folder that only this user enters.

        Raises SetupError when it is there and somebody else's (a trap in /tmp, a state folder of another user).
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_symlink() and not path.exists():
            # It gets its name when it is this user's already: who starts at the same time never sees it otherwise.
            draft = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
            os.chown(draft, self.uid, self.gid, follow_symlinks=False)
            try:
                draft.rename(path)
            except OSError:  # another was faster, and has put something in it
                draft.rmdir()
        self._check(path)

    def _check(self, path: Path) -> None:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != self.uid:
            raise SetupError(
                f"the folder is not one of the user {self.name}.",
                where=str(path),
                remedy="Run as the user who made it, or set TWIN_HOME to another folder.",
            )

    def write(self, path: Path, text: str) -> None:
        """Write a file that only this user reads. A reader sees the old one or the new one, never a part."""
        draft = path.with_name(path.name + ".new")
        draft.unlink(missing_ok=True)
        # O_EXCL follows no link: as root we write into a folder that another user controls.
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            os.fchown(file.fileno(), self.uid, self.gid)
            file.write(text)
        draft.replace(path)

    def can_enter(self, folder: Path) -> bool:
        """Whether this user reaches what lies in `folder`."""
        return not self.step_down or self.run(["test", "-x", str(folder)]).ok


def account() -> Account:
    """Us; for root the user `postgres`, since PostgreSQL refuses to run as root.

    Raises SetupError when we are root and there is no such user.
    """
    if os.geteuid() != 0:
        return Account(str(os.geteuid()), os.geteuid(), os.getegid(), step_down=False)
    try:
        user = pwd.getpwnam("postgres")
    except KeyError as error:
        raise SetupError("there is no system user postgres.", remedy=_INSTALL) from error
    return Account(user.pw_name, user.pw_uid, user.pw_gid, step_down=True)


def place_for(home: Path, owner: Account) -> Path:
    """The folder of the cluster of the state folder `home`: in it, or where `owner` can reach it."""
    inside, pointer = home / "postgres", home / _LOCATION
    if inside.exists():
        return inside
    if pointer.exists():
        return Path(pointer.read_text(encoding="utf-8").strip())
    nearest = next(folder for folder in (home, *home.parents) if folder.exists())
    return inside if owner.can_enter(nearest) else _SYSTEM_FOLDER / _digest(home)


def socket_folder(folder: Path, owner: Account) -> Path:
    """Where the unix socket of the cluster in `folder` goes: there, or below /tmp when its path would be too long."""
    longest = folder / ".s.PGSQL.65535"
    if len(os.fsencode(longest)) <= _SOCKET_PATH_BYTES:
        return folder
    return Path("/tmp") / f"citytwin-{owner.uid}-{_digest(folder)}"  # noqa: S108  (make_folder checks whose it is)


def note_place(home: Path, folder: Path) -> bool:
    """Leave a pointer in `home` when its cluster lives elsewhere. Returns whether it is new."""
    pointer = home / _LOCATION
    if folder.parent == home or pointer.exists():
        return False
    pointer.write_text(f"{folder}\n", encoding="utf-8")
    return True


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def is_server(pid: int, data: Path) -> bool:
    """Whether process `pid` is a PostgreSQL that works in the data folder `data`."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
        return name in {"postgres", "postmaster"} and Path(f"/proc/{pid}/cwd").readlink() == data.resolve()
    except OSError:  # gone, a zombie, or another user's
        return False


def servers_in(data: Path) -> list[int]:
    """All PostgreSQL processes that work in the data folder `data`."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in pids if is_server(pid, data)]


def is_free(port: int) -> bool:
    """Whether nobody listens on 127.0.0.1:`port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    return next(port for port in random.sample(_PORTS, len(_PORTS)) if is_free(port))


def configuration(*, port: int, socket: Path, log: Path, durable: bool, has_lz4: bool) -> str:
    """The server's settings for this machine: memory by what it has (2 to 16 GB), the rest for SSDs and map queries."""
    memory_mb = _memory_mb()
    values: dict[str, str] = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": f'"{socket}"',  # quoted: the value is a list, and a path may hold a comma
        "unix_socket_permissions": "0700",
        "max_connections": "120",
        "max_locks_per_transaction": "256",  # a query over a year touches 365 partitions and their indexes
        "shared_buffers": f"{_within(128, memory_mb // 4, 4096)}MB",
        "effective_cache_size": f"{memory_mb // 2}MB",
        "work_mem": f"{_within(8, memory_mb // 256, 64)}MB",
        "maintenance_work_mem": f"{_within(64, memory_mb // 16, 1024)}MB",
        "max_wal_size": "4GB",
        # An index that is built is written to the log too; PostgreSQL's own compression takes longer than the building.
        "wal_compression": "lz4" if has_lz4 else "off",
        "checkpoint_timeout": "15min",
        "random_page_cost": "1.1",
        "effective_io_concurrency": "200",
        "jit": "off",  # compiling costs more than it saves on short map queries
        "timezone": "UTC",
        "log_timezone": "UTC",
        "logging_collector": "on",
        "log_directory": str(log),
        "log_filename": "postgresql-%a.log",  # a week of logs, each day over the same day of the week before
        "log_truncate_on_rotation": "on",
        "log_rotation_size": "0",
        "log_statement": "none",
        "log_checkpoints": "off",
        "log_min_error_statement": "panic",  # statements and details hold records: they stay out of the log
        "log_error_verbosity": "terse",
    }
    if not durable:
        values |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "128MB"}
    return "".join(f"{name} = '{_quoted(value)}'\n" for name, value in values.items())


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")


def _within(least: int, value: int, most: int) -> int:
    return max(least, min(value, most))


def _memory_mb() -> int:
    """Memory of this machine, or of the container it is."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text(encoding="ascii").strip() if limit.exists() else "max"
    return min(total, total if text == "max" else int(text)) // 2**20


def last_lines(folder: Path, count: int = 4) -> str:
    """The end of the newest log in `folder`, in one line."""
    logs = sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime)
    lines = logs[-1].read_text(encoding="utf-8", errors="replace").splitlines() if logs else []
    return " | ".join(lines[-count:])
