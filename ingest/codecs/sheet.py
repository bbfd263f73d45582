"""A program of its own: one sheet of a workbook -> an Arrow file of texts.

A workbook of 5 kB can say that its last cell is XFD1048576; the reader then asks for 500 GB and its process ends on
the spot. So it runs as another process, with a limit to its memory.

    python -P sheet.py WORKBOOK TARGET [SHEET]

Writes what went wrong to standard error, as one line, and ends with status 1.
"""

import re
import resource
import sys
from typing import NoReturn

import fastexcel
import polars as pl

_MEMORY_BYTES = 4 << 30
_ERRORS = dict(NA="#N/A", Div0="#DIV/0!", Name="#NAME?", Null="#NULL!", Num="#NUM!", Ref="#REF!", Value="#VALUE!")  # noqa: C408


def main(workbook: str, target: str, wanted: str | None) -> None:
    """Write the wanted sheet, or else the first visible one with data, without any header, as texts."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    try:
        reader = fastexcel.read_excel(workbook)
        if wanted is not None and wanted not in reader.sheet_names:
            _refuse(f"the workbook has no sheet {wanted!r}, but {', '.join(reader.sheet_names)}")
        for name in reader.sheet_names if wanted is None else [wanted]:
            sheet = reader.load_sheet(name, header_row=None, dtypes="string", skip_whitespace_tail_rows=True)
            if wanted is not None or (sheet.height and sheet.visible == "visible"):
                _with_errors(sheet).write_ipc(target)
                return
    except (fastexcel.FastExcelError, MemoryError, pl.exceptions.PolarsError) as error:
        _refuse(f"the workbook is broken: {str(error).splitlines()[0]}")
    _refuse("the workbook has no sheet with data")


def _with_errors(sheet: fastexcel.ExcelSheet) -> pl.DataFrame:
    """The sheet's texts; where a formula failed, its error as Excel shows it: #N/A is not an empty cell."""
    batch, errors = sheet.to_arrow_with_errors()
    table = pl.DataFrame(batch)
    failed: dict[int, dict[int, str]] = {}
    for error in errors.errors if errors else ():
        row, column = error.offset_position
        kind = re.search(r"Error\((\w+)\)", error.detail)
        failed.setdefault(column, {})[row] = _ERRORS.get(kind.group(1), "#ERROR!") if kind else "#ERROR!"
    columns = (table.to_series(at).scatter(list(cells), list(cells.values())) for at, cells in failed.items())
    return table.with_columns(columns)


def _refuse(words: str) -> NoReturn:
    sys.stderr.write(words + "\n")
    sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None)
