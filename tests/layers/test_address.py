"""Address texts read into their levels: a thousand labelled ones in twelve styles, and those of other cities."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layers.places.address import Address, Vocabulary, parse
from twin.city import load_city
from twin.identifiers import Identifier

CITY = load_city("zaozhuang")
ROADS = ("光明大道", "善国北路", "文化中路", "和平东路", "青檀路", "祁连山路", "康泰街", "府前街", "解放路", "泰山南路")
VILLAGES = ("罗家园村", "后曾河村", "前朱埠村", "大何村", "徐家坡村", "西何堂村")
WORDS = Vocabulary.of(CITY, VILLAGES, ROADS)
FULL_WIDTH = str.maketrans("0123456789", "０１２３４５６７８９")
NUMERALS = {12: "十二", 20: "二十", 105: "一百零五", 38: "三十八", 7: "七"}

Labelled = tuple[str, Address]


def labelled(count: int = 1_000) -> list[Labelled]:
    """Texts with what they say. Towns whose short name is another word too are written in full."""
    rng = random.Random(1616)  # noqa: S311
    found: list[Labelled] = []
    while len(found) < count:
        district = rng.choice(CITY.districts)
        town = rng.choice(district.towns)
        name, short = district.title.zh, district.title.zh
        if not short.startswith("市"):
            short = short[:-1]
        base = town.title.zh.removesuffix("街道").removesuffix("镇")
        road, other = rng.sample(ROADS, 2)
        village, number, block = rng.choice(VILLAGES), rng.randint(1, 2999), rng.randint(1, 30)
        km, m = rng.randint(100, 700), rng.randint(0, 999)
        n, b = str(number), str(block)
        door = Address(district.code, town.code, road=road, number=n)
        styles: list[Labelled] = [
            (f"山东省枣庄市{name}{town.title.zh}{road}{n}号{b}号楼", door._replace(building=b)),
            (f"枣庄市{name}{road}{n}号", door._replace(town=None)),
            (f"{short}{road}{n}号{b}栋", door._replace(town=None, building=b)),
            (f"{short}{base}{road}{n}号" if base != "中心街" else f"{short}{town.title.zh}{road}{n}号", door),
            (f" {name} {town.title.zh}，{road} {n.translate(FULL_WIDTH)} 号", door),
            (f"{road}{n}号（{name}{town.title.zh}）", door),
            (f"{name}{road}{n}号附近", door._replace(town=None, relation="附近")),
            (f"枣庄{short}{town.title.zh}{village}{n}号", Address(district.code, town.code, village, number=n)),
            (f"地址：277000 {name}{town.title.zh}{road}{n}号对面", door._replace(relation="对面")),
            (f"{town.title.zh}办事处{road}{NUMERALS[12]}号" if town.title.zh.endswith("街道") else
             f"{town.title.zh}{road}{NUMERALS[12]}号", door._replace(number="12")),
            (f"{name}{road}与{other}交叉口",
             Address(district.code, road=road, crossing=other, relation="交叉口")),
            (f"{short}G104 K{km}+{m}附近起火", Address(district.code, relation="附近")),
        ]  # fmt: skip
        text, truth = styles[len(found) % len(styles)]
        if text.startswith(town.title.zh) and len(WORDS.towns.known[town.title.zh]) > 1:
            continue
        found.append((text, truth))
    return found


def test_a_thousand_labelled_texts() -> None:
    wrong = {"district": 0, "town": 0, "street": 0}
    for text, truth in labelled():
        read = parse(text, WORDS)
        assert read.elsewhere is None, text
        wrong["district"] += read.district != truth.district
        wrong["town"] += read.town != truth.town
        wrong["street"] += (*read[2:7], read.relation) != (*truth[2:7], truth.relation)
        if " K" in text:
            assert isinstance(read.stake, Identifier), text
            assert read.stake.parts["road"] == "G104"
    assert wrong == {"district": 0, "town": 0, "street": 0}


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("枣庄高新区祁连山路", {"district": "370403", "road": "祁连山路"}),
        ("山东枣庄台儿庄古城", {"district": "370405", "rest": "古城"}),
        ("枣庄市立医院", {"district": None, "rest": "市立医院"}),
        ("滕州市北辛街道办善国北路十二号三号楼", {"town": "370481003", "number": "12", "building": "3"}),
        ("峄城区榴园镇罗家园村村口", {"town": "370404103", "village": "罗家园村"}),
        ("薛城区某某大道88号", {"district": "370403", "road": "某某大道", "number": "88"}),
        ("光明大道2621-3号", {"district": None, "road": "光明大道", "number": "2621-3"}),
        ("在104国道615公里500米处", {"district": None}),
        ("", {"district": None, "rest": ""}),
    ],
)
def test_single_texts(text: str, levels: dict[str, str | None]) -> None:
    read = parse(text, WORDS)
    assert read.elsewhere is None
    assert {name: getattr(read, name) for name in levels} == levels


@pytest.mark.parametrize(
    "text",
    [
        "济南市历下区经十路1号",
        "江苏省徐州市铜山区",
        "徐州市云龙区解放路2号",
        "河南郑州中原区",
        "西湖区文化中路3号",
        "曲阜市鼓楼北街",
    ],
)
def test_other_cities_are_elsewhere(text: str) -> None:
    read = parse(text, WORDS)
    assert read.elsewhere is not None
    assert (read.district, read.road) == (None, None)


@pytest.mark.parametrize("file", ["cpca_cases.json", "jionlp_cases.json"])
def test_published_addresses_of_other_cities_get_no_level_of_ours(shared: Callable[[str], Path], file: str) -> None:
    for case in json.loads(shared(f"addresses/{file}").read_text())["cases"]:
        read = parse(case[0], WORDS)
        assert read.district is None, case
        assert read.town is None, case


@given(st.text(alphabet="滕州市薛城区街道镇村路号楼与（)0123456789 K+附近一二十百", max_size=30) | st.text(max_size=40))
def test_any_text_is_read(text: str) -> None:
    read = parse(text, WORDS)
    assert read.town is None or read.town.startswith(read.district or "no district")
