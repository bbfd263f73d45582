"""Freshness: which feeds and datasets are on time, which are late or silent, and why.

A feed is known by when messages of it last arrived, or when it last answered; a stream by the newest time at which
anything was observed, other datasets by when records of them were last loaded. What is older than agreed is late, what
is four times as old is silent. Datasets without an agreed time (`late_after`) that no feed brings are not judged.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Literal, NamedTuple

import sqlalchemy as sa

from layers.arrivals import sources
from layers.catalog import Catalog
from layers.contract import Contract, seconds
from layers.feeds import Feed, FolderFeed, HttpFeed, SqlFeed
from layers.inbox import batches, inbox
from layers.tables import latest_table
from twin.city import City

__all__ = ["Freshness", "Reason", "State", "dataset_limit_s", "judge", "state_of"]

State = Literal["on_time", "late", "silent"]
Reason = Literal["none", "never", "overdue", "fault", "unread", "refused", "feed"]

_SILENT_AFTER = 4
_DEFAULT_LIMIT_S = 3_600
_ASKED_FEEDS = (HttpFeed, SqlFeed, FolderFeed)


class Freshness(NamedTuple):
    """How a feed or a dataset stands. `limit_s`: from when on it is late; `waiting`: messages that nobody has read."""

    kind: Literal["feed", "dataset"]
    id: str
    state: State
    reason: Reason
    detail: str | None
    last_at: dt.datetime | None
    limit_s: int
    waiting: int = 0


class _Contact(NamedTuple):
    """What is known of a feed: its last arrival, its oldest that nobody has read, and how asking it stands."""

    arrived_at: dt.datetime | None
    unread_at: dt.datetime | None
    waiting: int
    contact_at: dt.datetime | None
    fault: str | None


def state_of(last_at: dt.datetime | None, limit_s: int, now: dt.datetime) -> State:
    """The state of what was last heard of at a moment."""
    if last_at is None:
        return "silent"
    age_s = (now - last_at).total_seconds()
    return "on_time" if age_s <= limit_s else "late" if age_s <= _SILENT_AFTER * limit_s else "silent"


def dataset_limit_s(contract: Contract) -> int | None:
    """From which age on a dataset is late; None where nothing is agreed."""
    return seconds(contract.late_after) if contract.late_after is not None else None


def judge(
    connection: sa.Connection, catalog: Catalog, city: City, feeds: Sequence[Feed], now: dt.datetime
) -> list[Freshness]:
    """How all feeds and all datasets with an agreed time stand."""
    found = [_of_feed(connection, catalog, feed, now) for feed in feeds]
    by_id = {one.id: one for one in found}
    for contract in catalog:
        mine = [by_id[feed.id] for feed in feeds if contract.id in feed.datasets]
        limit_s = dataset_limit_s(contract) or min((one.limit_s for one in mine), default=None)
        if limit_s is not None and contract.kind != "coverage":
            found.append(_of_dataset(connection, contract, city, limit_s, mine, now))
    return found


def _of_feed(connection: sa.Connection, catalog: Catalog, feed: Feed, now: dt.datetime) -> Freshness:
    known = _contact(connection, feed.id)
    limits = [limit for dataset in feed.datasets if (limit := dataset_limit_s(catalog[dataset])) is not None]
    limit_s = seconds(feed.late_after) if feed.late_after is not None else min(limits, default=_DEFAULT_LIMIT_S)
    heard = [known.arrived_at, known.contact_at if isinstance(feed, _ASKED_FEEDS) else None]
    last_at = max((one for one in heard if one is not None), default=None)
    state, reason, detail = state_of(last_at, limit_s, now), "overdue", None
    if known.fault is not None:
        state, reason, detail = "late" if state == "on_time" else state, "fault", known.fault[:300]
    elif last_at is None:
        reason = "never"
    elif state == "on_time":
        reason = "none"
        if known.unread_at is not None and state_of(known.unread_at, limit_s, now) != "on_time":
            state, reason, detail = "late", "unread", f"{known.waiting:,}"
    return Freshness("feed", feed.id, state, reason, detail, last_at, limit_s, known.waiting)


def _of_dataset(
    connection: sa.Connection, contract: Contract, city: City, limit_s: int, feeds: list[Freshness], now: dt.datetime
) -> Freshness:
    last_at = _last_of_stream(connection, contract, city) if contract.is_stream else _last_load(connection, contract)
    state = state_of(last_at, limit_s, now)
    bad = next((feed for feed in feeds if feed.state != "on_time"), None)
    reason: Reason = "overdue"
    detail = None
    if state == "on_time":
        reason = "none"
    elif bad is not None:
        reason, detail = ("unread" if bad.reason == "unread" else "feed"), bad.id
    elif _is_refused(connection, contract):
        reason = "refused"
    elif last_at is None:
        reason = "never"
    return Freshness("dataset", contract.id, state, reason, detail, last_at, limit_s)


def _contact(connection: sa.Connection, feed: str) -> _Contact:
    row = connection.execute(
        sa.select(sources.c.done, sources.c.contact_at, sources.c.fault).where(sources.c.source == feed)
    ).one_or_none()
    done, contact_at, fault = row if row is not None else (0, None, None)
    mine = (inbox.c.source == feed, inbox.c.messages.is_not(None))
    arrived_at = connection.scalar(sa.select(inbox.c.received_at).where(*mine).order_by(inbox.c.id.desc()).limit(1))
    unread = sa.select(sa.func.min(inbox.c.received_at), sa.func.coalesce(sa.func.sum(inbox.c.messages), 0))
    unread_at, waiting = connection.execute(unread.where(*mine, inbox.c.id > done)).one()
    return _Contact(arrived_at, unread_at, int(waiting), contact_at, fault)


def _last_of_stream(connection: sa.Connection, contract: Contract, city: City) -> dt.datetime | None:
    latest = latest_table(contract, city.srid)
    return connection.scalar(sa.select(sa.func.max(latest.c.observed_at)))


def _last_load(connection: sa.Connection, contract: Contract) -> dt.datetime | None:
    b = batches.c
    taken = sa.select(b.finished_at).where(b.dataset == contract.id, b.accepted + b.duplicate > 0)
    return connection.scalar(taken.order_by(b.started_at.desc()).limit(1))


def _is_refused(connection: sa.Connection, contract: Contract) -> bool:
    """Whether of what came last nothing could be taken."""
    b = batches.c
    last = sa.select(b.received, b.quarantined).where(b.dataset == contract.id).order_by(b.started_at.desc()).limit(1)
    row = connection.execute(last).one_or_none()
    return row is not None and 0 < row.received == row.quarantined
