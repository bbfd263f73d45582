"""`twin load` and `twin quarantine` as a person types them."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from twin import cli
from twin.settings import settings

DATASET = "wifi.access_points"
GOOD = "W1,117.5581,34.8652,文化广场"


class Shell:
    """Runs `twin` in this process: starting one for each command takes most of the time."""

    def __init__(self, patch: pytest.MonkeyPatch, captured: pytest.CaptureFixture[str]) -> None:
        self._patch, self._captured = patch, captured

    def __call__(self, *words: str, code: int = 0) -> str:
        """What `twin` says to these words. Raises AssertionError for another exit code, or for a traceback."""
        settings.cache_clear()
        self._patch.setattr(sys, "argv", ["twin", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = "".join(self._captured.readouterr())
        assert int(end.value.code or 0) == code, said
        assert "Traceback" not in said
        return said


@pytest.fixture
def twin(
    made_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Shell]:
    for name in [name for name in os.environ if name.startswith("TWIN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TWIN_HOME", str(made_home))
    monkeypatch.chdir(tmp_path)
    yield Shell(monkeypatch, capsys)
    settings.cache_clear()


def write(name: str, *rows: str) -> None:
    """Write a CSV of access points into the current folder."""
    Path(name).write_text("\n".join(("ap_id,lon,lat,name", *rows)) + "\n", encoding="utf-8")


def test_a_file_is_loaded_its_faults_are_shown_and_mended(twin: Shell) -> None:
    write("points.csv", GOOD, "W2,34.8652,117.5581,换了位", "W3,,,无坐标", ",117.56,34.86,无编号")
    assert "twin catalog apply" in twin("load", DATASET, "points.csv", code=2), "nothing is there yet"
    twin("catalog", "apply")
    assert "no records" in twin("quarantine", "list")

    assert "received 4 = accepted 1 (1 new, 0 revised) + duplicate 0 + quarantined 3" in twin(
        "load", DATASET, "points.csv"
    )
    listed = twin("quarantine", "list", DATASET)
    assert "swapped-axes" in listed
    assert "missing" in listed
    shown = twin("quarantine", "show", DATASET, "--reason", "swapped-axes")
    assert "换了位" in shown
    assert "无坐标" not in shown
    assert "no records" in twin("quarantine", "show", "medical.institutions")
    assert "received 3" in twin("quarantine", "replay", DATASET), "nothing has changed: refused again"
    assert "quarantined 3" in twin("quarantine", "replay", DATASET)

    assert "accepted 0 (0 new, 0 revised) + duplicate 1 + quarantined 3" in twin("load", DATASET, "points.csv")
    write("points.csv", GOOD.replace("文化广场", "人民公园"))
    assert "accepted 1 (0 new, 1 revised)" in twin("load", DATASET, "points.csv")


def test_what_cannot_be_loaded_is_one_clear_line(twin: Shell) -> None:
    twin("catalog", "apply")
    assert "wifi.hotspots" in twin("load", "wifi.hotspots", "points.csv", code=2)
    assert "points.csv" in twin("load", DATASET, "points.csv", code=2), "there is no such file"
    Path("empty.csv").touch()
    assert "empty" in twin("load", DATASET, "empty.csv", code=2)
    Path("other.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    assert "ap_id" in twin("load", DATASET, "other.csv", code=2), "says which columns are missing"
