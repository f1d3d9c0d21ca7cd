"""``segqa status``, ``replay``, ``quarantine`` and ``reconcile``: what they say, and how they end."""

from __future__ import annotations

from pathlib import Path

import pytest

from segqa_dicom.archive.folder_keys import read_outgoing
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.ledger import Case, CaseState, Ledger, NewCase
from segqa_dicom.service import Setup
from tests.command import Ran, segqa
from tests.servers.process import free_port
from tests.service.cases import TINY, small_case

pytestmark = pytest.mark.servers

COMMANDS = (
    ("status",),
    ("reconcile",),
    ("replay", "0123"),
    ("quarantine", "list"),
    ("quarantine", "show", "0123"),
)
READY, GIVEN_UP = "a" * 64, "ab" * 32
NOW = 1_800_000_000.0


@pytest.fixture(autouse=True)
def _data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGQA_DATA", str(tmp_path / "data"))


class SegmentRef:
    """An archive's folder, and a ledger with a case that is ready, one in quarantine, and an object that was refused."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 'ledger.sqlite3'}"
        self._options = ("--archive", folder / "archive", "--ledger", self.url)
        with Ledger(self.url) as ledger:
            ledger.migrate()
            for key in (GIVEN_UP, READY):
                ledger.open_revision(_new(key), now=NOW)
            claim = ledger.claim(GIVEN_UP[:16], "somebody", now=NOW, lease_s=60, max_attempts=3)
            assert claim is not None
            ledger.fail(claim.case_id, claim.token, now=NOW, reason="no good", max_attempts=3, final=True)
            ledger.refuse(sop_instance_uid="1.2.3", name="UnreadableObject", reason="not DICOM", path="/x", now=NOW)

    def case(self, key: str) -> Case:
        with Ledger(self.url) as ledger:
            return ledger.case(key)

    def segqa(self, *arguments: str) -> Ran:
        return segqa(*arguments, *self._options)


def _new(key: str) -> NewCase:
    return NewCase(key, f"1.1.{len(set(key))}", f"1.2.{len(set(key))}", ("1.3",), "0" * 64, "1")


@pytest.fixture
def place(tmp_path: Path) -> SegmentRef:
    return SegmentRef(tmp_path)


def test_status_counts_and_lists_the_latest_cases(place: SegmentRef) -> None:
    text = place.segqa("status")
    assert text.code == 0
    assert "cases   1 ready, 1 quarantined" in text.out
    assert "inbox 0, outbox 0, objects in quarantine 1" in text.out
    assert "oldest case that could run waits for" in text.out
    assert READY[:16] in text.out
    assert f"{GIVEN_UP[:16]}  quarantined  revision 1, 1 segmentation, 0 documents: no good" in text.out
    values = place.segqa("status", "--json").json
    assert (values["cases"]["ready"], values["cases"]["quarantined"], values["quarantined_objects"]) == (1, 1, 1)
    assert {case["case_id"]: case["state"] for case in values["latest"]} == {
        READY[:16]: "ready",
        GIVEN_UP[:16]: "quarantined",
    }
    assert {case["created_at"] for case in values["latest"]} == {"2027-01-15T08:00:00+00:00"}


def test_a_case_is_replayed_by_the_beginning_of_its_id(place: SegmentRef) -> None:
    replayed = place.segqa("replay", "aba")
    assert (replayed.code, replayed.out) == (0, f"{GIVEN_UP[:16]} is ready\n")
    case = place.case(GIVEN_UP)
    assert (case.state, case.attempt, case.reason) == (CaseState.READY, 0, "")
    assert place.segqa("replay", GIVEN_UP[:16], "--json").json["state"] == "ready"


def test_what_cannot_be_replayed_is_told_and_ends_with_2(place: SegmentRef) -> None:
    with Ledger(place.url) as ledger:
        assert ledger.claim(READY[:16], "somebody", now=NOW, lease_s=60, max_attempts=3)
    for case, reason in (
        ("a", "more than one case begins with 'a'"),
        ("f00", "the ledger has no case 'f00'; `segqa status` lists what it has"),
        ("../x", "the ledger has no case '../x'"),
        (READY[:16], f"case {READY[:16]} is running: wait until it has ended"),
    ):
        refused = place.segqa("replay", case)
        assert (refused.code, refused.out) == (2, "")
        assert reason in refused.err


def test_quarantine_lists_cases_and_objects_with_reasons(place: SegmentRef) -> None:
    text = place.segqa("quarantine", "list")
    assert text.code == 0
    assert text.out.splitlines() == [
        f"{GIVEN_UP[:16]}  quarantined  revision 1, 1 segmentation, 0 documents: no good",
        "1  1.2.3  UnreadableObject: not DICOM",
    ]
    values = place.segqa("quarantine", "list", "--json").json
    assert [case["reason"] for case in values["cases"]] == ["no good"]
    assert [(one["refusal_id"], one["reason"]) for one in values["objects"]] == [(1, "not DICOM")]


def test_an_empty_quarantine_is_said_to_be_empty(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    with Ledger(url) as ledger:
        ledger.migrate()
    listed = segqa("quarantine", "list", "--ledger", url)
    assert (listed.code, listed.out) == (0, "nothing is in quarantine\n")
    assert segqa("quarantine", "list", "--ledger", url, "--json").json == {"cases": [], "objects": []}


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [(GIVEN_UP[:6], "reason", "no good"), ("1", "path", "/x"), ("1.2.3", "seen_at", "2027-01-15T08:00:00+00:00")],
)
def test_quarantine_shows_a_case_or_an_object(place: SegmentRef, name: str, key: str, value: str) -> None:
    text = place.segqa("quarantine", "show", name)
    assert text.code == 0
    assert f"{key:24} {value}" in text.out.splitlines()
    assert place.segqa("quarantine", "show", name, "--json").json[key] == value


def test_what_is_not_in_quarantine_ends_with_2(place: SegmentRef) -> None:
    shown = place.segqa("quarantine", "show", "9.9")
    assert shown.code == 2
    assert "the ledger has no case '9.9'" in shown.err


def test_reconcile_makes_a_ledger_of_an_archive_and_finds_nothing_the_second_time(tmp_path: Path) -> None:
    setup = Setup(str(tmp_path / "archive"), "", tmp_path / "other")
    setup.make_folders()
    files = list(small_case(tmp_path / "case", TINY).rglob("*.dcm"))
    setup.open_archive().store([read_outgoing(path, Limits()) for path in files])
    options = ("--archive", tmp_path / "archive")
    first = segqa("reconcile", "--json", *options)
    assert first.code == 0
    assert (first.json["segmentations"], first.json["opened"]) == (2, 1)
    assert segqa("status", "--json", *options).json["cases"]["ready"] == 1
    second = segqa("reconcile", *options)
    assert second.code == 0
    assert "0 segmentations were not known" in second.out
    assert "0 cases opened, 0 taken from dead workers, 0 replayed" in second.out
    assert not any((tmp_path / "data" / "work").iterdir())


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_ledger_that_does_not_answer_ends_with_1(tmp_path: Path, command: tuple[str, ...]) -> None:
    url = f"postgresql://segqa:secret@127.0.0.1:{free_port()}/segqa"
    ran = segqa(*command, "--archive", tmp_path / "archive", "--ledger", url)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("segqa: ledger postgresql")
    assert "is not available" in ran.err
    assert "secret" not in ran.err


@pytest.mark.parametrize("command", [one for one in COMMANDS if one != ("reconcile",)], ids=" ".join)
def test_a_ledger_that_is_not_there_ends_with_2_and_is_not_made(tmp_path: Path, command: tuple[str, ...]) -> None:
    ran = segqa(*command, "--archive", tmp_path / "archive")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"segqa: there is no ledger at {tmp_path / 'data' / 'ledger.sqlite3'}; give --archive")
    assert not (tmp_path / "data").exists()
    assert not (tmp_path / "archive").exists()


def test_an_archive_that_does_not_answer_ends_reconcile_with_1(tmp_path: Path) -> None:
    ran = segqa("reconcile", "--archive", f"http://127.0.0.1:{free_port()}/dicom-web")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("segqa: ")
    assert len(ran.err.splitlines()) == 1, ran.err


def test_an_archive_that_cannot_be_written_ends_reconcile_with_2(tmp_path: Path) -> None:
    (tmp_path / "archive").write_text("a file, no folder")
    ran = segqa("reconcile", "--archive", tmp_path / "archive")
    assert (ran.code, ran.out) == (2, "")
    assert str(tmp_path / "archive") in ran.err


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("url", ["mysql://host/segqa", "sqlite://", "nonsense"])
def test_a_wrong_url_ends_with_2(tmp_path: Path, command: tuple[str, ...], url: str) -> None:
    ran = segqa(*command, "--archive", tmp_path / "archive", "--ledger", url)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("segqa: the URL of")


def test_a_wrong_setting_is_named_and_ends_with_2(place: SegmentRef, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGQA_LEASE_S", "-3")
    ran = place.segqa("status")
    assert (ran.code, ran.out) == (2, "")
    assert "SEGQA_LEASE_S: Input should be greater than 0" in ran.err


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_tells_the_exit_codes(command: tuple[str, ...]) -> None:
    words = [word for word in command if word != "0123"]
    ran = segqa(*words, "--help")
    assert ran.code == 0
    assert ran.out.startswith(f"Usage: python -m segqa_dicom {' '.join(words)} [OPTIONS]")
    assert "Exit codes:" in ran.out
    for option in ("--archive", "--ledger", "--json"):
        assert option in ran.out
    assert segqa(*words, "--no-such-option").code == 2
