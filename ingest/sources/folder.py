"""A folder in which files are put: each is loaded like one that a person names, once it stands still.

A loaded file is moved to `loaded` in the folder; where it names somebody it is removed, since the inbox keeps it
sealed. One that cannot be read is moved to `refused`, with the reason beside it. Killed in between, the twin loads the
file again, which changes nothing.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ingest.bundle import PARTS
from ingest.codecs.records import ReadOptions
from ingest.pipeline import Loader, LoadOptions
from layers import arrivals
from layers.feeds import FolderFeed
from twin.database import Database
from twin.disk import need_room
from twin.errors import Terminal, Transient

__all__ = ["FolderReader", "load_folders"]

_STILL_S, _IDLE_S = 3.0, 1.0
_UNFINISHED = (".part", ".partial", ".tmp", ".crdownload", ".filepart", "~")
_log = logging.getLogger("twin.ingest")


@dataclass
class FolderReader:
    """Loads what stands in folders."""

    loader: Loader
    still_s: float = _STILL_S
    _seen: dict[Path, tuple[object, float]] = field(default_factory=dict[Path, tuple[object, float]])

    def step(self, feed: FolderFeed) -> int:
        """Load the next file of a folder. Returns how many there were: 1, or 0 when none stands still or another loads.

        Raises Transient errors: the file stays where it is.
        """
        folder = self.loader.home / feed.folder
        folder.mkdir(parents=True, exist_ok=True)
        path = next((path for path in sorted(folder.iterdir()) if self._stands_still(path)), None)
        if path is None:
            return 0
        need_room(self.loader.home)
        with self.loader.database.writing() as connection:
            if arrivals.claim(connection, feed.id) is None:
                return 0
            self._load(feed, folder, path)
        return 1

    def _load(self, feed: FolderFeed, folder: Path, path: Path) -> None:
        dataset = feed.datasets[0]
        options = LoadOptions(feed.datum, ReadOptions(encoding=feed.encoding), source=feed.id, synthetic=feed.synthetic)
        try:
            loaded = self.loader.load(dataset, path, options)
        except Terminal as error:
            _log.warning("%s: %s was refused: %s", feed.id, path.name, error)
            (moved,) = _moved(path, folder / "refused")[:1]
            moved.with_name(f"{moved.name}.reason.txt").write_text(f"{error}\n", encoding="utf-8")
            return
        _log.info("%s: %s: %d records", feed.id, path.name, loaded.received)
        if self.loader.catalog[dataset].names_somebody:
            for part in _parts(path):
                part.unlink()
        else:
            _moved(path, folder / "loaded")

    def _stands_still(self, path: Path) -> bool:
        """Whether nobody writes to a file any more: it has been the same for a while."""
        name = path.name.lower()
        if name.startswith(".") or name.endswith(_UNFINISHED) or not path.is_file():
            return False
        if path.suffix.lower() in PARTS - {".shp"} and path.with_suffix(".shp").exists():
            return False  # it comes with its .shp
        try:
            now = [(part.name, part.stat().st_size, part.stat().st_mtime_ns) for part in _parts(path)]
        except FileNotFoundError:
            return False
        before, since = self._seen.get(path, (None, 0.0))
        if now != before:
            self._seen[path] = now, time.monotonic()
            return False
        if time.monotonic() - since < self.still_s:
            return False
        del self._seen[path]
        return True


def _parts(path: Path) -> list[Path]:
    """The file, and those that belong to it."""
    if path.suffix.lower() != ".shp":
        return [path]
    sisters = (part for part in sorted(path.parent.glob(f"{path.stem}.*")) if part.suffix.lower() in PARTS - {".shp"})
    return [path, *sisters]


def _moved(path: Path, folder: Path) -> list[Path]:
    """Move a file with its parts; one of the same name that lies there already keeps its place."""
    folder.mkdir(exist_ok=True)
    stem = path.stem
    number = 1
    while (folder / f"{stem}{path.suffix}").exists():
        number += 1
        stem = f"{path.stem}-{number}"
    return [part.rename(folder / f"{stem}{part.suffix}") for part in _parts(path)]


def load_folders(reader: FolderReader, feeds: Sequence[FolderFeed], stop: threading.Event) -> None:
    """Load what is put into folders until `stop` is set."""
    told: dict[str, str | None] = {}
    while not stop.is_set():
        busy = 0
        for feed in feeds:
            fault = None
            try:
                busy += reader.step(feed)
            except (Transient, OSError) as error:
                fault = f"{error}"
            if told.get(feed.id, "") != fault:
                told[feed.id] = fault
                _tell(reader.loader.database, feed, fault)
        if not busy:
            stop.wait(_IDLE_S)


def _tell(database: Database, feed: FolderFeed, fault: str | None) -> None:
    if fault is not None:
        _log.warning("%s: %s", feed.id, fault)
    with contextlib.suppress(Transient):
        arrivals.contact(database, feed.id, fault)
