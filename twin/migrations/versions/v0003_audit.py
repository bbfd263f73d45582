"""The audit log: months of entries that nobody changes, and the head of their chain.

There is no downgrade: going back means restoring a backup.
"""

from alembic import op

revision = "0003"
down_revision = "0002"

_STATEMENTS = """
CREATE TABLE twin.audit (
    seq       bigint NOT NULL,
    at        timestamptz NOT NULL,
    person    text NOT NULL,
    role      text NOT NULL,
    action    text NOT NULL,
    dataset   text,
    ids       text[],
    box       double precision[] CHECK (cardinality(box) = 4),
    purpose   text NOT NULL,
    result    text NOT NULL,
    address   text NOT NULL,
    detail    jsonb NOT NULL,
    hash      bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (seq, at)
) PARTITION BY RANGE (at);
COMMENT ON TABLE twin.audit IS 'Who did what, each entry chained to the one before by its hash';
CREATE INDEX audit_dataset ON twin.audit (dataset, at);
CREATE INDEX audit_person ON twin.audit (person, at);
CREATE INDEX audit_ids ON twin.audit USING gin (ids) WHERE ids IS NOT NULL;

CREATE TABLE twin.audit_head (
    single    boolean PRIMARY KEY DEFAULT true CHECK (single),
    seq       bigint NOT NULL,
    hash      bytea NOT NULL,
    at        timestamptz NOT NULL,
    first_seq bigint NOT NULL,
    before    bytea NOT NULL
);
COMMENT ON TABLE twin.audit_head IS 'The last entry of the chain, and what stood before the first that is kept';
INSERT INTO twin.audit_head (seq, hash, at, first_seq, before)
VALUES (0, decode(repeat('00', 32), 'hex'), '2000-01-01Z', 1, decode(repeat('00', 32), 'hex'));

CREATE FUNCTION twin.audit_stands() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is not changed' USING ERRCODE = '42501';
END $$;
CREATE TRIGGER stands BEFORE UPDATE OR DELETE ON twin.audit FOR EACH ROW EXECUTE FUNCTION twin.audit_stands();
CREATE TRIGGER stands_whole BEFORE TRUNCATE ON twin.audit FOR EACH STATEMENT EXECUTE FUNCTION twin.audit_stands();

CREATE FUNCTION twin.audit_months() RETURNS TABLE (month text, ends timestamptz) LANGUAGE sql STABLE AS $$
    SELECT 'twin.' || c.relname,
        (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \\(''([^'']+)''\\)'))[1]::timestamptz
    FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'twin.audit'::regclass ORDER BY 2
$$;
"""

_GUARD = """
DO $$
BEGIN
    CREATE FUNCTION twin.audit_is_kept() RETURNS event_trigger LANGUAGE plpgsql AS $body$
    DECLARE dropped record;
    BEGIN
        FOR dropped IN SELECT object_name FROM pg_event_trigger_dropped_objects()
            WHERE object_type = 'table' AND schema_name = 'twin' AND object_name ~ '^audit(_[0-9]{6})?$'
        LOOP
            IF dropped.object_name = 'audit'
                OR to_date(right(dropped.object_name, 6), 'YYYYMM') + interval '1 month' > now() - interval '184 days'
            THEN
                RAISE EXCEPTION 'audit entries are kept for 184 days' USING ERRCODE = '42501';
            END IF;
        END LOOP;
    END $body$;
    CREATE EVENT TRIGGER audit_is_kept ON sql_drop EXECUTE FUNCTION twin.audit_is_kept();
EXCEPTION WHEN insufficient_privilege THEN
    -- Event triggers are a superuser's: elsewhere the row triggers and the chain have to do.
    NULL;
END $$;
"""


def upgrade() -> None:
    """Make the tables and what guards them."""
    connection = op.get_bind()
    for statements in (_STATEMENTS, _GUARD):
        connection.exec_driver_sql(statements.replace("%", "%%"))
