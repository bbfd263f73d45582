"""A contract's style -> MapLibre layers and a legend; classes and colours for numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from layers.contract import Contract, FieldSpec, StylePart
from twin.city import Title

__all__ = ["Class", "classes", "legend", "maplibre_layers"]

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#7A7A7A")
"""Eight colours that people with colour vision deficiencies can tell apart (Okabe and Ito, 2008)."""


def _mixed(colour: str, other: int, share: float) -> str:
    parts = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round(part + (other - part) * share):02X}" for part in parts)


CATEGORIES = (
    *OKABE_ITO,
    *(_mixed(colour, 0, 0.4) for colour in OKABE_ITO),
    *(_mixed(colour, 255, 0.5) for colour in OKABE_ITO),
)
"""Colours of a field's values in their order: the eight, then their dark and their light shades."""

CIVIDIS = ("#00224E", "#123570", "#3B496C", "#575D6D", "#707173", "#8A8678", "#A59C74", "#C3B369", "#E1CC55", "#FEE838")
"""Sequential ramp that reads the same with and without full colour vision (Nunez, Anderton and Renslow, 2018)."""

DIVERGING = ("#2166AC", "#67A9CF", "#D1E5F0", "#F7F7F7", "#FDDBC7", "#EF8A62", "#B2182B")
"""Blue, white, red: for differences, with zero in the middle."""

AIR = ("#00E400", "#FFFF00", "#FF7E00", "#FF0000", "#99004C", "#7E0023")
_AIR_NAMES = (
    Title(zh="优", en="Excellent"),
    Title(zh="良", en="Good"),
    Title(zh="轻度污染", en="Lightly polluted"),
    Title(zh="中度污染", en="Moderately polluted"),
    Title(zh="重度污染", en="Heavily polluted"),
    Title(zh="严重污染", en="Severely polluted"),
)
_AIR_INDEX, _AIR_PM25 = (0, 51, 101, 151, 201, 301), (0, 35, 75, 115, 150, 250)
"""Where the six classes after HJ 633 begin: of the index (a number without unit), and of PM2.5 in ug/m3."""

_NO_DATA = "#B8C0CC"
_RADIUS_PX, _WIDTH_PX = 5.0, 1.5
_SIGN_ZOOMS, _SMALLEST_SIGN = (9, 14), 0.4
_BREAKS = 5
_LABEL_MINZOOM, _LABELS_AFTER = 12, 2
"""Names appear from this zoom on, and this many zooms after what they name: at first there are too many."""
_FONTS = ("Noto Sans SC", "Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", "sans-serif")


@dataclass(frozen=True, slots=True)
class Class:
    """One class of a legend: values from `start` up to, not including, `end` (None: open), and its colour."""

    start: float
    end: float | None
    colour: str

    @property
    def label(self) -> str:
        """The class in words, the same in all languages."""
        return f"≥ {self.start:,.6g}" if self.end is None else f"{self.start:,.6g} – {self.end:,.6g}"


def classes(values: Sequence[float], ramp: Sequence[str] = CIVIDIS) -> list[Class]:
    """Up to six classes of equal numbers of `values`, with round breaks; fewer when the values do not differ enough."""
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return []
    quantiles = np.quantile(finite, np.linspace(0, 1, _BREAKS + 2)[1:-1])
    low = float(finite.min())
    breaks = sorted({rounded for rounded in map(_round, quantiles) if low < rounded <= finite.max()})
    starts = [_floor(low), *breaks]
    colours = [ramp[round(at * (len(ramp) - 1) / max(1, len(starts) - 1))] for at in range(len(starts))]
    ends: list[float | None] = [*starts[1:], None]
    return [Class(start, end, colour) for start, end, colour in zip(starts, ends, colours, strict=True)]


def _step(value: float) -> float:
    return 10.0 ** (math.floor(math.log10(abs(value))) - 1) if value else 1.0


def _round(value: float) -> float:
    """The value with two significant digits."""
    step = _step(value)
    return float(f"{round(value / step) * step:.12g}")


def _floor(value: float) -> float:
    step = _step(value)
    return float(f"{math.floor(value / step) * step:.12g}")


def maplibre_layers(contract: Contract) -> list[dict[str, Any]]:
    """The dataset's MapLibre layers, without id, source and source layer: fill below line below circle."""
    style, found = contract.style, list[dict[str, Any]]()
    if style.fill:
        paint = {"fill-color": _colour(contract, style.fill), "fill-opacity": _or(style.fill.opacity, 0.4)}
        found.append({"type": "fill", "paint": paint, "filter": _of("Polygon")})
    if style.line:
        paint = {
            "line-color": _colour(contract, style.line),
            "line-width": _or(style.line.width_px, _WIDTH_PX),
            "line-opacity": _or(style.line.opacity, 1.0),
        }
        layout = {"line-cap": "round", "line-join": "round"}
        # Areas have an outline too.
        found.append({"type": "line", "paint": paint, "layout": layout, "filter": ["!", _of("Point")]})
    if style.circle:
        if not style.fill and not style.line:
            # What is known only by its area is drawn as that area, not as a point that nobody has seen.
            paint = {"line-color": _colour(contract, style.circle), "line-width": 1, "line-dasharray": [3, 2]}
            found.append({"type": "line", "paint": paint, "filter": _of("Polygon")})
        paint = {
            "circle-color": _colour(contract, style.circle),
            "circle-radius": _grown(_or(style.circle.radius_px, _RADIUS_PX)),
            "circle-opacity": _or(style.circle.opacity, 0.9),
            "circle-stroke-color": "#FFFFFF",
            "circle-stroke-width": _grown(1.0),
        }
        found.append({"type": "circle", "paint": paint, "filter": _of("Point")})
    if style.label:
        found.append(_label(style.label, style.minzoom))
    return found


def _grown(full_px: float) -> list[object]:
    """A size that reaches its full value in the streets: over the whole city thousands of signs share the screen."""
    small, large = _SIGN_ZOOMS
    return ["interpolate", ["linear"], ["zoom"], small, round(full_px * _SMALLEST_SIGN, 2), large, full_px]


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _label(field: str, minzoom: int) -> dict[str, Any]:
    """The name beside a feature, in the client's own fonts."""
    layout = {"text-field": ["get", field], "text-font": list(_FONTS), "text-size": 12, "text-optional": True}
    offset = {"text-variable-anchor": ["top", "bottom", "left", "right"], "text-radial-offset": 0.8}
    paint = {"text-color": "#17212E", "text-halo-color": "#FFFFFF", "text-halo-width": 1.5}
    first = max(minzoom + _LABELS_AFTER, _LABEL_MINZOOM)
    return {"type": "symbol", "layout": layout | offset, "paint": paint, "minzoom": first}


def _of(kind: str) -> list[object]:
    return ["match", ["geometry-type"], [kind, f"Multi{kind}"], True, False]


def _colour(contract: Contract, part: StylePart) -> object:
    """A colour, or the MapLibre expression that finds it from a field."""
    if part.colour.startswith("#"):
        return part.colour
    spec = contract.fields[part.colour]
    if spec.values or spec.type == "boolean":
        pairs = [item for value, colour in _categories(spec) for item in (value, colour)]
        return ["match", ["to-string", ["get", part.colour]], *pairs, _NO_DATA]
    if spec.type not in {"integer", "float"}:
        return OKABE_ITO[0]
    start, *rest = _ramp(spec, part)
    steps = [item for bound, colour in rest for item in (bound, colour)]
    number = ["to-number", ["get", part.colour]]
    return ["case", ["has", part.colour], ["step", number, start[1], *steps], _NO_DATA]


def _categories(spec: FieldSpec) -> list[tuple[str, str]]:
    values = list(spec.values) or ["true", "false"]
    return [(value, CATEGORIES[at % len(CATEGORIES)]) for at, value in enumerate(values)]


def _ramp(spec: FieldSpec, part: StylePart) -> list[tuple[float, str]]:
    """Lower bounds and colours of a number's classes: those of the air standard, or even steps of the field's range."""
    if part.ramp == "air":
        bounds = _AIR_INDEX if spec.unit == "1" else _AIR_PM25
        return [(float(bound), colour) for bound, colour in zip(bounds, AIR, strict=True)]
    low, high = spec.range or (0.0, 100.0)
    colours = CIVIDIS[::2]
    if part.ramp == "diverging":
        colours, high = DIVERGING, max(abs(low), abs(high))
        low = -high
    return [(_round(low + (high - low) * at / len(colours)), colour) for at, colour in enumerate(colours)]


def legend(contract: Contract) -> list[dict[str, Any]]:
    """The dataset's legend: colour, shape and bilingual label of each sign of the part that shows a field, if any."""
    style = contract.style
    found = [("circle", style.circle), ("line", style.line), ("fill", style.fill)]
    parts = [(shape, part) for shape, part in found if part is not None]
    if not parts:
        return []
    shape, part = next(((shape, part) for shape, part in parts if part.colour in contract.fields), parts[0])
    return [{"colour": colour, "shape": shape, "label": label} for colour, label in _signs(contract, part)]


def _signs(contract: Contract, part: StylePart) -> list[tuple[str, dict[str, str]]]:
    """The colours of a part and what each stands for."""
    spec = contract.fields.get(part.colour)
    if spec is None:
        return [(part.colour, contract.title.model_dump())]
    if spec.values:
        return [(colour, spec.values[value].model_dump()) for value, colour in _categories(spec)]
    if spec.type == "boolean":
        words = {"true": {"zh": "是", "en": "Yes"}, "false": {"zh": "否", "en": "No"}}
        return [(colour, words[value]) for value, colour in _categories(spec)]
    if spec.type in {"integer", "float"}:
        colours = (colour for _, colour in _ramp(spec, part))
        return list(zip(colours, _class_names(spec, part), strict=True))
    return [(OKABE_ITO[0], spec.title.model_dump())]


def _class_names(spec: FieldSpec, part: StylePart) -> list[dict[str, str]]:
    """The classes of a number in words: their lower bound with its unit, and of the air also what they are called."""
    unit = f" {spec.unit}" if spec.unit and spec.unit != "1" else ""
    bounds = [f"≥ {bound:g}{unit}" for bound, _ in _ramp(spec, part)]
    if part.ramp != "air":
        return [{"zh": bound, "en": bound} for bound in bounds]
    pairs = zip(_AIR_NAMES, bounds, strict=True)
    return [{"zh": f"{name.zh} {bound}", "en": f"{name.en} {bound}"} for name, bound in pairs]
