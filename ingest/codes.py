"""Codes in records: which are wrong, and which they may have been meant to be."""

import polars as pl

from twin.identifiers import Fault, IdentifierKind, read

__all__ = ["wrong_codes"]


def wrong_codes(kind: IdentifierKind, values: pl.Series) -> pl.Series:
    """What is wrong with each code (n,), in words; null where it is right or there is none."""
    codes = values.drop_nulls().unique()
    said = {code: words for code in codes.to_list() if (words := _fault(kind, code)) is not None}
    if not said:
        return pl.repeat(None, values.len(), dtype=pl.String, eager=True)
    return values.replace_strict(said, default=None, return_dtype=pl.String)


def _fault(kind: IdentifierKind, code: str) -> str | None:
    found = read(kind, code)
    if not isinstance(found, Fault):
        return None
    return f"{found.what.en}{'; it may be ' + ' or '.join(found.fits) if found.fits else ''}"
