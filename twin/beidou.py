"""The Beidou grid code (GB/T 39409-2020), two dimensions: a hemisphere letter, then ten levels of ever smaller cells.

The first level is the sheet of the 1:1,000,000 map (GB/T 13989): 6 by 4 degrees. Rows and columns of the levels below
count from the corner of the sheet that is nearest to the equator and the prime meridian.
"""

import math
import string

from twin.errors import InvalidRequest

__all__ = ["LEVELS", "box_of", "code_of"]

_STEPS = ((12, 8), (2, 3), (15, 10), (15, 15), (2, 2), (8, 8), (8, 8), (8, 8), (8, 8))
"""Columns and rows into which a cell of each level is divided: 30', 15' by 10', 1', 4", 2", 1/4" ... 1/2048"."""
_ONE_SIGN = frozenset({(2, 3), (2, 2)})
_SIGNS = string.digits + string.ascii_uppercase
_WIDTH_DEG, _HEIGHT_DEG, _COLUMNS, _ROWS = 6, 4, 60, 22
LEVELS = 1 + len(_STEPS)


def code_of(lon: float, lat: float, level: int = LEVELS) -> str:
    """The code of the cell of a level (1 to 10) in which a point lies, in degrees.

    Raises InvalidRequest beyond 88 degrees and for another level.
    """
    if not (1 <= level <= LEVELS and -180 <= lon < 180 and abs(lat) < _ROWS * _HEIGHT_DEG):
        raise InvalidRequest(
            f"({lon}, {lat}) has no Beidou code of level {level}.", remedy=f"Levels are 1 to {LEVELS}."
        )
    hemisphere = "N" if lat >= 0 else "S"
    # Shares of the sheet, away from the meridian and the equator.
    across, column = math.modf(abs(lon) / _WIDTH_DEG)
    up, row = math.modf(abs(lat) / _HEIGHT_DEG)
    sheet = _COLUMNS // 2 + (int(column) if lon >= 0 else -1 - int(column))
    code = f"{hemisphere}{sheet + 1:02d}{string.ascii_uppercase[int(row)]}"
    for columns, rows in _STEPS[: level - 1]:
        across, up = across * columns, up * rows
        x, y = min(int(across), columns - 1), min(int(up), rows - 1)
        across, up = across - x, up - y
        code += _SIGNS[y * columns + x] if (columns, rows) in _ONE_SIGN else _SIGNS[x] + _SIGNS[y]
    return code


def box_of(code: str) -> tuple[float, float, float, float]:
    """West, south, east and north of the cell of a code, in degrees. Raises InvalidRequest for what is no code."""
    wrong = InvalidRequest(f"{code[:40]!r} is no Beidou grid code.", remedy="It looks like N50J47539B82553420.")
    if len(code) < 4 or code[0] not in "NS" or not code[1:3].isdecimal() or code[3] not in string.ascii_uppercase:
        raise wrong
    column, row = int(code[1:3]) - 1, string.ascii_uppercase.index(code[3])
    if not (0 <= column < _COLUMNS and row < _ROWS):
        raise wrong
    width, height = float(_WIDTH_DEG), float(_HEIGHT_DEG)
    is_east = column >= _COLUMNS // 2
    from_meridian = width * (column - _COLUMNS // 2 if is_east else _COLUMNS // 2 - 1 - column)
    from_equator = height * row
    rest = code[4:]
    for columns, rows in _STEPS:
        if not rest:
            break
        length = 1 if (columns, rows) in _ONE_SIGN else 2
        signs, rest = rest[:length], rest[length:]
        if len(signs) < length or any(sign not in _SIGNS for sign in signs):
            raise wrong
        x, y = _SIGNS.index(signs[0]), _SIGNS.index(signs[-1])
        if length == 1:
            y, x = divmod(x, columns)
        if x >= columns or y >= rows:
            raise wrong
        width, height = width / columns, height / rows
        from_meridian, from_equator = from_meridian + x * width, from_equator + y * height
    if rest:
        raise wrong
    west = from_meridian if is_east else -from_meridian - width
    south = from_equator if code[0] == "N" else -from_equator - height
    return west, south, west + width, south + height
