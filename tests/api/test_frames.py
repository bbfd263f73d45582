"""`/live/ws` over real WebSockets: binary frames of what moves; any order of changes gives the same picture."""

import datetime as dt
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from api.frames import Table, Told
from api.liveboard import Watcher
from ingest.worker import Worker
from layers.catalog import catalog
from layers.grants import may_read
from layers.live import Moved
from layers.query import Box
from layers.versions import mark_changed
from tests.api.city import bearer
from tests.api.frames import Picture, read_frame
from tests.api.test_live import BUSES, VEHICLES, drive
from twin.access import FIXED_AUDIENCES, PUBLIC, Audience


@contextmanager
def watching(url: str, query: str, audience: Audience = PUBLIC, **more: object) -> Iterator[ClientConnection]:
    with connect(f"{url.replace('http', 'ws')}/live/ws?{query}", additional_headers=bearer(audience), **more) as socket:
        yield socket


def data(socket: ClientConnection) -> bytes:
    said = socket.recv(timeout=20)
    assert isinstance(said, bytes)
    return said


def test_all_there_is_and_then_what_changes(live: tuple[str, Worker]) -> None:
    url, worker = live
    drive(worker, BUSES, ("1", 0), ("2", 0))
    with watching(url, f"collections={BUSES}") as socket:
        picture = Picture()
        head = picture.take(data(socket))
        assert (head["collection"], head["kind"], set(picture.things)) == (BUSES, "key", {"1", "2"})
        drive(worker, BUSES, ("1", 10), ("3", 0))
        head = picture.take(data(socket))
        assert (head["kind"], head["rows"], [pair[1] for pair in head["ids"]]) == ("delta", 2, ["3"])
        drive(worker, BUSES, ("1", 11), ("3", 1))
        frame = data(socket)
        assert set(read_frame(frame)[1]) == {"slot", "lon", "lat", "observed_at"}, "what is as it was is left out"
        picture.take(frame)
    features = httpx.get(f"{url}/collections/{BUSES}/items").json()["features"]
    assert len(features) == 3
    for feature in features:
        said = feature["properties"]
        thing = picture.things[said["vehicle_id"]]
        assert [thing["lon"], thing["lat"]] == pytest.approx(feature["geometry"]["coordinates"], abs=1e-9)
        assert thing["speed_kmh"] == pytest.approx(said["speed_kmh"])
        assert thing["observed_at"] == dt.datetime.fromisoformat(said["observed_at"]).timestamp()


def test_an_area_is_told_of_what_comes_and_goes_and_may_move(live: tuple[str, Worker]) -> None:
    url, worker = live
    drive(worker, BUSES, ("1", 0))
    with watching(url, f"collections={BUSES}&bbox=117.2999,34.7,117.3005,34.9") as socket:
        picture = Picture()
        picture.take(data(socket))
        assert set(picture.things) == {"1"}
        drive(worker, BUSES, ("2", 0), ("1", 100))
        picture.take(data(socket))
        assert set(picture.things) == {"2"}
        socket.send(json.dumps({"bbox": [117.3005, 34.7, 117.4, 34.9]}))
        picture.take(data(socket))
        assert set(picture.things) == {"1"}
        assert picture.things["1"]["lon"] == pytest.approx(117.31)
        socket.send(json.dumps({"bbox": None}))
        picture.take(data(socket))
        assert set(picture.things) == {"1", "2"}


def test_records_that_are_known_by_their_area_have_a_point_in_it(live: tuple[str, Worker]) -> None:
    url, worker = live
    dataset = "operations.resources"
    places = ("ST_MakePoint(117.3, 34.8)", "ST_MakeEnvelope(117.4, 34.8, 117.6, 34.9)", "NULL::geometry")

    def change(statement: str) -> None:
        with worker.database.writing() as connection:
            connection.exec_driver_sql(statement)
            mark_changed(connection, dataset, dt.datetime.now(dt.UTC))

    for number, place in enumerate(places):
        change(
            f"INSERT INTO {dataset} (id, resource_id, name, valid, recorded, geom) VALUES ('{number}', '{number}', 'x',"
            f" '[2020-01-01,)', '[2020-01-01,)', ST_SetSRID({place}, 4490))"
        )
    with watching(url, f"collections={dataset}", Audience("dispatch")) as socket:
        picture = Picture()
        picture.take(data(socket))
        assert set(picture.things) == {"0", "1"}, "what has no place is left out"
        assert 117.4 < picture.things["1"]["lon"] < 117.6
        change(f"UPDATE {dataset} SET recorded = tstzrange(lower(recorded), now()) WHERE id = '0'")
        picture.take(data(socket))
        assert set(picture.things) == {"1"}, "what is true no longer is removed"


@pytest.mark.parametrize("text", ["hello", "[]", '{"bbox": [1, 2]}', '{"bbox": ["a", 1, 2, 3]}', "{}"])
def test_what_is_not_understood_ends_it_in_words(live: tuple[str, Worker], text: str) -> None:
    url, worker = live
    drive(worker, BUSES, ("1", 0))
    with watching(url, f"collections={BUSES}") as socket:
        data(socket)
        socket.send(text)
        with pytest.raises(ConnectionClosed) as ended:
            socket.recv(timeout=20)
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == 1007
        assert ended.value.rcvd.reason


@pytest.mark.parametrize(
    ("query", "status"),
    [
        (f"collections={VEHICLES}", 404),
        ("collections=no.such", 404),
        ("", 400),
        ("collections=sharing.towns", 400),
        (f"collections={BUSES}&x=1", 400),
        (f"collections={BUSES}&collections={BUSES}", 400),
        (f"collections={BUSES}&bbox=1,2", 400),
    ],
)
def test_who_may_not_is_told_in_a_problem(live: tuple[str, Worker], query: str, status: int) -> None:
    with pytest.raises(InvalidStatus) as refused, watching(live[0], query):
        pass
    assert refused.value.response.status_code == status
    assert refused.value.response.headers["content-type"] == "application/problem+json"
    assert json.loads(refused.value.response.body or b"")["status"] == status


def test_browsers_show_their_token_as_a_protocol(live: tuple[str, Worker]) -> None:
    url, worker = live
    drive(worker, VEHICLES, ("1", 0))
    token = bearer(Audience("dispatch"))["Authorization"].removeprefix("Bearer ")
    protocols = ["citytwin.frames", f"token.{token}"]
    with watching(url, f"collections={VEHICLES}", subprotocols=protocols) as socket:
        assert socket.subprotocol == "citytwin.frames"
        picture = Picture()
        picture.take(data(socket))
        assert set(picture.things) == {"1"}
    with (
        pytest.raises(InvalidStatus) as refused,
        watching(url, f"collections={BUSES}", subprotocols=["citytwin.frames", "token.forged"]),
    ):
        pass
    assert refused.value.response.status_code == 401


def test_following_protected_data_is_put_on_record(live: tuple[str, Worker]) -> None:
    url, worker = live
    security = next(
        one.id
        for one in catalog().contracts.values()
        if one.data_class == "security" and one.geometry == "point" and "operations" in one.readers
    )
    with watching(url, f"collections={security}", Audience("operations")):
        time.sleep(0.3)
    with worker.database.writing() as connection:
        rows = connection.exec_driver_sql("SELECT dataset FROM twin.audit WHERE action = 'read'").all()
    assert [row[0] for row in rows] == [security]


@pytest.mark.parametrize("name", FIXED_AUDIENCES)
def test_nobody_watches_what_they_may_not_read(live: tuple[str, Worker], name: str) -> None:
    """Every dataset of points, as every audience: opened where it may be read, else as absent as what is none."""
    url, audience = live[0], Audience(name)
    points = [contract for contract in catalog() if contract.geometry == "point"]
    assert points
    for contract in points:
        try:
            with watching(url, f"collections={contract.id}", audience):
                status = 200
        except InvalidStatus as refused:
            status = refused.response.status_code
        assert status == (200 if may_read(contract.data_class, contract, audience) else 404), contract.id


def test_who_joins_while_things_move_misses_nothing(live: tuple[str, Worker]) -> None:
    """Many join at once while the dataset changes; all see the same in the end."""
    url, worker = live
    drive(worker, BUSES, ("1", 0))
    with ExitStack() as stack:
        watchers: list[tuple[ClientConnection, Picture]] = []
        for number in range(12):
            watchers.append((stack.enter_context(watching(url, f"collections={BUSES}")), Picture()))
            drive(worker, BUSES, (str(number % 5), 1 + number))
        last = {"0": 11, "1": 12, "2": 8, "3": 9, "4": 10}
        for socket, picture in watchers:
            while not all(thing in picture.things and picture.things[thing]["lon"] == pytest.approx(117.3 + at / 10_000)
                          for thing, at in last.items()):  # fmt: skip
                picture.take(data(socket))
        assert all(picture.things == watchers[0][1].things for _, picture in watchers)


def test_who_reads_slowly_gets_the_newest_state() -> None:
    table, watcher = Table(catalog()[BUSES]), Watcher()
    watcher.tables[BUSES] = table
    for number in range(10):
        watcher.hear(BUSES, table.apply(moved({"a": (117.0 + number / 100, 34.0, 1.0, "x")})))
    assert len(watcher.waiting) <= 4
    picture = Picture()
    while watcher.waiting:
        picture.take(watcher.waiting.popleft()[1].data)
    assert picture.things["a"]["lon"] == pytest.approx(117.09)


Thing = tuple[float, float, float, str | None]


def moved(things: dict[str, Thing], removed: tuple[str, ...] = (), *, whole: bool = False) -> Moved:
    """A change of buses."""
    columns = list(zip(*things.values(), strict=True)) or [(), (), (), ()]
    numbers = {name: np.array(column, np.float64)
               for name, column in zip(("lon", "lat", "speed_kmh"), columns, strict=False)}  # fmt: skip
    words = {"route_id": list(columns[3])}
    return Moved(dt.datetime.now(dt.UTC), whole, list(things), numbers, words, removed)


THINGS = st.dictionaries(
    st.sampled_from("abcdef"),
    st.tuples(
        st.floats(116, 118).map(lambda x: round(x, 7)),
        st.floats(34, 36).map(lambda x: round(x, 7)),
        st.floats(0, 90, width=32),
        st.sampled_from([None, "one", "two", "三"]),
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(THINGS, st.sets(st.sampled_from("abcdef")), st.booleans()), max_size=8))
def test_frames_of_any_changes_give_what_is_there(changes: list[tuple[dict[str, Thing], set[str], bool]]) -> None:
    """The oracle is a dictionary; one follows everything, one an area, one joins in the middle."""
    contract = catalog()[BUSES]
    table, truth = Table(contract), dict[str, Thing]()
    told = Told(Box(116.0, 34.0, 117.0, 35.0))
    all_of, part, late = Picture(), Picture(), Picture()
    all_of.take(table.key().data)
    part.take(table.frame_for(told, table.key()) or b"")
    for number, (things, removed, whole) in enumerate(changes):
        gone = removed - set(things)
        truth = things if whole else {name: at for name, at in (truth | things).items() if name not in gone}
        frame = table.apply(moved(things, tuple(gone), whole=whole))
        all_of.take(frame.data)
        own = table.frame_for(told, frame)
        if own is not None:
            part.take(own)
        if number == len(changes) // 2:
            late.take(table.key().data)
        elif number > len(changes) // 2:
            late.take(frame.data)
    inside = {name: at for name, at in truth.items() if at[0] <= 117.0 and at[1] <= 35.0}
    for picture, expected in ((all_of, truth), (part, inside), *([(late, truth)] if changes else [])):
        assert set(picture.things) == set(expected)
        for name, (lon, lat, speed, route) in expected.items():
            thing = picture.things[name]
            assert (thing["lon"], thing["lat"], thing["speed_kmh"], thing["route_id"]) == (
                pytest.approx(lon, abs=6e-8), pytest.approx(lat, abs=6e-8), pytest.approx(speed, rel=1e-7), route,
            )  # fmt: skip
