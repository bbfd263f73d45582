"""Rule: the map draws by fields and colours."""

from collections.abc import Iterator

from layers.checks.raw import Fault, Raw, table

__all__ = ["style"]


def style(raw: Raw) -> Iterator[Fault]:
    """The map draws by fields and colours."""
    fields, style = table(raw, "fields"), table(raw, "style")
    for word in ("circle", "line", "fill"):
        colour = table(style, word).get("colour")
        if isinstance(colour, str) and not colour.startswith("#") and colour not in fields:
            yield ("style", word, "colour"), f"colour is {colour!r}, which is neither a hex colour nor a field"
    label = style.get("label")
    if isinstance(label, str) and label not in fields:
        yield ("style", "label"), f"label is {label!r}, which is not a field"
