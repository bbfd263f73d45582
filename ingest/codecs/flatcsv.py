"""CSV messages: a heading and rows, in UTF-8 or GB 18030; each row is a record of texts."""

import csv
import io

from ingest.codecs.messages import FrameError, Message, Record

__all__ = ["decode"]

_SEVERAL = 10_000


def decode(message: bytes) -> Message:
    """Read a table. Raises FrameError."""
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            text = message.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        raise FrameError("its text is neither in UTF-8 nor in GB 18030.")
    try:
        rows = list(csv.reader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise FrameError(f"this is no CSV: {error}.") from None
    if not rows or len(set(rows[0])) != len(rows[0]):
        raise FrameError("its heading is missing or names a column twice.")
    if len(rows) > _SEVERAL:
        raise FrameError(f"it holds {len(rows):,} rows; at most {_SEVERAL:,} are read at once.")
    records: list[Record] = []
    for number, row in enumerate(rows[1:], 1):
        if len(row) != len(rows[0]):
            raise FrameError(f"row {number} has {len(row)} values, the heading {len(rows[0])}.")
        records.append({name: value or None for name, value in zip(rows[0], row, strict=True)})
    return Message("table", "", records)
