"""Styles: what a contract's style becomes on the map and in the legend."""

from itertools import pairwise
from typing import Any

import pytest

from layers.contract import Contract
from layers.style import AIR, OKABE_ITO, classes, legend, maplibre_layers


def contract(style: dict[str, Any], geometry: str = "point", **fields: dict[str, Any]) -> Contract:
    title = {"zh": "题", "en": "Title"}
    own = {name: {"title": {"zh": name, "en": name}, **spec} for name, spec in fields.items()}
    return Contract.model_validate(
        {
            "id": "parks.things",
            "kind": "feature",
            "title": title,
            "owner": "园林局",
            "class": "open",
            "rate": "day",
            "key": ["name"],
            "geometry": geometry,
            "place": {"rungs": [{"by": "geometry", "datum": "wgs84", "accuracy_m": 5}]},
            "fields": {"name": {"type": "string", "title": title}, **own},
            "style": style,
        }
    )


VALUES = {"values": {code: {"zh": f"{code}字", "en": f"{code} word"} for code in ("b", "a", "c")}}


def test_categories_take_their_colours_in_the_order_of_the_values() -> None:
    made = contract({"circle": {"colour": "kind"}}, kind={"type": "string", **VALUES})
    signs = legend(made)
    assert [sign["colour"] for sign in signs] == list(OKABE_ITO[:3])
    assert [sign["label"]["en"] for sign in signs] == ["b word", "a word", "c word"]
    circle = maplibre_layers(made)[-1]
    expression = circle["paint"]["circle-color"]
    assert expression[:2] == ["match", ["to-string", ["get", "kind"]]]
    assert expression[2:8] == ["b", OKABE_ITO[0], "a", OKABE_ITO[1], "c", OKABE_ITO[2]]


def test_no_two_of_twenty_values_share_a_colour() -> None:
    many = {"values": {f"v{n}": {"zh": "值", "en": "Value"} for n in range(20)}}
    signs = legend(contract({"circle": {"colour": "kind"}}, kind={"type": "string", **many}))
    assert len({sign["colour"] for sign in signs}) == 20
    assert [sign["colour"] for sign in signs[:8]] == list(OKABE_ITO)


def test_the_legend_shows_the_part_that_shows_a_field() -> None:
    style = {"line": {"colour": "#123456"}, "fill": {"colour": "kind"}}
    signs = legend(contract(style, "polygon", kind={"type": "string", **VALUES}))
    assert [(sign["shape"], sign["label"]["en"]) for sign in signs] == [
        ("fill", "b word"),
        ("fill", "a word"),
        ("fill", "c word"),
    ]


def test_signs_of_points_grow_with_the_zoom() -> None:
    paint = maplibre_layers(contract({"circle": {"colour": "#123456", "radius_px": 6}}))[-1]["paint"]
    assert paint["circle-radius"] == ["interpolate", ["linear"], ["zoom"], 9, 2.4, 14, 6]


def test_the_air_index_has_the_classes_of_the_standard() -> None:
    index = contract({"circle": {"colour": "aqi", "ramp": "air"}}, aqi={"type": "integer", "unit": "1"})
    step = maplibre_layers(index)[-1]["paint"]["circle-color"][2]
    assert step[2:] == [AIR[0], 51, AIR[1], 101, AIR[2], 151, AIR[3], 201, AIR[4], 301, AIR[5]]
    assert legend(index)[1]["label"] == {"zh": "良 ≥ 51", "en": "Good ≥ 51"}
    dust = contract({"circle": {"colour": "pm25", "ramp": "air"}}, pm25={"type": "float", "unit": "ug/m3"})
    assert maplibre_layers(dust)[-1]["paint"]["circle-color"][2][3:12:2] == [35, 75, 115, 150, 250]
    assert legend(dust)[5]["label"]["zh"] == "严重污染 ≥ 250 ug/m3"


def test_a_diverging_ramp_has_zero_in_the_middle() -> None:
    made = contract(
        {"fill": {"colour": "change", "ramp": "diverging"}},
        "polygon",
        change={"type": "float", "unit": "m", "range": [-2, 10]},
    )
    step = maplibre_layers(made)[0]["paint"]["fill-color"][2]
    bounds = [float("-inf"), *step[3::2]]
    middle = step[2::2].index("#F7F7F7")
    assert bounds[middle] < 0 < bounds[middle + 1]
    assert bounds[middle] == -bounds[middle + 1]


def test_fills_lie_below_lines_below_circles_below_labels() -> None:
    parts = {"colour": "#123456"}
    made = contract(
        {"circle": parts, "line": parts, "fill": {**parts, "opacity": 0.0}, "label": "name", "minzoom": 14}, "any"
    )
    layers = maplibre_layers(made)
    assert [layer["type"] for layer in layers] == ["fill", "line", "circle", "symbol"]
    assert layers[0]["paint"]["fill-opacity"] == 0.0, "what the contract says, also when it is nothing"
    assert layers[3]["layout"]["text-field"] == ["get", "name"]
    assert layers[3]["minzoom"] == 16, "names come after what they name"
    assert not {"id", "source", "source-layer"} & {key for layer in layers for key in layer}


def test_what_is_known_only_by_its_area_is_drawn_as_an_area() -> None:
    layers = maplibre_layers(contract({"circle": {"colour": "#123456"}}))
    assert [layer["type"] for layer in layers] == ["line", "circle"]
    assert "line-dasharray" in layers[0]["paint"]
    assert layers[0]["filter"][2] == ["Polygon", "MultiPolygon"]


def test_one_colour_has_one_sign_with_the_title() -> None:
    made = contract({"line": {"colour": "#123456"}}, "line")
    assert legend(made) == [{"colour": "#123456", "shape": "line", "label": {"zh": "题", "en": "Title"}}]
    assert legend(contract({})) == maplibre_layers(contract({})) == []


@pytest.mark.parametrize(
    "values",
    [
        [1.0, 2.0, 3.0, 50.0, 700.0, 9_000.0, 100_000.0],
        list(range(1000)),
        [0.0] * 900 + [1.0] * 10,
        [-5.0, -1.0, 0.0, 1.0, 5.0],
        [3.3],
        [0.00012, 0.00034, 0.0021],
        [float("nan"), 1.0, 2.0],
    ],
)
def test_classes_hold_every_value_once_and_begin_at_round_numbers(values: list[float]) -> None:
    found = classes(values)
    assert 1 <= len(found) <= 6
    assert all(one.end == other.start for one, other in pairwise(found))
    assert found[-1].end is None
    finite = [value for value in values if value == value]  # noqa: PLR0124
    for value in finite:
        assert sum(one.start <= value and (one.end is None or value < one.end) for one in found) == 1
    for one in found:
        assert f"{one.start:.2g}" == f"{float(f'{one.start:.6g}'):.2g}"
        assert float(f"{one.start:.2g}") == pytest.approx(one.start)
    assert len({one.colour for one in found}) == len(found)


def test_nothing_has_no_classes() -> None:
    assert classes([]) == classes([float("nan")]) == []


def test_many_values_have_six_classes_of_like_size() -> None:
    values = [float(value) for value in range(1000)]
    found = classes(values)
    sizes = [sum(one.start <= v and (one.end is None or v < one.end) for v in values) for one in found]
    assert len(found) == 6
    assert max(sizes) <= 2 * min(sizes)
