"""/ohif as HTTP: the page, its files, and what browsers are told about them."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from segqa_dicom.archive.folder import FolderArchive
from segqa_dicom.config import ServiceSettings, Settings
from segqa_dicom.inbox import Inbox
from segqa_dicom.viewer import VERSION, document_link, study_link
from segqa_dicom.viewer.unpack import unpack
from segqa_dicom.web import create_app
from tests.viewer.packages import packed
from tests.web.in_process import Asking, running
from tests.web.server import Ledger

SCRIPT = "/ohif/app.bundle.0123456789abcdef0123.js"


@contextmanager
def served(folder: Path, **settings: Any) -> Iterator[Asking]:
    service = ServiceSettings(min_free_bytes=0, **settings)
    with closing(FolderArchive(folder / "archive")) as archive:
        app = create_app(
            archive=archive, ledger=Ledger(), inbox=Inbox(folder / "inbox"), settings=Settings(), service=service
        )
        with running(app) as client:
            yield client


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A data folder with a small viewer in it."""
    place = tmp_path / "viewer" / VERSION
    place.mkdir(parents=True)
    unpack(packed(tmp_path / "package.tgz"), place)
    return tmp_path


def test_without_the_viewer_the_page_says_how_to_install_it_and_it_is_there_as_soon_as_it_is(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        for path in ("/ohif", "/ohif/", "/ohif/viewer?StudyInstanceUIDs=1.2.3", SCRIPT):
            answer = client.get(path)
            assert answer.status_code == 404
            assert "segqa viewer install" in answer.text
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src")
        place = tmp_path / "viewer" / VERSION
        place.mkdir(parents=True)
        unpack(packed(tmp_path / "package.tgz"), place)
        assert client.get("/ohif").status_code == 200


def test_the_service_leads_to_the_viewer(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        assert 'href="/ohif/"' in client.get("/").text
    with served(tmp_path, public_url="https://qa.example.org/segqa") as client:
        assert 'href="/segqa/ohif/"' in client.get("/").text


@pytest.mark.parametrize("path", ["/ohif", "/ohif/", "/ohif/viewer?StudyInstanceUIDs=1.2.3", "/ohif/index.html"])
def test_every_place_within_the_viewer_is_its_page(installed: Path, path: str) -> None:
    with served(installed) as client:
        answer = client.get(path)
        assert answer.headers["Content-Type"].startswith("text/html")
        assert 'src="/ohif/app-config.js"' in answer.text
        assert f'src="{SCRIPT}"' in answer.text
        assert "window.PUBLIC_URL = '/ohif/';" in answer.text
        assert 'content="/ohif/assets/browserconfig.xml"' in answer.text
        assert answer.headers["Cache-Control"] == "no-cache"


def test_below_a_path_of_a_proxy_everything_is_below_it(installed: Path) -> None:
    with served(installed, public_url="https://qa.example.org/segqa/") as client:
        page = client.get("/ohif/").text
        assert 'src="/segqa/ohif/app-config.js"' in page
        script = client.get("/ohif/app-config.js").text
        assert '"routerBasename": "/segqa/ohif"' in script
        assert 'window.location.origin + "/segqa/dicom-web"' in script


def test_only_the_scripts_of_the_page_run(installed: Path) -> None:
    with served(installed) as client:
        answer = client.get("/ohif/")
    assert answer.headers["Content-Security-Policy"].count("default-src") == 1  # not ours besides
    allowed = set(re.findall(r"'sha256-([^']+)'", answer.headers["Content-Security-Policy"]))
    inline = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
    assert allowed == {base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in inline} != set()
    scripts = answer.headers["Content-Security-Policy"].partition("script-src")[2].partition(";")[0]
    assert "unsafe-inline" not in scripts
    assert "http" not in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/ohif/", SCRIPT, "/ohif/app-config.js"])
def test_pages_may_share_memory_between_threads(installed: Path, path: str) -> None:
    with served(installed) as client:
        headers = client.get(path).headers
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "media_type", "is_kept"),
    [
        (SCRIPT, "text/javascript; charset=utf-8", True),
        ("/ohif/0123456789abcdef0123.wasm", "application/wasm", True),
        ("/ohif/app.css", "text/css; charset=utf-8", False),
        ("/ohif/manifest.json", "application/json", False),
        ("/ohif/assets/icon.png", "image/png", False),
    ],
)
def test_files_have_their_types_and_those_with_a_hash_are_kept(
    installed: Path, path: str, media_type: str, is_kept: bool
) -> None:
    with served(installed) as client:
        answer = client.get(path)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, media_type)
        assert ("immutable" in answer.headers["Cache-Control"]) == is_kept
        again = client.get(path, headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_scripts_come_compressed_to_who_can_read_that(installed: Path) -> None:
    with served(installed) as client:
        compressed = client.get(SCRIPT, headers={"Accept-Encoding": "br;q=1, gzip"})
        plain = client.get(SCRIPT, headers={"Accept-Encoding": "identity"})
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert int(compressed.headers["Content-Length"]) < len(plain.content)
    assert "Content-Encoding" not in plain.headers
    assert compressed.content == plain.content
    assert compressed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    "path",
    [
        "/ohif/..%2f..%2finbox/secret.js",
        "/ohif/%2e%2e/%2e%2e/secret.js",
        "/ohif/assets/..%2f..%2f..%2fsecret.js",
        "/ohif//etc/passwd.js",
        "/ohif/%2fetc/hosts.js",
        "/ohif/a%00.js",
        "/ohif/..%5csecret.js",
        "/ohif/.hidden.js",
        "/ohif/none.js",
        "/ohif/assets.js/x.png",
    ],
)
def test_nothing_else_of_the_disk_is_served(installed: Path, path: str) -> None:
    for folder in (installed, installed / "inbox"):
        folder.mkdir(exist_ok=True)
        (folder / "secret.js").write_text("secret")
    (installed / "viewer" / VERSION / ".hidden.js").write_text("secret")
    with served(installed) as client:
        answer = client.get(path)
        assert answer.status_code == 404
        assert "secret" not in answer.text


def test_a_folder_of_the_viewer_that_leads_out_of_it_is_not_followed(installed: Path) -> None:
    (installed / "secret.js").write_text("secret")
    (installed / "viewer" / VERSION / "link.js").symlink_to(installed / "secret.js")
    with served(installed) as client:
        assert client.get("/ohif/link.js").status_code == 404


def test_links_lead_to_studies_and_documents() -> None:
    assert study_link("1.2.3") == "/ohif/viewer?StudyInstanceUIDs=1.2.3"
    assert document_link("1.2.3", "1.2.3.4", root="/segqa") == (
        "/segqa/ohif/viewer?StudyInstanceUIDs=1.2.3&initialSeriesInstanceUID=1.2.3.4"
    )
