"""Every code that our documents use; the private ones with a definition each.

A private code is defined once, in `private_codes`; the page that explains them is made from there (`markdown_table`).
Standard codes are literals too: pydicom does not know those that came with PS3.16 2026 (130920 to 130923) yet.
"""

from __future__ import annotations

import hashlib

from segqa_dicom.assessment.model import Purpose
from segqa_dicom.assessment.vocabulary import default_vocabulary
from segqa_dicom.checks.finding import Outcome, Verdict
from segqa_dicom.checks.finding import Severity as CheckSeverity
from segqa_dicom.checks.registry import Unit
from segqa_dicom.model import Code
from segqa_dicom.sr.ascii import ascii_text, clipped
from segqa_dicom.sr.kinds import Kind
from segqa_dicom.sr.private_codes import PRIVATE

SCHEME = "99SEGQA"
"""Designator of our private coding scheme (PS3.16, section 8: private designators start with 99)."""
SCHEME_NAME = "Segmentation QA codes"
MEANING_LENGTH = 64
VALUE_LENGTH = 16
"""Longer ones go to Long Code Value, which OHIF and dcmqi do not read."""


def _private(value: str) -> Code:
    return Code(value, SCHEME, PRIVATE[value].meaning)


# Document titles
QA_REPORT = _private("QAREPORT")
IMAGING_MEASUREMENT_REPORT = Code("126000", "DCM", "Imaging Measurement Report")
TITLES = {"QAREPORT": QA_REPORT, "126000": IMAGING_MEASUREMENT_REPORT}
"""Titles that `report` and `compare` may have, by code value."""

# Root of the document (TID 1500, 1204, 1002, 1004)
LANGUAGE = Code("121049", "DCM", "Language of Content Item and Descendants")
ENGLISH = Code("en-US", "RFC5646", "English (United States)")
OBSERVER_TYPE = Code("121005", "DCM", "Observer Type")
DEVICE = Code("121007", "DCM", "Device")
DEVICE_UID = Code("121012", "DCM", "Device Observer UID")
PERSON = Code("121006", "DCM", "Person")
PERSON_NAME = Code("121008", "DCM", "Person Observer Name")
PERSON_LOGIN = Code("128774", "DCM", "Person Observer's Login Name")
PERSON_ORGANIZATION = Code("121009", "DCM", "Person Observer's Organization Name")
PERSON_ROLE = Code("121011", "DCM", "Person Observer's Role in this Procedure")
VERIFYING = Code("121098", "DCM", "Verifying")
DEVICE_NAME = Code("121013", "DCM", "Device Observer Name")
DEVICE_MANUFACTURER = Code("121014", "DCM", "Device Observer Manufacturer")
DEVICE_MODEL_NAME = Code("121015", "DCM", "Device Observer Model Name")
PROCEDURE_REPORTED = Code("121058", "DCM", "Procedure reported")
CT_PROCEDURE = Code("25045-6", "LN", "CT unspecified body region")
SUMMARY = Code("55112-7", "LN", "Summary")
IMAGING_MEASUREMENTS = Code("126010", "DCM", "Imaging Measurements")
QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")
ALGORITHM_NAME = Code("111001", "DCM", "Algorithm Name")
ALGORITHM_VERSION = Code("111003", "DCM", "Algorithm Version")
ALGORITHM_PARAMETERS = Code("111002", "DCM", "Algorithm Parameters")

# Measurement groups (TID 1411, 1501)
MEASUREMENT_GROUP = Code("125007", "DCM", "Measurement Group")
TRACKING_IDENTIFIER = Code("112039", "DCM", "Tracking Identifier")
TRACKING_UID = Code("112040", "DCM", "Tracking Unique Identifier")
FINDING = Code("121071", "DCM", "Finding")
FINDING_SITE = Code("363698007", "SCT", "Finding Site")
LATERALITY = Code("272741003", "SCT", "Laterality")
TOPOGRAPHICAL_MODIFIER = Code("106233006", "SCT", "Topographical modifier")
REFERENCED_SEGMENT = Code("121191", "DCM", "Referenced Segment")
SOURCE_SERIES = Code("121232", "DCM", "Source series for segmentation")
SOURCE_OF_MEASUREMENT = Code("121112", "DCM", "Source of Measurement")
REFERENCE_SEGMENT = _private("REFSEG")
SPATIAL_LOCATION = Code("121226", "DCM", "Approximate spatial location")
COMMENT = Code("121106", "DCM", "Comment")
UNCODED = _private("UNCODED")

# Measurements, and what they are measured in
VOLUME = Code("118565006", "SCT", "Volume")
MEASUREMENT_METHOD = Code("370129005", "SCT", "Measurement Method")
SUM_OF_VOXELS = Code("126030", "DCM", "Sum of segmented voxel method for volume")
VOXEL_COUNT = Code("130923", "DCM", "Number of voxels")
COMPONENT_COUNT = _private("NCC")
LARGEST_COMPONENT_SHARE = _private("LCS")
MEAN_HU = Code("Q4LE", "IBSI", "Mean")
SD_HU = _private("HUSD")
MEDIAN_HU = Code("Y12H", "IBSI", "Median")
MINIMUM_HU = Code("1GSF", "IBSI", "Minimum grey level")
MAXIMUM_HU = Code("84IY", "IBSI", "Maximum grey level")
RISK = _private("RISK")
FAILED_CHECKS = _private("NFAIL")
FINDING_COUNT = _private("NFIND")
DICE = Code("130920", "DCM", "Dice Similarity Coefficient")
JACCARD = Code("130921", "DCM", "Jaccard Index")
SURFACE_DICE = _private("SDSC")
HAUSDORFF = _private("HD")
HAUSDORFF_95 = _private("HD95")
ASSD = _private("ASSD")
VOLUME_DIFFERENCE = _private("VDIFF")

CUBIC_CENTIMETER = Code("cm3", "UCUM", "cubic centimeter")
VOXELS = Code("{voxels}", "UCUM", "voxels")
COUNT = Code("{count}", "UCUM", "count")
PERCENT = Code("%", "UCUM", "Percent")
HOUNSFIELD_UNIT = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
RATIO = Code("{ratio}", "UCUM", "ratio")
MILLIMETER = Code("mm", "UCUM", "millimeter")
SECOND = Code("s", "UCUM", "second")
RULE_UNITS: dict[str, Code] = {
    Unit.NONE: Code("1", "UCUM", "no units"),
    Unit.COUNT: COUNT,
    Unit.RATIO: RATIO,
    Unit.MM: MILLIMETER,
    Unit.ML: Code("mL", "UCUM", "milliliter"),
    Unit.DEGREE: Code("deg", "UCUM", "degree"),
    Unit.HU: HOUNSFIELD_UNIT,
}
"""Units of values and limits of rules by their UCUM codes."""

# Judgements
SEGMENTATION_QUALITY = _private("SEGQC")
VERDICTS = {
    Verdict.USABLE: _private("QC-PASS"),
    Verdict.REVIEW: _private("QC-REVIEW"),
    Verdict.UNUSABLE: _private("QC-FAIL"),
}
OUTCOMES = {
    Outcome.PASS: _private("PASS"),
    Outcome.WARNING: _private("WARN"),
    Outcome.FAIL: _private("FAIL"),
    Outcome.NOT_RUN: _private("NOTRUN"),
}
CHECK_SEVERITY = _private("CHKSEV")
SEVERITIES = {
    CheckSeverity.ERROR: _private("CSEV-ERROR"),
    CheckSeverity.WARNING: _private("CSEV-WARNING"),
    CheckSeverity.INFO: _private("CSEV-INFO"),
}
CHECK_VALUE = _private("CHKVALUE")
CHECK_LIMIT = _private("CHKLIMIT")
CONCERNED = _private("CONCERNS")
QUALITY_ASSESSMENT = Code("111050", "DCM", "Quality Assessment")
MEETS_STANDARD = Code("111237", "DCM", "Usable - Meets the quality control standard")
MISSES_STANDARD = Code("111236", "DCM", "Usable - Does not meet the quality control standard")

# Document level
DOCUMENT_KIND = _private("DOCKIND")
KINDS = {
    Kind.REPORT: _private("KIND-REPORT"),
    Kind.COMPARE: _private("KIND-COMPARE"),
    Kind.KEYIMG: _private("KIND-KEYIMG"),
    Kind.REVIEW: _private("KIND-REVIEW"),
    Kind.REVIEW_KEYIMG: _private("KIND-REVIEWKEY"),
}
RULE_SET_VERSION = _private("RULESETVERSION")
RULE_SET_HASH = _private("RULESETHASH")
SEGMENTATION_NAME = _private("SEGNAME")
SEGMENT_LABEL = _private("SEGLABEL")

# Reviews of readers; their words (ratings, finding types, ...) are those of the vocabulary
SEGMENTATION_FINDING = _private("SEGFIND")
FINDING_DETAILS = _private("FINDNOTE")
SEVERITY = _private("SEVERITY")
LOCATION = (_private("LOCX"), _private("LOCY"), _private("LOCZ"))
LOWEST_CORNER = (_private("LOWX"), _private("LOWY"), _private("LOWZ"))
HIGHEST_CORNER = (_private("HIGHX"), _private("HIGHY"), _private("HIGHZ"))
"""Coordinates x, y, z in LPS mm."""
RATING = _private("RATING")
ACTION = _private("ACTION")
CONFIDENCE = _private("CONFIDENCE")
REVIEWED_REPORT = _private("REVIEWED")
CONSIDERED_REVIEW = _private("CONSIDERED")
EXPLAINED_REVIEW = _private("EXPLAINS")
PURPOSE = _private("PURPOSE")
PURPOSES = {
    Purpose.READING: _private("READING"),
    Purpose.REPEAT: _private("REPEAT"),
    Purpose.ADJUDICATION: _private("ADJUDICATION"),
}
READING_NUMBER = _private("READINGNUMBER")
VOCABULARY_VERSION = _private("VOCABULARY")
REVIEWED_AT = _private("REVIEWEDAT")
TIME_SPENT = _private("TIMESPENT")
SEGMENT_TIME = _private("SEGTIME")


_CHECK = "CHK-"
_CHECK_TITLE = "Check: "


def check_code(rule: str, title: str = "") -> Code:
    """The concept of a rule, ``(CHK-T1,99SEGQA,"Check: <title>")``; made from its id so that no list can lag behind."""
    rule = ascii_text(rule)
    value = f"{_CHECK}{rule}"
    if len(value) > VALUE_LENGTH:
        # Cut ids must stay different from each other.
        value = f"{value[:11]}-{hashlib.sha256(rule.encode()).hexdigest()[:4]}"
    return Code(value, SCHEME, clipped(f"{_CHECK_TITLE}{ascii_text(title) or rule}", MEANING_LENGTH))


def rule_of(concept: Code) -> str:
    """Id of the rule whose concept this is (the inverse of `check_code`); empty for any other code."""
    is_check = concept.scheme == SCHEME and concept.value.startswith(_CHECK)
    return concept.value.removeprefix(_CHECK) if is_check else ""


def rule_title(concept: Code) -> str:
    """Title of the rule whose concept this is (`check_code`)."""
    return concept.meaning.removeprefix(_CHECK_TITLE)


_WORDS = {
    "ratings": "rating of a reader",
    "findings": "finding type of a reader",
    "severities": "severity of a finding of a reader",
    "actions": "action proposed by a reader",
    "confidences": "confidence of a reader",
}


def markdown_table() -> str:
    """The private codes as a Markdown table, for the page that documents them."""
    lines = ["| Code | Meaning | Used as | Unit | Definition |", "|---|---|---|---|---|"]
    for value, entry in PRIVATE.items():
        unit = f"`{entry.unit}`" if entry.unit else ""
        lines.append(f"| `{value}` | {entry.meaning} | {entry.use} | {unit} | {entry.text} |")
    lines += [
        f"| `{term.code}` | {term.name} | {use} | | See [vocabulary.md](vocabulary.md). |"
        for section, use in _WORDS.items()
        for term in default_vocabulary().section(section).values()
    ]
    lines.append("| `CHK-<rule>` | Check: <title of the rule> | check | | The rule of that id in the rule catalogue. |")
    return "\n".join(lines) + "\n"
