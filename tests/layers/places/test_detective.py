"""The datum detective: two hundred seeded batches with a third of their references wrong, and none named wrongly."""

import numpy as np
import pytest

from layers.places.datums import same_datum
from layers.places.detective import Verdict, detect
from twin.city import load_city
from twin.datum import from_city, parse_datum

CITY = load_city("zaozhuang")
WEST, SOUTH, EAST, NORTH = 116.9, 34.5, 117.8, 35.2
DATUMS = ("wgs84", "cgcs2000", "gcj02", "bd09", "cgcs2000-3deg-117")
_NOISE_M = 25.0
_DEGREE_M = 111_320.0


def batch(seed: int, kind: str, wrong: float = 0.3, rows: int | None = None, declared: str | None = None) -> Verdict:
    """What the detective says of a batch of `kind`: a datum, `swapped gcj02`, `displaced`, or `nonsense`."""
    rng = np.random.default_rng(seed)
    n = rows or int(rng.integers(20, 200))
    # Records of a department often lie in one town.
    size = rng.choice([0.02, 0.1, 0.4])
    middle = rng.uniform((WEST + 0.2, SOUTH + 0.2), (EAST - 0.2, NORTH - 0.2))
    lon, lat = (middle + rng.uniform(-size, size, (n, 2)) * 0.45).T
    word = kind.removeprefix("swapped ") if kind not in {"displaced", "nonsense"} else "wgs84"
    noise = rng.normal(0, _NOISE_M / _DEGREE_M, (2, n))
    x, y = from_city(lon + noise[0], lat + noise[1], parse_datum(word), CITY)
    if kind.startswith("swapped"):
        x, y = y, x
    if kind == "displaced":
        scale, (dx, dy) = rng.uniform(0.93, 1.07), rng.uniform(0.03, 0.15, 2) * rng.choice([-1, 1], 2)
        x, y = middle[0] + (x - middle[0]) * scale + dx, middle[1] + (y - middle[1]) * scale + dy
    if kind == "nonsense":
        x, y = rng.uniform(WEST, EAST, n), rng.uniform(SOUTH, NORTH, n)
    lost = rng.random(n) < wrong
    lon, lat = lon.copy(), lat.copy()
    lon[lost], lat[lost] = rng.uniform(WEST, EAST, lost.sum()), rng.uniform(SOUTH, NORTH, lost.sum())
    return detect(x, y, lon, lat, np.full(n, 50.0), CITY, declared)


def is_right(kind: str, verdict: Verdict) -> bool:
    if kind == "nonsense":
        return verdict.word is None
    if verdict.word is None:
        return False
    return same_datum(verdict.word, kind.removeprefix("swapped ")) and verdict.swapped == kind.startswith("swapped")


def test_two_hundred_batches() -> None:
    kinds = (*DATUMS, "swapped wgs84", "swapped gcj02", "displaced")
    outcome = {"right": 0, "cannot say": 0, "wrong": 0}
    for seed in range(200):
        kind = kinds[seed % len(kinds)]
        verdict = batch(seed, kind)
        said = "right" if is_right(kind, verdict) else "cannot say" if verdict.word is None else "wrong"
        outcome[said] += 1
    assert outcome["wrong"] == 0, "an error that nobody sees"
    assert outcome["right"] >= 198


@pytest.mark.parametrize("word", ["epsg:32650", "epsg:3857"])
def test_a_declared_datum_of_another_kind_stands(word: str) -> None:
    """A projection that nobody would think of by oneself, said by who gave the file."""
    verdicts = [batch(seed, word, declared=word) for seed in range(10)]
    assert [verdict.word for verdict in verdicts] == [word] * 10


def test_a_wrong_declaration_helps_no_datum() -> None:
    for seed in range(20):
        assert batch(seed, "gcj02", declared="wgs84").word == "gcj02"
        assert batch(seed, "nonsense", declared="wgs84").word is None


def test_nonsense_gets_no_name() -> None:
    assert [batch(seed, "nonsense").word for seed in range(100)] == [None] * 100


@pytest.mark.parametrize("kind", [*DATUMS, "displaced"])
def test_mostly_wrong_references_are_no_evidence(kind: str) -> None:
    """Four fifths wrong: it may say that it cannot say; it may not say another datum."""
    for seed in range(40):
        verdict = batch(seed, kind, wrong=0.8)
        assert verdict.word is None or is_right(kind, verdict)


def test_too_few_or_too_coarse_references() -> None:
    assert batch(1, "gcj02", rows=7).word is None
    lon = np.linspace(117.2, 117.4, 50)
    lat = np.linspace(34.7, 34.9, 50)
    assert detect(lon, lat, lon, lat, np.full(50, 2_000.0), CITY) == Verdict(None, swapped=False, matched=0, fitting=0)


def test_a_displaced_map_is_measured() -> None:
    rng = np.random.default_rng(5)
    lon, lat = rng.uniform(117.0, 117.5, 60), rng.uniform(34.6, 35.0, 60)
    verdict = detect(lon + 0.1, lat - 0.05, lon, lat, np.full(60, 20.0), CITY)
    assert verdict.word == "displaced"
    assert verdict.offset_m == (pytest.approx(0.1 * 91_400, rel=0.02), pytest.approx(-0.05 * _DEGREE_M, rel=0.02))
    assert "displaced by" in verdict.text
    shrunk = detect(117.3 + (lon - 117.3) * 0.9, 34.8 + (lat - 34.8) * 0.9, lon, lat, np.full(60, 20.0), CITY)
    assert shrunk.scale == pytest.approx(0.9, abs=0.005)
