"""Servers that answer with something else than what they were asked for."""

from __future__ import annotations

import gc
import gzip
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from segqa_dicom.archive import Outcome
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.errors import InputError, LimitExceeded, PeerError, PeerRefused, UnreadableObject
from tests.archive.objects import SERIES, STUDY, ct, encoded, instance, outgoing
from tests.archive.web import archive, series
from tests.servers.orthanc import Orthanc
from tests.servers.proxy import Exchange, Fault, Proxy

MULTIPART = 'multipart/related; type="application/dicom"; boundary=b'


@pytest.fixture
def server() -> Iterator[Proxy]:
    """Answers by its script only; there is nobody behind it."""
    with Proxy("http://127.0.0.1:9/dicom-web") as proxy:
        yield proxy


def anything(_: Exchange) -> bool:
    return True


def parts(*contents: bytes) -> bytes:
    return b"".join(b"--b\r\n\r\n" + one + b"\r\n" for one in contents) + b"--b--"


def rows(*found: dict[str, str]) -> bytes:
    return json.dumps([{tag: {"vr": "UI", "Value": [value]} for tag, value in row.items()} for row in found]).encode()


def row(number: int, *, study: str = STUDY, series: str = SERIES) -> dict[str, str]:
    return {
        "00080016": "1.2.840.10008.5.1.4.1.1.2",
        "00080018": f"{SERIES}.{number}",
        "0020000D": study,
        "0020000E": series,
    }


def files_of(server: Proxy, folder: Path, content: bytes, content_type: str = MULTIPART) -> dict[str, Path]:
    server.script(anything, Fault(answer=(200, content), content_type=content_type))
    return archive(server.url).fetch([instance(ct(1))], folder)


def test_another_object_than_the_one_asked_for_is_refused(server: Proxy, tmp_path: Path) -> None:
    with pytest.raises(PeerRefused, match="another object"):
        files_of(server, tmp_path, parts(encoded(ct(2))))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"study": "1.2.3"}, {"series": "1.2.3", "SOPInstanceUID": f"{SERIES}.1"}])
def test_object_that_says_it_belongs_elsewhere_is_refused(server: Proxy, tmp_path: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(PeerRefused, match="another object"):
        files_of(server, tmp_path, parts(encoded(ct(1, **wrong))))  # type: ignore[arg-type]


def test_what_is_no_dicom_is_unreadable(server: Proxy, tmp_path: Path) -> None:
    with pytest.raises(UnreadableObject, match=f"{SERIES}.1"):
        files_of(server, tmp_path, parts(b"<html>not found</html>"))
    assert list(tmp_path.iterdir()) == []


def test_object_without_multipart_is_taken(server: Proxy, tmp_path: Path) -> None:
    (path,) = files_of(server, tmp_path, encoded(ct(1)), "application/dicom").values()
    assert path.read_bytes() == encoded(ct(1))


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        ("text/html", b"<html/>"),
        ("", b""),
        ("multipart/related", parts(encoded(ct(1)))),
        ("application/json", b"[]"),
        (f"multipart/related; boundary={'x' * 300}", b""),
    ],
)
def test_answer_of_another_kind_is_refused(server: Proxy, tmp_path: Path, content_type: str, content: bytes) -> None:
    with pytest.raises(PeerRefused):
        files_of(server, tmp_path, content, content_type)


def test_empty_answer_is_nothing(server: Proxy, tmp_path: Path) -> None:
    assert files_of(server, tmp_path, parts()) == {}


def test_object_above_the_limit_is_not_kept(server: Proxy, tmp_path: Path) -> None:
    server.script(anything, Fault(answer=(200, parts(encoded(ct(1, size=512)))), content_type=MULTIPART))
    with pytest.raises(LimitExceeded):
        archive(server.url, limits=Limits(max_file_bytes=100_000)).fetch([instance(ct(1))], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_compressed_answer_is_refused_before_it_is_inflated(tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(30_000_000))
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: {MULTIPART}\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(head.encode() + bomb)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(PeerRefused, match="compresses"):
            archive(f"http://127.0.0.1:{listener.getsockname()[1]}").fetch([instance(ct(1))], tmp_path)
        thread.join(10)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n", id="no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", id="negative length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n[]", id="two lengths"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n[", id="length that is not kept"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", id="bad chunk"),
        pytest.param(b"HTTP/1.1 999 \xff\r\n\r\n", id="odd status"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n", id="many headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", id="long header"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n[]", id="no gzip"),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_answer_that_is_no_sound_http_is_an_error_of_the_peer_or_nothing(raw: bytes, tmp_path: Path) -> None:
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)

        def serve() -> None:
            while not done.is_set():
                with suppress(OSError):
                    connection, _ = listener.accept()
                    with connection:
                        connection.settimeout(5)
                        connection.recv(65536)
                        connection.sendall(raw)
                        connection.shutdown(socket.SHUT_WR)
                        while connection.recv(65536):
                            pass

        thread = threading.Thread(target=serve)
        thread.start()
        there = archive(f"http://127.0.0.1:{listener.getsockname()[1]}/dicom-web")
        try:
            for call in (there.list_series, lambda: there.find_instances(["1.2.3"])):
                with suppress(PeerError):
                    assert call() == []
            with suppress(PeerError):
                assert there.fetch([instance(ct(1))], tmp_path) == {}
            with pytest.raises(PeerError):
                there.store([outgoing(ct(1))])
        finally:
            done.set()
            thread.join(10)
            gc.collect()  # urllib3 leaves the socket of an answer with bad headers to it


def test_redirects_are_not_followed(tmp_path: Path) -> None:
    visited: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as elsewhere, socket.create_server(("127.0.0.1", 0)) as listener:
        target = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/dicom-web"
        done = threading.Event()

        def serve(which: socket.socket, answer: bytes, log: list[bytes]) -> None:
            which.settimeout(0.1)
            while not done.is_set():
                try:
                    connection, _ = which.accept()
                except TimeoutError:
                    continue
                with connection:
                    log.append(connection.recv(65536))
                    connection.sendall(answer)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass

        redirect = (
            f"HTTP/1.1 307 Moved\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
        threads = [
            threading.Thread(target=serve, args=(listener, redirect, [])),
            threading.Thread(target=serve, args=(elsewhere, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", visited)),
        ]
        for thread in threads:
            thread.start()
        there = archive(f"http://127.0.0.1:{listener.getsockname()[1]}/dicom-web")
        for call in (
            lambda: there.list_series(),
            lambda: there.find_instances(["1.2.3"]),
            lambda: there.fetch([instance(ct(1))], tmp_path),
            lambda: there.store([outgoing(ct(1))]),
        ):
            with pytest.raises(PeerRefused):
                call()
        done.set()
        for thread in threads:
            thread.join(10)
    assert visited == []


@pytest.mark.parametrize(
    "answer",
    [
        b"<html/>",
        b"{",
        b'"text"',
        b"[1]",
        b'[{"0020000E": 5}]',
        b'[{"0020000E": {"Value": [{"x": 1}]}}]',
        b"[" * 100_000,
    ],
)
def test_search_result_that_is_none_is_an_error_of_the_peer_or_nothing(server: Proxy, answer: bytes) -> None:
    server.script(anything, Fault(answer=(200, answer)))
    there = archive(server.url)
    for call in (
        there.list_series,
        lambda: there.list_instances(STUDY, SERIES),
        lambda: there.find_instances(["1.2.3"]),
    ):
        with suppress(PeerError):
            assert call() == []


def test_server_that_ignores_filters_is_noticed(server: Proxy) -> None:
    server.script(anything, Fault(answer=(200, rows(row(1), row(2), row(3, series="1.2.3"), row(4, study="1.2.3")))))
    there = archive(server.url)
    assert {one.sop_instance_uid for one in there.list_instances(STUDY, SERIES)} == {f"{SERIES}.1", f"{SERIES}.2"}
    with pytest.raises(PeerRefused, match="search"):
        there.find_instances([f"{SERIES}.9"])
    with pytest.raises(PeerRefused, match="search"):
        there.find_instances([f"{SERIES}.1", f"{SERIES}.9"])


def test_server_that_does_not_know_offset_gives_each_row_once(server: Proxy) -> None:
    server.script(anything, Fault(answer=(200, rows(row(1), row(2)))))
    assert len(archive(server.url).list_instances(STUDY, SERIES)) == 2


@pytest.mark.servers
def test_server_that_gives_fewer_rows_than_asked_for_is_asked_for_the_rest(orthanc: Orthanc) -> None:
    there = archive(orthanc)
    there.store([*series(9), *(outgoing(ct(1, series=f"{SERIES}.{number}")) for number in (20, 21, 22))])
    with Proxy(orthanc.dicomweb_url) as proxy:
        proxy.script(
            lambda one: "limit" in one.path, Fault(change_answer=lambda body: json.dumps(json.loads(body)[:2]).encode())
        )
        capped = archive(proxy.url)
        assert set(capped.list_instances(STUDY, SERIES)) == {one.instance for one in series(9)}
        assert set(capped.list_series()) == set(there.list_series())
        uids = [f"{SERIES}.{number}" for number in range(1, 12)]
        assert set(capped.find_instances(uids)) == {one.instance for one in series(9)}


@pytest.mark.servers
def test_server_without_lists_of_uids_is_asked_one_by_one(orthanc: Orthanc) -> None:
    archive(orthanc).store(series(4))
    with Proxy(orthanc.dicomweb_url) as proxy:
        proxy.script(lambda one: "," in one.path, Fault(answer=(200, b"[]")))
        found = archive(proxy.url).find_instances([*(f"{SERIES}.{number}" for number in (1, 2, 3)), "1.2.3"])
    assert len(found) == 3


@pytest.mark.servers
def test_series_with_a_damaged_part_is_completed_one_by_one(orthanc: Orthanc, tmp_path: Path) -> None:
    archive(orthanc).store(series(10))
    with Proxy(orthanc.dicomweb_url) as proxy:
        proxy.script(
            lambda one: one.path.endswith(SERIES),
            Fault(change_answer=lambda body: body.replace(b"1.2.826", b"9.9.999", 5)),
        )
        files = archive(proxy.url).fetch([instance(ct(number)) for number in range(1, 11)], tmp_path)
    assert {uid: path.read_bytes() for uid, path in files.items()} == {
        one.instance.sop_instance_uid: one.content for one in series(10)
    }


@pytest.mark.servers
def test_archive_that_changes_content_on_its_way_is_a_conflict(orthanc: Orthanc) -> None:
    one = outgoing(ct(1, SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4"))
    with Proxy(orthanc.dicomweb_url) as proxy:
        proxy.script(
            lambda each: "/instances/" in each.path,
            Fault(change_answer=lambda body: body.replace(b"Abdomen", b"abdomen")),
        )
        (stored,) = archive(proxy.url).store([one])
    assert stored.outcome == Outcome.CONFLICT
    assert stored.kept_digest != stored.refused_digest


def test_uids_are_checked_before_they_become_a_url(server: Proxy, tmp_path: Path) -> None:
    there = archive(server.url)
    for study in ("../../system", "1.2/3", "1.2?x=1", ""):
        with pytest.raises(InputError):
            there.list_instances(study, SERIES)
        with pytest.raises(InputError):
            there.list_series(study_instance_uid=study)
        with pytest.raises(InputError):
            there.list_series(series_instance_uid=study)
    assert server.exchanges == []
