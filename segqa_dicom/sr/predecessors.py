"""Which document replaces which: read from the documents themselves, so that no other memory is needed.

A document names the one that it replaces; the current one is the one that nobody names. A review of the same case again
must give the very documents that are there; of a changed case, documents that replace them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segqa_dicom.dicom.uids import stable_uid
from segqa_dicom.errors import UnreadableObject
from segqa_dicom.model import Code
from segqa_dicom.sr import codes
from segqa_dicom.sr.kinds import MACHINE_KINDS, Kind
from segqa_dicom.sr.read import read_origin
from segqa_dicom.sr.write.document import identity
from segqa_dicom.sr.write.evidence import Predecessor


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
    """What an SR states about its place among the revisions; None if segqa did not write it.

    Documents of readers give None, too. Raises `UnreadableObject` for what is no DICOM file.
    """
    try:
        found = read_origin(content)
    except Exception as error:
        raise UnreadableObject(f"an SR of the archive cannot be read ({type(error).__name__})") from error
    if found is None or found.kind not in MACHINE_KINDS:
        return None
    itself = Predecessor(found.sop_instance_uid, found.series_instance_uid, found.sop_class_uid)
    replaced = [Predecessor(*one) for one in found.predecessors]
    return EarlierDocument(Kind(found.kind), found.segmentations, itself, replaced[0] if replaced else None)


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
