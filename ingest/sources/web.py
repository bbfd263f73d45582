"""Addresses that are asked over HTTP, and no others.

A request goes only to a host that the feed names, and only to an address that may be asked: one of the public
internet, or of a network that the feed names. The host is looked up once, and the address that was judged is the one
that is connected to, so that no second answer of a name server can lead elsewhere. Redirects and further pages are
judged like the first address.
"""

import datetime as dt
import hashlib
import ipaddress
import json
import socket
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpx

from ingest.codecs.messages import FrameError
from ingest.codecs.sensorthings import next_page
from ingest.sources.asking import Answer
from layers.feeds import HttpFeed, secret_named
from twin.errors import SourceError, SourceUnavailable

__all__ = ["WebReader", "look_up"]

_TIMEOUT_S = 20.0
_MOST_BYTES = 64_000_000
_MOST_HOPS, _MOST_PAGES = 3, 1_000
_PORTS = {"http": 80, "https": 443}
_MAY_PASS = frozenset((408, 425, 429))
_SINCE, _BEGINNING = "{since}", "1970-01-01T00:00:00Z"
_OVERLAP = dt.timedelta(minutes=5)
_CONDITIONS = {"If-None-Match": "etag", "If-Modified-Since": "last-modified"}

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
LookUp = Callable[[str, int], list[str]]


def look_up(host: str, port: int) -> list[str]:
    """The addresses of a host. Raises SourceUnavailable."""
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except OSError as error:
        raise SourceUnavailable(f"the host {host} is not known ({error}).", where=host) from error


class WebReader:
    """Asks the address of one feed."""

    def __init__(self, feed: HttpFeed, home: Path, look_up: LookUp = look_up) -> None:
        self._feed, self._look_up = feed, look_up
        self._networks = [ipaddress.ip_network(one) for one in feed.networks]
        self._token = secret_named(home, feed.token) if feed.token is not None else None

    def ask(self, position: str | None) -> Iterator[Answer]:
        """What the address has to say, unless it is what it said the last time.

        Raises SourceUnavailable when it may answer later, SourceError when it does not answer or may not be asked.
        """
        known: dict[str, str] = json.loads(position) if position else {}
        began = dt.datetime.now(dt.UTC) - _OVERLAP
        url = self._feed.url.replace(_SINCE, known.get("since", _BEGINNING))
        conditions = {header: known[header] for header in _CONDITIONS if header in known and url == self._feed.url}
        # Proxies would look the host up by themselves.
        with httpx.Client(timeout=_TIMEOUT_S, trust_env=False) as client:
            for page in range(_MOST_PAGES):
                answer, body = self._get(client, url, {} if page else conditions)
                if answer.status_code == HTTPStatus.NOT_MODIFIED:
                    return
                following = self._page_behind(url, body)
                if following is not None:
                    yield Answer([body], json.dumps(known))
                    url = following
                    continue
                reached = {"since": began.isoformat(timespec="seconds").replace("+00:00", "Z")}
                if not page:
                    reached["digest"] = hashlib.sha256(body).hexdigest()
                    reached |= {
                        header: answer.headers[said] for header, said in _CONDITIONS.items() if said in answer.headers
                    }
                is_new = "digest" not in reached or reached["digest"] != known.get("digest")
                yield Answer([body] if is_new else [], json.dumps(reached))
                return
        raise SourceError(f"it has more than {_MOST_PAGES:,} pages.", where=self._feed.url)

    def _page_behind(self, url: str, body: bytes) -> str | None:
        if self._feed.protocol != "sensorthings":
            return None
        try:
            link = next_page(body)
        except FrameError:
            return None  # who reads the message will say so
        return urljoin(url, link) if link is not None else None

    def _get(self, client: httpx.Client, url: str, headers: dict[str, str]) -> tuple[httpx.Response, bytes]:
        """The answer of an address, after at most a few redirects, and its body."""
        for _ in range(_MOST_HOPS + 1):
            answer, body = self._get_one(client, url, headers)
            if not answer.has_redirect_location:
                break
            there = urljoin(url, answer.headers["location"])
            if urlsplit(url).scheme == "https" and urlsplit(there).scheme != "https":
                raise SourceError("it redirects to where nothing is encrypted.", where=url)
            url = there
        else:
            raise SourceError(f"it redirects more than {_MOST_HOPS} times.", where=self._feed.url)
        if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status_code in _MAY_PASS:
            raise SourceUnavailable(f"it answers {answer.status_code}.", where=url)
        if answer.is_error:
            raise SourceError(f"it answers {answer.status_code}.", where=url, remedy="Ask who runs it.")
        return answer, body

    def _get_one(self, client: httpx.Client, url: str, headers: dict[str, str]) -> tuple[httpx.Response, bytes]:
        there = self._judged(url)
        sent = {**headers, "Host": there.host, "Accept-Encoding": "gzip, identity"}
        if self._token is not None and _origin(url) == _origin(self._feed.url):
            sent["Authorization"] = f"Bearer {self._token}"
        body = bytearray()
        try:
            with client.stream("GET", there.url, headers=sent, extensions={"sni_hostname": there.name}) as answer:
                for part in answer.iter_bytes():
                    body += part
                    if len(body) > _MOST_BYTES:
                        raise SourceError(f"it answers with more than {_MOST_BYTES:,} bytes.", where=url)
        except httpx.DecodingError as error:
            raise SourceError(f"its answer cannot be unpacked ({error}).", where=url) from error
        except httpx.TransportError as error:
            raise SourceUnavailable(f"it does not answer ({error or type(error).__name__}).", where=url) from error
        return answer, bytes(body)

    def _judged(self, url: str) -> "_There":
        """Where a request for an address goes. Raises SourceError when it may not be asked."""
        try:
            parts = urlsplit(url)
            name, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            raise SourceError("this is no address.", where=url[:200]) from None
        ports = {_PORTS.get(parts.scheme), urlsplit(self._feed.url).port}
        if parts.scheme not in _PORTS or parts.username is not None or port not in {None, *ports}:
            raise SourceError("only http and https are asked, at the feed's own port.", where=url[:200])
        if name not in self._feed.asked_hosts:
            raise SourceError(
                f"the host {name!r} may not be asked.", where=url[:200], remedy="Name it in `hosts` of the feed."
            )
        port = port or _PORTS[parts.scheme]
        found = [ipaddress.ip_address(one) for one in self._look_up(name, port)]
        address = next((one for one in found if self._may_be_asked(one)), None)
        if address is None:
            raise SourceError(
                f"{name} is {', '.join(map(str, found)) or 'nowhere'}, and no address of the public internet.",
                where=url[:200],
                remedy="Name its network in `networks` of the feed, if it is meant.",
            )
        literal = f"[{address}]" if address.version == 6 else str(address)
        there = urlunsplit((parts.scheme, f"{literal}:{port}", parts.path or "/", parts.query, ""))
        return _There(there, name, parts.netloc)

    def _may_be_asked(self, address: _Address) -> bool:
        inner = getattr(address, "ipv4_mapped", None) or address
        if any(inner.version == network.version and inner in network for network in self._networks):
            return True
        tunnelled = any(getattr(inner, name, None) is not None for name in ("sixtofour", "teredo"))
        return inner.is_global and not (inner.is_multicast or inner.is_reserved or tunnelled)


class _There(NamedTuple):
    """Where a request goes: the address that was judged, and the names to use there."""

    url: str
    name: str
    host: str


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)
