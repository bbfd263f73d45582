"""`/live/ws`: what moves, as binary frames over a WebSocket (`api/frames.py` says what is in them).

For datasets of points. The token comes in the Authorization header, or from browsers as the protocol
`token.<the token>` beside `citytwin.frames`. `bbox` limits it to an area; the text message
`{"bbox": [west, south, east, north]}` moves the area (`null`: everything again). After ten minutes the socket is closed
with 1012, and may be opened again; who reads too slowly is sent the newest state instead of what came between, and who
does not read at all is hung up on (1013).
"""

import asyncio
import logging
import time
from contextlib import suppress
from typing import Any

import orjson
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from starlette.requests import HTTPConnection

from api.context import caller_of, context_of, readable
from api.frames import Told
from api.live import LONGEST_S, chosen, put_on_record
from api.liveboard import Watcher
from api.parameters import parse_box, parse_crs
from api.problems import refused
from layers.contract import Contract
from layers.query import Box
from twin.access import Audience, Caller
from twin.errors import InvalidRequest, TwinError

__all__ = ["SOCKETS", "router"]

router = APIRouter(tags=["Live"])

SOCKETS: dict[str, Any] = {"ws": "websockets-sansio", "ws_max_size": 4_096, "ws_per_message_deflate": False}
"""How uvicorn serves WebSockets: what comes in is small, and frames are not packed once for each listener."""

# uvicorn takes a refusal for a mistake of the application, and would let anybody fill the log.
_UNFINISHED = "ASGI callable returned without completing handshake."
logging.getLogger("uvicorn.error").addFilter(lambda record: record.msg != _UNFINISHED)

_PROTOCOL = "citytwin.frames"
_PARAMETERS = frozenset({"collections", "bbox"})
_LONGEST_SEND_S = 10.0
_ENDED, _TOO_SLOW, _NOT_UNDERSTOOD = 1012, 1013, 1007


@router.websocket("/live/ws")
async def follow(socket: WebSocket) -> None:
    """Follow datasets of points: what there is now, then every change of it."""
    try:
        contracts, caller, box = await _asked(socket)
    except TwinError as error:
        await socket.send_denial_response(refused(socket, error))
        return
    offered = [one.strip() for one in socket.headers.get("sec-websocket-protocol", "").split(",")]
    await socket.accept(_PROTOCOL if _PROTOCOL in offered else None)
    with suppress(WebSocketDisconnect, RuntimeError):
        await _follow(socket, contracts, caller.audience, box)


async def _asked(socket: WebSocket) -> tuple[list[Contract], Caller, Box | None]:
    """What is asked for, by whom. Raises what a request would be answered with."""
    for name in socket.query_params:
        if name not in _PARAMETERS or len(socket.query_params.getlist(name)) > 1:
            what = f"there is no parameter {name[:40]!r} here, or it stands there twice."
            raise InvalidRequest(what, where=name[:40], remedy=f"There are: {', '.join(sorted(_PARAMETERS))}.")
    context, caller = context_of(socket), await caller_of(socket)
    contracts = chosen(socket.query_params.get("collections", ""), readable(context, caller.audience))
    for contract in contracts:
        if contract.geometry != "point":
            raise InvalidRequest(f"{contract.id} is no dataset of points.", where="collections", remedy="Ask /live.")
    bbox = socket.query_params.get("bbox")
    box = parse_box(bbox, parse_crs(None, context.city)) if bbox is not None else None
    await put_on_record(HTTPConnection(socket.scope), contracts, caller)
    return contracts, caller, box


async def _follow(socket: WebSocket, contracts: list[Contract], audience: Audience, box: Box | None) -> None:
    board, ends_s = context_of(socket).live, time.monotonic() + LONGEST_S
    try:
        async with board.watching(contracts, audience) as watcher:
            area = _Area(watcher, box)
            listening = asyncio.create_task(area.listen(socket))
            listening.add_done_callback(lambda _: watcher.ready.set())
            try:
                while not (watcher.is_slow or listening.done() or time.monotonic() > ends_s):
                    await _send_next(socket, watcher, area)
            finally:
                listening.cancel()
            if listening.done() and not listening.cancelled():
                await socket.close(_NOT_UNDERSTOOD, str(listening.exception() or "")[:100])
            else:
                await socket.close(_TOO_SLOW if watcher.is_slow else _ENDED)
    except TwinError as error:
        await socket.close(_TOO_SLOW, error.what[:100])


async def _send_next(socket: WebSocket, watcher: Watcher, area: "_Area") -> None:
    """Send the next frame, unless nothing comes for a while."""
    coming = await watcher.next(_LONGEST_SEND_S)
    if coming is None:
        return
    dataset, frame = coming
    told = area.told(dataset)
    data = frame.data if told is None else watcher.tables[dataset].frame_for(told, frame)
    if data is None:
        return
    try:
        async with asyncio.timeout(_LONGEST_SEND_S):
            await socket.send_bytes(data)
    except TimeoutError:
        watcher.is_slow = True


class _Area:
    """Where somebody listens, and what they have been told of it."""

    def __init__(self, watcher: Watcher, box: Box | None) -> None:
        self._watcher, self._box = watcher, box
        self._told: dict[str, Told] = {}

    def told(self, dataset: str) -> Told | None:
        """What has been told of a dataset; None where everything is told."""
        return self._told.setdefault(dataset, Told(self._box)) if self._box is not None else None

    async def listen(self, socket: WebSocket) -> None:
        """Move the area as the other side says, until it ends. Raises InvalidRequest for what is not understood."""
        while True:
            text = await socket.receive_text()
            try:
                said = orjson.loads(text)["bbox"]
                words = None if said is None else ",".join(str(float(one)) for one in said)
            except (ValueError, TypeError, KeyError) as error:
                raise InvalidRequest('only {"bbox": [west, south, east, north]} is understood.') from error
            crs = parse_crs(None, context_of(socket).city)
            self._box = parse_box(words, crs) if words is not None else None
            self._told.clear()
            for dataset in self._watcher.tables:
                self._watcher.restart(dataset)
