"""Changes of an archive: Orthanc's list of changes, the index of a folder, or a comparison of all series.

A feed is polled with the cursor of its last answer. A client that stores this cursor together with the changes misses
none. A feed may report a change twice.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

from segqa_dicom.archive.base import Archive, Instance, Series
from segqa_dicom.archive.dicomweb import DicomwebArchive
from segqa_dicom.archive.folder import FolderArchive
from segqa_dicom.archive.transport import Patience, Peer, peer_at
from segqa_dicom.dicom.uids import normalised_uid
from segqa_dicom.errors import Inconsistent, PeerRefused

WATCHED_MODALITIES = ("CT", "SEG", "SR")
_PARENTS_KEPT = 10_000

_ONCE_MORE = Patience(attempts=2, first_wait_s=0.1)
"""Orthanc closes a connection that is idle for a second, perhaps just when the next request is sent. Longer
failures are for the caller, who polls again anyway."""

_Resource = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class News:
    """Changes since a cursor.

    instances : new instances, if the archive reports them
    touched_series : series with possibly new instances, for `Archive.list_instances`
    cursor : for the next call
    done : whether there are no more changes for now
    """

    instances: tuple[Instance, ...]
    touched_series: tuple[Series, ...]
    cursor: str
    done: bool


class Feed(Protocol):
    """A source of changes; thread-safe."""

    def news(self, cursor: str, limit: int) -> News:
        """At most `limit` changes after `cursor` (empty = from the beginning).

        Raises `PeerUnavailable` if the archive does not answer now, `PeerRefused` if it does not support the request.
        """


class OrthancFeed:
    """Orthanc's list of changes, which is complete and survives crashes.

    rest_url : root of Orthanc's own REST interface, e.g. ``http://host:8042``
    """

    def __init__(self, rest_url: str, *, user: str = "", password: str = "", timeout_s: float = 300) -> None:
        self.peer = peer_at(rest_url, user=user, password=password, timeout_s=timeout_s)
        self._series: OrderedDict[str, Series] = OrderedDict()

    def news(self, cursor: str, limit: int) -> News:
        """New instances, and series that became stable.

        "Stable" is only a hint, which is missing after a crash. The cursor has number and digest of the last change; if
        the list is another one, because Orthanc was reinstalled, all changes are reported from the beginning.
        """
        number, mark = _position(cursor)
        changes, last, done = self._changes(max(number - 1, 0), max(limit, 1) + (number > 0))
        at_cursor = next((one for one in changes if _number(one) == number), None)
        if last < number or (at_cursor is not None and mark and _mark(at_cursor) != mark):
            changes, last, done = self._changes(0, max(limit, 1))
            number, mark = 0, ""
        fresh = [one for one in changes if _number(one) > number]
        newest = fresh[-1] if fresh else None
        return News(
            self._instances(_names(fresh, "NewInstance")),
            self._stable(_names(fresh, "StableSeries")),
            f"{_number(newest)}:{_mark(newest)}" if newest else f"{number}:{mark}",
            done,
        )

    def _changes(self, since: int, limit: int) -> tuple[list[_Resource], int, bool]:
        answer = _ONCE_MORE.again(lambda: self.peer.json("GET", f"/changes?since={since}&limit={limit}"))
        if not isinstance(answer, dict) or not isinstance(answer.get("Changes"), list):
            raise PeerRefused(f"{self.peer.url} does not list its changes as Orthanc does")
        changes: list[_Resource] = [one for one in answer["Changes"] if isinstance(one, dict)]
        return changes, int(answer.get("Last", 0)), bool(answer.get("Done", True))

    def _instances(self, names: Sequence[str]) -> tuple[Instance, ...]:
        """Instances by their Orthanc identifiers, without those that were deleted meanwhile."""
        found = self._resources(names)
        series = self._known_series(str(one.get("ParentSeries", "")) for one in found)
        instances = (_instance(one, series.get(str(one.get("ParentSeries", "")))) for one in found)
        return tuple(dict.fromkeys(one for one in instances if one))

    def _stable(self, names: Sequence[str]) -> tuple[Series, ...]:
        for name in names:
            self._series.pop(name, None)  # it grew: its number of instances is out of date
        return tuple(dict.fromkeys(self._known_series(names).values()))

    def _known_series(self, names: Iterable[str]) -> dict[str, Series]:
        """Series by their Orthanc identifiers, each requested once."""
        wanted = dict.fromkeys(name for name in names if name)
        known = {name: series for name in wanted if (series := self._series.get(name))}
        fresh = self._resources([name for name in wanted if name not in known])
        studies = self._resources(list(dict.fromkeys(str(one.get("ParentStudy", "")) for one in fresh)))
        study_of = {str(one.get("ID")): _tag(one, "StudyInstanceUID") for one in studies}
        for one in fresh:
            if series := _series(one, study_of.get(str(one.get("ParentStudy")), "")):
                known[str(one.get("ID"))] = series
        self._series.update(known)
        while len(self._series) > _PARENTS_KEPT:
            self._series.popitem(last=False)
        return known

    def _resources(self, names: Sequence[str]) -> list[_Resource]:
        """Resources by one request, without those that were deleted."""
        if not names:
            return []
        asked = {"Resources": list(names), "Metadata": True}
        answer = _ONCE_MORE.again(lambda: self.peer.json("POST", "/tools/bulk-content", asked))
        if not isinstance(answer, list):
            raise PeerRefused(f"{self.peer.url} does not answer as Orthanc does")
        return [one for one in answer if isinstance(one, dict)]


class FolderFeed:
    """The index of a folder archive; deleted instances are not reported."""

    def __init__(self, archive: FolderArchive) -> None:
        self._archive = archive

    def news(self, cursor: str, limit: int) -> News:
        """New instances, each once.

        The cursor has the number of the last row and the mark of the index. If the index was rebuilt, so that numbers
        belong to other instances, all are reported from the beginning.
        """
        number, mark = _position(cursor)
        limit = max(limit, 1)
        found_mark, rows = self._archive.arrived_after(number, limit)
        if found_mark != mark and number:
            number = 0
            found_mark, rows = self._archive.arrived_after(number, limit)
        last = rows[-1][0] if rows else number
        return News(tuple(one for _, one in rows), (), f"{last}:{found_mark}", len(rows) < limit)


class QidoFeed:
    """All series of some modalities, compared with the last time, for archives without a list of changes.

    Compared is Number of Series Related Instances, so that one query per modality is enough. The replacement of an
    instance is not noticed, nor a change in a series whose number the archive does not report.
    """

    def __init__(self, archive: Archive, modalities: Sequence[str] = WATCHED_MODALITIES) -> None:
        self._archive = archive
        self._modalities = tuple(modalities)

    def news(self, cursor: str, limit: int) -> News:
        """New series and those with another number of instances.

        The cursor is JSON: the number of instances by the first 16 digits of the SHA-256 of the series' UIDs.
        """
        seen = _seen(cursor)
        now = {
            _short(one): one for modality in self._modalities for one in self._archive.list_series(modality=modality)
        }
        changed = {key: one for key, one in now.items() if seen.get(key) != _count(one)}
        told = dict(list(changed.items())[: max(limit, 1)])
        kept = {key: count for key, count in seen.items() if key in now}
        kept |= {key: _count(one) for key, one in told.items()}
        text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
        return News((), tuple(told.values()), text, len(told) == len(changed))


def feed_for(
    archive_url: str,
    *,
    user: str = "",
    password: str = "",
    timeout_s: float = 300,
    modalities: Sequence[str] = WATCHED_MODALITIES,
) -> Feed:
    """The feed of the archive at a DICOMweb URL: `OrthancFeed` if Orthanc's REST interface is reachable.

    modalities : of the series that `QidoFeed` compares

    The REST interface is expected one level above DICOMweb, where it is without a proxy.
    Raises `PeerUnavailable` if the archive does not answer.
    """
    parts = urlsplit(archive_url)
    above = parts.path.rstrip("/").rpartition("/")[0]
    rest_url = urlunsplit((parts.scheme, parts.netloc, above, "", ""))
    feed = OrthancFeed(rest_url, user=user, password=password, timeout_s=timeout_s)
    if _is_orthanc(feed.peer):
        return feed
    archive = DicomwebArchive(archive_url, user=user, password=password, timeout_s=timeout_s)
    return QidoFeed(archive, modalities)


def _is_orthanc(root: Peer) -> bool:
    try:
        system = root.json("GET", "/system")
        changes = root.json("GET", "/changes?since=0&limit=1")
        root.json("POST", "/tools/bulk-content", {"Resources": []})
    except PeerRefused:
        return False
    return isinstance(system, dict) and "ApiVersion" in system and isinstance(changes, dict) and "Last" in changes


def _position(cursor: str) -> tuple[int, str]:
    number, _, mark = cursor.partition(":")
    return (int(number), mark) if number.isdigit() else (0, "")


def _number(change: _Resource) -> int:
    return int(change.get("Seq", 0))


def _mark(change: _Resource) -> str:
    """A digest that differs for a change with the same number in another list."""
    text = "|".join(str(change.get(key, "")) for key in ("ChangeType", "ID", "Date"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _names(changes: Iterable[_Resource], kind: str) -> list[str]:
    return list(dict.fromkeys(str(one["ID"]) for one in changes if one.get("ChangeType") == kind and "ID" in one))


def _tag(resource: _Resource, keyword: str) -> str:
    tags = resource.get("MainDicomTags")
    return str(tags.get(keyword, "")) if isinstance(tags, dict) else ""


def _instance(resource: _Resource, series: Series | None) -> Instance | None:
    """The instance; None if its series was deleted or a UID is invalid."""
    metadata = resource.get("Metadata")
    sop_class = metadata.get("SopClassUid", "") if isinstance(metadata, dict) else ""
    if series is None:
        return None
    try:
        return Instance(
            series.study_instance_uid,
            series.series_instance_uid,
            normalised_uid(_tag(resource, "SOPInstanceUID"), what="SOP Instance UID"),
            normalised_uid(sop_class, what="SOP Class UID"),
        )
    except Inconsistent:
        return None


def _series(resource: _Resource, study: str) -> Series | None:
    instances = resource.get("Instances")
    try:
        return Series(
            normalised_uid(study, what="Study Instance UID"),
            normalised_uid(_tag(resource, "SeriesInstanceUID"), what="Series Instance UID"),
            _tag(resource, "Modality"),
            len(instances) if isinstance(instances, list) else None,
        )
    except Inconsistent:
        return None


def _seen(cursor: str) -> dict[str, int]:
    try:
        found = json.loads(cursor or "{}")
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: count for key, count in found.items() if isinstance(count, int)}


def _short(series: Series) -> str:
    return hashlib.sha256(f"{series.study_instance_uid}|{series.series_instance_uid}".encode()).hexdigest()[:16]


def _count(series: Series) -> int:
    return -1 if series.instance_count is None else series.instance_count
