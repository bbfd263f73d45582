"""`/areas` over the demonstration city: sums over every partition are those of the register, exactly."""

import json
from decimal import Decimal
from typing import Any

import orjson
import pytest

from tests.api.city import Served
from tests.layers.park import CITY
from twin.access import PUBLIC, Audience

PLANNER = Audience("planner")
KINDS = ("district", "town", "reporting_unit", "grid_cell", "community")
SUMS = {
    "housing.floor_area": "SELECT sum(floor_area_m2::text::numeric) FROM housing.buildings WHERE upper_inf(recorded)",
    "sharing.addresses": "SELECT count(*) FROM sharing.standard_addresses WHERE upper_inf(recorded)",
    "sharing.residents": "SELECT sum(total) FROM sharing.ind_residents",
}


def areas_of(demo: Served, path: str, audience: Audience = PLANNER, **parameters: str) -> dict[str, Any]:
    """An answer with its numbers as they are written: a float has fewer digits than some of them."""
    answer = demo.get(path, audience, **parameters)
    assert answer.status_code == 200, answer.text
    return json.loads(answer.text, parse_float=Decimal)


def exact(answer: dict[str, Any]) -> tuple[Decimal, Decimal]:
    """The sum of all areas and of the outside, and the total, in decimals."""
    parts = [*(one["value"] for one in answer["areas"]), answer["outside"]["value"]]
    return sum((Decimal(str(part)) for part in parts if part is not None), Decimal(0)), Decimal(
        str(answer["total"]["value"])
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("by", ["area", "people"])
def test_sums_over_every_kind_are_those_of_the_register(demo_city: Served, kind: str, by: str) -> None:
    for indicator in ("housing.floor_area", "sharing.addresses"):
        answer = areas_of(demo_city, f"/areas/{kind}/indicators/{indicator}", by=by)
        together, total = exact(answer)
        assert together == total
        register = Decimal(str(demo_city.scalar(SUMS[indicator])))
        assert total == register, f"{indicator} over {kind} by {by}"
        assert sum(one["n"] for one in answer["areas"]) + answer["outside"]["n"] == answer["total"]["n"]
        if kind in {"district", "town"}:
            assert answer["outside"] == {"value": 0, "n": 0}


def test_every_sum_of_the_city_is_conserved(demo_city: Served) -> None:
    """All indicators that count or add, over districts and towns: both give the same total, and lose nothing."""
    for _, indicator in demo_city.catalog.indicators():
        if indicator.parsed.how not in {"count", "sum"} or indicator.per_km2:
            continue
        answers = [
            demo_city.get(f"/areas/{kind}/indicators/{indicator.id}", Audience("administrator"))
            for kind in ("district", "town")
        ]
        if answers[0].status_code == 404:
            continue
        bodies = [json.loads(answer.text, parse_float=Decimal) for answer in answers]
        assert exact(bodies[0])[0] == exact(bodies[0])[1] == exact(bodies[1])[0] == exact(bodies[1])[1], indicator.id


def test_people_of_a_published_table_are_shared_not_recounted(demo_city: Served) -> None:
    answer = areas_of(demo_city, "/areas/town/indicators/sharing.residents", by="people")
    together, total = exact(answer)
    assert together == total > 0
    cells = demo_city.json("/indicators/sharing.residents/cells", PLANNER, resolution=7)
    assert float(total) == pytest.approx(sum(cell["value"] for cell in cells["cells"]))


def test_towns_are_nearly_what_their_records_are(demo_city: Served) -> None:
    """By people, what stands on buildings goes to the town in which they stand, but for cells on the border."""
    answer = demo_city.json("/areas/town/indicators/sharing.addresses", PLANNER, by="people")
    counted = {one["code"]: one["n"] for one in answer["areas"]}
    wrong = sum(abs(counted[code] - demo_city.scalar(
        "SELECT count(*) FROM sharing.standard_addresses a, sharing.towns t WHERE upper_inf(a.recorded)"
        f" AND upper_inf(t.recorded) AND t.code = '{code}' AND ST_Contains(t.geom, a.geom)"))
        for code in counted)  # fmt: skip
    assert wrong / sum(counted.values()) < 0.05


def test_kinds_areas_and_outlines(demo_city: Served) -> None:
    kinds = {one["kind"]: one for one in demo_city.json("/areas", PLANNER)["kinds"]}
    assert set(KINDS) <= set(kinds)
    assert (kinds["district"]["partition"], kinds["reporting_unit"]["partition"]) == (True, False)
    districts = demo_city.json("/areas/district")["areas"]
    assert [one["code"] for one in districts] == sorted(district.code for district in CITY.districts)
    geodesic = demo_city.scalar("SELECT sum(ST_Area(geom::geography)) / 1e6 FROM sharing.boundaries"
                                " WHERE upper_inf(recorded) AND level = 'district'")  # fmt: skip
    assert sum(one["km2"] for one in districts) == pytest.approx(geodesic, rel=0.005)
    one = demo_city.json("/areas/district/370403")
    assert (one["type"], one["properties"]["name"]) == ("Feature", "薛城区")


def test_communities_are_made_of_their_grid_cells(demo_city: Served) -> None:
    communities, cells = (demo_city.json(f"/areas/{kind}", PLANNER)["areas"] for kind in ("community", "grid_cell"))
    assert [one["code"] for one in communities] == sorted({one["code"][:12] for one in cells})
    assert len(communities) < len(cells)
    assert sum(one["km2"] for one in communities) == pytest.approx(sum(one["km2"] for one in cells), rel=1e-3)


def test_shares(demo_city: Served) -> None:
    towns = demo_city.json("/areas/district/370403/shares", of="town", resolution=9)["shares"]
    assert sum(one["share"] for one in towns) == pytest.approx(1, abs=1e-6)
    inside = sum(one["share"] for one in towns if one["code"].startswith("370403"))
    assert inside > 0.98, "but for the cells of its border"
    cells = demo_city.json("/areas/town/370403001/shares", resolution=8)["shares"]
    assert all(0 < one["share"] <= 1 for one in cells)
    assert {one["cell"][:2] for one in cells} == {"88"}


def test_what_is_not_there(demo_city: Served) -> None:
    assert demo_city.get("/areas/none").status_code == 404
    assert demo_city.get("/areas/grid_cell").status_code == 404, "the public reads no statutory grid"
    assert demo_city.get("/areas/district/999999").status_code == 404
    assert demo_city.get("/areas/district/indicators/no.such").status_code == 404
    assert demo_city.get("/areas/district/370403/shares", resolution=15).status_code == 400
    assert demo_city.get("/areas/district/370403/shares", of="none").status_code == 404
    assert demo_city.get("/areas/district/indicators/sharing.addresses", by="weather").status_code == 400
    assert orjson.loads(demo_city.get("/areas", PUBLIC).content)["kinds"]
