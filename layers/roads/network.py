"""The network of one who travels: a directed graph with the lines, names and stakes of its edges, as plain arrays.

It is written as one folder of arrays, which all processes of a machine read into memory together.
"""

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.errors import SourceError

__all__ = ["SHUT_MS", "Network", "Report"]

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]

SHUT_MS = (1 << 30) - 1
"""The travel time of what cannot be passed: more than any path takes, and two of them are still a number."""

_REPORT = "report.json"
_TEXTS = "texts.json"


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the ways of a source. `pieces`: parts that do not hang together, of which the largest was kept.

    `left_out_km` is the length of all others, `left_out` some of their records; `unusable` what could not be read.
    """

    ways: int
    nodes: int
    arcs: int
    length_km: float
    restrictions: int
    restrictions_used: int
    barriers: int
    too_small_ways: int
    pieces: int
    left_out_km: float
    left_out: tuple[str, ...] = ()
    unusable: tuple[str, ...] = ()


@dataclass(eq=False)
class Network:
    """A directed graph of n nodes and m arcs on e edges, which are pieces of w ways.

    `lon`, `lat` (n,) degrees; `owner` (n,): nodes that are one place have the same number (see turns.py).
    `first_out` (n+1,): the arcs of node i are first_out[i] to first_out[i+1]; `tail`, `head` (m,) their nodes;
    `free_ms` (m,) how long each takes when nothing is in the way; `edge` (m,) the edge it runs along and `against` (m,)
    whether against the line of that. `ahead`, `back` (e,): the arc along and the one against an edge, -1 for none.
    `length_m` (e,); `way` (e,); `shape_first` (e+1,): the vertices of edge j are shape_first[j] to shape_first[j+1] of
    `shape_lon`, `shape_lat` (v,). `from_km`, `to_km` (e,) stakes at its ends, NaN without. `speed_kmh` (w,);
    `record_text`, `name_text`, `number_text` (w,): which of `texts` is its record, its name (-1 for none), its number.
    """

    lon: Floats
    lat: Floats
    owner: Ints
    first_out: Ints
    tail: Ints
    head: Ints
    free_ms: Ints
    edge: Ints
    against: NDArray[np.bool_]
    ahead: Ints
    back: Ints
    length_m: Floats
    way: Ints
    shape_first: Ints
    shape_lon: Floats
    shape_lat: Floats
    from_km: Floats
    to_km: Floats
    speed_kmh: Floats
    record_text: Ints
    name_text: Ints
    number_text: Ints
    texts: list[str] = field(repr=False)
    report: Report = field(repr=False)

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        return len(self.lon)

    @property
    def arcs(self) -> int:
        """How many arcs there are."""
        return len(self.head)

    @property
    def edges(self) -> int:
        """How many edges there are."""
        return len(self.length_m)

    def record(self, edge: int) -> str:
        """The id of the record that an edge is part of."""
        return self.texts[self.record_text[self.way[edge]]]

    def name(self, edge: int) -> str | None:
        """The name of the road, if it has one."""
        text = int(self.name_text[self.way[edge]])
        return self.texts[text] if text >= 0 else None

    def number(self, edge: int) -> str | None:
        """The road's number, if it has one."""
        text = int(self.number_text[self.way[edge]])
        return self.texts[text] if text >= 0 else None

    def shape(self, edge: int) -> Floats:
        """The line of an edge (k, 2) in degrees."""
        part = slice(int(self.shape_first[edge]), int(self.shape_first[edge + 1]))
        return np.stack([self.shape_lon[part], self.shape_lat[part]], axis=1)

    @cached_property
    def digest(self) -> str:
        """A hash of everything in it."""
        found = hashlib.sha256()
        for name in _ARRAYS:
            array = np.ascontiguousarray(getattr(self, name))
            found.update(f"{name}{array.dtype.str}{array.shape}".encode())
            found.update(array.data)
        found.update(json.dumps(self.texts, ensure_ascii=False).encode())
        return found.hexdigest()[:16]

    def save(self, folder: Path) -> None:
        """Write it to a folder, all or nothing: who reads meanwhile sees the old one or the new one."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".making-"))
        try:
            for name in _ARRAYS:
                np.save(made / f"{name}.npy", getattr(self, name))
            (made / _TEXTS).write_text(json.dumps(self.texts, ensure_ascii=False), encoding="utf-8")
            (made / _REPORT).write_text(json.dumps(_said(self.report), ensure_ascii=False), encoding="utf-8")
            made.chmod(0o755)
            if folder.exists():
                shutil.rmtree(folder)
            made.replace(folder)
        except OSError:
            shutil.rmtree(made, ignore_errors=True)
            if not folder.exists():
                raise

    @classmethod
    def load(cls, folder: Path) -> "Network":
        """Read it from a folder; the arrays stay on the disk until they are touched.

        Raises SourceError when the folder is incomplete.
        """
        try:
            arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r").view(np.ndarray) for name in _ARRAYS}
            texts = json.loads((folder / _TEXTS).read_text(encoding="utf-8"))
            said: dict[str, Any] = json.loads((folder / _REPORT).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SourceError(
                f"the network cannot be read: {error}.",
                where=str(folder),
                remedy="Delete the folder; it is made again.",
            ) from error
        said |= {name: tuple(said[name]) for name in ("left_out", "unusable")}
        return cls(**arrays, texts=texts, report=Report(**said))


_ARRAYS = tuple(one.name for one in fields(Network) if one.name not in {"texts", "report"})


def _said(report: Report) -> dict[str, Any]:
    return {one.name: getattr(report, one.name) for one in fields(report)}
