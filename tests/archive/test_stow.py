"""What goes out by STOW-RS, and how the answer is read."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path

import pytest
from pydicom import dcmread

from segqa_dicom.archive import Outcome, Outgoing
from segqa_dicom.archive.stow import Claim, batches, send
from segqa_dicom.archive.transport import Patience, peer_at
from segqa_dicom.errors import PeerRefused, PeerUnavailable, UnreadableObject
from tests.archive.objects import ct, encoded, instance, outgoing
from tests.archive.web import QUICK, archive, series, sr
from tests.servers.orthanc import Orthanc
from tests.servers.process import free_port
from tests.servers.proxy import Fault, Proxy, storing

DEAD = "http://127.0.0.1:9/dicom-web"


def item(uid: str, reason: int | None = None) -> dict[str, object]:
    found: dict[str, object] = {"00081155": {"vr": "UI", "Value": [uid]}}
    return found | ({"00081197": {"vr": "US", "Value": [reason]}} if reason is not None else {})


def answer(stored: list[str], failed: dict[str, int | None]) -> bytes:
    return json.dumps(
        {
            "00081199": {"vr": "SQ", "Value": [item(uid) for uid in stored]},
            "00081198": {"vr": "SQ", "Value": [item(uid, reason) for uid, reason in failed.items()]},
        }
    ).encode()


@pytest.mark.parametrize("status", [200, 202, 400, 409])
def test_answers_are_read_per_object_whatever_the_status(status: int) -> None:
    objects = series(7)
    uids = [one.instance.sop_instance_uid for one in objects]
    told = answer(uids[:1], {uids[1]: 0xA900, uids[2]: 0xA701, uids[3]: 0x0110, uids[4]: None, uids[5]: 0xC123})
    with Proxy(DEAD) as proxy:
        proxy.script(storing, Fault(answer=(status, told)))
        found = send(peer_at(proxy.url), objects, QUICK)
    assert [found[uid].claim for uid in uids] == [
        *(Claim.STORED, Claim.FAILED, Claim.BUSY, Claim.DOUBTFUL, Claim.DOUBTFUL, Claim.FAILED),
        Claim.SILENT if status < 300 else Claim.DOUBTFUL,
    ]
    assert found[uids[1]].reason == "its data set does not match its SOP class (A900H)"
    assert found[uids[2]].reason == "out of resources (A701H)"
    assert found[uids[5]].reason == "it cannot be understood (C123H)"


@pytest.mark.parametrize(
    "told",
    [
        b"",
        b"<xml/>",
        b"[]",
        b"null",
        b"[1]",
        b'{"00081199": 3}',
        b'{"00081199": {"Value": [1, {}, {"00081155": {}}]}}',
        b"[" * 5000,
    ],
)
def test_answers_that_say_nothing_are_silence(told: bytes) -> None:
    with Proxy(DEAD) as proxy:
        proxy.script(storing, Fault(answer=(200, told)))
        found = send(peer_at(proxy.url), series(1), QUICK)
    assert [one.claim for one in found.values()] == [Claim.SILENT]


@pytest.mark.parametrize("status", [401, 403, 404, 405, 415, 301, 302])
def test_what_nobody_helps_by_trying_again_is_refused_at_once(status: int) -> None:
    with Proxy(DEAD) as proxy:
        proxy.script(storing, Fault(answer=(status, b"")))
        with pytest.raises(PeerRefused, match=str(status)):
            send(peer_at(proxy.url), series(1), QUICK)
        assert len(proxy.exchanges) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 507])
def test_what_may_pass_is_tried_as_often_as_the_patience_says(status: int) -> None:
    with Proxy(DEAD) as proxy:
        proxy.script(storing, Fault(answer=(status, b"")))
        with pytest.raises(PeerUnavailable, match=str(status)):
            send(peer_at(proxy.url), series(1), QUICK)
        assert len(proxy.exchanges) == QUICK.attempts


def test_patience_ends_with_its_deadline() -> None:
    with Proxy(DEAD) as proxy:
        proxy.script(storing, Fault(answer=(503, b"")))
        with pytest.raises(PeerUnavailable):
            send(peer_at(proxy.url), series(1), Patience(attempts=1000, deadline_s=0.3, first_wait_s=0.05))
        assert 1 < len(proxy.exchanges) < 20


def test_nobody_listening_is_unavailable() -> None:
    peer = peer_at(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(PeerUnavailable, match="cannot be reached"):
        send(peer, series(1), Patience(attempts=2, first_wait_s=0.01))


@pytest.mark.servers
def test_what_is_too_large_together_is_sent_in_halves(orthanc: Orthanc) -> None:
    with Proxy(orthanc.dicomweb_url) as proxy:
        proxy.script(lambda one: storing(one) and len(one.body) > 3000, Fault(answer=(413, b"")))
        there = archive(proxy.url)
        large = outgoing(ct(99, size=64))
        outcomes = there.store([*series(5), large])
    assert [one.outcome for one in outcomes] == [Outcome.STORED] * 5 + [Outcome.REFUSED]
    assert "413" in outcomes[-1].reason


def test_batches_keep_both_limits_and_the_order(tmp_path: Path) -> None:
    objects = [Outgoing(instance(ct(number)), bytes(size)) for number, size in enumerate((5, 5, 20, 1, 1, 1, 9))]
    found = list(batches(objects, max_bytes=10, max_count=2))
    assert [[len(one.content) for one in batch] for batch in found] == [[5, 5], [20], [1, 1], [1, 9]]  # type: ignore[arg-type]
    assert list(batches([])) == []
    with pytest.raises(UnreadableObject):
        list(batches([Outgoing(instance(ct()), tmp_path / "none.dcm")]))


def test_body_is_made_anew_with_another_boundary_and_its_exact_length() -> None:
    objects = series(3)
    with Proxy(DEAD) as proxy:
        proxy.script(storing, Fault(answer=(503, b"")), times=2)
        proxy.script(storing, Fault(answer=(200, b"")))
        send(peer_at(proxy.url), objects, QUICK)
    bodies = [one.body for one in proxy.exchanges]
    assert len({len(body) for body in bodies}) == 1
    assert all(one.content_length == len(one.body) for one in proxy.exchanges)
    assert len({one.headers["content-type"] for one in proxy.exchanges}) == 3
    for one in objects:
        assert isinstance(one.content, bytes)
        assert all(one.content in body for body in bodies)


def test_large_files_are_sent_in_little_memory(tmp_path: Path) -> None:
    big = outgoing(ct(PixelData=bytes(40_000_000)), tmp_path)
    received = [0]

    def sink() -> tuple[str, object]:
        import socket
        import threading

        server = socket.create_server(("127.0.0.1", 0))

        def serve() -> None:
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as stream:
                length = 0
                while (line := stream.readline().strip()) != b"":
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                buffer = memoryview(bytearray(1 << 16))
                while received[0] < length:
                    received[0] += stream.readinto(buffer[: min(len(buffer), length - received[0])])
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

        thread = threading.Thread(target=serve)
        thread.start()
        return f"http://127.0.0.1:{server.getsockname()[1]}", (server, thread)

    url, (server, thread) = sink()  # type: ignore[misc]
    with server:
        tracemalloc.start()
        send(peer_at(url), [big], QUICK)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        thread.join(10)
    assert received[0] > 40_000_000
    assert peak < 8_000_000


@pytest.mark.servers
def test_data_that_look_like_multipart_are_stored_as_they_are(orthanc: Orthanc, tmp_path: Path) -> None:
    there = archive(orthanc)
    with Proxy(orthanc.dicomweb_url) as proxy:
        archive(proxy.url).store([outgoing(sr(1))])
        seen = proxy.requests(storing)[0].headers["content-type"].rpartition("boundary=")[2]
    victim = encoded(sr(66))
    for number, boundary in enumerate((seen, "0f3cf5c0-70e0-41ef-baef-c6f9f65ec3e1", ""), start=2):
        injected = f"\r\n--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + victim
        end = f"\r\n--{boundary}--\r\n".encode()
        host = sr(number, comment=f"see\r\n--{boundary}\r\n\r\n--{boundary}--\r\n")
        host.private_block(0x0009, "SEGQA TEST", create=True).add_new(1, "OB", injected + end)
        one = outgoing(host)
        assert there.store([one])[0].outcome == Outcome.STORED
        files = there.fetch([one.instance], tmp_path)
        assert files[one.instance.sop_instance_uid].read_bytes() == one.content
    assert there.find_instances([sr(66).SOPInstanceUID]) == []
    assert orthanc.count() == 4


@pytest.mark.servers
def test_program_in_a_preamble_does_not_go_out(orthanc: Orthanc, tmp_path: Path) -> None:
    content = b"MZ" + b"\x90" * 126 + encoded(sr())[128:]
    there = archive(orthanc)
    assert there.store([Outgoing(instance(sr()), content)])[0].outcome == Outcome.STORED
    (path,) = there.fetch([instance(sr())], tmp_path).values()
    assert path.read_bytes()[:128] == bytes(128)
    assert dcmread(path) == dcmread(io.BytesIO(encoded(sr())))
