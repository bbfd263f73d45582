"""The commands `twin load`, `twin ingest demo` and `twin quarantine list|show|replay`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ingest.pipeline import Loaded, Loader

__all__ = ["register"]

_SHOWN = 20
_EMPTY = "no records stand in quarantine"


def register(app: typer.Typer) -> None:
    """Add this package's commands to the `twin` command."""
    app.command()(load)
    ingest = typer.Typer(help="What comes in.", no_args_is_help=True)
    ingest.command("run")(run)
    ingest.command("feeds")(feeds)
    ingest.command("devices")(devices)
    ingest.command("demo")(demo)
    ingest.command("dirty")(dirty)
    ingest.command("score")(score)
    app.add_typer(ingest, name="ingest")
    quarantine = typer.Typer(help="Records that were refused.", no_args_is_help=True)
    quarantine.command("list")(list_quarantine)
    quarantine.command("show")(show_quarantine)
    quarantine.command("replay")(replay_quarantine)
    app.add_typer(quarantine, name="quarantine")


def load(
    dataset: Annotated[str, typer.Argument(help="dataset id, such as medical.institutions")],
    files: Annotated[list[Path], typer.Argument(help="files to load")],
    datum: Annotated[
        str | None, typer.Option(help="datum of the coordinates, where the contract says per_file")
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="text encoding, where it is not UTF-8 or GB18030")] = None,
    sheet: Annotated[str | None, typer.Option(help="sheet of a workbook")] = None,
    layer: Annotated[str | None, typer.Option(help="layer of a GeoPackage or archive, band of a raster")] = None,
) -> None:
    """Load files into a dataset. Loading the same file again changes nothing."""
    from ingest.codecs.records import ReadOptions
    from ingest.pipeline import LoadOptions
    from twin.progress import Progress

    loader = _loader()
    options = LoadOptions(datum, ReadOptions(encoding=encoding, sheet=sheet, layer=layer))
    for path in files:
        with Progress().task(f"Loading {path.name} into {dataset}") as task:
            loaded = loader.load(dataset, path, options, task=task)
        _report(path.name, loaded)


def demo(
    scale: Annotated[float, typer.Option(min=0.001, max=1, help="size of the city, 1 is the whole")] = 1.0,
    seed: Annotated[int, typer.Option(help="another seed is another city")] = 1616,
) -> None:
    """Make the synthetic city and load it through the real pipeline, unless it is there already."""
    from ingest.demo.load import load_demo

    load_demo(_loader(), scale=scale, seed=seed, say=typer.echo)


def run(
    workers: Annotated[int, typer.Option(min=1, max=64, help="processes that read what was received")] = 1,
) -> None:
    """Receive the feeds of sources.toml and read them into their datasets, until Ctrl-C."""
    from ingest.running import run as running

    running(workers, typer.echo)


def feeds() -> None:
    """List the feeds of sources.toml: where each comes from, what it can do, and how far it has been read."""
    from ingest.running import feeds_of
    from layers.arrivals import lag
    from layers.catalog import catalog
    from layers.feeds import OWN_FEEDS
    from twin.database import connect
    from twin.settings import settings

    with connect().writing() as connection:
        for feed in (*feeds_of(settings().home, catalog()), *OWN_FEEDS):
            order = "in order" if feed.traits.ordered else "in any order"
            again = "sent again until acknowledged" if feed.traits.replayable else "sent once"
            typer.echo(f"{feed.id}  {feed.transport} {feed.protocol} -> {', '.join(feed.datasets)}")
            typer.echo(
                f"    {again}, {order}, acknowledges {feed.traits.acknowledges};"
                f" {lag(connection, feed.id):,} messages wait to be read"
            )


def devices(
    loss: Annotated[float, typer.Option(min=0, max=1, help="share of messages that are lost")] = 0,
    duplicate: Annotated[float, typer.Option(min=0, max=1, help="share that is sent twice")] = 0,
    reorder: Annotated[float, typer.Option(min=0, max=1, help="share that is sent after the next one")] = 0,
    skew: Annotated[float, typer.Option(help="seconds by which their clocks are wrong")] = 0,
    pace: Annotated[float, typer.Option(min=0.01, max=1000, help="how many times as often as they should")] = 1,
) -> None:
    """Let the synthetic city's devices report to the synthetic feeds of sources.toml, until Ctrl-C."""
    import asyncio
    import contextlib
    import signal

    from ingest.demo.broker import broker_of
    from ingest.demo.devices import devices_of, run_devices
    from ingest.demo.line import Line
    from ingest.running import feeds_of
    from layers.catalog import catalog
    from twin.city import city
    from twin.database import connect
    from twin.settings import settings

    config = settings()
    found = feeds_of(config.home, catalog())
    crews = devices_of(connect(), catalog(), city(), found, config.home, f"http://127.0.0.1:{config.port}")
    for crew in crews:
        typer.echo(
            f"{len(crew.ids):,} devices report to {crew.feed.id} over {crew.feed.transport} (合成数据 · 仅供演示)"
        )
    signal.signal(signal.SIGTERM, _end)  # so that the broker ends too
    with broker_of(found, config.home), contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run_devices(crews, Line(loss, duplicate, reorder, skew), pace=pace))


def _end(_signal: int, _frame: object) -> None:
    raise SystemExit(0)


def dirty(
    dataset: Annotated[str, typer.Argument(help="dataset id, such as sharing.legal_entities")],
    folder: Annotated[Path, typer.Argument(help="where the file and its truth are written")],
    share: Annotated[float, typer.Option(min=0, max=1, help="share of the rows that get dirt")] = 0.3,
    datum: Annotated[str | None, typer.Option(help="the datum of its coordinates, whatever the contract says")] = None,
    scale: Annotated[float, typer.Option(min=0.001, max=1, help="size of the city, 1 is the whole")] = 1.0,
    seed: Annotated[int, typer.Option(help="another seed is another city")] = 1616,
) -> None:
    """Write a dirty file of the synthetic city, with the truth beside it: load it, then `twin ingest score`."""
    import datetime as dt

    from ingest.demo.city import DemoCity
    from ingest.demo.dirt import dirty as spoil
    from ingest.demo.records import Maker
    from layers.catalog import catalog
    from twin.city import city

    contract = catalog()[dataset]
    folder.mkdir(parents=True, exist_ok=True)
    maker = Maker(DemoCity.generate(city(), seed, scale), catalog(), city(), seed, scale, dt.datetime.now(dt.UTC))
    source, truth = spoil(contract, maker.records(contract), city(), folder, share=share, datum=datum, seed=seed)
    typer.echo(f"{source.path}\n{truth}")


def score(
    dataset: Annotated[str, typer.Argument(help="dataset id")],
    truth: Annotated[Path, typer.Argument(help="the file with the truth that `twin ingest dirty` wrote")],
) -> None:
    """Say what became of a dirty file's rows: placed within 50 m, coarsely, flagged, wrong, lost."""
    from ingest.demo.dirt import score as compared
    from layers.catalog import catalog
    from twin.city import city
    from twin.database import connect
    from twin.settings import settings

    found = compared(connect(), catalog(), city(), settings().home, dataset, truth)
    typer.echo(
        f"{dataset}: {found.rows:,} rows: within 50 m {found.near:,}, as coarse as they say {found.coarse:,}, "
        f"flagged {found.flagged:,}, wrong {found.wrong:,}, lost {found.lost:,}"
        + "".join(f"\n    unnoticed: {dirt or 'clean'} {count:,}" for dirt, count in found.silent.items())
    )


def list_quarantine(
    dataset: Annotated[str | None, typer.Argument(help="only this dataset")] = None,
) -> None:
    """Count the records in quarantine by dataset and reason, with what to do about each."""
    from layers.inbox import quarantine_counts
    from layers.reasons import ADVICE, TEXTS, Reason
    from twin.database import connect

    with connect().writing() as connection:
        counts = quarantine_counts(connection, dataset)
    if not counts:
        typer.echo(_EMPTY)
    for count in counts:
        reason = Reason(count.reason)
        typer.echo(f"{count.dataset}  {reason}  {count.status}  {count.count:,}")
        typer.echo(f"    {TEXTS[reason].zh} / {TEXTS[reason].en}: {ADVICE[reason].en}")


def show_quarantine(
    dataset: Annotated[str | None, typer.Argument(help="only this dataset")] = None,
    reason: Annotated[str | None, typer.Option(help="only this reason")] = None,
    limit: Annotated[int, typer.Option(min=1, help="how many")] = _SHOWN,
) -> None:
    """Show records in quarantine: where they came from, the reason, and what they said."""
    from layers.inbox import quarantine_rows
    from twin.database import connect

    with connect().writing() as connection:
        rows = quarantine_rows(connection, dataset, reason=reason, limit=limit)
    if not rows:
        typer.echo(_EMPTY)
    for row in rows:
        typer.echo(f"{row.id}  {row.dataset} row {row.row_number}  {row.reason}: {row.detail or ''}\n    {row.record}")


def replay_quarantine(
    dataset: Annotated[str | None, typer.Argument(help="only this dataset")] = None,
    reason: Annotated[str | None, typer.Option(help="only this reason")] = None,
    contract: Annotated[str | None, typer.Option(help="only those refused under this contract digest")] = None,
    datum: Annotated[str | None, typer.Option(help="the datum of their coordinates, whatever was declared")] = None,
) -> None:
    """Read the quarantined records again from the raw bytes, with today's contracts and registers."""
    from ingest.replaying import replay
    from ingest.running import feeds_of
    from layers.inbox import quarantine_rows

    loader = _loader()
    with loader.database.writing() as connection:
        rows = quarantine_rows(connection, dataset, reason=reason, limit=1_000_000)
    chosen = [row for row in rows if contract is None or (row.contract_digest or "").startswith(contract)]
    feeds_known = feeds_of(loader.home, loader.catalog)
    _report(f"{len(chosen):,} records", replay(loader, feeds_known, chosen, datum=datum))


def _loader() -> "Loader":
    from ingest.pipeline import Loader
    from layers.catalog import catalog
    from twin.city import city
    from twin.database import connect
    from twin.settings import settings

    return Loader(connect(), catalog(), city(), settings().home)


def _report(name: str, loaded: "Loaded") -> None:
    """One line for what became of the records, one for each reason why some were refused."""
    typer.echo(
        f"{name}: received {loaded.received:,} = accepted {loaded.accepted:,} ({loaded.inserted:,} new, "
        f"{loaded.revised:,} revised) + duplicate {loaded.duplicate:,} + quarantined {loaded.quarantined:,}"
    )
    for reason, count in loaded.reasons.most_common():
        typer.echo(f"  {reason}: {count:,}")
    if loaded.unknown_columns:
        typer.echo(f"  columns that the contract does not know, kept in `extra`: {', '.join(loaded.unknown_columns)}")
