"""Calls of the synthetic city's citizens: tickets of the 12345 hotline, pushed to the API as they are opened."""

import asyncio
import contextlib
import datetime as dt
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx
import orjson

from ingest.demo.line import SEED, Line
from layers.feeds import PushFeed

__all__ = ["Calls"]

_EVERY_S = 20.0


@dataclass(frozen=True)
class Calls:
    """Tickets like those that were opened before, at the same kinds of places; `url` is the door they are pushed to."""

    feed: PushFeed
    before: Sequence[dict[str, object]]
    url: str
    token: str = field(repr=False)
    ids: Sequence[str] = ("12345",)

    def start(self, group: asyncio.TaskGroup, line: Line, pace: float) -> None:
        """Let citizens call."""
        group.create_task(self._run(line, pace))

    async def _run(self, line: Line, pace: float) -> None:
        chance, held = random.Random(f"{SEED} calls"), list[bytes]()  # noqa: S311
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {self.token}"}, trust_env=False) as client:
            while True:
                now = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=line.skew_s)
                ticket = {**chance.choice(self.before), "ticket_id": f"RXD{now:%y%m%d%H%M%S%f}", "opened_at": now,
                          "state": "open"}  # fmt: skip
                for message in line.sent(orjson.dumps(ticket, option=orjson.OPT_SERIALIZE_NUMPY), held, chance):
                    with contextlib.suppress(httpx.TransportError):  # the API is not up yet, or not any more
                        await client.post(self.url, content=message)
                await asyncio.sleep(chance.expovariate(1) * _EVERY_S / pace)
