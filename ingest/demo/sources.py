"""Source files of the synthetic city: one for each dataset, as its owner would send it.

All follows from the contract: fields, datum, format. The files then take the way that all files take.
"""

import datetime as dt
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import numpy as np
import polars as pl
import shapely

from ingest.demo.city import DemoCity
from ingest.demo.files import VECTOR, write_table, write_vector
from ingest.demo.plane import Geometries
from ingest.demo.records import Maker, Table
from ingest.demo.terrain import write_relief
from layers.catalog import Catalog
from layers.contract import Contract, Demo
from layers.rungs import AddressRung, AreaRung, CoordinateRung, GeometryRung, RegisterRung, StakeRung
from twin.city import City
from twin.datum import from_city, parse_datum
from twin.errors import ContractError

__all__ = ["Sheet", "Source", "in_order", "sheet_of", "write_sheet", "write_source", "write_sources"]

_CRS = {"wgs84": "EPSG:4326", "cgcs2000": "EPSG:4490"}
_DBF_BYTES = 10
_DECIMALS_DEG, _DECIMALS_M = 7, 3
_LARGEST_DEG = 360
_BOOLEANS = {True: "是", False: "否"}


@dataclass(frozen=True, slots=True)
class Source:
    """A file with records of a dataset. `datum` is its datum word where the contract leaves it to the file."""

    dataset: str
    path: Path
    datum: str | None = None


@dataclass(frozen=True, slots=True)
class Sheet:
    """Records (n) as a file will hold them.

    `frame` has the columns of a coordinate rung; those of a geometry rung have `shapes` (n,). Both are in the datum
    `word`. `rung` is the one that reads the position; None where an id says it.
    """

    frame: pl.DataFrame
    shapes: Geometries | None
    word: str
    rung: CoordinateRung | GeometryRung | None


def in_order(catalog: Catalog) -> list[Contract]:
    """The contracts with a demo section, each after those whose places or records it refers to.

    Raises ContractError when they refer to each other in a circle.
    """
    made = {contract.id: contract for contract in catalog if contract.demo}
    # Sorted, so that the order is the same in every process.
    before = {name: sorted({*_refers_to(made[name], catalog)} & made.keys() - {name}) for name in made}
    try:
        return [made[name] for name in TopologicalSorter(before).static_order()]
    except CycleError as error:
        names = ", ".join(error.args[1])
        raise ContractError(f"these datasets refer to each other in a circle: {names}.") from error


def write_sources(
    demo: DemoCity,
    catalog: Catalog,
    city: City,
    folder: Path,
    *,
    seed: int,
    scale: float,
    now: dt.datetime,
    datasets: Collection[str] | None = None,
) -> list[Source]:
    """Write a file for each dataset with a demo section (or of `datasets`), in the order in which they can be loaded.

    `seed` and `scale` are those of the city; histories end at `now`, which is aware. Raises ContractError and
    SetupError as `Maker.records` does.
    """
    maker = Maker(demo, catalog, city, seed, scale, now)
    chosen = [contract for contract in in_order(catalog) if datasets is None or contract.id in datasets]
    return [write_source(contract, maker, folder) for contract in chosen]


def _refers_to(contract: Contract, catalog: Catalog) -> Iterator[str]:
    for rung in contract.place.rungs:
        if isinstance(rung, RegisterRung | AreaRung):
            yield rung.register_
        elif isinstance(rung, AddressRung | StakeRung):
            # Names of places may themselves be found by their addresses; those that make addresses are not.
            yield from (other.id for other in catalog if other.names is not None and other.names.level != "place")
    if contract.demo:
        yield contract.demo.frame


def write_source(contract: Contract, maker: Maker, folder: Path) -> Source:
    """Write the file of one dataset below `folder`. Raises ContractError and SetupError as `Maker.records` does."""
    section = _section(contract)
    if section.format == "tif":
        path = folder / f"{contract.id}.tif"
        write_relief(path, maker.demo, maker.city, maker.seed)
        return Source(contract.id, path)
    return write_sheet(contract, sheet_of(contract, maker.records(contract), maker.city), folder, maker.city)


def sheet_of(contract: Contract, table: Table, city: City, datum: str | None = None) -> Sheet:
    """Records as their owner holds them: positions in the contract's datum, or in `datum` whatever it says."""
    section = _section(contract)
    rung = _rung(contract, section)
    said = getattr(rung, "datum", None)
    word = datum or str(section.datum if said in {"per_file", "detect"} else said)
    if isinstance(rung, CoordinateRung):
        return Sheet(table.frame.with_columns(_coordinates(table, rung, word, city)), None, word, rung)
    if isinstance(rung, GeometryRung):
        return Sheet(table.frame, _moved(table.shapes, word, city), word, rung)
    return Sheet(table.frame, None, word, None)


def write_sheet(contract: Contract, sheet: Sheet, folder: Path, city: City) -> Source:
    """Write records to a file below `folder` in the contract's format."""
    section = _section(contract)
    path = folder / f"{contract.id}.{section.format}"
    frame = _as_written(sheet.frame, section.format, city).rename(_headings(contract, section.format))
    if sheet.shapes is not None:
        write_vector(path, frame, sheet.shapes, section.format, _CRS.get(sheet.word))
    else:
        write_table(path, frame, section.format)
    rung = _rung(contract, section)
    return Source(contract.id, path, section.datum if getattr(rung, "datum", None) == "per_file" else None)


def _section(contract: Contract) -> Demo:
    return contract.demo or Demo(frame="")


def _rung(contract: Contract, section: Demo) -> CoordinateRung | GeometryRung | None:
    """The first rung that a file of this format can serve; None where the records say an id and no more."""
    wanted = GeometryRung if section.format in VECTOR or section.format == "tif" else CoordinateRung
    return next((rung for rung in contract.place.rungs if isinstance(rung, wanted)), None)


def _coordinates(table: Table, rung: CoordinateRung, word: str, city: City) -> list[pl.Series]:
    """The two columns of the rung, in its datum."""
    points = shapely.point_on_surface(table.shapes)
    x, y = from_city(shapely.get_x(points), shapely.get_y(points), parse_datum(word), city)
    decimals = _DECIMALS_M if np.abs(x).max() > _LARGEST_DEG else _DECIMALS_DEG
    return [pl.Series(rung.x, x.round(decimals)), pl.Series(rung.y, y.round(decimals))]


def _moved(shapes: Geometries, word: str, city: City) -> Geometries:
    """Geometries in degrees of the city's SRID, in another datum."""
    datum = parse_datum(word)
    return shapely.transform(shapes, lambda xy: np.column_stack(from_city(xy[:, 0], xy[:, 1], datum, city)))


def _as_written(frame: pl.DataFrame, format_: str, city: City) -> pl.DataFrame:
    """Values as the format writes them: moments as ISO 8601 texts with the city's offset, 是 and 否 in workbooks."""
    moments = pl.selectors.datetime().dt.convert_time_zone(city.zone).dt.strftime("%Y-%m-%dT%H:%M:%S%:z")
    frame = frame.with_columns(moments)
    if format_ == "xlsx":
        return frame.with_columns(pl.selectors.boolean().replace_strict(_BOOLEANS, return_dtype=pl.String))
    return frame


def _headings(contract: Contract, format_: str) -> dict[str, str]:
    """Field to heading: the Chinese title in workbooks and, as far as it is short enough, in shapefiles."""
    if format_ not in {"xlsx", "shp"}:
        return {}
    titles = Counter(spec.title.zh for spec in contract.fields.values())
    own = {name: spec.title.zh for name, spec in contract.fields.items() if titles[spec.title.zh] == 1}
    if format_ == "xlsx":
        return own
    return {name: title for name, title in own.items() if len(title.encode("gbk")) <= _DBF_BYTES}
