"""Tables of the index of findings."""

from __future__ import annotations

import json
from collections.abc import Iterable

from segqa_dicom.sr.outcomes import SEVERITIES

FILE_NAME = "findings.sqlite3"
SCHEMA_VERSION = 5
"""Raise it with each change of the tables or of what is read from documents: older indexes are then made anew."""
VALUE_TYPES = (
    *("", "CONTAINER", "CODE", "NUM", "TEXT", "UIDREF", "PNAME", "DATE", "TIME", "DATETIME", "IMAGE", "COMPOSITE"),
    *("WAVEFORM", "SCOORD", "SCOORD3D", "TCOORD"),
)
RELATIONS = (
    *("", "CONTAINS", "HAS OBS CONTEXT", "HAS CONCEPT MOD", "HAS PROPERTIES", "HAS ACQ CONTEXT", "INFERRED FROM"),
    "SELECTED FROM",
)
COUNT_COLUMNS = {
    (outcome, severity): f"n_{outcome.lower() or 'other'}{f'_{severity}' if severity else ''}"
    for outcome, severities in (("PASS", ("info",)), ("NOTRUN", ("info",)), ("WARN", SEVERITIES), ("FAIL", SEVERITIES))
    for severity in severities
} | {("", ""): "n_other"}
"""Columns of `measurement_group` with the number of findings by (outcome, severity); ("", "") = no outcome."""

SCHEMA = f"""
CREATE TABLE cursor (feed TEXT PRIMARY KEY, position TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE refused (sop_instance_uid TEXT PRIMARY KEY, reason TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE concept (
  id INTEGER PRIMARY KEY, value TEXT NOT NULL, scheme TEXT NOT NULL, meaning TEXT NOT NULL, UNIQUE (value, scheme));
CREATE TABLE text (id INTEGER PRIMARY KEY, value TEXT NOT NULL UNIQUE);
CREATE TABLE segmentation (
  sop_instance_uid TEXT PRIMARY KEY, series_description TEXT NOT NULL, manufacturer TEXT NOT NULL, model TEXT NOT NULL,
  version TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE document (
  id INTEGER PRIMARY KEY AUTOINCREMENT, study_instance_uid TEXT NOT NULL, series_instance_uid TEXT NOT NULL,
  sop_instance_uid TEXT NOT NULL UNIQUE, sop_class_uid TEXT NOT NULL, title INTEGER REFERENCES concept,
  content_date TEXT NOT NULL, content_time TEXT NOT NULL, series_description TEXT NOT NULL, manufacturer TEXT NOT NULL,
  model TEXT NOT NULL, version TEXT NOT NULL, completion TEXT NOT NULL, verification TEXT NOT NULL,
  is_own INTEGER NOT NULL, kind TEXT NOT NULL, observers TEXT NOT NULL, persons TEXT NOT NULL,
  segmentation_name TEXT NOT NULL, ct_series TEXT NOT NULL);
CREATE TABLE predecessor (
  document INTEGER NOT NULL, sop_instance_uid TEXT NOT NULL, PRIMARY KEY (sop_instance_uid, document)) WITHOUT ROWID;
CREATE TABLE reference (
  document INTEGER NOT NULL, instance INTEGER NOT NULL, series INTEGER NOT NULL, study INTEGER NOT NULL,
  sop_class INTEGER NOT NULL, role TEXT NOT NULL,
  PRIMARY KEY (document, role, series, instance)) WITHOUT ROWID;
CREATE TABLE structure (
  id INTEGER PRIMARY KEY, finding INTEGER NOT NULL, site INTEGER NOT NULL, laterality INTEGER NOT NULL,
  label TEXT NOT NULL, meaning TEXT NOT NULL, name TEXT NOT NULL, words TEXT NOT NULL,
  UNIQUE (finding, site, laterality, label));
CREATE TABLE measurement_group (
  document INTEGER NOT NULL, number INTEGER NOT NULL, structure INTEGER NOT NULL, tracking_identifier INTEGER NOT NULL,
  tracking_uid INTEGER NOT NULL, segmentation INTEGER NOT NULL, segment INTEGER NOT NULL,
  other_segmentation INTEGER NOT NULL, other_segment INTEGER NOT NULL, source_series INTEGER NOT NULL,
  verdict TEXT NOT NULL, risk REAL, {", ".join(f"{name} INTEGER NOT NULL" for name in COUNT_COLUMNS.values())},
  PRIMARY KEY (document, number)) WITHOUT ROWID;
CREATE TABLE item (
  document INTEGER NOT NULL, measurement_group INTEGER NOT NULL, position INTEGER NOT NULL, depth INTEGER NOT NULL,
  relation INTEGER NOT NULL, value_type INTEGER NOT NULL, name INTEGER, code INTEGER, number REAL, unit INTEGER,
  text INTEGER, segment INTEGER, finding INTEGER, severity INTEGER,
  PRIMARY KEY (document, measurement_group, position)) WITHOUT ROWID;
CREATE TABLE outcome (
  document INTEGER NOT NULL, measurement_group INTEGER NOT NULL, position INTEGER NOT NULL, value REAL,
  value_limit REAL, unit TEXT NOT NULL, x_mm REAL, y_mm REAL, z_mm REAL, segments TEXT NOT NULL,
  message INTEGER NOT NULL,
  PRIMARY KEY (document, measurement_group, position)) WITHOUT ROWID;
CREATE TABLE segment_by_risk (
  rank INTEGER NOT NULL, minus_risk REAL NOT NULL, segmentation TEXT NOT NULL, segment INTEGER NOT NULL,
  document INTEGER NOT NULL, number INTEGER NOT NULL, structure INTEGER NOT NULL,
  PRIMARY KEY (rank, minus_risk, segmentation, segment, document, number)) WITHOUT ROWID;
CREATE TABLE failed_check (
  name INTEGER NOT NULL, document INTEGER NOT NULL, number INTEGER NOT NULL,
  PRIMARY KEY (name, document, number)) WITHOUT ROWID;
CREATE INDEX documents_of_study ON document (study_instance_uid);
CREATE INDEX documents_by_title ON document (title);
CREATE INDEX references_to_instance ON reference (instance);
CREATE INDEX references_to_series ON reference (series);
CREATE INDEX groups_of_structure ON measurement_group (structure);
CREATE INDEX groups_of_segmentation ON measurement_group (segmentation, segment);
CREATE INDEX groups_compared_with ON measurement_group (other_segmentation);
CREATE INDEX segments_of_document ON segment_by_risk (document);
CREATE INDEX failed_checks_of_document ON failed_check (document);
CREATE INDEX items_by_name ON item (name, code, severity);
CREATE INDEX items_with_code ON item (code) WHERE code IS NOT NULL;
CREATE INDEX items_by_number ON item (name, number) WHERE number IS NOT NULL;
CREATE INDEX items_by_text ON item (text, name) WHERE text IS NOT NULL;
"""

VERDICT_RANKS = "WHEN 'unusable' THEN 0 WHEN 'review' THEN 1 WHEN 'usable' THEN 2 ELSE 3"
"""SQL: the order of `segment_by_risk`, which has the groups of our reports, worst first."""

CURRENT = (
    "NOT EXISTS (SELECT 1 FROM predecessor WHERE predecessor.sop_instance_uid = document.sop_instance_uid"
    " AND predecessor.document != document.id)"
)
"""SQL: whether no document names `document` as the one that it replaces. Nothing is stored about it, so the order in
which documents come does not matter, nor that some of them go."""


def json_list(values: Iterable[object]) -> str:
    """Values as one parameter, for `json_each`: a question may have more of them than SQLite allows parameters."""
    return json.dumps(list(values))
