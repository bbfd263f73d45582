"""Reads frames of `/live/ws` as their description says, without our own writer."""

import json
import math
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Picture", "read_frame"]

TYPES = {"u32": "<u4", "i32": "<i4", "f32": "<f4", "f64": "<f8"}


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
        columns[column["name"]] = np.frombuffer(data, TYPES[column["type"]], head["rows"], start + column["at"])
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
        for row, slot in enumerate(columns.pop("slot").tolist()):
            thing = self.things.setdefault(self.slots[slot], {})
            thing |= {name: self._value(name, values[row].item()) for name, values in columns.items()}
        return head

    def _value(self, name: str, value: float) -> object:
        if name in self.words:
            return self.words[name][int(value)] if value >= 0 else None
        if name in {"lon", "lat"}:
            return value / 1e7
        return None if math.isnan(value) else value
