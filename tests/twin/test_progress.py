"""Progress on a terminal and elsewhere."""

import io
import os
import pty
from contextlib import suppress

import pytest

from twin import progress
from twin.progress import Progress


def test_without_a_terminal_it_prints_plain_lines() -> None:
    stream = io.StringIO()
    with Progress(stream).task("Reading buildings [枣庄]", total=60_000) as task:
        task.advance(20_000)
        task.advance(40_000)
    first, last = stream.getvalue().splitlines()
    assert first == "Reading buildings [枣庄] ..."
    assert last.startswith("Reading buildings [枣庄]: done (60,000, ")
    assert "\x1b" not in stream.getvalue()


def test_a_long_task_speaks_up_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_PLAIN_INTERVAL_S", 0)
    stream = io.StringIO()
    with Progress(stream).task("Cells", total=4) as task:
        task.advance()
    with Progress(stream).task("Lines") as task:
        task.advance(3)
    assert "Cells: 1 of 4 (25%)" in stream.getvalue().splitlines()
    assert "Lines: 3" in stream.getvalue().splitlines()


def test_a_task_that_fails_does_not_say_done() -> None:
    stream = io.StringIO()
    with pytest.raises(ZeroDivisionError), Progress(stream).task("Cells") as task:
        task.advance(1 // 0)
    assert stream.getvalue().splitlines() == ["Cells ..."]


def test_on_a_terminal_it_draws_a_bar() -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal, Progress(terminal).task("Reading", total=2) as task:
        task.advance(2)
    drawn = ""
    with suppress(OSError), os.fdopen(ours) as screen:  # a terminal that nobody writes to any more ends in an error
        while part := screen.read(1):
            drawn += part
    assert "Reading" in drawn
    assert "2/2" in drawn
