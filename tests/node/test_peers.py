"""Who may come in: the allow-list, and the codes of those who may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from segqa_dicom.config import ServiceSettings
from segqa_dicom.errors import ConfigurationError
from segqa_dicom.inbox import Inbox
from segqa_dicom.node import AllowList, Node, Peer
from tests.node import wire
from tests.node.objects import node_at, run


def rejection(port: int, request: bytes) -> tuple[int, ...]:
    """Result, source and reason; none if it is accepted."""
    with wire.connect(port) as connection:
        connection.sendall(request)
        pdu = wire.answer(connection)
        return tuple(pdu[7:10]) if pdu[0] == wire.REJECT else ()


def test_another_called_title_is_rejected(node: Node) -> None:
    assert rejection(node.port, wire.associate(called="OTHER")) == (1, 1, 7)
    assert rejection(node.port, wire.associate(called="segqa")) == (1, 1, 7)
    assert rejection(node.port, wire.associate()) == ()


def test_another_application_context_is_rejected(node: Node) -> None:
    request = wire.associate().replace(b"1.2.840.10008.3.1.1.1", b"1.2.840.10008.3.1.1.9")
    assert rejection(node.port, request) == (1, 1, 2)


@pytest.mark.parametrize(
    ("allowed", "codes"),
    [
        ("", ()),
        ("WIRE", ()),
        ("OTHER, WIRE", ()),
        ("OTHER", (1, 1, 3)),
        ("wire", (1, 1, 3)),
        ("WIRE@127.0.0.1", ()),
        ("WIRE@localhost:104", ()),
        ("WIRE@127.0.0.2", (1, 1, 3)),
        ("WIRE@host.invalid", (1, 1, 3)),
        ("WIRE@127.0.0.2,WIRE@127.0.0.1", ()),
    ],
)
def test_the_allow_list_decides_by_title_and_host(tmp_path: Path, allowed: str, codes: tuple[int, ...]) -> None:
    with node_at(tmp_path, allowed_ae=allowed) as node:
        assert rejection(node.port, wire.associate()) == codes
        assert node.association_count == 0 or not codes


@pytest.mark.servers
def test_dcmtk_is_told_why(tmp_path: Path) -> None:
    with node_at(tmp_path, allowed_ae="SCANNER") as node:
        assert run("echoscu", node.port, title="SCANNER").returncode == 0
        done = run("echoscu", node.port, title="STRANGER")
        assert "Calling AE Title Not Recognized" in done.stdout + done.stderr


@pytest.mark.parametrize(
    "text",
    [",", "A,,B", "@host", "A@", "A@host:", "A@host:0", "A@host:65536", "A@host:x", "A@a@b", "T" * 17, "A\\B", "A@::1"],
)
def test_a_wrong_allow_list_is_an_error_that_says_so(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="SEGQA_ALLOWED_AE"):
        AllowList(text)
    with pytest.raises(ConfigurationError):
        node_at(tmp_path, allowed_ae=text)


def test_an_allow_list_is_parsed_with_spaces_and_ports() -> None:
    found = AllowList(" SCANNER , PACS 1@pacs.example:11112,SIX@[::1]:104 ")
    assert found.peers == (Peer("SCANNER"), Peer("PACS 1", "pacs.example", 11112), Peer("SIX", "::1", 104))


def test_a_listener_is_known_by_title_and_port_and_the_same_host_comes_first() -> None:
    found = AllowList("A,B@127.0.0.1,C@192.0.2.1:1,C@127.0.0.1:2")
    assert found.listener("A", "127.0.0.1") is None
    assert found.listener("B", "127.0.0.1") is None
    assert found.listener("C", "127.0.0.1") == Peer("C", "127.0.0.1", 2)
    assert found.listener("C", "192.0.2.9") == Peer("C", "192.0.2.1", 1)


@pytest.mark.parametrize("title", ["", "   ", "T" * 17, "A\\B"])
def test_a_wrong_title_of_ours_is_an_error(tmp_path: Path, title: str) -> None:

    with pytest.raises(ConfigurationError, match="AE title"):
        Node(ae_title=title, host="127.0.0.1", port=0, inbox=Inbox(tmp_path), settings=ServiceSettings())


def test_a_port_that_is_taken_is_an_error_that_names_it(node: Node, tmp_path: Path) -> None:

    with pytest.raises(ConfigurationError, match=str(node.port)):
        Node(ae_title="A", host="127.0.0.1", port=node.port, inbox=Inbox(tmp_path), settings=ServiceSettings())
