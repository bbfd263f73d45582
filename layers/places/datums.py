"""Which datum the coordinates of a file are in: the contract's word, the file's own word and a person's, compared.

Nothing is guessed: where they contradict each other, or none says anything, the file is refused.
"""

from pyproj import CRS

from twin.errors import DatumError

__all__ = ["datum_word", "same_datum"]

_SHIFTED = {"gcj02", "bd09"}
_GEOGRAPHIC = {4326: "wgs84", 4979: "wgs84", 4490: "cgcs2000", 4480: "cgcs2000"}
_ZONE, _FIRST_MERIDIAN_DEG, _FIRST_PLAIN_CODE, _FIRST_ZONED_CODE = "cgcs2000-3deg-", 75, 4534, 4513
_SAME_WITHIN_A_METRE = {"wgs84", "cgcs2000"}


def datum_word(contract: str, crs: str | None, declared: str | None, *, overruled: bool = False) -> str:
    """The datum word to convert by: one of `twin.datum`'s, or `epsg:<code>`.

    `contract` is the rung's word, `crs` what the file says (`EPSG:n` or None), `declared` what a person said with it,
    against all else where `overruled`.
    Raises DatumError when they contradict each other or nothing says it.
    """
    if overruled and declared is not None:
        return declared
    own = _of_crs(crs)
    said = contract if contract != "per_file" else declared
    if declared is not None and contract not in {"per_file", declared}:
        raise DatumError(
            f"the contract says that this dataset is in {contract}, you say {declared}.",
            remedy="Leave --datum out, or correct the contract.",
        )
    if said is None:
        if own is None:
            raise DatumError(
                "the file does not say its datum and neither does the contract.",
                remedy="Say it: --datum wgs84, cgcs2000, gcj02 or bd09; a wrong one shifts all by hundreds of metres.",
            )
        return own
    if own is None or said in _SHIFTED:
        # A shifted datum has no EPSG code: such files claim WGS 84 for want of a better word.
        return said
    if same_datum(own, said):
        return said
    if own.startswith("epsg:") and said in _SAME_WITHIN_A_METRE:
        return own
    speaker = "you say" if contract == "per_file" else "the contract says"
    raise DatumError(
        f"the file says {crs}, but {speaker} {said}.", remedy="One of the two is wrong: correct the CRS or the word."
    )


def same_datum(one: str, other: str) -> bool:
    """Whether two datum words mean the same within a metre."""
    pair = {one, other}
    return one == other or pair <= _SAME_WITHIN_A_METRE or one in _codes_of_zone(other) or other in _codes_of_zone(one)


def _codes_of_zone(word: str) -> set[str]:
    """The EPSG codes of a CGCS2000 3-degree zone: without and with the zone's number before the easting."""
    if not word.startswith(_ZONE):
        return set()
    step = (int(word.removeprefix(_ZONE)) - _FIRST_MERIDIAN_DEG) // 3
    return {f"epsg:{_FIRST_PLAIN_CODE + step}", f"epsg:{_FIRST_ZONED_CODE + step}"}


def _of_crs(crs: str | None) -> str | None:
    if crs is None:
        return None
    code = CRS.from_user_input(crs).to_2d().to_epsg()
    if code is None:
        raise DatumError(f"the file's CRS {crs!r} has no EPSG code.", remedy="Say its datum with --datum.")
    return _GEOGRAPHIC.get(code, f"epsg:{code}")
