"""A program of its own: one sheet of a workbook -> an Arrow file of texts.

A workbook of 5 kB can say that its last cell is XFD1048576; the reader then asks for 500 GB and its process ends on
the spot. So it runs as another process, with a limit to its memory.

    python -P sheet.py WORKBOOK TARGET [SHEET]

Writes what went wrong to standard error, as one line, and ends with status 1.
"""

import resource
import sys
from typing import NoReturn

import fastexcel
import polars as pl

_MEMORY_BYTES = 4 << 30


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
                pl.DataFrame(sheet).write_ipc(target)
                return
    except (fastexcel.FastExcelError, MemoryError, pl.exceptions.PolarsError) as error:
        _refuse(f"the workbook is broken: {str(error).splitlines()[0]}")
    _refuse("the workbook has no sheet with data")


def _refuse(words: str) -> NoReturn:
    sys.stderr.write(words + "\n")
    sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None)
