"""Alembic migrations of the twin's own tables (schemas `twin` and `indicators`)."""

from sqlalchemy import Connection

__all__ = ["upgrade"]


def upgrade(connection: Connection) -> None:
    """Bring the tables to the newest version, in the transaction of `connection`. Not for two threads at once."""
    # Loaded here: Alembic takes half a second, and every command of the CLI would wait for it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "twin:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
