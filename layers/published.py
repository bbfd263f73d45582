"""What is published of personal data: each indicator's numbers through the privacy partition, for every door the same.

The published table is made anew from the parts whenever they change, in the same transaction. No reader has a GRANT on
the parts themselves.
"""

from typing import Any

import numpy as np
import sqlalchemy as sa

from layers.contract import Contract, Indicator
from layers.copying import copy_rows
from layers.tables import indicator_table, published_table
from twin.privacy import partition, rounded

__all__ = ["publish"]

_Part = tuple[int, int, float]
_COARSEST = 4  # a third of a prefecture: who is fewer than ten even there is withheld
_KEY = sa.text("SELECT key FROM twin.rounding")


def publish(
    connection: sa.Connection,
    contract: Contract,
    indicator: Indicator,
    buckets: sa.Select[Any] | None = None,
) -> int:
    """Make the published numbers of an indicator anew, in these buckets (None: all); returns how many are withheld.

    Those who hide one another are the records, or where the contract says that a record stands for several people,
    those people. What is measured of them is scaled like their number, so that a mean stays what it is.
    """
    parts, published = indicator_table(indicator), published_table(indicator)
    question = sa.select(sa.cast(parts.c.bucket, sa.Text), parts.c.cell, parts.c.n, parts.c.total)
    stale = published.delete()
    if buckets is not None:
        question, stale = question.where(parts.c.bucket.in_(buckets)), stale.where(published.c.bucket.in_(buckets))
    connection.execute(stale)
    by_bucket: dict[str, list[_Part]] = {}  # as text: '-infinity' is none of Python's moments
    for bucket, cell, n, total in connection.execute(question):
        people = int(total or 0) if contract.people is not None else n
        by_bucket.setdefault(bucket, []).append((cell, people, float(total or 0)))
    key = bytes(connection.execute(_KEY).scalar_one())
    withheld = 0
    for bucket, rows in by_bucket.items():
        lines, missing = _published(rows, indicator, key)
        withheld += missing
        name = f'{published.schema}."{published.name}"'
        copy_rows(connection, name, ("bucket", "cell", "n", "total"), ((bucket, *line) for line in lines))
    return withheld


def _published(rows: list[_Part], indicator: Indicator, key: bytes) -> tuple[list[tuple[int, int, float | None]], int]:
    """Cell, number and total of each published cell, and how many people are withheld."""
    cells, people = (np.array([row[at] for row in rows], dtype=np.int64) for at in (0, 1))
    found = partition(cells, people, coarsest=_COARSEST)
    numbers = rounded(key, indicator.id, found.cells, found.people)
    inside = found.source >= 0
    totals = np.bincount(
        found.source[inside], np.array([row[2] for row in rows])[inside], minlength=len(found.cells)
    ) * (numbers / np.maximum(found.people, 1))
    measured: list[float | None] = totals.tolist() if indicator.parsed.field is not None else [None] * len(numbers)
    return list(zip(found.cells.tolist(), numbers.tolist(), measured, strict=True)), found.withheld
