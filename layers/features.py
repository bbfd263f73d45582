"""Records as GeoJSON features, written by PostgreSQL: Python touches no record, only whole pages."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from layers.contract import Contract

__all__ = ["PLACE", "Writing", "feature_columns", "feature_rows", "features"]

PLACE = ("place_method", "place_accuracy_m", "place_source")
"""Properties that every record has beside its contract's fields and its times."""

Features = sa.Select[Any, Any, Any]

_WEB_MERCATOR = 3857
_DEGREE_DIGITS, _METRE_DIGITS = 7, 2  # a centimetre


@dataclass(frozen=True, slots=True)
class Writing:
    """How records are written: the fields (None: all), the EPSG code (None: as stored), latitude first or not."""

    properties: tuple[str, ...] | None = None
    crs: int | None = None
    latitude_first: bool = False

    def names(self, contract: Contract) -> list[str]:
        """The fields to write, in the contract's order."""
        return [name for name in contract.fields if self.properties is None or name in self.properties]


def feature_columns(contract: Contract, rows: sa.FromClause, writing: Writing) -> list[sa.ColumnElement[Any]]:
    """The columns of `rows` that `features` looks at."""
    times = ("recorded",) if contract.is_stream else ("valid", "recorded")
    return [rows.c[name] for name in ("id", "geom", *PLACE, *times, *writing.names(contract))]


def features(page: sa.Select[*tuple[Any, ...]], contract: Contract, writing: Writing, limit: int) -> Features:
    """A select of one row: the text of the first `limit` features separated by commas, the number of rows, a key.

    `page` gives the columns of `feature_columns` in the order to be written, and any others by which it is ordered,
    named `key_0`, `key_1`, ... The key that comes back is that of row `limit` as a JSON array of texts, null when there
    are fewer. Times are RFC 3339; `valid` and `recorded` are pairs whose null is open. Coordinates have centimetres.
    """
    feature, properties = _feature(writing), _properties(contract, writing)
    # The rows come out of the sorted subquery in its order, so counting them off numbers them.
    rows = page.subquery("rows")
    numbered = sa.select(rows, sa.func.row_number().over().label("at")).cte("page")
    at = sa.literal_column("page.at", sa.BigInteger())
    key = ", ".join(f"page.{name}::text" for name in rows.c.keys() if name.startswith("key_"))  # noqa: SIM118
    return sa.select(
        sa.func.string_agg(sa.literal_column(feature), sa.literal_column("',' ORDER BY page.at")).filter(at <= limit),
        sa.func.count(),
        sa.func.max(sa.literal_column(f"json_build_array({key})::text", sa.Text())).filter(at == limit),
    ).select_from(numbered, sa.text(f"LATERAL (SELECT {properties}) AS properties"))


def feature_rows(page: sa.Select[*tuple[Any, ...]], contract: Contract, writing: Writing) -> Features:
    """A select of one row a feature: its id, its text, and its box in degrees (null where it has no place).

    `page` gives the columns of `feature_columns`.
    """
    rows = page.cte("page")
    box = [sa.literal_column(f"ST_{side}(page.geom)", sa.Double()) for side in ("XMin", "YMin", "XMax", "YMax")]
    return sa.select(rows.c.id, sa.literal_column(_feature(writing), sa.Text()), *box).select_from(
        rows, sa.text(f"LATERAL (SELECT {_properties(contract, writing)}) AS properties")
    )


def _feature(writing: Writing) -> str:
    """The text of the feature of a row of `page`, with its `properties`."""
    return (
        """'{"type":"Feature","id":' || to_json(page.id)"""
        f""" || ',"geometry":' || coalesce({_geometry(writing)}, 'null')"""
        """ || ',"properties":' || row_to_json(properties) || '}'"""
    )


def _properties(contract: Contract, writing: Writing) -> str:
    names = [f'page."{name}"' for name in (*writing.names(contract), *PLACE)]
    times = [] if contract.is_stream else [f"{_ends('valid')} AS valid"]
    return ", ".join([*names, *times, f"{_ends('recorded')} AS recorded"])


def _geometry(writing: Writing) -> str:
    geom = "page.geom" if writing.crs is None else f"ST_Transform(page.geom, {writing.crs:d})"
    if writing.latitude_first:
        geom = f"ST_FlipCoordinates({geom})"
    return f"ST_AsGeoJSON({geom}, {_METRE_DIGITS if writing.crs == _WEB_MERCATOR else _DEGREE_DIGITS}, 0)"


def _ends(period: str) -> str:
    """A range as a pair of moments; null where it is open or infinite."""
    ends = (f"CASE WHEN isfinite({end}(page.{period})) THEN {end}(page.{period}) END" for end in ("lower", "upper"))
    return f"json_build_array({', '.join(ends)})"
