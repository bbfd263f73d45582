"""`/live`: what changes in datasets, as it changes (server-sent events).

A listener first gets what there is (`snapshot`), then what changes (`delta`): features by their ids, new or in place of
the ones before, and the ids of those gone. Without a change it gets a `beat` now and then. After a break, Last-Event-ID
says how far it came, and it gets what changed since. A stream ends after ten minutes and is asked for again: by then a
token may have expired, and a grant may have been withdrawn.
"""

import asyncio
import datetime as dt
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from functools import lru_cache
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.requests import HTTPConnection

from api.auditing import PROTECTED
from api.context import caller_of, context_of, readable, strict_parameters
from api.liveboard import Listener
from api.parameters import BboxParameter, parse_box, parse_crs
from layers.contract import Contract
from layers.live import Change, LiveFeature
from twin.access import PUBLIC, Caller
from twin.audit import Entry
from twin.errors import InvalidRequest, NotFound
from twin.view import parse_moment

__all__ = ["LONGEST_S", "chosen", "put_on_record", "router"]

LONGEST_S = 600.0
"""How long somebody listens before the rights are asked for again."""

router = APIRouter(tags=["Live"], dependencies=[Depends(strict_parameters)])

_MOST_DATASETS = 20
_BEAT_S = 20.0
_LONGEST_BREAK = dt.timedelta(minutes=10)
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@router.get("/live", response_class=Response, responses={200: {"content": {"text/event-stream": {}}}})
async def read_live(
    request: Request,
    caller: Annotated[Caller, Depends(caller_of)],
    collections: Annotated[str, Query(max_length=1000, description="dataset ids, separated by commas")],
    bbox: BboxParameter = None,
    once: Annotated[bool, Query(description="what there is, and no more")] = False,  # noqa: FBT002  (a parameter)
) -> Response:
    """Follow datasets: what there is now, then every change of it."""
    context = context_of(request)
    contracts = chosen(collections, readable(context, caller.audience))
    box = parse_box(bbox, parse_crs(None, context.city)) if bbox is not None else None
    await put_on_record(request, contracts, caller)
    since = _since(request.headers.get("last-event-id", ""), contracts)

    async def events() -> AsyncGenerator[bytes]:
        async with context.live.listening(contracts, caller.audience, box, since) as listener:
            reached, ends_s = dict(since), time.monotonic() + LONGEST_S
            while not listener.waiting.empty() or not (once or listener.is_slow):
                try:
                    async with asyncio.timeout(_BEAT_S):
                        dataset, change = await listener.waiting.get()
                except TimeoutError:
                    yield b"event: beat\ndata: {}\n\n"
                    continue
                reached[dataset] = change.moment
                text = _written(dataset, change, listener)
                if text is not None:
                    yield b"id: %s\n%s" % (_mark(reached), text)
                if time.monotonic() > ends_s:
                    return
            yield b"event: %s\ndata: {}\n\n" % (b"end" if once else b"slow")

    return StreamingResponse(events(), media_type="text/event-stream", headers=_HEADERS)


async def put_on_record(request: HTTPConnection, contracts: Iterable[Contract], caller: Caller) -> None:
    """Put on record that protected datasets are followed."""
    for contract in contracts:
        if contract.data_class in PROTECTED and caller.audience.name != PUBLIC.name:
            detail = {"route": request.url.path, "query": str(request.url.query)[:2_000]}
            await context_of(request).audit.append(
                Entry("read", caller, contract.id, None, None, "granted", contract.purpose or "", detail)
            )


def chosen(names: str, known: Iterable[Contract]) -> list[Contract]:
    """The datasets that a parameter names. Raises InvalidRequest, and NotFound for one that may not be known of."""
    by_id = {contract.id: contract for contract in known if contract.kind != "coverage"}
    wanted = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if not 1 <= len(wanted) <= _MOST_DATASETS:
        raise InvalidRequest(f"between 1 and {_MOST_DATASETS} datasets can be followed.", where="collections")
    for name in wanted:
        if name not in by_id:
            raise NotFound(f"no collection is called {name[:80]!r}.", remedy="See /collections.")
    return [by_id[name] for name in wanted]


def _written(dataset: str, change: Change, listener: Listener) -> bytes | None:
    """The event for a listener; None when nothing of the change lies where it listens."""
    if listener.box is None and not change.whole:
        return _written_for_all(dataset, change)
    here = [feature for feature in change.features if listener.wants(feature)]
    # What moved out of the area is gone for who listens there.
    away = [feature.key for feature in change.features if not listener.wants(feature)] if not change.whole else []
    removed = [*change.removed, *away]
    if not here and not removed and not change.whole:
        return None
    return _event(dataset, change, here, removed)


@lru_cache(64)
def _written_for_all(dataset: str, change: Change) -> bytes:
    """The event for everyone who listens to the whole city: written once."""
    return _event(dataset, change, change.features, change.removed)


def _event(dataset: str, change: Change, here: Sequence[LiveFeature], removed: Sequence[str]) -> bytes:
    kind = b"snapshot" if change.whole else b"delta"
    said = orjson.dumps({"collection": dataset, "moment": change.moment, "removed": list(removed)})
    features = ",".join(feature.text for feature in here).encode()
    return b'event: %s\ndata: %s,"features":[%s]}\n\n' % (kind, said[:-1], features)


def _mark(reached: dict[str, dt.datetime]) -> bytes:
    return ";".join(f"{dataset}={moment.isoformat()}" for dataset, moment in reached.items()).encode()


def _since(mark: str, contracts: list[Contract]) -> dict[str, dt.datetime]:
    """How far a listener came before its connection broke; what is no mark of ours says nothing."""
    known = {contract.id for contract in contracts}
    found: dict[str, dt.datetime] = {}
    for part in mark[:4_000].split(";"):
        dataset, equals, text = part.partition("=")
        if equals and dataset in known:
            try:
                moment = parse_moment(text)
            except InvalidRequest:
                continue
            if dt.datetime.now(dt.UTC) - moment <= _LONGEST_BREAK:
                found[dataset] = moment
    return found
