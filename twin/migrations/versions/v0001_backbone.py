"""The backbone: what arrived, what became of it, which contracts are in force.

There is no downgrade: going back means restoring a backup.
"""

from alembic import op

revision = "0001"
down_revision = None

# In `public` by name: the schema `twin`, named like the owner, comes first on the owner's search path, on no other's.
_STATEMENTS = """
CREATE EXTENSION IF NOT EXISTS postgis SCHEMA public;
CREATE EXTENSION IF NOT EXISTS btree_gist SCHEMA public;
CREATE SCHEMA IF NOT EXISTS indicators;

CREATE TABLE twin.contracts (
    id          text PRIMARY KEY,
    digest      text NOT NULL,
    body        text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE twin.contracts IS 'Contracts in force: the TOML text and its digest';

CREATE TABLE twin.inbox (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dataset      text NOT NULL,
    source       text NOT NULL,
    name         text NOT NULL,
    media        text NOT NULL,
    sha256       bytea NOT NULL CHECK (length(sha256) = 32),
    size         bigint NOT NULL CHECK (size >= 0),
    received_at  timestamptz NOT NULL DEFAULT now(),
    raw          bytea,
    blob         text,
    CHECK (num_nonnulls(raw, blob) = 1)
);
COMMENT ON TABLE twin.inbox IS 'What arrived, before anything parsed it: a message in raw, a file by name in blob';
CREATE INDEX inbox_dataset ON twin.inbox (dataset, received_at);
CREATE INDEX inbox_sha256 ON twin.inbox (sha256);

CREATE TABLE twin.batches (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    inbox_id         bigint NOT NULL REFERENCES twin.inbox,
    dataset          text NOT NULL,
    contract_digest  text NOT NULL,
    source           text NOT NULL,
    synthetic        boolean NOT NULL DEFAULT false,
    options          jsonb NOT NULL DEFAULT '{}',
    started_at       timestamptz NOT NULL DEFAULT now(),
    finished_at      timestamptz,
    received         bigint NOT NULL DEFAULT 0 CHECK (received >= 0),
    accepted         bigint NOT NULL DEFAULT 0 CHECK (accepted >= 0),
    duplicate        bigint NOT NULL DEFAULT 0 CHECK (duplicate >= 0),
    quarantined      bigint NOT NULL DEFAULT 0 CHECK (quarantined >= 0),
    inserted         bigint NOT NULL DEFAULT 0 CHECK (inserted >= 0),
    revised          bigint NOT NULL DEFAULT 0 CHECK (revised >= 0),
    CHECK (received = accepted + duplicate + quarantined)
);
COMMENT ON TABLE twin.batches IS 'One load of one arrival: nothing received is unaccounted for';
CREATE INDEX batches_dataset ON twin.batches (dataset, started_at);
CREATE INDEX batches_inbox_id ON twin.batches (inbox_id);

CREATE TABLE twin.quarantine (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch_id         bigint REFERENCES twin.batches,
    inbox_id         bigint NOT NULL REFERENCES twin.inbox,
    dataset          text NOT NULL,
    row_number       bigint,
    stage            text NOT NULL,
    reason           text NOT NULL,
    detail           text NOT NULL,
    record           jsonb,
    status           text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'replayed', 'dismissed')),
    contract_digest  text,
    created_at       timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE twin.quarantine IS 'Records that could not enter a layer, each with its reason';
CREATE INDEX quarantine_dataset ON twin.quarantine (dataset, status, reason);
CREATE INDEX quarantine_batch_id ON twin.quarantine (batch_id);
CREATE INDEX quarantine_inbox_id ON twin.quarantine (inbox_id);

CREATE TABLE twin.versions (
    dataset     text PRIMARY KEY,
    version     bigint NOT NULL,
    changed_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE twin.versions IS 'Counts the writes of each dataset: readers cache by it';
"""


def upgrade() -> None:
    """Make the tables."""
    op.get_bind().exec_driver_sql(_STATEMENTS)
