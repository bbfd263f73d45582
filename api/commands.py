"""The command `twin up`: the HTTP server."""

from typing import Annotated

import typer

__all__ = ["register"]

_GRACE_S = 10


def register(app: typer.Typer) -> None:
    """Add this package's commands to the `twin` command."""
    app.command()(up)


def up(
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port to serve at (TWIN_PORT).")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Processes that answer (TWIN_WORKERS).")] = None,
) -> None:
    """Serve the city until Ctrl-C. Starts the database when it is ours and does not run; loads nothing."""
    import signal

    import uvicorn

    from api.livesocket import SOCKETS
    from twin.pidfile import PidFile
    from twin.settings import settings

    config = settings()
    host, number = config.host, port or config.port
    with PidFile(config.home).hold():
        _require_free(host, number)
        state = _made_ready()
        # uvicorn ends its answers first and then passes the signal on: it leaves this block like any other end.
        signal.signal(signal.SIGTERM, _end)
        typer.echo(f"City Twin: http://{_shown(host)}:{number} (map: /maps/public). {state} Stop it with Ctrl-C.")
        uvicorn.run(
            "api.app:app_from_settings",
            factory=True,
            host=host,
            port=number,
            workers=workers or config.workers,
            log_level="warning",
            access_log=False,
            server_header=False,
            **SOCKETS,
            proxy_headers=config.proxies is not None,
            forwarded_allow_ips=config.proxies,
            timeout_graceful_shutdown=_GRACE_S,
        )


def _end(_signal: int, _frame: object) -> None:
    raise SystemExit(0)


def _made_ready() -> str:
    """Start the database, bring the twin's own tables up to date, and say what there is to serve."""
    from sqlalchemy import text

    from layers.catalog import catalog
    from twin.city import city
    from twin.database import connect

    database = connect()
    database.migrate()
    with database.writing() as connection:
        applied = set(connection.scalars(text("SELECT id FROM twin.contracts")))
        filled = connection.scalar(text("SELECT count(*) FROM twin.versions"))
    database.engine.dispose()
    missing = len(catalog().contracts.keys() - applied)
    advice = f" {missing} datasets have no tables yet: run `twin catalog apply`." if missing else ""
    return f"{city().title.zh} {city().title.en}: {filled} of {len(catalog())} datasets hold data.{advice}"


def _require_free(host: str, port: int) -> None:
    """Refuse a port that somebody else serves at, in words, before anything starts."""
    import socket

    from twin.errors import SetupError

    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise SetupError(
                f"{host}:{port} is taken ({error.strerror}).",
                remedy="Stop what serves there (twin down), or choose another: --port or TWIN_PORT.",
            ) from error


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
