"""The audit log: one chain, whatever writes to it; nobody changes it unseen, and nobody shortens it too early."""

import datetime as dt
import hashlib
import json
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twin.access import PUBLIC, Audience, Caller
from twin.audit import Entry, append, entries, prune, verify, who_looked
from twin.database import Database
from twin.errors import InvalidRequest, NotAllowed

ZHAO = Caller(Audience("administrator"), "zhao.min", address="127.0.0.1", purpose="check")
LI = Caller(Audience("department:video"), "li.na")
NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


def put(database: Database, *new: Entry, at: dt.datetime | None = None) -> None:
    with database.writing() as connection:
        append(connection, new, at=at)


def reads(number: int) -> list[Entry]:
    chance = random.Random(number)  # noqa: S311
    return [
        Entry(
            "read",
            chance.choice([ZHAO, LI]),
            "video.cameras",
            ids=(str(k), "共享"),
            box=(117.0, 34.5, 117.0 + k / 7, 34.9),
            detail={"query": f"k={k}", "名": [1, None, True, 0.25]},
        )
        for k in range(number)
    ]


def checked(database: Database, **more: Any) -> tuple[int, str | None]:
    with database.writing() as connection:
        found = verify(connection, **more)
    return found.checked, found.fault


def test_entries_come_back_as_they_were_and_the_chain_is_whole(database: Database) -> None:
    put(database, *reads(5))
    put(database, Entry("grant", ZHAO, "video.cameras", result="done"))
    assert checked(database) == (6, None)
    with database.writing() as connection:
        found = entries(connection, dataset="video.cameras", person="zhao.min", action="grant")
        assert [(one.seq, one.role, one.address, one.purpose) for one in found] == [
            (6, "administrator", "127.0.0.1", "check")
        ]
        assert [one.seq for one in entries(connection, limit=2, before=4)] == [3, 2]
        assert entries(connection, since=NOW + DAY) == []


def test_somebody_else_can_verify_it_from_what_the_docstring_says(database: Database) -> None:
    put(database, *reads(3))
    names = "seq at person role action dataset ids box purpose result address detail"
    with database.engine.connect() as connection:
        rows = connection.execute(
            sa.text(f"SELECT {names.replace(' ', ', ')}, hash FROM twin.audit ORDER BY seq")
        ).all()
    before = bytes(32)
    for row in rows:
        said = dict(zip(names.split(), row, strict=False))
        said["at"] = said["at"].astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        before = hashlib.sha256(before + text.encode()).digest()
        assert before == bytes(row.hash)


def test_many_writers_make_one_chain(database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: put(database, *reads(3)), range(40)))
    assert checked(database) == (120, None)


def test_what_fails_is_not_on_record(database: Database) -> None:
    put(database, *reads(1))
    with pytest.raises(ZeroDivisionError), database.writing() as connection:
        connection.info["ratio"] = 1 / (append(connection, reads(2)) - 3)
    assert checked(database) == (1, None)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE twin.audit SET person = 'nobody'",
        "DELETE FROM twin.audit",
        "TRUNCATE twin.audit",
        "DROP TABLE twin.audit",
        "DROP TABLE twin.audit_{month}",
        "TRUNCATE twin.audit_{month}",
        "DELETE FROM twin.audit_{month}",
        "ALTER TABLE twin.audit DETACH PARTITION twin.audit_{month}; DROP TABLE twin.audit_{month}",
    ],
)
@pytest.mark.parametrize("role", [None, "public", "administrator"])
def test_nobody_changes_or_removes_an_entry(database: Database, statement: str, role: str | None) -> None:
    put(database, *reads(3))
    become = f"SET LOCAL ROLE {Audience(role).role}; " if role else ""
    with pytest.raises(NotAllowed), database.writing() as connection:
        connection.exec_driver_sql(become + statement.format(month=f"{NOW:%Y%m}"))
    assert checked(database) == (3, None)


def test_audiences_do_not_read_it(database: Database) -> None:
    put(database, *reads(1))
    for audience in (PUBLIC, ZHAO.audience):
        with pytest.raises(NotAllowed), database.writing() as connection:
            connection.exec_driver_sql(f"SET LOCAL ROLE {audience.role}; SELECT * FROM twin.audit")


FORGERIES = {
    "person": "UPDATE twin.audit SET person = person || 'x' WHERE seq = :k",
    "at": "UPDATE twin.audit SET at = at - interval '1 microsecond' WHERE seq = :k",
    "ids": "UPDATE twin.audit SET ids = ids[2:] WHERE seq = :k",
    "box": "UPDATE twin.audit SET box = NULL WHERE seq = :k",
    "purpose": "UPDATE twin.audit SET purpose = 'other' WHERE seq = :k",
    "result": "UPDATE twin.audit SET result = 'refused' WHERE seq = :k",
    "detail": 'UPDATE twin.audit SET detail = detail || \'{"query": ""}\' WHERE seq = :k',
    "hash": "UPDATE twin.audit SET hash = sha256('x') WHERE seq = :k",
    "removed": "DELETE FROM twin.audit WHERE seq = :k",
    "swapped": "ALTER TABLE twin.audit DROP CONSTRAINT audit_pkey;"
    " UPDATE twin.audit SET seq = CASE seq WHEN :k THEN :k + 1 ELSE :k END WHERE seq IN (:k, :k + 1)",
    "cut": "DELETE FROM twin.audit WHERE seq >= :k",
    "cut with its head": "DELETE FROM twin.audit WHERE seq >= :k",
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(sorted(FORGERIES)), k=st.integers(2, 8))
def test_every_forgery_is_found(database: Database, kind: str, k: int) -> None:
    """By a superuser who switches the triggers off first."""
    if checked(database)[0] == 0:
        put(database, *reads(9))
    with database.engine.connect() as connection, connection.begin() as transaction:
        before = verify(connection)
        assert before.fault is None
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.exec_driver_sql(FORGERIES[kind].replace(":k", str(k)))
        if kind == "cut with its head":
            connection.exec_driver_sql(
                "UPDATE twin.audit_head SET (seq, hash) = (SELECT seq, hash FROM twin.audit ORDER BY seq DESC LIMIT 1)"
            )
            assert verify(connection).fault is None, "only who kept the head outside can tell"
        found = verify(connection, before.head)
        assert found.fault is not None
        assert str(k) in found.fault or "end" in found.fault or str(k - 1) in found.fault
        transaction.rollback()


def test_a_forged_entry_at_the_end_contradicts_the_kept_head(database: Database) -> None:
    put(database, *reads(4))
    with database.writing() as connection:
        head = verify(connection).head
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.exec_driver_sql("DELETE FROM twin.audit WHERE seq = 4")
        connection.exec_driver_sql(
            "UPDATE twin.audit_head SET (seq, hash) = (SELECT seq, hash FROM twin.audit ORDER BY seq DESC LIMIT 1)"
        )
    put(database, *reads(1))
    assert checked(database) == (4, None)
    assert "seen before" in str(checked(database, kept_head=head)[1])


def test_only_whole_months_older_than_184_days_go(database: Database) -> None:
    for age in (400, 300, 200, 185, 170, 10, 0):
        put(database, *reads(2), at=NOW - age * DAY)
    with pytest.raises(InvalidRequest, match="kept for 184 days"), database.writing() as connection:
        prune(connection, ZHAO, 30 * DAY)
    with database.writing() as connection:
        months = prune(connection, ZHAO)
        left = [one.at for one in entries(connection, limit=100) if one.action == "read"]
    assert f"twin.audit_{NOW - 400 * DAY:%Y%m}" in months
    assert f"twin.audit_{NOW - 300 * DAY:%Y%m}" in months
    assert sum(at > NOW - 184 * DAY for at in left) == 6
    number, fault = checked(database)
    assert fault is None
    assert number == len(left) + 1, "the pruning itself is on record"
    with database.writing() as connection:
        assert entries(connection)[0].detail == {"months": months}


def test_time_does_not_go_back_in_the_log(database: Database) -> None:
    put(database, *reads(1), at=NOW)
    put(database, *reads(1), at=NOW - 40 * DAY)
    with database.writing() as connection:
        assert [one.at for one in entries(connection)] == [NOW, NOW]
    assert checked(database) == (2, None)


def test_who_looked_agrees_with_looking_at_every_entry(database: Database) -> None:
    chance = random.Random(7)  # noqa: S311
    new: list[Entry] = []
    for _ in range(400):
        ids = tuple(chance.sample("abcdef", 2)) if chance.random() < 0.4 else None
        west, south = 117 + chance.random(), 34 + chance.random()
        box = (west, south, west + 0.3, south + 0.3) if chance.random() < 0.8 else None
        result = "granted" if chance.random() < 0.8 else "refused"
        dataset = chance.choice(["video.cameras", "medical.ambulances"])
        new.append(Entry("read", chance.choice([ZHAO, LI]), dataset, ids, box, result))
    put(database, *new)
    for fid, place in (("a", (117.5, 34.5, 117.5, 34.5)), ("f", (117.0, 34.0, 118.3, 35.3)), ("b", None)):
        expected = [
            (number, one.ids is not None)
            for number, one in enumerate(new, 1)
            if (one.dataset, one.result) == ("video.cameras", "granted")
            and (fid in one.ids if one.ids else one.box is None or (place is not None and meets(one.box, place)))
        ]
        with database.writing() as connection:
            found = who_looked(connection, "video.cameras", fid, place)
        assert [(one.seq, one.certain) for one in reversed(found)] == expected
        assert len(expected) > 20


def meets(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] <= b[2] and a[2] >= b[0] and a[1] <= b[3] and a[3] >= b[1]
