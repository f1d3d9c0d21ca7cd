"""Which document replaces which: read from the documents themselves, so that no other memory is needed.

A document names the one that it replaces; the current one is the one that nobody names. A review of the same case again
must give the very documents that are there; of a changed case, documents that replace them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmread

from segqa_dicom.dicom.sop_classes import SEG_CLASSES
from segqa_dicom.dicom.uids import stable_uid
from segqa_dicom.errors import UnreadableObject
from segqa_dicom.model import Code
from segqa_dicom.sr import codes
from segqa_dicom.sr.write.document import MACHINE_KINDS, SERIES_NAMES, Kind, identity
from segqa_dicom.sr.write.evidence import Predecessor
from segqa_dicom.sr.write.header import is_own_sr

_KIND_BY_ENDING = {f" SEGQA {SERIES_NAMES[kind]}": kind for kind in MACHINE_KINDS}
"""Documents of readers are none of the machine's revisions, whatever they are about."""
_KEYWORDS = (
    "Modality",
    "Manufacturer",
    "ManufacturerModelName",
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SeriesDescription",
    "PredecessorDocumentsSequence",
    "CurrentRequestedProcedureEvidenceSequence",
    "PertinentOtherEvidenceSequence",
)


@dataclass(frozen=True, slots=True)
class EarlierDocument:
    """A document of ours that is in the archive.

    references : SOP Instance UIDs of the SEGs it is about; of a pair the evaluated one first
    predecessor : what it replaces itself
    """

    kind: Kind
    references: tuple[str, ...]
    itself: Predecessor
    predecessor: Predecessor | None


def read_earlier(content: Path | bytes) -> EarlierDocument | None:
    """What an SR says about its place among the revisions; None if segqa did not write it.

    Documents of readers give None, too. Raises `UnreadableObject` for what is no DICOM file.
    """
    try:
        dataset = dcmread(content if isinstance(content, Path) else BytesIO(content), specific_tags=list(_KEYWORDS))
        return _earlier(dataset)
    except Exception as error:
        raise UnreadableObject(f"an SR of the archive cannot be read ({type(error).__name__})") from error


def _earlier(dataset: Dataset) -> EarlierDocument | None:
    description = str(dataset.get("SeriesDescription", ""))
    kind = next((kind for ending, kind in _KIND_BY_ENDING.items() if description.endswith(ending)), None)
    if kind is None or not is_own_sr(dataset):
        return None
    evidence = [*_instances(dataset, "CurrentRequestedProcedureEvidenceSequence")]
    evidence += _instances(dataset, "PertinentOtherEvidenceSequence")
    # Of a pair the SEG with the smaller UID is the reference, which stands last.
    references = sorted({one.sop_instance_uid for one in evidence if one.sop_class_uid in SEG_CLASSES}, reverse=True)
    itself = Predecessor(str(dataset.SOPInstanceUID), str(dataset.SeriesInstanceUID), str(dataset.SOPClassUID))
    replaced = _instances(dataset, "PredecessorDocumentsSequence")
    return EarlierDocument(kind, tuple(references), itself, replaced[0] if replaced else None)


def _instances(dataset: Dataset, keyword: str) -> list[Predecessor]:
    return [
        Predecessor(
            str(instance.ReferencedSOPInstanceUID), str(series.SeriesInstanceUID), str(instance.ReferencedSOPClassUID)
        )
        for study in dataset.get(keyword) or ()
        for series in study.get("ReferencedSeriesSequence") or ()
        for instance in series.get("ReferencedSOPSequence") or ()
    ]


def predecessors(
    earlier: Iterable[EarlierDocument], case_key: str, *, title: Code = codes.QA_REPORT
) -> Mapping[tuple[Kind, tuple[str, ...]], Predecessor]:
    """What the documents of a case replace, for `build_documents`.

    earlier : all documents of ours in the archive that could be about the case, in any order
    A document that is current and of this very case is not replaced: its own predecessor is the answer, so that the
    document is built as it was.
    """
    found: dict[tuple[Kind, tuple[str, ...]], Predecessor] = {}
    for key, current in _current(earlier).items():
        predecessor = current.predecessor if _is_of(current, case_key, title) else current.itself
        if predecessor is not None:
            found[key] = predecessor
    return found


def documents_of(
    segmentations: Sequence[str], earlier: Iterable[EarlierDocument], case_key: str, *, title: Code = codes.QA_REPORT
) -> list[EarlierDocument]:
    """The documents of this very case, if it was reviewed before; else none.

    It was if the current report of every segmentation (SOP Instance UIDs) is of this case: reports are stored after all
    other documents of a case, so where they are, the others are, too.
    """
    current = [one for one in _current(earlier).values() if _is_of(one, case_key, title)]
    reported = {one.references for one in current if one.kind is Kind.REPORT}
    return current if {(uid,) for uid in segmentations} <= reported else []


def _current(earlier: Iterable[EarlierDocument]) -> dict[tuple[Kind, tuple[str, ...]], EarlierDocument]:
    """The document of each kind and references that no other names as its predecessor."""
    documents = sorted(earlier, key=lambda one: one.itself.sop_instance_uid)
    replaced = {one.predecessor.sop_instance_uid for one in documents if one.predecessor}
    return {(one.kind, one.references): one for one in documents if one.itself.sop_instance_uid not in replaced}


def _is_of(document: EarlierDocument, case_key: str, title: Code) -> bool:
    replaced = document.predecessor.sop_instance_uid if document.predecessor else ""
    parts = identity(document.kind, document.references, case_key, replaced, title=title)
    return stable_uid(*parts) == document.itself.sop_instance_uid
