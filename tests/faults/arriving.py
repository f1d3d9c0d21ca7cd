"""Cases that arrive in pieces, and what must have become of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydicom import Dataset, dcmread

from segqa_dicom.ledger import Case, CaseState
from tests.findings.making import our_documents
from tests.servers.process import wait_until
from tests.servers.service import Serve, send
from tests.service.cases import TINY, copies, small_case


class Pieces:
    """A small case: `ct`, one file per slice, and two segmentations of them, `segs`.

    copy : 0 = the phantom itself, else another study with the same pixels
    """

    def __init__(self, folder: Path, copy: int = 0) -> None:
        self.folder = small_case(folder, TINY)
        if copy:
            self.folder = folder = copies(folder, copy)[-1]
        self.ct = sorted((folder / "ct").iterdir())
        self.segs = sorted(folder.glob("*.dcm"))

    @property
    def all(self) -> list[Path]:
        return [*self.ct, *self.segs]

    def cases(self, service: Serve) -> list[Case]:
        """Its cases in a service."""
        series = str(dcmread(self.ct[0], stop_before_pixels=True).SeriesInstanceUID)
        return [case for case in service.cases() if case.ct_series_instance_uid == series]

    def documents(self, service: Serve) -> list[Dataset]:
        """Its documents in the archive of a service."""
        study = str(dcmread(self.ct[0], stop_before_pixels=True).StudyInstanceUID)
        return [one for one in service.documents() if one.StudyInstanceUID == study]

    def wait_until_confirmed(self, service: Serve) -> Case:
        """Wait until its one case is confirmed."""
        wait_until(lambda: [one.state for one in self.cases(service)] == [CaseState.CONFIRMED], 120, "its case")
        return self.cases(service)[0]

    def reviewed(self) -> list[str]:
        """SOP Instance UIDs of the documents that ``segqa review`` writes for it, sorted."""
        return sorted(one.sop_instance_uid for one in our_documents(self.folder))


def send_at_once(port: int, groups: Sequence[Sequence[Path]], *, aet: str = "SEGQA") -> None:
    """Send each group on an association of its own, all at the same time."""
    with ThreadPoolExecutor(len(groups)) as pool:
        codes = list(pool.map(lambda group: send(port, *group, aet=aet), groups))
    assert codes == [0] * len(groups)


def wait_for_revision(service: Serve, revision: int) -> None:
    """Wait until a revision is finished and nothing more is under way."""
    wait_until(lambda: any(one.revision == revision for one in service.cases()), 60, f"revision {revision}")
    service.wait_for_cases(1)
    assert max(one.revision for one in service.cases(CaseState.CONFIRMED)) == revision


def kept_files(service: Serve) -> dict[str, str]:
    """SHA-256 of every object of a folder archive, by its name."""
    objects = Path(service.archive) / "objects"
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in objects.rglob("*.dcm")}


def predecessors(document: Dataset) -> list[str]:
    """SOP Instance UIDs of what a document replaces."""
    return [
        str(one.ReferencedSOPInstanceUID)
        for study in document.get("PredecessorDocumentsSequence") or ()
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    ]


def current(documents: Sequence[Dataset]) -> list[Dataset]:
    """Those that no other document replaces."""
    replaced = {uid for one in documents for uid in predecessors(one)}
    return [one for one in documents if one.SOPInstanceUID not in replaced]


def kind(document: Dataset) -> str:
    """report, compare or keyimg, as the document states it at the end of its root."""
    return str(document.ContentSequence[-1].ConceptCodeSequence[0].CodeValue).removeprefix("KIND-").lower()


def text_of(document: Dataset) -> str:
    """All text values of a document, one a line."""
    return "\n".join(str(one.value) for one in document.iterall() if one.VR in ("UT", "UC", "LT", "ST", "LO"))


def of_kind(documents: Sequence[Dataset], name: str) -> list[Dataset]:
    return [one for one in documents if kind(one) == name]
