"""Records of the quarantine read again: those of files by the loader, those of feeds' messages by a worker."""

from collections import Counter
from collections.abc import Sequence

import sqlalchemy as sa

from ingest.pipeline import Loaded, Loader
from ingest.worker import Worker
from layers import inbox
from layers.feeds import OWN_FEEDS, Feed
from layers.inbox import Quarantined
from twin.errors import InvalidRequest, SetupError

__all__ = ["replay"]


def replay(
    loader: Loader, feeds: Sequence[Feed], refused: Sequence[Quarantined], *, datum: str | None = None
) -> Loaded:
    """Read records again from the raw bytes, with today's contracts and registers; all are marked replayed.

    Those that are refused again stand in quarantine anew. `datum`: see `Loader.replay`; messages take none. Raises
    SetupError when a feed is no longer named in `sources.toml`.
    """
    sources = _messages(loader, {record.inbox_id for record in refused})
    if sources and datum is not None:
        raise InvalidRequest(
            "messages of feeds are in the datum of their contract.", remedy="Correct the contract, then replay."
        )
    total = loader.replay([record for record in refused if record.inbox_id not in sources], datum=datum)
    worker = Worker(loader.database, loader.catalog, loader.city, loader.home)
    known = {feed.id: feed for feed in (*feeds, *OWN_FEEDS)}
    for entry, source in sorted(sources.items()):
        if source not in known:
            raise SetupError(f"there is no feed {source!r} any more.", remedy="Name it in sources.toml, then replay.")
        mine = [record for record in refused if record.inbox_id == entry]
        before = _newest_batch(loader)
        worker.replay(known[source], entry, frozenset(record.row_number or 0 for record in mine))
        with loader.database.writing() as connection:
            inbox.set_status(connection, [record.id for record in mine], "replayed")
        _add(loader, entry, before, total)
    return total


def _messages(loader: Loader, entries: set[int]) -> dict[int, str]:
    """Of entries of the inbox those that hold messages, with their feeds."""
    c = inbox.inbox.c
    with loader.database.writing() as connection:
        rows = connection.execute(sa.select(c.id, c.source).where(c.id.in_(entries), c.messages.is_not(None)))
        return {row.id: row.source for row in rows}


def _newest_batch(loader: Loader) -> int:
    with loader.database.writing() as connection:
        return int(connection.scalar(sa.select(sa.func.max(inbox.batches.c.id))) or 0)


def _add(loader: Loader, entry: int, after: int, total: Loaded) -> None:
    """Add what became of an entry's records in the batches after one."""
    b, q = inbox.batches.c, inbox.quarantined.c
    names = ("received", "inserted", "revised", "duplicate", "quarantined")
    sums = [sa.func.coalesce(sa.func.sum(b[name]), 0) for name in names]
    with loader.database.writing() as connection:
        counts = connection.execute(sa.select(*sums).where(b.inbox_id == entry, b.id > after)).one()
        reasons = connection.scalars(sa.select(q.reason).where(q.inbox_id == entry, q.batch_id > after)).all()
    for name, count in zip(names, counts, strict=True):
        setattr(total, name, getattr(total, name) + int(count))
    total.reasons.update(Counter(reasons))
