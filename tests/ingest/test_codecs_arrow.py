"""Arrow columns with values that are not of their type: polars would end the process, so they get no further."""

import datetime as dt
import struct
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet

from ingest.codecs.arrow import framed
from ingest.reading import open_records
from tests.ingest.contracts import contract
from twin.errors import SourceError


def text_of(*values: bytes) -> pa.Array:
    """A column of texts with these bytes, whatever they are."""
    offsets = [0]
    for value in values:
        offsets.append(offsets[-1] + len(value))
    buffers = [None, pa.py_buffer(struct.pack(f"<{len(offsets)}i", *offsets)), pa.py_buffer(b"".join(values))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    parquet.write_table(pa.table({"code": text_of(b"a", b"\xff\xfe\xe4")}), path)
    with pytest.raises(SourceError, match=r"broken.*Invalid UTF8"):
        list(open_records(path, contract()))


def test_offsets_beyond_the_values_are_refused() -> None:
    buffers = [None, pa.py_buffer(struct.pack("<ii", 0, 1_000_000)), pa.py_buffer(b"a")]
    with pytest.raises(pa.ArrowInvalid):
        framed([pa.Array.from_buffers(pa.string(), 1, buffers)], ["code"])


@pytest.mark.parametrize(
    "column",
    [
        pa.array([Decimal("1.5")], pa.decimal256(60, 2)),
        pa.array([[1]], pa.list_view(pa.int32())),
        pa.array([{"a": b"\xff"}]),
        pa.array([None], pa.month_day_nano_interval()),
        pa.RunEndEncodedArray.from_arrays(pa.array([1], pa.int32()), pa.array(["a"])),
        pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])]),
    ],
    ids=lambda column: str(column.type).split("<")[0],
)
def test_types_that_polars_does_not_have_are_refused(column: pa.Array) -> None:
    with pytest.raises(SourceError, match=r"column 'x' is of type .*, which is not read"):
        framed([pa.array(["1"]), column], ["code", "x"])


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["a", None]).dictionary_encode(), ["a", None]),
        (pa.array([[1, 2], None]), [[1, 2], None]),
        (pa.array([{"a": 1.5}, None]), [{"a": 1.5}, None]),
        (pa.array([dt.date(2026, 1, 2), None]), [dt.date(2026, 1, 2), None]),
        (pa.array([b"\xff", None]), [b"\xff", None]),
        (pa.array([Decimal("1.50"), None]), [Decimal("1.50"), None]),
        (pa.array(['{"a":1}', None], pa.json_()), ['{"a":1}', None]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_values_stay(column: pa.Array, expected: list[Any]) -> None:
    frame = framed([column], ["x"])
    assert frame["x"].to_list() == expected
    assert not isinstance(frame["x"].dtype, pl.BaseExtension)
