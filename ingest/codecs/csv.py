"""CSV: delimited text with a header line (RFC 4180; the delimiter may also be a semicolon, a tab or a bar).

A scanner finds the records and sets broken ones aside with their text; pyarrow then parses the rest, which is
rectangular and well quoted. A quote that never closes costs its own line, not the rest of the file.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray
from pyarrow import csv as arrow_csv

from ingest.codecs.encodings import as_utf8
from ingest.codecs.records import ROW, ReadOptions, Records, Unreadable, unreadable
from layers.contract import Contract
from twin.errors import SourceError

__all__ = ["read", "read_table"]

Bytes = NDArray[np.uint8]

_DELIMITERS = ",;\t|"
_TAB, _LF, _CR, _SPACE, _QUOTE = b'\t\n\r "'
_LONGEST_RECORD_BYTES = 1 << 20
_SHOWN_BYTES = 8192
_GOOD, _WIDTH, _QUOTES, _LONG = 0, 1, 2, 3


def read(path: Path, contract: Contract, options: ReadOptions) -> Iterator[Records]:  # noqa: ARG001
    """Read a CSV file, all values as texts. It never says the coordinate system of its coordinates."""
    return read_table(path, options)


def read_table(path: Path, options: ReadOptions) -> Iterator[Records]:
    """Read a CSV file in batches of `options.batch_rows`; at least one batch, which may be empty.

    The encoding is UTF-8, or GB18030 where that makes Chinese text, or the one that `options` names. Lines without
    any value are no records. Raises SourceError when the file cannot be decoded, or its header is missing, has an
    empty name or the same name twice.
    """
    with TemporaryDirectory(prefix="citytwin-") as folder:
        text = as_utf8(path, Path(folder), options.encoding)
        # An empty file cannot be mapped.
        data = np.asarray(np.memmap(text, mode="r")) if text.stat().st_size else np.empty(0, dtype=np.uint8)
        header, position = _header(data)
        first = 1
        batch = _Batch.scan(data, position, header, options.batch_rows)
        yield batch.records(header, first)
        while batch.count:
            first += batch.count
            batch = _Batch.scan(data, batch.end, header, options.batch_rows)
            if batch.count:
                yield batch.records(header, first)


@dataclass(frozen=True, slots=True)
class _Header:
    names: tuple[str, ...]
    delimiter: str


@dataclass(frozen=True, slots=True)
class _Position:
    """Where the scanner stands: the next byte, and up to which byte a record is held to one line."""

    byte: int = 0
    one_line_until: int = 0


@dataclass(frozen=True, slots=True)
class _Batch:
    """Records found in `data`: `found` (n, 4) has first byte, byte after the last, values and fault of each."""

    data: Bytes
    found: NDArray[np.int64]
    end: _Position

    @property
    def count(self) -> int:
        return self.found.shape[0]

    @classmethod
    def scan(cls, data: Bytes, at: _Position, header: _Header, rows: int) -> "_Batch":
        """Find up to `rows` records from a position on. A header without names takes any number of values."""
        found = np.empty((rows, 4), dtype=np.int64)
        form = (ord(header.delimiter), len(header.names))
        n, byte, until = _scan(data, (at.byte, at.one_line_until), form, found)
        return cls(data, found[:n], _Position(byte, until))

    def records(self, header: _Header, first: int) -> Records:
        starts, ends, _, faults = self.found.T
        frame = _parse(self._joined(faults == _GOOD), int((ends - starts).max(initial=0)), header)
        rows = pl.Series(ROW, np.flatnonzero(faults == _GOOD) + first, dtype=pl.Int64)
        return Records(frame.with_columns(rows), None, tuple(self._unreadable(header, first)))

    def _joined(self, good: NDArray[np.bool_]) -> Bytes:
        """The bytes of the good records without what is between them; without a copy where that is nothing."""
        start, end, *_ = self.found[good].T
        # Two bytes between records are line ends; more hold a line without values or a broken record.
        cuts = np.flatnonzero(start[1:] - end[:-1] > 2) + 1
        runs = zip(start[np.append(0, cuts)], end[np.append(cuts, 0) - 1], strict=True) if start.size else ()
        parts = [self.data[first:last] for first, last in runs]
        if len(parts) <= 1:
            return parts[0] if parts else self.data[:0]
        return np.frombuffer(b"\n".join(part.tobytes() for part in parts), dtype=np.uint8)

    def _unreadable(self, header: _Header, first: int) -> Iterator[Unreadable]:
        for index in np.flatnonzero(self.found[:, 3]):
            *_, width, fault = self.found[index]
            why = {
                _WIDTH: f"{width} values where the header has {len(header.names)}",
                _QUOTES: "its quotes do not balance",
                _LONG: f"it is longer than {_LONGEST_RECORD_BYTES} bytes",
            }[int(fault)]
            yield unreadable(int(index) + first, self.text(int(index)), why)

    def text(self, index: int) -> str:
        """The record's text, its first part when it is very long."""
        start, end = self.found[index, :2]
        return self.data[start : min(end, start + _SHOWN_BYTES)].tobytes().decode("utf-8", "replace")


def _header(data: Bytes) -> tuple[_Header, _Position]:
    """The names of the columns, split by the delimiter that gives most of them."""
    found = {one: _Batch.scan(data, _Position(), _Header((), one), 1) for one in _DELIMITERS}
    sound = {one: batch for one, batch in found.items() if batch.count and batch.found[0, 3] == _GOOD}
    widths = {one: int(batch.found[0, 2]) for one, batch in sound.items()}
    # Where one delimiter finds broken quotes, another that finds a single column is not the right one.
    if not sound or (max(widths.values()) == 1 and len(sound) < len(found)):
        line = found[","].text(0)[:200] if found[","].count else ""
        raise SourceError(
            f"the header line cannot be read: {line!r}." if line else "the file has no header line.",
            remedy="Put the names of the columns in the first line.",
        )
    delimiter = max(widths, key=widths.__getitem__)  # the first of equals
    batch = sound[delimiter]
    try:
        line = batch.data[batch.found[0, 0] : batch.found[0, 1]].tobytes().decode("utf-8", "replace")
        names = tuple(name.strip() for name in next(csv.reader(io.StringIO(line, newline=""), delimiter=delimiter)))
    except csv.Error as error:
        raise SourceError(f"the header line cannot be read: {error}.") from error
    _require_names(names)
    return _Header(names, delimiter), batch.end


def _require_names(names: tuple[str, ...]) -> None:
    if "" in names:
        raise SourceError(
            f"column {names.index('') + 1} of {len(names)} has no name.", remedy="Name every column in the header."
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SourceError(f"columns have the same name: {', '.join(twice)}.", remedy="Give each column its own name.")


def _parse(data: Bytes, longest: int, header: _Header) -> pl.DataFrame:
    """Well-formed records, of which none is longer than `longest` bytes, as texts."""
    if data.size == 0:
        return pl.DataFrame(schema=dict.fromkeys(header.names, pl.String))
    table = arrow_csv.read_csv(
        pa.BufferReader(pa.py_buffer(data)),
        # A block holds at least one record.
        read_options=arrow_csv.ReadOptions(column_names=header.names, block_size=max(1 << 20, 2 * longest)),
        parse_options=arrow_csv.ParseOptions(delimiter=header.delimiter, newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(header.names, pa.string()), strings_can_be_null=False, check_utf8=False
        ),
    )
    return pl.DataFrame(table)


@njit(cache=True, nogil=True)
def _scan(data: Bytes, at: tuple[int, int], form: tuple[int, int], found: NDArray[np.int64]) -> tuple[int, int, int]:
    """Fill `found` with records until it or the data end. Returns their number and where the scanner stands.

    A broken record that runs over several lines ends with its first line. The lines it ran over are then read one by
    one, so no byte is read more than twice, whatever the quotes.
    """
    delimiter, width = form
    i, one_line_until = at
    n = 0
    while i < data.size and n < found.shape[0]:
        past = _past_blank(data, i, delimiter)
        if past > i:
            i = past
            continue
        end, values, fault = _record(data, i, delimiter, i < one_line_until)
        if fault == _GOOD and width > 0 and values != width:
            fault = _WIDTH
        if fault != _GOOD:
            one_line_until = max(one_line_until, end)
            end = _line_end(data, i)
        found[n] = (i, end, values, fault)
        n += 1
        i = end
    return n, i, one_line_until


@njit(cache=True, nogil=True)
def _past_blank(data: Bytes, start: int, delimiter: int) -> int:
    """Where the next line starts if there is no value in this one, else `start`."""
    i = start
    while i < data.size and (data[i] == delimiter or data[i] == _SPACE or data[i] == _TAB):
        i += 1
    if i == data.size:
        return i
    return i + 1 if _ends_line(data[i]) else start


@njit(cache=True, nogil=True)
def _line_end(data: Bytes, start: int) -> int:
    i = start
    while i < data.size and not _ends_line(data[i]):
        i += 1
    return i


@njit(inline="always")
def _ends_line(character: int) -> bool:
    return (character == _LF) | (character == _CR)


@njit(cache=True, nogil=True)
def _record(data: Bytes, start: int, delimiter: int, one_line: bool) -> tuple[int, int, int]:  # noqa: FBT001
    """Where the record that starts here ends, how many values it has and what is wrong with it.

    A quote opens at the start of a value only; further inside it is a character like any other.
    """
    limit = min(data.size, start + _LONGEST_RECORD_BYTES)
    values, fresh, i = 1, True, start
    while i < limit and not _ends_line(data[i]):
        if fresh and data[i] == _QUOTE:
            i, closed = _quoted(data, i + 1, limit, one_line)
            if not closed or (i < limit and data[i] != delimiter and not _ends_line(data[i])):
                return i, values, _QUOTES
            fresh = False
        else:
            fresh = data[i] == delimiter
            values += fresh
            i += 1
    return i, values, _LONG if i == limit and limit < data.size else _GOOD


@njit(cache=True, nogil=True)
def _quoted(data: Bytes, start: int, limit: int, one_line: bool) -> tuple[int, bool]:  # noqa: FBT001
    """Where the quoted value whose text starts here ends, and whether a quote closes it. Two quotes mean one."""
    i = start
    while i < limit and not (one_line and _ends_line(data[i])):
        if data[i] == _QUOTE:
            if i + 1 == data.size or data[i + 1] != _QUOTE:
                return i + 1, True
            i += 1
        i += 1
    return i, False
