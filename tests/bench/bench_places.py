"""Places: address texts, one place over HTTP, a batch of unknown datum, a sheet of half addresses.

The register knows 30,000 of the synthetic city's buildings; texts and sheets name any of them. No peer reads these
texts into places of one city: cpca, the nearest, reads them into levels of the whole country.
"""

import asyncio
import datetime as dt
import os
import random
import shutil
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import polars as pl
import shapely
from geopandas import GeoDataFrame
from numpy.typing import NDArray

from ingest.demo.city import DemoCity
from ingest.demo.sources import write_sources
from ingest.pipeline import Loader, LoadOptions
from layers.catalog import catalog
from layers.contract import Contract, Names
from layers.places.candidates import metres
from layers.places.fix import Register, Site, is_none
from layers.places.gazetteer import Gazetteer
from layers.places.named import NamedPlaces
from layers.places.resolver import place
from layers.store import apply
from tests.bench.harness import Case, Figure, Measured, measure
from tests.bench.serving import serving
from twin.access import Audience, issue_token
from twin.city import City, load_city
from twin.cluster import Cluster
from twin.database import private_database
from twin.datum import from_city, parse_datum
from twin.keys import secret

__all__ = ["run"]

_SEED = 1616
_REGISTERED, _TEXTS, _SHEET = 30_000, 1_000, 20_000
_NEAR_M = 50.0
_NAMED = (
    "sharing.boundaries", "sharing.towns", "sharing.place_names", "transport.roads", "sharing.standard_addresses",
    "education.schools", "medical.institutions",
)  # fmt: skip
_PACKAGES = ("shapely", "polars", "numpy")


def _named(frame: GeoDataFrame, dataset: str, names: Names, **columns: str) -> NamedPlaces:
    table = {ours: frame[theirs].tolist() for ours, theirs in columns.items()}
    own = {"id": [str(k) for k in range(len(frame))], "place_accuracy_m": [5.0] * len(frame)}
    return NamedPlaces(dataset, names, pl.DataFrame({**own, **table}, strict=False), frame.geometry.to_numpy())


def _gazetteer(city: City, frames: dict[str, GeoDataFrame]) -> Gazetteer:
    villages = frames["settlements"][frames["settlements"]["kind"] == "village"]
    known = frames["buildings"].sample(_REGISTERED, random_state=_SEED)
    return Gazetteer(
        city,
        [
            _named(
                frames["districts"], "d", Names(level="district", name="name", code="code"), name="name_zh", code="code"
            ),
            _named(frames["towns"], "t", Names(level="town", name="name", code="code"), name="name_zh", code="code"),
            _named(villages, "v", Names(level="village", name="name"), name="name_zh"),
            _named(frames["roads"], "r", Names(level="road", name="name", road="ref"), name="name_zh", ref="number"),
            _named(known, "a", Names(level="address", name="name", also=("also",)), name="address", also="name_zh"),
        ],
    )


def _halved(text: str, chance: random.Random) -> str:
    """An address as people leave it: without the city, the district, the building, or with 附近."""
    way = chance.randrange(6)
    short = text.removeprefix("枣庄市")
    if way == 0:
        return short
    if way == 1:
        return short[3:] if short[2] in "区市" else short[4:]
    if way == 2:
        return short.split("号")[0] + "号"
    if way == 3:
        return short + "附近"
    if way == 4:
        return "山东省" + text
    return short.replace("区", "", 1) if not short.startswith("市中") else short


def _contract(*rungs: dict[str, object]) -> Contract:
    text = {"type": "string", "title": {"zh": "文", "en": "Text"}}
    return Contract.model_validate(
        {
            "id": "test.sheet", "kind": "feature", "title": {"zh": "表", "en": "Sheet"}, "owner": "测试局",
            "class": "open", "rate": "day", "key": ["no"], "geometry": "point", "place": {"rungs": list(rungs)},
            "fields": {"no": text, "address": text},
        }
    )  # fmt: skip


def _no_register(dataset: str) -> Register:
    raise LookupError(dataset)


def _scored(name: str, frame: pl.DataFrame, contract: Contract, site: Site, truth: NDArray[np.float64]) -> list[Figure]:
    """How many rows were placed near the truth, coarsely but rightly, refused, or wrong; and the time."""
    started = time.perf_counter()
    placed = place(frame, contract, site)
    took_s = time.perf_counter() - started
    here = is_none(placed.reasons)
    off_m = np.array([metres(*at) for at in zip(placed.lon, placed.lat, truth[:, 0], truth[:, 1], strict=True)])
    near = here & (off_m <= _NEAR_M)
    coarse = here & ~near & (placed.accuracy_m > _NEAR_M) & (off_m <= 2 * placed.accuracy_m)
    wrong = here & ~near & ~coarse
    n = frame.height
    return [
        Figure(f"{name}: within 50 m", 100 * float(near.sum()) / n, "%", "-"),
        Figure(f"{name}: placed as coarsely as it says", 100 * float(coarse.sum()) / n, "%", "-"),
        Figure(f"{name}: refused with a reason", 100 * float((~here).sum()) / n, "%", "-"),
        Figure(f"{name}: wrong", 100 * float(wrong.sum()) / n, "%", "<= 5 %"),
        Figure(f"{name}: time", took_s, "s", "<= 120 s"),
    ]


def _over_http(city: City, demo: DemoCity, texts: list[str]) -> Figure:
    """One place after another, of a server that holds the whole city's names."""
    home = Path(tempfile.mkdtemp(prefix="twin-"))
    home.chmod(0o755)
    cluster = Cluster(home, durable=False)
    cluster.start()
    try:
        database = private_database(cluster, city.id)
        database.migrate()
        with database.writing() as connection:
            apply(connection, catalog(), city)
        loader, now = Loader(database, catalog(), city, home), dt.datetime.now(dt.UTC)
        for source in write_sources(demo, catalog(), city, home, seed=_SEED, scale=1.0, now=now, datasets=_NAMED):
            loader.load(source.dataset, source.path, LoadOptions(source.datum))
        token = issue_token(Audience("dispatch"), secret(home), person="tester", lifetime=dt.timedelta(hours=6))
        environment = {**os.environ, "TWIN_HOME": str(home), "TWIN_CITY": city.id, "TWIN_RATE_PER_MINUTE": "0"}
        command = ["-m", "uvicorn", "api.app:app_from_settings", "--factory", "--port", "{port}", "--no-access-log"]
        with serving(command, environment) as url, httpx.Client(headers={"Authorization": f"Bearer {token}"}) as client:
            took_s: list[float] = []
            for text in [*texts[:20], *texts]:
                started = time.perf_counter()
                client.get(f"{url}/places/resolve", params={"q": text}).raise_for_status()
                took_s.append(time.perf_counter() - started)
        asyncio.run(database.aclose())
    finally:
        cluster.stop()
        shutil.rmtree(home)
    return Figure(
        "one place over HTTP, 95th percentile", 1000 * float(np.quantile(took_s[20:], 0.95)), "ms", "<= 50 ms"
    )


def run() -> list[Measured]:
    """Measure all cases."""
    city = load_city("zaozhuang")
    demo = DemoCity.generate(city, _SEED, 1.0)
    frames = demo.frames()
    gazetteer = _gazetteer(city, frames)
    chance = random.Random(_SEED)  # noqa: S311
    chosen = frames["buildings"].sample(_SHEET, random_state=_SEED + 1)
    middles = shapely.point_on_surface(chosen.geometry.to_numpy())
    truth = np.column_stack([shapely.get_x(middles), shapely.get_y(middles)])
    whole = chosen["address"].tolist()
    texts = [text if k % 2 else _halved(text, chance) for k, text in enumerate(whole)]
    some = texts[:_TEXTS]
    districts = chosen["district"].tolist()[:_TEXTS]
    best = [found[0] if (found := gazetteer.resolve(text)) else None for text in some]
    sure = [(one, code) for one, code in zip(best, districts, strict=True) if one is not None and one.confidence >= 0.4]
    right = sum(one.area.startswith(code) for one, code in sure)
    site = Site(city, _no_register, lambda: gazetteer)
    x, y = from_city(truth[:, 0], truth[:, 1], parse_datum("gcj02"), city)
    lost = np.random.default_rng(_SEED).random(_SHEET) < 0.05
    x[lost], y[lost] = x[lost] + 0.05, y[lost] - 0.03
    sheet = pl.DataFrame({"no": [str(k) for k in range(_SHEET)], "address": texts, "lon": x, "lat": y})
    by_text = {"by": "address", "text": "address"}
    detected = {"by": "coordinate", "x": "lon", "y": "lat", "datum": "detect", "accuracy_m": 10}
    return [
        measure(Case("address texts read into levels", lambda: [gazetteer.read(text) for text in some], {}, _TEXTS,
                     "texts", ">= 50,000 texts/s", packages=_PACKAGES)),
        measure(Case("address texts to places", lambda: [gazetteer.resolve(text) for text in some], {}, _TEXTS, "texts",
                     "-", packages=_PACKAGES)),
        Figure("district right, of texts with a sure place", 100 * right / len(sure), "%", ">= 99 %"),
        Figure("texts with a sure place", 100 * len(sure) / len(some), "%", "-"),
        _over_http(city, demo, some),
        *_scored("20,000 rows, coordinates of unknown datum, 5 % misplaced, half addresses", sheet,
                 _contract(detected, by_text), site, truth),
        *_scored("20,000 rows, half addresses alone", sheet, _contract(by_text), site, truth),
    ]  # fmt: skip
