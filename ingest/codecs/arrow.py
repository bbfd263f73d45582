"""Arrow columns as libraries read them from files -> frames, after a check of every value.

Polars trusts what it is given: text that is not UTF-8, or an offset beyond its buffer, ends the process.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl
import pyarrow as pa

from twin.errors import SourceError

__all__ = ["framed"]

_PLAIN = (
    *(pa.types.is_null, pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal128),
    *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    *(pa.types.is_date, pa.types.is_time, pa.types.is_timestamp, pa.types.is_duration),
)
_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)
_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def framed(columns: Sequence[Any], names: Sequence[str]) -> pl.DataFrame:
    """Arrow arrays (n,) under names. Metadata and extension types are left out: geometry is plain bytes.

    Raises SourceError for a column of a type that polars does not have, pyarrow.ArrowInvalid for values that are not
    of their type.
    """
    plain = [column.storage if isinstance(column.type, pa.BaseExtensionType) else column for column in columns]
    for column, name in zip(plain, names, strict=True):
        if not (_is_any(column.type, _BYTES) or _is_readable(column.type)):
            raise SourceError(
                f"the column {name!r} is of type {column.type}, which is not read.",
                remedy="Leave it out, or write it as numbers, texts or times.",
            )
    batch = pa.RecordBatch.from_arrays(plain, names=list(names))
    batch.validate(full=True)
    return pl.DataFrame(batch)


def _is_readable(dtype: Any) -> bool:  # noqa: ANN401  (pyarrow has no types)
    if pa.types.is_struct(dtype):
        return all(_is_readable(dtype.field(at).type) for at in range(dtype.num_fields))
    if pa.types.is_map(dtype):
        return _is_readable(dtype.key_type) and _is_readable(dtype.item_type)
    if pa.types.is_dictionary(dtype) or _is_any(dtype, _LISTS):
        return _is_readable(dtype.value_type)
    return _is_any(dtype, _PLAIN)


def _is_any(dtype: Any, kinds: Sequence[Any]) -> bool:  # noqa: ANN401
    return any(kind(dtype) for kind in kinds)
