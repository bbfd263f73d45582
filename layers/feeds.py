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

import ipaddress
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from layers.catalog import Catalog
from layers.contract import Duration
from layers.rungs import DatasetId, Part
from twin.errors import SetupError

__all__ = [
    "PROTOCOLS",
    "Feed",
    "FolderFeed",
    "MqttFeed",
    "PullFeed",
    "PushFeed",
    "SipFeed",
    "SqlFeed",
    "TcpFeed",
    "Traits",
    "read_feeds",
    "secret_named",
]

PROTOCOLS = ("hj212", "jt808", "gb32960", "gb28181", "cap", "ngsi_ld", "sensorthings", "gtfs_rt", "json", "csv")
"""The formats in which messages come."""

FeedId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,40}$")]
Address = Annotated[str, Field(pattern=r"^[0-9a-zA-Z.:\[\]-]+:\d{1,5}$")]
SecretName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")]
_STREAM_PROTOCOLS = ("hj212", "jt808", "gb32960")


class Traits(NamedTuple):
    """What a transport can do: send again what was not acknowledged, keep the order; what it acknowledges at once.

    A source that cannot send again loses what it sent while nobody listened: nothing of ours can mend that.
    """

    replayable: bool
    ordered: bool
    acknowledges: Literal["message", "page", "file", "nothing"]


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

    transport: Literal["tcp"]
    listen: Address

    @field_validator("protocol")
    @classmethod
    def _of_streams(cls, value: str) -> str:
        if value not in _STREAM_PROTOCOLS:
            raise ValueError(f"over tcp come {', '.join(_STREAM_PROTOCOLS)}")
        return value

    @property
    def traits(self) -> Traits:
        """Devices send again what was not answered; a few protocols have messages that are never answered."""
        return Traits(replayable=True, ordered=True, acknowledges="message")


class SipFeed(_Feed):
    """Video platforms that register by SIP, over UDP and TCP on the same port. `realm` and `platform` name ours."""

    transport: Literal["sip"]
    listen: Address
    realm: Annotated[str, Field(pattern=r"^\d{10}$")]
    platform: Annotated[str, Field(pattern=r"^\d{20}$")]
    password: SecretName
    catalogue_every: Duration = "1 h"

    @property
    def traits(self) -> Traits:
        """A request of SIP is sent again until it is answered."""
        return Traits(replayable=True, ordered=False, acknowledges="message")


class MqttFeed(_Feed):
    """Topics of a broker, quality of service 1. `topics`: a filter to the dataset its messages are for, or to all."""

    transport: Literal["mqtt"]
    broker: Address
    topics: tuple[str, ...] = Field(min_length=1)
    user: str | None = None
    password: SecretName | None = None
    tls: bool = False

    @property
    def traits(self) -> Traits:
        """The broker keeps for a session what it has not acknowledged."""
        return Traits(replayable=True, ordered=True, acknowledges="message")


class PushFeed(_Feed):
    """What others send to `/push/<id>` with the token of that name."""

    transport: Literal["push"]
    token: SecretName

    @property
    def traits(self) -> Traits:
        """Who gets no 202 sends again."""
        return Traits(replayable=True, ordered=False, acknowledges="message")


class PullFeed(_Feed):
    """An address that is asked every so often. `allow`: networks within this city's own that it may lead to."""

    transport: Literal["pull"]
    url: Annotated[str, Field(pattern=r"^https?://")]
    every: Duration
    token: SecretName | None = None
    allow: tuple[str, ...] = ()

    @field_validator("allow")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            ipaddress.ip_network(one)
        return value

    @property
    def traits(self) -> Traits:
        """What it says now can be asked for again; what it said before cannot."""
        return Traits(replayable=False, ordered=True, acknowledges="page")


class SqlFeed(_Feed):
    """A query on a department's database, for rows whose `watermark` is beyond the last one that was read."""

    transport: Literal["sql"]
    url: SecretName
    query: str
    watermark: str
    every: Duration

    @property
    def traits(self) -> Traits:
        """Rows stay where they are."""
        return Traits(replayable=True, ordered=True, acknowledges="page")


class FolderFeed(_Feed):
    """A folder into which files are put; those that were read go into its folder `done`."""

    transport: Literal["folder"]
    path: Path
    pattern: str = "*"
    every: Duration = "10 s"

    @property
    def traits(self) -> Traits:
        """A file stays until it was read."""
        return Traits(replayable=True, ordered=True, acknowledges="file")


Feed = Annotated[
    TcpFeed | SipFeed | MqttFeed | PushFeed | PullFeed | SqlFeed | FolderFeed, Field(discriminator="transport")
]
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
