"""The feeds of the synthetic city: what its devices report to, at free ports of this machine."""

import socket
from contextlib import ExitStack, closing
from pathlib import Path

__all__ = ["write_feeds"]

_HEAD = """# Feeds of the synthetic city (合成数据 · 仅供演示).
# `twin ingest run` receives them, `twin ingest devices` reports to them.
"""
_FEED = """
[[feed]]
id = "{id}"
transport = "tcp"
protocol = "{protocol}"
listen = "127.0.0.1:{port}"
datasets = ["{dataset}"]
keep = "1 d"
synthetic = true
"""
_FEEDS = (
    ("buses", "jt808", "transport.buses"),
    ("vehicles", "jt808", "transport.vehicles"),
    ("monitors", "hj212", "environment.air_stations"),
)


def write_feeds(path: Path) -> None:
    """Write the feeds to a file, unless it is there."""
    if path.exists():
        return
    with ExitStack() as stack:
        probes = [stack.enter_context(closing(socket.socket())) for _ in _FEEDS]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        ports = [probe.getsockname()[1] for probe in probes]
    feeds = [
        _FEED.format(id=name, protocol=protocol, port=port, dataset=dataset)
        for (name, protocol, dataset), port in zip(_FEEDS, ports, strict=True)
    ]
    path.write_text(_HEAD + "".join(feeds), encoding="utf-8")
