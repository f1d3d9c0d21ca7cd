"""C-ECHO and C-STORE with DCMTK's programs, and what is refused."""

from __future__ import annotations

import json
import logging
import subprocess
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from segqa_dicom.dicom.opening import file_digest
from segqa_dicom.inbox import Inbox
from segqa_dicom.node import Node
from segqa_dicom.node.contexts import IMPLEMENTATION_CLASS_UID, STORAGE_CLASSES, Status
from tests.node import wire
from tests.node.objects import (
    CT_CLASS,
    PATIENT_NAME,
    SEG_CLASS,
    ct,
    node_at,
    received,
    run,
    send,
    uid,
    write_ct,
    written,
)  # fmt: skip
from tests.servers.process import program, wait_until


def store_by_hand(port: int, dataset_bytes: bytes, *, sop_class_uid: str = CT_CLASS, instance: str = uid(0)) -> int:
    """The status of a C-STORE that no honest program would send."""
    with wire.connect(port) as connection:
        connection.sendall(wire.associate())
        assert wire.answer(connection)[0] == wire.ACCEPT
        connection.sendall(wire.data((1, 3, wire.store_command(sop_class_uid, instance))))
        connection.sendall(wire.data((1, 2, dataset_bytes)))
        return wire.status(wire.answer(connection))


def plain_bytes(tmp_path: Path, **changes: object) -> bytes:
    """A data set as it is sent in explicit little endian."""
    content = written(tmp_path / "plain.dcm", ct(**changes)).read_bytes()
    return content[144 + int.from_bytes(content[140:144], "little") :]


@pytest.mark.servers
def test_echo_is_answered(node: Node) -> None:
    done = run("echoscu", node.port)
    assert done.returncode == 0, done.stderr


@pytest.mark.servers
@pytest.mark.parametrize("option", ["-xe", "-xi"])
def test_what_storescu_sends_is_a_proper_file_in_the_inbox(
    node: Node, inbox: Inbox, tmp_path: Path, option: str
) -> None:
    (path,) = write_ct(tmp_path / "ct", 1)
    done = send(node.port, [path], option)
    assert done.returncode == 0, done.stderr
    (file,) = inbox.waiting()
    found = dcmread(file)
    assert file.read_bytes()[:132] == bytes(128) + b"DICM"
    assert found.file_meta.MediaStorageSOPClassUID == CT_CLASS
    assert found.file_meta.MediaStorageSOPInstanceUID == uid(0)
    assert found.file_meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert (found.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian) is (option == "-xi")
    assert found == dcmread(path)
    assert subprocess.run([program("dcmdump"), file], capture_output=True, check=False).returncode == 0
    assert list(inbox.parts.iterdir()) == []


@pytest.mark.servers
@pytest.mark.parametrize(
    ("compress", "option"),
    [
        pytest.param(["dcmcjpeg", "+e1"], "-xs", id="JPEG lossless"),
        pytest.param(["dcmcjpls"], "-xt", id="JPEG-LS"),
        pytest.param(["dcmcrle"], "-xr", id="RLE"),
    ],
)
def test_compressed_pixel_data_stay_as_they_are(
    node: Node, inbox: Inbox, tmp_path: Path, compress: list[str], option: str
) -> None:
    (path,) = write_ct(tmp_path / "ct", 1)
    packed = tmp_path / "packed.dcm"
    subprocess.run([program(compress[0]), *compress[1:], path, packed], check=True, capture_output=True)
    done = send(node.port, [packed], option)
    assert done.returncode == 0, done.stderr
    (file,) = inbox.waiting()
    assert file_digest(file) == file_digest(packed)
    assert dcmread(file).file_meta.TransferSyntaxUID == dcmread(packed).file_meta.TransferSyntaxUID


@pytest.mark.servers
def test_dcmsend_sends_a_folder(node: Node, inbox: Inbox, tmp_path: Path) -> None:
    write_ct(tmp_path / "ct", 30)
    done = run("dcmsend", node.port, "+sd", tmp_path / "ct")
    assert done.returncode == 0, done.stderr
    assert sorted(received(inbox)) == [uid(number) for number in range(30)]


@pytest.mark.parametrize("sop_class_uid", STORAGE_CLASSES)
def test_all_sop_classes_are_taken(node: Node, inbox: Inbox, tmp_path: Path, sop_class_uid: str) -> None:
    dataset = ct(SOPClassUID=sop_class_uid, Modality="SR")
    dataset.file_meta.MediaStorageSOPClassUID = sop_class_uid
    with wire.connect(node.port) as connection:
        connection.sendall(wire.associate([sop_class_uid]))
        assert wire.answer(connection)[0] == wire.ACCEPT
        connection.sendall(wire.data((1, 3, wire.store_command(sop_class_uid, uid(0)))))
        connection.sendall(wire.data((1, 2, plain_bytes(tmp_path, SOPClassUID=sop_class_uid))))
        assert wire.status(wire.answer(connection)) == Status.SUCCESS
    assert inbox.count() == 1


@pytest.mark.parametrize("syntax", [str(ExplicitVRBigEndian), "1.2.840.10008.1.2.1.99"])
def test_big_endian_and_deflated_are_not_negotiated(node: Node, syntax: str) -> None:
    with wire.connect(node.port) as connection:
        connection.sendall(wire.associate(syntax=syntax))
        pdu = wire.answer(connection)
        assert pdu[0] == wire.ACCEPT
        at = pdu.index(b"\x21\0", 70)
        assert pdu[at + 6] == 4  # transfer syntaxes not supported


def test_other_sop_classes_are_not_negotiated(node: Node) -> None:
    with wire.connect(node.port) as connection:
        connection.sendall(wire.associate(["1.2.840.10008.5.1.4.1.1.4"]))
        pdu = wire.answer(connection)
        assert pdu[pdu.index(b"\x21\0", 70) + 6] == 3  # abstract syntax not supported


def test_data_sets_in_pieces_over_commands_in_pieces(node: Node, inbox: Inbox, tmp_path: Path) -> None:
    content, command = plain_bytes(tmp_path), wire.store_command(CT_CLASS, uid(0))
    with wire.connect(node.port) as connection:
        connection.sendall(wire.associate())
        wire.answer(connection)
        connection.sendall(wire.data((1, 1, command[:11])) + wire.data((1, 3, command[11:]), (1, 0, content[:5])))
        for at in range(5, len(content), 100):
            connection.sendall(wire.data((1, 0, content[at : at + 100])))
        connection.sendall(wire.data((1, 2, b"")))
        assert wire.status(wire.answer(connection)) == Status.SUCCESS
    assert received(inbox) == [uid(0)]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        pytest.param({"SOPClassUID": SEG_CLASS}, Status.DATA_SET_DOES_NOT_MATCH, id="other SOP class"),
        pytest.param({"SOPInstanceUID": uid(5)}, Status.DATA_SET_DOES_NOT_MATCH, id="other instance"),
        pytest.param({"SOPInstanceUID": None}, Status.CANNOT_UNDERSTAND, id="no instance UID"),
        pytest.param({"StudyInstanceUID": "../../etc"}, Status.CANNOT_UNDERSTAND, id="no study UID"),
        pytest.param({"SeriesInstanceUID": None}, Status.CANNOT_UNDERSTAND, id="no series UID"),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_what_does_not_fit_is_refused(
    node: Node, inbox: Inbox, tmp_path: Path, changes: dict[str, object], status: Status
) -> None:
    assert store_by_hand(node.port, plain_bytes(tmp_path, **changes)) == status
    assert inbox.count() == 0
    assert list(inbox.parts.iterdir()) == []


def test_damaged_data_sets_are_refused_and_the_node_goes_on(node: Node, inbox: Inbox, tmp_path: Path) -> None:
    whole = plain_bytes(tmp_path)
    for damaged in (b"", b"\0", b"rubbish" * 100, whole[:30], whole[:-20], whole[40:]):
        assert store_by_hand(node.port, damaged) == Status.CANNOT_UNDERSTAND
    assert store_by_hand(node.port, whole, sop_class_uid=SEG_CLASS) == Status.SOP_CLASS_NOT_SUPPORTED
    assert store_by_hand(node.port, whole, instance="../x") == Status.CANNOT_UNDERSTAND
    assert inbox.count() == 0
    assert store_by_hand(node.port, whole) == Status.SUCCESS
    assert list(inbox.parts.iterdir()) == []


def test_a_request_without_a_data_set_is_refused(node: Node) -> None:
    with wire.connect(node.port) as connection:
        connection.sendall(wire.associate())
        wire.answer(connection)
        connection.sendall(wire.data((1, 3, wire.store_command(CT_CLASS, uid(0), has_data=False))))
        assert wire.status(wire.answer(connection)) == Status.CANNOT_UNDERSTAND


@pytest.mark.servers
def test_larger_objects_than_the_limit_are_refused(tmp_path: Path) -> None:
    small, large = write_ct(tmp_path / "ct", 1)[0], written(tmp_path / "large.dcm", ct(1, rows=100))
    with node_at(tmp_path, max_file_bytes=5_000) as node:
        done = send(node.port, [large])
        assert done.returncode != 0
        assert "Refused: OutOfResources" in done.stdout + done.stderr
        assert send(node.port, [small]).returncode == 0
    assert received(Inbox(tmp_path / "inbox")) == [uid(0)]


@pytest.mark.servers
def test_a_nearly_full_disk_refuses_for_now(tmp_path: Path) -> None:
    (path,) = write_ct(tmp_path / "ct", 1)
    with node_at(tmp_path, min_free_bytes=10**18) as node:
        done = send(node.port, [path])
        assert done.returncode != 0
        assert "Refused: OutOfResources" in done.stdout + done.stderr
        assert run("echoscu", node.port).returncode == 0
    inbox = Inbox(tmp_path / "inbox")
    assert (inbox.count(), list(inbox.parts.iterdir())) == (0, [])


@pytest.mark.servers
def test_an_inbox_that_fails_gives_a_failure_and_the_node_goes_on(node: Node, inbox: Inbox, tmp_path: Path) -> None:
    files = write_ct(tmp_path / "ct", 2)
    inbox.parts.rename(tmp_path / "away")
    done = send(node.port, files[:1])
    assert done.returncode != 0
    (tmp_path / "away").rename(inbox.parts)
    assert send(node.port, files).returncode == 0
    assert received(inbox) == [uid(0), uid(1)]


@pytest.mark.servers
def test_duplicates_are_taken_again(node: Node, inbox: Inbox, tmp_path: Path) -> None:
    (path,) = write_ct(tmp_path / "ct", 1)
    assert send(node.port, [path, path]).returncode == 0
    assert received(inbox) == [uid(0)] * 2


def test_a_dropped_association_leaves_nothing_behind(node: Node, inbox: Inbox, tmp_path: Path) -> None:
    content = plain_bytes(tmp_path)
    for ending in ("close", "abort"):
        with wire.connect(node.port) as connection:
            connection.sendall(wire.associate())
            wire.answer(connection)
            connection.sendall(wire.data((1, 3, wire.store_command(CT_CLASS, uid(0))), (1, 0, content[:300])))
            wait_until(lambda: list(inbox.parts.iterdir()), what="a part")
            if ending == "abort":
                connection.sendall(bytes((7, 0, 0, 0, 0, 4, 0, 0, 0, 0)))
        wait_until(lambda: not list(inbox.parts.iterdir()), what="no part")
        wait_until(lambda: node.association_count == 0)
    assert inbox.count() == 0


def test_parts_of_a_node_that_was_killed_are_removed_and_those_of_others_stay(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox")
    (inbox.parts / "node-0123").write_bytes(b"half")
    (inbox.parts / "upload").write_bytes(b"of somebody else")
    with node_at(tmp_path):
        assert [path.name for path in inbox.parts.iterdir()] == ["upload"]


@pytest.mark.servers
def test_one_line_per_association_without_patient_data(
    node: Node, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = write_ct(tmp_path / "ct", 3)
    with caplog.at_level(logging.INFO):
        assert send(node.port, files, title="SCANNER").returncode == 0
        assert store_by_hand(node.port, plain_bytes(tmp_path, SOPInstanceUID=uid(7))) == Status.DATA_SET_DOES_NOT_MATCH
        wait_until(lambda: caplog.text.count('"event": "association"') == 2)
    events = [json.loads(record.getMessage()) for record in caplog.records if record.name == "segqa"]
    first, second = [one for one in events if one["event"] == "association"]
    assert (first["instances"], first["refused"], first["end"]) == (3, 0, "released")
    assert first["bytes"] == sum(path.stat().st_size for path in files) - 3 * first_data_offset(files[0])
    assert (second["instances"], second["refused"]) == (0, 1)
    (refused,) = [one for one in events if one["event"] == "refused"]
    assert (refused["status"], refused["reason"]) == ("A900", "Mismatch")
    for secret in (PATIENT_NAME, "secret-1", uid(0), uid(7), "SCANNER", "127.0.0.1"):
        assert secret not in caplog.text


def first_data_offset(path: Path) -> int:
    return 144 + int.from_bytes(path.read_bytes()[140:144], "little")
