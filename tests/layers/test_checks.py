"""Rules of a contract that span several keys: each has contracts that break it, and the fault is on its line."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from layers.catalog import Problem, read_catalog
from layers.checks import RULES

SYSTEM = """\
id = "parks"
number = "X1"
title = { zh = "公园", en = "Parks" }
owner = "市园林局"
description = { zh = "公园绿地。", en = "Parks." }
"""
TREES = """\
id = "parks.trees"
kind = "feature"
title = { zh = "古树", en = "Old trees" }
owner = "市园林局"
class = "open"
rate = "year"
key = ["tree_id"]
geometry = "point"
time = { start = "planted_on" }

[place]
rungs = [{ by = "coordinate", x = "lon", y = "lat", datum = "wgs84", accuracy_m = 5 }]

[fields]
tree_id = { type = "string", title = { zh = "编号", en = "Tree" } }
height_m = { type = "float", unit = "m", range = [0, 120], title = { zh = "高度", en = "Height" } }
planted_on = { type = "date", title = { zh = "栽种日期", en = "Planted on" } }
healthy = { type = "boolean", title = { zh = "健康", en = "Healthy" } }

[source]
protocol = "file"
map = { hoehe = "height_m", laenge = "lon" }

[osm]
elements = ["node"]
where = { natural = ["tree"] }

[osm.map]
tree_id = "@id"

[[indicators]]
id = "parks.trees"
measure = "count()"
resolution = 9
title = { zh = "古树数", en = "Old trees" }

[[indicators]]
id = "parks.height"
measure = "mean(height_m)"
resolution = 8
title = { zh = "平均高度", en = "Mean height" }

[style]
circle = { colour = "#009E73" }
label = "tree_id"

[demo]
frame = "trees"
where = "age > 100"
map = { healthy = "healthy" }
"""
GATES = """\
id = "parks.gates"
kind = "observation"
title = { zh = "入口", en = "Gates" }
owner = "市园林局"
class = "department"
rate = "5 min"
key = ["gate_id", "observed_at"]
geometry = "point"
time = { event = "observed_at" }

[place]
rungs = [{ by = "device", id = "gate_id", register = "parks.trees" }]

[fields]
gate_id = { type = "string", title = { zh = "入口", en = "Gate" } }
observed_at = { type = "datetime", title = { zh = "时间", en = "Observed at" } }
inside = { type = "integer", unit = "1", title = { zh = "在园人数", en = "Inside" } }

[[indicators]]
id = "parks.inside"
measure = "max(inside)"
resolution = 9
window = "1 h"
title = { zh = "在园人数", en = "Visitors inside" }

[[rules]]
id = "parks.crowded"
title = { zh = "拥挤", en = "Crowded" }
severity = "4"
open = "inside > 500"
measure = "inside"
"""


@dataclass(frozen=True)
class Case:
    """A contract in which the line `old` became `new`: the fault is on the line `at` and says `words`."""

    rule: str
    old: str
    new: str
    words: str
    contract: str = TREES
    at: str | int | None = None
    """Where the fault is found, as text or number of the line; unset: on the new line."""

    @property
    def text(self) -> str:
        """The broken contract."""
        lines = self.contract.splitlines()
        assert lines.count(self.old) == 1, f"{self.old!r} must stand once"
        return "\n".join(self.new if line == self.old else line for line in lines)

    @property
    def line(self) -> int:
        """The number of the line that must be blamed."""
        if isinstance(self.at, int):
            return self.at
        lines = self.text.splitlines()
        return len(lines) - lines[::-1].index(self.at or self.new)


POINT = 'rungs = [{ by = "coordinate", x = "lon", y = "lat", datum = "wgs84", accuracy_m = 5 }]'
TREE = 'tree_id = { type = "string", title = { zh = "编号", en = "Tree" } }'
HEIGHT = 'height_m = { type = "float", unit = "m", range = [0, 120], title = { zh = "高度", en = "Height" } }'
HEALTHY = 'healthy = { type = "boolean", title = { zh = "健康", en = "Healthy" } }'
START = 'time = { start = "planted_on" }'
MEAN = 'measure = "mean(height_m)"'
GATE = 'rungs = [{ by = "device", id = "gate_id", register = "parks.trees" }]'
GATE_KEY = 'key = ["gate_id", "observed_at"]'

CASES = (
    Case("key", 'key = ["tree_id"]', 'key = ["stem"]', "the key names 'stem', which is not a field"),
    Case("reserved", HEALTHY, HEALTHY.replace("healthy", "recorded"), "a column the twin keeps itself"),
    Case("reserved", HEALTHY, HEALTHY.replace("healthy", "observed_at"), "a column the twin keeps itself"),
    Case("reserved", 'inside = { type = "integer", unit = "1", title = { zh = "在园人数", en = "Inside" } }',
         'cell = { type = "integer", unit = "1", title = { zh = "在园人数", en = "Inside" } }',
         "a column the twin keeps itself", GATES),
    Case("time_fields", START, 'time = { start = "felled" }', "time.start names 'felled', which is not a field"),
    Case("time_fields", START, 'time = { end = "height_m" }', "'height_m', which is not a datetime or date"),
    Case("time_of_kind", START, 'time = { event = "planted_on" }', "time.event is for observations and tracks"),
    Case("time_of_kind", 'kind = "feature"', 'kind = "event"', "an event needs time.start",
         TREES.replace(START, "time = {}"), at="time = {}"),
    Case("time_of_kind", 'time = { event = "observed_at" }', "time = {}", "needs time = { event =", GATES),
    Case("time_of_kind", GATE_KEY, 'key = ["gate_id"]', "includes its time field 'observed_at'", GATES),
    Case("time_of_kind", GATE_KEY, 'key = ["observed_at"]', "needs, beside the time, the field", GATES),
    Case("place", GATE, GATE.replace("gate_id", "door"), "this rung looks at 'door', which is not a field", GATES),
    Case("place", GATE, 'rungs = [{ by = "area", code = "town", register = "parks.trees" }]', "looks at 'town'",
         GATES),
    Case("place", GATE, 'rungs = [{ by = "cell", id = "hexagon" }]', "looks at 'hexagon'", GATES),
    Case("place", POINT, POINT.replace('"lat"', '"lon"'), "x and y are the same column"),
    Case("place", POINT, POINT.replace("wgs84", "none"), "a rung with coordinates needs a datum"),
    Case("place", POINT, POINT.replace("wgs84", "detect"), "`detect` compares positions with another rung"),
    Case("place", POINT, 'rungs = [{ by = "address", text = "street" }]', "looks at 'street'"),
    Case("names", "[source]", '[names]\nlevel = "place"\nname = "word"\n\n[source]', "names.name is 'word'",
         at='name = "word"'),
    Case("names", "[source]", '[names]\nlevel = "town"\nname = "tree_id"\n\n[source]', "a town goes by its code",
         at="[names]"),
    Case("names", "[source]",
         '[names]\nlevel = "road"\nname = "tree_id"\nstakes = ["height_m", "height_m"]\n\n[source]',
         "stakes belong to a numbered road", at='stakes = ["height_m", "height_m"]'),
    Case("areas", "[source]", '[areas]\nkind = "wood"\ncode = "tree_id"\nname = "word"\n\n[source]',
         "areas.name is 'word'", at='name = "word"'),
    Case("areas", "[source]", '[areas]\nkind = "wood"\ncode = "tree_id"\nname = "tree_id"\n\n[source]',
         "areas are features with polygons", at="[areas]"),
    Case("areas", "[source]", '[dasymetric]\nfield = "tree_id"\n\n[source]', "in proportion to a number",
         at='field = "tree_id"'),
    Case("codes", HEALTHY, HEALTHY.replace(", title", ', code = "h3", title'), "a code is kept as a text"),
    Case("fields", HEALTHY, HEALTHY.replace(", title", ", range = [0, 1], title"), "only numbers have a range"),
    Case("fields", HEIGHT, HEIGHT.replace("[0, 120]", "[120, 0]"), "the range ends (0) before it starts (120)"),
    Case("fields", HEIGHT, HEIGHT.replace('unit = "m", ', ""), "a number needs a unit"),
    Case("fields", TREE, TREE.replace(", title", ", pattern = '(', title"), "not a regular expression"),
    Case("indicator_names", 'id = "parks.height"', 'id = "parks.trees"', "two indicators are called 'parks.trees'"),
    Case("indicator_names", 'id = "parks.height"', 'id = "zoo.height"', "the indicator's id starts with its system"),
    Case("indicator_names", "resolution = 8", 'resolution = 8\nwhere = { kind = ["oak"] }', "where names 'kind'",
         at='where = { kind = ["oak"] }'),
    Case("indicator_names", "resolution = 8", 'resolution = 8\nwindow = "1 h"', "only observations and tracks have",
         at='window = "1 h"'),
    Case("measures", MEAN, 'measure = "median(height_m)"', "is not a measure"),
    Case("measures", MEAN, 'measure = "count(height_m)"', "is not a measure"),
    Case("measures", MEAN, 'measure = "sum()"', "is not a measure"),
    Case("measures", MEAN, 'measure = "mean(girth)"', "the measure names 'girth', which is not a field"),
    Case("measures", MEAN, 'measure = "mean(healthy)"', "mean() needs a field of type float or integer"),
    Case("measures", MEAN, 'measure = "share(height_m)"', "share() needs a field of type boolean"),
    Case("protection", 'class = "open"', 'class = "personal"', "personal data needs 'purpose'"),
    Case("protection", 'class = "open"', 'class = "personal"', "personal data needs 'basis'"),
    Case("protection", 'class = "open"', 'class = "personal"', "personal data needs 'retention'"),
    Case("protection", 'rate = "year"', 'rate = "year"\nreaders = ["gardener"]', "no audience is called 'gardener'",
         at='readers = ["gardener"]'),
    Case("protection", 'rate = "year"', 'rate = "year"\nreaders = ["public"]', "public reads what has class = open",
         at='readers = ["public"]'),
    Case("private", HEALTHY, 'mobile = { type = "string", title = { zh = "号", en = "No" } }',
         "looks as if it named"),
    Case("private", HEALTHY, 'mobile = { type = "string", private = "phone", title = { zh = "号", en = "Number" } }',
         "open data identifies nobody"),
    Case("private", HEALTHY,
         'plate = { type = "integer", unit = "1", private = "plate", title = { zh = "号", en = "No" } }',
         "kept as a text"),
    Case("people", 'rate = "year"', 'rate = "year"\npeople = "height_m"', "people names an integer field",
         at='people = "height_m"'),
    Case("closed_fields", 'tree_id = { type = "string", title = { zh = "编号", en = "Tree" } }',
         'tree_id = { type = "string", class = "department", title = { zh = "编号", en = "Tree" } }',
         "everyone needs it"),
    Case("edits", 'rate = "year"', 'rate = "year"\nedits = { plant = { colour = "green" } }', "sets 'colour'",
         at='edits = { plant = { colour = "green" } }'),
    Case("sources", 'map = { hoehe = "height_m", laenge = "lon" }', 'map = { hoehe = "height" }', "leads to 'height'"),
    Case("sources", 'tree_id = "@id"', 'name = "@id"', "osm.map fills 'name', which is not a field"),
    Case("sources", 'map = { healthy = "healthy" }', 'map = { sick = "healthy" }', "demo.map fills 'sick'"),
    Case("incident_rules", 'measure = "inside"', 'measure = "gate_id"', "no numeric field", contract=GATES),
    Case("incident_rules", 'class = "department"', 'class = "security"', "not of personal or secret data",
         at="[[rules]]", contract=GATES),
    Case("demo", 'map = { healthy = "healthy" }', 'map = { healthy = "age >" }', "not an SQL expression"),
    Case("demo", 'where = "age > 100"', 'where = "age > ("', "not an SQL expression"),
    Case("demo", 'where = "age > 100"', 'format = "tif"', "coverages, and only they"),
    Case("style", 'circle = { colour = "#009E73" }', 'circle = { colour = "species" }', "neither a hex colour nor"),
    Case("style", 'label = "tree_id"', 'label = "name"', "label is 'name', which is not a field"),
    Case("travelled", 'label = "tree_id"', 'label = "tree_id"\n[closes]\nreason = "why"', "'why' is not a field",
         at='reason = "why"'),
    Case("travelled", 'label = "tree_id"', 'label = "tree_id"\n[dispatch]\nprofile = "tank"', "travels as 'tank'",
         at='profile = "tank"'),
    # What the gate of the public map refuses.
    Case("gate", 'class = "open"', 'class = "open"\nsensitive = "cameras"', "it shows cameras", at='class = "open"'),
    Case("gate", 'title = { zh = "古树", en = "Old trees" }', 'title = { zh = "摄像机", en = "Old trees" }',
         "speaks of '摄像'", at='class = "open"'),
    Case("gate", HEALTHY, HEALTHY.replace("Healthy", "Mobile phone"), "speaks of 'Mobile phone'", at='class = "open"'),
    # What the model itself refuses.
    Case("model", 'kind = "feature"', 'kind = "thing"', "kind: input should be 'feature'"),
    Case("model", 'class = "open"', 'class = "secret"', "class: input should be 'open'"),
    Case("model", 'rate = "year"', 'rate = "often"', "rate: string should match pattern"),
    Case("model", 'rate = "year"', 'rate = "year"\nflag = 1', "flag: extra inputs are not permitted", at="flag = 1"),
    Case("model", 'owner = "市园林局"', "", "owner: field required", at=1),
    Case("model", POINT, POINT.replace('datum = "wgs84", ', ""), "datum: field required"),
    Case("model", POINT, POINT.replace("wgs84", "wgs72"), "datum: string should match pattern"),
    Case("model", POINT, "rungs = []", "place.rungs: tuple should have at least 1 item"),
    Case("model", HEALTHY, HEALTHY.replace('zh = "健康", ', ""), "fields.healthy.title.zh: field required"),
    Case("model", "resolution = 8", "resolution = 16", "resolution: input should be less than or equal to 15"),
)  # fmt: skip


def _problems(folder: Path, name: str, text: str) -> list[Problem]:
    parks = folder / "parks"
    parks.mkdir()
    for stem, content in {"system": SYSTEM, "trees": TREES, "gates": GATES, name: text}.items():
        (parks / f"{stem}.toml").write_text(content, encoding="utf-8")
    return read_catalog([folder])[1]


def test_the_unbroken_contracts_pass(tmp_path: Path) -> None:
    assert _problems(tmp_path, "trees", TREES) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}: {case.words[:60]}")
def test_fault_is_found_on_its_line(tmp_path: Path, case: Case) -> None:
    name = "gates" if case.contract.startswith('id = "parks.gates"') else "trees"
    problems = [problem for problem in _problems(tmp_path, name, case.text) if problem.path.stem == name]
    assert (case.line, True) in [(problem.line, case.words in problem.what) for problem in problems], problems


def test_every_rule_is_broken_once() -> None:
    assert {rule.__name__ for rule in RULES} <= {case.rule for case in CASES}
