"""Batches whose coordinates contradict the places of their addresses, and single records that do."""

from typing import Any

import numpy as np
import polars as pl
import pytest
import shapely

from layers.contract import Contract
from layers.places.fix import GEOMETRY, Register, Site
from layers.places.resolver import Placed, place
from layers.reasons import Reason
from tests.layers.places.town import CITY, gazetteer
from twin.datum import from_city, parse_datum
from twin.errors import DatumError

N = 40
WHERE = np.random.default_rng(7).uniform((117.22, 34.72), (117.58, 34.88), (N, 2))


def register(_: str) -> Register:
    """Forty registered things, at WHERE."""
    frame = {
        "id": [f"D{k}" for k in range(N)],
        "cell": np.zeros(N, dtype=np.int64),
        "place_accuracy_m": np.full(N, 10.0),
        "lon": WHERE[:, 0],
        "lat": WHERE[:, 1],
    }
    return Register(pl.DataFrame(frame), np.full(N, None, dtype=object))


def contract(datum: str) -> Contract:
    text = {"type": "string", "title": {"zh": "编号", "en": "Id"}}
    rungs = [
        {"by": "coordinate", "x": "lon", "y": "lat", "datum": datum, "accuracy_m": 10},
        {"by": "device", "id": "device", "register": "test.devices"},
    ]
    return Contract.model_validate(
        {
            "id": "test.things",
            "kind": "feature",
            "title": {"zh": "物", "en": "Things"},
            "owner": "测试局",
            "class": "open",
            "rate": "day",
            "key": ["device"],
            "geometry": "point",
            "place": {"rungs": rungs},
            "fields": {"device": text},
        }
    )


def placed(datum: str, really: str, n: int = N, *, swapped: bool = False, **site: Any) -> Placed:
    """The places of `n` records that are declared in one datum and written in another."""
    x, y = from_city(WHERE[:n, 0], WHERE[:n, 1], parse_datum(really), CITY)
    if swapped:
        x, y = y, x
    frame = pl.DataFrame({"device": [f"D{k}" for k in range(n)], "lon": x, "lat": y})
    return place(frame, contract(datum), Site(CITY, register, gazetteer, **site))


@pytest.mark.parametrize("datum", ["wgs84", "gcj02", "bd09"])
def test_what_is_declared_rightly_is_placed(datum: str) -> None:
    found = placed(datum, datum)
    assert found.reasons.tolist() == [None] * N
    assert np.abs(found.lon - WHERE[:, 0]).max() < 1e-6
    assert set(found.method) == {"coordinate"}


@pytest.mark.parametrize(("declared", "really"), [("wgs84", "gcj02"), ("gcj02", "wgs84"), ("gcj02", "bd09")])
def test_a_batch_of_another_datum_waits_for_a_person(declared: str, really: str) -> None:
    found = placed(declared, really)
    assert set(found.reasons) == {Reason.WRONG_DATUM}
    assert found.hints[0] == f"40 of 40 records with a known place fit {really}; declared: {declared}"
    ruled = placed(declared, really, declared=really, overruled=True)
    assert ruled.reasons.tolist() == [None] * N
    assert np.abs(ruled.lon - WHERE[:, 0]).max() < 1e-6


def test_swapped_axes_are_told_even_where_they_would_be_outside() -> None:
    found = placed("wgs84", "wgs84", swapped=True)
    assert set(found.reasons) == {Reason.SWAPPED_AXES}
    assert "with the axes swapped" in found.hints[0]


def test_a_datum_may_be_detected_where_the_contract_says_so() -> None:
    found = placed("detect", "gcj02")
    assert found.reasons.tolist() == [None] * N
    assert set(found.source) == {"coordinate:gcj02 detected"}
    assert np.abs(found.lon - WHERE[:, 0]).max() < 1e-6


def test_too_few_records_detect_nothing() -> None:
    found = placed("detect", "gcj02", n=5)
    assert set(found.reasons) == {None}, "the register places them"
    assert set(found.method) == {"device"}


def test_one_record_in_two_places() -> None:
    frame = pl.DataFrame({"device": [f"D{k}" for k in range(N)], "lon": WHERE[:, 0], "lat": WHERE[:, 1]})
    (x,), (y,) = from_city(WHERE[:1, 0], WHERE[:1, 1], parse_datum("gcj02"), CITY)
    lon, lat = WHERE[:, 0].copy(), WHERE[:, 1].copy()
    lon[0], lat[0], lon[1] = x, y, lon[1] + 0.05
    found = place(frame.with_columns(lon=lon, lat=lat), contract("wgs84"), Site(CITY, register, gazetteer))
    assert found.reasons.tolist() == [Reason.POSITIONS_DISAGREE] * 2 + [None] * (N - 2)
    assert "as gcj02 it would fit" in found.hints[0]
    assert found.hints[1].endswith("m apart")


def shaped(datum: str, really: str, size_deg: float = 0.0005, **site: Any) -> Placed:
    """The places of squares around WHERE that are declared in one datum and written in another."""
    x, y = from_city(WHERE[:, 0], WHERE[:, 1], parse_datum(really), CITY)
    size = size_deg if really in {"wgs84", "gcj02", "bd09"} else size_deg * 100_000
    squares = shapely.to_wkb(shapely.box(x - size, y - size, x + size, y + size))
    rungs = [
        {"by": "geometry", "datum": datum, "accuracy_m": 10},
        {"by": "device", "id": "device", "register": "test.devices"},
    ]
    given = contract("wgs84").model_dump(by_alias=True) | {"geometry": "polygon", "place": {"rungs": rungs}}
    frame = pl.DataFrame({"device": [f"D{k}" for k in range(N)], GEOMETRY: squares.tolist()})
    return place(frame, Contract.model_validate(given), Site(CITY, register, gazetteer, **site))


@pytest.mark.parametrize("datum", ["wgs84", "gcj02", "cgcs2000-3deg-117"])
def test_shapes_that_are_declared_rightly_are_placed(datum: str) -> None:
    found = shaped(datum, datum)
    assert found.reasons.tolist() == [None] * N
    assert set(found.method) == {"geometry"}


@pytest.mark.parametrize(("declared", "really"), [("wgs84", "gcj02"), ("gcj02", "bd09")])
def test_shapes_of_another_datum_wait_for_a_person(declared: str, really: str) -> None:
    found = shaped(declared, really)
    assert set(found.reasons) == {Reason.WRONG_DATUM}
    assert found.hints[0] == f"40 of 40 records with a known place fit {really}; declared: {declared}"
    ruled = shaped(declared, really, declared=really, overruled=True)
    assert ruled.reasons.tolist() == [None] * N


@pytest.mark.parametrize("really", ["wgs84", "gcj02", "bd09", "cgcs2000-3deg-117"])
def test_shapes_show_their_datum(really: str) -> None:
    found = shaped("detect", really)
    assert found.reasons.tolist() == [None] * N
    assert np.abs(found.lon - WHERE[:, 0]).max() < 1e-5
    assert set(found.source) == {f"geometry:{really} detected"}


def test_a_file_without_a_datum_is_told_what_fits() -> None:
    with pytest.raises(DatumError, match="40 of 40 records with a known place fit gcj02"):
        shaped("per_file", "gcj02")


def test_shapes_too_large_to_tell_are_believed() -> None:
    """A shape of a kilometre holds its reference in any datum: it bears no witness."""
    assert shaped("wgs84", "gcj02", size_deg=0.01).reasons.tolist() == [None] * N
