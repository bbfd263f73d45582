"""What is kept of tiles between requests, and what tells one edition of them from another."""

import datetime as dt
import hashlib
from collections import OrderedDict
from dataclasses import dataclass

from layers.contract import Contract
from twin.view import View

__all__ = ["Edition", "TileCache"]

_TICK_S = 60


@dataclass(frozen=True, slots=True)
class Edition:
    """What an answer about a dataset depends on: its version, who looks, at which city; `tick` where time alone counts.

    `version` is main's, `branch_version` that of the dataset in the view's branch.

    Records that begin or end at their own times come and go without any write: of those an edition lasts a minute.
    """

    dataset: str
    version: int
    branch_version: int
    view: View
    tick: int

    @classmethod
    def of(cls, contract: Contract, version: int, view: View, branch_version: int = 0) -> "Edition":
        """The edition of a dataset that is current now."""
        begins_or_ends = contract.time.start is not None or contract.time.end is not None
        moving = begins_or_ends and view.valid_at is None
        tick = int(dt.datetime.now(dt.UTC).timestamp()) // _TICK_S if moving else 0
        return cls(contract.id, version, branch_version, view, tick)

    @property
    def etag(self) -> str:
        """A weak validator (RFC 9110) of the answers of this edition."""
        return f'W/"{hashlib.sha256(repr(self).encode()).hexdigest()[:20]}"'


class TileCache:
    """Packed tiles by their key; those not asked for longest go first.

    A key names all that a tile depends on: its edition and its address.
    """

    def __init__(self, max_bytes: int = 128_000_000) -> None:
        self._tiles: OrderedDict[object, bytes] = OrderedDict()
        self._max_bytes = max_bytes
        self._bytes = 0

    def get(self, key: object) -> bytes | None:
        """The tile of a key; None when it is not there."""
        found = self._tiles.get(key)
        if found is not None:
            self._tiles.move_to_end(key)
        return found

    def put(self, key: object, packed: bytes) -> None:
        """Keep a tile."""
        self._bytes += len(packed) - len(self._tiles.pop(key, b""))
        self._tiles[key] = packed
        while self._bytes > self._max_bytes:
            self._bytes -= len(self._tiles.popitem(last=False)[1])
