"""The pages and their bundle: `/maps/public` and `/static/...`.

The bundle is what `hatch_build.py` made: `api/web/dist`. Only files listed there are served, so a path can never
leave it. Names under `assets/` carry a hash of their content and may be kept for ever; the page itself is asked
for anew each time.
"""

import mimetypes
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter, Request, Response

from twin.city import city
from twin.errors import NotFound, SetupError

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

_DIST = Path(__file__).parent / "web" / "dist"
_ENCODINGS = {"br": ".br", "gzip": ".gz"}  # best first
_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".svg": "image/svg+xml", ".css": "text/css"}
_TEXT = ("text/", "application/json", "image/svg+xml")

# The map draws on a canvas from data of this server alone: nothing foreign, nothing inline, no frames but our own.
_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; worker-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
_PAGE_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
_ASSET_HEADERS = {
    "Content-Security-Policy": _POLICY,  # a worker obeys the policy of its own script, not that of the page
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "public, max-age=31536000, immutable",
}


@dataclass(frozen=True, slots=True)
class _Asset:
    """One file of the bundle and its compressed twins, by content encoding."""

    path: Path
    media_type: str
    etag: str
    encoded: dict[str, Path]

    @classmethod
    def of(cls, path: Path) -> "_Asset":
        media_type = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        if media_type.startswith(_TEXT):
            media_type += "; charset=utf-8"
        twins = {name: path.with_name(path.name + suffix) for name, suffix in _ENCODINGS.items()}
        encoded = {name: twin for name, twin in twins.items() if twin.exists()}
        return cls(path, media_type, sha256(path.read_bytes()).hexdigest()[:16], encoded)


def _bundle() -> dict[str, _Asset]:
    """All files of the bundle by their path below `dist`. Raises SetupError when it was not built."""
    page = _DIST / "public.html"
    if not page.is_file():
        raise SetupError(
            "the web pages are not built.", where="api/web/dist", remedy="Run `python hatch_build.py`, then reload."
        )
    return _files(_DIST, page.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _files(dist: Path, _built_ns: int) -> dict[str, _Asset]:
    files = (path for path in dist.rglob("*") if path.is_file() and path.suffix not in _ENCODINGS.values())
    return {path.relative_to(dist).as_posix(): _Asset.of(path) for path in files}


def _accepted(header: str) -> set[str]:
    """The content encodings a client accepts (RFC 9110, section 12.5.3)."""
    accepted: set[str] = set()
    for part in header.lower().split(","):
        name, _, quality = part.partition(";")
        if quality.strip().replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}:
            accepted.add(name.strip())
    return set(_ENCODINGS) if "*" in accepted else accepted


def _answer(name: str, request: Request, headers: dict[str, str]) -> Response:
    """The file `name` of the bundle in the best encoding the client accepts; 304 when it has it already."""
    asset = _bundle().get(name)
    if asset is None:
        raise NotFound(f"the page bundle has no file {name!r}.", remedy="Reload the page: it may be newer.")
    accepted = _accepted(request.headers.get("accept-encoding", ""))
    encoding = next((encoding for encoding in asset.encoded if encoding in accepted), None)
    etag = f'"{asset.etag}{"-" + encoding if encoding else ""}"'
    headers = {**headers, "ETag": etag, "Vary": "Accept-Encoding"}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if encoding:
        headers["Content-Encoding"] = encoding
    body = (asset.encoded[encoding] if encoding else asset.path).read_bytes()
    return Response(body, media_type=asset.media_type, headers=headers)


@router.api_route("/maps/public", methods=["GET", "HEAD"])
def public_map(request: Request) -> Response:
    """The public map. Search engines are kept out while the city has no map approval number (审图号)."""
    robots = {} if city().map_approval_no else {"X-Robots-Tag": "noindex"}
    return _answer("public.html", request, {**_PAGE_HEADERS, **robots})


@router.api_route("/static/{name:path}", methods=["GET", "HEAD"])
def static(name: str, request: Request) -> Response:
    """A script, style sheet or picture of the bundle."""
    return _answer(name, request, _ASSET_HEADERS)
