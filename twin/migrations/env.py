"""Alembic's entry: runs the migrations in the transaction that `twin.migrations.upgrade` was given."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table_schema="twin")
context.run_migrations()
