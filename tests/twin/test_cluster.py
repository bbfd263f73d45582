"""The private cluster, on real PostgreSQL."""

import os
import shutil
import signal
import socket
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from twin import postgres
from twin.access import GATE_ROLE
from twin.cluster import OWNER_ROLE, Cluster
from twin.errors import DatabaseUnavailable, SetupError

ROOT = os.geteuid() == 0


def ask(cluster: Cluster, question: str, role: str = OWNER_ROLE, *, tcp: bool = False) -> list[tuple[Any, ...]]:
    address = cluster.url(role, tcp=tcp).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as connection:
        answer = connection.execute(question.encode())
        return answer.fetchall() if answer.description else []


def test_a_new_cluster_is_checksummed_utf8_and_utc(cluster: Cluster) -> None:
    settings = dict(ask(cluster, "SELECT name, setting FROM pg_settings"))
    assert settings["data_checksums"] == "on"
    assert settings["server_encoding"] == "UTF8"
    assert settings["lc_collate"] == "C"
    assert settings["TimeZone"] == "UTC"
    assert settings["jit"] == "off"
    assert settings["log_statement"] == "none"
    assert settings["password_encryption"] == "scram-sha-256"  # noqa: S105


def test_it_runs_as_an_ordinary_user_in_a_closed_folder(cluster: Cluster) -> None:
    pid = cluster.status().pid
    owner = Path(f"/proc/{pid}").stat().st_uid
    assert owner != 0
    assert cluster.folder.stat().st_uid == owner
    assert stat.S_IMODE(cluster.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((cluster.folder / "password").stat().st_mode) == 0o600


def test_it_listens_on_the_loopback_address_only(cluster: Cluster) -> None:
    port = cluster.status().port
    wanted = f":{port:04X}"
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    listening = {fields[1] for fields in lines if fields[3] == "0A" and fields[1].endswith(wanted)}
    assert listening == {f"0100007F{wanted}"}


def test_owner_and_gate_log_in_through_socket_and_tcp_with_a_password_only(cluster: Cluster) -> None:
    for role in (OWNER_ROLE, GATE_ROLE):
        for tcp in (False, True):
            assert ask(cluster, "SELECT session_user::text", role, tcp=tcp) == [(role,)]
    wrong = cluster.url(tcp=True).set(drivername="postgresql", password="wrong")  # noqa: S106
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(wrong.render_as_string(hide_password=False))


def test_the_gate_is_no_superuser_and_inherits_nothing(cluster: Cluster) -> None:
    question = f"SELECT rolsuper, rolcreaterole, rolcreatedb, rolinherit FROM pg_roles WHERE rolname = '{GATE_ROLE}'"
    assert ask(cluster, question) == [(False, False, False, False)]


def test_a_second_start_changes_nothing(cluster: Cluster) -> None:
    before = cluster.status()
    cluster.start()
    Cluster(cluster.home, durable=False).start()
    assert cluster.status() == before


def test_a_restart_keeps_data_port_and_password(home: Path) -> None:
    cluster = Cluster(home)  # durable: this one must have reached the disk
    cluster.start()
    ask(cluster, "CREATE TABLE kept AS SELECT 42 AS n")
    before = cluster.url(tcp=True)
    assert cluster.stop()
    assert not cluster.status().running
    assert not cluster.stop()
    cluster.start()
    assert cluster.url(tcp=True) == before
    assert ask(cluster, "SELECT n FROM kept") == [(42,)]


def test_many_processes_may_start_it_at_once(home: Path) -> None:
    clusters = [Cluster(home, durable=False) for _ in range(4)]
    with ThreadPoolExecutor(len(clusters)) as pool:
        list(pool.map(Cluster.start, clusters))
    assert len({cluster.status() for cluster in clusters}) == 1
    assert ask(clusters[0], "SELECT 1") == [(1,)]


def test_a_killed_server_comes_back_with_what_was_committed(made_home: Path) -> None:
    cluster = Cluster(made_home)
    cluster.start()
    ask(cluster, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    os.kill(cluster.status().pid or 0, signal.SIGKILL)
    cluster.start()
    assert ask(cluster, "SELECT count(*) FROM kept") == [(1000,)]


def test_a_pid_file_that_names_a_stranger_is_no_running_server(made_home: Path) -> None:
    cluster = Cluster(made_home, durable=False)
    cluster.start()
    pid_file = cluster.folder / "data" / "postmaster.pid"
    left_behind = pid_file.read_text().splitlines()
    cluster.stop()
    owner = cluster.folder.stat().st_uid
    stranger = subprocess.Popen(["sleep", "60"], user=owner if ROOT else None)
    try:
        # As after a crash of the machine: the number belongs to a live process of the same user by now.
        pid_file.write_text("\n".join([str(stranger.pid), *left_behind[1:]]) + "\n")
        os.chown(pid_file, owner, -1)
        assert not cluster.status().running
        cluster.start()
        assert cluster.status().pid not in {None, stranger.pid}
        assert ask(cluster, "SELECT 1") == [(1,)]
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_taken_port_is_left_to_its_owner(made_home: Path) -> None:
    cluster = Cluster(made_home, durable=False)
    cluster.start()
    port = cluster.status().port
    cluster.stop()
    with closing(socket.create_server(("127.0.0.1", port))):
        cluster.start()
        assert cluster.status().port != port
        assert ask(cluster, "SELECT 1", tcp=True) == [(1,)]


def test_an_interrupted_creation_is_begun_anew(home: Path) -> None:
    cluster = Cluster(home, durable=False)
    half = cluster.folder / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("15")
    if ROOT:
        shutil.chown(cluster.folder, "postgres")
    cluster.start()
    assert ask(cluster, "SELECT 1") == [(1,)]
    assert not half.exists()


def test_a_long_path_gets_a_short_socket(home: Path) -> None:
    deep = home / ("long-" * 12) / ("folder-" * 10)
    deep.mkdir(parents=True)
    cluster = Cluster(deep, durable=False)
    cluster.start()
    socket_folder = Path(str(cluster.url().query["host"]))
    try:
        assert socket_folder.parent == Path("/tmp")  # noqa: S108
        assert stat.S_IMODE(socket_folder.stat().st_mode) == 0o700
        assert ask(cluster, "SELECT 1") == [(1,)]
    finally:
        cluster.stop()
        shutil.rmtree(socket_folder)


def test_a_socket_folder_of_somebody_else_is_refused(home: Path) -> None:
    owner = postgres.account()
    trap, real = home / "trap", home / "real"
    real.mkdir()
    trap.symlink_to(real)
    with pytest.raises(SetupError, match="not one of the user"):
        owner.make_folder(trap)


@pytest.mark.skipif(not ROOT, reason="only root steps down to another user")
def test_below_a_closed_home_it_lives_elsewhere_and_says_so(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    cluster = Cluster(closed / "state", durable=False)
    try:
        with caplog.at_level("INFO", logger="twin"):
            cluster.start()
        assert cluster.folder.parent == Path("/var/lib/citytwin")
        assert (closed / "state" / "postgres.location").read_text().strip() == str(cluster.folder)
        assert str(cluster.folder) in caplog.text
        ask(cluster, "CREATE TABLE kept AS SELECT 1 AS n")
        cluster.stop()
        again = Cluster(closed / "state", durable=False)
        again.start()
        assert ask(again, "SELECT n FROM kept") == [(1,)]
    finally:
        cluster.stop()
        shutil.rmtree(cluster.folder)


def test_looking_at_a_cluster_that_was_never_made_makes_nothing(home: Path) -> None:
    cluster = Cluster(home / "absent")
    found = cluster.status()
    assert (found.pid, found.version, found.port) == (None, None, None)
    assert not cluster.stop()
    with pytest.raises(SetupError, match="no database yet"):
        cluster.url()
    assert not (home / "absent").exists()


def test_a_server_that_cannot_start_says_why(made_home: Path) -> None:
    cluster = Cluster(made_home, durable=False)
    cluster.start()
    ask(cluster, "ALTER SYSTEM SET shared_preload_libraries = 'no_such_library'")
    cluster.stop()
    with pytest.raises(DatabaseUnavailable, match="no_such_library"):
        cluster.start()


def test_data_of_a_server_that_is_gone_says_what_to_install(made_home: Path) -> None:
    cluster = Cluster(made_home, durable=False)
    version = cluster.folder / "data" / "PG_VERSION"
    version.write_text("9\n")
    with pytest.raises(SetupError, match="PostgreSQL 9, which is not installed"):
        cluster.start()


def test_memory_settings_stay_within_what_small_and_large_machines_have() -> None:
    text = postgres.configuration(port=1, socket=Path("/a b,c'd"), log=Path("/l"), durable=True, has_lz4=True)
    settings = dict(line.split(" = ", 1) for line in text.splitlines())
    assert settings["unix_socket_directories"] == "'\"/a b,c''d\"'"
    assert "fsync" not in settings
    assert 128 <= int(settings["shared_buffers"].strip("'MB")) <= 4096
