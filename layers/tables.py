"""Contract -> tables (SQLAlchemy + GeoAlchemy2).

A dataset is one table `<system>.<dataset>`. Rows are never overwritten: a change closes `recorded` of the old row and
inserts a new one. States (feature, event, coverage) carry `valid`, when they are true in the world, and have a
`<dataset>__branches` beside them with the rows of what-ifs; streams (observation, track) carry `observed_at`, are
partitioned by day, and have a `<dataset>__latest` beside them with the newest row of each subject.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import sqlalchemy as sa
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql as pg

from layers.contract import Contract, FieldSpec, Indicator

__all__ = [
    "BRANCHES_SUFFIX",
    "CONTENT_COLUMNS",
    "LATEST_SUFFIX",
    "all_rows",
    "branch_table",
    "dataset_table",
    "indicator_table",
    "latest_table",
    "open_rows",
    "partition_name",
    "published_table",
    "quoted",
    "shown_table",
]

LATEST_SUFFIX = "__latest"
BRANCHES_SUFFIX = "__branches"
CONTENT_COLUMNS = ("geom", "cell", "place_method", "place_accuracy_m", "place_source", "extra")
"""Columns beside the fields whose change makes a new version of a row."""

_TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "string": sa.Text(),
    "integer": sa.BigInteger(),
    "float": sa.Double(),
    "boolean": sa.Boolean(),
    "datetime": sa.DateTime(timezone=True),
    "date": sa.Date(),
}


def _field(name: str, spec: FieldSpec) -> sa.Column[Any]:
    return sa.Column(name, _TYPES[spec.type], comment=spec.title.en)


def _own_columns(contract: Contract, srid: int) -> Iterator[sa.Column[Any]]:
    """The columns the twin keeps beside the contract's fields, in the order the writer relies on."""
    yield sa.Column("id", sa.Text(), nullable=False)
    if contract.is_stream:
        yield sa.Column("subject", sa.Text(), nullable=False)
        yield sa.Column("observed_at", sa.DateTime(timezone=True), nullable=False)
    else:
        yield sa.Column("valid", pg.TSTZRANGE(), nullable=False)
    yield sa.Column("recorded", pg.TSTZRANGE(), nullable=False)
    # One generic type: a record known only by its area is drawn as that area, also in a dataset of points.
    yield sa.Column("geom", Geometry("GEOMETRY", srid=srid, spatial_index=False))
    yield sa.Column("cell", sa.BigInteger())
    yield sa.Column("place_method", sa.Text())
    yield sa.Column("place_accuracy_m", sa.REAL())
    yield sa.Column("place_source", sa.Text())
    yield sa.Column("batch", sa.BigInteger())
    yield sa.Column("extra", pg.JSONB())


def _fields(contract: Contract) -> Iterator[sa.Column[Any]]:
    for name, spec in contract.fields.items():
        if name != contract.time.event:
            yield _field(name, spec)


@cache
def dataset_table(contract: Contract, srid: int) -> sa.Table:
    """The table of a dataset, with its indexes. Current reads use partial indexes over open rows."""
    table = sa.Table(
        contract.name,
        sa.MetaData(),
        # A partitioned table's primary key would have to hold the day; a plain identity is enough to order rows.
        sa.Column("row", sa.BigInteger(), sa.Identity(always=True), primary_key=not contract.is_stream),
        *_own_columns(contract, srid),
        *_fields(contract),
        schema=contract.system,
        comment=contract.title.en,
        postgresql_partition_by="RANGE (observed_at)" if contract.is_stream else None,
    )
    _index(table, contract)
    return table


def open_rows(table: sa.Table) -> sa.ColumnElement[bool]:
    """Rows that are still held true: what the partial indexes cover."""
    return sa.func.upper_inf(table.c.recorded)


def all_rows(table: sa.Table) -> sa.ColumnElement[bool]:
    """Rows whether or not they are still held true.

    PostgreSQL answers from the indexes over open rows and from those over closed rows when a question names both.
    """
    is_open = sa.func.upper_inf(table.c.recorded)
    return sa.or_(is_open, sa.not_(is_open))


def _index(table: sa.Table, contract: Contract) -> None:
    name, c = contract.name, table.c
    is_open = sa.func.upper_inf(c.recorded)
    is_closed = sa.not_(is_open)
    # Closed rows have indexes of their own: a first load fills none of these, and current reads never meet them.
    if contract.is_stream:
        identity: tuple[sa.ColumnElement[Any], ...] = (c.subject, c.observed_at)
        sa.Index(f"{name}_observed", c.observed_at, postgresql_using="brin")
    else:
        identity = (c.id, sa.func.lower(c.valid))
        sa.Index(f"{name}_geom", c.geom, postgresql_using="gist", postgresql_where=open_rows(table))
        sa.Index(f"{name}_closed_geom", c.geom, postgresql_using="gist", postgresql_where=is_closed)
    sa.Index(f"{name}_open", *identity, unique=True, postgresql_where=is_open)
    sa.Index(f"{name}_closed", *identity, postgresql_where=is_closed)
    sa.Index(f"{name}_cell", c.cell, postgresql_where=open_rows(table))


@cache
def latest_table(contract: Contract, srid: int) -> sa.Table:
    """The newest row of each subject of a stream. Raises ValueError for a dataset that is not one."""
    if not contract.is_stream:
        raise ValueError(f"{contract.id} is not a stream")
    name = contract.name + LATEST_SUFFIX
    table = sa.Table(
        name,
        sa.MetaData(),
        *_own_columns(contract, srid),
        *_fields(contract),
        sa.PrimaryKeyConstraint("subject", name=f"{name}_pkey"),
        schema=contract.system,
        comment=f"{contract.title.en}: newest of each",
    )
    sa.Index(f"{name}_geom", table.c.geom, postgresql_using="gist")
    sa.Index(f"{name}_cell", table.c.cell)
    return table


@cache
def branch_table(contract: Contract, srid: int) -> sa.Table:
    """The rows of a dataset in branches: copied from main where a branch changes a record, so main stays as it is.

    A branch that has any open row of an id shows its own rows of that id and none of main's. A row whose `valid` is
    empty says that the branch has removed the record. Raises ValueError for a stream, which branches cannot change.
    """
    if contract.is_stream:
        raise ValueError(f"{contract.id} is a stream")
    name = contract.name + BRANCHES_SUFFIX
    table = sa.Table(
        name,
        sa.MetaData(),
        sa.Column("row", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column("branch", sa.Integer(), nullable=False),
        *_own_columns(contract, srid),
        *_fields(contract),
        schema=contract.system,
        comment=f"{contract.title.en}: what-ifs",
    )
    c = table.c
    is_open = sa.func.upper_inf(c.recorded)
    sa.Index(f"{name}_open", c.branch, c.id, sa.func.lower(c.valid), unique=True, postgresql_where=is_open)
    sa.Index(f"{name}_closed", c.branch, c.id, postgresql_where=sa.not_(is_open))
    sa.Index(f"{name}_geom", c.geom, postgresql_using="gist")
    return table


def quoted(name: str) -> str:
    """An identifier for SQL."""
    return '"' + name.replace('"', '""') + '"'


def partition_name(contract: Contract, day: str) -> str:
    """Name of the partition of a stream for a day (`20261122`, UTC)."""
    return f"{contract.name}__{day}"


PUBLISHED_SUFFIX = "__published"


def shown_table(contract: Contract, indicator: Indicator) -> sa.Table:
    """The parts of an indicator as readers see them: of personal data what `layers.published` makes of them."""
    return published_table(indicator) if contract.is_personal else indicator_table(indicator)


@cache
def published_table(indicator: Indicator) -> sa.Table:
    """The published numbers of an indicator over personal data: cells of mixed size, none within another."""
    return _parts_table(indicator, PUBLISHED_SUFFIX)


@cache
def indicator_table(indicator: Indicator) -> sa.Table:
    """The additive parts of an indicator: (cell, bucket) -> count, sum, smallest, largest, sum of squares.

    Sums are `numeric`: exact whatever the order, so parents equal the sum of their children to the last digit.
    """
    return _parts_table(indicator, "")


def _parts_table(indicator: Indicator, suffix: str) -> sa.Table:
    return sa.Table(
        indicator.id + suffix,
        sa.MetaData(),
        sa.Column("cell", sa.BigInteger(), nullable=False),
        sa.Column("bucket", sa.DateTime(timezone=True), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.Numeric()),
        sa.Column("smallest", sa.Double()),
        sa.Column("largest", sa.Double()),
        sa.Column("squares", sa.Numeric()),
        sa.PrimaryKeyConstraint("bucket", "cell", name=f"{indicator.id}{suffix}_pkey"),
        schema="indicators",
        comment=indicator.title.en,
    )
