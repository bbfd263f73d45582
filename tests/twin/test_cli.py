"""The command `twin`, run as a person runs it."""

import json
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

import twin
from twin import cli
from twin.access import FIXED_AUDIENCES, Audience, read_token
from twin.cluster import Cluster
from twin.pidfile import PidFile
from twin.settings import settings

ROOT = Path(__file__).parents[2]

# A package above the core, as layers, ingest and api are: its commands leave a trace of what ran in which order.
PACKAGE = """
import os, time
import typer
from twin.access import department
from twin.database import connect, ensure_roles
from twin.errors import DatabaseUnavailable, SourceError
from twin.pidfile import PidFile
from twin.settings import settings
from sqlalchemy import text

def trace(word):
    with open(settings().home / "trace", "a") as file:
        file.write(word + "\\n")

def apply():
    trace("catalog apply")
    with connect().writing() as connection:
        connection.execute(text("CREATE SCHEMA IF NOT EXISTS parks"))
        ensure_roles(connection, [department("parks")])

def demo():
    trace("ingest demo" + (" with tokens" if (settings().home / "tokens.json").exists() else ""))

def up():
    trace("up")
    with PidFile(settings().home).hold():
        time.sleep(float(os.environ.get("SERVE_S", "0")))

def run():
    trace("ingest run")

def devices():
    trace("ingest devices")

def refuse(): raise SourceError("it cannot be read.", where="a.csv", remedy="Save it as UTF-8.")
def falter(): raise DatabaseUnavailable("PostgreSQL does not answer.")

def register(app):
    for name, command in (("catalog", apply), ("ingest", demo)):
        group = typer.Typer()
        group.callback()(lambda: None)
        group.command()(command)
        if name == "ingest":
            group.command()(run)
            group.command()(devices)
        app.add_typer(group, name=name)
    for command in (up, refuse, falter):
        app.command()(command)
"""


class Outcome(NamedTuple):
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


Twin = Callable[..., Outcome]


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Twin]:
    """Runs `twin ARGUMENTS` in this process: state folder `home/state`, and a package with further commands."""
    install_package(home / "site")
    monkeypatch.syspath_prepend(home / "site")
    for name in [name for name in os.environ if name.startswith("TWIN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TWIN_HOME", str(home / "state"))

    def twin_(*arguments: str, **environment: str) -> Outcome:
        settings.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["twin", *arguments])
            for name, value in environment.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as end:
                cli.main()
        printed = capsys.readouterr()
        return Outcome(int(end.value.code or 0), printed.out, printed.err)

    yield twin_
    settings.cache_clear()
    sys.modules.pop("overlay", None)
    Cluster(home / "state").stop()


@pytest.fixture
def made(made_home: Path) -> None:
    """The state folder has a database that was made before."""
    (made_home / "state").mkdir()
    (made_home / "postgres").rename(made_home / "state" / "postgres")


def install_package(site: Path) -> None:
    info = site / "overlay-1.dist-info"
    info.mkdir(parents=True)
    (site / "overlay.py").write_text(PACKAGE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: overlay\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[twin.commands]\nzz_overlay = overlay:register\n")


def test_it_knows_its_version_and_its_commands(run: Twin) -> None:
    assert run("--version").out.strip() == twin.__version__
    shown = run("--help").out
    assert all(command in shown for command in ("demo", "status", "down", "database", "token", "refuse"))


def test_a_token_names_its_audience_and_is_signed_with_the_secret_of_the_home(run: Twin, home: Path) -> None:
    first = run("token", "new", "department:environment", "--hours", "2", "--person", "li.na")
    second = run("token", "new", "planner")
    assert (first.code, second.code) == (0, 0)
    secret = home / "state" / "secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert read_token(first.out.strip(), secret.read_text()).audience == Audience("department:environment")
    assert read_token(second.out.strip(), secret.read_text()).audience == Audience("planner")


@pytest.mark.parametrize(
    ("words", "environment", "code", "said"),
    [
        (["token", "new", "nobody"], {}, 2, "no audience is called 'nobody'"),
        (["refuse"], {}, 2, "twin: a.csv: it cannot be read. Save it as UTF-8."),
        (["falter"], {}, 1, "twin: PostgreSQL does not answer."),
        (["database", "migrate"], {"TWIN_DATABASE_URL": "postgresql://twin@127.0.0.1:1/city"}, 1, "does not answer"),
        (
            ["database", "migrate"],
            {"TWIN_DATABASE_URL": "city.db"},
            2,
            "TWIN_DATABASE_URL: it is not a database address",
        ),
        (["database", "start"], {"TWIN_DATABASE_URL": "postgresql://127.0.0.1/city"}, 2, "not ours to run"),
        (["status"], {"TWIN_PORT": "many"}, 2, "TWIN_PORT"),
        (["status"], {"TWIN_CITY": "atlantis"}, 2, "no city profile is called 'atlantis'"),
        (["database", "url"], {}, 2, "no database yet"),
    ],
)
def test_an_error_is_one_clear_line_and_an_exit_code(
    run: Twin, words: list[str], environment: dict[str, str], code: int, said: str
) -> None:
    result = run(*words, **environment)
    assert result.code == code
    assert said in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert result.out == ""


def test_debug_shows_where_it_happened(run: Twin) -> None:
    result = run("--debug", "refuse")
    assert result.code == 2
    assert "Traceback" in result.err
    assert "overlay.py" in result.err


def test_a_wrong_command_is_bad_input(run: Twin) -> None:
    assert run("fly").code == 2
    assert run("token", "new", "planner", "--days", "0").code == 2


def test_the_database_starts_is_reached_by_its_address_and_stops(run: Twin, home: Path) -> None:
    assert "none yet" in run("status").out
    assert run("down").out.strip() == "nothing was running"
    try:
        started = run("database", "start")
        assert started.code == 0, started.err
        assert run("database", "migrate").code == 0
        for role in ("twin", "twin_gate"):
            with psycopg.connect(run("database", "url", "--role", role).out.strip()) as connection:
                assert connection.execute("SELECT session_user::text").fetchone() == (role,)
        assert re.search(r"running, PostgreSQL \d+, .* 0 datasets hold data", run("status").out)
    finally:
        assert run("down").out.strip() == "stopped: database"
    assert not Cluster(home / "state").status().running
    assert "stopped, in" in run("status").out


@pytest.mark.usefixtures("made")
def test_the_demonstration_runs_its_steps_in_order_and_leaves_a_token_per_role(
    run: Twin, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVE_S", "10")  # what runs beside it needs a moment to begin
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(home / "site"), str(ROOT)]))
    result = run("demo")
    assert result.code == 0, result.err
    state = home / "state"
    first, second, *others = (state / "trace").read_text().splitlines()
    assert (first, second) == ("catalog apply", "ingest demo with tokens")
    assert sorted(others) == ["ingest devices", "ingest run", "up"], "it moves while it is served"
    tokens = json.loads((state / "tokens.json").read_text())
    assert set(tokens) == {*FIXED_AUDIENCES, "department:parks"}
    secret = (state / "secret").read_text()
    assert all(read_token(token, secret).audience == Audience(name) for name, token in tokens.items())
    assert stat.S_IMODE((state / "tokens.json").stat().st_mode) == 0o600
    assert str(state / "tokens.json") in result.out
    assert not Cluster(state).status().running  # it was not running before


@pytest.mark.usefixtures("made")
def test_down_stops_the_server_and_the_database(run: Twin, home: Path) -> None:
    run("database", "start")
    path = os.pathsep.join(filter(None, [str(home / "site"), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "twin.cli", "up"]
    server = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path, "SERVE_S": "60"})
    try:
        deadline = time.monotonic() + 120
        while PidFile(home / "state").pid() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert f"process {server.pid}" in run("status").out
        second = run("up")
        assert (second.code, "serves this twin already" in second.err) == (2, True)
        assert run("down").out.strip() == "stopped: server, database"
        assert server.wait(timeout=10) != 0
        assert "server    stopped" in run("status").out
    finally:
        server.kill()
        server.wait()
