"""Half a million rows of CSV into PostGIS, next to what people use; the same file again; the memory it takes.

Ours judges every record (600 bad ones are planted), shifts GCJ-02 to the city's datum, finds the cells, keeps both
times, writes the quarantine, and has all its indexes at the end. The peers read the good rows only,
take the coordinates as they are, and get the indexes of theirs that ours has too: the key, unique, and the geometry.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import polars as pl
import sqlalchemy as sa

from ingest.pipeline import Loaded, Loader, LoadOptions
from layers.catalog import Catalog
from layers.contract import System
from layers.granting import tables_of
from layers.store import apply
from tests.bench.harness import Case, Figure, Measured, measure
from tests.ingest.contracts import contract, field
from twin.city import load_city
from twin.cluster import Cluster
from twin.database import Database, private_database
from twin.datum import wgs84_to_gcj02

__all__ = ["run"]

_CITY = load_city("zaozhuang")
_DEVICES, _MOMENTS, _BAD = 5_000, 100, 600
_ROWS = _DEVICES * _MOMENTS
_PACKAGES = ("polars", "psycopg", "geopandas", "sqlalchemy")
_FIELDS = {
    "device_id": field("string", "设备", "Device", max_length=20),
    "value": field("float", "值", "Value", range=[0, 1000]),
    "name": field("string", "名称", "Name"),
}
_COMMON = {
    "place": {"rungs": [{"by": "coordinate", "x": "lon", "y": "lat", "datum": "gcj02", "accuracy_m": 10}]},
    "geometry": "point",
    "rate": "15 min",
}


def _catalog() -> Catalog:
    """The rows of the file as states, each its own, and as observations of devices."""
    time = field("datetime", "时间", "Time", aliases=["ts"])
    states = contract(
        id="bench.states",
        fields=_FIELDS | {"ts": time},
        key=["device_id", "ts"],
        **_COMMON,
    )
    observations = contract(
        id="bench.observations",
        kind="observation",
        fields=_FIELDS | {"observed_at": time},
        key=["device_id", "observed_at"],
        time={"event": "observed_at"},
        **_COMMON,
    )
    title = {"zh": "均值", "en": "Mean"}
    system = System.model_validate({"id": "bench", "number": "C1", "title": title, "owner": "-", "description": title})
    contracts = {one.id: one for one in (observations, states)}
    return Catalog(contracts, {"bench": system}, dict.fromkeys(contracts, "bench"))


def _write_files(folder: Path) -> tuple[Path, Path]:
    """The file with the bad rows in it, and one of the good rows only."""
    random = np.random.default_rng(11)
    west, south, east, north = _CITY.bounds
    lon, lat = random.uniform(west, east, _DEVICES), random.uniform(south, north, _DEVICES)
    lon, lat = wgs84_to_gcj02(0.8 * lon + 0.1 * (west + east), 0.8 * lat + 0.1 * (south + north))
    device = np.tile(np.arange(_DEVICES), _MOMENTS)
    minute = np.repeat(np.arange(_MOMENTS), _DEVICES) * 15
    rows = pl.DataFrame({"device": device, "minute": minute, "lon": lon[device], "lat": lat[device]}).select(
        pl.format("D{}", pl.col("device").cast(pl.String).str.zfill(6)).alias("device_id"),
        (pl.datetime(2026, 5, 4) + pl.duration(minutes="minute")).dt.strftime("%Y-%m-%d %H:%M:%S").alias("ts"),
        pl.Series("value", random.gamma(3, 20, _ROWS).round(3)).cast(pl.String),
        pl.format("监测点 {}", "device").alias("name"),
        pl.col("lon", "lat").round(7).cast(pl.String),
    )
    bad = np.sort(random.choice(_ROWS, _BAD, replace=False))
    good = rows.filter(~pl.int_range(pl.len()).is_in(bad))
    good.write_csv(folder / "good.csv")
    _spoil(rows, bad).write_csv(folder / "all.csv")
    return folder / "all.csv", folder / "good.csv"


def _spoil(rows: pl.DataFrame, bad: np.ndarray) -> pl.DataFrame:
    """The rows with one fault in each of these: no key, no number, out of range, no place, swapped axes, no time."""
    faults = [
        ("device_id", ""),
        ("value", "n/a?"),
        ("value", "5000"),
        ("lon", "0"),
        ("lat", "117.3"),
        ("ts", "yesterday"),
    ]
    for turn, (name, value) in enumerate(faults):
        chosen = bad[turn :: len(faults)]
        rows = rows.with_columns(rows[name].scatter(chosen, value))
    return rows


@dataclass(frozen=True, slots=True)
class _Bench:
    """A running database, the loader, and the two files."""

    database: Database
    cluster: Cluster
    loader: Loader
    everything: Path
    good: Path

    def load(self, dataset: str) -> Loaded:
        """Load the file. Raises AssertionError when a planted record is missing from the quarantine."""
        loaded = self.loader.load(dataset, self.everything, LoadOptions(datum="gcj02"))
        assert (loaded.received, loaded.quarantined) == (_ROWS, _BAD), loaded
        return loaded

    def empty(self, dataset: str) -> None:
        """Make the tables of the dataset anew, and forget what was loaded."""
        with self.database.writing() as connection:
            for table in tables_of(self.loader.catalog[dataset], _CITY):
                table.drop(connection)
                table.create(connection)
            connection.exec_driver_sql("truncate twin.inbox, twin.batches, twin.quarantine, twin.versions")

    def load_anew(self, dataset: str) -> None:
        """Empty the dataset, then load the file."""
        self.empty(dataset)
        assert self.load(dataset).inserted == _ROWS - _BAD

    def load_again(self, dataset: str) -> None:
        """Load the file that was loaded before: nothing changes."""
        assert self.load(dataset).accepted == 0

    def geopandas(self) -> None:
        """read_csv and to_postgis: into an empty table without an index, which are made at the end."""
        rows = pd.read_csv(self.good, parse_dates=["ts"])
        frame = gpd.GeoDataFrame(rows, geometry=gpd.points_from_xy(rows["lon"], rows["lat"]), crs=_CITY.srid)
        frame.iloc[:0].to_postgis("peer_geopandas", self.database.engine, if_exists="replace")
        with self.database.writing() as connection:
            connection.exec_driver_sql("drop index idx_peer_geopandas_geometry")
        frame.to_postgis("peer_geopandas", self.database.engine, if_exists="append")
        self._index("peer_geopandas", "geometry")

    def ogr2ogr(self) -> None:
        """ogr2ogr with COPY, and the indexes at the end."""
        url = self.cluster.url(database="bench")
        address = f"PG:host={url.query['host']} port={url.query['port']} user={url.username} dbname=bench"
        options = ["-oo", "X_POSSIBLE_NAMES=lon", "-oo", "Y_POSSIBLE_NAMES=lat", "-oo", "AUTODETECT_TYPE=YES"]
        options += ["-a_srs", f"EPSG:{_CITY.srid}", "-nln", "peer_ogr2ogr", "-overwrite"]
        options += ["-lco", "SPATIAL_INDEX=NONE", "-lco", "GEOMETRY_NAME=geometry", "--config", "PG_USE_COPY", "YES"]
        command = ["ogr2ogr", "-f", "PostgreSQL", address, str(self.good), *options]
        subprocess.run(command, check=True, env={"PGPASSWORD": str(url.password), "PATH": "/usr/bin:/bin"})
        self._index("peer_ogr2ogr", "geometry")

    def _index(self, table: str, geometry: str) -> None:
        with self.database.writing() as connection:
            connection.exec_driver_sql("set local maintenance_work_mem = '256MB'")
            connection.exec_driver_sql(f"create unique index on {table} (device_id, ts)")
            connection.exec_driver_sql(f"create index on {table} using gist ({geometry})")
            (count,) = connection.execute(sa.text(f"select count(*) from {table}")).one()
        assert count == _ROWS - _BAD

    def memory_mb(self, dataset: str) -> float:
        """The most memory that a process of its own takes to load the file."""
        url = self.cluster.url(database="bench").render_as_string(hide_password=False)
        command = [sys.executable, "-m", __name__, url, str(self.loader.home), str(self.everything), dataset]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@contextmanager
def _running() -> Iterator[_Bench]:
    home = Path(tempfile.mkdtemp(prefix="twin-bench-"))
    home.chmod(0o755)
    cluster = Cluster(home)
    try:
        cluster.start()
        database, catalog = private_database(cluster, "bench"), _catalog()
        database.migrate()
        with database.writing() as connection:
            apply(connection, catalog, _CITY)
        yield _Bench(database, cluster, Loader(database, catalog, _CITY, home), *_write_files(home))
        database.engine.dispose()
    finally:
        cluster.stop()
        shutil.rmtree(home)


def _cases(bench: _Bench) -> Iterator[Case]:
    for dataset, what in (("bench.states", "features"), ("bench.observations", "observations")):

        def ours(load: Callable[[str], None], dataset: str = dataset) -> Callable[[], None]:
            return lambda: load(dataset)

        peers = {"geopandas.to_postgis": bench.geopandas, "ogr2ogr": bench.ogr2ogr}
        target = ">= 2x to_postgis, 1.2x ogr2ogr"
        yield Case(f"CSV -> {what}", ours(bench.load_anew), peers, _ROWS, "rows", target, packages=_PACKAGES)
        yield Case(f"the same file again, {what}", ours(bench.load_again), {}, _ROWS, "rows", ">= 180,000 rows/s")


def run() -> list[Measured]:
    """Measure all cases."""
    with _running() as bench:
        results = [measure(case) for case in _cases(bench)]
        bench.empty("bench.states")
        memory = [
            Figure(f"peak memory of {what}", bench.memory_mb("bench.states"), "MB", "<= 1,500 MB")
            for what in ("a load", "loading the same file again")
        ]
    return [*results, *memory]


def _load_alone(url: str, home: str, path: str, dataset: str) -> None:
    database = Database(sa.make_url(url), sa.make_url(url))
    Loader(database, _catalog(), _CITY, Path(home)).load(dataset, Path(path), LoadOptions(datum="gcj02"))
    # Of this process alone: what getrusage tells is at least what the parent took when it started this one.
    peak_kb = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert peak_kb is not None
    print(int(peak_kb[1]) / 1024)  # noqa: T201


if __name__ == "__main__":
    _load_alone(*sys.argv[1:])
