"""Incidents: what the rules of contracts (`layers/watching.py`) make of readings as they are written.

Each reading is judged once, in the transaction that writes it, and after it only what is newer: a reading that comes
late opens and closes nothing. What becomes of an incident is told to the twin's own feed `twin.incidents`, in the same
transaction, and so is kept, placed and written like any other message. Its id is made of the rule, the thing and when
it began: a worker that is killed tells nothing twice.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import orjson
import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from layers import arrivals
from layers.catalog import Catalog
from layers.contract import Contract, seconds
from layers.feeds import INCIDENTS
from layers.filters import filter_condition
from layers.query import visible
from layers.tables import dataset_table, open_rows
from layers.watching import IncidentRule
from twin.city import City
from twin.view import View

__all__ = ["Seen", "expire_incidents", "watch"]

_TOLD_EVERY = dt.timedelta(minutes=1)
_MOMENT = sa.DateTime(timezone=True)

watched = sa.Table(
    "watched",
    sa.MetaData(schema="twin"),
    sa.Column("rule", sa.Text(), primary_key=True),
    sa.Column("subject", sa.Text(), primary_key=True),
    sa.Column("since", _MOMENT, nullable=False),
    sa.Column("is_open", sa.Boolean(), nullable=False),
    sa.Column("last_at", _MOMENT, nullable=False),
    sa.Column("told_at", _MOMENT, nullable=False),
    sa.Column("value", sa.Double()),
    sa.Column("peak", sa.Double()),
    sa.Column("lon", sa.Double(), nullable=False),
    sa.Column("lat", sa.Double(), nullable=False),
)
"""One row a thing for which a rule's condition holds."""


class Seen(NamedTuple):
    """Readings of a dataset that a batch wrote: columns `subject` and `observed_at`."""

    dataset: str
    batch: int
    keys: pl.DataFrame


class Reading(NamedTuple):
    """A reading as a rule sees it."""

    subject: str
    observed_at: dt.datetime
    opens: bool
    closes: bool
    value: float | None
    lon: float
    lat: float


@dataclass(frozen=True, slots=True)
class Watched:
    """A thing for which a rule's condition holds; `is_open`: for long enough to be an incident."""

    subject: str
    since: dt.datetime
    is_open: bool
    last_at: dt.datetime
    told_at: dt.datetime
    value: float | None
    peak: float | None
    lon: float
    lat: float


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of an incident: how it stands, and when and why it ended."""

    watched: Watched
    closed_at: dt.datetime | None = None
    ended_by: str | None = None


def follow(rule: IncidentRule, known: Watched | None, readings: Sequence[Reading]) -> tuple[Watched | None, list[Told]]:
    """What readings of one thing, in order, make of it: how it stands then, and what is to be told."""
    told: list[Told] = []
    for reading in readings:
        if known is None or reading.observed_at > known.last_at:
            known = _next(rule, known, reading, told)
    return known, told


def _next(rule: IncidentRule, known: Watched | None, reading: Reading, told: list[Told]) -> Watched | None:
    """How a thing stands after a newer reading; what is to be told goes to `told`."""
    at, lasts, expires = reading.observed_at, _span(rule.lasts), _span(rule.expires)
    if known is not None and at - known.last_at > expires:
        if known.is_open:
            told.append(Told(known, known.last_at + expires, "expired"))
        known = None
    if known is None:
        if not reading.opens:
            return None
        known = Watched(reading.subject, at, False, at, at, None, None, reading.lon, reading.lat)  # noqa: FBT003
    elif reading.closes if known.is_open else not reading.opens:
        if known.is_open:
            told.append(Told(_moved(known, reading), at, "cleared"))
        return None
    known = _moved(known, reading)
    if at - known.told_at >= _TOLD_EVERY if known.is_open else at - known.since >= lasts:
        known = replace(known, is_open=True, told_at=at)
        told.append(Told(known))
    return known


def _span(duration: str) -> dt.timedelta:
    return dt.timedelta(seconds=seconds(duration))


def _moved(known: Watched, reading: Reading) -> Watched:
    values = [one for one in (known.peak, reading.value) if one is not None]
    return replace(
        known,
        last_at=reading.observed_at,
        value=reading.value,
        peak=max(values, default=None),
        lon=reading.lon,
        lat=reading.lat,
    )


def watch(connection: sa.Connection, catalog: Catalog, city: City, seen: Sequence[Seen]) -> None:
    """Judge what was written, and tell what became of it, in the transaction of `connection`."""
    messages: list[bytes] = []
    for one in seen:
        contract = catalog[one.dataset]
        for rule in contract.rules:
            messages += _judged(connection, catalog, city, contract, rule, one)
    _tell(connection, messages)


def expire_incidents(connection: sa.Connection, catalog: Catalog, datasets: Sequence[str], now: dt.datetime) -> None:
    """End the incidents of datasets of whose things nothing has been heard for long."""
    messages: list[bytes] = []
    for dataset in datasets:
        for rule in catalog[dataset].rules:
            c, expires = watched.c, _span(rule.expires)
            gone = sa.delete(watched).where(c.rule == rule.id, c.last_at < now - expires).returning(*_columns())
            for row in connection.execute(gone):
                known = Watched(*row)
                if known.is_open:
                    messages.append(_message(rule, dataset, Told(known, known.last_at + expires, "expired")))
    _tell(connection, messages)


def _judged(
    connection: sa.Connection, catalog: Catalog, city: City, contract: Contract, rule: IncidentRule, seen: Seen
) -> Iterator[bytes]:
    c = watched.c
    subjects = seen.keys["subject"].unique().to_list()
    rows = connection.execute(
        sa.select(*_columns()).where(c.rule == rule.id, c.subject == sa.any_(_texts(subjects))).with_for_update()
    )
    before = {row.subject: Watched(*row) for row in rows}
    grouped: dict[str, list[Reading]] = {}
    for row in connection.execute(_readings(catalog, city, contract, rule, seen, list(before))):
        grouped.setdefault(row.subject, []).append(Reading(*row))
    after: list[Watched] = []
    gone: list[str] = []
    for subject, readings in grouped.items():
        known, told = follow(rule, before.get(subject), readings)
        yield from (_message(rule, contract.id, one) for one in told)
        if known is not None:
            after.append(known)
        elif subject in before:
            gone.append(subject)
    if gone:
        connection.execute(sa.delete(watched).where(c.rule == rule.id, c.subject == sa.any_(_texts(gone))))
    if after:
        said = pg.insert(watched).values([{"rule": rule.id, **asdict(one)} for one in after])
        new = {column.name: said.excluded[column.name] for column in watched.columns if not column.primary_key}
        connection.execute(said.on_conflict_do_update(index_elements=["rule", "subject"], set_=new))


def _readings(
    catalog: Catalog, city: City, contract: Contract, rule: IncidentRule, seen: Seen, known: list[str]
) -> sa.Select[*tuple[Any, ...]]:
    """The readings of a batch of things that are watched already or begin to be, in order."""
    table = dataset_table(contract, city.srid)
    keys = sa.func.unnest(_texts(seen.keys["subject"].to_list()), _moments(seen.keys["observed_at"].to_list()))
    key = keys.table_valued("subject", "observed_at", name="key").render_derived()
    opens, closes = _conditions(catalog, city, contract, rule, table)
    newer = table.alias("newer")
    is_late = sa.exists().where(
        newer.c.subject == table.c.subject,
        newer.c.observed_at > table.c.observed_at,
        newer.c.batch.is_distinct_from(seen.batch),
        sa.func.upper_inf(newer.c.recorded),
    )
    middle = sa.func.ST_PointOnSurface(table.c.geom)
    judged = (
        sa.select(
            table.c.subject,
            table.c.observed_at,
            sa.and_(opens, sa.not_(is_late)).label("opens"),
            closes.label("closes"),
            (table.c[rule.measure] if rule.measure is not None else sa.null()).label("value"),
            sa.func.ST_X(middle).label("lon"),
            sa.func.ST_Y(middle).label("lat"),
        )
        .join_from(key, table, sa.and_(table.c.subject == key.c.subject, table.c.observed_at == key.c.observed_at))
        .where(open_rows(table), table.c.batch == seen.batch, table.c.geom.is_not(None))
        .subquery("judged")
    )
    begins = sa.func.bool_or(judged.c.opens).over(partition_by=judged.c.subject).label("begins")
    looked_at = sa.select(judged, begins).subquery("looked_at")
    return (
        sa.select(*(looked_at.c[name] for name in Reading._fields))
        .where(sa.or_(looked_at.c.begins, looked_at.c.subject == sa.any_(_texts(known))))
        .order_by(looked_at.c.subject, looked_at.c.observed_at)
    )


def _conditions(
    catalog: Catalog, city: City, contract: Contract, rule: IncidentRule, table: sa.Table
) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """When a reading opens, and when it closes; what a condition cannot tell does neither."""
    holds: list[sa.ColumnElement[bool]] = []
    ends: list[sa.ColumnElement[bool]] = []
    if rule.open is not None:
        condition = filter_condition(rule.open, contract, table, city.srid)
        holds.append(condition)
        ends.append(
            filter_condition(rule.close, contract, table, city.srid) if rule.close is not None else sa.not_(condition)
        )
    if rule.inside is not None:
        areas = visible(catalog[rule.inside], View(), city)
        area = areas.where(sa.func.ST_Intersects(areas.rows.c.geom, table.c.geom)).select(sa.literal(1)).exists()
        holds.append(area)
        ends.append(sa.not_(area))
    nothing = sa.literal(value=False)
    return sa.func.coalesce(sa.and_(*holds), nothing), sa.func.coalesce(sa.or_(*ends), nothing)


def _tell(connection: sa.Connection, messages: list[bytes]) -> None:
    if messages:
        arrivals.receive(connection, INCIDENTS.id, arrivals.pack(messages), len(messages))


def _message(rule: IncidentRule, dataset: str, told: Told) -> bytes:
    known = told.watched
    return orjson.dumps(
        {
            "incident_id": f"{rule.id}:{known.subject}:{known.since.astimezone(dt.UTC):%Y%m%dT%H%M%SZ}",
            "rule": rule.id,
            "title_zh": rule.title.zh,
            "title_en": rule.title.en,
            "severity": rule.severity,
            "dataset": dataset,
            "thing": known.subject,
            "opened_at": known.since,
            "closed_at": told.closed_at,
            "state": "open" if told.closed_at is None else "closed",
            "ended_by": told.ended_by,
            "value": known.value,
            "peak": known.peak,
            "seen_at": known.last_at,
            "lon": known.lon,
            "lat": known.lat,
        }
    )


def _columns() -> list[sa.Column[Any]]:
    return [column for column in watched.columns if column.name != "rule"]


def _texts(values: list[str]) -> sa.ColumnElement[Any]:
    return sa.cast(values, pg.ARRAY(sa.Text()))


def _moments(values: list[dt.datetime]) -> sa.ColumnElement[Any]:
    return sa.cast(values, pg.ARRAY(_MOMENT))
