"""Keeping the index of findings in step with the archive: what is new, or everything compared."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from segqa_dicom import log
from segqa_dicom.archive.base import Archive, Instance
from segqa_dicom.archive.feed import Feed
from segqa_dicom.archive.folder import FolderArchive
from segqa_dicom.archive.folder_keys import Level
from segqa_dicom.archive.folder_search import Question
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.sop_classes import SEG_CLASSES, SR_CLASSES
from segqa_dicom.errors import Inconsistent, InputError
from segqa_dicom.findings.index import FindingsIndex, SegmentationName
from segqa_dicom.progress import Progress, silent
from segqa_dicom.sr.content import Document
from segqa_dicom.sr.read import read_document

MODALITIES = ("SR",)
"""Of the series that are looked into, where the archive does not tell the SOP classes of what is new."""
_REINDEXED = "reindexed"
_BATCH = 20
_SMALL_BATCH = 4
"""Documents at a time where others wait: a report on a hundred structures takes a tenth of a second."""
_MOST_NAMES = 10_000
_NAME_TAGS = {"series_description": "0008103E", "manufacturer": "00080070", "model": "00081090", "version": "00181020"}


@dataclass(frozen=True, slots=True)
class Indexed:
    """What became of the news.

    refused : documents that cannot be read
    is_done : whether there is nothing more at present
    """

    added: int
    refused: int
    is_done: bool


@dataclass(frozen=True, slots=True)
class Reindexed:
    """What `reindex` found: documents in the archive, and how many of them were added, removed, cannot be read."""

    documents: int
    added: int
    removed: int
    refused: int

    def as_json(self) -> dict[str, int]:
        """The numbers by their names."""
        return asdict(self)


def index_news(
    index: FindingsIndex,
    feed: Feed,
    archive: Archive,
    *,
    name: str,
    folder: Path | None = None,
    limits: Limits | None = None,
    limit: int = 500,
    budget_s: float = float("inf"),
) -> Indexed:
    """Add the SRs that are new in the archive.

    name : of the feed, for its cursor, which the index keeps itself: whoever deletes the index has it made anew
    folder : where files of the archive are put while they are read; the system's folder for temporary files if None
    limit : changes that are asked for
    budget_s : after this time the rest is left for the next call

    Raises `PeerUnavailable` and `PeerRefused` if the archive does not answer; what was added stays.
    """
    end = time.monotonic() + budget_s
    news = feed.news(index.cursor(name), limit)
    series = (one for one in news.touched_series if one.modality in MODALITIES)
    listed = (one for s in series for one in archive.list_instances(s.study_instance_uid, s.series_instance_uid))
    fresh = _fresh(index, _documents((*news.instances, *listed)))
    batch = _BATCH if math.isinf(budget_s) else _SMALL_BATCH
    added = refused = 0
    rest = fresh
    while rest and (rest is fresh or time.monotonic() < end):
        more = _index(index, archive, rest[:batch], folder, limits)
        added, refused, rest = added + more[0], refused + more[1], rest[batch:]
    if added or any(one.sop_class_uid in SEG_CLASSES for one in news.instances):
        _name_segmentations(index, archive)
    is_done = news.done and not rest
    if not rest and index.cursor(name) != news.cursor:
        index.set_cursor(name, news.cursor)
    if is_done and isinstance(archive, FolderArchive):
        _forget_deleted(index, archive)
    return Indexed(added, refused, is_done)


def reindex(
    index: FindingsIndex,
    archive: Archive,
    *,
    folder: Path | None = None,
    limits: Limits | None = None,
    progress: Progress = silent,
) -> Reindexed:
    """Make the index agree with the archive: add what is missing, remove what is gone, try again what was refused.

    Raises as `index_news` does; then nothing was removed.
    """
    before = index.documents()
    known = before - set(index.refused())
    there: dict[str, Instance] = {}
    all_series = [one for modality in MODALITIES for one in archive.list_series(modality=modality)]
    for number, series in enumerate(all_series):
        progress("listing series", number, len(all_series))
        found = archive.list_instances(series.study_instance_uid, series.series_instance_uid)
        there |= {one.sop_instance_uid: one for one in _documents(found)}
    missing = [one for uid, one in there.items() if uid not in known]
    added = refused = 0
    for start in range(0, len(missing), _BATCH):
        progress("indexing", start, len(missing))
        more = _index(index, archive, missing[start : start + _BATCH], folder, limits)
        added, refused = added + more[0], refused + more[1]
    removed = index.remove(before - there.keys())
    _name_segmentations(index, archive)
    index.set_cursor(_REINDEXED, str(len(there)))
    return Reindexed(len(there), added, removed, refused)


def _forget_deleted(index: FindingsIndex, archive: FolderArchive) -> None:
    """Remove what was deleted in the archive: looked for only where it has fewer documents than the index."""
    size = index.size_of_documents()
    if archive.count_of_classes(SR_CLASSES) < size:
        known = index.documents()
        gone = known - {one.sop_instance_uid for one in archive.find_instances(known)}
        index.remove(gone)


def _documents(instances: Iterable[Instance]) -> list[Instance]:
    return [one for one in dict.fromkeys(instances) if one.sop_class_uid.startswith(SR_CLASSES)]


def _fresh(index: FindingsIndex, instances: Sequence[Instance]) -> list[Instance]:
    known = index.known(one.sop_instance_uid for one in instances) if instances else set()
    return [one for one in instances if one.sop_instance_uid not in known]


def _index(
    index: FindingsIndex, archive: Archive, instances: Sequence[Instance], folder: Path | None, limits: Limits | None
) -> tuple[int, int]:
    """Numbers of documents that were added and refused."""
    reasons: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="findings-", dir=folder) as name:
        paths = archive.fetch(instances, Path(name))
        added = index.add(_read(instances, paths, limits, reasons))
    if reasons:
        index.refuse(reasons)
    return added, len(reasons)


def _read(
    instances: Sequence[Instance], paths: dict[str, Path], limits: Limits | None, reasons: dict[str, str]
) -> Iterator[Document]:
    """The documents that can be read; why the others cannot goes into `reasons`."""
    for one in instances:
        uid = one.sop_instance_uid
        if uid not in paths:  # gone meanwhile
            continue
        try:
            document = read_document(paths[uid], limits)
            if document.sop_instance_uid != uid:
                raise Inconsistent("file is another object than its SOP Instance UID says")
        except InputError as error:
            log.event("document not indexed", object=log.hashed(uid), reason=type(error).__name__)
            reasons[uid] = str(error)
            continue
        yield document


def _name_segmentations(index: FindingsIndex, archive: Archive) -> None:
    """Find out what SEGs are called; of other archives than folders that is told by our own documents only."""
    if not isinstance(archive, FolderArchive):
        return
    unnamed = index.unnamed_segmentations(_MOST_NAMES)
    if not unnamed:
        return
    include = ("SeriesDescription", "Manufacturer", "ManufacturerModelName", "SoftwareVersions")
    found = archive.search(Question(Level.INSTANCE, include=include, among=unnamed))
    names = [
        SegmentationName(
            str(row["00080018"]["Value"][0]),
            **{name: " ".join(map(str, row.get(tag, {}).get("Value") or ())) for name, tag in _NAME_TAGS.items()},
        )
        for row in found
    ]
    if names:
        index.name_segmentations(names)
