"""A tiny city of one system for the tests of reading: every kind of dataset and every class of data."""

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from layers.catalog import Catalog, read_catalog
from layers.store import apply
from layers.tables import dataset_table, latest_table, partition_name
from twin.city import City, load_city
from twin.database import Database
from twin.grid import cells_of_points

CITY: City = load_city("zaozhuang")
KNOWN_SINCE = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
ALWAYS = "[-infinity,)"

_SYSTEM = """
id = "parks"
number = "C99"
title = { zh = "公园", en = "Parks" }
owner = "园林局"
description = { zh = "测试", en = "A test" }
"""

_HEAD = """
id = "parks.{name}"
kind = "{kind}"
title = {{ zh = "{name}", en = "{name}" }}
owner = "园林局"
class = "{data_class}"
rate = "day"
key = {key}
geometry = "{geometry}"
{more}
[place]
rungs = [{{ by = "geometry", datum = "cgcs2000", accuracy_m = 5 }}]
"""

_TREES = """
[fields]
tree_id = { type = "string", required = true, title = { zh = "编号", en = "Id" } }
name = { type = "string", title = { zh = "名", en = "Name" } }
height_m = { type = "float", unit = "m", title = { zh = "高", en = "Height" } }
ring_count = { type = "integer", unit = "1", title = { zh = "年轮", en = "Rings" } }
healthy = { type = "boolean", title = { zh = "健康", en = "Healthy" } }
planted = { type = "date", title = { zh = "栽植", en = "Planted" } }
checked = { type = "datetime", title = { zh = "检查", en = "Checked" } }
[fields.kind]
type = "string"
title = { zh = "种", en = "Kind" }
[fields.kind.values]
oak = { zh = "橡", en = "Oak" }
elm = { zh = "榆", en = "Elm" }
[[indicators]]
id = "parks.tree_count"
measure = "count()"
resolution = 9
title = { zh = "树", en = "Trees" }
[[indicators]]
id = "parks.height_sum"
measure = "sum(height_m)"
unit = "m"
resolution = 9
title = { zh = "高", en = "Heights" }
[[indicators]]
id = "parks.oak_mean"
measure = "mean(height_m)"
unit = "m"
resolution = 9
where = { kind = ["oak"] }
title = { zh = "橡", en = "Oaks" }
[[indicators]]
id = "parks.healthy_share"
measure = "share(healthy)"
resolution = 8
title = { zh = "健康", en = "Healthy" }
[[indicators]]
id = "parks.trees_per_km2"
measure = "count()"
unit = "/km2"
resolution = 8
per_km2 = true
title = { zh = "密度", en = "Density" }
[style]
circle = { colour = "kind", ramp = "category" }
label = "name"
"""

_NAMED = '[fields]\nname = { type = "string", title = { zh = "名", en = "Name" } }\n'
_PATHS = (
    _NAMED
    + """
[fields.class]
type = "string"
title = { zh = "级", en = "Class" }
[fields.class.values]
main = { zh = "主", en = "Main" }
side = { zh = "次", en = "Side" }
[style]
line = { colour = "class", ramp = "category" }
"""
)
_WORKS = """
[fields]
name = { type = "string", title = { zh = "名", en = "Name" } }
begins = { type = "datetime", title = { zh = "始", en = "Begins" } }
ends = { type = "datetime", title = { zh = "终", en = "Ends" } }
"""
_AIR = """
[fields]
sensor = { type = "string", required = true, title = { zh = "点", en = "Sensor" } }
observed_at = { type = "datetime", required = true, title = { zh = "时", en = "Time" } }
dust = { type = "float", unit = "ug/m3", title = { zh = "尘", en = "Dust" } }
[[indicators]]
id = "parks.dust_mean"
measure = "mean(dust)"
unit = "ug/m3"
resolution = 8
window = "1 h"
title = { zh = "尘", en = "Dust" }
[style]
circle = { colour = "dust", ramp = "air" }
"""
_EVENT_TIME = 'time = { start = "begins", end = "ends" }'
_STREAM_TIME = 'late_after = "20 min"\ntime = { event = "observed_at" }'
_PROTECTED = 'purpose = "test"\nbasis = "test"\nretention = "1 d"\nreaders = ["operations"]'

_DATASETS = {
    "trees": (("feature", "open", '["tree_id"]', "point", ""), _TREES),
    "beds": (("feature", "open", '["name"]', "polygon", ""), _NAMED + '[style]\nfill = { colour = "#009E73" }\n'),
    "paths": (("feature", "open", '["name"]', "line", ""), _PATHS),
    "works": (("event", "department", '["name"]', "point", _EVENT_TIME), _WORKS),
    "guards": (("feature", "security", '["name"]', "point", 'readers = ["dispatch"]'), _NAMED),
    "visitors": (("feature", "personal", '["name"]', "point", _PROTECTED), _NAMED),
    "air": (("observation", "open", '["sensor", "observed_at"]', "point", _STREAM_TIME), _AIR),
}


def park_catalog(folder: Path) -> Catalog:
    """The contracts of the park, written to `folder` and read back."""
    system = folder / "parks"
    system.mkdir(parents=True)
    (system / "system.toml").write_text(_SYSTEM, encoding="utf-8")
    for name, ((kind, data_class, key, geometry, more), rest) in _DATASETS.items():
        head = _HEAD.format(name=name, kind=kind, data_class=data_class, key=key, geometry=geometry, more=more)
        (system / f"{name}.toml").write_text(head + rest, encoding="utf-8")
    catalog, problems = read_catalog((folder,))
    assert not problems, "\n".join(map(str, problems))
    return catalog


def made(database: Database, catalog: Catalog) -> None:
    """Make the tables, roles and grants."""
    with database.writing() as connection:
        apply(connection, catalog, CITY)


def put(database: Database, catalog: Catalog, dataset: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as they are. Given are `id` and the fields, and `wkt`; the rest has defaults.

    A point has its cell. Of a stream, the newest of each subject is written beside the rows.
    """
    contract = catalog[dataset]
    table = dataset_table(contract, CITY.srid)
    complete = [_complete(row, stream=contract.is_stream) for row in rows]
    with database.writing() as connection:
        if contract.is_stream:
            for day in sorted({row["observed_at"].astimezone(dt.UTC).date() for row in complete}):
                _partition(connection, table, partition_name(contract, f"{day:%Y%m%d}"), day)
            newest = {row["subject"]: row for row in sorted(complete, key=lambda row: row["observed_at"])}
            _insert(connection, latest_table(contract, CITY.srid), list(newest.values()))
        _insert(connection, table, complete)


def _insert(connection: sa.Connection, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows that give different columns: those of one statement have to give the same."""
    for names in {tuple(sorted(row)) for row in rows}:
        connection.execute(table.insert(), [row for row in rows if tuple(sorted(row)) == names])


def _complete(row: Mapping[str, Any], *, stream: bool) -> dict[str, Any]:
    full: dict[str, Any] = {"recorded": f"[{KNOWN_SINCE.isoformat()},)", "place_method": "geometry", **row}
    full.setdefault("place_accuracy_m", 5.0)
    wkt = full.pop("wkt", None)
    full["geom"] = f"SRID={CITY.srid};{wkt}" if wkt else None
    if wkt and wkt.startswith("POINT(") and "cell" not in full:
        lon, lat = (float(part) for part in wkt[6:-1].split())
        full["cell"] = int(cells_of_points([lon], [lat], CITY.resolutions.finest)[0])
    if not stream:
        full.setdefault("valid", ALWAYS)
    return full


def _partition(connection: sa.Connection, table: sa.Table, name: str, day: dt.date) -> None:
    connection.exec_driver_sql(
        f"CREATE TABLE IF NOT EXISTS {table.schema}.{name} PARTITION OF {table.schema}.{table.name}"
        f" FOR VALUES FROM ('{day}T00:00:00Z') TO ('{day + dt.timedelta(days=1)}T00:00:00Z')"
    )
