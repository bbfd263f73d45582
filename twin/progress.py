"""Progress of long work: a bar on a terminal, plain lines elsewhere (logs, pipes, CI). Both go to standard error."""

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as _RichProgress

__all__ = ["Progress", "Task"]

_PLAIN_INTERVAL_S = 10.0


class Task:
    """One piece of work under way. Made by `Progress.task`; `done` counts from 0."""

    def __init__(self, title: str, total: int | None) -> None:
        self.title = title
        self.total = total
        self.done = 0

    def advance(self, n: int = 1) -> None:
        """Say that `n` more units are done."""
        self.done += n


class Progress:
    """Shows tasks to a person.

    >>> with Progress().task("Reading buildings", total=60_000) as task:
    ...     task.advance(10_000)
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._console = Console(file=stream or sys.stderr)

    @contextmanager
    def task(self, title: str, total: int | None = None) -> Generator[Task]:
        """Show a task while the block runs. `total` is None when nobody knows how much there is to do."""
        shown = _bar if self._console.is_terminal else _lines
        with shown(self._console, title, total) as task:
            yield task


@contextmanager
def _bar(console: Console, title: str, total: int | None) -> Generator[Task]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with _RichProgress(*columns, console=console) as display:
        task = _BarTask(title, total, display)
        yield task


class _BarTask(Task):
    def __init__(self, title: str, total: int | None, display: _RichProgress) -> None:
        super().__init__(title, total)
        self._display = display
        self._id = display.add_task(title, total=total)

    def advance(self, n: int = 1) -> None:
        super().advance(n)
        self._display.advance(self._id, n)


@contextmanager
def _lines(console: Console, title: str, total: int | None) -> Generator[Task]:
    task = _LineTask(title, total, console)
    task.say(f"{title} ...")
    yield task
    amount = f"{task.done:,}, " if task.done else ""
    task.say(f"{title}: done ({amount}{task.elapsed_s:.1f} s)")


class _LineTask(Task):
    """Prints a line when the task starts, ends, and every ten seconds in between."""

    def __init__(self, title: str, total: int | None, console: Console) -> None:
        super().__init__(title, total)
        self._console = console
        self._started = self._said = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the task started."""
        return time.monotonic() - self._started

    def advance(self, n: int = 1) -> None:
        super().advance(n)
        if time.monotonic() - self._said >= _PLAIN_INTERVAL_S:
            share = f" of {self.total:,} ({self.done / self.total:.0%})" if self.total else ""
            self.say(f"{self.title}: {self.done:,}{share}")

    def say(self, text: str) -> None:
        """Print one line, whole, whatever the width of the terminal."""
        self._said = time.monotonic()
        self._console.print(text, soft_wrap=True, markup=False, highlight=False)
