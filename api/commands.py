"""The command `twin up`: the HTTP server."""

import socket
from contextlib import closing
from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this package's commands to the `twin` command."""
    app.command()(up)


def up(
    port: Annotated[int | None, typer.Option(help="Port to serve at (TWIN_PORT).")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that answer (TWIN_WORKERS).")] = None,
) -> None:
    """Serve the city until Ctrl-C. Starts the database when it is ours and does not run."""
    import uvicorn  # the other commands do without it

    from twin.database import connect
    from twin.pidfile import PidFile
    from twin.settings import settings

    config = settings()
    address = (config.host, port or config.port)
    _require_free(*address)
    database = connect()
    database.migrate()
    database.engine.dispose()
    with PidFile(config.home).hold():
        typer.echo(f"City Twin serves at http://{address[0]}:{address[1]} (map: /maps/public). Stop it with Ctrl-C.")
        uvicorn.run(
            "api.app:app_from_settings",
            factory=True,
            host=address[0],
            port=address[1],
            workers=workers or config.workers,
            log_level="warning",
            access_log=False,
            server_header=False,
        )


def _require_free(host: str, port: int) -> None:
    """Refuse a port that somebody else serves at, in words, before anything starts."""
    from twin.errors import SetupError

    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SetupError(
                f"{host}:{port} is taken ({error.strerror}).",
                remedy="Stop what serves there (twin down), or set TWIN_PORT.",
            ) from error
