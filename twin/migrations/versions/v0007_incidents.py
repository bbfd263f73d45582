"""What rules watch: things that may become incidents, and incidents that have not ended.

There is no downgrade: going back means restoring a backup.
"""

from alembic import op

revision = "0007"
down_revision = "0006"

_STATEMENTS = """
CREATE TABLE twin.watched (
    rule      text NOT NULL,
    subject   text NOT NULL,
    since     timestamptz NOT NULL,
    is_open   boolean NOT NULL,
    last_at   timestamptz NOT NULL,
    told_at   timestamptz NOT NULL,
    value     double precision,
    peak      double precision,
    lon       double precision NOT NULL,
    lat       double precision NOT NULL,
    PRIMARY KEY (rule, subject)
);
COMMENT ON TABLE twin.watched IS 'Things for which the condition of a rule holds: since when, and whether long enough';
"""


def upgrade() -> None:
    """Make the table."""
    op.get_bind().exec_driver_sql(_STATEMENTS)
