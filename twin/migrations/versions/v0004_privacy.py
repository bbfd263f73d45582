"""The key by which published numbers about people are rounded, always the same way.

There is no downgrade: going back means restoring a backup.
"""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_STATEMENT = """
CREATE TABLE twin.rounding (single boolean PRIMARY KEY DEFAULT true CHECK (single), key bytea NOT NULL);
COMMENT ON TABLE twin.rounding IS 'Key of the rounding of numbers about people; nobody but the owner may read it';
ALTER TABLE twin.inbox ADD COLUMN sealed text;
COMMENT ON COLUMN twin.inbox.sealed IS 'Name of the key without which the bytes cannot be read';
"""


def upgrade() -> None:
    """Make the table and the key."""
    connection = op.get_bind()
    connection.exec_driver_sql(_STATEMENT)
    connection.execute(sa.text("INSERT INTO twin.rounding (key) VALUES (:key)"), {"key": secrets.token_bytes(32)})
