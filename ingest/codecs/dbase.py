"""The encoding of a shapefile's dBASE table, which often does not say it, or says it wrongly."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ingest.codecs.encodings import is_chinese, known_encoding
from twin.errors import SourceError

__all__ = ["Dbase"]

_HEADER_BYTES = 32
_CHINESE = {"936", "gbk", "gb2312", "gb18030"}
_NAMES = {"utf8": "utf-8", "65001": "utf-8", "oem": None, "ansi": None, "": None}


@dataclass(frozen=True, slots=True)
class Dbase:
    """A dBASE table whose texts are in `encoding`."""

    encoding: str

    @classmethod
    def open(cls, path: Path, encoding: str | None) -> "Dbase":
        """Find the encoding: the one given, else that of the .cpg file beside `path`, else UTF-8, else GB18030.

        Raises SourceError when the texts are in none of these.
        """
        texts = list(_texts(path))
        stated = known_encoding(encoding) if encoding else _stated(path.with_suffix(".cpg"))
        candidates = [stated] if stated else ["utf-8", "gb18030"]
        for candidate in candidates:
            decoded = [_decoded(text, candidate) for text in texts]
            chinese = bool(stated) or candidate == "utf-8" or is_chinese("".join(one or "" for one in decoded))
            if None not in decoded and chinese:
                return cls(candidate)
        where = "--encoding" if encoding else ".cpg file"
        what = f"not {stated}, as the {where} says" if stated else "neither UTF-8 nor Chinese in GB18030"
        raise SourceError(f"the texts of the .dbf file are {what}.", remedy="Name their encoding with --encoding.")

    def decoded(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The table with its texts and column names decoded. They come as Latin-1, that is byte by byte."""
        named = frame.rename({name: self._text(name) for name in frame.columns if not name.isascii()})
        return named.with_columns(
            self._column(named[name]) for name, dtype in named.schema.items() if dtype == pl.String
        )

    def _column(self, series: pl.Series) -> pl.Series:
        beyond = series.filter(series.str.len_bytes() != series.str.len_chars()).unique()
        if beyond.is_empty():
            return series
        decoded = [self._text(text) for text in beyond]
        return series.replace(beyond, pl.Series(decoded, dtype=pl.String))

    def _text(self, latin: str) -> str:
        return _decoded(latin.encode("latin-1"), self.encoding) or latin


def _decoded(data: bytes, encoding: str) -> str | None:
    """The text, None where it is in another encoding. Of a character cut off where the field is full, nothing stays."""
    for cut in range(4):
        try:
            return data[: len(data) - cut].decode(encoding)
        except UnicodeDecodeError as error:
            if error.end < len(data) - cut:
                return None
    return None


def _stated(cpg: Path) -> str | None:
    """The encoding that a .cpg file names; None when there is none or it names none that is known."""
    if not cpg.exists():
        return None
    name = cpg.read_bytes()[:64].decode("ascii", "ignore").strip().lower()
    plain = name.replace("-", "").replace("_", "").replace(" ", "").removeprefix("cp").removeprefix("ansi")
    if plain in _CHINESE:
        return "gb18030"
    if plain in _NAMES:
        return _NAMES[plain]
    try:
        return known_encoding(f"cp{plain}" if plain.isdigit() and not plain.startswith("8859") else name)
    except SourceError:
        return None


def _texts(path: Path) -> Iterator[bytes]:
    """The column names and the different values beyond ASCII of the text columns. Raises SourceError."""
    data = np.asarray(np.memmap(path, mode="r")) if path.stat().st_size else np.empty(0, dtype=np.uint8)
    if data.size < _HEADER_BYTES:
        raise SourceError("the .dbf file is cut off.", remedy="Export the shapefile again.")
    header = int.from_bytes(data[8:10].tobytes(), "little")
    width = int.from_bytes(data[10:12].tobytes(), "little")
    rows = min(int.from_bytes(data[4:8].tobytes(), "little"), max(0, data.size - header) // max(width, 1))
    table = data[header : header + rows * width].reshape(rows, width)
    offset = 1
    for start in range(_HEADER_BYTES, max(header - 1, _HEADER_BYTES), _HEADER_BYTES):
        field = data[start : start + _HEADER_BYTES].tobytes()
        if len(field) < _HEADER_BYTES or field[0] == 0x0D:
            break
        yield field[:11].split(b"\0")[0]
        if field[11:12] == b"C":
            yield from _beyond_ascii(table[:, offset : offset + field[16]])
        offset += field[16]


def _beyond_ascii(cells: NDArray[np.uint8]) -> Iterator[bytes]:
    """The different values (bytes, without padding) with a byte beyond ASCII, of cells (n, width)."""
    if cells.shape[1] == 0:
        return
    high = np.ascontiguousarray(cells[(cells >= 0x80).any(axis=1)])
    for value in np.unique(high.view(f"S{high.shape[1]}").ravel()):
        yield bytes(value).rstrip(b"\0 ")
