"""The synthetic city through the real pipeline: drawn, written as its owners' files, and loaded like any other."""

import datetime as dt
import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path

import sqlalchemy as sa

from ingest.demo.city import DemoCity
from ingest.demo.feeds import write_feeds
from ingest.demo.sources import Source, in_order, write_sources
from ingest.pipeline import Loaded, Loader, LoadOptions
from layers.feeds import FEEDS
from layers.inbox import batches
from twin.errors import SetupError
from twin.progress import Progress

__all__ = ["load_demo"]


def load_demo(loader: Loader, *, scale: float, seed: int, say: Callable[[str], None]) -> None:
    """Load the synthetic city into every dataset with a demo section that does not hold it yet, and name its feeds.

    `scale` in (0, 1] is the size of the city; `say` gets one line for each dataset and one for the whole. Raises
    SetupError when a dataset holds real records or a part of another synthetic city, before anything is made, and when
    records were refused, at the end.
    """
    write_feeds(loader.home / FEEDS, loader.city)
    name = f"demo, seed {seed}, scale {scale:g}"
    missing = _missing(loader, name)
    if not missing:
        say("The synthetic city is there already (合成数据 · 仅供演示).")
        return
    started = time.monotonic()
    with Progress().task("Drawing the synthetic city"):
        demo = DemoCity.generate(loader.city, seed, scale)
    with tempfile.TemporaryDirectory(prefix="citytwin-demo-") as folder:
        with Progress().task("Writing its source files"):
            sources = write_sources(
                demo,
                loader.catalog,
                loader.city,
                Path(folder),
                seed=seed,
                scale=scale,
                now=dt.datetime.now(dt.UTC),
                datasets=missing,
            )
        del demo
        total = _load(loader, sources, name, say)
    say(f"Synthetic city (合成数据 · 仅供演示), {time.monotonic() - started:.0f} s: {_words(total)}")
    if total.quarantined:
        raise SetupError(
            f"{total.quarantined:,} records of the synthetic city were refused.",
            remedy="See `twin quarantine list`; its contracts and its demo sections contradict each other.",
        )


def _missing(loader: Loader, name: str) -> Collection[str]:
    """The datasets that the synthetic city `name` fills and that hold nothing of it.

    Raises SetupError when a dataset holds real records, or when what is there is a part of another synthetic city.
    """
    with loader.database.engine.connect() as connection:
        rows = connection.execute(
            sa.select(
                batches.c.dataset,
                sa.func.bool_or(sa.and_(batches.c.synthetic, batches.c.finished_at.is_not(None))).label("there"),
                sa.func.bool_or(sa.and_(~batches.c.synthetic, batches.c.accepted > 0)).label("real"),
            ).group_by(batches.c.dataset)
        ).all()
        begun = set(connection.scalars(sa.select(batches.c.source).where(batches.c.synthetic).distinct()))
    there = {row.dataset for row in rows if row.there}
    missing = [contract.id for contract in in_order(loader.catalog) if contract.id not in there]
    real = sorted(row.dataset for row in rows if row.real and row.dataset in missing)
    if real:
        raise SetupError(
            f"these datasets hold real records, which are not mixed with synthetic ones: {', '.join(real)}.",
            remedy="Use another TWIN_HOME for the synthetic city.",
        )
    if missing and begun - {name}:
        raise SetupError(
            f"a part of another synthetic city is here ({', '.join(sorted(begun - {name}))}).",
            remedy="Finish that one with its seed and scale, or use another TWIN_HOME.",
        )
    return missing


def _load(loader: Loader, sources: list[Source], name: str, say: Callable[[str], None]) -> Loaded:
    """Load the files in their order as those of the city `name`; what became of all records."""
    total = Loaded()
    for source in sources:
        options = LoadOptions(datum=source.datum, source=name, synthetic=True)
        loaded = loader.load(source.dataset, source.path, options)
        say(f"{source.dataset}: {_words(loaded)}")
        for count in ("received", "inserted", "revised", "duplicate", "quarantined"):
            setattr(total, count, getattr(total, count) + getattr(loaded, count))
        total.reasons.update(loaded.reasons)
    return total


def _words(loaded: Loaded) -> str:
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in loaded.reasons.most_common())
    return (
        f"received {loaded.received:,}, accepted {loaded.accepted:,}, duplicate {loaded.duplicate:,}, "
        f"quarantined {loaded.quarantined:,}{f' ({reasons})' if reasons else ''}"
    )
