"""The dirty city: a source file of the synthetic city made as dirty as life, with the truth beside it, and its score.

What can go wrong follows from the contract: coordinates in another datum, swapped or misplaced; codes with two signs
exchanged; addresses without their first or last part; rows sent twice; a column that nobody announced; GB 18030.
"""

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import shapely
import sqlalchemy as sa
from polars.exceptions import PolarsError

from layers.catalog import Catalog
from layers.contract import Contract
from layers.inbox import quarantined
from layers.places.candidates import metres
from layers.rungs import AddressRung, CoordinateRung
from layers.tables import dataset_table, open_rows
from twin.city import City
from twin.database import Database
from twin.datum import from_city, parse_datum, to_city
from twin.errors import InvalidRequest, SourceError

__all__ = ["Score", "dirty", "score"]

_NEAR_M = 50.0
_TRUTH = ("key", "lon", "lat", "dirt")


def dirty(contract: Contract, clean: Path, city: City, *, share: float, datum: str | None, seed: int) -> Path:
    """Make a clean CSV file of a dataset dirty, in place; returns the file with the truth beside it.

    A `share` of the rows gets one kind of dirt each. With a `datum` the whole file is written in it, whatever the
    contract says. Raises InvalidRequest for a dataset without coordinates in columns or with more than one key field.
    """
    rung = next((rung for rung in contract.place.rungs if isinstance(rung, CoordinateRung)), None)
    if rung is None or len(contract.key) != 1:
        raise InvalidRequest(
            f"{contract.id} cannot be made dirty: it needs coordinates in columns, and one key field.",
            remedy="See `twin catalog list`; sharing.legal_entities can.",
        )
    chance = random.Random(seed)  # noqa: S311
    rows = pl.read_csv(clean, infer_schema=False).to_dicts()
    declared = "wgs84" if rung.datum in {"detect", "per_file"} else rung.datum
    x, y = (np.array([float(row[name]) for row in rows]) for name in (rung.x, rung.y))
    lon, lat = to_city(x, y, parse_datum(declared), city)
    if datum is not None:
        x, y = from_city(lon, lat, parse_datum(datum), city)
    written: list[dict[str, str]] = []
    truth: list[tuple[str, float, float, str]] = []
    kinds = ["swapped", "misplaced", "twice", *_kinds(contract)]
    for at, row in enumerate(rows):
        dirt = chance.choice(kinds) if chance.random() < share else ""
        spoilt = row | {rung.x: f"{x[at]:.7f}", rung.y: f"{y[at]:.7f}", "备注": "" if at % 7 else "补录"}
        _spoil(spoilt, dirt, contract, rung, chance)
        written += [spoilt, spoilt] if dirt == "twice" else [spoilt]
        truth.append((row[contract.key[0]], float(lon[at]), float(lat[at]), dirt))
    clean.write_bytes(pl.DataFrame(written).write_csv().encode("gb18030"))
    beside = clean.with_suffix(".truth.csv")
    pl.DataFrame(truth, schema=list(_TRUTH), orient="row").write_csv(beside)
    return beside


def _kinds(contract: Contract) -> list[str]:
    kinds = ["half address"] if any(isinstance(rung, AddressRung) for rung in contract.place.rungs) else []
    return [*kinds, "wrong code"] if any(spec.code for spec in contract.fields.values()) else kinds


def _spoil(row: dict[str, str], dirt: str, contract: Contract, rung: CoordinateRung, chance: random.Random) -> None:
    match dirt:
        case "swapped":
            row[rung.x], row[rung.y] = row[rung.y], row[rung.x]
        case "misplaced":
            row[rung.x] = f"{float(row[rung.x]) + chance.choice([-1, 1]) * chance.uniform(0.02, 0.08):.7f}"
        case "half address":
            text = next(rung.text for rung in contract.place.rungs if isinstance(rung, AddressRung))
            address = row[text] or ""
            row[text] = address[chance.randrange(3, 7) :] if chance.random() < 0.5 else address.split("号")[0] + "号"
        case "wrong code":
            name = next(name for name, spec in contract.fields.items() if spec.code)
            code = list(row[name] or "")
            swaps = [k for k in range(len(code) - 1) if code[k] != code[k + 1]]
            if swaps:
                k = chance.choice(swaps)
                code[k], code[k + 1] = code[k + 1], code[k]
                row[name] = "".join(code)
        case _:
            pass


@dataclass(frozen=True, slots=True)
class Score:
    """What became of the rows of a dirty file.

    `near`: placed within 50 m of the truth; `coarse`: placed as roughly as the record itself says; `flagged`: in
    quarantine; `wrong`: placed elsewhere; `lost`: in neither.
    """

    rows: int
    near: int
    coarse: int
    flagged: int
    wrong: int
    lost: int


def score(database: Database, catalog: Catalog, city: City, dataset: str, truth: Path) -> Score:
    """Compare what a dataset holds with the truth that `dirty` wrote. Raises SourceError for any other file."""
    try:
        rows = pl.read_csv(truth, schema_overrides={"key": pl.String}).select(_TRUTH).to_dicts()
    except (OSError, PolarsError) as error:
        raise SourceError(
            "this is no file with the truth of a dirty one.", where=str(truth), remedy="`twin ingest dirty` writes it."
        ) from error
    contract = catalog[dataset]
    table = dataset_table(contract, city.srid)
    with database.writing() as connection:
        found = connection.execute(
            sa.select(table.c.id, table.c.place_accuracy_m, sa.func.ST_AsBinary(table.c.geom)).where(open_rows(table))
        ).all()
        refused = connection.scalars(
            sa.select(quarantined.c.record).where(quarantined.c.dataset == dataset, quarantined.c.status == "open")
        ).all()
    middles = shapely.point_on_surface(shapely.from_wkb(np.array([bytes(row[2]) for row in found], dtype=object)))
    places = {
        row[0]: (x, y, float(row[1] or 0))
        for row, x, y in zip(found, shapely.get_x(middles), shapely.get_y(middles), strict=True)
    }
    waiting = {str((record or {}).get(contract.key[0])) for record in refused}
    near = coarse = flagged = wrong = lost = 0
    for row in rows:
        place = places.get(row["key"])
        if place is None:
            # A record whose own code was spoilt stands in quarantine under the spoilt one.
            is_there = row["key"] in waiting or row["dirt"] == "wrong code"
            flagged, lost = flagged + is_there, lost + (not is_there)
            continue
        off_m = metres(row["lon"], row["lat"], place[0], place[1])
        if off_m <= _NEAR_M:
            near += 1
        elif place[2] > _NEAR_M and off_m <= 2 * place[2]:
            coarse += 1
        else:
            wrong += 1
    return Score(len(rows), near, coarse, flagged, wrong, lost)
