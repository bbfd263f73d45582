"""Records of messages -> the datasets they belong to, as the contracts' `[source]` sections say."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from ingest.codecs.messages import Record
from ingest.codecs.records import GEOMETRY, ROW, Records
from ingest.columns import Headings
from ingest.topics import TOPIC, dataset_of
from layers.contract import Contract, Source

__all__ = ["RECEIVED", "Destination", "Sorter"]

RECEIVED = "@received"
"""The name under which a contract maps the moment when a message arrived."""

_WGS84 = "EPSG:4326"


@dataclass(frozen=True, slots=True)
class Destination:
    """A dataset that takes records of a protocol."""

    contract: Contract
    source: Source
    headings: Headings

    def takes(self, record: Record) -> bool:
        """Whether the record is one of those that the contract selects."""
        return all(str(record.get(name)) in values for name, values in self.source.select.items())

    def frame(self, records: Sequence[Record], rows: Sequence[int]) -> Records:
        """Records as the columns that the contract's checks expect; `rows` are their numbers.

        A column that no record of these has is there, and empty: each record lacks it, not all of them.
        """
        frame = pl.DataFrame(records, infer_schema_length=None, strict=False)
        frame = frame.drop(name for name in (ROW,) if name in frame.columns)
        frame = frame.with_columns(pl.Series(ROW, rows, dtype=pl.Int64), *self._coded(frame))
        absent = [name for name in self.headings.absent(frame.columns) if name not in frame.columns]
        frame = frame.with_columns(pl.lit(None, pl.String).alias(name) for name in absent)
        return Records(frame, _WGS84 if GEOMETRY in frame.columns else None)

    def _coded(self, frame: pl.DataFrame) -> list[pl.Expr]:
        """Values in our codes, where the contract says how the source's are called."""
        theirs = {ours: name for name, ours in self.source.map.items()}
        found: list[pl.Expr] = []
        for field, codes in self.source.values.items():
            name = theirs.get(field, field)
            if name in frame.columns:
                own = {key: value for key, value in codes.items() if key != "*"}
                text = pl.col(name).cast(pl.String)
                other = pl.when(text.is_not_null()).then(pl.lit(codes["*"])) if "*" in codes else text
                found.append(text.replace_strict(own, default=other, return_dtype=pl.String).alias(name))
        return found


class Sorter:
    """Sorts the records of a feed. A record goes to the first dataset that selects it.

    `topics`: filters of topics, and the datasets that what comes under them is for.
    """

    def __init__(self, contracts: Sequence[Contract], protocol: str, topics: Mapping[str, str] | None = None) -> None:
        self._topics = topics
        self._destinations = [
            Destination(contract, source, Headings(contract))
            for contract in contracts
            for source in ([one for one in contract.source if one.protocol == protocol] or [Source(protocol=protocol)])
        ]
        self._wants_time = any(RECEIVED in one.source.map for one in self._destinations)

    def destination(self, record: Record, received_at: dt.datetime) -> int | None:
        """The number of the destination of a record, which learns when it arrived; None where nobody takes it."""
        if self._wants_time:
            record[RECEIVED] = received_at.isoformat()
        wanted = dataset_of(str(record.get(TOPIC)), self._topics) if self._topics is not None else None
        for number, one in enumerate(self._destinations):
            if (self._topics is None or one.contract.id == wanted) and one.takes(record):
                return number
        return None

    def __getitem__(self, number: int) -> Destination:
        return self._destinations[number]
