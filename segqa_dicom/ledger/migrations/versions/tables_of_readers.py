"""Drafts, signed reviews and their outbox, assignments, repeats, imported ratings and annotations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_UID = sa.String(64)
_LOGIN = sa.String(64)


def upgrade() -> None:
    """Make the tables of readers."""
    _make_reviews()
    _make_outbox()
    _make_plans()
    _make_annotations()


def _make_reviews() -> None:
    op.create_table(
        "drafts",
        sa.Column("login", _LOGIN, primary_key=True),
        sa.Column("segmentation", _UID, primary_key=True),
        sa.Column("segment", sa.Integer, primary_key=True),
        sa.Column("purpose", sa.String(16), primary_key=True),
        sa.Column("reading", sa.Integer, primary_key=True),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("content", sa.JSON, nullable=False),
        sa.Column("document", _UID, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
    )
    op.create_index("drafts_of_segmentation", "drafts", ["segmentation", "segment"])
    op.create_table(
        "signed_reviews",
        sa.Column("document", _UID, primary_key=True),
        sa.Column("series", _UID, nullable=False),
        sa.Column("study", _UID, nullable=False),
        sa.Column("ct_series", _UID, nullable=False),
        sa.Column("predecessor", _UID, nullable=False),
        sa.Column("login", _LOGIN, nullable=False),
        sa.Column("segmentation", _UID, nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("reading", sa.Integer, nullable=False),
        sa.Column("content", sa.JSON, nullable=False),
        sa.Column("signed_at", sa.Double, nullable=False),
    )
    for column in ("predecessor", "login", "segmentation"):
        op.create_index(f"ix_signed_reviews_{column}", "signed_reviews", [column])


def _make_outbox() -> None:
    op.create_table(
        "review_outbox",
        sa.Column("sop_instance_uid", _UID, primary_key=True),
        sa.Column("series_instance_uid", _UID, nullable=False),
        sa.Column("study_instance_uid", _UID, nullable=False),
        sa.Column("sop_class_uid", _UID, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("segmentation", _UID, nullable=False),
        sa.Column("login", _LOGIN, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("signed_at", sa.Double, nullable=False),
        sa.Column("not_before", sa.Double, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )


def _make_plans() -> None:
    op.create_table(
        "assignments",
        sa.Column("segmentation", _UID, primary_key=True),
        sa.Column("segment", sa.Integer, primary_key=True),
        sa.Column("login", _LOGIN, primary_key=True),
        sa.Column("assigned_by", _LOGIN, nullable=False),
        sa.Column("assigned_at", sa.Double, nullable=False),
    )
    op.create_index("assignments_of_reader", "assignments", ["login"])
    op.create_table(
        "repeats",
        sa.Column("login", _LOGIN, primary_key=True),
        sa.Column("segmentation", _UID, primary_key=True),
        sa.Column("segment", sa.Integer, primary_key=True),
        sa.Column("reading", sa.Integer, primary_key=True),
        sa.Column("scheduled_at", sa.Double, nullable=False),
    )
    op.create_table(
        "imported_ratings",
        sa.Column("rating_id", sa.String(64), primary_key=True),
        sa.Column("login", _LOGIN, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("content", sa.JSON, nullable=False),
        sa.Column("document", _UID, nullable=False),
        sa.Column("imported_at", sa.Double, nullable=False),
    )
    op.create_index("ix_imported_ratings_document", "imported_ratings", ["document"])


def _make_annotations() -> None:
    op.create_table(
        "annotation_documents",
        sa.Column("document", _UID, primary_key=True),
        sa.Column("looked_at", sa.Double, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("basis", sa.String(64), nullable=False),
    )
    op.create_table(
        "located_annotations",
        sa.Column("document", _UID, primary_key=True),
        sa.Column("group_number", sa.Integer, primary_key=True),
        sa.Column("segmentation", _UID, primary_key=True),
        sa.Column("segment", sa.Integer, primary_key=True),
        sa.Column("study", _UID, nullable=False),
        sa.Column("content", sa.JSON, nullable=False),
    )
    op.create_index("ix_located_annotations_study", "located_annotations", ["study"])
    op.create_index("annotations_of_segment", "located_annotations", ["segmentation", "segment"])
