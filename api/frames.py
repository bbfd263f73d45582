"""Frames of `/live/ws`: what moves, in binary columns, written once for all who listen.

A frame is the four bytes `CTF1`, the length of its head (uint32), the head as JSON, and columns, each at a multiple of
eight bytes from the end of the head; all numbers are little-endian. The head says

- `collection`, `moment`, and `kind`: a `key` frame holds all there is, a `delta` what changed since the frame before
- `rows`, and `columns`: each with its `name`, `type` (`u16`, `u32`, `i16`, `i32`, `f32`, `f64`) and `at`, its beginning
- `ids`: pairs of a slot and the id that stands for it from now on; `removed`: slots that stand for nothing any more
- `words`: of fields with texts those that are new, in the order of their numbers; a key frame has all of them

The column `slot` says of which thing a row is. A number is what stands in its column, divided by the column's `scale`,
plus its `from`; where the column is marked `adds`, that is how much more it is than before. `none` (else NaN) stands
for no value. Moments are seconds since 1970, `lon` and `lat` degrees, texts their numbers among the `words`. A delta
leaves out the fields that are in all its rows as they were.
"""

import datetime as dt
import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from layers.contract import Contract
from layers.live import Moved
from layers.query import Box

__all__ = ["Frame", "Table", "Told"]

_MAGIC = b"CTF1"
_ALIGNED = 8
_DEGREE = 10_000_000
_SPARE = 1_024
_TYPES: dict[str, str] = {"u16": "<u2", "u32": "<u4", "i16": "<i2", "i32": "<i4", "f32": "<f4", "f64": "<f8"}
_SMALL = {"i16": 2**15 - 1, "i32": 2**31 - 1}
_SCALES = (1, 10, 100, 1_000)
_PLACE = ("lon", "lat")

Slots = npt.NDArray[np.intp]
Column = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A frame for everyone, and the slots it is about: who listens to an area is written its own."""

    data: bytes
    is_key: bool
    slots: Slots
    removed: Slots


@dataclass(eq=False)
class Told:
    """What somebody who listens to an area knows already: the slots it has, the words by field."""

    box: Box
    slots: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    words: dict[str, int] = field(default_factory=dict[str, int])


class Table:
    """A dataset of points as its readers see it now."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._slots: dict[str, int] = {}
        self._free: list[int] = []
        self._ids: list[str | None] = []
        self._types: dict[str, str] = dict.fromkeys(_PLACE, "i32")
        self._words: dict[str, dict[str, int]] = {}
        for name, spec in contract.fields.items():
            self._types[name] = "i32" if spec.type == "string" else "f32" if spec.type == "float" else "f64"
            if spec.type == "string":
                self._words[name] = {}
        self._moments = {name for name, spec in contract.fields.items() if spec.type in {"datetime", "date"}}
        self._columns: dict[str, Column] = {name: np.zeros(0, _TYPES[kind]) for name, kind in self._types.items()}
        self._moment = dt.datetime.fromtimestamp(0, dt.UTC)
        self._key: Frame | None = None

    def key(self) -> Frame:
        """A frame with all there is."""
        if self._key is None:
            here = np.array([slot for slot, known in enumerate(self._ids) if known is not None], np.intp)
            said = {name: list(words) for name, words in self._words.items()}
            data = self._written("key", here, self._all(here), self._pairs(here), [], said)
            self._key = Frame(data, is_key=True, slots=here, removed=np.zeros(0, np.intp))
        return self._key

    def apply(self, moved: Moved) -> Frame:
        """Take a change in, and write it for everyone."""
        known_words = {name: len(words) for name, words in self._words.items()}
        known_ids = set(self._slots) if moved.whole else None
        self._moment, self._key = moved.moment, None
        slots, fresh = self._slots_of(moved.ids)
        before = {name: self._columns[name][slots] for name in _PLACE}
        changed = [name for name, values in self._values(moved) if self._put(name, slots, values)]
        packed = [self._packed(name, slots, before.get(name)) for name in changed]
        if len(fresh):
            packed = self._all(slots)  # of what is new nothing is known
        gone = list(moved.removed) + (list(known_ids - set(moved.ids)) if known_ids is not None else [])
        removed = self._remove(gone)
        said = {
            name: list(words)[known_words[name] :]
            for name, words in self._words.items()
            if len(words) > known_words[name]
        }
        data = self._written("delta", slots, packed, self._pairs(fresh), removed, said)
        return Frame(data, is_key=False, slots=slots, removed=np.array(removed, np.intp))

    def frame_for(self, told: Told, frame: Frame) -> bytes | None:
        """A frame for one who listens to an area; None when it says nothing to them."""
        if frame.is_key:
            told.slots, told.words = np.zeros(len(self._ids), np.bool_), {}
        elif len(told.slots) < len(self._ids):
            told.slots = np.concatenate([told.slots, np.zeros(len(self._ids) - len(told.slots), np.bool_)])
        # What has gone since the frame was written is told by a later one.
        slots = frame.slots[[self._ids[slot] is not None for slot in frame.slots.tolist()]]
        inside = self._inside(told.box, slots)
        here, away = slots[inside], slots[~inside]
        fresh = here[~told.slots[here]]
        gone = np.concatenate([away[told.slots[away]], frame.removed[told.slots[frame.removed]]])
        told.slots[here], told.slots[gone] = True, False
        if not frame.is_key and not len(here) and not len(gone):
            return None
        said = {name: list(words)[told.words.get(name, 0) :] for name, words in self._words.items()}
        told.words = {name: len(words) for name, words in self._words.items()}
        kind = "key" if frame.is_key else "delta"
        return self._written(kind, here, self._all(here), self._pairs(fresh), gone.tolist(), said)

    def _inside(self, box: Box, slots: Slots) -> npt.NDArray[np.bool_]:
        lon, lat = (self._columns[name][slots] / _DEGREE for name in _PLACE)
        return (lon >= box.west) & (lon <= box.east) & (lat >= box.south) & (lat <= box.north)

    def _slots_of(self, ids: list[str]) -> tuple[Slots, Slots]:
        """The slots of things, and of those the new ones."""
        fresh: list[int] = []
        for known in ids:
            if known not in self._slots:
                slot = self._free.pop() if self._free else len(self._ids)
                if slot == len(self._ids):
                    self._ids.append(None)
                self._ids[slot] = known
                self._slots[known] = slot
                fresh.append(slot)
        if len(self._ids) > len(self._columns["lon"]):
            more = len(self._ids) - len(self._columns["lon"]) + _SPARE
            self._columns = {
                name: np.concatenate([column, np.full(more, self._nothing(name), column.dtype)])
                for name, column in self._columns.items()
            }
        return np.array([self._slots[known] for known in ids], np.intp), np.array(fresh, np.intp)

    def _nothing(self, name: str) -> float:
        """What stands for no value of a field."""
        return -1 if self._types[name] == "i32" else math.nan

    def _values(self, moved: Moved) -> Iterable[tuple[str, Column]]:
        for name, numbers in moved.numbers.items():
            yield name, np.round(numbers * _DEGREE) if name in _PLACE else numbers
        for name, texts in moved.words.items():
            words = self._words[name]
            numbers = [-1 if text is None else words.setdefault(text, len(words)) for text in texts]
            yield name, np.array(numbers, np.int32)

    def _put(self, name: str, slots: Slots, values: Column) -> bool:
        """Write a column; says whether anything is other than it was."""
        column = self._columns[name]
        values = values.astype(column.dtype)
        same = np.array_equal(column[slots], values, equal_nan=column.dtype.kind == "f")
        column[slots] = values
        return not same or name in _PLACE

    def _remove(self, ids: list[str]) -> list[int]:
        removed = [self._slots.pop(known) for known in ids if known in self._slots]
        for slot in removed:
            self._ids[slot] = None
        self._free += removed
        return removed

    def _pairs(self, slots: Slots) -> list[tuple[int, str | None]]:
        return [(slot, self._ids[slot]) for slot in slots.tolist()]

    def _all(self, slots: Slots) -> list["_Packed"]:
        return [self._packed(name, slots) for name in self._types]

    def _packed(self, name: str, slots: Slots, before: Column | None = None) -> "_Packed":
        """A column in as few bytes as hold it exactly; `before`: what was there, where it may be told by how much."""
        values = self._columns[name][slots]
        if name in _PLACE:
            if before is not None and len(values):
                more = values.astype(np.int64) - before
                if np.abs(more).max() <= _SMALL["i16"]:
                    return _Packed(name, "i16", more, {"scale": _DEGREE, "adds": True})
            return _Packed(name, "i32", values, {"scale": _DEGREE})
        if name in self._words:
            kind = "i16" if len(self._words[name]) <= _SMALL["i16"] else "i32"
            return _Packed(name, kind, values, {"none": -1})
        if name in self._moments:
            origin = math.floor(self._moment.timestamp())
            return _narrowed(name, values - origin, self._types[name], {"from": origin})
        return _narrowed(name, values, self._types[name], {})

    def _written(
        self,
        kind: str,
        slots: Slots,
        packed: list["_Packed"],
        ids: list[tuple[int, str | None]],
        removed: list[int],
        words: dict[str, list[str]],
    ) -> bytes:
        numbers = "u16" if len(self._ids) < 2**16 else "u32"
        said: list[dict[str, Any]] = []
        parts: list[bytes] = []
        at = 0
        for column in (_Packed("slot", numbers, slots, {}), *packed):
            said.append({"name": column.name, "type": column.type, "at": at, **column.said})
            data = column.values.astype(_TYPES[column.type]).tobytes()
            parts.append(data + bytes(-len(data) % _ALIGNED))
            at += len(parts[-1])
        head = orjson.dumps(
            {
                "collection": self._contract.id,
                "moment": self._moment,
                "kind": kind,
                "rows": len(slots),
                "columns": said,
                "ids": ids,
                "removed": removed,
                "words": words,
            }
        )
        head += b" " * (-(len(head) + len(_MAGIC) + 4) % _ALIGNED)
        return b"".join([_MAGIC, struct.pack("<I", len(head)), head, *parts])


class _Packed(NamedTuple):
    """A column as it is written: its name and type, its values, and what the head says of how they are read."""

    name: str
    type: str
    values: Column
    said: dict[str, Any]


def _narrowed(name: str, values: Column, type_: str, said: dict[str, Any]) -> _Packed:
    """Numbers as small integers where a power of ten makes them such, and they can be had again to the last digit."""
    here = ~np.isnan(values)
    exact = values[here]
    for scale in _SCALES if len(exact) else ():
        whole = np.rint(exact.astype(np.float64) * scale)
        most = np.abs(whole).max()
        kind = next((kind for kind, limit in _SMALL.items() if most <= limit), None)
        if kind is not None and np.array_equal((whole / scale).astype(values.dtype), exact):
            packed = np.full(len(values), -_SMALL[kind] - 1, np.int64)
            packed[here] = whole
            return _Packed(name, kind, packed, {"scale": scale, "none": -_SMALL[kind] - 1, **said})
    return _Packed(name, type_, values, said)
