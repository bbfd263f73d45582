"""`/metrics`: how feeds, datasets and this process stand, for Prometheus.

Who asks hears of the datasets that they may read, and of feeds if they may read `operations.freshness`. The figures are
worked out at most every few seconds, whoever asks, and from what is stored: they tell that nothing is read also when
`twin ingest run` has died.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.context import caller_of, context_of, readable, strict_parameters
from api.standing import Counted
from layers.feeds import FRESHNESS
from layers.freshness import Freshness
from twin.access import Caller

__all__ = ["router"]

router = APIRouter(tags=["Operations"], dependencies=[Depends(strict_parameters)])

_HEADERS = {"Cache-Control": "no-store"}


@router.get("/metrics", response_class=Response)
async def metrics(request: Request, caller: Annotated[Caller, Depends(caller_of)]) -> Response:
    """Figures in the text format of Prometheus."""
    context = context_of(request)
    known = {contract.id for contract in readable(context, caller.audience)}
    freshness, counted = await context.standing.now()
    sees_feeds = FRESHNESS.datasets[0] in known
    shown = [one for one in freshness if (one.id in known if one.kind == "dataset" else sees_feeds)]
    registry = CollectorRegistry()
    registry.register(_Figures(shown, counted if sees_feeds else [], context.live.listeners))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST, headers=_HEADERS)


class _Figures(Collector):
    """The figures as Prometheus names them."""

    def __init__(self, shown: list[Freshness], counted: list[Counted], listeners: int) -> None:
        self._shown, self._counted, self._listeners = shown, counted, listeners

    def collect(self) -> Iterator[Metric]:
        """All families of figures."""
        now = dt.datetime.now(dt.UTC)
        state = GaugeMetricFamily(
            "citytwin_freshness",
            "1 for the state that a feed or dataset is in",
            labels=("kind", "id", "state", "reason"),
        )
        age = GaugeMetricFamily("citytwin_age_seconds", "Time since it was last heard of", labels=("kind", "id"))
        limit = GaugeMetricFamily("citytwin_late_after_seconds", "Age from which on it is late", labels=("kind", "id"))
        waiting = GaugeMetricFamily("citytwin_feed_waiting", "Messages that nobody has read yet", labels=("feed",))
        for one in self._shown:
            state.add_metric((one.kind, one.id, one.state, one.reason), 1)
            limit.add_metric((one.kind, one.id), one.limit_s)
            if one.last_at is not None:
                age.add_metric((one.kind, one.id), (now - one.last_at).total_seconds())
            if one.kind == "feed":
                waiting.add_metric((one.id,), one.waiting)
        messages = CounterMetricFamily("citytwin_feed_messages", "Messages that were read", labels=("feed",))
        outcomes = CounterMetricFamily(
            "citytwin_feed_outcomes", "Records they brought, and messages that brought none", labels=("feed", "outcome")
        )
        for one in self._counted:
            messages.add_metric((one.feed,), one.messages)
            for name, number in one.outcomes.items():
                outcomes.add_metric((one.feed, name), number)
        listeners = GaugeMetricFamily("citytwin_live_listeners", "Who follows /live and /live/ws in this process")
        listeners.add_metric((), self._listeners)
        yield from (state, age, limit, waiting, messages, outcomes, listeners)
