"""Feeds: the running sources that this city listens to, as `sources.toml` of its state folder names them.

    [[feed]]
    id = "vehicles"
    transport = "tcp"
    protocol = "jt808"
    listen = "127.0.0.1:7611"
    datasets = ["transport.vehicles"]

What the messages of a protocol mean stands in the contracts of the datasets; where they come from stands here. Secrets
are named here and kept in files of their own below `<home>/secrets`, or in the environment (`TWIN_SECRET_<NAME>`).
"""

import logging
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from layers.catalog import Catalog
from layers.contract import Duration
from layers.rungs import DatasetId, Part
from twin.errors import SetupError

__all__ = [
    "FEEDS",
    "Doors",
    "Feed",
    "MqttFeed",
    "PushFeed",
    "TcpFeed",
    "doors_of",
    "read_feeds",
    "secret_named",
]

FEEDS = "sources.toml"
"""The file of the state folder that names the feeds."""

FeedId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,40}$")]
Address = Annotated[str, Field(pattern=r"^[0-9a-zA-Z.:\[\]-]+:\d{1,5}$")]
SecretName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")]
_STREAM_PROTOCOLS = ("hj212", "jt808", "gb32960")


class Traits(NamedTuple):
    """What a transport can do: send again what was not acknowledged, keep the order; what it acknowledges at once.

    What cannot be sent again is lost while nobody listens: nothing of ours can mend that.
    """

    replayable: bool
    ordered: bool
    acknowledges: str


class _Feed(Part):
    """What every feed has. `keep`: how long its raw messages stay in the inbox."""

    id: FeedId
    protocol: Literal[
        "hj212", "jt808", "gb32960", "gb28181", "cap", "ngsi_ld", "sensorthings", "gtfs_rt", "json", "csv"
    ]
    datasets: tuple[DatasetId, ...] = Field(min_length=1)
    keep: Duration = "30 d"
    synthetic: bool = False


class TcpFeed(_Feed):
    """Devices that connect and send; each is answered as its protocol says once its message is kept."""

    traits: ClassVar = Traits(replayable=True, ordered=True, acknowledges="a message")

    transport: Literal["tcp"]
    listen: Address

    @field_validator("protocol")
    @classmethod
    def _of_streams(cls, value: str) -> str:
        if value not in _STREAM_PROTOCOLS:
            raise ValueError(f"over tcp come {', '.join(_STREAM_PROTOCOLS)}")
        return value


class MqttFeed(_Feed):
    """Topics of a broker, quality of service 1. `topics`: a filter to the dataset its messages are for."""

    traits: ClassVar = Traits(replayable=True, ordered=True, acknowledges="a message")

    transport: Literal["mqtt"]
    broker: Address
    topics: dict[str, DatasetId] = Field(min_length=1)
    user: str | None = None
    password: SecretName | None = None
    tls: bool = False


class PushFeed(_Feed):
    """What others send to `/push/<id>` with the token of that name."""

    traits: ClassVar = Traits(replayable=True, ordered=False, acknowledges="a request")

    transport: Literal["push"]
    token: SecretName


Feed = Annotated[TcpFeed | MqttFeed | PushFeed, Field(discriminator="transport")]
Doors = Mapping[str, tuple[PushFeed, str]]
"""The feeds that may be pushed to, by id, each with its secret."""

_log = logging.getLogger("twin.feeds")
_FEEDS: TypeAdapter[tuple[Feed, ...]] = TypeAdapter(tuple[Feed, ...])


def read_feeds(path: Path, catalog: Catalog) -> tuple[Feed, ...]:
    """The feeds of a file; none where there is no such file. Raises SetupError that names every fault."""
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ()
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SetupError(f"the file cannot be read: {error}.", where=str(path), remedy="Mend it.") from error
    try:
        feeds = _FEEDS.validate_python(tuple(said.get("feed", ())))
    except ValidationError as error:
        faults = "; ".join(f"feed {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise SetupError(
            f"these feeds are wrong: {faults}.", where=str(path), remedy="See the README, Feeds."
        ) from error
    faults = list(_faults(feeds, set(said) - {"feed"}, catalog))
    if faults:
        raise SetupError("; ".join(faults) + ".", where=str(path), remedy="See the README, Feeds.")
    return feeds


def doors_of(home: Path | None, contracts: Catalog) -> Doors:
    """The feeds of a state folder that may be pushed to; none, and a line in the log, where one of them is wrong."""
    if home is None:
        return {}
    try:
        feeds = read_feeds(home / FEEDS, contracts)
        return {feed.id: (feed, secret_named(home, feed.token)) for feed in feeds if isinstance(feed, PushFeed)}
    except SetupError as error:
        _log.warning("nothing can be pushed: %s", error)
        return {}


def _faults(feeds: tuple[Feed, ...], others: set[str], catalog: Catalog) -> list[str]:
    faults = [f"{name!r} means nothing here" for name in sorted(others)]
    seen: set[str] = set()
    taken: dict[str, str] = {}
    for feed in feeds:
        if feed.id in seen:
            faults.append(f"two feeds are called {feed.id!r}")
        seen.add(feed.id)
        listen = getattr(feed, "listen", None)
        if listen is not None and listen in taken:
            faults.append(f"{feed.id} and {taken[listen]} both listen at {listen}")
        if listen is not None:
            taken[listen] = feed.id
        led = set(getattr(feed, "topics", {}).values()) - set(feed.datasets)
        faults += [f"{feed.id}: a topic leads to {dataset!r}, which is none of its datasets" for dataset in sorted(led)]
        for dataset in feed.datasets:
            if dataset not in catalog.contracts:
                faults.append(f"{feed.id}: there is no dataset {dataset!r}")
            elif not any(one.protocol == feed.protocol for one in catalog[dataset].source) and (
                len(feed.datasets) > 1 or feed.protocol not in {"json", "csv"}
            ):
                faults.append(f"{feed.id}: the contract of {dataset} has no [source] for {feed.protocol}")
    return faults


def secret_named(home: Path, name: str) -> str:
    """The secret of a name: from the environment, or the file below `home/secrets`. Raises SetupError without one."""
    value = os.environ.get(f"TWIN_SECRET_{name.upper()}")
    if value is not None:
        return value
    path = home / "secrets" / name
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", name) or not path.is_file():
        raise SetupError(
            f"there is no secret {name!r}.",
            where=str(path),
            remedy=f"Write it there, or into TWIN_SECRET_{name.upper()}.",
        )
    return path.read_text(encoding="utf-8").strip()
