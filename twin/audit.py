"""The audit log: who did what, when, what for and with which result, as a chain of hashes.

Each entry's hash is SHA-256 over the hash before it (32 bytes; zeros before the first) and the entry as JSON: the keys
`seq, at, person, role, action, dataset, ids, box, purpose, result, address, detail` sorted by name, without spaces, in
UTF-8 without escapes for letters, `at` in UTC as `2026-11-26T08:00:00.123456Z`. So anybody can verify it in any
language. Whoever alters, removes, adds or reorders entries breaks the chain; whoever cuts its end contradicts the head,
which the database keeps beside it and the servers keep in the file `audit.head` of the state folder.

Appending takes a lock on the head, so entries of all processes form one chain. It is the last thing a transaction does:
what is not on record has not happened.
"""

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson
from sqlalchemy import Connection, text

from twin.access import Caller
from twin.errors import InvalidRequest

__all__ = [
    "HEAD_FILE",
    "KEPT",
    "Action",
    "Box",
    "Entry",
    "Look",
    "Recorded",
    "Result",
    "Verification",
    "append",
    "entries",
    "kept_head",
    "prune",
    "verify",
    "who_looked",
]

Action = Literal[
    "read",
    "load",
    "apply",
    "grant",
    "revoke",
    "withdraw",
    "branch",
    "edit",
    "propose",
    "reopen",
    "merge",
    "discard",
    "roads",
    "retention",
    "audit",
    "prune",
]
Result = Literal["granted", "refused", "failed", "done"]
Box = tuple[float, float, float, float]

HEAD_FILE = "audit.head"
"""File of the state folder in which the servers keep number and hash of the last entry."""

KEPT = dt.timedelta(days=184)
"""How long entries are kept at least: the six months of the Cybersecurity Law (网络安全法), at their longest."""

_NOTHING = bytes(32)
_BATCH = 5_000
_MOST_IDS = 10_000

_HEAD = text("SELECT seq, hash, at FROM twin.audit_head FOR UPDATE")
_MOVE_HEAD = text("UPDATE twin.audit_head SET seq = :seq, hash = :hash, at = :at")
_INSERT = text("""
    INSERT INTO twin.audit
        (seq, at, person, role, action, dataset, ids, box, purpose, result, address, detail, hash)
    VALUES (:seq, :at, :person, :role, :action, :dataset, :ids, :box, :purpose, :result, :address,
        CAST(:detail AS jsonb), :hash)
""")
_COLUMNS = "seq, at, person, role, action, dataset, ids, box, purpose, result, address, detail, hash"


@dataclass(slots=True)
class Entry:
    """What is put on record: `ids` are the records concerned (None: not known one by one), `box` the area in degrees.

    `box` None is everywhere. `detail` holds JSON values.
    """

    action: Action
    caller: Caller
    dataset: str | None = None
    ids: tuple[str, ...] | None = None
    box: Box | None = None
    result: Result = "done"
    purpose: str = ""
    detail: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Recorded:
    """An entry as it stands in the log."""

    seq: int
    at: dt.datetime
    person: str
    role: str
    action: str
    dataset: str | None
    ids: list[str] | None
    box: list[float] | None
    purpose: str
    result: str
    address: str
    detail: dict[str, Any]
    hash: bytes

    def digest(self, before: bytes) -> bytes:
        """The hash that the entry must have after one with the hash `before`."""
        moment = self.at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        names = ("seq", "person", "role", "action", "dataset", "ids", "box", "purpose", "result", "address", "detail")
        said = {name: getattr(self, name) for name in names} | {"at": moment}
        return hashlib.sha256(before + orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).digest()


@dataclass(frozen=True, slots=True)
class Verification:
    """What checking the chain found: how many entries hold, and the first fault in words (None: the chain is whole)."""

    checked: int
    fault: str | None
    head: tuple[int, bytes]


def append(connection: Connection, new: Sequence[Entry], *, at: dt.datetime | None = None) -> int:
    """Put entries on record at the end of the transaction of `connection`; returns the number of the last.

    Raises what PostgreSQL raises: whoever cannot append must not go on.
    """
    seq, before, last = connection.execute(_HEAD).one()
    moment = max(at or dt.datetime.now(dt.UTC), last)  # months are dropped whole: times go up as numbers do
    _require_month(connection, moment)
    rows: list[dict[str, Any]] = []
    for entry in new:
        seq += 1
        row = _recorded(entry, seq, moment)
        before = row.digest(before)
        values = {name: getattr(row, name) for name in _COLUMNS.split(", ")}
        rows.append(values | {"hash": before, "detail": orjson.dumps(row.detail).decode()})
    connection.execute(_INSERT, rows)
    connection.execute(_MOVE_HEAD, {"seq": seq, "hash": before, "at": moment})
    return seq


def _recorded(entry: Entry, seq: int, moment: dt.datetime) -> Recorded:
    ids = sorted(set(entry.ids))[:_MOST_IDS] if entry.ids is not None else None
    caller = entry.caller
    return Recorded(
        seq=seq,
        at=moment,
        person=caller.person,
        role=caller.audience.name,
        action=entry.action,
        dataset=entry.dataset,
        ids=ids,
        box=[float(edge) for edge in entry.box] if entry.box is not None else None,
        purpose=caller.purpose or entry.purpose,
        result=entry.result,
        address=caller.address,
        detail=orjson.loads(orjson.dumps(entry.detail)),
        hash=_NOTHING,
    )


def _require_month(connection: Connection, moment: dt.datetime) -> None:
    """Make the partition of a month where it is missing, guarded like the others."""
    first = moment.astimezone(dt.UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    name = f"audit_{first:%Y%m}"
    if connection.scalar(text("SELECT to_regclass(:name)"), {"name": f"twin.{name}"}) is not None:
        return
    following = (first + dt.timedelta(days=32)).replace(day=1)
    connection.exec_driver_sql(
        f"CREATE TABLE IF NOT EXISTS twin.{name} PARTITION OF twin.audit"
        f" FOR VALUES FROM ('{first.isoformat()}') TO ('{following.isoformat()}')"
    )
    # A trigger on TRUNCATE of the parent does not hold for its parts.
    connection.exec_driver_sql(
        f"CREATE OR REPLACE TRIGGER stands_whole BEFORE TRUNCATE ON twin.{name}"
        " FOR EACH STATEMENT EXECUTE FUNCTION twin.audit_stands()"
    )


def entries(
    connection: Connection,
    *,
    dataset: str | None = None,
    person: str | None = None,
    action: str | None = None,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Recorded]:
    """Entries that fulfil all conditions, the newest first; `before` a number for the next page."""
    wanted = {"dataset": dataset, "person": person, "action": action, "since": since, "until": until, "before": before}
    texts = {
        "dataset": "dataset = :dataset",
        "person": "person = :person",
        "action": "action = :action",
        "since": "at >= :since",
        "until": "at < :until",
        "before": "seq < :before",
    }
    given = {name: value for name, value in wanted.items() if value is not None}
    where = " AND ".join(texts[name] for name in given) or "true"
    question = text(f"SELECT {_COLUMNS} FROM twin.audit WHERE {where} ORDER BY seq DESC LIMIT :limit")
    return [Recorded(*row) for row in connection.execute(question, {**given, "limit": limit})]


def verify(connection: Connection, kept_head: tuple[int, bytes] | None = None) -> Verification:
    """Check the whole chain. `kept_head` is the head that somebody kept elsewhere: number and hash.

    Entries may be appended meanwhile: what is checked is the log as it stood when the check began.
    """
    head = connection.execute(text("SELECT seq, hash, first_seq, before FROM twin.audit_head")).one()
    expected, before, fault = head.first_seq, bytes(head.before), None
    question = text(f"SELECT {_COLUMNS} FROM twin.audit WHERE seq <= :last ORDER BY seq")
    with connection.execute(question.execution_options(yield_per=_BATCH), {"last": head.seq}) as rows:
        for row in rows:
            found = Recorded(*row)
            fault = _fault_of(found, expected, before, kept_head)
            if fault is not None:
                break
            expected, before = expected + 1, bytes(found.hash)
    last = expected - 1
    if fault is None and (last, before) != (head.seq, bytes(head.hash)):
        fault = f"the log ends at entry {last}, its head says {head.seq}: the end is missing"
    if fault is None and kept_head is not None and kept_head[0] > last:
        fault = f"the log ends at entry {last}, entry {kept_head[0]} was seen before: the end is missing"
    return Verification(expected - head.first_seq, fault, (head.seq, bytes(head.hash)))


def kept_head(path: Path) -> tuple[int, bytes] | None:
    """The head that the servers keep in a file: number and hash; None where there is none yet."""
    try:
        seq, digest = orjson.loads(path.read_bytes())
        return int(seq), bytes.fromhex(digest)
    except FileNotFoundError:
        return None


def _fault_of(found: Recorded, expected: int, before: bytes, kept_head: tuple[int, bytes] | None) -> str | None:
    if found.seq != expected:
        return f"entry {expected} is missing" if found.seq > expected else f"entry {found.seq} stands there twice"
    if found.digest(before) != bytes(found.hash):
        return f"entry {found.seq} is not as it was written, or not in its place"
    if kept_head is not None and found.seq == kept_head[0] and bytes(found.hash) != kept_head[1]:
        return f"entry {found.seq} is not the one that was seen before"
    return None


def prune(connection: Connection, caller: Caller, older_than: dt.timedelta = KEPT) -> list[str]:
    """Drop whole months of entries that are all older than `older_than`; what was dropped is put on record itself.

    The chain stays verifiable: the head keeps the hash that stood before the first entry that is left. Raises
    InvalidRequest for less than 184 days.
    """
    if older_than < KEPT:
        raise InvalidRequest(
            f"audit entries are kept for {KEPT.days} days, not {older_than.days}.", remedy="Choose a longer time."
        )
    connection.execute(_HEAD)
    old = text("SELECT month FROM twin.audit_months() WHERE ends <= now() - CAST(:age AS interval)")
    months = list(connection.scalars(old, {"age": older_than}))
    for month in months:
        last = connection.execute(text(f"SELECT seq, hash FROM {month} ORDER BY seq DESC LIMIT 1")).one_or_none()
        connection.exec_driver_sql(f"DROP TABLE {month}")
        if last is not None:
            values = {"first": last.seq + 1, "before": last.hash}
            connection.execute(text("UPDATE twin.audit_head SET first_seq = :first, before = :before"), values)
    if months:
        append(connection, [Entry("prune", caller, detail={"months": months})])
    return months


@dataclass(frozen=True, slots=True)
class Look:
    """One read in which a record was shown: for certain, or possibly, as part of an area or of a whole dataset."""

    seq: int
    at: dt.datetime
    person: str
    role: str
    purpose: str
    address: str
    certain: bool


def who_looked(connection: Connection, dataset: str, fid: str, extent: Box | None, *, limit: int = 1_000) -> list[Look]:
    """Who was shown a record, the newest first. `extent` is its box in degrees (None: it has no place)."""
    west, south, east, north = extent or (0.0, 0.0, 0.0, 0.0)
    meets = "box[1] <= :east AND box[3] >= :west AND box[2] <= :north AND box[4] >= :south" if extent else "false"
    question = text(f"""
        SELECT seq, at, person, role, purpose, address, ids IS NOT NULL FROM twin.audit
        WHERE dataset = :dataset AND action = 'read' AND result = 'granted'
            AND (ids @> ARRAY[:fid] OR ids IS NULL AND (box IS NULL OR {meets}))
        ORDER BY seq DESC LIMIT :limit
    """)
    asked = {"dataset": dataset, "fid": fid, "limit": limit}
    place = {"west": west, "south": south, "east": east, "north": north} if extent else {}
    return [Look(*row) for row in connection.execute(question, {**asked, **place})]
