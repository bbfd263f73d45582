"""CAP, NGSI-LD, SensorThings and GTFS Realtime: published documents, and all the forms their standards allow."""

import json
from typing import Any

import pytest
import shapely

from ingest.codecs import cap, gtfs_rt, ngsi_ld, sensorthings
from ingest.codecs.messages import FrameError
from ingest.codecs.records import GEOMETRY
from tests.shared_data import shared


def alert(**changes: str) -> bytes:
    said = {
        "status": "Actual", "msgType": "Alert", "references": "",
        "area": "<areaDesc>滕州市</areaDesc><polygon>34.9,117.0 34.9,117.3 35.1,117.3 35.1,117.0 34.9,117.0</polygon>"
        "<geocode><valueName>adcode</valueName><value>370481</value></geocode>",
    } | changes  # fmt: skip
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<alert xmlns="urn:oasis:names:tc:emergency:cap:1.2"><identifier>W2</identifier><sender>s</sender>
<sent>2026-07-01T08:00:00+08:00</sent><status>{said["status"]}</status><msgType>{said["msgType"]}</msgType>
<scope>Public</scope>{said["references"]}
<info><language>en-US</language><event>Rainstorm</event><headline>Rain</headline></info>
<info><language>zh-CN</language><category>Met</category><event>暴雨</event><urgency>Immediate</urgency>
<severity>Severe</severity><certainty>Likely</certainty><expires>2026-07-01T20:00:00+08:00</expires>
<headline>暴雨橙色预警</headline><area>{said["area"]}</area></info></alert>""".encode()


def test_a_warning_is_read() -> None:
    (record,) = cap.decode(alert()).records
    assert (record["identifier"], record["event"], record["geocode.adcode"]) == ("W2", "暴雨", "370481")
    assert record["effective"] == "2026-07-01T08:00:00+08:00", "where nothing is said, it holds from when it was sent"
    shape = shapely.from_wkb(record[GEOMETRY])
    assert shape.bounds == (117.0, 34.9, 117.3, 35.1)


def test_our_own_warning_and_one_with_a_wrong_status() -> None:
    raw = shared("cap/own_valid_zaozhuang.xml").read_bytes()
    assert cap.decode(raw).records == [], "it calls itself an exercise"
    assert cap.decode(raw.replace(b"<status>Exercise<", b"<status>Actual<")).records[0][GEOMETRY]
    with pytest.raises(FrameError):
        cap.decode(shared("cap/invalid_status.xml").read_bytes())


def test_a_cancelled_warning_ends_the_one_it_names() -> None:
    references = "<references>s,W1,2026-07-01T06:00:00+08:00 s,W1b,2026-07-01T07:00:00+08:00</references>"
    (record,) = cap.decode(alert(msgType="Cancel", references=references)).records
    assert (record["identifier"], record["expires"]) == ("W1", "2026-07-01T08:00:00+08:00")


def test_exercises_and_circles() -> None:
    assert cap.decode(alert(status="Exercise")).records == []
    (record,) = cap.decode(alert(area="<areaDesc>x</areaDesc><circle>34.8,117.5 2</circle>")).records
    shape = shapely.from_wkb(record[GEOMETRY])
    assert shape.contains(shapely.Point(117.5, 34.8))
    assert shape.bounds[3] - 34.8 == pytest.approx(2 / 111.32, rel=0.01)


@pytest.mark.parametrize(
    "spoilt",
    [
        b"", b"<alert/>", alert(status="Perhaps"), alert(area="<polygon>1,2 3,4</polygon>"),
        alert(area="<circle>1,2</circle>"), alert(area="<polygon>a,b c,d e,f a,b</polygon>"),
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', alert().replace(b"<identifier>W2</identifier>", b""),
    ],
)  # fmt: skip
def test_no_warning(spoilt: bytes) -> None:
    with pytest.raises(FrameError):
        cap.decode(spoilt)


@pytest.mark.parametrize(
    ("name", "attribute", "value"),
    [
        ("AirQualityObserved.keyvalues", "temperature", 12.2),
        ("OffStreetParking.normalized", "availableSpotNumber", 132.0),
        ("Streetlight.normalized", "powerState", "off"),
        ("TrafficFlowObserved.normalized", "intensity", 197.0),
        ("WasteContainer.normalized", "binLoggedTime", "2021-03-11T15:51:02+05:30"),
    ],
)
def test_published_entities(name: str, attribute: str, value: object) -> None:
    (record,) = ngsi_ld.decode(shared(f"ngsi_ld/{name}.jsonld").read_bytes()).records
    assert record[attribute] == value
    assert str(record["id"]).startswith("urn:ngsi-ld:")


def test_three_forms_say_the_same() -> None:
    where = {"type": "Point", "coordinates": [117.5, 34.8]}
    at = "2026-01-04T12:00:00Z"
    normalized = {
        "id": "urn:1", "type": "Bin", "level": {"type": "Property", "value": 0.5, "observedAt": at, "unitCode": "C62"},
        "location": {"type": "GeoProperty", "value": where}, "of": {"type": "Relationship", "object": "urn:2"},
        "address": {"type": "Property", "value": {"street": "文化路"}},
    }  # fmt: skip
    concise = {
        "id": "urn:1", "type": "Bin", "level": {"value": 0.5, "observedAt": at, "unitCode": "C62"}, "location": where,
        "of": {"object": "urn:2"}, "address": {"value": {"street": "文化路"}},
    }  # fmt: skip
    keys = {
        "id": "urn:1", "type": "Bin", "level": 0.5, "location": where, "of": "urn:2", "address": {"street": "文化路"},
        "observedAt": at,
    }  # fmt: skip
    expected = {"id": "urn:1", "type": "Bin", "level": 0.5, "of": "urn:2", "address.street": "文化路", "observedAt": at}
    for form in (normalized, concise, keys):
        (record,) = ngsi_ld.decode(json.dumps(form).encode()).records
        assert shapely.from_wkb(record.pop(GEOMETRY)) == shapely.Point(117.5, 34.8)
        assert record == expected
    notified = {"id": "n", "type": "Notification", "data": [keys, concise]}
    assert len(ngsi_ld.decode(json.dumps(notified).encode()).records) == 2


@pytest.mark.parametrize("spoilt", [b"", b"[1]", b'{"id":1}', b'{"id":"a","location":{"type":"Point"}}'])
def test_no_entity(spoilt: bytes) -> None:
    with pytest.raises(FrameError):
        ngsi_ld.decode(spoilt)


OBSERVATION: dict[str, Any] = {
    "@iot.id": 7, "phenomenonTime": "2026-01-04T11:00:00Z/2026-01-04T12:00:00Z", "result": 35.2,
    "Datastream": {"@iot.id": 3, "name": "PM2.5",
                   "Thing": {"@iot.id": "T1", "name": "站点一", "properties": {"code": "A1"}}},
    "FeatureOfInterest": {"feature": {"type": "Feature", "geometry": {"type": "Point", "coordinates": [117.5, 34.8]}}},
}  # fmt: skip


def test_observations() -> None:
    page = {"value": [OBSERVATION, {**OBSERVATION, "result": {"pm25": 1, "pm10": 2}}], "@iot.nextLink": "http://x/2"}
    raw = json.dumps(page).encode()
    first, second = sensorthings.decode(raw).records
    assert sensorthings.next_page(raw) == "http://x/2"
    assert shapely.from_wkb(first.pop(GEOMETRY)) == shapely.Point(117.5, 34.8)
    assert first == {
        "@iot.id": 7.0, "phenomenonTime": "2026-01-04T12:00:00Z", "resultTime": None, "result": 35.2,
        "Datastream.@iot.id": 3.0, "Datastream.name": "PM2.5", "Thing.@iot.id": "T1", "Thing.name": "站点一",
        "Thing.properties.code": "A1",
    }  # fmt: skip
    assert (second["result.pm25"], second["result.pm10"]) == (1.0, 2.0)


def test_data_arrays() -> None:
    array = {
        "Datastream": {"@iot.id": 3},
        "components": ["phenomenonTime", "result"],
        "dataArray": [["t1", 1], ["t2", 2]],
    }
    for form in ([array], array, {"value": [array]}):
        records = sensorthings.decode(json.dumps(form).encode()).records
        assert [(record["phenomenonTime"], record["result"]) for record in records] == [("t1", 1.0), ("t2", 2.0)]


@pytest.mark.parametrize("spoilt", [b"3", b"{}", b'{"value":3}', b'[{"components":["a"],"dataArray":[[1,2]]}]'])
def test_no_observation(spoilt: bytes) -> None:
    with pytest.raises(FrameError):
        sensorthings.decode(spoilt)


def test_published_feeds() -> None:
    found = {name: gtfs_rt.decode(shared(f"gtfs_rt/{name}.pb").read_bytes()).records for name in
             ("vehicle_position", "vp-no-occupancy", "vp-with-occupancy-status")}  # fmt: skip
    for records in found.values():
        assert {record["entity"] for record in records} == {"vehicle"}
        assert all(-180 <= float(str(record["position.longitude"])) <= 180 for record in records)
    assert all("occupancy_status" in record for record in found["vp-with-occupancy-status"])


def test_no_feed() -> None:
    for spoilt in (b"", b"\xff\xff\xff", b"hello"):
        with pytest.raises(FrameError):
            gtfs_rt.decode(spoilt)
