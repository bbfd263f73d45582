"""Rule: personal data say why they are held, and readers are audiences."""

from collections.abc import Iterator

from layers.checks.raw import Fault, Raw, texts
from twin.access import Audience
from twin.errors import InvalidRequest

__all__ = ["protection"]


def protection(raw: Raw) -> Iterator[Fault]:
    """Personal data say why they are held, and readers are audiences."""
    if raw.get("class") == "personal":
        for word in ("purpose", "basis", "retention"):
            if not raw.get(word):
                yield ("class",), f"personal data needs {word!r}: without it nobody may hold them"
    for position, reader in enumerate(texts(raw.get("readers"))):
        try:
            audience = Audience(reader)
        except InvalidRequest as error:
            yield ("readers", position), str(error)
            continue
        if audience.name == "public":
            yield ("readers", position), "the public reads what has class = open; nothing else"
