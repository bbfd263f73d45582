"""The synthetic city's devices: they speak their protocols to real ports.

They are those that the datasets already know, so the city goes on where its history ends. On a bad line
(`ingest.demo.line`) messages are lost, doubled, exchanged, or stamped by a clock that is wrong.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from ingest.demo import fleets, publishers
from ingest.demo.calls import Calls
from ingest.demo.line import Crew, Line
from ingest.demo.platforms import Platforms
from ingest.demo.registers import Known
from layers.catalog import Catalog
from layers.feeds import Feed, MqttFeed, PushFeed, SipFeed, TcpFeed, secret_named
from twin.city import City
from twin.database import Database
from twin.datum import from_city, parse_datum
from twin.errors import SetupError

__all__ = ["LINES", "devices_of", "run_devices"]

LINES = {
    "transport.buses": "transport.bus_routes",
    "transport.vehicles": "transport.roads",
    "medical.ambulances": "transport.roads",
}
"""The lines along which the vehicles of a dataset move."""

_TICKET = ("category", "town_code", "department", "text")


def devices_of(
    database: Database, catalog: Catalog, city: City, feeds: Sequence[Feed], home: Path, api: str
) -> list[Crew]:
    """The devices that speak to the synthetic feeds; `api` is where the API answers.

    Raises SetupError when a feed's dataset knows none.
    """
    known = Known(database, catalog, city)
    crews: list[Crew] = []
    for feed in feeds:
        crew = _crew(feed, known, home, api) if feed.synthetic else None
        if crew is not None and not crew.ids:
            raise SetupError(
                f"{feed.datasets[0]} knows no devices.",
                where=f"feed {feed.id}",
                remedy="Load the city first: twin ingest demo.",
            )
        crews += [crew] if crew is not None else []
    return crews


async def run_devices(crews: Sequence[Crew], line: Line, *, pace: float = 1.0) -> None:
    """Let the devices report until cancelled, `pace` times as often as they should."""
    async with asyncio.TaskGroup() as group:
        for crew in crews:
            crew.start(group, line, pace)


def _crew(feed: Feed, known: Known, home: Path, api: str) -> Crew | None:
    """The devices of a feed; None where nothing of the synthetic city reports so."""
    dataset = feed.datasets[0]
    match feed:
        case TcpFeed():
            return _connected(feed, dataset, known)
        case MqttFeed():
            return _publishing(feed, dataset, known)
        case SipFeed():
            cameras = [(code, name or "", lon, lat) for code, name, lon, lat in
                       known.rows("video.cameras", "camera_id", "name")]  # fmt: skip
            return Platforms(feed, cameras, secret_named(home, feed.password))
        case PushFeed():
            return Calls(feed, _tickets(known), f"{api}/push/{feed.id}", secret_named(home, feed.token))
        case _:
            return None


def _connected(feed: TcpFeed, dataset: str, known: Known) -> Crew | None:
    if dataset in LINES:
        field = "vehicle_id" if dataset == "transport.buses" else "terminal_id"
        return fleets.vehicles(feed, [row[0] for row in known.rows(dataset, field)], known.lines(LINES[dataset]))
    if dataset == "environment.air_stations":
        return fleets.stations(feed, [row[0] for row in known.rows(dataset, "station_id")])
    if dataset == "environment.discharges":
        media = {row[0]: row[1] for row in known.rows("environment.outlets", "outlet_id", "medium")}
        reported = [row[0] for row in known.rows(dataset, "outlet_id")]
        return fleets.outlets(feed, {outlet: media[outlet] for outlet in reported if outlet in media})
    return None


def _publishing(feed: MqttFeed, dataset: str, known: Known) -> Crew | None:
    if dataset == "wifi.online_counts":
        return publishers.access_points(feed, [row[0] for row in known.rows("wifi.access_points", "ap_id")])
    if dataset == "energy.meters":
        return publishers.meters(feed, {row[0]: row[1] for row in known.rows(dataset, "meter_id", "building_id")})
    if dataset == "medical.ambulances":
        stations = {row[0]: row[1] for row in known.rows(dataset, "vehicle_id", "station_id")}
        return publishers.ambulances(feed, stations, known.lines(LINES[dataset]), known.city)
    return None


def _tickets(known: Known) -> list[dict[str, object]]:
    """Tickets that were opened before, with their places in BD-09."""
    rows = [row for row in known.rows("services.hotline_tickets", *_TICKET) if row[-1] is not None]
    if not rows:
        return []
    lon, lat = from_city([row[-2] for row in rows], [row[-1] for row in rows], parse_datum("bd09"), known.city)
    return [
        {**dict(zip(_TICKET, row, strict=False)), "lon": lon[number], "lat": lat[number]}
        for number, row in enumerate(rows)
    ]
