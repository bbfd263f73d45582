"""Personal data go when their time is over, wherever they stand, and the audit log has the proof."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from layers.inbox import receive_file, stored_file
from layers.indicators import refresh
from layers.retention import due, expire
from tests.layers.conftest import Park
from tests.layers.park import CITY
from twin.access import Audience, Caller
from twin.audit import entries, verify
from twin.errors import SourceError
from twin.keys import sealed_key

ZHAO = Caller(Audience("administrator"), "zhao.min")
NOW = dt.datetime(2026, 11, 26, 12, tzinfo=dt.UTC)
DAY, HOUR = dt.timedelta(days=1), dt.timedelta(hours=1)


def visitor(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "name": name, "wkt": "POINT(117.3 34.8)", **more}


def between(start: dt.datetime | None, end: dt.datetime | None) -> str:
    return f"[{start.isoformat() if start else '-infinity'},{end.isoformat() if end else ''})"


def left(park: Park) -> set[str]:
    with park.database.writing() as connection:
        return set(connection.scalars(sa.text("SELECT id FROM parks.visitors")))


def test_what_ended_before_the_retention_goes_and_the_rest_stays(park: Park, home: Path) -> None:
    """The park keeps visitors for a day."""
    old, new = NOW - 2 * DAY, NOW - HOUR
    park.put(
        "parks.visitors",
        visitor("still there"),
        visitor("left long ago", valid=between(None, old)),
        visitor("left just now", valid=between(None, new)),
        visitor("corrected long ago", recorded=between(old - DAY, old)),
        visitor("corrected just now", recorded=between(old - DAY, new)),
    )
    park.put("parks.trees", {"id": "t", "tree_id": "t", "wkt": "POINT(117.3 34.8)", "valid": between(None, old)})
    with park.database.writing() as connection:
        refresh(connection, park.catalog["parks.visitors"], CITY, None)
        assert due(connection, park.catalog["parks.visitors"], CITY, NOW) == {"parks.visitors": 2}
        assert due(connection, park.catalog["parks.trees"], CITY, NOW) == {}
    found = expire(park.database, park.catalog, CITY, home, ZHAO, now=NOW)
    assert [(one.dataset, one.deleted) for one in found] == [("parks.visitors", {"parks.visitors": 2})]
    assert left(park) == {"still there", "left just now", "corrected just now"}
    assert expire(park.database, park.catalog, CITY, home, ZHAO, now=NOW) == []
    with park.database.writing() as connection:
        proof = entries(connection, action="retention")
        assert [(one.dataset, one.person, one.detail["left"]) for one in proof] == [("parks.visitors", "zhao.min", 0)]
        assert proof[0].detail["deleted"] == {"parks.visitors": 2}
        assert verify(connection).fault is None
        assert connection.scalar(sa.text("SELECT count(*) FROM parks.trees")) == 1


def test_what_arrived_goes_with_its_key(park: Park, home: Path, tmp_path: Path) -> None:
    small, large = tmp_path / "small.csv", tmp_path / "large.csv"
    small.write_text("name\na\n")
    large.write_text("name\n" + "a long line of no meaning\n" * 20_000)
    with park.database.writing() as connection:
        ids = [receive_file(connection, home, "parks.visitors", path, "test", sealed=True) for path in (small, large)]
        kept = receive_file(connection, home, "parks.trees", large, "test")
        connection.execute(sa.text("UPDATE twin.inbox SET received_at = :then"), {"then": NOW - 3 * DAY})
        keys = [
            str(key) for key in connection.scalars(sa.text("SELECT DISTINCT sealed FROM twin.inbox WHERE sealed <> ''"))
        ]
    key = keys[0]
    (home / "keys" / key).rename(home / "keys" / f"inbox-parks.visitors-{NOW - 3 * DAY:%Y%m%d}")
    sealed_key(home, f"inbox-parks.visitors-{NOW:%Y%m%d}")
    sealed_key(home, f"inbox-parks.others-{NOW - 3 * DAY:%Y%m%d}")
    files = sum(path.is_file() for path in (home / "inbox").rglob("*"))
    found = expire(park.database, park.catalog, CITY, home, ZHAO, now=NOW)
    assert [(one.deleted, one.keys) for one in found] == [({"twin.inbox": 2}, 1)]
    assert sorted(path.name for path in (home / "keys").iterdir()) == [
        f"inbox-parks.others-{NOW - 3 * DAY:%Y%m%d}",
        f"inbox-parks.visitors-{NOW:%Y%m%d}",
    ]
    assert sum(path.is_file() for path in (home / "inbox").rglob("*")) == files - 1
    with park.database.writing() as connection:
        for entry in ids:
            dataset, stored = stored_file(connection, home, entry)
            assert dataset == "parks.visitors"
            with pytest.raises(SourceError), stored:
                pass
        with stored_file(connection, home, kept)[1] as path:
            assert path.read_text().startswith("name")


def test_nothing_of_a_dataset_goes_when_something_would_be_left(
    park: Park, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    park.put("parks.visitors", visitor("old", valid=between(None, NOW - 2 * DAY)))
    monkeypatch.setattr("layers.retention.due", lambda *_: {"somewhere": 1})
    with pytest.raises(RuntimeError, match="would be left"):
        expire(park.database, park.catalog, CITY, home, ZHAO, now=NOW)
    assert left(park) == {"old"}
