"""The dirty city: a source file of the synthetic city made as dirty as life, with the truth beside it, and its score.

What can go wrong follows from the contract: positions in another datum, swapped or misplaced; codes and ids with two
signs exchanged; addresses without their first or last part; values out of all range or left out; rows sent twice or
late; a column that nobody announced; GB 18030.
"""

import datetime as dt
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import shapely
import sqlalchemy as sa
from numpy.typing import NDArray
from polars.exceptions import PolarsError
from shapely.affinity import translate

from ingest.demo.plane import Geometries
from ingest.demo.records import Table
from ingest.demo.sources import Sheet, Source, sheet_of, write_sheet
from ingest.private import Protection
from ingest.rows import parts
from layers.catalog import Catalog
from layers.contract import Contract, FieldSpec
from layers.inbox import quarantined
from layers.rungs import AddressRung, AreaRung, CellRung, RegisterRung
from layers.tables import dataset_table, open_rows
from twin.city import City
from twin.database import Database
from twin.errors import InvalidRequest, SourceError
from twin.geometry import METRES_PER_DEGREE, metres_apart
from twin.pseudonyms import Pseudonyms

__all__ = ["Score", "dirty", "score"]

_NEAR_M = 50.0
_ASTRAY_M = (2_000.0, 8_000.0)
_LARGEST_DEG = 360.0
_UNANNOUNCED = "备注"
_TRUTH = ".truth.csv"
_KEY = "key."
_WRONG_CODE = "wrong code"

_Cells = dict[str, list[object]]


def dirty(
    contract: Contract, table: Table, city: City, folder: Path, *, share: float, datum: str | None, seed: int
) -> tuple[Source, Path]:
    """Write a file with the records of `table` made dirty; returns it, and the file with the truth beside it.

    A `share` of the rows gets one kind of dirt each. With a `datum` all positions are written in it, whatever the
    contract says. Raises InvalidRequest for a raster, and for a datum where records have no position of their own.
    """
    if contract.kind == "coverage":
        raise InvalidRequest(f"{contract.id} is a raster and has no records.", remedy="See `twin catalog list`.")
    sheet = sheet_of(contract, table, city, datum)
    if datum is not None and sheet.rung is None:
        raise InvalidRequest(
            f"the records of {contract.id} have no position of their own.", remedy="Leave --datum out."
        )
    chance = random.Random(seed)  # noqa: S311
    kinds = [*_moves(sheet), *_changes(contract)]
    chosen = [chance.choice([*kinds, "twice", "late"]) if chance.random() < share else "" for _ in table.shapes]
    of_kind = {kind: [row for row, name in enumerate(chosen) if name == kind] for kind in (*kinds, "twice", "late")}
    sheet = _moved(sheet, of_kind, chance)
    cells = {name: sheet.frame[name].to_list() for name in sheet.frame.columns}
    for kind, change in _changes(contract).items():
        for row in of_kind[kind]:
            change(cells, row, chance)
    order = _order(len(chosen), of_kind)
    frame = pl.DataFrame(cells, schema=sheet.frame.schema)[order]
    # Schema drift: a column that nobody announced.
    frame = frame.with_columns(pl.Series(_UNANNOUNCED, [None if at % 7 else "补录" for at in range(len(order))]))
    shapes = sheet.shapes[order] if sheet.shapes is not None else None
    source = write_sheet(contract, Sheet(frame, shapes, sheet.word, sheet.rung), folder, city)
    if source.path.suffix == ".csv":
        source.path.write_bytes(source.path.read_text("utf-8").encode("gb18030"))
    return source, _write_truth(contract, table, source.path, chosen, order)


def _moves(sheet: Sheet) -> list[str]:
    return ["swapped", "misplaced"] if sheet.rung is not None else []


def _moved(sheet: Sheet, of_kind: dict[str, list[int]], chance: random.Random) -> Sheet:
    """The sheet with some positions swapped, and some a few kilometres astray."""
    if sheet.rung is None:
        return sheet
    swapped, lost = of_kind["swapped"], of_kind["misplaced"]
    astray_m = np.array([chance.choice([-1, 1]) * chance.uniform(*_ASTRAY_M) for _ in lost])
    if sheet.shapes is not None:
        shapes = sheet.shapes.copy()
        shapes[swapped] = shapely.transform(shapes[swapped], lambda xy: xy[:, ::-1])
        for row, off_m in zip(lost, astray_m.tolist(), strict=True):
            shapes[row] = translate(shapes[row], _in_units(shapely.get_coordinates(shapes[row]), off_m))
        return Sheet(sheet.frame, shapes, sheet.word, sheet.rung)
    names = (sheet.rung.x, sheet.rung.y) if sheet.rung.by == "coordinate" else ()
    x, y = (sheet.frame[name].to_numpy().copy() for name in names)
    x[swapped], y[swapped] = y[swapped], x[swapped]
    x[lost] += astray_m * _in_units(x, 1.0)
    return Sheet(sheet.frame.with_columns(**dict(zip(names, (x, y), strict=True))), None, sheet.word, sheet.rung)


def _in_units(near: NDArray[np.float64], metres: float) -> float:
    """Metres in the units of coordinates like these: degrees, or metres."""
    return metres / METRES_PER_DEGREE if np.abs(near).max(initial=0) <= _LARGEST_DEG else metres


def _changes(contract: Contract) -> dict[str, Callable[[_Cells, int, random.Random], None]]:
    """What can go wrong with the values of a record: the kind of dirt, and what does it to one row."""
    changes: dict[str, Callable[[_Cells, int, random.Random], None]] = {}
    rungs = contract.place.rungs
    texts = [rung.text for rung in rungs if isinstance(rung, AddressRung)]
    ids = {rung.id for rung in rungs if isinstance(rung, RegisterRung | CellRung)}
    ids |= {rung.code for rung in rungs if isinstance(rung, AreaRung)}
    codes = [name for name, spec in contract.fields.items() if spec.code or name in ids]
    ranged = {name: spec for name, spec in contract.fields.items() if spec.range and name not in contract.key}
    needed = [name for name, spec in contract.fields.items() if spec.required and name not in contract.key]
    if texts:
        changes["half address"] = lambda cells, row, chance: _halve(cells[texts[0]], row, chance)
    if codes:
        changes[_WRONG_CODE] = lambda cells, row, chance: _exchange(cells[chance.choice(codes)], row, chance)
    if ranged:
        changes["absurd value"] = lambda cells, row, chance: _exceed(cells, row, ranged, chance)
    if needed:
        changes["left out"] = lambda cells, row, chance: _leave_out(cells[chance.choice(needed)], row)
    return changes


def _halve(column: list[object], row: int, chance: random.Random) -> None:
    """Take the first or the last part of an address away."""
    address = str(column[row] or "")
    column[row] = (
        address[chance.randrange(3, 7) :] if chance.random() < 0.5 else address.split("号", maxsplit=1)[0] + "号"
    )


def _exchange(column: list[object], row: int, chance: random.Random) -> None:
    """Exchange two neighbouring signs of a code, as hurried typists do."""
    code = list(str(column[row] or ""))
    swaps = [k for k in range(len(code) - 1) if code[k] != code[k + 1]]
    if swaps:
        k = chance.choice(swaps)
        code[k], code[k + 1] = code[k + 1], code[k]
        column[row] = "".join(code)


def _exceed(cells: _Cells, row: int, ranged: dict[str, FieldSpec], chance: random.Random) -> None:
    """A value that a wrong unit or a slipped finger gives."""
    name = chance.choice(list(ranged))
    limits = ranged[name].range
    if limits is not None:
        absurd = limits[1] * 10 + 1
        cells[name][row] = int(absurd) if ranged[name].type == "integer" else absurd


def _leave_out(column: list[object], row: int) -> None:
    column[row] = None


def _order(count: int, of_kind: dict[str, list[int]]) -> list[int]:
    """The rows in the order of the file: those sent twice stand there twice, late ones after all others."""
    twice, late = set(of_kind["twice"]), set(of_kind["late"])
    on_time = [copy for row in range(count) if row not in late for copy in ([row, row] if row in twice else [row])]
    return [*on_time, *sorted(late, reverse=True)]


def _write_truth(contract: Contract, table: Table, path: Path, dirt: list[str], order: list[int]) -> Path:
    """Beside a file: of each record its key, its numbers in the file, its true place (degrees) and its dirt."""
    numbers: list[list[str]] = [[] for _ in dirt]
    for number, row in enumerate(order, 1):
        numbers[row].append(str(number))
    middles = shapely.point_on_surface(table.shapes)
    keys = [part.alias(_KEY + name) for name, part in zip(contract.key, parts(contract.key, contract), strict=True)]
    truth = table.frame.select(keys).with_columns(
        rows=pl.Series([" ".join(part) for part in numbers]),
        lon=pl.Series(shapely.get_x(middles)),
        lat=pl.Series(shapely.get_y(middles)),
        dirt=pl.Series(dirt),
    )
    beside = path.with_name(path.name + _TRUTH)
    truth.write_csv(beside)
    return beside


@dataclass(frozen=True, slots=True)
class Score:
    """What became of the records of a dirty file.

    `near`: placed within 50 m of the truth; `coarse`: placed as roughly as the record itself says; `flagged`: in
    quarantine; `wrong`: placed elsewhere or under another key; `lost`: in neither. `silent` counts the last two by
    their dirt.
    """

    rows: int
    near: int
    coarse: int
    flagged: int
    wrong: int
    lost: int
    silent: dict[str, int]


def score(database: Database, catalog: Catalog, city: City, home: Path, dataset: str, truth: Path) -> Score:
    """Compare what a dataset holds with the truth that `dirty` wrote, when its file is the only one in quarantine.

    Raises SourceError for any other file.
    """
    contract = catalog[dataset]
    known = _read_truth(contract, home, truth)
    table = dataset_table(contract, city.srid)
    with database.writing() as connection:
        found = connection.execute(
            sa.select(table.c.id, table.c.place_accuracy_m, sa.func.ST_AsBinary(table.c.geom)).where(open_rows(table))
        ).all()
        refused = set(
            connection.scalars(
                sa.select(quarantined.c.row_number).where(
                    quarantined.c.dataset == dataset, quarantined.c.status == "open"
                )
            )
        )
    placed = pl.DataFrame(
        {"id": [row[0] for row in found], "accuracy_m": [float(row[1] or 0) for row in found], "at": range(len(found))},
        schema={"id": pl.String, "accuracy_m": pl.Float64, "at": pl.Int64},
    )
    beside = known.join(placed, on="id", how="left", maintain_order="left")
    at = beside["at"].fill_null(-1).to_numpy()
    here = at >= 0
    shapes: Geometries = shapely.from_wkb(np.array([bytes(row[2]) for row in found], dtype=object))[at[here]]
    lon, lat = (beside[name].to_numpy()[here] for name in ("lon", "lat"))
    off_m, aside_m = np.full(len(at), np.inf), np.full(len(at), np.inf)
    middles = shapely.point_on_surface(shapes)
    off_m[here] = metres_apart(shapely.get_x(middles), shapely.get_y(middles), lon, lat)
    nearest = shapely.get_point(shapely.shortest_line(shapes, shapely.points(lon, lat)), 0)
    aside_m[here] = metres_apart(shapely.get_x(nearest), shapely.get_y(nearest), lon, lat)
    accuracy_m = beside["accuracy_m"].fill_null(0).to_numpy()
    waits = np.array([any(int(number) in refused for number in rows.split()) for rows in beside["rows"].to_list()])
    # The middle of a line is where a few centimetres decide; that an area holds the place says something only if the
    # area itself is known exactly.
    near = here & ((off_m <= _NEAR_M) | (aside_m <= _NEAR_M) & (accuracy_m <= _NEAR_M))
    coarse = here & ~near & (accuracy_m > _NEAR_M) & (off_m <= 2 * accuracy_m)
    flagged = waits & ~near & ~coarse
    # What had its own code spoilt and was let in stands under that code.
    renamed = ~here & ~flagged & (beside["dirt"].fill_null("") == _WRONG_CODE).to_numpy()
    wrong, lost = here & ~near & ~coarse & ~flagged | renamed, ~here & ~flagged & ~renamed
    silent = beside.filter(pl.Series(wrong | lost))["dirt"].fill_null("").value_counts()
    return Score(
        rows=beside.height,
        near=int(near.sum()),
        coarse=int(coarse.sum()),
        flagged=int(flagged.sum()),
        wrong=int(wrong.sum()),
        lost=int(lost.sum()),
        silent=dict(sorted(silent.iter_rows())),
    )


def _read_truth(contract: Contract, home: Path, truth: Path) -> pl.DataFrame:
    """Columns id, rows, lon, lat, dirt."""
    columns = [_KEY + name for name in contract.key]
    try:
        known = pl.read_csv(truth, infer_schema=False).select(*columns, "rows", "lon", "lat", "dirt")
    except (OSError, PolarsError) as error:
        raise SourceError(
            "this is no file with the truth of a dirty one.", where=str(truth), remedy="`twin ingest dirty` writes it."
        ) from error
    keys = known.select(pl.col(name).alias(name.removeprefix(_KEY)) for name in columns)
    keys = Protection(contract, Pseudonyms(home, dt.datetime.now(dt.UTC))).records(keys)
    ids = keys.select(pl.concat_str(contract.key, separator=":").alias("id"))["id"]
    return known.select(ids, "rows", pl.col("lon", "lat").cast(pl.Float64), "dirt")
