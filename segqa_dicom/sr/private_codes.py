"""Private codes (99SEGQA) with their definitions."""

from __future__ import annotations

from dataclasses import dataclass


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
    "CHKSEV": Definition(
        "Severity of outcome", "property of an outcome", "Below every outcome of a check that is not `PASS`."
    ),
    "CSEV-ERROR": Definition("Error", "severity of an outcome", "The segmentation is wrong (JSON: `error`)."),
    "CSEV-WARNING": Definition("Warning", "severity of an outcome", "Needs review (JSON: `warning`)."),
    "CSEV-INFO": Definition("Information", "severity of an outcome", "Not counted as failed (JSON: `info`)."),
    "CHKVALUE": Definition(
        "Value of check", "property of an outcome", "The number that the rule judged, in the unit of the rule."
    ),
    "CHKLIMIT": Definition("Limit of check", "property of an outcome", "The threshold of the rule, in the same unit."),
    "CONCERNS": Definition(
        "Segments concerned",
        "property of an outcome",
        "Below an outcome in the Qualitative Evaluations: the segments of this SEG (IMAGE) and the other SEGs (UIDREF) "
        "that it is about. Absent if it is about the whole.",
    ),
    "DOCKIND": Definition("Kind of document", "document", "Last item of the root; rule set and names lie below it."),
    "KIND-REPORT": Definition("Report", "kind of document", "Measurements and check outcomes of one SEG."),
    "KIND-COMPARE": Definition("Comparison", "kind of document", "Agreement of two SEGs."),
    "KIND-KEYIMG": Definition("Key images", "kind of document", "Arrows at located failed checks of one SEG."),
    "KIND-REVIEW": Definition("Review", "kind of document", "Ratings and findings of a reader about one SEG."),
    "KIND-REVIEWKEY": Definition("Review images", "kind of document", "Markers at located findings of a reader."),
    "RULESETVERSION": Definition("Version of rule set", "document", "Version of the rules and thresholds."),
    "RULESETHASH": Definition("Hash of rule set", "document", "SHA-256 of all rules and parameters."),
    "SEGNAME": Definition(
        "Name of segmentation",
        "document",
        "What the SEG below it is called: its series description, or the model. Of a pair the evaluated SEG first.",
    ),
    "SEGLABEL": Definition("Segment label", "finding", "Segment Label of the SEG, with its side in words."),
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
    "LOCX": Definition("Location, x", "location", "LPS coordinate of the point, or of the centre of the box.", "mm"),
    "LOCY": Definition("Location, y", "location", "As `LOCX`.", "mm"),
    "LOCZ": Definition("Location, z", "location", "As `LOCX`.", "mm"),
    "LOWX": Definition("Lowest corner, x", "location", "LPS coordinate of the corner of the box.", "mm"),
    "LOWY": Definition("Lowest corner, y", "location", "As `LOWX`.", "mm"),
    "LOWZ": Definition("Lowest corner, z", "location", "As `LOWX`.", "mm"),
    "HIGHX": Definition("Highest corner, x", "location", "LPS coordinate of the corner of the box.", "mm"),
    "HIGHY": Definition("Highest corner, y", "location", "As `HIGHX`.", "mm"),
    "HIGHZ": Definition("Highest corner, z", "location", "As `HIGHX`.", "mm"),
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
    "TIMESPENT": Definition("Time spent", "review", "Seconds for the whole reading.", "s"),
    "SEGTIME": Definition(
        "Time spent on segment", "review", "Seconds for the segment below it, or for the SEG as a whole.", "s"
    ),
    "NFIND": Definition(
        "Number of findings",
        "measurement",
        "Number of findings of the reader on the segment, or on the SEG as a whole.",
        "{count}",
    ),
}
