"""Runs migrations on the connection that `Ledger.migrate` passes, inside its transaction."""

from __future__ import annotations

from alembic import context

from segqa_dicom.ledger.tables import METADATA, VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
