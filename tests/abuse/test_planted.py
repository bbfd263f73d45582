"""What names somebody is planted in every part of sources of several formats, and then searched for everywhere."""

import datetime as dt
import gzip
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from api.app import create_app
from ingest.pipeline import Loader
from layers.catalog import Catalog, read_catalog
from layers.inbox import quarantine_rows
from layers.store import apply
from tests.api.city import SECRET, bearer
from tests.layers.park import CITY
from twin.access import Audience
from twin.database import Database
from twin.errors import SourceError
from twin.keys import forget_keys

PLANTED = {
    "mac": "a4:83:e7:5b:c6:d7",
    "phone": "13987654321",
    "id_number": "370402199003074515",
    "plate": "鲁D9F8E7",
    "name": "欧阳娜娜娜",
}
VARIANTS = (
    "A4-83-E7-5B-C6-D7",
    "a483.e75b.c6d7",
    "139 8765 4321",
    "+86-13987654321",
    "１３９８７６５４３２１",
    "鲁D·9F8E7",
)
OFFICER = Audience("department:wifi")

_SYSTEM = """
id = "wifi"
number = "P3"
title = { zh = "无线", en = "Wi-Fi" }
owner = "局"
description = { zh = "测试", en = "A test" }
"""
_HEAD = """
id = "wifi.sessions"
kind = "feature"
title = { zh = "上网", en = "Sessions" }
owner = "局"
class = "personal"
purpose = "test"
basis = "test"
retention = "1 d"
rate = "day"
key = ["device", "number"]
geometry = "point"
[place]
rungs = [{ by = "coordinate", x = "lon", y = "lat", datum = "wgs84", accuracy_m = 5 }]
[fields]
device = { type = "string", private = "mac", required = true, title = { zh = "终端", en = "Device" } }
number = { type = "integer", unit = "1", range = [0, 100], title = { zh = "序号", en = "Number" } }
caller = { type = "string", private = "phone", aliases = ["电话"], title = { zh = "来电", en = "Caller" } }
citizen = { type = "string", private = "id_number", title = { zh = "公民", en = "Citizen" } }
car = { type = "string", private = "plate", title = { zh = "车", en = "Car" } }
person = { type = "string", private = "name", title = { zh = "姓名", en = "Person" } }
note = { type = "string", title = { zh = "备注", en = "Note" } }
[[indicators]]
id = "wifi.sessions"
measure = "count()"
resolution = 8
title = { zh = "上网数", en = "Sessions" }
"""


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    folder = tmp_path / "catalog" / "wifi"
    folder.mkdir(parents=True)
    (folder / "system.toml").write_text(_SYSTEM, encoding="utf-8")
    (folder / "sessions.toml").write_text(_HEAD, encoding="utf-8")
    open_ = _HEAD.replace("wifi.sessions", "wifi.notes").replace('"personal"', '"open"').split("caller =")[0]
    notes = open_.replace(', private = "mac"', "").split("[[indicators]]")[0]
    notes += 'note = { type = "string", title = { zh = "备注", en = "Note" } }\n'
    (folder / "notes.toml").write_text(notes, encoding="utf-8")
    found, problems = read_catalog([tmp_path / "catalog"])
    assert not problems, problems
    return found


def rows(dataset: str) -> list[dict[str, object]]:
    """Good records, and one that is refused for each of several reasons; each holds everything that is planted."""
    text = f"电话{PLANTED['phone']}，车{PLANTED['plate']}；mac {PLANTED['mac']} " + " ".join(VARIANTS)
    free = {"note": text + f" {PLANTED['id_number']}", "unknown": f"身份证:{PLANTED['id_number']} {text}"}
    own = {
        "device": PLANTED["mac"],
        "电话": PLANTED["phone"],
        "citizen": PLANTED["id_number"],
        "car": PLANTED["plate"],
        "person": PLANTED["name"],
    }
    record = (own if dataset == "wifi.sessions" else {"device": "D1"}) | free
    places = [(117.3, 34.8), (117.31, 34.81), (0.0, 0.0), (34.8, 117.3), (117.32, 34.82)]
    found = [{**record, "number": at, "lon": lon, "lat": lat} for at, (lon, lat) in enumerate(places)]
    return [*found, {**record, "number": 999, "lon": 117.3, "lat": 34.8}]


def sources(folder: Path, dataset: str) -> Iterator[Path]:
    records = rows(dataset)
    pl.DataFrame(records).write_csv(folder / f"{dataset}.csv")
    yield folder / f"{dataset}.csv"
    features = [
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [one["lon"], one["lat"]]}, "properties": one}
        for one in records
    ]
    collection = json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False)
    (folder / f"{dataset}.geojson").write_text(collection, encoding="utf-8")
    yield folder / f"{dataset}.geojson"


def needles() -> list[str]:
    return [*PLANTED.values(), *VARIANTS, PLANTED["mac"].upper(), PLANTED["mac"].replace(":", "")]


def hits(text: str) -> list[str]:
    return [needle for needle in needles() if needle in text]


def everything(database: Database) -> Iterator[tuple[str, str]]:
    """Every row of every table of the database, as text; bytes as the letters they spell."""
    with database.engine.connect() as connection:
        tables = connection.scalars(
            sa.text(
                "SELECT format('%I.%I', n.nspname, relname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
                " WHERE relkind IN ('r', 'm') AND nspname NOT IN ('pg_catalog', 'information_schema')"
            )
        ).all()
        for table in tables:
            for (row,) in connection.exec_driver_sql(f"SELECT t::text FROM {table} t"):
                yield (
                    table,
                    re.sub(
                        r"\\\\?x([0-9a-f]{2,})", lambda found: bytes.fromhex(found[1]).decode("utf-8", "replace"), row
                    ),
                )


def test_nothing_planted_is_found_anywhere(
    database: Database, catalog: Catalog, home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with database.writing() as connection:
        apply(connection, catalog, CITY)
    loader = Loader(database, catalog, CITY, home)
    for dataset in catalog.contracts:
        for path in sources(tmp_path, dataset):
            loaded = loader.load(dataset, path)
            assert (loaded.received, loaded.quarantined) == (6, 3), loaded
    with database.writing() as connection:
        refused = quarantine_rows(connection, limit=100)
    assert len(refused) == 12
    for table, text in everything(database):
        allowed = table == "twin.inbox" and "wifi.notes" in text
        assert allowed or not hits(text), f"{table}: {hits(text)}"
    for path in [path for path in home.rglob("*") if path.is_file() and "postgres" not in path.parts]:
        data = path.read_bytes()
        assert not [needle for needle in needles() if needle.encode() in data], path
    client = TestClient(create_app(database, catalog, CITY, SECRET))
    for audience in (Audience("public"), OFFICER, Audience("administrator")):
        for dataset in catalog.contracts:
            for door in ("/items", "/items?f=csv", "/items?f=arrow", "/items?f=parquet", "/items?f=flatgeobuf"):
                answer = client.get(f"/collections/{dataset}{door}", headers=bearer(audience))
                body = answer.content
                assert not [needle for needle in needles() if needle.encode() in body], door
            tile = client.get(f"/collections/{dataset}/tiles/WebMercatorQuad/0/0/0", headers=bearer(audience)).content
            assert not hits((gzip.decompress(tile) if tile[:2] == b"\x1f\x8b" else tile).decode("utf-8", "replace"))
            assert not hits(client.get(f"/quarantine/{dataset}", headers=bearer(audience)).text)
    assert not hits(caplog.text)


def test_records_are_still_told_apart_and_sealed_bytes_can_be_replayed_until_the_key_is_destroyed(
    database: Database, catalog: Catalog, home: Path, tmp_path: Path
) -> None:
    with database.writing() as connection:
        apply(connection, catalog, CITY)
    loader = Loader(database, catalog, CITY, home)
    path = next(sources(tmp_path, "wifi.sessions"))
    assert loader.load("wifi.sessions", path).inserted == 3
    again = loader.load("wifi.sessions", path)
    assert (again.inserted, again.duplicate) == (0, 3)
    with database.writing() as connection:
        found = connection.execute(sa.text("SELECT device, caller, person, car FROM wifi.sessions")).all()
        refused = quarantine_rows(connection, limit=3)
    assert len({row.device for row in found}) == 1
    assert len(found[0].device) == 24
    assert found[0][1:] == ("139••••4321", "欧••", "鲁D•••E7")
    assert all(row.record and row.record["caller" if "caller" in row.record else "电话"] == "•••" for row in refused)
    assert loader.replay(refused).quarantined == 3
    assert forget_keys(home, "inbox-wifi.sessions", dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1))
    with pytest.raises(SourceError, match="was destroyed"):
        loader.replay(refused)
