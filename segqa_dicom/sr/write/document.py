"""What all our documents share: root, observer, algorithm, identity.

The tree is put together here in the order of the template's rows; highdicom's own template classes cannot do that
(no Summary, no evaluations of the whole, containers that are read as one text).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO

from pydicom import dcmread
from pydicom.dataset import Dataset

from segqa_dicom import __version__
from segqa_dicom.dicom.uids import stable_uid
from segqa_dicom.digests import digest
from segqa_dicom.measures.results import MEASURING_VERSION
from segqa_dicom.model import Code, ContentConflict, CtRecord, SegRecord
from segqa_dicom.report.model import CaseReport
from segqa_dicom.sr import codes, tree
from segqa_dicom.sr.ascii import LONG_STRING, ascii_text, squeezed
from segqa_dicom.sr.kinds import Kind
from segqa_dicom.sr.write.evidence import CtEvidence, Predecessor, ct_evidence, evidence_elements
from segqa_dicom.sr.write.header import MANUFACTURER, PRODUCT, Header, date_time, encoded_file

MAX_GROUPS = 1000
"""Structures per document: a SEG may have 65,535, and no viewer opens a document with that many groups."""


_SERIES_OFFSET = {Kind.REPORT: 1, Kind.KEYIMG: 2, Kind.COMPARE: 3, Kind.REVIEW: 4, Kind.REVIEW_KEYIMG: 5}


@dataclass(frozen=True, eq=False)
class Document:
    """One SR.

    references : SOP Instance UIDs of the SEGs it is about; of a pair the evaluated one first
    file : the DICOM file
    """

    kind: Kind
    sop_instance_uid: str
    references: tuple[str, ...]
    file: bytes
    series_instance_uid: str

    @cached_property
    def dataset(self) -> Dataset:
        """The document as pydicom reads it; changing it does not change `file`."""
        return dcmread(BytesIO(self.file))


@dataclass(frozen=True, eq=False)
class Context:
    """What every document of a case needs.

    titles : rule id -> title
    title : of `report` and `compare`
    max_groups : structures with measurements per document; the Summary says how many are left out
    predecessors : (kind, references) -> the revision that is replaced
    """

    case: CaseReport
    titles: Mapping[str, str]
    title: Code
    max_groups: int
    predecessors: Mapping[tuple[Kind, tuple[str, ...]], Predecessor] = field(default_factory=dict)

    @cached_property
    def ct_evidence(self) -> CtEvidence:
        """References to the CT, the same for all documents."""
        return ct_evidence(self.case.ct)

    @cached_property
    def case_key(self) -> str:
        """What decides the contents of all documents of the case."""
        segmentations = [segmentation.record for segmentation in self.case.segmentations]
        return case_key(self.case.ct, segmentations, self.case.ruleset.hash, self.case.conflicts)


def case_key(
    ct: CtRecord, segmentations: Iterable[SegRecord], ruleset_hash: str, conflicts: Iterable[ContentConflict] = ()
) -> str:
    """SHA-256 of what decides the contents of all documents of a case; known as soon as the case has been read."""
    instances = {uid for _, uid in ct.instances} | {ref.sop_instance_uid for ref in ct.slices}
    segs = sorted((record.sop_instance_uid, record.file_digest) for record in segmentations)
    parts: list[object] = [sorted(instances), segs, ruleset_hash, MEASURING_VERSION]
    if refused := sorted((one.sop_instance_uid, one.kept_digest, one.refused_digest) for one in conflicts):
        parts.append(refused)
    return digest(parts)


@dataclass(frozen=True, eq=False)
class Body:
    """What is particular to one document.

    about : the SEGs, the one that the document is filed under first
    outcome, subjects : for the series description
    parameters : for Algorithm Parameters, beside those of the case
    evaluations : of the SEG as a whole
    """

    kind: Kind
    title: Code
    about: tuple[SegRecord, ...]
    outcome: str
    subjects: tuple[str, ...]
    summary: Sequence[str]
    groups: Sequence[tree.Item]
    parameters: Sequence[str] = ()
    evaluations: Sequence[tree.Item] = ()


def assemble(context: Context, body: Body) -> Document:
    """The document of `body`."""
    case, references = context.case, tuple(record.sop_instance_uid for record in body.about)
    predecessor = context.predecessors.get((body.kind, references))
    earlier = predecessor.sop_instance_uid if predecessor else ""
    parts = identity(
        body.kind, references, context.case_key, earlier, title=context.title, max_groups=context.max_groups
    )
    uids = [segmentation.record.sop_instance_uid for segmentation in case.segmentations]
    date, time = date_time(body.about, case.ct.patient_study)
    header = Header(
        sop_instance_uid=stable_uid(*parts),
        series_instance_uid=stable_uid(*parts, "series"),
        series_number=series_number(body.kind, uids.index(body.about[0].sop_instance_uid)),
        series_description=series_description(body.kind, body.outcome, body.subjects),
        date=date,
        time=time,
        predecessors=(predecessor,) if predecessor else (),
    )
    root = tree.container(body.title, _content(case, body), template="1500", is_root=True)
    content = [*root.elements(), *evidence_elements(context.ct_evidence, body.about)]
    file = encoded_file(header, case.ct, content)
    return Document(body.kind, header.sop_instance_uid, references, file, header.series_instance_uid)


def series_number(kind: Kind, rank: int) -> int:
    """9000 + 10 * rank of the SEG among those of its CT + kind, so that all documents of one SEG stand together."""
    return 9000 + 10 * rank + _SERIES_OFFSET[kind]


def series_description(kind: Kind, outcome: str, subjects: Sequence[str]) -> str:
    """``Report: 3 FAIL TotalSegmentator 2.1``; names that are too long lose their middle.

    The kind comes first: viewers cut the description at about 25 characters.
    """
    start = f"{codes.KINDS[kind].meaning}: {outcome} "
    between = " vs "
    each = (LONG_STRING - len(start) - len(between) * (len(subjects) - 1)) // len(subjects)
    return start + between.join(squeezed(ascii_text(subject), each) for subject in subjects)


def identity(
    kind: Kind,
    references: Sequence[str],
    key: str,
    earlier: str,
    *,
    title: Code = codes.QA_REPORT,
    max_groups: int = MAX_GROUPS,
) -> tuple[object, ...]:
    """What the SOP Instance UID of a document is computed from (`uids.stable_uid`).

    references : SOP Instance UIDs of the SEGs it is about
    key : of the case
    earlier : SOP Instance UID of the revision that it replaces, or empty
    title : of reports and comparisons
    """
    parts: tuple[object, ...] = (kind.value, list(references), key, earlier)
    # Another title or limit is other content, and one SOP Instance UID must never stand for two contents.
    if kind is not Kind.KEYIMG and title != codes.QA_REPORT:
        parts = (*parts, title.key)
    return parts if max_groups == MAX_GROUPS else (*parts, max_groups)


# ---------------------------------------------------------------------------------------------------- content


def _content(case: CaseReport, body: Body) -> list[tree.Item]:
    children = [language(), *_observer()]
    children.append(tree.code(codes.PROCEDURE_REPORTED, codes.CT_PROCEDURE, tree.CONCEPT_MOD))
    children += [tree.text(codes.SUMMARY, line) for line in body.summary]
    if body.groups:
        measurements = [*_algorithm(case, body.parameters), *body.groups]
        children.append(tree.container(codes.IMAGING_MEASUREMENTS, measurements))
    if body.evaluations:
        children.append(tree.container(codes.QUALITATIVE_EVALUATIONS, body.evaluations))
    ruleset = [
        tree.text(codes.RULE_SET_VERSION, case.ruleset.version, tree.PROPERTIES),
        tree.text(codes.RULE_SET_HASH, case.ruleset.hash, tree.PROPERTIES),
    ]
    return [*children, document_kind(body.kind, zip(body.about, body.subjects, strict=True), ruleset)]


def document_kind(
    kind: Kind, segmentations: Iterable[tuple[SegRecord, str]], more: Iterable[tree.Item] = ()
) -> tree.Item:
    """The last item of the root: the kind of the document, below it the names of its SEGs.

    segmentations : each SEG with its name; of a pair the evaluated one first
    """
    names = [
        tree.text(
            codes.SEGMENTATION_NAME,
            name,
            tree.PROPERTIES,
            [tree.segment_image(codes.SEGMENTATION_NAME, *_class_and_instance(record), relation=tree.PROPERTIES)],
        )
        for record, name in segmentations
    ]
    return tree.code(codes.DOCUMENT_KIND, codes.KINDS[kind], children=[*more, *names])


def _class_and_instance(record: SegRecord) -> tuple[str, str]:
    return record.sop_class_uid, record.sop_instance_uid


def language() -> tree.Item:
    """TID 1204."""
    return tree.code(codes.LANGUAGE, codes.ENGLISH, tree.CONCEPT_MOD)


def _observer() -> list[tree.Item]:
    """TID 1002 and 1004. The version is no serial number; it stands under Algorithm Version and Software Versions."""
    return [
        tree.code(codes.OBSERVER_TYPE, codes.DEVICE, tree.OBS_CONTEXT),
        tree.uid_reference(codes.DEVICE_UID, stable_uid("device", PRODUCT, __version__), tree.OBS_CONTEXT),
        tree.text(codes.DEVICE_NAME, PRODUCT, tree.OBS_CONTEXT),
        tree.text(codes.DEVICE_MANUFACTURER, MANUFACTURER, tree.OBS_CONTEXT),
        tree.text(codes.DEVICE_MODEL_NAME, PRODUCT, tree.OBS_CONTEXT),
    ]


def _algorithm(case: CaseReport, more: Sequence[str]) -> list[tree.Item]:
    """TID 4019."""
    ruleset = (f"ruleset_version={case.ruleset.version}", f"ruleset_hash={case.ruleset.hash}")
    parameters = dict.fromkeys((*more, *case.parameters, *ruleset, f"measuring_version={MEASURING_VERSION}"))
    return [
        tree.text(codes.ALGORITHM_NAME, PRODUCT, tree.CONCEPT_MOD),
        tree.text(codes.ALGORITHM_VERSION, __version__, tree.CONCEPT_MOD),
        *(tree.text(codes.ALGORITHM_PARAMETERS, parameter, tree.CONCEPT_MOD) for parameter in parameters),
    ]
