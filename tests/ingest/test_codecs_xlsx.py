"""Excel workbooks: values become canonical texts, and no workbook can take the process down."""

import datetime as dt
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from ingest.codecs import xlsx
from ingest.codecs.records import ROW, ReadOptions
from ingest.codecs.xlsx import read
from tests.ingest.contracts import contract
from twin.errors import SourceError


def workbook(folder: Path, **sheets: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    path = folder / "book.xlsx"
    book.save(path)
    return path


def rows(path: Path, **options: Any) -> list[dict[str, Any]]:
    (records,) = read(path, contract(), ReadOptions(**options))
    return records.frame.rows(named=True)


def test_values_become_canonical_texts(tmp_path: Path) -> None:
    path = workbook(
        tmp_path,
        a=[
            ["code", "n", "day", "moment", "clock", "flag"],
            [370402, 1.5, dt.date(2026, 11, 22), dt.datetime(2026, 11, 22, 8, 0, 1), dt.time(8, 30), True],  # noqa: DTZ001
            ["007", 12.0, None, None, None, False],
        ],
    )
    assert rows(path) == [
        {"code": "370402", "n": "1.5", "day": "2026-11-22", "moment": "2026-11-22 08:00:01", "clock": "08:30:00"}
        | {"flag": "true", ROW: 1},
        {"code": "007", "n": "12", "day": None, "moment": None, "clock": None, "flag": "false", ROW: 2},
    ]


def test_titles_above_the_header_and_empty_rows(tmp_path: Path) -> None:
    table = [[], ["2026年站点一览表", None, None], ["制表", "张三", "李四"], ["编号", "名称", "备注"]]
    path = workbook(tmp_path, a=[*table, ["1", "东站", None], [None, " ", None], ["2", None, "x"]])
    assert rows(path) == [
        {"编号": "1", "名称": "东站", "备注": None, ROW: 1},
        {"编号": "2", "名称": None, "备注": "x", ROW: 2},
    ]


def test_failed_formula_is_not_an_empty_cell(tmp_path: Path) -> None:
    path = workbook(tmp_path, a=[["code", "n"], ["1", "#N/A"], ["2", "#DIV/0!"]])
    book = openpyxl.load_workbook(path)
    for cell in ("B2", "B3"):
        book.active[cell].data_type = "e"
    book.save(path)
    assert [row["n"] for row in rows(path)] == ["#N/A", "#DIV/0!"]


def test_sheet_is_chosen_or_the_first_with_data(tmp_path: Path) -> None:
    path = workbook(tmp_path, empty=[], first=[["code"], ["1"]], second=[["code"], ["2"]])
    assert rows(path)[0]["code"] == "1"
    assert rows(path, sheet="second")[0]["code"] == "2"
    with pytest.raises(SourceError, match="no sheet 'third', but empty, first, second"):
        rows(path, sheet="third")


def test_hidden_sheet_is_not_the_first_with_data(tmp_path: Path) -> None:
    path = workbook(tmp_path, lists=[["code"], ["hidden"]], data=[["code"], ["1"]])
    book = openpyxl.load_workbook(path)
    book["lists"].sheet_state = "hidden"
    book.save(path)
    assert rows(path)[0]["code"] == "1"


def test_batches(tmp_path: Path) -> None:
    path = workbook(tmp_path, a=[["code"], *([str(n)] for n in range(25))])
    batches = list(read(path, contract(), ReadOptions(batch_rows=10)))
    assert [batch.frame[ROW].to_list()[0] for batch in batches] == [1, 11, 21]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ([["code", None], ["1", "stray"]], "column 2 has values but no name"),
        ([["code", "code"], ["1", "2"]], "two columns are called 'code'"),
    ],
)
def test_broken_headers_are_refused(tmp_path: Path, table: list[list[Any]], words: str) -> None:
    with pytest.raises(SourceError) as caught:
        rows(workbook(tmp_path, a=table))
    assert words in str(caught.value)


def test_workbook_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no sheet with data"):
        rows(workbook(tmp_path, a=[]))


def test_stopping_the_reader_stops_us_and_blames_no_workbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "stopped.py"
    program.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n", encoding="utf-8")
    monkeypatch.setattr(xlsx, "_PROGRAM", program)
    with pytest.raises(KeyboardInterrupt):
        rows(workbook(tmp_path, a=[["code"], ["1"]]))


def test_stray_cell_at_the_far_end_does_not_take_the_memory(tmp_path: Path) -> None:
    path = workbook(tmp_path, a=[["code"]])
    book = openpyxl.load_workbook(path)
    book.active["XFD1048576"] = "far"
    book.save(path)
    with pytest.raises(SourceError, match="more memory than allowed"):
        rows(path)


def test_broken_workbook_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    path.write_bytes(b"PK\x03\x04 nothing of a workbook")
    with pytest.raises(SourceError, match="broken"):
        rows(path)
