"""Messages of running sources in the inbox, how far each source has been read, and what waits.

There is no downgrade: going back means restoring a backup.
"""

from alembic import op

revision = "0005"
down_revision = "0004"

_STATEMENTS = """
ALTER TABLE twin.inbox ALTER COLUMN dataset DROP NOT NULL;
ALTER TABLE twin.inbox ADD COLUMN messages integer;
COMMENT ON COLUMN twin.inbox.messages IS 'How many messages of a running source raw holds; null for a file';
CREATE INDEX inbox_messages ON twin.inbox (source, id) WHERE messages IS NOT NULL;
ALTER TABLE twin.batches ADD COLUMN inbox_last bigint;
COMMENT ON COLUMN twin.batches.inbox_last IS 'The last of several arrivals that were read together';

CREATE TABLE twin.sources (
    source      text PRIMARY KEY,
    done        bigint NOT NULL DEFAULT 0,
    messages    bigint NOT NULL DEFAULT 0,
    records     bigint NOT NULL DEFAULT 0,
    control     bigint NOT NULL DEFAULT 0,
    pieces      bigint NOT NULL DEFAULT 0,
    unused      bigint NOT NULL DEFAULT 0,
    broken      bigint NOT NULL DEFAULT 0,
    received_at timestamptz,
    read_at     timestamptz
);
COMMENT ON TABLE twin.sources IS 'How far each running source has been read, and what its messages were';

CREATE TABLE twin.pieces (
    source   text NOT NULL,
    key      text NOT NULL,
    number   integer NOT NULL,
    total    integer NOT NULL,
    message  bytea NOT NULL,
    inbox_id bigint NOT NULL,
    row      integer NOT NULL,
    arrived  timestamptz NOT NULL,
    PRIMARY KEY (source, key, number)
);
COMMENT ON TABLE twin.pieces IS 'Pieces of messages whose other pieces have not arrived yet';

CREATE TABLE twin.dirty (
    dataset     text NOT NULL,
    cell        bigint NOT NULL,
    observed_at timestamptz NOT NULL,
    UNIQUE (dataset, cell, observed_at)
);
COMMENT ON TABLE twin.dirty IS 'Where indicators have to be computed again: cell, and minute of observation';
"""


def upgrade() -> None:
    """Make the tables."""
    op.get_bind().exec_driver_sql(_STATEMENTS)
