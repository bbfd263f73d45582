"""The quality scale: each rule decides between two contracts that differ in it alone; promises are kept."""

from typing import Any

import pytest

from layers.catalog import catalog
from layers.contract import Contract
from layers.quality import LEVELS, RULES, keeps, quality_of

FLAT: dict[str, Any] = {
    "id": "parks.trees",
    "kind": "feature",
    "title": {"zh": "树", "en": "Trees"},
    "owner": "市园林局",
    "class": "open",
    "rate": "5 min",
    "key": ["tree"],
    "geometry": "point",
    "place": {"rungs": [{"by": "coordinate", "x": "lon", "y": "lat", "datum": "wgs84", "accuracy_m": 5}]},
    "fields": {"tree": {"type": "string", "title": {"zh": "编号", "en": "Tree"}}},
}
MORE: dict[str, dict[str, Any]] = {
    "described": {"description": {"zh": "树", "en": "Trees"}},
    "drawn": {"style": {"circle": {"colour": "#336699"}}},
    "timely": {"late_after": "1 h"},
    "measured": {
        "indicators": [
            {"id": "parks.trees", "title": {"zh": "树", "en": "Trees"}, "measure": "count()", "resolution": 8}
        ]
    },
    "made": {"demo": {"frame": "areas"}},
    "standard": {"standards": ["after GB/T 1"]},
    "witnessed": {"place": {"rungs": [*FLAT["place"]["rungs"], {"by": "cell", "id": "tree"}]}},
    "coded": {"source": {"protocol": "file"}},
}


@pytest.mark.parametrize("name", MORE)
def test_each_rule_sees_the_one_thing_it_is_about(name: str) -> None:
    (rule,) = (rule for rule in RULES if rule.holds.__module__.endswith(f".{name}"))
    assert not rule.holds(Contract.model_validate(FLAT))
    assert rule.holds(Contract.model_validate({**FLAT, **MORE[name]}))


def test_a_level_has_its_rules_and_those_below() -> None:
    made = dict(FLAT)
    assert quality_of(Contract.model_validate(made)).level == "none"
    for level in LEVELS[1:]:
        lacks = quality_of(Contract.model_validate(made)).lacks
        wanted = [rule for rule in RULES if rule.level == level]
        assert lacks == tuple(rule.title for rule in wanted)
        for rule in wanted:
            made |= MORE[rule.holds.__module__.rsplit(".", 1)[1]]
        assert quality_of(Contract.model_validate(made)).level == level
    assert {rule.holds.__module__.rsplit(".", 1)[1] for rule in RULES} == set(MORE)


def test_promises_are_kept() -> None:
    assert all(keeps(contract) for contract in catalog())
    assert {contract.quality for contract in catalog()} <= {"silver", "gold"}
    assert not keeps(Contract.model_validate({**FLAT, "quality": "bronze"}))
