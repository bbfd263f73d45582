"""Rule: what is said of travel names fields that are there, and words that mean something."""

import tomllib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from layers.checks.raw import Fault, Raw, table

__all__ = ["travelled"]

_PROFILES = Path(__file__).parents[1] / "roads" / "profiles.toml"
_CLASSES = "class_kmh"


def travelled(raw: Raw) -> Iterator[Fault]:
    """Roads have classes that are known; what `roads`, `closes` and `dispatch` name are fields."""
    fields = table(raw, "fields")
    for key in ("roads", "closes", "dispatch"):
        said = table(raw, key)
        named = {word: name for word, name in said.items() if isinstance(name, str) and word != "profile"}
        named |= {f"available.{name}": name for name in table(said, "available")}
        for word, name in named.items():
            if name not in fields:
                yield (key, *word.split(".")), f"{name!r} is not a field"
    known = _known()
    classes = table(table(fields, str(table(raw, "roads").get("road_class"))), "values")
    for name in classes:
        if name not in known[_CLASSES]:
            yield ("roads", "road_class"), f"nobody knows how fast a road of class {name!r} is"
    profile = table(raw, "dispatch").get("profile", "car")
    if profile not in known.keys() - {_CLASSES}:
        yield ("dispatch", "profile"), f"nobody travels as {profile!r}"


@lru_cache(1)
def _known() -> dict[str, dict[str, object]]:
    """The profiles, and the classes of roads."""
    return tomllib.loads(_PROFILES.read_text(encoding="utf-8"))
