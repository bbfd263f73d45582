"""The catalogue as it is, and how it is read."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from layers.catalog import BUILT_IN, Catalog, read_catalog, read_contract
from layers.contract import Contract, StylePart
from twin.city import Title
from twin.errors import ContractError, NotFound

SYSTEMS = {
    "data_centre": "1",
    "egov": "P1",
    "sharing": "P2",
    "wifi": "P3",
    "innovation": "P4",
    "operations": "P5",
    "video": "P6",
    "industry": "C1",
    "services": "C2",
    "community": "C3",
    "agriculture": "C4",
    "education": "C5",
    "medical": "C6",
    "tourism": "C7",
    "social_security": "C8",
    "urban_management": "C9",
    "environment": "C10",
    "work_safety": "C11",
    "food_drug": "C12",
    "transport": "C13",
    "commerce": "C14",
    "housing": "C15",
    "energy": "C16",
}
FIXED_DATASETS = {
    "sharing.boundaries",
    "sharing.standard_addresses",
    "sharing.legal_entities",
    "sharing.population",
    "wifi.access_points",
    "wifi.online_counts",
    "operations.events",
    "operations.grid_cells",
    "operations.resources",
    "video.cameras",
    "video.camera_status",
    "medical.institutions",
    "medical.ambulances",
    "education.schools",
    "environment.air_stations",
    "environment.outlets",
    "work_safety.major_hazards",
    "transport.roads",
    "transport.buses",
    "transport.vehicles",
    "transport.counts",
    "tourism.scenic_areas",
    "services.hotline_tickets",
    "energy.meters",
    "housing.buildings",
    "data_centre.sites",
}
TARGETS_OF_THE_PLAN = {
    "egov.systems_migrated_share",
    "egov.old_rooms_closed_share",
    "sharing.departments_connected",
    "wifi.busy_places_covered_share",
    "video.networks_joined",
}
SHOWN_AT_FIRST = {"sharing.boundaries", "medical.institutions", "education.schools", "tourism.scenic_areas"}
GROUNDS = ("#F6F7F9", "#0B1320")
"""The ground of the light and of the dark map."""

_CJK = re.compile(r"[\u4e00-\u9fff]")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    found, problems = read_catalog([BUILT_IN])
    assert problems == []
    return found


def test_the_23_systems_of_the_plan(catalog: Catalog) -> None:
    assert {system.id: system.number for system in catalog.systems.values()} == SYSTEMS


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_has_datasets_and_an_indicator(catalog: Catalog, system: str) -> None:
    contracts = [contract for contract in catalog if contract.system == system]
    assert len(contracts) >= 2
    assert any(contract.indicators for contract in contracts)


def test_fixed_ids_are_there(catalog: Catalog) -> None:
    assert FIXED_DATASETS - set(catalog.contracts) == set()
    assert TARGETS_OF_THE_PLAN - {indicator.id for _, indicator in catalog.indicators()} == set()


def test_reading_order_and_digests(catalog: Catalog) -> None:
    assert [contract.id for contract in catalog] == sorted(catalog.contracts)
    assert list(catalog.systems) == sorted(SYSTEMS)
    assert set(catalog.digests) == set(catalog.contracts)
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in catalog.digests.values())


def test_looking_up(catalog: Catalog) -> None:
    assert catalog["transport.roads"].name == "roads"
    contract, indicator = catalog.indicator("environment.pm25_mean")
    assert (contract.id, indicator.parsed.how, indicator.parsed.field) == ("environment.air_stations", "mean", "pm25")
    with pytest.raises(NotFound):
        catalog["transport.canals"]
    with pytest.raises(NotFound):
        catalog.indicator("environment.happiness")


def _titles(catalog: Catalog) -> Iterator[tuple[str, Title]]:
    for system in catalog.systems.values():
        yield system.id, system.title
        yield system.id, system.description
    for contract in catalog:
        yield contract.id, contract.title
        assert contract.description is not None, contract.id
        yield contract.id, contract.description
        for indicator in contract.indicators:
            yield indicator.id, indicator.title
        for name, spec in contract.fields.items():
            yield f"{contract.id}.{name}", spec.title
            for code, meaning in spec.values.items():
                yield f"{contract.id}.{name}={code}", meaning


def test_every_title_is_bilingual(catalog: Catalog) -> None:
    wrong = [(where, title) for where, title in _titles(catalog) if not _CJK.search(title.zh) or _CJK.search(title.en)]
    assert wrong == []
    owners = [owner.owner for owner in (*catalog, *catalog.systems.values())]
    assert [owner for owner in owners if not _CJK.search(owner)] == []


def test_personal_data_are_closed(catalog: Catalog) -> None:
    personal = [contract for contract in catalog if contract.data_class == "personal"]
    assert len(personal) >= 4
    for contract in personal:
        assert contract.purpose, contract.id
        assert contract.basis, contract.id
        assert contract.retention, contract.id
        assert "public" not in contract.readers


def test_only_counts_that_identify_nobody_are_open(catalog: Catalog) -> None:
    for contract, indicator in catalog.indicators():
        if indicator.data_class is not None:
            assert contract.data_class == "department", indicator.id
            # An extreme is the value of a single record.
            assert indicator.parsed.how not in {"min", "max"}, indicator.id


def test_no_identifier_of_a_person_is_kept(catalog: Catalog) -> None:
    forbidden = re.compile(r"phone|telephone|id_number|id_card|plate|mac(_|$)|person")
    assert [f"{c.id}.{name}" for c in catalog for name in c.fields if forbidden.search(name)] == []


def test_key_fields_are_required(catalog: Catalog) -> None:
    assert [f"{c.id}.{name}" for c in catalog for name in c.key if not c.fields[name].required] == []


def test_registers_are_found_by_their_key(catalog: Catalog) -> None:
    """A rung looks a register up by one value, so the register is a state with one key field."""
    for contract in catalog:
        for rung in contract.place.rungs:
            if rung.by in {"device", "area"}:
                register = catalog[rung.register_]
                assert not register.is_stream, contract.id
                assert len(register.key) == 1, contract.id
                looked_up = rung.id if rung.by == "device" else rung.code
                assert contract.fields[looked_up].type == register.fields[register.key[0]].type


def test_codes_of_openstreetmap_are_ours(catalog: Catalog) -> None:
    for contract in (contract for contract in catalog if contract.osm):
        osm = contract.osm
        for name, translation in osm.values.items():
            assert name in osm.map, contract.id
            if contract.fields[name].values:
                assert set(translation.values()) <= set(contract.fields[name].values), f"{contract.id}.{name}"
        for name, tag in osm.map.items():
            if tag == "@tag" and "*" not in osm.values[name]:
                accepted = {value for values in osm.where.values() for value in values}
                assert accepted <= set(osm.values[name]), f"{contract.id}.{name}"
        assert "@id" in [osm.map[name] for name in contract.key]


def test_the_map_opens_with_four_layers(catalog: Catalog) -> None:
    assert {contract.id for contract in catalog if contract.style.default} == SHOWN_AT_FIRST
    assert all(catalog[dataset].data_class == "open" for dataset in SHOWN_AT_FIRST)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    """Contrast ratio after WCAG 2.2."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _parts(contract: Contract) -> Iterator[StylePart]:
    yield from (part for part in (contract.style.circle, contract.style.line, contract.style.fill) if part)


def test_every_layer_is_drawn_readably(catalog: Catalog) -> None:
    """Graphics need a contrast of 3 to their ground (WCAG 2.2, 1.4.11), on the light and the dark map."""
    for contract in catalog:
        assert list(_parts(contract)), f"{contract.id} is not drawn"
        for part in _parts(contract):
            if part.colour.startswith("#"):
                assert min(_contrast(part.colour, ground) for ground in GROUNDS) >= 3, f"{contract.id} {part.colour}"
            elif part.ramp == "category":
                assert contract.fields[part.colour].values, f"{contract.id}: {part.colour} has no codes"
            else:
                assert contract.fields[part.colour].type in {"integer", "float"}, contract.id


def test_geometry_has_a_style(catalog: Catalog) -> None:
    needed = {"point": "circle", "line": "line", "polygon": "fill"}
    for contract in catalog:
        if contract.kind != "coverage" and contract.geometry in needed:
            style = contract.style
            drawn = getattr(style, needed[contract.geometry]) or (contract.geometry == "polygon" and style.line)
            assert drawn, f"{contract.id} is a {contract.geometry} without a style for it"


def test_district_file_without_datum_needs_one(catalog: Catalog) -> None:
    boundaries = catalog["sharing.boundaries"]
    assert [(rung.by, rung.datum) for rung in boundaries.place.rungs] == [("geometry", "per_file")]
    assert boundaries.key == ("code",)
    assert boundaries.fields["code"].type == "string"
    assert "adcode" in boundaries.fields["code"].aliases


def test_population_grid_keeps_the_sum(catalog: Catalog) -> None:
    grid = catalog["sharing.population_grid"]
    measures = {indicator.measure for indicator in grid.indicators}
    assert {"sum(population)", "sum(schools)", "sum(jobs)", "sum(healthcare)"} <= measures
    assert all(grid.fields[name].type == "integer" for name in ("population", "schools", "jobs", "healthcare"))


# How contracts are read: what is wrong with a file is said with its line, and the rest of the catalogue stands.

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

[place]
rungs = [{ by = "coordinate", x = "lon", y = "lat", datum = "wgs84", accuracy_m = 5 }]

[fields]
tree_id = { type = "string", title = { zh = "编号", en = "Tree" } }

[[indicators]]
id = "parks.trees"
measure = "count()"
resolution = 9
title = { zh = "古树数", en = "Old trees" }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "parks").mkdir()
    (tmp_path / "parks/system.toml").write_text(SYSTEM, encoding="utf-8")
    (tmp_path / "parks/trees.toml").write_text(TREES, encoding="utf-8")
    return tmp_path


def _read(folder: Path, name: str, text: str) -> list[tuple[int, str]]:
    """Write a file below the folder, read the catalogue, and give line and words of each problem."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return [(problem.line, problem.what) for problem in read_catalog([folder])[1]]


def test_right_files_have_no_problem(folder: Path) -> None:
    found, problems = read_catalog([folder])
    assert problems == []
    assert list(found.contracts) == ["parks.trees"]
    assert read_contract(folder / "parks/trees.toml") == found["parks.trees"]


def test_all_faults_at_once_each_with_its_line(folder: Path) -> None:
    text = TREES.replace('"feature"', '"thing"').replace('["tree_id"]', '["stem_id"]').replace("count()", "median()")
    text = text.replace('zh = "编号", ', "").replace('datum = "wgs84"', 'datum = "none"')
    problems = _read(folder, "parks/trees.toml", text)
    assert [line for line, _ in problems] == [2, 7, 11, 14, 18]
    with pytest.raises(ContractError) as error:
        read_contract(folder / "parks/trees.toml")
    assert [f"trees.toml:{line}: " in str(error.value) for line in (2, 7, 11, 14, 18)] == [True] * 5


def test_a_faulty_contract_does_not_hide_the_others(folder: Path) -> None:
    problems = _read(
        folder, "parks/ponds.toml", TREES.replace("parks.trees", "parks.ponds").replace('"open"', '"secret"')
    )
    assert [line for line, _ in problems] == [5]
    assert list(read_catalog([folder])[0].contracts) == ["parks.trees"]


def test_not_toml(folder: Path) -> None:
    ((line, what),) = _read(folder, "parks/trees.toml", TREES.replace('kind = "feature"', "kind = feature"))
    assert line == 2
    assert what.startswith("not TOML")


def test_not_utf8(folder: Path) -> None:
    (folder / "parks/trees.toml").write_bytes(TREES.encode("gb18030"))
    ((what),) = [problem.what for problem in read_catalog([folder])[1]]
    assert what.startswith("not TOML")


def test_system_not_toml(folder: Path) -> None:
    problems = _read(folder, "parks/system.toml", 'id = "parks')
    assert problems[0][1].startswith("not TOML")
    assert problems[1] == (1, "the system 'parks' has no system.toml")


def test_system_with_faults(folder: Path) -> None:
    problems = _read(folder, "parks/system.toml", SYSTEM.replace('zh = "公园", ', ""))
    assert problems[0] == (3, "title.zh: field required")


def test_wrong_folder(folder: Path) -> None:
    problems = _read(folder, "zoo/trees.toml", TREES)
    assert problems == [(1, "the id of this file is 'zoo.trees'")]
    problems = _read(folder, "zoo/system.toml", SYSTEM)
    assert (1, "the id of this system is 'zoo'") in problems


def test_dataset_without_system(folder: Path) -> None:
    problems = _read(folder, "zoo/animals.toml", TREES.replace("parks.trees", "zoo.animals"))
    assert problems == [(1, "the system 'zoo' has no system.toml")]


def test_a_later_folder_adds_but_does_not_replace(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    later = tmp_path_factory.mktemp("later")
    ponds = TREES.replace("parks.trees", "parks.ponds")
    assert _read(later, "parks/ponds.toml", ponds) == [(1, "the system 'parks' has no system.toml")]
    found, problems = read_catalog([folder, later])
    assert (list(found.contracts), problems) == (["parks.ponds", "parks.trees"], [])
    (later / "parks/trees.toml").write_text(TREES.replace("古树", "树木"), encoding="utf-8")
    found, problems = read_catalog([folder, later])
    assert [str(problem) for problem in problems] == [
        f"{later}/parks/trees.toml:1: the dataset 'parks.trees' is declared twice"
    ]
    assert found["parks.trees"].title.zh == "古树"


def test_unknown_register(folder: Path) -> None:
    text = TREES.replace(
        '{ by = "coordinate", x = "lon", y = "lat", datum = "wgs84", accuracy_m = 5 }',
        '{ by = "device", id = "tree_id", register = "parks.forests" }',
    )
    assert [what for _, what in _read(folder, "parks/trees.toml", text)] == [
        "parks.trees: the register 'parks.forests' is no dataset"
    ]


def test_indicator_of_two_datasets(folder: Path) -> None:
    problems = _read(folder, "parks/ponds.toml", TREES.replace('"parks.trees"\nkind', '"parks.ponds"\nkind'))
    assert [what for _, what in problems] == ["the indicator 'parks.trees' is declared by parks.ponds too"]
