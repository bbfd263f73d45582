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

import datetime as dt
import ipaddress
import logging
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from layers.catalog import Catalog
from layers.contract import Duration
from layers.rungs import DatasetId, Part
from twin.errors import SetupError

__all__ = [
    "FEEDS",
    "FRESHNESS",
    "INCIDENTS",
    "OWN_FEEDS",
    "Doors",
    "Feed",
    "FolderFeed",
    "HttpFeed",
    "MqttFeed",
    "OwnFeed",
    "PushFeed",
    "SipFeed",
    "SqlFeed",
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
ProtocolName = Literal[
    "hj212", "jt808", "gb32960", "gb28181", "cap", "ngsi_ld", "sensorthings", "gtfs_rt", "json", "csv", "file"
]
_STREAMS: tuple[ProtocolName, ...] = ("hj212", "jt808", "gb32960")
_DOCUMENTS: tuple[ProtocolName, ...] = ("cap", "ngsi_ld", "sensorthings", "gtfs_rt", "json", "csv")


class Traits(NamedTuple):
    """What a transport can do: send again what was not acknowledged, keep the order; what it acknowledges at once.

    What cannot be sent again is lost while nobody listens: nothing of ours can mend that.
    """

    replayable: bool
    ordered: bool
    acknowledges: str


class _Feed(Part):
    """What every feed has. `keep`: how long its raw messages stay in the inbox.

    `late_after`: when it is late that says nothing; unset: as its datasets say.
    """

    protocols: ClassVar[tuple[ProtocolName, ...]]
    traits: ClassVar[Traits]

    id: FeedId
    protocol: ProtocolName
    datasets: tuple[DatasetId, ...] = Field(min_length=1)
    keep: Duration = "30 d"
    late_after: Duration | None = None
    synthetic: bool = False

    @field_validator("protocol")
    @classmethod
    def _fits_transport(cls, value: str) -> str:
        if value not in cls.protocols:
            raise ValueError(f"this way come {', '.join(cls.protocols)}")
        return value


class TcpFeed(_Feed):
    """Devices that connect and send; each is answered as its protocol says once its message is kept."""

    traits = Traits(replayable=True, ordered=True, acknowledges="a message")
    protocols = _STREAMS

    transport: Literal["tcp"]
    listen: Address


class SipFeed(_Feed):
    """Video networks that register here over UDP or TCP, and prove themselves by the password of that name.

    `server`: our own code, 20 digits, the first ten of which are the realm. Catalogues are asked for every
    `catalogue_every`; positions of moving devices every `positions_every`, where that is set.
    """

    traits = Traits(replayable=True, ordered=False, acknowledges="a message")
    protocols = ("gb28181",)

    transport: Literal["sip"]
    protocol: ProtocolName = "gb28181"
    listen: Address
    server: Annotated[str, Field(pattern=r"^\d{20}$")]
    password: SecretName
    catalogue_every: Duration = "1 h"
    positions_every: Duration | None = None


class MqttFeed(_Feed):
    """Topics of a broker, quality of service 1. `topics`: a filter to the dataset its messages are for."""

    traits = Traits(replayable=True, ordered=True, acknowledges="a message")
    protocols = _DOCUMENTS

    transport: Literal["mqtt"]
    broker: Address
    topics: dict[str, DatasetId] = Field(min_length=1)
    user: str | None = None
    password: SecretName | None = None
    tls: bool = False


class PushFeed(_Feed):
    """What others send to `/push/<id>` with the token of that name."""

    traits = Traits(replayable=True, ordered=False, acknowledges="a request")
    protocols = _DOCUMENTS

    transport: Literal["push"]
    token: SecretName


class HttpFeed(_Feed):
    """An address that is asked `every` so often; `token` names the secret that it wants as a bearer token.

    `{since}` in the address is the moment of the last asking, for those that can say what is new since then.
    Only its own host is asked, and those of `hosts`, whatever redirects and further pages name. Addresses that are not
    of the public internet are asked only where `networks` (`10.20.0.0/16`) holds them.
    """

    traits = Traits(replayable=True, ordered=True, acknowledges="an answer")
    protocols = _DOCUMENTS

    transport: Literal["http"]
    url: Annotated[str, Field(pattern=r"^https?://[^\s@/]+(/\S*)?$")]
    every: Duration
    hosts: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    token: SecretName | None = None

    @field_validator("networks")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            ipaddress.ip_network(one)
        return value

    @property
    def asked_hosts(self) -> frozenset[str]:
        """The hosts that may be asked, in small letters."""
        return frozenset(host.lower() for host in (urlsplit(self.url).hostname or "", *self.hosts))


class SqlFeed(_Feed):
    """A table or view of another database, read `every` so often from where the last reading ended.

    `database` names the secret with its address (SQLAlchemy's). `watermark` is a column that grows with every change,
    `start` its value to begin at. What commits there late is still found within `overlap` (of moments only).
    """

    traits = Traits(replayable=True, ordered=True, acknowledges="a reading")
    protocols = ("json",)

    transport: Literal["sql"]
    protocol: ProtocolName = "json"
    database: SecretName
    table: Annotated[str, Field(pattern=r"^[^\s.;]+(\.[^\s.;]+)?$")]
    columns: tuple[str, ...] = Field(min_length=1)
    watermark: str
    start: dt.datetime | dt.date | int | float | str
    every: Duration
    overlap: Duration = "1 min"


class FolderFeed(_Feed):
    """A folder in which somebody puts files for a dataset; each is loaded once it stands still.

    Then it is moved to `loaded` in the folder, or to `refused` with the reason beside it. `datum` and `encoding` are
    what a person would say with each file.
    """

    traits = Traits(replayable=True, ordered=True, acknowledges="a file")
    protocols = ("file",)

    transport: Literal["folder"]
    protocol: ProtocolName = "file"
    folder: str
    datum: str | None = None
    encoding: str | None = None

    @field_validator("datasets")
    @classmethod
    def _one(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(value) != 1:
            raise ValueError("the files of a folder are of one dataset")
        return value


class OwnFeed(_Feed):
    """What the twin tells itself: it stands in the inbox like all else, and in no file."""

    protocols = ("json",)
    traits = Traits(replayable=True, ordered=True, acknowledges="a transaction")

    id: Annotated[str, Field(pattern=r"^twin\.[a-z]+$")]
    transport: Literal["own"] = "own"
    protocol: ProtocolName = "json"


INCIDENTS = OwnFeed(id="twin.incidents", datasets=("operations.incidents",))
"""What the rules of contracts find."""

FRESHNESS = OwnFeed(id="twin.freshness", datasets=("operations.freshness",))
"""Which feeds and datasets are on time, late or silent."""

OWN_FEEDS = (INCIDENTS, FRESHNESS)
"""What the twin tells itself, read like all other feeds."""

Feed = Annotated[
    TcpFeed | SipFeed | MqttFeed | PushFeed | HttpFeed | SqlFeed | FolderFeed, Field(discriminator="transport")
]
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
                len(feed.datasets) > 1 or feed.protocol not in {"json", "csv", "file"}
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
