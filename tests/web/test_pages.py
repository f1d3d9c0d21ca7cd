"""Pages of readers: what they show, what they take, from whom."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from requests import Response
from starlette.routing import Route

from segqa_dicom.archive.folder import FolderArchive
from segqa_dicom.checks import default_ruleset
from segqa_dicom.config import ServiceSettings, Settings
from segqa_dicom.errors import ConfigurationError
from segqa_dicom.inbox import Inbox
from segqa_dicom.ledger import Ledger
from segqa_dicom.model import SegmentRef
from segqa_dicom.pictures import OpenCases, to_mm
from segqa_dicom.reviews.workflow.signed_reviews import ReviewMemory
from segqa_dicom.web import Readers, create_app
from segqa_dicom.web.pages.guard import COOKIE, PROXY_HEADER
from segqa_dicom.web.pages.routes import page_routes
from segqa_dicom.web.pages.users import person_name, shown_name
from tests.reviews.office import ALL, ANNA, BEN, Office, finish, make_reviewed
from tests.web.in_process import Asking, running

PAGES = ("/", "/sign", "/adjudicate", "/agreement", "/rules", "/status")
HTML = {"Accept": "text/html,*/*"}
PROXY = {"user_header": "X-User", "user_name_header": "X-Name", "proxy_token": SecretStr("s3cret")}
Start = Callable[..., Asking]


@pytest.fixture(scope="session")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reviewed archive to be copied; nobody may change it."""
    return make_reviewed(tmp_path_factory.mktemp("reviewed"))


@pytest.fixture
def office(reviewed: Path, tmp_path: Path) -> Iterator[Office]:
    made = Office(reviewed, tmp_path / "office")
    yield made
    made.close()


@pytest.fixture
def start(office: Office) -> Iterator[Start]:
    """Starts the service over the office with some settings."""
    with ExitStack() as stack:

        def started(**settings: Any) -> Asking:
            service = ServiceSettings(**{"reviewer": "Anna Alpha", "min_free_bytes": 0, **settings})
            return stack.enter_context(running(application(office, stack, service)))

        yield started


def application(office: Office, stack: ExitStack, service: ServiceSettings) -> Any:
    cases = OpenCases(office.archive, folder=office.folder / "open", limits=Settings().limits(), max_bytes=10**9)
    stack.callback(cases.close)
    return create_app(
        archive=office.archive,
        ledger=office.ledger,
        inbox=Inbox(office.folder / "inbox"),
        settings=Settings(),
        service=service,
        findings_index=office.index,
        readers=Readers(office.workflow(**service.model_dump(exclude={"archive"})), cases, default_ruleset()),
    )


@pytest.fixture
def client(start: Start) -> Asking:
    return start()


def token(client: Asking, **options: Any) -> dict[str, str]:
    """The header for changes, after a page was opened."""
    client.get("/sign", **options)
    return {"X-CSRF-Token": client.cookies[COOKIE]}


def put(
    client: Asking, place: SegmentRef, content: dict[str, Any], version: int = 0, *, query: str = "", **more: Any
) -> Response:
    headers = {**more.pop("headers", {}), "X-CSRF-Token": client.cookies.get(COOKIE, "")}
    body = {"content": {"findings": [], **content}, "version": version, **more}
    return client.put(f"/api/reviews/drafts/{place.segmentation}/{place.segment}{query}", json=body, headers=headers)


# The worklist


def test_the_worklist_has_the_worst_first_in_words(client: Asking, office: Office) -> None:
    page = client.get("/").text
    shown = re.findall(r'href="/review/([0-9.]+)/([0-9]+)"', page)
    assert [SegmentRef(uid, int(number)) for uid, number in shown[1:51]] == office.places()[:50]
    assert page.index("Failed") < page.index("Passed")
    assert f"0 of {len(office.places())} done" in page
    assert re.search(r'class="reason">[a-z0-9].{10,}<', page)


@pytest.mark.parametrize(
    ("query", "least"),
    [("verdict=unusable", 1), ("structure=liver", 1), ("model=Model+B", 1), ("status=open", 50), ("status=done", 0)],
)
def test_the_worklist_is_filtered_by_its_address(client: Asking, query: str, least: int) -> None:
    page = client.get(f"/?{query}").text
    assert len(re.findall(r'class="card ', page)) >= least
    assert ("No matching segments" in page) == (least == 0)


@pytest.mark.parametrize("query", ["verdict=great", "status=x", f"model={'x' * 300}", "offset=-1"])
def test_filters_that_mean_nothing_are_refused_on_a_page(client: Asking, query: str) -> None:
    answer = client.get(f"/?{query}")
    assert answer.status_code in (400, 404)
    assert "<h1>" in answer.text


def test_pages_of_the_worklist_follow_each_other(client: Asking, office: Office) -> None:
    total = len(office.places())
    second = client.get("/?offset=50&status=open").text
    assert f"51 to {min(100, total)} of {total}" in second
    assert 'rel="prev" href="/?status=open&amp;offset=0"' in second


def test_an_empty_archive_says_how_to_send(tmp_path: Path) -> None:
    made = Office(None, tmp_path / "empty")
    with ExitStack() as stack:
        stack.callback(made.close)
        client = stack.enter_context(running(application(made, stack, ServiceSettings(min_free_bytes=0))))
        page = client.get("/").text
    assert "storescu" in page
    assert "/dicom-web/studies" in page


# One segment


def test_the_page_of_a_segment_has_its_words_and_pictures(client: Asking, office: Office) -> None:
    place = office.places()[0]
    page = client.get(f"/review/{place.segmentation}/{place.segment}").text
    assert "Use as is" in page
    assert "Failed" in page
    scene = client.get(f"/api/reviews/scene/{place.segmentation}/{place.segment}").json()
    assert scene["segment"]["number"] == place.segment
    pictures = re.search(r"&#34;pictures&#34;: &#34;([^&]+)&#34;", page)
    assert pictures
    query = f"window=40,400&segmentation={place.segmentation}&segment={place.segment}"
    plane = client.get(f"{pictures[1]}/axial/{scene['start'][0]}?{query}").json()
    assert plane["image"].startswith("data:image/png;base64,")
    assert {one["kind"] for one in plane["contours"]} == {"strong", "faint"}
    assert client.get(f"{pictures[1]}/axial/99999?{query}").status_code in (400, 404)
    assert client.get(f"{pictures[1]}/axial/0?window=x&segmentation=1.2").status_code == 400


def test_the_page_of_a_segment_looks_for_reviews_once(
    client: Asking, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    learn = ReviewMemory.refresh
    monkeypatch.setattr(ReviewMemory, "refresh", lambda memory: looks.append(1) or learn(memory))
    place = office.places()[0]
    assert client.get(f"/review/{place.segmentation}/{place.segment}").status_code == 200
    assert len(looks) == 1


def test_thumbnails_are_sent_once(client: Asking, office: Office) -> None:
    path = "/thumbnails/{0.segmentation}/{0.segment}".format(office.places()[0])
    first = client.get(path)
    assert (first.status_code, first.headers["Content-Type"], first.content[:4]) == (200, "image/webp", b"RIFF")
    assert client.get(path, headers={"If-None-Match": first.headers["ETag"]}).status_code == 304


@pytest.mark.parametrize("path", ["/review/1.2.3/4", "/review/x/1", "/review/1.2/y", "/thumbnails/1.2.3/1"])
def test_what_is_not_there_is_said_so(client: Asking, path: str) -> None:
    assert client.get(path).status_code == 404


def test_a_draft_is_kept_as_typed_with_places_in_mm(client: Asking, office: Office) -> None:
    token(client)
    place = office.places()[0]
    voxel = [3.0, 10.5, 7.25]
    typed = {
        "rating": "2",
        "findings": [
            {"type": "leak", "severity": "major", "comment": "there", "voxel": voxel},
            {"type": "hole", "severity": "minor", "voxel": [3, 8, 9], "box": [[3, 4, 12], [3, 12, 6]]},
        ],
        "comment": "too large",
        "seconds": 12,
    }
    saved = put(client, place, typed).json()
    assert (saved["version"], saved["status"]) == (1, "draft")
    machine = next(row.machine for row in office.workflow().worklist(ANNA, ALL, limit=1).rows)
    case = OpenCases(office.archive, folder=office.folder / "mm", limits=Settings().limits(), max_bytes=10**9)
    opened = case.open(machine.study, machine.ct_series)
    one, other = saved["content"]["findings"]
    assert one["point_mm"] == pytest.approx(to_mm(opened, voxel))
    corners = to_mm(opened, [3, 4, 12]), to_mm(opened, [3, 12, 6])
    assert other["box_mm"][0] == pytest.approx([min(pair) for pair in zip(*corners, strict=True)])
    assert other["box_mm"][1] == pytest.approx([max(pair) for pair in zip(*corners, strict=True)])
    case.close()
    again = put(client, place, saved["content"], 1, finish=True, then="next").json()
    assert again["status"] == "done"
    following = office.places()[1]
    assert again["next"] == f"/review/{following.segmentation}/{following.segment}"
    page = client.get(f"/review/{place.segmentation}/{place.segment}").text
    assert "too large" in page


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"rating": "7"}, "rating '7'"),
        ({"findings": [{"type": "ugly"}]}, "finding 'ugly'"),
        ({"findings": [{"type": "hole", "severity": "very"}]}, "severity 'very'"),
        ({"action": "burn"}, "action 'burn'"),
        ({"confidence": "no"}, "confidence 'no'"),
        ({"comment": "x" * 5000}, "5000 characters"),
        ({"findings": [{"type": "hole", "voxel": [1, 2]}]}, "[slice, row, column]"),
        ({"findings": [{"type": "hole", "voxel": [1, 2, "x"]}]}, "[slice, row, column]"),
        ({"findings": [{"type": "hole", "voxel": [1, 2, 3], "box": [[1, 2, 3]]}]}, "two corners"),
        ({"findings": "none"}, "what is said"),
    ],
)
def test_what_nobody_can_say_is_refused_by_its_name(
    client: Asking, office: Office, content: dict[str, Any], words: str
) -> None:
    token(client)
    answer = put(client, office.places()[0], content)
    assert answer.status_code == 400
    assert words in answer.json()["message"]


def test_another_window_is_told_of_the_conflict_with_what_was_saved(client: Asking, office: Office) -> None:
    token(client)
    place = office.places()[0]
    put(client, place, {"rating": "2"})
    answer = put(client, place, {"rating": "4"}, 0)
    assert answer.status_code == 409
    assert answer.json()["draft"]["content"]["rating"] == "2"
    assert put(client, place, {"rating": "2"}, 0).status_code == 200, "the same again is no conflict"


@pytest.mark.parametrize("query", ["?purpose=adjudication", "?purpose=repeat&reading=2", "?reading=3"])
def test_tasks_of_others_are_refused(client: Asking, office: Office, query: str) -> None:
    token(client)
    assert put(client, office.places()[0], {"rating": "2"}, query=query).status_code == 403


def test_bodies_that_nobody_typed_are_refused(client: Asking, office: Office) -> None:
    place = office.places()[0]
    path, headers = f"/api/reviews/drafts/{place.segmentation}/{place.segment}", token(client)
    assert client.put(path, data=b"x" * 2_000_000, headers=headers).status_code == 413
    assert client.put(path, data=b"{", headers=headers).status_code == 400
    assert client.put(path, data=b"[" * 100_000, headers=headers).status_code == 400
    assert client.put(path, json=[], headers=headers).status_code == 400
    assert client.put(path, json={"content": {}}, headers=headers).status_code == 400


# Signing


def test_what_is_finished_is_signed_into_the_archive(client: Asking, office: Office) -> None:
    token(client)
    uid = office.places()[0].segmentation
    first, second, third = [one for one in office.places() if one.segmentation == uid][:3]
    put(client, first, {"rating": "2", "findings": [{"type": "side", "severity": "critical"}]}, finish=True)
    put(client, second, {"rating": "5"}, finish=True)
    put(client, third, {"comment": "look again"})
    page = client.get("/sign").text
    assert "Sign and store 2 segments" in page
    assert "1 unfinished segment is not included" in page
    form = {"csrf": client.cookies[COOKIE], "segmentation": first.segmentation, "how": "signed"}
    answer = client.post("/sign", data=form)
    assert "Stored in the archive" in answer.text
    (document,) = office.documents()
    assert document.sop_instance_uid in answer.text
    assert "Nothing to sign" not in answer.text
    assert 'class="notice good" id="signed"' in client.get(f"/review/{first.segmentation}/{first.segment}").text
    reopened = client.post(f"/api/reviews/reopened/{first.segmentation}/{first.segment}", headers=token(client)).json()
    assert reopened["status"] == "draft"


def test_how_to_sign_is_one_of_two_words(client: Asking) -> None:
    token(client)
    assert client.post("/sign", data={"csrf": client.cookies[COOKIE], "how": "maybe"}).status_code == 400


def test_an_adjudicator_sees_both_readers_side_by_side(start: Start, office: Office) -> None:
    place = office.places()[0]
    for reader, rating in ((ANNA, "5"), (BEN, "1")):
        workflow = office.workflow()
        finish(workflow, reader, place, rating)
        workflow.sign(reader, [place.segmentation])
    client = start(reviewer="carl", adjudicators="carl")
    listed = client.get("/adjudicate").text
    assert "Anna Alpha" in listed
    page = client.get(f"/review/{place.segmentation}/{place.segment}?purpose=adjudication").text
    assert "Other readers" in page
    assert "Anna Alpha" in page
    assert "Ben Beta" in page
    blind = client.get(f"/review/{place.segmentation}/{place.segment}").text
    assert "Anna Alpha" not in blind
    token(client)
    assert put(client, place, {"rating": "2"}, finish=True, query="?purpose=adjudication").status_code == 200


def test_who_may_not_decide_is_told_who_may(client: Asking) -> None:
    assert "SEGQA_ADJUDICATORS" in client.get("/adjudicate").text


def test_statistics_are_shown_with_and_without_reviews(client: Asking, start: Start, office: Office) -> None:
    assert "No signed reviews yet" in client.get("/agreement").text
    assert "No signed reviews yet" in client.get("/rules").text
    for reader, grades in ((ANNA, "53214"), (BEN, "43225")):
        workflow = office.workflow()
        places = [one for one in office.places() if one.segmentation == office.places()[0].segmentation][:12]
        for at, place in enumerate(places):
            finish(workflow, reader, place, grades[at % 5])
        workflow.sign(reader, [places[0].segmentation])
    page = client.get("/agreement").text
    assert "anna, ben" in page
    assert '<td class="n">12</td>' in page
    assert client.get("/agreement/figure.svg").text.startswith("<svg")
    assert client.get("/agreement.json").json()["n_ratings"] == 24
    assert "Precision" in client.get("/rules").text
    assert client.get("/rules.json").json()["n_reviewed"] == 12
    assert client.get("/rules/proposal.toml").text.startswith("#")
    assert client.get("/major.csv").text.count("\n") == 1, "reading is blind, and this reader has said nothing"
    assert start(adjudicators="anna", reviewer="anna").get("/major.csv").text.count("\n") > 1
    assert start(reviewer="ben").get("/major.json").json()["segmentations"]


# From whom


def changing_routes() -> list[tuple[str, str]]:
    return [
        (method, re.sub(r"\{[^}]+\}", "1", route.path))
        for route in page_routes()
        if isinstance(route, Route)
        for method in route.methods or ()
        if method not in ("GET", "HEAD")
    ]


@pytest.mark.parametrize(("method", "path"), changing_routes())
def test_changes_need_the_token_of_the_page(client: Asking, method: str, path: str) -> None:
    good = token(client)
    for headers in ({}, {"X-CSRF-Token": "0" * 64}, {**good, "Cookie": f"{COOKIE}={'1' * 64}"}):
        assert client.request(method, path, headers=headers, json={}).status_code == 403
    for headers in (
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        assert client.request(method, path, headers={**good, **headers}, json={}).status_code == 403
    form = {"csrf": "0" * 64}
    assert client.request(method, path, data=form).status_code == 403
    assert client.request(method, path, headers=good, json={}).status_code != 403
    with Asking(client.url) as fresh:
        assert fresh.request(method, path, headers=good, json={}).status_code == 403


def test_the_cookie_is_for_our_own_pages_only(client: Asking) -> None:
    cookie = client.get("/").headers["Set-Cookie"].lower()
    assert "samesite=strict" in cookie
    assert "httponly" in cookie
    assert "secure" not in cookie, "on this machine there is no TLS"


def test_other_names_than_ours_are_refused_on_this_machine(start: Start) -> None:
    client = start(public_url="https://qa.example.org/segqa")
    for path in (*PAGES, "/dicom-web/studies", "/metrics", "/api/findings", "/ohif"):
        answer = client.get(path, headers={"Host": "evil.example", **HTML})
        assert answer.status_code == 403, path
        assert "<h1>" in answer.text
    assert client.get("/healthz", headers={"Host": "evil.example"}).status_code == 200
    assert client.get("/", headers={"Host": "qa.example.org"}).status_code == 200
    assert client.get("/", headers={"Host": "localhost:1234"}).status_code == 200
    assert client.get("/", headers={"Host": "evil.example"}).json()["message"]


def test_below_a_path_of_a_proxy_all_links_begin_with_it(start: Start) -> None:
    client = start(public_url="https://qa.example.org/segqa")
    for path in PAGES:
        page = client.get(path).text
        links = re.findall(r'(?:href|src|action)="(/[^"]*)"', page)
        assert links
        assert all(link.startswith("/segqa/") for link in links), path


def test_a_header_is_believed_only_with_the_secret_of_the_proxy(start: Start) -> None:
    client = start(**PROXY)
    for path in (*PAGES, "/dicom-web/studies", "/ohif", "/metrics", "/api/findings", "/nothing"):
        assert client.get(path, headers={"X-User": "anna"}).status_code == 403, path
        wrong = {"X-User": "anna", PROXY_HEADER: "guess"}
        assert client.get(path, headers=wrong).status_code == 403, path
    assert client.get("/healthz").status_code == 200
    right = {PROXY_HEADER: "s3cret", **HTML}
    assert client.get("/dicom-web/studies", headers=right).status_code == 200
    nobody = client.get("/", headers=right)
    assert (nobody.status_code, "<h1>Who are you?" in nobody.text) == (401, True)
    page = client.get("/", headers={**right, "X-User": "anna", "X-Name": "Änna Alpha".encode()})
    assert "Änna Alpha" in page.text


def test_two_readers_do_not_see_each_other(start: Start, office: Office) -> None:
    client, place = start(**PROXY), office.places()[0]
    for login, rating in (("anna", "1"), ("ben", "5")):
        client.headers.update({PROXY_HEADER: "s3cret", "X-User": login})
        token(client)
        assert put(client, place, {"rating": rating}, finish=True).json()["version"] == 1
    page = client.get(f"/review/{place.segmentation}/{place.segment}").text
    assert "&#34;rating&#34;: &#34;5&#34;" in page
    assert "anna" not in page


def test_names_of_readers_without_a_secret_are_a_wrong_setting(office: Office) -> None:
    with ExitStack() as stack, pytest.raises(ConfigurationError, match="SEGQA_PROXY_TOKEN"):
        application(office, stack, ServiceSettings(user_header="X-User"))


@pytest.mark.parametrize(
    ("name", "written", "shown"),
    [
        ("Jane Doe", "Doe^Jane", "Jane Doe"),
        ("Doe, Jane", "Doe^Jane", "Jane Doe"),
        ("Doe^Jane", "Doe^Jane", "Jane Doe"),
        ("Anna Maria Doe", "Doe^Anna Maria", "Anna Maria Doe"),
        ("jdoe", "jdoe^", "jdoe"),
    ],
)
def test_names_are_written_as_dicom_does(name: str, written: str, shown: str) -> None:
    assert person_name(name) == written
    assert shown_name(written) == shown


# What browsers may do


def test_no_page_has_scripts_or_styles_in_it(client: Asking, office: Office) -> None:
    place = office.places()[0]
    for path in (*PAGES, f"/review/{place.segmentation}/{place.segment}", "/review/1.2/3"):
        answer = client.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "'unsafe" not in policy
        assert "script-src 'self'" in policy
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", answer.text), path
        assert answer.headers["Cache-Control"] == "no-store"


def test_style_sheets_are_kept_for_ever_under_their_version(client: Asking) -> None:
    page = client.get("/").text
    (path,) = set(re.findall(r'href="(/static/[0-9a-f]+/base.css)"', page))
    now = client.get(path)
    assert "immutable" in now.headers["Cache-Control"]
    assert client.get(path, headers={"If-None-Match": now.headers["ETag"]}).status_code == 304
    old = client.get("/static/0000/base.css")
    assert (old.text, old.headers["Cache-Control"]) == (now.text, "no-cache")
    assert client.get("/static/0000/secret.txt").status_code == 404
    assert client.get("/static/0000/..%2f..%2fapp.py").status_code == 404


def test_without_readers_the_first_page_is_the_status(tmp_path: Path) -> None:
    with closing(FolderArchive(tmp_path / "archive")) as archive, Ledger(f"sqlite:///{tmp_path / 'l'}") as ledger:
        ledger.migrate()
        app = create_app(
            archive=archive,
            ledger=ledger,
            inbox=Inbox(tmp_path / "inbox"),
            settings=Settings(),
            service=ServiceSettings(min_free_bytes=0),
        )
        with running(app) as client:
            assert "Service: " in client.get("/").text
            assert client.get("/sign").status_code == 404
