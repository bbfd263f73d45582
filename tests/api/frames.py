"""Reads frames of `/live/ws` as their description says, without our own writer."""

import json
import math
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Picture", "read_frame"]

TYPES = {"u16": "<u2", "u32": "<u4", "i16": "<i2", "i32": "<i4", "f32": "<f4", "f64": "<f8"}


def read_frame(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    """The head and the columns of a frame."""
    assert data[:4] == b"CTF1"
    (length,) = struct.unpack_from("<I", data, 4)
    head = json.loads(data[8 : 8 + length])
    start = 8 + length
    assert start % 8 == 0
    columns: dict[str, np.ndarray[Any, Any]] = {}
    for column in head["columns"]:
        assert column["at"] % 8 == 0
        raw = np.frombuffer(data, TYPES[column["type"]], head["rows"], start + column["at"])
        values = raw / column.get("scale", 1) + column.get("from", 0)
        columns[column["name"]] = np.where(raw == column.get("none", np.nan), np.nan, values)
    return head, columns


@dataclass
class Picture:
    """What somebody knows who reads frames one after another: things by id, each with its fields."""

    slots: dict[int, str] = field(default_factory=dict)
    words: dict[str, list[str]] = field(default_factory=dict)
    things: dict[str, dict[str, Any]] = field(default_factory=dict)

    def take(self, data: bytes) -> dict[str, Any]:
        """Take a frame in; returns its head."""
        head, columns = read_frame(data)
        if head["kind"] == "key":
            self.slots, self.words, self.things = {}, {}, {}
        for slot in head["removed"]:
            self.things.pop(self.slots.pop(slot))
        self.slots |= dict(head["ids"])
        for name, words in head["words"].items():
            self.words.setdefault(name, []).extend(words)
        adds = {column["name"] for column in head["columns"] if column.get("adds")}
        for row, slot in enumerate(columns.pop("slot").astype(int).tolist()):
            thing = self.things.setdefault(self.slots[slot], {})
            told = {name: self._value(name, values[row].item()) for name, values in columns.items()}
            thing |= {name: thing[name] + value if name in adds else value for name, value in told.items()}
        return head

    def _value(self, name: str, value: float) -> object:
        if math.isnan(value):
            return None
        return self.words[name][int(value)] if name in self.words else value
