"""Text encodings of files that do not say theirs: UTF-8 where it is, GB18030 where that makes Chinese, else refused."""

import codecs
from collections.abc import Iterator
from pathlib import Path

from twin.errors import SourceError

__all__ = ["as_utf8", "is_chinese", "known_encoding"]

_CHUNK_BYTES = 1 << 20
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_ENOUGH_CHARACTERS = 50_000

# Share of GB 2312 among the characters beyond ASCII. Read as GB18030, other encodings give rare characters: German
# as Latin-1 reaches 0.1, Chinese as UTF-8 or Big5 0.3. Chinese of today stays above 0.98.
_CHINESE_SHARE = 0.75


def as_utf8(path: Path, folder: Path, encoding: str | None) -> Path:
    """`path` itself when it is UTF-8 without a mark, else a copy in `folder` that is.

    Without `encoding` a byte order mark decides, then UTF-8, then GB18030 if what it gives is Chinese.
    Raises SourceError when none fits, or the named one does not exist or does not fit.
    """
    with path.open("rb") as source:
        head = source.read(3)
    chosen = encoding or next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)
    copy = folder / "utf8"
    try:
        if chosen is None:
            for _ in _texts(path, "utf-8"):
                pass
            return path
        _transcode(path, copy, chosen)
    except UnicodeDecodeError as error:
        if chosen is not None:
            raise _broken(error) from error
        _from_chinese(path, copy, error)
    return copy


def known_encoding(name: str) -> str:
    """Python's name of a text encoding. Raises SourceError when there is none of that name."""
    try:
        "".encode(name)
        return codecs.lookup(name).name
    except (LookupError, ValueError) as error:
        raise SourceError(
            f"no text encoding is called {name!r}.", remedy="Use for example --encoding gb18030."
        ) from error


def is_chinese(text: str) -> bool:
    """Whether the characters of `text` beyond ASCII are mostly those of GB 2312; true when there are none."""
    beyond = "".join(character for character in text if character > "\x7f")[:_ENOUGH_CHARACTERS]
    return len(beyond.encode("gb2312", "ignore")) / 2 >= _CHINESE_SHARE * len(beyond)


def _from_chinese(path: Path, copy: Path, utf8: UnicodeDecodeError) -> None:
    try:
        chinese = _transcode(path, copy, "gb18030")
    except UnicodeDecodeError:
        chinese = False
    if not chinese:
        raise SourceError(
            f"the text is neither UTF-8 (byte {utf8.start + 1} does not fit) nor Chinese in GB18030.",
            remedy="Save the file as UTF-8, or name its encoding with --encoding.",
        ) from utf8


def _broken(error: UnicodeDecodeError) -> SourceError:
    return SourceError(
        f"the text is not {error.encoding}: byte {error.start + 1} does not fit.",
        remedy="Name the file's encoding with --encoding, or save it as UTF-8.",
    )


def _transcode(path: Path, copy: Path, encoding: str) -> bool:
    """Write `path` to `copy` as UTF-8. Returns whether its first part that is not ASCII is Chinese."""
    chinese: bool | None = None
    with copy.open("wb") as target:
        for text in _texts(path, known_encoding(encoding)):
            target.write(text.encode("utf-8", "replace"))
            if chinese is None and not text.isascii():
                chinese = is_chinese(text)
    return chinese is not False


def _texts(path: Path, encoding: str) -> Iterator[str]:
    """The text of a file, part by part. Raises UnicodeDecodeError with the place of the bad byte in the file."""
    decoder = codecs.getincrementaldecoder(encoding)()
    with path.open("rb") as source:
        done, final = 0, False
        while not final:
            data = source.read(_CHUNK_BYTES)
            final = not data
            pending = len(decoder.getstate()[0])
            try:
                yield decoder.decode(data, final)
            except UnicodeDecodeError as error:
                start = done - pending + error.start
                raise UnicodeDecodeError(encoding, b"", start, start + 1, error.reason) from error
            except UnicodeError as error:
                raise UnicodeDecodeError(encoding, b"", done, done + 1, str(error)) from error
            done += len(data)
