"""Excel workbooks (.xlsx): one sheet, its header found among the first rows, all values as texts.

Numbers and dates become texts in one form: whole numbers without a fraction, dates and times as ISO 8601.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from ingest.codecs.records import ReadOptions, Records, numbered
from ingest.columns import Headings
from layers.contract import Contract
from twin.errors import SourceError

__all__ = ["read"]

_PROGRAM = Path(__file__).with_name("sheet.py")
_HEADER_ROWS = 20
_TIMEOUT_S = 600
_STOPPED = {signal.SIGINT, signal.SIGTERM}
"""Signals that end the reading process when somebody stops all of us: they say nothing of the workbook."""

# A cell with a date is read as midnight, one with a time of day as a time of Excel's day zero.
_MIDNIGHT, _DAY_ZERO = r"^([0-9]{4}-[0-9]{2}-[0-9]{2}) 00:00:00$", r"^1899-12-3[01] ([0-9]{2}:[0-9]{2}:[0-9]{2})$"


def read(path: Path, contract: Contract, options: ReadOptions) -> Iterator[Records]:
    """Read the sheet that `options` names, or the first visible one with data.

    The header is the row among the first 20 with most headings of the contract, so that titles above it do no harm;
    rows without any value are no records. Raises SourceError when the workbook is broken, or a column with values has
    no name or the name of another.
    """
    table = _texts(path, options.sheet)
    header = _header(table, Headings(contract))
    body = table.slice(header + 1)
    frame = _named(body, table.row(header)).with_columns(
        pl.all().str.replace(_MIDNIGHT, "$1").str.replace(_DAY_ZERO, "$1")
    )
    for start in range(0, max(frame.height, 1), options.batch_rows):
        yield Records(numbered(frame.slice(start, options.batch_rows), start + 1), None)


def _texts(path: Path, sheet: str | None) -> pl.DataFrame:
    """The sheet as texts, null for cells without any, read by a process of its own."""
    with TemporaryDirectory(prefix="citytwin-") as folder:
        target = Path(folder) / "sheet.arrow"
        command = [sys.executable, "-P", str(_PROGRAM), str(path), str(target), *([sheet] if sheet else [])]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603
        except subprocess.TimeoutExpired as error:
            raise SourceError(
                f"the workbook takes more than {_TIMEOUT_S} s to read.", remedy="Save it as CSV."
            ) from error
        if done.returncode == 1:
            words = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise SourceError(f"{words[-1] if words else 'the workbook is broken'}.", remedy="Save it again as .xlsx.")
        if -done.returncode in _STOPPED:
            raise KeyboardInterrupt
        if done.returncode != 0:
            raise SourceError(
                "reading the workbook takes more memory than allowed.",
                remedy="Delete stray cells far below or right of the table, or save the sheet as CSV.",
            )
        table = pl.read_ipc(target.read_bytes())
    text = pl.all().str.strip_chars()
    return table.with_columns(pl.when(text != "").then(pl.all()))


def _header(table: pl.DataFrame, headings: Headings) -> int:
    """Position of the header: most headings of the contract, else the first row with two values, else with one."""
    filled = [[value for value in row if value is not None] for row in table.head(_HEADER_ROWS).rows()]
    if not any(filled):
        raise SourceError("the sheet has no header.", remedy="Put the names of the columns in the first row.")
    known = [headings.known(row) for row in filled]
    if max(known):
        return known.index(max(known))
    return next((at for at, row in enumerate(filled) if len(row) > 1), next(at for at, row in enumerate(filled) if row))


def _named(body: pl.DataFrame, header: tuple[str | None, ...]) -> pl.DataFrame:
    """The rows with any value, under the names of the header; columns without name and values are left out."""
    names: dict[str, str] = {}
    for column, cell in zip(body.columns, header, strict=True):
        name = (cell or "").strip()
        if name in names.values():
            raise SourceError(f"two columns are called {name!r}.", remedy="Give each column its own name.")
        if name:
            names[column] = name
        elif body[column].null_count() < body.height:
            number = body.columns.index(column) + 1
            raise SourceError(f"column {number} has values but no name.", remedy="Name every column in the header.")
    frame = body.select(list(names)).rename(names)
    return frame.filter(~pl.all_horizontal(pl.all().is_null()))
