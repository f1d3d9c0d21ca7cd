"""Taking a package in: which one, what of it, and what is left when it goes wrong."""

from __future__ import annotations

import gzip
import json
import os
import tarfile
from pathlib import Path

import pytest

from segqa_dicom.errors import ConfigurationError, PeerRefused
from segqa_dicom.viewer import VERSION, find_installed, install, package
from segqa_dicom.viewer.unpack import MAX_BYTES, unpack
from tests.command import segqa
from tests.viewer.packages import FILES, SCRIPT, integrity_of, packed


@pytest.fixture
def expected_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small package, which is the one that is expected."""
    file = packed(tmp_path / "package.tgz")
    monkeypatch.setattr(package, "INTEGRITY", integrity_of(file))
    return file


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def test_the_files_of_the_viewer_are_installed_once(expected_package: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "viewer"
    assert find_installed(folder) is None
    first = install(folder, expected_package)
    assert (first.is_new, first.folder) == (True, folder / VERSION)
    assert find_installed(folder) is not None
    assert not install(folder, tmp_path / "is not looked at").is_new
    assert [path.name for path in folder.iterdir()] == [VERSION]


def test_only_what_the_viewer_needs_is_taken_and_scripts_are_compressed_too(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    unpack(packed(tmp_path / "package.tgz"), tmp_path / "out")
    script = "app.bundle.0123456789abcdef0123.js"
    assert names(tmp_path / "out") == {
        "index.html", script, f"{script}.gz", "app.css", "manifest.json", "assets/icon.png", "0123456789abcdef0123.wasm",
    }  # fmt: skip
    plain = (tmp_path / "out" / script).read_bytes()
    assert gzip.decompress((tmp_path / "out" / f"{script}.gz").read_bytes()) == plain
    assert len(plain) > len(SCRIPT)


def test_files_find_each_other_below_any_path(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    unpack(packed(tmp_path / "package.tgz"), tmp_path / "out")
    script = (tmp_path / "out" / "app.bundle.0123456789abcdef0123.js").read_text()
    assert '__webpack_require__.p = (self.PUBLIC_URL||new URL("./",self.location).pathname);' in script
    style = (tmp_path / "out" / "app.css").read_text()
    assert style == "a{src:url(0123456789abcdef0123.woff2)} b{src:url(data:x)} c{src:url(//d)}"
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["icons"][0]["src"] == "assets/icon.png"


@pytest.mark.parametrize(
    "member",
    [
        pytest.param(tarfile.TarInfo("../outside"), id="above"),
        pytest.param(tarfile.TarInfo("package/dist/../../../outside"), id="above from below"),
        pytest.param(link("package/dist/a.js", "/etc/passwd"), id="absolute link"),
        pytest.param(link("package/dist/a.js", "index.html"), id="link within"),
        pytest.param(link("package/dist/a.js", "package/dist/index.html", tarfile.LNKTYPE), id="hard link"),
        pytest.param(link("package/dist/a.js", "", tarfile.FIFOTYPE), id="pipe"),
        pytest.param(link("package/dist/a.js", "", tarfile.CHRTYPE), id="device"),
    ],
)
def test_what_leads_elsewhere_is_refused(member: tarfile.TarInfo, tmp_path: Path) -> None:
    file = packed(tmp_path / "package.tgz", FILES, member)
    (tmp_path / "a" / "b" / "out").mkdir(parents=True)
    with pytest.raises(PeerRefused):
        unpack(file, tmp_path / "a" / "b" / "out")
    assert not list(tmp_path.rglob("outside"))


def test_a_package_that_inflates_without_end_is_refused(tmp_path: Path) -> None:
    member = tarfile.TarInfo("package/dist/zeros.js.map")
    member.size = MAX_BYTES + 1
    file = tmp_path / "package.tgz"
    with Path("/dev/zero").open("rb") as zeros, tarfile.open(file, "w:gz", compresslevel=1) as stream:
        stream.addfile(member, zeros)
    (tmp_path / "out").mkdir()
    with pytest.raises(PeerRefused, match="larger"):
        unpack(file, tmp_path / "out")


@pytest.mark.parametrize(
    "content", [b"", b"no package", gzip.compress(b"no package", mtime=0)], ids=["empty", "plain", "gzip"]
)
def test_what_cannot_be_unpacked_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "package.tgz").write_bytes(content)
    (tmp_path / "out").mkdir()
    with pytest.raises(PeerRefused):
        unpack(tmp_path / "package.tgz", tmp_path / "out")


@pytest.mark.servers
def test_another_package_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    ran = segqa("viewer", "install", "--from", packed(tmp_path / "package.tgz"), "--to", tmp_path / "viewer")
    assert ran.code == 1
    assert "SHA-512" in ran.err
    assert names(tmp_path / "viewer") == set()
    assert segqa("viewer", "status", "--to", tmp_path / "viewer").code == 1


def test_nothing_is_left_of_what_failed(
    expected_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = packed(tmp_path / "package.tgz", FILES, link("package/dist/z.js", "/etc/passwd"))
    monkeypatch.setattr(package, "INTEGRITY", integrity_of(file))
    with pytest.raises(PeerRefused):
        install(tmp_path / "viewer", file)
    assert list((tmp_path / "viewer").iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_named(expected_package: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigurationError, match="cannot write"):
        install(tmp_path / "taken" / "viewer", expected_package)


def test_without_npm_it_is_said_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match=f"npm pack @ohif/app@{VERSION}.*--from"):
        install(tmp_path / "viewer")


@pytest.mark.servers
def test_the_registry_is_the_one_that_npm_is_set_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text('#!/bin/sh\necho "$@" > "$CALLED"\nprintf \'{"error": {"code": "E404"}}\'\nexit 1\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CALLED", str(tmp_path / "called"))
    ran = segqa("viewer", "install", "--to", tmp_path / "viewer")
    assert ran.code == 1
    assert "E404" in ran.err
    assert "--registry" not in (tmp_path / "called").read_text()
