"""Questions of QIDO-RS, asked with dicomweb-client and with plain requests."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from pydicom import Dataset

from segqa_dicom.archive.folder import FolderArchive
from segqa_dicom.archive.folder_keys import Level
from segqa_dicom.archive.folder_search import Question, UnsupportedQuestion
from tests.archive.objects import ct, outgoing
from tests.web.conftest import Server

STUDIES = [
    {"PatientName": "Müller^Anna", "PatientID": "P1", "StudyDate": "20260101", "StudyTime": "080000", "Modality": "CT"},
    {"PatientName": "MULLER^Bernd^^Dr", "PatientID": "P2", "StudyDate": "20260215", "StudyTime": "12", "Modality": "MR"},
    {"PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう", "PatientID": "P[3]", "StudyDate": "20260301", "StudyTime": "235959.5",
     "Modality": "CT", "StudyDescription": "Head, neck"},
    {"PatientName": "", "PatientID": "", "StudyDate": "", "StudyTime": "", "Modality": "SR", "AccessionNumber": "A*1"},
]  # fmt: skip


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> FolderArchive:
    """Four studies, of which the first two have a series more."""
    found = FolderArchive(tmp_path_factory.mktemp("searched"))
    request = Dataset()
    request.ScheduledProcedureStepID, request.RequestedProcedureID = "STEP1", "R1"
    for number, attributes in enumerate(STUDIES, start=1):
        found.store([outgoing(ct(1, study=f"1.2.{number}", series=f"1.2.{number}.1", **attributes))])
    for number in (1, 2):
        more = STUDIES[number - 1] | {"Modality": "SEG", "SeriesNumber": "10"}
        one = ct(1, study=f"1.2.{number}", series=f"1.2.{number}.2", RequestAttributesSequence=[request], **more)
        found.store([outgoing(one)])
    return found


def studies(archive: FolderArchive, *matches: tuple[str, str], fuzzy: bool = False) -> str:
    """Last components of the UIDs of the studies that match."""
    found = archive.search(Question(Level.STUDY, matches, is_fuzzy=fuzzy))
    return "".join(sorted(one["0020000D"]["Value"][0][-1] for one in found))


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("PatientID", "P1", "1"),
        ("PatientID", "P1\\P2", "12"),
        ("PatientID", "P*", "123"),
        ("PatientID", "P?", "12"),
        ("PatientID", "P[3]", "3"),
        ("PatientID", "P[*", "3"),
        ("PatientID", "p1", ""),
        ("PatientID", "", "1234"),
        ("PatientName", "müller^anna", "1"),
        ("PatientName", "Muller*", "12"),
        ("PatientName", "muller^bernd^^dr", "2"),
        ("PatientName", "Yamada^Tarou", "3"),
        ("PatientName", "山田*", "3"),
        ("PatientName", "Bernd", ""),
        ("StudyDate", "20260215", "2"),
        ("StudyDate", "20260101-20260215", "12"),
        ("StudyDate", "20260215-", "23"),
        ("StudyDate", "-20260215", "12"),
        ("StudyTime", "080000", "1"),
        ("StudyTime", "08", "1"),
        ("StudyTime", "12-", "23"),
        ("StudyTime", "-12", "12"),
        ("StudyTime", "2359", "3"),
        ("StudyTime", "0800-1300", "12"),
        ("StudyDescription", "Head, neck", "3"),
        ("StudyDescription", "*neck", "3"),
        ("AccessionNumber", "A1", "123"),
        ("AccessionNumber", "A?1", "4"),
        ("ModalitiesInStudy", "SEG", "12"),
        ("ModalitiesInStudy", "MR,SR", "24"),
        ("ModalitiesInStudy", "S*", "124"),
        ("SOPClassesInStudy", "1.2.840.10008.5.1.4.1.1.2", "1234"),
        ("StudyInstanceUID", "1.2.1,1.2.3", "13"),
        ("StudyInstanceUID", "1.2.1\\1.2.4", "14"),
        ("StudyInstanceUID", "1.2.*", ""),
        ("PatientSex", "F", "1234"),
    ],
)
def test_studies_match(archive: FolderArchive, keyword: str, value: str, expected: str) -> None:
    assert studies(archive, (keyword, value)) == expected


@pytest.mark.parametrize(
    ("date", "time", "expected"),
    [
        ("20260101-20260301", "0900-1300", "2"),  # not the third: it is at midnight of the last day
        ("20260101-20260302", "0900-0100", "23"),
        ("20260215-", "13-", "3"),
        ("-20260215", "-12", "12"),
        ("20260215-", "-12", "2"),  # ranges of different forms hold each by itself
        ("20260215", "11-13", "2"),
        ("20260101-20260301", "08", "1"),
    ],
)
def test_ranges_of_date_and_time_are_one_range_of_moments(
    archive: FolderArchive, date: str, time: str, expected: str
) -> None:
    assert studies(archive, ("StudyDate", date), ("StudyTime", time)) == expected
    assert studies(archive, ("StudyTime", time), ("StudyDate", date)) == expected


def test_fuzzy_names_match_by_the_beginnings_of_words(archive: FolderArchive) -> None:
    assert studies(archive, ("PatientName", "bern mul"), fuzzy=True) == "2"
    assert studies(archive, ("PatientName", "mul"), fuzzy=True) == "12"


def test_all_conditions_must_hold(archive: FolderArchive) -> None:
    assert studies(archive, ("PatientID", "P1"), ("ModalitiesInStudy", "MR")) == ""
    assert studies(archive, ("PatientID", "P2"), ("ModalitiesInStudy", "MR")) == "2"


@pytest.mark.parametrize(
    ("level", "keyword", "value", "expected"),
    [
        (Level.SERIES, "Modality", "SEG", 2),
        (Level.SERIES, "PatientID", "P1", 2),
        (Level.SERIES, "SeriesNumber", "010", 2),
        (Level.SERIES, "RequestAttributesSequence.ScheduledProcedureStepID", "STEP1", 2),
        (Level.SERIES, "RequestAttributesSequence.RequestedProcedureID", "R2", 0),
        (Level.INSTANCE, "Modality", "CT", 2),
        (Level.INSTANCE, "ImageType", "PRIMARY", 6),
        (Level.INSTANCE, "ImageType", "PRIM*", 6),
        (Level.INSTANCE, "Rows", "16", 6),
        (Level.INSTANCE, "ContentTime", "1015", 6),
        (Level.INSTANCE, "SOPInstanceUID", "1.2.1.1.1,1.2.2.2.1,1.9", 2),
    ],
)
def test_series_and_instances_match(
    archive: FolderArchive, level: Level, keyword: str, value: str, expected: int
) -> None:
    assert len(archive.search(Question(level, [(keyword, value)]))) == expected


@pytest.mark.parametrize(
    ("level", "keyword", "value"),
    [
        (Level.STUDY, "Modality", "CT"),
        (Level.STUDY, "KVP", "120"),
        (Level.SERIES, "SOPInstanceUID", "1.2"),
        (Level.STUDY, "StudyDate", "yesterday"),
        (Level.STUDY, "StudyDate", "2026*"),
        (Level.STUDY, "StudyDate", "-"),
        (Level.STUDY, "StudyTime", "1-2"),
        (Level.STUDY, "NumberOfStudyRelatedSeries", "1"),
        (Level.INSTANCE, "ConceptNameCodeSequence.CodeValue", "126000"),
        (Level.INSTANCE, "Rows", "many"),
    ],
)
def test_questions_that_cannot_be_answered_are_refused(
    archive: FolderArchive, level: Level, keyword: str, value: str
) -> None:
    with pytest.raises(UnsupportedQuestion):
        archive.search(Question(level, [(keyword, value)]))


def test_pages_hold_all_answers_once(archive: FolderArchive) -> None:
    whole = archive.search(Question(Level.INSTANCE))
    pages = [archive.search(Question(Level.INSTANCE, limit=4, offset=offset)) for offset in (0, 4, 8)]
    assert [len(page) for page in pages] == [4, 2, 0]
    assert [*pages[0], *pages[1]] == whole


def test_studies_come_newest_first_with_what_is_computed(archive: FolderArchive) -> None:
    found = archive.search(Question(Level.STUDY))
    assert [one["0020000D"]["Value"][0] for one in found] == ["1.2.3", "1.2.2", "1.2.1", "1.2.4"]
    assert (found[2]["00201206"]["Value"], found[2]["00201208"]["Value"]) == ([2], [2])
    assert sorted(found[2]["00080061"]["Value"]) == ["CT", "SEG"]
    names = {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}
    assert found[0]["00100010"] == {"vr": "PN", "Value": [names]}
    assert found[3]["00100010"] == {"vr": "PN"}


def test_requests_are_answered_as_a_sequence(archive: FolderArchive) -> None:
    (found,) = archive.search(Question(Level.SERIES, study_instance_uid="1.2.1", series_instance_uid="1.2.1.2"))
    item = {"00400009": {"vr": "SH", "Value": ["STEP1"]}, "00401001": {"vr": "SH", "Value": ["R1"]}}
    assert found["00400275"] == {"vr": "SQ", "Value": [item]}
    assert "00100010" not in found


def test_the_client_finds_what_was_stored(phantom_server: Server, objects: list[Dataset]) -> None:
    client, one, seg = phantom_server.client, objects[0], objects[-1]
    (study,) = client.search_for_studies(search_filters={"PatientName": "Phantom^*"}, fields=["StudyDescription"])
    assert Dataset.from_json(study).StudyDescription == one.StudyDescription
    (plain,) = requests.get(f"{phantom_server.dicom_web}/studies", timeout=30).json()
    assert plain["00081190"]["Value"] == [f"{phantom_server.dicom_web}/studies/{one.StudyInstanceUID}"]
    series = [Dataset.from_json(found) for found in client.search_for_series(one.StudyInstanceUID)]
    assert [found.Modality for found in series] == ["CT", "SEG"]
    assert [found.NumberOfSeriesRelatedInstances for found in series] == [len(objects) - 1, 1]
    found = client.search_for_instances(one.StudyInstanceUID, one.SeriesInstanceUID)
    assert [Dataset.from_json(each).SOPInstanceUID for each in found] == [each.SOPInstanceUID for each in objects[:-1]]
    (found_seg,) = client.search_for_instances(search_filters={"Modality": "SEG"})
    assert Dataset.from_json(found_seg).NumberOfFrames == seg.NumberOfFrames
    assert client.search_for_series(search_filters={"Modality": "MR"}) == []


def test_the_client_gets_all_pages(phantom_server: Server, objects: list[Dataset]) -> None:
    found = phantom_server.client.search_for_instances(limit=5, get_remaining=True)
    assert len(found) == len(objects)


def test_what_the_viewer_asks_is_answered(phantom_server: Server) -> None:
    query = "limit=101&offset=0&fuzzymatching=false&includefield=00081030%2C00080060"
    answer = requests.get(f"{phantom_server.dicom_web}/studies?{query}", timeout=30)
    assert answer.status_code == 200
    assert answer.json()[0]["00081030"]["Value"] == ["segqa torso phantom"]
    assert answer.headers["Content-Type"] == "application/dicom+json"
    assert "Modality" in answer.headers["Warning"]


@pytest.mark.parametrize("name", ["PatientName=Phantom%5ETorso", "00100010=phantom%5etorso", "PatientName=Phantom^%2A"])
def test_queries_are_decoded(phantom_server: Server, name: str) -> None:
    assert len(requests.get(f"{phantom_server.dicom_web}/studies?{name}", timeout=30).json()) == 1


@pytest.mark.parametrize(
    "query",
    ["Nonsense=1", "00091001=1", "KVP=120", "limit=-1", "limit=x", "fuzzymatching=1", "includefield=Nonsense",
     "StudyDate=never", "PatientID=1&PatientID=2", quote("<script>") + "=1"],
)  # fmt: skip
def test_wrong_questions_are_answered_with_a_reason_and_not_with_everything(phantom_server: Server, query: str) -> None:
    answer = requests.get(f"{phantom_server.dicom_web}/studies?{query}", timeout=30)
    assert (answer.status_code, list(answer.json())) == (400, ["message"])
    assert "<" not in answer.text


def test_answers_are_json_only(phantom_server: Server) -> None:
    url = f"{phantom_server.dicom_web}/studies"
    assert requests.get(url, headers={"Accept": "application/dicom+xml"}, timeout=30).status_code == 406
    assert (
        requests.get(url, headers={"Accept": "application/json"}, timeout=30).headers["Content-Type"]
        == "application/json"
    )


def test_all_is_whatever_the_index_has(phantom_server: Server) -> None:
    found = phantom_server.client.search_for_instances(limit=1, fields=["all"])[0]
    assert {"00080023", "00080070", "00100010", "00080008", "00080061"} <= set(found)


def test_more_answers_than_are_sent_at_a_time_are_announced(tmp_path: Path, serve: Callable[..., Server]) -> None:
    with closing(FolderArchive(tmp_path / "archive")) as archive:
        archive.store([outgoing(ct(number, size=2)) for number in range(1, 6)])
    server = serve()
    answer = requests.get(f"{server.dicom_web}/instances?limit=3", timeout=30)
    assert (len(answer.json()), "Warning" in answer.headers) == (3, False)
