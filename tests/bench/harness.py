"""Speed, side by side: ours and its peers take turns in one loop, so that a busy machine slows them alike.

A module `bench_<name>.py` has a function `run() -> list[Measured]`; `python -m tests.bench` runs them all.
"""

import datetime as dt
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

__all__ = ["Case", "Figure", "Measured", "Result", "measure", "report"]


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to time: `ours` against `peers` by name, each a call without arguments that does `count` units.

    A peer too slow for all units does `peer_counts[name]` of them; its time is scaled up and marked so. `packages` are
    the distributions whose versions matter.
    """

    name: str
    ours: Callable[[], object]
    peers: dict[str, Callable[[], object]]
    count: int
    unit: str
    target: str
    peer_counts: dict[str, int] = field(default_factory=dict[str, int])
    packages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """Medians in seconds for all units of a case."""

    case: Case
    ours_s: float
    peers_s: dict[str, float]
    repeat: int

    def ratio(self, peer: str) -> float:
        """How many times faster than `peer` ours is."""
        return self.peers_s[peer] / self.ours_s


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that is no time, with its unit: a size, a share."""

    name: str
    value: float
    unit: str
    target: str


Measured = Result | Figure


def measure(case: Case, repeat: int = 5) -> Result:
    """Call ours and each peer once to warm up, then `repeat` times in turn; medians."""
    runners = {"": case.ours, **case.peers}
    times: dict[str, list[float]] = {name: [] for name in runners}
    for run in runners.values():
        run()
    for _ in range(repeat):
        for name, run in runners.items():
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
    medians = {
        name: statistics.median(seconds) * case.count / case.peer_counts.get(name, case.count)
        for name, seconds in times.items()
    }
    return Result(case, medians.pop(""), medians, repeat)


def report(sections: Mapping[str, Sequence[Measured]]) -> str:
    """What was measured, by section title, as Markdown, with the day, the machine and the versions."""
    today = dt.datetime.now(dt.UTC).date()
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lines = [
        "# Measured figures",
        "",
        f"Made by `make bench` on {today}: {os.cpu_count()} cores ({_processor()}), {memory_gb:.0f} GB of memory,",
        f"{platform.system()}, Python {platform.python_version()}. Medians; ours and its peers take turns in one loop.",
    ]
    for title, measured in sections.items():
        lines += ["", f"## {title}", *_timings([one for one in measured if isinstance(one, Result)])]
        lines += _figures([one for one in measured if isinstance(one, Figure)])
    results = [one for measured in sections.values() for one in measured if isinstance(one, Result)]
    packages = sorted({package for result in results for package in result.case.packages})
    lines += ["", "Versions: " + ", ".join(f"{package} {version(package)}" for package in packages) + ".", ""]
    return "\n".join(lines)


def _timings(results: Sequence[Result]) -> list[str]:
    lines = [
        "| what | target | ours | per second | peer | its time | ours is faster by |",
        "|---" * 7 + "|",
    ]
    for result in results:
        case = result.case
        ours = f"| {case.name} | {case.target} | {_time(result.ours_s)} | {case.count / result.ours_s:,.0f} {case.unit}"
        rows = [
            f"{ours} | {peer} | {_time(seconds)}{_scaled(case, peer)} | {result.ratio(peer):.1f}x |"
            for peer, seconds in result.peers_s.items()
        ]
        lines += rows or [f"{ours} | | | |"]
    return lines if results else []


def _figures(figures: Sequence[Figure]) -> list[str]:
    rows = [f"| {figure.name} | {figure.target} | {figure.value:,.0f} {figure.unit} |" for figure in figures]
    return ["", "| what | target | ours |", "|---|---|---|", *rows] if rows else []


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _scaled(case: Case, peer: str) -> str:
    return f" (scaled from {case.peer_counts[peer]:,})" if peer in case.peer_counts else ""


def _processor() -> str:
    """The kind of processor without its maker's number: what counts is its instruction set."""
    vectors = "unknown vectors"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        flags = cpuinfo.read_text(encoding="utf-8").split()
        vectors = next((name for name in ("avx512f", "avx2", "avx", "asimd", "sse2") if name in flags), vectors)
    return f"{platform.machine() or sys.platform} with {vectors}"
