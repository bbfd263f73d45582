"""Secrets and tokens in files."""

import datetime as dt
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from twin.access import PUBLIC, department, read_token
from twin.keys import secret, write_private, write_tokens


def test_processes_that_start_together_share_one_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(secret, [tmp_path / "home"] * 32))
    assert len(found) == 1
    assert found == {secret(tmp_path / "home")}
    assert len(found.pop()) >= 32
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["secret"]
    assert stat.S_IMODE((tmp_path / "home" / "secret").stat().st_mode) == 0o600


def test_a_private_file_replaces_an_open_one(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "新")
    assert path.read_text(encoding="utf-8") == "新"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_there_is_one_token_per_audience(tmp_path: Path) -> None:
    audiences = [PUBLIC, department("environment")]
    write_tokens(tmp_path / "tokens.json", audiences, "s" * 32, lifetime=dt.timedelta(hours=1))
    tokens = json.loads((tmp_path / "tokens.json").read_text())
    assert [read_token(token, "s" * 32).audience for token in tokens.values()] == audiences
    assert list(tokens) == ["public", "department:environment"]
