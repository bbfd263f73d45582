"""`/metrics`: figures for Prometheus, of what somebody may know."""

import datetime as dt

import httpx
from prometheus_client.parser import text_string_to_metric_families

from ingest.worker import Worker
from layers.catalog import catalog
from tests.api.city import bearer
from tests.api.test_live import BUSES, VEHICLES, drive
from tests.ingest.test_telling import seconds_ago
from twin.access import PUBLIC, Audience


def figures(url: str, audience: Audience) -> dict[tuple[str, str], list[tuple[dict[str, str], float]]]:
    """Samples by name and id."""
    answer = httpx.get(f"{url}/metrics", headers=bearer(audience), timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["cache-control"] == "no-store"
    found: dict[tuple[str, str], list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            name = sample.labels.get("id") or sample.labels.get("feed") or ""
            found.setdefault((sample.name, name), []).append((sample.labels, sample.value))
    return found


def test_states_ages_and_counts(live: tuple[str, Worker]) -> None:
    url, worker = live
    second = seconds_ago(10)
    drive(worker, VEHICLES, ("1", second), ("2", second))
    found = figures(url, Audience("operations"))
    ((labels, value),) = found["citytwin_freshness", VEHICLES]
    assert (labels["kind"], labels["state"], labels["reason"], value) == ("dataset", "on_time", "none", 1)
    ((_, age_s),) = found["citytwin_age_seconds", VEHICLES]
    assert 0 < age_s < dt.timedelta(minutes=5).total_seconds()
    assert found["citytwin_feed_messages_total", "jt808"][0][1] == 2
    assert {labels["outcome"]: value for labels, value in found["citytwin_feed_outcomes_total", "jt808"]} == {
        "records": 2, "control": 0, "pieces": 0, "unused": 0, "broken": 0,
    }  # fmt: skip
    assert found["citytwin_live_listeners", ""] == [({}, 0)]


def test_the_public_hears_of_what_it_may_read_only(live: tuple[str, Worker]) -> None:
    url, worker = live
    drive(worker, VEHICLES, ("1", seconds_ago(10)))
    found = figures(url, PUBLIC)
    assert ("citytwin_freshness", BUSES) in found
    assert ("citytwin_freshness", VEHICLES) not in found
    assert not [name for name, _ in found if name.startswith("citytwin_feed")]
    ids = {name for _, name in found if name}
    assert ids <= {one.id for one in catalog() if one.data_class == "open"}
