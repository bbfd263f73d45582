"""What is secret stays so: a real server, its errors of all kinds, and then a search in everything that it said."""

import datetime as dt
import subprocess
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from tests.api.test_commands import ROOT, TWIN, answers, environment, free_port, run, up
from twin.access import Audience, issue_token
from twin.cluster import Cluster
from twin.settings import Settings

PLANTED = "planted-secret-" + "q7" * 30
PATHS = (
    "/collections",
    "/api",
    "/docs",
    "/quarantine",
    "/audit",
    "/branches",
    "/grants",
    "/health/ready",
    "/collections/no.such/items",
    "/collections/housing.buildings/items?filter=x",
    "/collections/housing.buildings/items?limit=x",
)


def test_neither_output_nor_answers_hold_a_secret(made_home: Path) -> None:
    (made_home / "secret").write_text(PLANTED, encoding="ascii")
    password = Cluster(made_home).url().password
    good = issue_token(Audience("administrator"), PLANTED, person="tester", lifetime=dt.timedelta(hours=1))
    bad = issue_token(Audience("administrator"), "another" * 9, person="tester", lifetime=dt.timedelta(hours=1))
    hidden = [PLANTED, str(password), good, bad, "dXNlcjpwYXNz"]
    port = free_port()
    said: list[str] = []
    statuses: set[int] = set()
    with up(made_home, port) as process:
        answers(port, process)
        said.append(run(made_home, "status").stdout)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            for broken in (False, True):
                if broken:
                    Cluster(made_home).stop()
                for path in PATHS:
                    for word in (f"Bearer {good}", f"Bearer {bad}", "Basic dXNlcjpwYXNz", "Bearer"):
                        answer = client.get(path, headers={"Authorization": word})
                        statuses.add(answer.status_code)
                        said.append(f"{answer.headers} {answer.text}")
        process.terminate()
        process.wait(timeout=60)
        assert process.stdout is not None
        output = process.stdout.read()
    assert {200, 400, 401, 404, 503} <= statuses, "errors of all kinds were provoked"
    assert "503" in output or "database" in output.lower(), "the output has something to search"
    found = [secret[:20] for secret in hidden if any(secret in text for text in [*said, output])]
    assert not found


@pytest.mark.parametrize("address", ["postgresql://u:{}@127.0.0.1:1/x", "nonsense://u:{}@127.0.0.1/x", "u:{}@host"])
def test_a_wrong_database_address_is_refused_without_its_password(home: Path, address: str) -> None:
    planted = address.format(PLANTED)
    settings = Settings(home=home, database_url=SecretStr(planted))
    said = [repr(settings), str(settings), settings.model_dump_json()]
    for words in (("status",), ("up", "--port", str(free_port()))):
        done = subprocess.run(
            [*TWIN, *words],
            env={**environment(home), "TWIN_DATABASE_URL": planted},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        said += [done.stdout, done.stderr]
    assert done.returncode != 0
    assert len(done.stderr) > 10
    assert not [text for text in said if PLANTED in text]
