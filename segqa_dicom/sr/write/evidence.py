"""References to other instances in the header (PS3.3, section C.17.2): the evidence, and the replaced document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydicom.uid import ComprehensiveSRStorage

from segqa_dicom.dicom import encoding
from segqa_dicom.model import CtRecord, SegRecord
from segqa_dicom.sr import tree

_SERIES_INSTANCE_UID = 0x0020000E
_STUDY_INSTANCE_UID = 0x0020000D
_REFERENCED_SERIES_SEQUENCE = 0x00081115
_REFERENCED_SOP_SEQUENCE = 0x00081199
_CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE = 0x0040A375
_PERTINENT_OTHER_EVIDENCE_SEQUENCE = 0x0040A385


@dataclass(frozen=True, slots=True)
class Predecessor:
    """A document in the study of the CT: the earlier revision that one replaces, or another that one refers to."""

    sop_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str = str(ComprehensiveSRStorage)


@dataclass(frozen=True, slots=True)
class CtEvidence:
    """The instances of the CT series: the same thousand references stand in every document of a case.

    instances : SOP Class UID by SOP Instance UID, in the order of the evidence
    references : the instances as items of a Referenced SOP Sequence
    """

    study_instance_uid: str
    series_instance_uid: str
    instances: Mapping[str, str]
    references: bytes


def ct_evidence(ct: CtRecord) -> CtEvidence:
    """Everything that came in with the CT series; what slices refer to must be among it."""
    instances: dict[str, str] = {}
    for sop_class_uid, uid in ct.instances:
        instances.setdefault(uid, sop_class_uid)
    for ref in ct.slices:
        instances.setdefault(ref.sop_instance_uid, ref.sop_class_uid)
    references = b"".join(instance_reference(sop_class_uid, uid) for uid, sop_class_uid in instances.items())
    return CtEvidence(ct.study_instance_uid, ct.series_instance_uid, instances, references)


def evidence_elements(ct: CtEvidence, about: Iterable[SegRecord], documents: Iterable[Predecessor] = ()) -> list[bytes]:
    """The evidence of a document about some SEGs, the CT first; what is of another study is other evidence.

    documents : SRs of the CT's study that it refers to
    """
    studies = {ct.study_instance_uid: {ct.series_instance_uid: ct.references}}
    for record in {record.sop_instance_uid: record for record in about}.values():
        if record.sop_instance_uid not in ct.instances:
            series = studies.setdefault(record.study_instance_uid, {})
            earlier = series.get(record.series_instance_uid, b"")
            instance = instance_reference(record.sop_class_uid, record.sop_instance_uid)
            series[record.series_instance_uid] = earlier + instance
    for one in documents:
        series = studies[ct.study_instance_uid]
        instance = instance_reference(one.sop_class_uid, one.sop_instance_uid)
        series[one.series_instance_uid] = series.get(one.series_instance_uid, b"") + instance
    current, *other = (study_reference(study, series) for study, series in studies.items())
    elements = [encoding.sequence(_CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, (current,))]
    return [*elements, encoding.sequence(_PERTINENT_OTHER_EVIDENCE_SEQUENCE, other)] if other else elements


def study_reference(study_instance_uid: str, series: Mapping[str, bytes]) -> bytes:
    """An item that refers to instances of one study; series = items of Referenced SOP Sequence by series."""
    series_items = [
        encoding.item(
            (encoding.sequence(_REFERENCED_SOP_SEQUENCE, (instances,)), encoding.text(_SERIES_INSTANCE_UID, "UI", uid))
        )
        for uid, instances in series.items()
    ]
    series_sequence = encoding.sequence(_REFERENCED_SERIES_SEQUENCE, series_items)
    return encoding.item((series_sequence, encoding.text(_STUDY_INSTANCE_UID, "UI", study_instance_uid)))


def instance_reference(sop_class_uid: str, sop_instance_uid: str) -> bytes:
    """An item that refers to one instance."""
    return encoding.item(tree.reference(sop_class_uid, sop_instance_uid))
