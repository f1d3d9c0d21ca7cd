"""Every code that our documents use; the private ones with a definition each.

A private code is defined once, in `PRIVATE`; the page that explains them is made from there (`markdown_table`).
Standard codes are literals too: pydicom does not know those that came with PS3.16 2026 (130920 to 130923) yet.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from segqa_dicom.assessment.model import Purpose
from segqa_dicom.assessment.vocabulary import default_vocabulary
from segqa_dicom.checks.finding import Outcome, Verdict
from segqa_dicom.model import Code
from segqa_dicom.sr.ascii import ascii_text, clipped

SCHEME = "99SEGQA"
"""Designator of our private coding scheme (PS3.16, section 8: private designators start with 99)."""
SCHEME_NAME = "Segmentation QA codes"
MEANING_LENGTH = 64
VALUE_LENGTH = 16
"""Longer ones go to Long Code Value, which OHIF and dcmqi do not read."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One private code: its meaning, what kind of thing it is, its unit, and what exactly it says."""

    meaning: str
    use: str
    text: str
    unit: str = ""


PRIVATE: dict[str, Definition] = {
    "QAREPORT": Definition(
        "Segmentation Quality Report",
        "document title",
        "Title of `report`, `compare` and `review`. Not 126000: OHIF shows a document of that title as markers only, "
        "and as a black viewport if a group has no coordinates.",
    ),
    "LCS": Definition(
        "Largest component share",
        "measurement",
        "100 * voxels of the largest 26-connected component / voxels of the segment.",
        "%",
    ),
    "NCC": Definition(
        "Number of connected components",
        "measurement",
        "Number of 26-connected components of the segment, however small.",
        "{count}",
    ),
    "HUSD": Definition(
        "Standard deviation of attenuation",
        "measurement",
        "Standard deviation of the HU of all voxels of the segment, of the population (divided by n).",
        "[hnsf'U]",
    ),
    "RISK": Definition(
        "Risk score",
        "measurement",
        "0 or more; a higher score means: look at it earlier. It ranks structures, it is not a probability.",
        "{ratio}",
    ),
    "NFAIL": Definition(
        "Number of failed checks",
        "measurement",
        "Number of checks of the structure that complain with severity warning or error. In the key findings a finding "
        "that is not a check of one structure counts as one more.",
        "{count}",
    ),
    "SDSC": Definition(
        "Surface Dice Similarity Coefficient",
        "measurement",
        "Share of both surfaces, by area and pooled, that lies within the tolerance (Algorithm Parameters) of the "
        "other; 0 to 1. Also called normalised surface Dice. Nikolov 2021, surfel look-up.",
        "{ratio}",
    ),
    "HD": Definition(
        "Hausdorff Distance",
        "measurement",
        "Largest distance from a point of either surface to the other surface; surfels as in Nikolov 2021.",
        "mm",
    ),
    "HD95": Definition(
        "Hausdorff Distance 95th percentile",
        "measurement",
        "The larger of the two 95th percentiles, weighted by area, of the distances from one surface to the other.",
        "mm",
    ),
    "ASSD": Definition(
        "Average Symmetric Surface Distance",
        "measurement",
        "Mean distance, weighted by area, of the points of both surfaces, pooled, to the other surface.",
        "mm",
    ),
    "VDIFF": Definition(
        "Relative Volume Difference",
        "measurement",
        "100 * (volume of the evaluated segment - volume of the reference segment) / volume of the reference segment; "
        "positive if the evaluated segment is larger.",
        "%",
    ),
    "REFSEG": Definition(
        "Reference segment of comparison",
        "reference",
        'The segment that another one, its "Source of Measurement", was compared with. It is not taken for true.',
    ),
    "SEGQC": Definition(
        "Segmentation quality",
        "verdict",
        "What the rules say together about a segment, or in the Qualitative Evaluations about the whole SEG.",
    ),
    "QC-FAIL": Definition("Failed", "verdict", "A rule of severity error failed (JSON: `unusable`)."),
    "QC-REVIEW": Definition(
        "Needs review", "verdict", "A rule of severity warning failed, none of severity error (JSON: `review`)."
    ),
    "QC-PASS": Definition("Passed", "verdict", "No rule of severity warning or error failed (JSON: `usable`)."),
    "PASS": Definition("Passed", "outcome of a check", "The rule was evaluated and is kept."),
    "WARN": Definition("Warning", "outcome of a check", "The rule is not kept, by less than what makes it fail."),
    "FAIL": Definition("Failed", "outcome of a check", "The rule is not kept."),
    "NOTRUN": Definition(
        "Not evaluated", "outcome of a check", "The rule does not apply here, or could not be evaluated."
    ),
    "UNCODED": Definition(
        "Structure without a code", "finding", "The SEG gives no Segmented Property Type Code for the segment."
    ),
    "SEGFIND": Definition(
        "Segmentation finding",
        "finding of a reader",
        "What a reader complains about in a segment, or in the whole SEG. Its severity, location and comment lie below "
        "it; viewers that do not show these show `FINDNOTE`, which follows.",
    ),
    "FINDNOTE": Definition(
        "Details of finding",
        "finding of a reader",
        "The finding above in words: its name, severity and comment, and whether it is located.",
    ),
    "SEVERITY": Definition("Severity of finding", "finding of a reader", "How much the finding matters to the reader."),
    "LOCATION": Definition(
        "Location of finding",
        "finding of a reader",
        "LPS mm of the point, or of the centre of the box: `(x, y, z)`; of a box, then its lowest and highest corner: "
        "`(x, y, z) box (x, y, z) to (x, y, z)`.",
    ),
    "RATING": Definition("Overall rating", "judgement of a reader", "How usable the segment is to the reader."),
    "ACTION": Definition("Proposed action", "judgement of a reader", "What should be done with the segment."),
    "CONFIDENCE": Definition("Confidence of reader", "judgement of a reader", "How sure the reader is."),
    "REVIEWED": Definition(
        "Reviewed report", "reference", "The report of the machine that the reader had beside the images."
    ),
    "CONSIDERED": Definition(
        "Considered review", "reference", "A review that the reader decided about, or replaced an opinion of."
    ),
    "EXPLAINS": Definition("Review shown by markers", "reference", "The review whose located findings are marked."),
    "PURPOSE": Definition("Purpose of review", "review", "Why the reader reviewed."),
    "READING": Definition("Reading", "purpose of review", "To say what the reader thinks of the segments."),
    "REPEAT": Definition("Repeat", "purpose of review", "The same reader again, without seeing the first reading."),
    "ADJUDICATION": Definition("Adjudication", "purpose of review", "To decide where readers differ."),
    "READINGNUMBER": Definition("Number of reading", "review", "1; higher for repeats of the same reader."),
    "VOCABULARY": Definition("Version of vocabulary", "review", "Version of the vocabulary that words were chosen of."),
    "REVIEWEDAT": Definition("Reviewed at", "review", "Date and time of the review, with the offset from UTC."),
    "TIMESPENT": Definition(
        "Time spent", "review", "Seconds in all, then by segment (0 = the whole): `95.5 s (1: 60.5 s, 4: 35 s)`."
    ),
    "NFIND": Definition(
        "Number of findings",
        "measurement",
        "Number of findings of the reader on the segment, or on the SEG as a whole.",
        "{count}",
    ),
}


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
QUALITY_ASSESSMENT = Code("111050", "DCM", "Quality Assessment")
MEETS_STANDARD = Code("111237", "DCM", "Usable - Meets the quality control standard")
MISSES_STANDARD = Code("111236", "DCM", "Usable - Does not meet the quality control standard")

# Reviews of readers; their words (ratings, finding types, ...) are those of the vocabulary
SEGMENTATION_FINDING = _private("SEGFIND")
FINDING_DETAILS = _private("FINDNOTE")
SEVERITY = _private("SEVERITY")
LOCATION = _private("LOCATION")
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


def check_code(rule: str, title: str = "") -> Code:
    """The concept of a rule, ``(CHK-T1,99SEGQA,"Check: <title>")``; made from its id so that no list can lag behind."""
    rule = ascii_text(rule)
    value = f"CHK-{rule}"
    if len(value) > VALUE_LENGTH:
        # Cut ids must stay different from each other.
        value = f"{value[:11]}-{hashlib.sha256(rule.encode()).hexdigest()[:4]}"
    return Code(value, SCHEME, clipped(f"Check: {ascii_text(title) or rule}", MEANING_LENGTH))


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
