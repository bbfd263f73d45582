"""Branches and grants as data; rows of branches get tables of their own, so the tables of main lose their column.

There is no downgrade: going back means restoring a backup.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

_STATEMENTS = """
CREATE TABLE twin.branches (
    number      integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,59}$' AND name <> 'main'),
    title       text NOT NULL,
    author      text NOT NULL,
    audience    text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    starts_at   timestamptz NOT NULL,
    state       text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'proposed', 'merged', 'discarded')),
    proposed_by text,
    closed_at   timestamptz,
    closed_by   text
);
COMMENT ON TABLE twin.branches IS 'What-ifs over main';
CREATE UNIQUE INDEX branches_name ON twin.branches (name) WHERE state <> 'discarded';

CREATE TABLE twin.branch_edits (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    branch   integer NOT NULL REFERENCES twin.branches,
    made_at  timestamptz NOT NULL,
    author   text NOT NULL,
    dataset  text NOT NULL,
    edit     jsonb NOT NULL
);
COMMENT ON TABLE twin.branch_edits IS 'What was done in each branch, in order';
CREATE INDEX branch_edits_branch ON twin.branch_edits (branch, id);

CREATE TABLE twin.grants (
    number      integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    audience    text NOT NULL,
    person      text NOT NULL DEFAULT '',
    dataset     text NOT NULL,
    area        geometry,
    area_name   text,
    purpose     text NOT NULL CHECK (purpose <> ''),
    until       timestamptz NOT NULL,
    granted_by  text NOT NULL,
    granted_at  timestamptz NOT NULL DEFAULT now(),
    revoked_by  text,
    revoked_at  timestamptz,
    fenced      boolean NOT NULL DEFAULT true,
    CHECK ((area IS NULL) = (area_name IS NULL))
);
COMMENT ON TABLE twin.grants IS 'Rights given beside the contracts: who, what, where, what for, until when';
CREATE INDEX grants_dataset ON twin.grants (dataset) WHERE fenced;

CREATE TABLE twin.revoked_tokens (
    person      text PRIMARY KEY,
    issued_before timestamptz NOT NULL,
    revoked_by  text NOT NULL
);
COMMENT ON TABLE twin.revoked_tokens IS 'Tokens of a person made before this moment are good no more';
"""

_DROP_BRANCH_COLUMNS = """
DO $$
DECLARE found record;
BEGIN
    FOR found IN
        SELECT c.oid::regclass AS name, n.nspname AS schema
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE a.attname = 'branch' AND NOT a.attisdropped AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        AND (n.nspname = 'indicators' OR EXISTS (SELECT FROM twin.contracts WHERE split_part(id, '.', 1) = n.nspname))
    LOOP
        -- Keys and indexes over it go with it; applying the catalogue makes the indexes anew.
        EXECUTE format('ALTER TABLE %s DROP COLUMN branch CASCADE', found.name);
        IF found.schema = 'indicators' THEN
            EXECUTE format('ALTER TABLE %s ADD PRIMARY KEY (bucket, cell)', found.name);
        ELSIF found.name::text LIKE '%\\_\\_latest%' THEN
            EXECUTE format('ALTER TABLE %s ADD PRIMARY KEY (subject)', found.name);
        END IF;
    END LOOP;
END $$;
"""

_LEAKPROOF = """
DO $$
BEGIN
    ALTER FUNCTION public.geometry_overlaps(geometry, geometry) LEAKPROOF;
    ALTER FUNCTION public.geometry_within(geometry, geometry) LEAKPROOF;
    ALTER FUNCTION public.st_intersects(geometry, geometry) LEAKPROOF;
EXCEPTION WHEN insufficient_privilege THEN
    -- Only a superuser may: without the marks, datasets that have grants are read without their spatial index.
    NULL;
END $$;
"""


def upgrade() -> None:
    """Make the tables, and bring those of datasets to the new shape."""
    connection = op.get_bind()
    for statements in (_STATEMENTS, _DROP_BRANCH_COLUMNS, _LEAKPROOF):
        connection.exec_driver_sql(statements.replace("%", "%%"))
