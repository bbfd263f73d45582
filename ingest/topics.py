"""Messages that come under a topic: kept with it, since it says what they are about."""

from collections.abc import Mapping

from ingest.codecs.messages import FrameError, Record

__all__ = ["TOPIC", "add_topic", "dataset_of", "with_topic", "without_topic"]

TOPIC = "@topic"
"""Name of the topic in a record; `@topic.1` is its second level, and so on."""

_MARK = b"topic "


def with_topic(topic: str, payload: bytes) -> bytes:
    """A message as the inbox keeps it: a line with the topic, then what came under it."""
    return _MARK + topic.encode() + b"\n" + payload


def without_topic(message: bytes) -> tuple[str, bytes]:
    """Topic and payload. Raises FrameError."""
    line, newline, payload = message.partition(b"\n")
    if not newline or not line.startswith(_MARK):
        raise FrameError("it was kept without its topic.")
    return line[len(_MARK) :].decode("utf-8", "replace"), payload


def add_topic(record: Record, topic: str) -> None:
    """Let a record say under which topic it came."""
    record[TOPIC] = topic
    for level, word in enumerate(topic.split("/")):
        record[f"{TOPIC}.{level}"] = word


def dataset_of(topic: str, topics: Mapping[str, str]) -> str | None:
    """The dataset of the first filter that a topic matches (`+` is any level, `#` the rest)."""
    return next((dataset for wanted, dataset in topics.items() if _matches(topic, wanted)), None)


def _matches(topic: str, wanted: str) -> bool:
    words, filters = topic.split("/"), wanted.split("/")
    for at, word in enumerate(filters):
        if word == "#":
            return True
        if at >= len(words) or word not in {"+", words[at]}:
            return False
    return len(words) == len(filters)
