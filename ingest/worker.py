"""The worker: from kept messages to placed rows, in order, each message exactly once.

One step reads the next arrivals of a feed and writes all that they bring in one transaction: rows, quarantine, pieces,
the account, and how far the feed has been read. A worker that is killed has done a step or has not; the next one goes
on from there. Any number of workers may run: a feed that one reads is claimed.
"""

import datetime as dt
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import orjson
import polars as pl
import sqlalchemy as sa

from ingest.codecs.messages import FrameError, Message, Record
from ingest.incidents import Seen, watch
from ingest.judge import REFUSED, judge
from ingest.protocols import PROTOCOLS, Protocol
from ingest.registers import Registers
from ingest.sorting import Destination, Sorter
from ingest.storing import store
from ingest.topics import add_topic, without_topic
from ingest.validation import Validator
from layers import arrivals, inbox
from layers.arrivals import Arrival, Piece, Reading
from layers.catalog import Catalog
from layers.dirty import mark_dirty
from layers.feeds import Feed, MqttFeed, OwnFeed
from layers.places.fix import Site
from layers.reasons import Reason
from twin.city import City
from twin.database import Database, refusals
from twin.errors import SourceError, Transient, TwinError
from twin.keys import known_key
from twin.sealing import unsealed_bytes

__all__ = ["Worker"]

_MOST_MESSAGES = 10_000
_LONGEST_SPAN = dt.timedelta(seconds=60)
_PIECES_WAIT = dt.timedelta(minutes=10)
_SHOWN_BYTES = 200
_log = logging.getLogger("twin.ingest")


@dataclass(frozen=True, slots=True)
class _Told:
    """A message: the arrival it came in, its number there (from 1), its bytes."""

    arrival: Arrival
    number: int
    message: bytes


@dataclass(slots=True)
class _Sorted:
    """Records by the number of their destination, each with the position of its message; and what could not be read."""

    records: dict[int, tuple[list[Record], list[int]]] = field(
        default_factory=dict[int, tuple[list[Record], list[int]]]
    )
    broken: list[tuple[_Told, Reason, str]] = field(default_factory=list[tuple[_Told, Reason, str]])


@dataclass
class Worker:
    """Reads feeds of one city. `home` is the state folder."""

    database: Database
    catalog: Catalog
    city: City
    home: Path
    most_messages: int = _MOST_MESSAGES

    def __post_init__(self) -> None:
        self._registers = Registers(self.database, self.catalog, self.city)
        self._sorters: dict[str, Sorter] = {}
        self._validators: dict[str, Validator] = {}
        self._seen: list[Seen] = []

    def step(self, feed: Feed | OwnFeed) -> int:
        """Read the next arrivals of a feed. Returns how many messages they held; 0: nothing waits, or another reads.

        Raises Transient errors: nothing was written, and the same step may pass later.
        """
        with self.database.writing() as connection:
            done = arrivals.claim(connection, feed.id)
            if done is None:
                return 0
            found = arrivals.waiting(connection, feed.id, done, messages=self.most_messages, span=_LONGEST_SPAN)
            if not found:
                return 0
            self._registers.renew(connection)
            reading = Reading()
            self._seen.clear()
            self._take(connection, feed, self._told(connection, feed, found, reading), reading)
            self._give_up(connection, feed, found[-1], reading)
            # Last of all: what tells of incidents waits for others that do, and nobody waits for it with a dataset.
            watch(connection, self.catalog, self.city, self._seen)
            arrivals.finish(connection, feed.id, found, reading)
        return reading.messages

    def replay(self, feed: Feed | OwnFeed, entry: int, numbers: frozenset[int]) -> None:
        """Read messages of an arrival again, whatever became of them the first time.

        Raises SourceError when their bytes are no longer kept.
        """
        with self.database.writing() as connection:
            row = connection.execute(sa.select(inbox.inbox).where(inbox.inbox.c.id == entry)).one()
            arrival = Arrival(row.id, row.received_at, bytes(row.raw or b""), row.sealed)
            told = [one for one in self._opened(arrival) if one.number in numbers]
            if len(told) < len(numbers):
                raise SourceError(
                    "its bytes are kept no longer.", where=f"arrival {entry}", remedy="Ask its sender for them again."
                )
            self._registers.renew(connection)
            self._seen.clear()
            self._take(connection, feed, told, Reading())
            watch(connection, self.catalog, self.city, self._seen)

    def _told(
        self, connection: sa.Connection, feed: Feed | OwnFeed, found: Sequence[Arrival], reading: Reading
    ) -> list[_Told]:
        """The messages of arrivals. An arrival that cannot be opened is set aside as a whole."""
        told: list[_Told] = []
        for arrival in found:
            try:
                told += self._opened(arrival)
            except (SourceError, ValueError) as error:
                self._quarantine(connection, feed, [(_Told(arrival, 0, b""), Reason.FAILED, _in_words(error))])
                reading.messages += 1
                reading.broken += 1
        return told

    def _opened(self, arrival: Arrival) -> list[_Told]:
        """The messages of an arrival; none where its key was destroyed, since it is kept no longer."""
        raw = arrival.raw
        if arrival.sealed is not None:
            key = known_key(self.home, arrival.sealed)
            if key is None:
                return []
            raw = unsealed_bytes(raw, key, f"arrival {arrival.id}")
        return [_Told(arrival, number, message) for number, message in enumerate(arrivals.unpack(raw), 1)]

    def _take(self, connection: sa.Connection, feed: Feed | OwnFeed, told: list[_Told], reading: Reading) -> None:
        """Take messages in; where they cannot be taken in together, halves of them, down to the one that fails."""
        if not told:
            return
        own = Reading()
        try:
            with connection.begin_nested(), refusals():
                self._read(connection, feed, told, own)
        except Transient:
            raise
        except Exception as error:  # whatever one message does, it holds up no other
            if connection.invalidated:
                raise
            if len(told) == 1:
                _log.exception("%s: a message was set aside", feed.id) if not isinstance(error, TwinError) else None
                self._quarantine(connection, feed, [(told[0], Reason.FAILED, _in_words(error))])
                reading.messages += 1
                reading.broken += 1
                return
            middle = len(told) // 2
            self._take(connection, feed, told[:middle], reading)
            self._take(connection, feed, told[middle:], reading)
            return
        for part in fields(Reading):
            setattr(reading, part.name, getattr(reading, part.name) + getattr(own, part.name))

    def _read(self, connection: sa.Connection, feed: Feed | OwnFeed, told: list[_Told], reading: Reading) -> None:
        protocol, sorter = PROTOCOLS[feed.protocol], self._sorter(feed)
        found = _Sorted()
        for position, one in enumerate(told):
            reading.messages += 1
            try:
                message = self._whole(connection, feed, protocol, one, reading)
            except FrameError as error:
                found.broken.append((one, Reason.UNREADABLE_MESSAGE, str(error)))
                reading.broken += 1
                continue
            if message is not None:
                _sort(message, position, one, sorter, found, reading)
        self._quarantine(connection, feed, found.broken)
        for number, (records, positions) in found.records.items():
            self._store(connection, feed, sorter[number], told, records, positions)

    def _whole(
        self, connection: sa.Connection, feed: Feed | OwnFeed, protocol: Protocol, one: _Told, reading: Reading
    ) -> Message | None:
        """The message, joined from its pieces where it is one; None for a piece that waits for others."""
        if isinstance(feed, MqttFeed):
            topic, payload = without_topic(one.message)
            message = protocol.decode(payload)
            for record in message.records:
                add_topic(record, topic)
            return message
        message = protocol.decode(one.message)
        if message.part is None or protocol.joined is None:
            return message
        key, number, total = message.part
        arrival = one.arrival
        arrivals.add_piece(
            connection,
            feed.id,
            Piece(key, number, total, one.message, arrival.id, one.number, arrival.received_at),
        )
        there = arrivals.pieces_of(connection, feed.id, key=key)
        if len(there) < total:
            reading.pieces += 1
            return None
        arrivals.drop_pieces(connection, feed.id, key=key)
        return protocol.joined(there[0].message, [protocol.decode(piece.message).body for piece in there])

    def _give_up(self, connection: sa.Connection, feed: Feed | OwnFeed, last: Arrival, reading: Reading) -> None:
        """Set aside the pieces whose others have not arrived for so long that they never will."""
        before = last.received_at - _PIECES_WAIT
        waited = arrivals.pieces_of(connection, feed.id, before=before)
        if not waited:
            return
        arrivals.drop_pieces(connection, feed.id, before=before)
        self._quarantine(
            connection,
            feed,
            [
                (
                    _Told(Arrival(piece.inbox_id, piece.arrived, b"", None), piece.row, piece.message),
                    Reason.INCOMPLETE_MESSAGE,
                    f"piece {piece.number} of {piece.total}",
                )
                for piece in waited
            ],
        )
        reading.pieces -= len(waited)
        reading.broken += len(waited)

    def _store(
        self,
        connection: sa.Connection,
        feed: Feed | OwnFeed,
        destination: Destination,
        told: Sequence[_Told],
        records: list[Record],
        positions: list[int],
    ) -> None:
        contract = destination.contract
        batch = self._open_batch(connection, feed, contract.id, [told[positions[0]], told[positions[-1]]])
        framed = destination.frame(records, positions)
        validator = self._validators.setdefault(contract.id, Validator(contract, self.city.zone))
        checked = validator.check(framed, now=told[positions[-1]].arrival.received_at)
        site = Site(self.city, self._registers, self._registers.gazetteer, framed.crs)
        judged = judge(framed, checked, contract, site)
        stored = store(
            connection,
            contract,
            self.city,
            self.home,
            judged,
            batch,
            lambda dirty: mark_dirty(connection, contract, self.city, dirty),
            superseding=True,
        )
        where = [told[position] for position in stored.refused["row_number"].to_list()]
        refused = stored.refused.with_columns(
            pl.Series("row_number", [one.number for one in where], dtype=pl.Int64),
            pl.Series("inbox_id", [one.arrival.id for one in where], dtype=pl.Int64),
        )
        inbox.quarantine(connection, batch, refused)
        inbox.close_batch(connection, batch, stored.counts)
        if contract.rules and stored.counts.inserted + stored.counts.revised:
            self._seen.append(Seen(contract.id, batch, stored.keys))

    def _quarantine(
        self, connection: sa.Connection, feed: Feed | OwnFeed, broken: list[tuple[_Told, Reason, str]]
    ) -> None:
        """Set aside messages that brought no records. They stand with the feed's first dataset: none is known."""
        if not broken:
            return
        dataset = feed.datasets[0]
        batch = self._open_batch(connection, feed, dataset, [one for one, _, _ in broken])
        redact = PROTOCOLS[feed.protocol].redact
        refused = pl.DataFrame(
            [
                (one.number, "read", reason, f"{feed.id}: {detail}", _shown(redact(one.message)), one.arrival.id)
                for one, reason, detail in broken
            ],
            schema={**REFUSED, "inbox_id": pl.Int64},
            orient="row",
        )
        inbox.quarantine(connection, batch, refused)
        count = len(broken)
        inbox.close_batch(connection, batch, inbox.Counts(count, 0, count, 0, 0))

    def _open_batch(self, connection: sa.Connection, feed: Feed | OwnFeed, dataset: str, told: Sequence[_Told]) -> int:
        return inbox.open_batch(
            connection,
            told[0].arrival.id,
            dataset,
            self.catalog.digests[dataset],
            source=feed.id,
            synthetic=feed.synthetic,
            options={},
            last=told[-1].arrival.id,
        )

    def _sorter(self, feed: Feed | OwnFeed) -> Sorter:
        if feed.id not in self._sorters:
            contracts = [self.catalog[dataset] for dataset in feed.datasets]
            topics = feed.topics if isinstance(feed, MqttFeed) else None
            self._sorters[feed.id] = Sorter(contracts, feed.protocol, topics)
        return self._sorters[feed.id]


def _sort(message: Message, position: int, one: _Told, sorter: Sorter, found: _Sorted, reading: Reading) -> None:
    if not message.records:
        reading.control += 1
        return
    taken = 0
    for record in message.records:
        number = sorter.destination(record, one.arrival.received_at)
        if number is not None:
            records, positions = found.records.setdefault(number, ([], []))
            records.append(record)
            positions.append(position)
            taken += 1
    reading.records += taken
    if taken:
        reading.data += 1
    else:
        reading.unused += 1


def _in_words(error: Exception) -> str:
    return str(error) if isinstance(error, TwinError) else f"{type(error).__name__}: {error}"[:500]


def _shown(message: bytes) -> str:
    """The beginning of a message as JSON: text where it is one, else hexadecimal."""
    start = message[:_SHOWN_BYTES]
    try:
        said = {"text": start.decode("utf-8")}
    except UnicodeDecodeError:
        said = {"hex": start.hex()}
    return orjson.dumps({**said, "bytes": len(message)}).decode()
