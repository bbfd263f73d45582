"""Contact with running sources: how far those that are asked have been read, when they answered, what is wrong.

There is no downgrade: going back means restoring a backup.
"""

from alembic import op

revision = "0006"
down_revision = "0005"

_STATEMENTS = """
ALTER TABLE twin.sources
    ADD COLUMN position   text,
    ADD COLUMN contact_at timestamptz,
    ADD COLUMN fault      text,
    ADD COLUMN fault_at   timestamptz;
COMMENT ON COLUMN twin.sources.position IS 'Of a source that is asked: where to go on';
COMMENT ON COLUMN twin.sources.contact_at IS 'When it was last reached, whether or not it had anything new';
COMMENT ON COLUMN twin.sources.fault IS 'Why nothing can be received of it ; null while all is well';
"""


def upgrade() -> None:
    """Add the columns."""
    op.get_bind().exec_driver_sql(_STATEMENTS)
