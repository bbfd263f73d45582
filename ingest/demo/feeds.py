"""The feeds of the synthetic city: what its devices report to, at free ports of this machine."""

import secrets
import socket
from contextlib import ExitStack, closing
from pathlib import Path

from twin.city import City
from twin.keys import write_private

__all__ = ["write_feeds"]

_FEEDS = """# Feeds of the synthetic city (合成数据 · 仅供演示).
# `twin ingest run` receives them, `twin ingest devices` reports to them.

[[feed]]
id = "buses"
transport = "tcp"
protocol = "jt808"
listen = "127.0.0.1:{buses}"
datasets = ["transport.buses"]
keep = "1 d"
synthetic = true

[[feed]]
id = "vehicles"
transport = "tcp"
protocol = "jt808"
listen = "127.0.0.1:{vehicles}"
datasets = ["transport.vehicles"]
keep = "1 d"
synthetic = true

[[feed]]
id = "monitors"
transport = "tcp"
protocol = "hj212"
listen = "127.0.0.1:{monitors}"
datasets = ["environment.air_stations"]
keep = "1 d"
synthetic = true

[[feed]]
id = "outlets"
transport = "tcp"
protocol = "hj212"
listen = "127.0.0.1:{outlets}"
datasets = ["environment.discharges"]
keep = "1 d"
synthetic = true

[[feed]]
id = "cameras"
transport = "sip"
listen = "127.0.0.1:{cameras}"
server = "{server}"
password = "cameras"
catalogue_every = "5 min"
datasets = ["video.camera_status"]
keep = "1 d"
synthetic = true

[[feed]]
id = "wifi"
transport = "mqtt"
protocol = "json"
broker = "127.0.0.1:{broker}"
topics = {{ "wifi/+/counts" = "wifi.online_counts" }}
datasets = ["wifi.online_counts"]
keep = "1 d"
synthetic = true

[[feed]]
id = "meters"
transport = "mqtt"
protocol = "json"
broker = "127.0.0.1:{broker}"
topics = {{ "meters/+" = "energy.meters" }}
datasets = ["energy.meters"]
keep = "1 d"
synthetic = true

[[feed]]
id = "ambulances"
transport = "mqtt"
protocol = "json"
broker = "127.0.0.1:{broker}"
topics = {{ "ambulances/+" = "medical.ambulances" }}
datasets = ["medical.ambulances"]
keep = "1 d"
synthetic = true

[[feed]]
id = "hotline"
transport = "push"
protocol = "json"
token = "hotline"
datasets = ["services.hotline_tickets"]
late_after = "1 h"
keep = "1 d"
synthetic = true
"""
_PORTS = ("buses", "vehicles", "monitors", "outlets", "cameras", "broker")
_SECRETS = ("cameras", "hotline")


def write_feeds(path: Path, city: City) -> None:
    """Write the feeds to a file, and their secrets beside it, unless it is there."""
    if path.exists():
        return
    with ExitStack() as stack:
        probes = {name: stack.enter_context(closing(socket.socket())) for name in _PORTS}
        for probe in probes.values():
            probe.bind(("127.0.0.1", 0))
        ports = {name: probe.getsockname()[1] for name, probe in probes.items()}
    for name in _SECRETS:
        write_private(path.parent / "secrets" / name, secrets.token_urlsafe(24))
    path.write_text(_FEEDS.format(**ports, server=f"{city.code:0<8}002000000001"), encoding="utf-8")
