"""Cases that arrive in pieces, and what must have become of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydicom import Dataset

from segqa_dicom.ledger import CaseState
from tests.command import segqa
from tests.servers.process import wait_until
from tests.servers.service import Serve, send
from tests.service.cases import TINY, small_case


class Pieces:
    """A small case: `ct`, one file per slice, and two segmentations of them, `segs`."""

    def __init__(self, folder: Path) -> None:
        self.folder = small_case(folder, TINY)
        self.ct = sorted((folder / "ct").iterdir())
        self.segs = sorted(folder.glob("*.dcm"))

    @property
    def all(self) -> list[Path]:
        return [*self.ct, *self.segs]

    def reviewed(self, out: Path) -> list[Path]:
        """The documents that ``segqa review`` writes for it."""
        assert segqa("review", self.folder, "--out", out, "--quiet").code == 0
        return sorted(out.iterdir())


def uid_of(document: Path) -> str:
    """Of a document that ``segqa review`` has written."""
    return document.stem.partition("_")[2]


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
