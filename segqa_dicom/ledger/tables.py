"""The tables as the code expects them. A change here needs a migration beside it (`migrations/versions`)."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

REVISIONS = ("0001", "0002")
"""Revisions of the schema that this code knows, oldest first; it works with the last one."""
VERSION_TABLE = "ledger_version"

METADATA = MetaData()

_UID = String(64)

subjects = Table(
    "subjects",
    METADATA,
    Column("ct_series_instance_uid", _UID, primary_key=True),
    Column("ct_study_instance_uid", _UID),
    Column("arrived_at", Double, nullable=False),
    Column("check_at", Double, index=True),
    Column("evaluated_at", Double),
    # Something has arrived since the last evaluation: check_at is the end of a quiet time, and no deadline.
    Column("is_touched", Boolean, nullable=False),
    # Quiet time of the last touch. Tells a check_at to come from one that a wrong clock has set.
    Column("quiet_s", Double, nullable=False),
)

segmentations = Table(
    "segmentations",
    METADATA,
    Column("sop_instance_uid", _UID, primary_key=True),
    Column("study_instance_uid", _UID, nullable=False),
    Column("series_instance_uid", _UID, nullable=False),
    Column("sop_class_uid", _UID, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("ct_series_instance_uid", _UID, index=True),
    Column("referenced_series", JSON, nullable=False),
    Column("referenced_instances", LargeBinary, nullable=False),
    Column("arrived_at", Double, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("reason", Text, nullable=False),
)

cases = Table(
    "cases",
    METADATA,
    Column("case_id", String(16), primary_key=True),
    Column("key", String(64), nullable=False, unique=True),
    Column("ct_study_instance_uid", _UID, nullable=False),
    Column("ct_series_instance_uid", _UID, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("segmentations", JSON, nullable=False),
    Column("missing", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("lease_owner", Text),
    Column("lease_until", Double),
    # Length of the lease: tells one that lasts from one that a wrong clock has granted.
    Column("lease_s", Double, nullable=False),
    Column("token", Integer, nullable=False),
    Column("ready_at", Double, nullable=False),
    Column("not_before", Double, nullable=False),
    Column("queued_at", Double),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("reason", Text, nullable=False),
    Column("documents", JSON, nullable=False),
    Column("ruleset_hash", String(64), nullable=False),
    Column("code_version", String(64), nullable=False),
    UniqueConstraint("ct_series_instance_uid", "revision", name="cases_of_subject"),
    Index("cases_in_order", "state", "ready_at", "case_id"),
    Index("cases_by_change", "updated_at", "case_id"),
)

outbox = Table(
    "outbox",
    METADATA,
    Column("case_id", String(16), primary_key=True),
    Column("sop_instance_uid", _UID, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("series_instance_uid", _UID, nullable=False),
    Column("study_instance_uid", _UID, nullable=False),
    Column("sop_class_uid", _UID, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("is_stored", Boolean, nullable=False),
)

cursors = Table(
    "cursors",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

conflicts = Table(
    "conflicts",
    METADATA,
    Column("sop_instance_uid", _UID, primary_key=True),
    Column("kept_digest", String(64), primary_key=True),
    Column("refused_digest", String(64), primary_key=True),
    Column("series_instance_uid", _UID, nullable=False, index=True),
    Column("seen_at", Double, nullable=False),
)

refusals = Table(
    "refusals",
    METADATA,
    Column("refusal_id", Integer, primary_key=True, autoincrement=True),
    Column("sop_instance_uid", _UID, nullable=False),
    Column("name", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("path", Text, nullable=False, index=True),
    Column("seen_at", Double, nullable=False),
)

# What readers do. What is signed can be found again in the archive; drafts, assignments and repeats cannot.

_LOGIN = String(64)

drafts = Table(
    "drafts",
    METADATA,
    Column("login", _LOGIN, primary_key=True),
    Column("segmentation", _UID, primary_key=True),
    Column("segment", Integer, primary_key=True),
    Column("purpose", String(16), primary_key=True),
    Column("reading", Integer, primary_key=True),
    Column("state", String(8), nullable=False),
    Column("version", Integer, nullable=False),
    Column("content", JSON, nullable=False),
    # The newest document that says what this reader said about the segment before; empty = none does.
    Column("document", _UID, nullable=False),
    Column("updated_at", Double, nullable=False),
    Index("drafts_of_segmentation", "segmentation", "segment"),
)

signed_reviews = Table(
    "signed_reviews",
    METADATA,
    Column("document", _UID, primary_key=True),
    Column("series", _UID, nullable=False),
    Column("study", _UID, nullable=False),
    Column("ct_series", _UID, nullable=False),
    Column("predecessor", _UID, nullable=False, index=True),
    # Empty login: a document that is no review, remembered so that it is not read again.
    Column("login", _LOGIN, nullable=False, index=True),
    Column("segmentation", _UID, nullable=False, index=True),
    Column("purpose", String(16), nullable=False),
    Column("reading", Integer, nullable=False),
    Column("content", JSON, nullable=False),
    Column("signed_at", Double, nullable=False),
)

review_outbox = Table(
    "review_outbox",
    METADATA,
    Column("sop_instance_uid", _UID, primary_key=True),
    Column("series_instance_uid", _UID, nullable=False),
    Column("study_instance_uid", _UID, nullable=False),
    Column("sop_class_uid", _UID, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("segmentation", _UID, nullable=False),
    Column("login", _LOGIN, nullable=False),
    Column("position", Integer, nullable=False),
    Column("signed_at", Double, nullable=False),
    Column("not_before", Double, nullable=False),
    Column("reason", Text, nullable=False),
)

assignments = Table(
    "assignments",
    METADATA,
    Column("segmentation", _UID, primary_key=True),
    Column("segment", Integer, primary_key=True),
    Column("login", _LOGIN, primary_key=True),
    Column("assigned_by", _LOGIN, nullable=False),
    Column("assigned_at", Double, nullable=False),
    Index("assignments_of_reader", "login"),
)

repeats = Table(
    "repeats",
    METADATA,
    Column("login", _LOGIN, primary_key=True),
    Column("segmentation", _UID, primary_key=True),
    Column("segment", Integer, primary_key=True),
    Column("reading", Integer, primary_key=True),
    Column("scheduled_at", Double, nullable=False),
)

imported_ratings = Table(
    "imported_ratings",
    METADATA,
    Column("rating_id", String(64), primary_key=True),
    Column("login", _LOGIN, nullable=False),
    Column("subject", Text, nullable=False),
    Column("content", JSON, nullable=False),
    # The review that it has become; empty as long as its SEG is not there.
    Column("document", _UID, nullable=False, index=True),
    Column("imported_at", Double, nullable=False),
)

annotation_documents = Table(
    "annotation_documents",
    METADATA,
    Column("document", _UID, primary_key=True),
    Column("looked_at", Double, nullable=False),
    # Why its annotations lie nowhere; empty if they do.
    Column("reason", Text, nullable=False),
    # What was known of the study then; with more its annotations may lie elsewhere.
    Column("basis", String(64), nullable=False),
)

located_annotations = Table(
    "located_annotations",
    METADATA,
    Column("document", _UID, primary_key=True),
    Column("group_number", Integer, primary_key=True),
    # Empty: it lies on no segment. One annotation may lie on the results of several models.
    Column("segmentation", _UID, primary_key=True),
    Column("segment", Integer, primary_key=True),
    Column("study", _UID, nullable=False, index=True),
    Column("content", JSON, nullable=False),
    Index("annotations_of_segment", "segmentation", "segment"),
)
