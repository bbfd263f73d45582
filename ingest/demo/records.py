"""Records of a dataset, made of the frames of the synthetic city as the contract's `[demo]` section says.

The same city, contract, seed and time give the same records.
"""

import datetime as dt
import zlib
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import polars as pl
import shapely
from geopandas import GeoDataFrame
from numpy.typing import NDArray

from ingest.demo.city import DemoCity
from ingest.demo.kinds import rhythms
from ingest.demo.motion import travel
from ingest.demo.noise import Ints, stream
from ingest.demo.plane import Geometries
from ingest.demo.sensors import value
from ingest.demo.values import evaluated, local, moments, names_in, random_values, typed
from layers.catalog import Catalog
from layers.contract import Contract, Demo, seconds
from twin.city import City
from twin.errors import ContractError, SetupError
from twin.geometry import METRES_PER_DEGREE

__all__ = ["Maker", "Table"]

_FEWEST = 3
_MINUTE_S, _HOUR_S = 60, 3_600
_DIMENSIONS = {"point": 0, "line": 1, "polygon": 2}


@dataclass(frozen=True, slots=True)
class Table:
    """Rows (n) and their geometries (n,) in degrees of the city's SRID."""

    frame: pl.DataFrame
    shapes: Geometries

    def at(self, rows: NDArray[np.int64]) -> "Table":
        """The rows at these positions."""
        return Table(self.frame[rows], self.shapes[rows])


@dataclass(frozen=True)
class Maker:
    """Makes records of a city that was generated with `seed` and `scale`, as things stand at `now`."""

    demo: DemoCity
    catalog: Catalog
    city: City
    seed: int
    scale: float
    now: dt.datetime
    _kept: dict[str, Table] = field(default_factory=dict[str, Table])

    def records(self, contract: Contract) -> Table:
        """The records of a dataset: a column for each field of its contract, in its type.

        Raises ContractError when the demo section asks for what is not there, SetupError when a city of this scale has
        nothing to make records of.
        """
        if contract.id not in self._kept:
            table = self._make(contract)
            if contract.is_stream:
                return table
            self._kept[contract.id] = table
        return self._kept[contract.id]

    def _make(self, contract: Contract) -> Table:
        section = _section(contract)
        base = self._taken(contract, section, self._frame(contract, section.frame))
        count, times = base.frame.height, self._times(contract, section)
        rows, epoch_s = np.tile(np.arange(count), len(times)), np.repeat(times, count)
        used = names_in(list(section.map.values()))
        columns = base.frame.select(name for name in base.frame.columns if name in used)
        own = {
            "n": pl.Series(np.arange(1, len(rows) + 1)),
            "subject": pl.Series(rows + 1),
            "now": moments(np.repeat(times[-1:], len(rows))),
        }
        shapes = base.shapes[rows]
        if contract.kind == "track":
            shapes, *motion = travel(base.shapes, rows, epoch_s, self._rng(contract, "motion"))
            own |= {name: pl.Series(values) for name, values in zip(("speed", "heading"), motion, strict=True)}
        elif not contract.is_stream:
            own |= self._life(contract, section, count)
        own |= self._measured(contract, used - {*columns.columns, *own}, rows, epoch_s)
        known = pl.DataFrame({name: values for name, values in own.items() if name not in columns.columns})
        fields = self._fields(contract, section, known.hstack(columns[rows] if columns.width else []), moments(epoch_s))
        return Table(fields, _fitting(contract, section, shapes))

    def _frame(self, contract: Contract, name: str) -> Table:
        """The frame or dataset of this name."""
        if "." in name:
            return self.records(self.catalog[name])
        frames = self.demo.frames()
        if name not in frames:
            remedy = f"Use a dataset, or one of {', '.join(frames)}."
            raise ContractError(f"the synthetic city has no frame {name!r}.", where=contract.id, remedy=remedy)
        return _table(frames[name])

    def _taken(self, contract: Contract, section: Demo, table: Table) -> Table:
        """The rows that `where`, `count` and `each` take."""
        if section.where is not None:
            mask = evaluated(table.frame, section.where, contract).cast(pl.Boolean).fill_null(value=False)
            table = table.at(np.flatnonzero(mask.to_numpy()))
        height = table.frame.height
        if not height:
            raise SetupError(
                f"this synthetic city has nothing to make {contract.id} of.", remedy="Use a larger --scale."
            )
        rows = np.arange(height)
        if section.count is not None:
            wanted, rng = max(_FEWEST, round(section.count * self.scale)), self._rng(contract, "taken")
            if contract.kind in {"event", "track"}:
                rows = rng.integers(0, height, wanted)
            elif wanted < height:
                rows = np.sort(rng.choice(height, wanted, replace=False))
        return table.at(np.repeat(rows, section.each))

    def _times(self, contract: Contract, section: Demo) -> Ints:
        """Seconds since 1970 (m,) of each step, the last one the latest whole one; of what is no stream, now alone."""
        if not contract.is_stream:
            return np.array([int(self.now.timestamp())])
        every = seconds(section.every)
        last = int(self.now.timestamp()) // every * every
        return last - every * np.arange(section.hours * _HOUR_S // every - 1, -1, -1)

    def _life(self, contract: Contract, section: Demo, count: int) -> dict[str, pl.Series]:
        """When each of n things began, and when it ended: null where it has not."""
        rng, now = self._rng(contract, "life"), int(self.now.timestamp()) // _MINUTE_S
        began = now - rng.integers(1, section.hours * 60, count)
        ended = began + 1.0 + rng.exponential(seconds(section.lasts) / _MINUTE_S, count).round()
        ended[ended > now] = np.nan
        return {"began": moments(began * float(_MINUTE_S)), "ended": moments(ended * _MINUTE_S)}

    def _measured(self, contract: Contract, names: set[str], rows: Ints, epoch_s: Ints) -> dict[str, pl.Series]:
        """What the device of each row reads at its time, by the names of the rhythms."""
        clock = local(moments(epoch_s), self.city).to_numpy()
        device = zlib.crc32(f"{self.seed} {contract.id}".encode()) + rows
        return {name: pl.Series(value(name, clock, device)) for name in sorted(names & rhythms().keys())}

    def _fields(self, contract: Contract, section: Demo, known: pl.DataFrame, at: pl.Series) -> pl.DataFrame:
        """All fields of the contract: those with an expression in the order of `map`, then the others."""
        made: dict[str, pl.Series] = {}
        for name, text in section.map.items():
            chance = pl.Series("chance", self._rng(contract, name).random(known.height))
            made[name] = typed(evaluated(known.with_columns(chance), text, contract), name, contract, self.city)
            if name not in known.columns:
                known = known.with_columns(made[name].alias(name))
        time = contract.time
        for name, spec in contract.fields.items():
            if name in made:
                continue
            if name == time.event:
                made[name] = at
            elif contract.kind == "event" and name in {time.start, time.end}:
                made[name] = typed(known["began" if name == time.start else "ended"], name, contract, self.city)
            elif name in {time.start, time.end}:
                made[name] = pl.Series([None] * known.height, dtype=pl.Date if spec.type == "date" else at.dtype)
            else:
                made[name] = random_values(spec, known.height, self._rng(contract, name), self.now)
        return pl.DataFrame({name: made[name] for name in contract.fields})

    def _rng(self, contract: Contract, theme: str) -> np.random.Generator:
        return stream(self.seed, f"{contract.id} {theme}")


def _section(contract: Contract) -> Demo:
    if contract.demo is None:
        raise ContractError("this contract has no [demo] section.", where=contract.id)
    return contract.demo


def _table(frame: GeoDataFrame) -> Table:
    columns = pd.DataFrame(frame.drop(columns=frame.geometry.name))
    return Table(pl.from_pandas(columns), np.asarray(frame.geometry.to_numpy(), dtype=np.object_))


def _fitting(contract: Contract, section: Demo, shapes: Geometries) -> Geometries:
    """Geometries (n,) of the type that the contract asks for."""
    if section.radius_m is not None:
        shapes = _grown(shapes, section.radius_m)
    wanted = _DIMENSIONS.get(contract.geometry)
    if wanted == 0:
        return _points(shapes)
    if wanted is not None and (shapely.get_dimensions(shapes) != wanted).any() and _carries_shapes(contract):
        remedy = "Choose another frame, or give demo.radius_m."
        raise ContractError(
            f"the frame {section.frame!r} has no {contract.geometry}s.", where=contract.id, remedy=remedy
        )
    return shapes


def _carries_shapes(contract: Contract) -> bool:
    return any(rung.by == "geometry" for rung in contract.place.rungs)


def _points(shapes: Geometries) -> Geometries:
    """A point of each geometry: of a line its middle."""
    points = np.asarray(shapely.point_on_surface(shapes), dtype=np.object_)
    lines = shapely.get_type_id(shapes) == 1
    points[lines] = shapely.line_interpolate_point(shapes[lines], 0.5, normalized=True)
    return points


def _grown(shapes: Geometries, radius_m: float) -> Geometries:
    """Areas around geometries in degrees, round on the ground at their middle latitude."""
    squeeze = np.array([np.cos(np.radians(np.mean(shapely.bounds(shapes)[:, [1, 3]]))), 1.0])
    flat = shapely.transform(shapes, lambda xy: xy * squeeze)
    return shapely.transform(shapely.buffer(flat, radius_m / METRES_PER_DEGREE, quad_segs=8), lambda xy: xy / squeeze)
