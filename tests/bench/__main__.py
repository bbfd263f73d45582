"""`make bench` measures everything and writes RESULTS.md; `make bench ARGS="datum grid"` measures some and prints."""

import sys
from importlib import import_module
from pathlib import Path

from tests.bench.harness import Measured, report

_FOLDER = Path(__file__).parent
_NAMES = sorted(path.stem.removeprefix("bench_") for path in _FOLDER.glob("bench_*.py"))


def main(wanted: list[str]) -> None:
    """Run the benchmarks called `wanted` (none: all). Ends with exit code 2 when there is no such benchmark."""
    if unknown := set(wanted) - set(_NAMES):
        sys.stderr.write(
            f"bench: there is no benchmark {', '.join(sorted(unknown))}. There are: {', '.join(_NAMES)}.\n"
        )
        sys.exit(2)
    sections: dict[str, list[Measured]] = {}
    for name in wanted or _NAMES:
        sys.stderr.write(f"Measuring {name} ...\n")
        module = import_module(f"tests.bench.bench_{name}")
        title = (module.__doc__ or name).splitlines()[0].rstrip(".")
        sections[title] = module.run()
    text = report(sections)
    sys.stdout.write(text)
    if not wanted:
        (_FOLDER / "RESULTS.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
