"""Small contracts for tests of ingest."""

from typing import Any

from layers.contract import Contract

LONLAT = {"by": "coordinate", "x": "lon", "y": "lat", "datum": "wgs84", "accuracy_m": 10}
GEOMETRY_RUNG = {"by": "geometry", "datum": "per_file", "accuracy_m": 10}


def field(type_: str, zh: str, en: str, **rules: Any) -> dict[str, Any]:
    return {"type": type_, "title": {"zh": zh, "en": en}, **rules}


def contract(**parts: Any) -> Contract:
    """A contract of stations: a feature by its geometry or coordinates, with the parts that a test sets."""
    plain: dict[str, Any] = {
        "id": "environment.stations",
        "kind": "feature",
        "title": {"zh": "站点", "en": "Stations"},
        "owner": "市生态环境局",
        "class": "open",
        "rate": "year",
        "key": ["code"],
        "geometry": "any",
        "place": {"rungs": [GEOMETRY_RUNG, LONLAT]},
        "fields": {"code": field("string", "编号", "Code"), "name": field("string", "名称", "Name")},
    }
    return Contract.model_validate(plain | parts)


def stream(fields: dict[str, Any], **parts: Any) -> Contract:
    """A contract of observations by coordinates, with `station` and `observed_at` and the fields that a test adds."""
    own = {
        "station": field("string", "站点", "Station", aliases=["device_id"]),
        "observed_at": field("datetime", "时间", "Time"),
    }
    return contract(
        **{
            "kind": "observation",
            "rate": "5 min",
            "key": ["station", "observed_at"],
            "geometry": "point",
            "time": {"event": "observed_at"},
            "place": {"rungs": [LONLAT]},
            "fields": own | fields,
        }
        | parts
    )
