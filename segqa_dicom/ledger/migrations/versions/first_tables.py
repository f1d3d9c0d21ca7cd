"""Subjects, segmentations, cases, outbox, cursors, conflicts and refusals."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_UID = sa.String(64)


def upgrade() -> None:
    """Make the first tables."""
    _make_objects()
    _make_cases()
    _make_records()


def _make_objects() -> None:
    op.create_table(
        "subjects",
        sa.Column("ct_series_instance_uid", _UID, primary_key=True),
        sa.Column("ct_study_instance_uid", _UID),
        sa.Column("arrived_at", sa.Double, nullable=False),
        sa.Column("check_at", sa.Double),
        sa.Column("evaluated_at", sa.Double),
        sa.Column("is_touched", sa.Boolean, nullable=False),
        sa.Column("quiet_s", sa.Double, nullable=False),
    )
    op.create_index("ix_subjects_check_at", "subjects", ["check_at"])
    op.create_table(
        "segmentations",
        sa.Column("sop_instance_uid", _UID, primary_key=True),
        sa.Column("study_instance_uid", _UID, nullable=False),
        sa.Column("series_instance_uid", _UID, nullable=False),
        sa.Column("sop_class_uid", _UID, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("ct_series_instance_uid", _UID),
        sa.Column("referenced_series", sa.JSON, nullable=False),
        sa.Column("referenced_instances", sa.LargeBinary, nullable=False),
        sa.Column("arrived_at", sa.Double, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_index("ix_segmentations_ct_series_instance_uid", "segmentations", ["ct_series_instance_uid"])
    op.create_index("ix_segmentations_state", "segmentations", ["state"])


def _make_cases() -> None:
    op.create_table(
        "cases",
        sa.Column("case_id", sa.String(16), primary_key=True),
        sa.Column("key", sa.String(64), nullable=False, unique=True),
        sa.Column("ct_study_instance_uid", _UID, nullable=False),
        sa.Column("ct_series_instance_uid", _UID, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("segmentations", sa.JSON, nullable=False),
        sa.Column("missing", sa.JSON, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("lease_owner", sa.Text),
        sa.Column("lease_until", sa.Double),
        sa.Column("lease_s", sa.Double, nullable=False),
        sa.Column("token", sa.Integer, nullable=False),
        sa.Column("ready_at", sa.Double, nullable=False),
        sa.Column("not_before", sa.Double, nullable=False),
        sa.Column("queued_at", sa.Double),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("documents", sa.JSON, nullable=False),
        sa.Column("ruleset_hash", sa.String(64), nullable=False),
        sa.Column("code_version", sa.String(64), nullable=False),
        sa.UniqueConstraint("ct_series_instance_uid", "revision", name="cases_of_subject"),
    )
    op.create_index("cases_in_order", "cases", ["state", "ready_at", "case_id"])
    op.create_index("cases_by_change", "cases", ["updated_at", "case_id"])
    op.create_table(
        "outbox",
        sa.Column("case_id", sa.String(16), primary_key=True),
        sa.Column("sop_instance_uid", _UID, primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("series_instance_uid", _UID, nullable=False),
        sa.Column("study_instance_uid", _UID, nullable=False),
        sa.Column("sop_class_uid", _UID, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("is_stored", sa.Boolean, nullable=False),
    )


def _make_records() -> None:
    op.create_table(
        "cursors",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "conflicts",
        sa.Column("sop_instance_uid", _UID, primary_key=True),
        sa.Column("kept_digest", sa.String(64), primary_key=True),
        sa.Column("refused_digest", sa.String(64), primary_key=True),
        sa.Column("series_instance_uid", _UID, nullable=False),
        sa.Column("seen_at", sa.Double, nullable=False),
    )
    op.create_index("ix_conflicts_series_instance_uid", "conflicts", ["series_instance_uid"])
    op.create_table(
        "refusals",
        sa.Column("refusal_id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("sop_instance_uid", _UID, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("seen_at", sa.Double, nullable=False),
    )
    op.create_index("ix_refusals_path", "refusals", ["path"])
