"""Tells the twin's own feed `twin.freshness` how feeds and datasets stand, whenever that changes.

Beside each as a whole, of streams whose things may be shown the cells in which things are late or silent. So
`operations.freshness` is a layer like any other: on the map, at any time, by search and live.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import orjson
import shapely
import sqlalchemy as sa

from layers import arrivals
from layers.catalog import Catalog
from layers.contract import Contract
from layers.feeds import FRESHNESS, Feed
from layers.freshness import State, dataset_limit_s, judge, state_of
from layers.query import visible
from layers.tables import latest_table
from twin.city import City
from twin.grid import cell_to_text, parents, resolution_of
from twin.view import View

__all__ = ["tell_freshness"]

_PART_RESOLUTION = 7
_SHOWN = frozenset({"open", "department"})
_STATES: tuple[State, ...] = ("on_time", "late", "silent")
_CELL, _FEED = "@", "feed:"

Record = dict[str, object]


def tell_freshness(
    connection: sa.Connection, catalog: Catalog, city: City, feeds: Sequence[Feed], now: dt.datetime
) -> int:
    """Tell what has changed, in the transaction of `connection`. Returns how many messages that took."""
    known = _known(connection, catalog, city)
    found = {str(one["name"]): one for one in _whole(connection, catalog, city, feeds, now)}
    for contract in catalog:
        limit_s = dataset_limit_s(contract)
        if contract.is_stream and limit_s is not None and contract.data_class in _SHOWN and contract.sensitive is None:
            found |= {str(one["name"]): one for one in _parts(connection, contract, city, limit_s, now)}
    # Cells of which all is well are told of only when it was not; what has moved out of a cell is late there no more.
    found = {name: one for name, one in found.items() if _is_trouble(one) or _CELL not in name or name in known}
    gone = known.keys() - found.keys()
    found |= {name: _part(name, "on_time", None, None) for name in gone if _CELL in name}
    found |= {name: _removed(name, city) for name in gone if name.startswith(_FEED)}
    fresh = [_message(one, now) for name, one in found.items() if known.get(name) != _standing(one)]
    if fresh:
        arrivals.receive(connection, FRESHNESS.id, arrivals.pack(fresh), len(fresh))
    return len(fresh)


def _known(connection: sa.Connection, catalog: Catalog, city: City) -> dict[str, tuple[object, ...]]:
    """How things stand in the dataset, by name."""
    shown = visible(catalog[FRESHNESS.datasets[0]], View(), city)
    found = connection.execute(shown.select(*(shown.rows.c[name] for name in ("name", "state", "reason", "detail"))))
    return {str(row["name"]): _standing(dict(row)) for row in found.mappings()}


def _standing(record: Mapping[str, object]) -> tuple[object, ...]:
    """What is told again when it changes; numbers in a detail change all the time."""
    return record["state"], record["reason"], record["detail"] if record["reason"] in {"fault", "feed"} else None


def _is_trouble(record: Record) -> bool:
    return record["state"] != "on_time"


def _whole(
    connection: sa.Connection, catalog: Catalog, city: City, feeds: Sequence[Feed], now: dt.datetime
) -> Iterator[Record]:
    """Feeds and datasets; they are drawn as the city's bounds."""
    for one in judge(connection, catalog, city, feeds, now):
        of = f"{_FEED}{one.id}" if one.kind == "feed" else one.id
        yield {
            "name": of, "of": of, "h3": None, "kind": one.kind, "state": one.state, "reason": one.reason,
            "detail": one.detail, "last_at": one.last_at, "geometry": _bounds(city),
        }  # fmt: skip


def _removed(name: str, city: City) -> Record:
    """A feed that is named no longer."""
    return {
        "name": name, "of": name, "h3": None, "kind": "feed", "state": "silent", "reason": "removed", "detail": None,
        "last_at": None, "geometry": _bounds(city),
    }  # fmt: skip


def _bounds(city: City) -> object:
    return orjson.loads(shapely.to_geojson(shapely.box(*city.bounds)))


def _parts(
    connection: sa.Connection, contract: Contract, city: City, limit_s: int, now: dt.datetime
) -> Iterator[Record]:
    """The cells in which a stream has things, by the state of most of them."""
    latest = latest_table(contract, city.srid)
    rows = connection.execute(sa.select(latest.c.cell, latest.c.observed_at).where(latest.c.cell.is_not(None))).all()
    cells = np.array([row.cell for row in rows], dtype=np.int64)
    fine = resolution_of(cells) >= _PART_RESOLUTION if len(cells) else np.zeros(0, dtype=bool)
    coarse = np.zeros(len(cells), dtype=np.int64)
    coarse[fine] = parents(cells[fine], _PART_RESOLUTION)
    for cell in np.unique(coarse[fine]).tolist():
        times = [rows[int(number)].observed_at for number in np.flatnonzero(coarse == cell)]
        states = [state_of(time, limit_s, now) for time in times]
        late = f"{len(states) - states.count('on_time')}/{len(states)}"
        (text,) = cell_to_text(np.array([cell], dtype=np.int64))
        yield _part(f"{contract.id}{_CELL}{text}", max(_STATES, key=states.count), late, max(times))


def _part(name: str, state: State, detail: str | None, last_at: dt.datetime | None) -> Record:
    """A cell of a dataset; its index places it."""
    of, _, cell = name.partition(_CELL)
    reason = "none" if state == "on_time" else "overdue"
    return {
        "name": name, "of": of, "h3": cell, "kind": "part", "state": state, "reason": reason, "detail": detail,
        "last_at": last_at, "geometry": None,
    }  # fmt: skip


def _message(record: Record, now: dt.datetime) -> bytes:
    properties = {**record, "since": now}
    return orjson.dumps({"type": "Feature", "geometry": properties.pop("geometry"), "properties": properties})
