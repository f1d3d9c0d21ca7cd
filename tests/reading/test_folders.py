"""Finding files: what cannot be entered or opened is named, links are followed once, discs are understood."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from segqa_dicom.dicom.sop_classes import MEDIA_STORAGE_DIRECTORY
from segqa_dicom.errors import ConfigurationError
from segqa_dicom.reading.scan import Kind, NotReviewed, scan
from tests.reading import factories as f

IMAGES = f.ct_images(f.grid(3))


@contextmanager
def nobody() -> Iterator[None]:
    """Permissions mean nothing to root: look with the eyes of another user."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def reasons(left_out: list[NotReviewed]) -> dict[str, str]:
    return {one.path.name: one.reason for one in left_out}


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter; those of pytest are for its own user only."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_folders_and_files_without_permission_are_named_and_the_rest_is_found(open_folder: Path) -> None:
    f.save_all(IMAGES, open_folder / "fine")
    f.save_all(IMAGES, open_folder / "closed")
    f.save_all(IMAGES, open_folder / "listed")
    secret = f.save(IMAGES[0], open_folder / "secret.dcm")
    for path, mode in ((open_folder / "closed", 0), (open_folder / "listed", 0o444), (secret, 0)):
        path.chmod(mode)
    try:
        with nobody():
            headers, left_out = scan([open_folder], f.LIMITS)
            with pytest.raises(ConfigurationError, match="no such file or folder"):
                scan([open_folder / "closed" / "i0000.dcm"], f.LIMITS)
    finally:
        for path in (open_folder / "closed", open_folder / "listed", secret):
            path.chmod(0o755)
    assert len(headers) == 3
    told = reasons(left_out)
    assert told["closed"] == "folder cannot be opened (Permission denied)"
    assert told["secret.dcm"] == "file cannot be opened (Permission denied)"
    assert told["i0001.dcm"] == "file cannot be opened (Permission denied)"
    assert len(left_out) == 5


def test_links_are_followed_each_target_once_and_loops_end(tmp_path: Path) -> None:
    f.save_all(IMAGES, tmp_path / "elsewhere")
    case = tmp_path / "case"
    case.mkdir()
    (case / "ct").symlink_to(tmp_path / "elsewhere")
    (case / "again").symlink_to(tmp_path / "elsewhere")
    (case / "one.dcm").symlink_to(tmp_path / "elsewhere" / "i0000.dcm")
    (case / "loop").symlink_to(case)
    (case / "gone.dcm").symlink_to(tmp_path / "nothing")
    headers, left_out = scan([case, case], f.LIMITS)
    assert len(headers) == 3
    assert set(reasons(left_out).items()) == {("gone.dcm", "file cannot be opened (No such file or directory)")}


def test_a_disc_with_dicomdir_is_read_like_any_folder(tmp_path: Path) -> None:
    f.save_all(IMAGES, tmp_path / "DICOM")
    directory = f.blank(MEDIA_STORAGE_DIRECTORY, "1.2.3.4.88", PatientName=None, FileSetID="DISC")
    del directory.SOPClassUID, directory.SOPInstanceUID
    f.save(directory, tmp_path / "DICOMDIR")
    headers, left_out = scan([tmp_path], f.LIMITS)
    assert [header.kind for header in headers] == [Kind.CT] * 3
    assert reasons(left_out) == {"DICOMDIR": "Media Storage Directory Storage: neither CT nor segmentation"}


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        pytest.param("empty", b"", "file is empty", id="empty"),
        pytest.param("short", b"abc", "not a DICOM file", id="short"),
        pytest.param("text", b"hello " * 100, "not a DICOM file", id="text"),
        pytest.param("only a prefix", bytes(128) + b"DICM", None, id="only a prefix"),
        pytest.param("notes.txt", b"hello", "", id="companion"),
        pytest.param("empty.json", b"", "", id="empty companion"),
    ],
)
def test_files_that_are_no_dicom_are_named_unless_they_lie_beside_dicom_everywhere(
    tmp_path: Path, name: str, content: bytes, reason: str | None
) -> None:
    (tmp_path / name).write_bytes(content)
    headers, left_out = scan([tmp_path], f.LIMITS)
    assert not headers
    if reason == "":
        assert not left_out
    else:
        assert len(left_out) == 1
        assert reason is None or left_out[0].reason == reason


def test_a_preamble_that_is_a_program_is_no_obstacle(tmp_path: Path) -> None:
    path = f.save(IMAGES[0], tmp_path / "x")
    path.write_bytes(b"\x7fELF" + b"\x90" * 124 + path.read_bytes()[128:])
    assert len(scan([path], f.LIMITS)[0]) == 1


def test_file_names_of_any_bytes_are_read(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff\xfe")
    folder.mkdir()
    f.save(IMAGES[0], tmp_path / "x").rename(folder / os.fsdecode(b"a\nb\xc3"))
    assert len(scan([tmp_path], f.LIMITS)[0]) == 1


def test_a_path_that_is_not_there_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such file or folder"):
        scan([tmp_path / "nothing"], f.LIMITS)
