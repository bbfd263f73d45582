"""Versions: who may write a dataset now, and how readers learn that it has changed."""

import datetime as dt

import sqlalchemy as sa

__all__ = ["CHANNEL", "last_change", "lock_dataset", "mark_changed", "versions"]

CHANNEL = "twin_changes"
"""PostgreSQL's channel on which the id of each changed dataset is told, once its transaction has committed."""

versions = sa.Table(
    "versions",
    sa.MetaData(),
    sa.Column("dataset", sa.Text(), primary_key=True),
    sa.Column("version", sa.BigInteger(), nullable=False),
    sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
    schema="twin",
)


def lock_dataset(connection: sa.Connection, dataset: str) -> None:
    """Wait until no other transaction writes the dataset; the others then wait for the end of this one. Readers do not.

    Every writer of a dataset's tables takes this lock first.
    """
    connection.execute(
        sa.text("select pg_advisory_xact_lock(hashtextextended(:dataset, 0))"), {"dataset": f"twin:{dataset}"}
    )


def last_change(connection: sa.Connection, dataset: str) -> dt.datetime | None:
    """When the dataset last changed; None when it never did."""
    return connection.scalar(sa.select(versions.c.changed_at).where(versions.c.dataset == dataset))


def mark_changed(connection: sa.Connection, dataset: str, at: dt.datetime) -> int:
    """Say that the dataset changed at `at`: caches end, listeners on CHANNEL hear of it. Returns its new version."""
    version = connection.scalar(
        sa.text(
            "insert into twin.versions as v (dataset, version, changed_at) values (:dataset, 1, :at)"
            " on conflict (dataset) do update set version = v.version + 1, changed_at = excluded.changed_at"
            " returning version"
        ),
        {"dataset": dataset, "at": at},
    )
    connection.execute(sa.text("select pg_notify(:channel, :dataset)"), {"channel": CHANNEL, "dataset": dataset})
    return int(version or 0)
