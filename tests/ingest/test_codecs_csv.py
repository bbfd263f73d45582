"""CSV: every record of a file comes out, either read or unreadable with its text."""

import csv
import io
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.codecs.csv import read_table
from ingest.codecs.records import ROW, ReadOptions, Records
from twin.errors import SourceError


def read(folder: Path, data: bytes | str, **options: object) -> Records:
    path = folder / "table.csv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    (records,) = read_table(path, ReadOptions(**options))
    return records


def rows(records: Records) -> list[tuple[object, ...]]:
    return records.frame.drop(ROW).rows()


def test_values_are_texts_and_nothing_is_guessed(tmp_path: Path) -> None:
    records = read(tmp_path, 'code,n,empty,when\n007,1.50,,2026-11-22\n"a,b"," x ",NA,"say ""hi"""\n')
    assert records.frame.columns == ["code", "n", "empty", "when", ROW]
    assert rows(records) == [("007", "1.50", "", "2026-11-22"), ("a,b", " x ", "NA", 'say "hi"')]
    assert records.frame[ROW].to_list() == [1, 2]
    assert records.crs is None


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_is_found_in_the_header(tmp_path: Path, delimiter: str) -> None:
    records = read(tmp_path, f"a{delimiter}b\n1{delimiter}2\n")
    assert rows(records) == [("1", "2")]


def test_one_column_needs_no_delimiter(tmp_path: Path) -> None:
    assert rows(read(tmp_path, "code\n1\n2\n")) == [("1",), ("2",)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_encoding_is_found(tmp_path: Path, encoding: str) -> None:
    records = read(tmp_path, "编号,名称\n1,枣庄市薛城区\n".encode(encoding))
    assert rows(records) == [("1", "枣庄市薛城区")]
    assert records.frame.columns[0] == "编号"


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_line_ends_and_blank_lines(tmp_path: Path, line_end: str) -> None:
    text = line_end.join(["a,b", "1,2", "", ",", " , ", "3,4", ""])
    records = read(tmp_path, text)
    assert rows(records) == [("1", "2"), ("3", "4")]
    assert records.frame[ROW].to_list() == [1, 2]


def test_ragged_rows_are_unreadable(tmp_path: Path) -> None:
    records = read(tmp_path, "a,b,c\n1,2,3\n4,5\n6,7,8,9\n10,11,12\n")
    assert rows(records) == [("1", "2", "3"), ("10", "11", "12")]
    assert records.frame[ROW].to_list() == [1, 4]
    assert [(one.row, one.text) for one in records.unreadable] == [(2, "4,5"), (3, "6,7,8,9")]
    assert records.unreadable[0].why == "2 values where the header has 3"


def test_unbalanced_quote_costs_its_own_line(tmp_path: Path) -> None:
    lines = [f"{number},x" for number in range(1, 1001)]
    lines[9] = '10,"open'
    lines[499] = '500,"ab"c'
    records = read(tmp_path, "\n".join(["n,v", *lines]))
    assert [one.row for one in records.unreadable] == [10, 500]
    assert {one.why for one in records.unreadable} == {"its quotes do not balance"}
    assert records.frame.height == 998
    assert set(records.frame["v"]) == {"x"}


def test_quotes_inside_a_value_are_characters(tmp_path: Path) -> None:
    assert rows(read(tmp_path, 'a,b\n1,5" pipe\n2,6" pipe\n')) == [("1", '5" pipe'), ("2", '6" pipe')]


def test_lines_inside_quotes(tmp_path: Path) -> None:
    assert rows(read(tmp_path, 'a,b\n1,"two\nlines"\n2,"x\r\ny"\n')) == [("1", "two\nlines"), ("2", "x\r\ny")]


def test_line_longer_than_a_megabyte_is_unreadable(tmp_path: Path) -> None:
    records = read(tmp_path, "a,b\n1," + "x" * 1_100_000 + "\n2,y\n")
    assert rows(records) == [("2", "y")]
    assert len(records.unreadable[0].text) < 2100


def test_value_of_almost_a_megabyte_is_read(tmp_path: Path) -> None:
    long = "x" * 1_000_000
    assert rows(read(tmp_path, f"a,b\n1,{long}\n2,y\n")) == [("1", long), ("2", "y")]


@pytest.mark.parametrize("line", ['x","', '"', ',""', '"""x', '"\n"', '"a,"b,"'])
def test_hostile_quotes_take_linear_time(tmp_path: Path, line: str) -> None:
    path = tmp_path / "hostile.csv"
    count = 100_000
    path.write_text("a,b\n" + f"{line}\n" * count)
    seen = sum(records.frame.height + len(records.unreadable) for records in read_table(path, ReadOptions()))
    assert 0 < seen <= 2 * count  # quadratic time would not end


def test_batches(tmp_path: Path) -> None:
    path = tmp_path / "many.csv"
    path.write_text("a,b\n" + "".join(f"{n},x\n" if n % 7 else f"{n}\n" for n in range(1, 101)))
    batches = list(read_table(path, ReadOptions(batch_rows=30)))
    assert [batch.frame.height + len(batch.unreadable) for batch in batches] == [30, 30, 30, 10]
    assert pl.concat(batch.frame for batch in batches)[ROW].to_list() == [n for n in range(1, 101) if n % 7]


def test_header_alone_is_one_empty_batch(tmp_path: Path) -> None:
    records = read(tmp_path, "a,b\n")
    assert records.frame.height == 0
    assert records.frame.columns == ["a", "b", ROW]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no header"),
        (b"\n\n", "no header"),
        (b"a,b,a\n1,2,3\n", "same name: a"),
        (b"a,,c\n1,2,3\n", "column 2 of 3 has no name"),
        (b'a,"b\n1,2\n', "header line cannot be read"),
        ("name\nSão João\nFußgänger\n".encode("latin-1"), "neither UTF-8 (byte 7"),
        ("名称\n枣庄市薛城区光明大道\n".encode() + b"\xff\n", "neither UTF-8"),
        (b"\xff\xfea", "not utf-16"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(SourceError) as caught:
        read(tmp_path, data)
    assert words in str(caught.value)


def test_named_encoding(tmp_path: Path) -> None:
    data = "name\nSão João\n".encode("latin-1")
    assert rows(read(tmp_path, data, encoding="latin-1")) == [("São João",)]
    with pytest.raises(SourceError, match="not utf-8"):
        read(tmp_path, data, encoding="utf-8")
    with pytest.raises(SourceError, match="no text encoding is called 'klingon'"):
        read(tmp_path, data, encoding="klingon")
    with pytest.raises(SourceError, match="no text encoding is called 'base64'"):
        read(tmp_path, data, encoding="base64")


_CELL = st.text(st.sampled_from('ab,"\n\r ;中'), max_size=6)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(_CELL, _CELL), max_size=12))
def test_what_python_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, table: list[tuple[str, str]]
) -> None:
    kept = [row for row in table if any(cell.strip(" ") for cell in row)]
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *kept])
    records = read(tmp_path_factory.mktemp("csv"), text.getvalue())
    assert rows(records) == kept
    assert records.unreadable == ()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(st.sampled_from('a,"'), min_size=1, max_size=8), max_size=20))
def test_no_line_is_lost(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    lines = [f"a{line}" for line in lines]  # no blank line
    records = read(tmp_path_factory.mktemp("csv"), "\n".join(["a,b", *lines]))
    seen = [*records.frame[ROW], *(one.row for one in records.unreadable)]
    assert sorted(seen) == list(range(1, len(seen) + 1))
    values = [value for row in records.frame.select("a", "b").rows() for value in row]
    kept = "".join([*values, *(one.text for one in records.unreadable)])
    assert kept.count("a") == "".join(lines).count("a")
