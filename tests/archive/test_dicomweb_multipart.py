"""Reading multipart bodies in pieces of any size."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segqa_dicom.dicom.multipart import MultipartParser, media_type, new_boundary, parts
from segqa_dicom.errors import PeerRefused, PeerUnavailable


def body(parts: list[bytes], boundary: bytes = b"b", head: bytes = b"Content-Type: application/dicom\r\n") -> bytes:
    return (
        b"".join(b"--" + boundary + b"\r\n" + head + b"\r\n" + one + b"\r\n" for one in parts)
        + b"--"
        + boundary
        + b"--"
    )


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[begin : begin + size] for begin in range(0, len(data), size))


def read(data: bytes, size: int = 7, boundary: str = "b") -> list[bytes]:
    return [b"".join(part) for part in parts(pieces(data, size), boundary)]


@given(st.lists(st.binary(max_size=60).map(lambda one: one.replace(b"\r\n--b", b"")), max_size=4), st.integers(1, 80))
def test_parts_come_out_as_they_went_in_whatever_the_pieces(parts: list[bytes], size: int) -> None:
    parts = [one for one in parts if b"\r\n--b" not in one]
    assert read(body(parts), size) == parts


def test_preamble_epilogue_padding_and_empty_header_are_no_parts() -> None:
    data = b"before\r\n--b  \r\n\r\nfirst\r\n--b\t\r\nA: b\r\n\r\nsecond\r\n--b--\r\nbehind"
    for size in (1, 3, 1000):
        assert read(data, size) == [b"first", b"second"]


def test_stated_length_keeps_a_part_whole_that_contains_the_boundary() -> None:
    inner = b"one\r\n--b\r\n\r\ninjected\r\n--b--"
    data = body([inner], head=b"content-length: %d\r\n" % len(inner))
    for size in (1, 5, 1000):
        assert read(data, size) == [inner]


def test_wrong_length_is_refused() -> None:
    with pytest.raises(PeerRefused, match="as long as"):
        read(body([b"abcdefgh"], head=b"Content-Length: 3\r\n"))


def test_absurd_length_is_ignored() -> None:
    assert read(body([b"abc"], head=b"Content-Length: " + b"9" * 5000 + b"\r\n")) == [b"abc"]


def test_length_is_only_used_where_it_is_asked_for() -> None:
    data = body([b"abcdefgh"], head=b"Content-Length: 3\r\n")
    for size in (1, 1000):
        parser = MultipartParser("b")
        events = [event for piece in pieces(data, size) for event in parser.feed(piece)]
        parser.finish()
        assert b"".join(event for event in events if isinstance(event, bytes)) == b"abcdefgh"


def test_what_is_cut_anywhere_is_unavailable() -> None:
    data = body([b"first", b"second"])
    for end in range(len(data) - 1):
        with pytest.raises(PeerUnavailable):
            read(data[:end])


def test_what_is_no_multipart_is_refused() -> None:
    with pytest.raises(PeerRefused, match="not multipart"):
        read(b"x" * 200_000, 4096)
    with pytest.raises(PeerRefused, match="header"):
        read(b"--b\r\n" + b"x" * 100_000, 4096)
    with pytest.raises(PeerRefused, match="boundary"):
        read(b"", boundary="")


def test_part_that_nobody_reads_is_skipped() -> None:
    assert sum(1 for _ in parts(pieces(body([b"a" * 100, b"b" * 100]), 9), "b")) == 2


def test_content_type_is_taken_apart() -> None:
    assert media_type('multipart/related; type="application/dicom"; boundary="a b"') == ("multipart/related", "a b")
    assert media_type("Multipart/Related;boundary=x") == ("multipart/related", "x")
    assert media_type("application/dicom") == ("application/dicom", "")
    assert media_type("text/html\r\nX: y")[1] == ""


def test_boundaries_are_long_and_differ() -> None:
    assert len({new_boundary() for _ in range(100)}) == 100
    assert all(32 <= len(new_boundary()) <= 70 for _ in range(10))
