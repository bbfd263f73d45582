"""What holds on the roads beside the layers: closures and speeds that people and feeds have said.

There is no downgrade: going back means restoring a backup.
"""

from alembic import op

revision = "0008"
down_revision = "0007"

_STATEMENTS = """
CREATE TABLE twin.road_conditions (
    number    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source    text NOT NULL CHECK (source <> ''),
    factor    double precision NOT NULL CHECK (factor >= 0 AND factor <= 3),
    said      jsonb NOT NULL,
    geom      geometry NOT NULL,
    profiles  text[] NOT NULL DEFAULT '{}',
    reason    text NOT NULL CHECK (reason <> ''),
    author    text NOT NULL,
    made_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    starts_at timestamptz NOT NULL,
    ends_at   timestamptz,
    ended_at  timestamptz,
    ended_by  text
);
COMMENT ON TABLE twin.road_conditions IS 'Closures (factor 0) and speeds: where, why, by whom, until when';
CREATE INDEX road_conditions_holding ON twin.road_conditions (number) WHERE ended_at IS NULL;
"""


def upgrade() -> None:
    """Make the table."""
    op.get_bind().exec_driver_sql(_STATEMENTS)
