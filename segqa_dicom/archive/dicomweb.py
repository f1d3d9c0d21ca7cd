"""An archive with DICOMweb services: QIDO-RS, WADO-RS, STOW-RS (PS3.18).

Answers are verified where it matters: servers differ in the meaning of statuses, report success although they keep an
older content, ignore unknown filters, and return objects with paths for UIDs.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import requests
from dicomweb_client.web import DICOMwebClient

from segqa_dicom.archive.base import Content, Instance, Outcome, Outgoing, Series, Stored
from segqa_dicom.archive.content import content_digest, same_content
from segqa_dicom.archive.retrieve import Identity, file_name, retrieve
from segqa_dicom.archive.search_results import Row, instance_of, row_key, rows_of, series_of
from segqa_dicom.archive.stow import Answer, Claim, batches, send
from segqa_dicom.archive.transport import Patience, peer_at
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.sop_classes import CT_IMAGE_STORAGE
from segqa_dicom.dicom.uids import normalised_uid
from segqa_dicom.errors import InputError, PeerRefused, PeerUnavailable, UnreadableObject

for _name in ("dicomweb_client", "retrying"):  # they log UIDs, and a traceback for each request that fails
    logging.getLogger(_name).setLevel(logging.CRITICAL)

PAGE = 1000
"""Results per request."""
UIDS_PER_QUERY = 100
"""A URL of 6.5 KB, below the 8 KB that servers and proxies allow."""
ROUNDS = 3
"""Attempts to store an object that is reported as stored, but is not there."""
INDEXING_WAITS_S = (0.3, 1.0)
"""Some archives list an object only a moment after they report it as stored."""
THREADS = 6
_WHOLE_SERIES_FROM = 8
"""Fewer instances are retrieved one by one."""
_MOST = 0.6
"""Least wanted fraction of a series that is retrieved as a whole."""
_NOT_FOUND = 404


class DicomwebArchive:
    """The `Archive` of a DICOMweb server; thread-safe.

    url : root of DICOMweb, e.g. ``http://host:8042/dicom-web``
    timeout_s : read timeout
    patience : retry policy of all requests
    scratch : folder for objects that are compared; None = the system's temporary folder
    """

    def __init__(
        self,
        url: str,
        *,
        user: str = "",
        password: str = "",
        timeout_s: float = 300,
        patience: Patience | None = None,
        limits: Limits | None = None,
        scratch: Path | None = None,
    ) -> None:
        self.peer = peer_at(url, user=user, password=password, timeout_s=timeout_s)
        self.patience = patience or Patience()
        self.limits = limits or Limits()
        self._scratch = scratch
        self._client = DICOMwebClient(
            self.peer.url, self.peer.session, permissive_uid=True, timeout=self.peer.timeouts_s
        )
        self._client.set_http_retry_params(retry=False)
        self._takes_uid_lists: bool | None = None

    @property
    def url(self) -> str:
        """Root of DICOMweb, without user and password."""
        return self.peer.url

    # --- QIDO-RS

    def list_series(
        self,
        *,
        study_instance_uid: str | None = None,
        series_instance_uid: str | None = None,
        modality: str | None = None,
    ) -> list[Series]:
        """As `Archive.list_series`."""
        if study_instance_uid is not None:
            study_instance_uid = normalised_uid(study_instance_uid, what="Study Instance UID")
        if series_instance_uid is not None:
            series_instance_uid = normalised_uid(series_instance_uid, what="Series Instance UID")
        asked = {"SeriesInstanceUID": series_instance_uid, "Modality": modality}
        filters = {name: value for name, value in asked.items() if value is not None}

        search = partial(self._client.search_for_series, study_instance_uid, limit=PAGE, search_filters=filters or None)
        found: dict[tuple[str, str], Series] = {}
        for row in self._rows(lambda offset: search(offset=offset)):
            series = series_of(row, study_instance_uid)
            # Servers ignore unknown filters.
            if (
                series
                and series_instance_uid in (None, series.series_instance_uid)
                and modality in (None, series.modality)
                and study_instance_uid in (None, series.study_instance_uid)
            ):
                found[series.study_instance_uid, series.series_instance_uid] = series
        return list(found.values())

    def list_instances(self, study_instance_uid: str, series_instance_uid: str) -> list[Instance]:
        """As `Archive.list_instances`."""
        study_instance_uid = normalised_uid(study_instance_uid, what="Study Instance UID")
        series_instance_uid = normalised_uid(series_instance_uid, what="Series Instance UID")

        search = partial(self._client.search_for_instances, study_instance_uid, series_instance_uid, limit=PAGE)
        rows = self._rows(lambda offset: search(offset=offset))
        instances = (instance_of(row, study_instance_uid, series_instance_uid) for row in rows)
        asked = (study_instance_uid, series_instance_uid)
        return _different(
            one for one in instances if one and (one.study_instance_uid, one.series_instance_uid) == asked
        )

    def find_instances(self, sop_instance_uids: Iterable[str]) -> list[Instance]:
        """As `Archive.find_instances`; an instance of several series is returned for each."""
        wanted = list(dict.fromkeys(sop_instance_uids))
        if len(wanted) > 1 and not self._knows_uid_lists():
            with ThreadPoolExecutor(THREADS) as threads:
                return _different(itertools.chain.from_iterable(threads.map(lambda one: self._find([one]), wanted)))
        chunks = (wanted[begin : begin + UIDS_PER_QUERY] for begin in range(0, len(wanted), UIDS_PER_QUERY))
        return _different(itertools.chain.from_iterable(map(self._find, chunks)))

    def _knows_uid_lists(self) -> bool:
        """Whether the server supports UID list matching; tested once with an archived instance."""
        if self._takes_uid_lists is None:
            rows = self.patience.again(lambda: self._search({"limit": "1"}))
            some = next((one for row in rows if (one := instance_of(row))), None)
            if some is None:
                return True  # an empty archive
            try:
                found = self._find([some.sop_instance_uid, "2.25.0"])
            except PeerRefused:
                found = []
            self._takes_uid_lists = some in found
        return self._takes_uid_lists

    def _find(self, uids: Sequence[str]) -> list[Instance]:
        wanted = {normalised_uid(uid, what="SOP Instance UID") for uid in uids}
        query = {"SOPInstanceUID": ",".join(sorted(wanted)), "limit": str(PAGE)}
        found: list[Instance] = []
        missing = set(wanted)
        for row in self._rows(lambda offset: self._search(query | ({"offset": str(offset)} if offset else {}))):
            if (one := instance_of(row)) is None:
                continue
            if one.sop_instance_uid not in wanted:
                raise PeerRefused(f"{self.url} does not search by SOP Instance UID: it answers with other instances")
            found.append(one)
            missing.discard(one.sop_instance_uid)
            if not missing:
                break  # else another page would be asked for
        return found

    def _search(self, query: Mapping[str, str]) -> list[Row]:
        # dicomweb-client would send commas as %2C, which Orthanc's older plugin takes literally.
        path = f"/instances?{urlencode(query, safe=',')}"
        return rows_of(self.peer.json("GET", path, accept="application/dicom+json") or [])

    def _rows(self, page: Callable[[int], Sequence[Row]]) -> Iterator[Row]:
        """All rows of a search, whatever the page size of the server."""
        seen: set[object] = set()

        def ask(offset: int) -> list[Row]:
            with self.peer.translated():
                try:
                    return rows_of(page(offset))
                except requests.HTTPError as error:
                    if error.response is None or error.response.status_code != _NOT_FOUND:
                        raise
            self._search({"limit": "1"})  # raises if DICOMweb is missing, not the study
            return []

        offset = 0
        while rows := self.patience.again(partial(ask, offset)):
            fresh = [row for row in rows if row_key(row) not in seen]
            if not fresh:
                return  # the server ignores `offset`
            yield from fresh
            seen.update(map(row_key, fresh))
            offset += len(rows)

    # --- WADO-RS

    def fetch(self, instances: Sequence[Instance], folder: Path) -> dict[str, Path]:
        """As `Archive.fetch`, into `folder`.

        Also raises `UnreadableObject` for an object that is not DICOM, `PeerRefused` for one that was not requested.
        """
        folder.mkdir(parents=True, exist_ok=True)
        wanted = {one.sop_instance_uid: one for one in instances}
        found: dict[str, Path] = {}
        for (study, series), group in _by_series(wanted.values()).items():
            if len(group) >= _WHOLE_SERIES_FROM and self._is_most(study, series, len(group)):
                self._fetch_series(study, series, {one.sop_instance_uid for one in group}, folder, found)
        missing = [one for uid, one in wanted.items() if uid not in found]
        with ThreadPoolExecutor(THREADS) as threads:  # `map` starts no call after a failure
            paths = list(threads.map(lambda one: self._fetch_one(one, folder), missing))
        return found | {one.sop_instance_uid: path for one, path in zip(missing, paths, strict=True) if path}

    def _is_most(self, study: str, series: str, count: int) -> bool:
        there = self.list_series(study_instance_uid=study, series_instance_uid=series)
        total = there[0].instance_count if there else None
        return total is not None and count >= _MOST * total

    def _fetch_series(self, study: str, series: str, wanted: set[str], folder: Path, found: dict[str, Path]) -> None:
        """Retrieve a series by one request; missing instances are retrieved one by one."""

        def keep(identity: Identity) -> Path | None:
            uid = identity[2]
            if identity[:2] != (study, series) or uid not in wanted or uid in found:
                return None
            found[uid] = folder / file_name(uid)
            return found[uid]

        try:
            retrieve(self.peer, _path(study, series), folder, self.limits, keep)
        except PeerUnavailable:
            return  # truncated; the next requests show whether the archive is available

    def _fetch_one(self, one: Instance, folder: Path) -> Path | None:
        target = folder / file_name(one.sop_instance_uid)
        expected = (one.study_instance_uid, one.series_instance_uid, one.sop_instance_uid)
        kept: list[Path] = []

        def keep(identity: Identity) -> Path:
            if not any(identity):
                raise UnreadableObject(f"the archive's object {one.sop_instance_uid} is not readable DICOM")
            if identity[:3] != expected:
                raise PeerRefused(
                    f"{self.url} sends another object than {one.sop_instance_uid}, which it was asked for"
                )
            kept.append(target)
            return target

        path = _path(one.study_instance_uid, one.series_instance_uid, one.sop_instance_uid)
        is_there = self.patience.again(lambda: retrieve(self.peer, path, folder, self.limits, keep))
        return target if is_there and kept else None

    # --- STOW-RS

    def store(self, objects: Sequence[Outgoing]) -> list[Stored]:
        """As `Archive.store`.

        Objects that the archive has are compared, not sent. The others are sent and, whatever the answer, looked up
        again: CT images, which are many and large, by UID only, because the archive had no other content of them and
        Content-Length ensures that they arrived complete; other objects are read back and compared. Missing objects are
        sent up to `ROUNDS` times before `PeerUnavailable` is raised.
        """
        first = {one.instance.sop_instance_uid: one for one in reversed(objects)}
        there = {one.sop_instance_uid: one for one in self.find_instances(first)}
        settled = self._compared([one for uid, one in first.items() if uid in there], there, before=True)
        waiting = [one for uid, one in first.items() if uid not in there]
        for attempt in range(ROUNDS):
            if waiting:
                waiting = self._round(waiting, settled, attempt=attempt)
        if waiting:
            raise PeerUnavailable(
                f"{self.url} says that it stores, but {len(waiting)} of {len(first)} objects are not there "
                f"({waiting[0].instance.sop_instance_uid}, ...): see its log"
            )
        # A second object with the same UID finds the first one there.
        return [
            settled[uid] if first[uid] is one else self.store([one])[0]
            for one in objects
            for uid in [one.instance.sop_instance_uid]
        ]

    def _round(self, waiting: list[Outgoing], settled: dict[str, Stored], *, attempt: int) -> list[Outgoing]:
        """Send objects and confirm them; returns those without a certain outcome."""
        answers: dict[str, Answer] = {}
        # One by one from the second round on, so that one invalid object cannot make others fail.
        for batch in batches(waiting) if attempt == 0 else ([one] for one in waiting):
            answers |= send(self.peer, batch, self.patience)
        missing = self._confirm(waiting, settled)
        for wait_s in INDEXING_WAITS_S:
            if any(answers[one.instance.sop_instance_uid].claim == Claim.STORED for one in missing):
                time.sleep(wait_s)
                missing = self._confirm(missing, settled)
        again = []
        for one in missing:
            uid = one.instance.sop_instance_uid
            answer = answers[uid]
            if answer.claim == Claim.FAILED or (answer.claim == Claim.DOUBTFUL and attempt == ROUNDS - 1):
                settled[uid] = Stored(uid, Outcome.REFUSED, answer.reason)
            else:
                again.append(one)
        return again

    def _confirm(self, objects: Sequence[Outgoing], settled: dict[str, Stored]) -> list[Outgoing]:
        """Note the outcome of objects that are archived now, and return the others."""
        images = [one for one in objects if one.instance.sop_class_uid == CT_IMAGE_STORAGE]
        settled |= {uid: Stored(uid, Outcome.STORED) for uid in self._present(images)}
        others = [one for one in objects if one.instance.sop_class_uid != CT_IMAGE_STORAGE]
        settled |= self._compared(others, {}, before=False)
        return [one for one in objects if one.instance.sop_instance_uid not in settled]

    def _present(self, objects: Sequence[Outgoing]) -> set[str]:
        """UIDs of the objects that the archive has in their series."""
        present: set[Instance] = set()
        few: list[Instance] = []
        for (study, series), group in _by_series(one.instance for one in objects).items():
            if len(group) < UIDS_PER_QUERY:
                few += group
            else:
                present |= set(self.list_instances(study, series))
        present |= set(self.find_instances(one.sop_instance_uid for one in few))
        places = {(one.series_instance_uid, one.sop_instance_uid) for one in present}
        sent = (one.instance for one in objects)
        return {one.sop_instance_uid for one in sent if (one.series_instance_uid, one.sop_instance_uid) in places}

    def _compared(
        self, objects: Sequence[Outgoing], there: Mapping[str, Instance], *, before: bool
    ) -> dict[str, Stored]:
        """Outcomes of objects by comparison with the archived content; without those that are not archived.

        there : known identities of archived objects, which may be in another series
        before : whether they were archived before the request
        """
        outcomes: dict[str, Stored] = {}
        for batch in batches(objects):
            with tempfile.TemporaryDirectory(prefix="segqa-", dir=self._scratch) as folder:
                places = [there.get(one.instance.sop_instance_uid, one.instance) for one in batch]
                kept = self.fetch(places, Path(folder))
                for one in batch:
                    uid = one.instance.sop_instance_uid
                    if uid in kept or uid in there:
                        outcomes[uid] = self._outcome(one, kept.get(uid), before=before)
        return outcomes

    def _outcome(self, one: Outgoing, kept: Path | None, *, before: bool) -> Stored:
        uid = one.instance.sop_instance_uid
        if kept is None:
            reason = "the archive lists it, but does not return it: it may have two objects with this UID"
            return Stored(uid, Outcome.CONFLICT, reason, refused_digest=self._digest(one.content))
        if self._is_same(kept, one.content):
            return Stored(uid, Outcome.ALREADY_THERE if before else Outcome.STORED)
        reason = "the archive has another content with this UID, which stays"
        return Stored(uid, Outcome.CONFLICT, reason, self._digest(kept), self._digest(one.content))

    def _is_same(self, one: Content, other: Content) -> bool:
        try:
            return same_content(one, other, self.limits)
        except InputError:
            return False  # their bytes differ, and at least one cannot be read

    def _digest(self, content: Content) -> str:
        try:
            return content_digest(content, self.limits)
        except InputError:
            return hashlib.sha256(content if isinstance(content, bytes) else content.read_bytes()).hexdigest()


def _path(study: str, series: str, instance: str = "") -> str:
    study, series = normalised_uid(study, what="Study Instance UID"), normalised_uid(series, what="Series Instance UID")
    end = f"/instances/{normalised_uid(instance, what='SOP Instance UID')}" if instance else ""
    return f"/studies/{study}/series/{series}{end}"


def _by_series(instances: Iterable[Instance]) -> dict[tuple[str, str], list[Instance]]:
    groups = defaultdict(list)
    for one in instances:
        groups[one.study_instance_uid, one.series_instance_uid].append(one)
    return groups


def _different(instances: Iterable[Instance]) -> list[Instance]:
    return list(dict.fromkeys(instances))
