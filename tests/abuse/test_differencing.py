"""An attacker with everything that is published, and subtraction: no group of fewer than ten people is found.

60,000 people of six towns stand behind a real server. The attack takes the cells of all resolutions, of several
indicators over the same people, of several hours, of boxes and of drawn areas, and looks for a number that has to be
that of a small group. The same attack finds hundreds where the parts themselves are published.
"""

import datetime as dt
import itertools
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h3
import numpy as np
import pytest
import shapely
import sqlalchemy as sa
from starlette.testclient import TestClient

from api.app import create_app
from layers.catalog import Catalog, read_catalog
from layers.indicators import refresh
from layers.store import apply
from layers.tables import dataset_table, partition_name
from tests.api.city import SECRET, bearer
from tests.layers.park import CITY
from twin.access import Audience
from twin.cluster import Cluster
from twin.database import Database, private_database
from twin.grid import cells_of_points
from twin.privacy import BASE, K

TOWNS = (
    (34.860, 117.556),
    (35.088, 117.166),
    (34.808, 117.265),
    (34.566, 117.738),
    (34.774, 117.586),
    (35.095, 117.452),
)
SHARES = (0.22, 0.42, 0.14, 0.08, 0.08, 0.06)
PEOPLE = 60_000
HOUR = dt.datetime(2026, 6, 1, 8, tzinfo=dt.UTC)
ANYBODY = Audience("operations")

_SYSTEM = """
id = "wifi"
number = "P3"
title = { zh = "无线", en = "Wi-Fi" }
owner = "局"
description = { zh = "测试", en = "A test" }
"""
_CONTRACT = """
id = "wifi.visits"
kind = "observation"
title = { zh = "到访", en = "Visits" }
owner = "局"
class = "personal"
purpose = "test"
basis = "test"
retention = "1000 d"
rate = "day"
late_after = "20000 d"
key = ["visit", "observed_at"]
geometry = "point"
time = { event = "observed_at" }
[place]
rungs = [{ by = "coordinate", x = "lon", y = "lat", datum = "cgcs2000", accuracy_m = 5 }]
[fields]
visit = { type = "string", required = true, title = { zh = "到访", en = "Visit" } }
observed_at = { type = "datetime", required = true, title = { zh = "时间", en = "Time" } }
[fields.kind]
type = "string"
title = { zh = "类", en = "Kind" }
[fields.kind.values]
in = { zh = "入", en = "In" }
out = { zh = "出", en = "Out" }
""" + "\n".join(
    f"""
[[indicators]]
id = "wifi.{name}"
measure = "count()"
resolution = 9
class = "open"
window = "1 h"
title = {{ zh = "数", en = "Number" }}
{where}"""
    for name, where in (("all", ""), ("in", 'where = { kind = ["in"] }'), ("out", 'where = { kind = ["out"] }'))
)  # fmt: skip


@pytest.fixture(scope="module")
def people() -> dict[str, np.ndarray[Any, Any]]:
    """Cells (r9), kinds and hours of all visits: the second hour has a few visits more than the first."""
    chance = np.random.default_rng(3)
    town = chance.choice(len(TOWNS), PEOPLE, p=SHARES)
    places = np.array(TOWNS)[town] + chance.normal(0, 0.06, (PEOPLE, 2))
    later = np.concatenate([places, places[:40] + 1e-4])
    every = np.concatenate([places, later])
    hours = np.repeat([0, 1], [len(places), len(later)])
    kinds = np.where(np.arange(len(every)) % PEOPLE % 4 == 0, "out", "in")
    return {"lat": every[:, 0], "lon": every[:, 1], "hour": hours, "kind": kinds}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    folder: Path = tmp_path_factory.mktemp("catalog") / "wifi"
    folder.mkdir()
    (folder / "system.toml").write_text(_SYSTEM, encoding="utf-8")
    (folder / "visits.toml").write_text(_CONTRACT, encoding="utf-8")
    found, problems = read_catalog([folder.parent])
    assert not problems, problems
    return found


@pytest.fixture(scope="module")
def client(cluster: Cluster, catalog: Catalog, people: dict[str, np.ndarray[Any, Any]]) -> Iterator[TestClient]:
    database = private_database(cluster, "differencing")
    database.migrate()
    _fill(database, catalog, people)
    with TestClient(create_app(database, catalog, CITY, SECRET)) as client:
        yield client


def _fill(database: Database, catalog: Catalog, people: dict[str, np.ndarray[Any, Any]]) -> None:
    contract = catalog["wifi.visits"]
    table = dataset_table(contract, CITY.srid)
    cells = cells_of_points(people["lon"], people["lat"], CITY.resolutions.finest)
    with database.writing() as connection:
        apply(connection, catalog, CITY)
        connection.exec_driver_sql(
            f"CREATE TABLE {table.schema}.{partition_name(contract, f'{HOUR:%Y%m%d}')} PARTITION OF {table.fullname}"
            f" FOR VALUES FROM ('{HOUR:%Y-%m-%d}Z') TO ('{HOUR + dt.timedelta(days=1):%Y-%m-%d}Z')"
        )
        lines = zip(cells.tolist(), people["hour"].tolist(), people["kind"].tolist(), strict=True)
        values = [
            {
                "id": str(at),
                "subject": str(at),
                "visit": str(at),
                "cell": cell,
                "kind": kind,
                "recorded": "[2026-01-01,)",
            }
            | {"observed_at": HOUR + dt.timedelta(hours=hour, minutes=at % 60)}
            for at, (cell, hour, kind) in enumerate(lines)
        ]
        connection.execute(table.insert(), values)
        refresh(connection, contract, CITY, None)


Published = dict[int, int]


def published(client: TestClient, indicator: str, hour: int, resolution: int, **more: Any) -> Published:
    moment = (HOUR + dt.timedelta(hours=hour, minutes=5)).isoformat()
    asked = {"resolution": resolution, "datetime": moment, **more}
    answer = client.get(f"/indicators/wifi.{indicator}/cells", params=asked, headers=bearer(ANYBODY))
    assert answer.status_code == 200, answer.text
    return {h3.str_to_int(cell["cell"]): int(cell["value"]) for cell in answer.json()["cells"]}


def truth(people: dict[str, np.ndarray[Any, Any]], indicator: str, hour: int) -> dict[int, dict[int, int]]:
    """The number of people in every cell of every resolution."""
    chosen = (people["hour"] == hour) & ((people["kind"] == indicator) | (indicator == "all"))
    found: dict[int, dict[int, int]] = {}
    fine = cells_of_points(people["lon"][chosen], people["lat"][chosen], CITY.resolutions.finest)
    for resolution in range(4, 10):
        cells, counts = np.unique(
            [h3.str_to_int(h3.cell_to_parent(h3.int_to_str(c), resolution)) for c in np.unique(fine)],
            return_inverse=True,
        )
        weights = np.bincount(counts, np.unique(fine, return_counts=True)[1])
        found[resolution] = dict(zip(cells.tolist(), weights.astype(int).tolist(), strict=True))
    return found


def attack(tables: list[Published], real: dict[int, dict[int, int]]) -> set[int]:
    """Cells with 1 to 9 people whose number follows from the tables, by subtracting children from parents.

    Each table gives cells and numbers; where a number is published rounded, an attacker knows it no better than that.
    """
    known: dict[int, int] = {}
    for table in tables:
        known.update(table)
    children: dict[int, set[int]] = defaultdict(set)
    for resolution in range(5, 10):
        for cell in real[resolution]:
            children[h3.str_to_int(h3.cell_to_parent(h3.int_to_str(cell)))].add(cell)
    learned = True
    while learned:
        learned = False
        for parent, kids in children.items():
            missing = [kid for kid in kids if kid not in known]
            if parent in known and len(missing) == 1:
                known[missing[0]] = known[parent] - sum(known[kid] for kid in kids if kid in known)
                learned = True
            elif parent not in known and not missing:
                known[parent] = sum(known[kid] for kid in kids)
                learned = True
    return {
        cell
        for table in real.values()
        for cell, number in table.items()
        if 0 < number < K and known.get(cell) == number
    }


def test_the_attack_finds_small_groups_where_the_parts_are_published(people: dict[str, np.ndarray[Any, Any]]) -> None:
    real = truth(people, "all", 0)
    naive = [{cell: n for cell, n in table.items() if n >= K} for table in real.values()]
    assert len(attack(naive, real)) > 20, "suppressing small cells alone does not help"


@pytest.mark.parametrize("indicator", ["all", "in", "out"])
def test_no_small_group_is_found_over_resolutions_and_hours(
    client: TestClient, people: dict[str, np.ndarray[Any, Any]], indicator: str
) -> None:
    for hour in (0, 1):
        real = truth(people, indicator, hour)
        tables = [published(client, indicator, hour, resolution) for resolution in range(6, 10)]
        everybody = sum(real[9].values())
        assert abs(sum(tables[-1].values()) - everybody) < 0.02 * everybody
        assert all(number >= K and number % BASE == 0 for number in tables[-1].values())
        assert attack(tables, real) == set()
        finest = tables[-1]
        for coarse in tables[:-1]:
            assert sum(coarse.values()) == sum(finest.values()), "parents equal the sum of their children"


def test_at_least_99_of_100_people_are_published(client: TestClient, people: dict[str, np.ndarray[Any, Any]]) -> None:
    total = int((people["hour"] == 0).sum())
    assert sum(published(client, "all", 0, 9).values()) >= 0.99 * total


def test_filters_subtracted_from_one_another_tell_no_small_group(
    client: TestClient, people: dict[str, np.ndarray[Any, Any]]
) -> None:
    whole, out = published(client, "all", 0, 9), published(client, "out", 0, 9)
    real = truth(people, "in", 0)
    both = whole.keys() & out.keys()
    certain = [
        cell
        for cell in both
        if 0 < real[h3.get_resolution(h3.int_to_str(cell))].get(cell, 0) < K
        and whole[cell] + BASE - 1 - (out[cell] - BASE + 1) < K
    ]
    assert both
    assert certain == [], "not even that fewer than ten are left"


def test_boxes_and_drawn_areas_are_made_of_whole_published_cells(client: TestClient) -> None:
    whole = published(client, "all", 0, 9)
    boxes = [(117.1 + step * 0.0007, 35.0, 117.3, 35.2) for step in range(25)]
    seen = [published(client, "all", 0, 9, bbox=",".join(map(str, box))) for box in boxes]
    assert all(part.items() <= whole.items() for part in seen)
    areas: list[dict[str, Any]] = []
    for step in range(25):
        drawn = shapely.Point(117.166, 35.088).buffer(0.03 + step * 0.0005)
        moment = (HOUR + dt.timedelta(minutes=5)).isoformat()
        answer = client.post(
            "/indicators/wifi.all/within",
            params={"datetime": moment},
            content=shapely.to_geojson(drawn),
            headers=bearer(ANYBODY) | {"Content-Type": "application/json"},
        )
        assert answer.status_code == 200, answer.text
        areas.append(answer.json())
    for one in areas:
        assert one["value"] == sum(whole[h3.str_to_int(cell)] for cell in one["cells"])
    steps = [abs(one["value"] - other["value"]) for one, other in itertools.combinations(areas, 2)]
    assert all(step == 0 or step >= K for step in steps)
    assert len({one["value"] for one in areas}) > 3


def test_no_other_door_tells_more(client: TestClient, people: dict[str, np.ndarray[Any, Any]]) -> None:
    del people
    whole = published(client, "all", 0, 9)
    moment = (HOUR + dt.timedelta(minutes=5)).isoformat()
    for cell in list(whole)[:20]:
        text = h3.int_to_str(cell)
        said = client.get(
            f"/indicators/wifi.all/cells/{text}/explain", params={"datetime": moment}, headers=bearer(ANYBODY)
        ).json()
        assert (said["value"], said["records"]) == (whole[cell], None)
    for word in ("json", "geojson", "arrow"):
        asked = {"f": word, "datetime": moment, "known-at": "2026-06-02T00:00:00Z"}
        assert client.get("/indicators/wifi.all/cells", params=asked, headers=bearer(ANYBODY)).status_code == 403
    assert client.get("/collections/wifi.visits/items", headers=bearer(ANYBODY)).status_code == 404
    database: Database = client.app.state.context.database  # type: ignore[attr-defined]
    with database.engine.connect() as connection:
        question = sa.text("SELECT has_table_privilege(:role, :name, 'SELECT')")
        for name, allowed in (
            ("wifi.visits", False),
            ('indicators."wifi.all"', False),
            ('indicators."wifi.all__published"', True),
        ):
            assert connection.scalar(question, {"role": ANYBODY.role, "name": name}) is allowed
