"""Pictures show the pixels, and pages the content."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import requests
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.uid import ComprehensiveSRStorage, JPEGLSLossless, RLELossless, SegmentationStorage

from tests.archive.objects import ct
from tests.web.conftest import Server
from tests.web.test_wado import IMAGE, image_server, url_of

__all__ = ["image_server"]


def got(url: str, accept: str = "image/png", **query: str) -> NDArray[np.uint8]:
    answer = requests.get(url, params=query, headers={"Accept": accept}, timeout=30)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, accept), answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def windowed(hu: NDArray[np.float64], center: float, width: float) -> NDArray[np.float64]:
    """PS3.3, section C.11.2.1.2.1."""
    return np.clip((hu - (center - 0.5)) / (width - 1) + 0.5, 0, 1) * 255


def test_ct_is_shown_in_the_window_that_is_asked_for(phantom_server: Server, objects: list[Dataset]) -> None:
    one = objects[6]
    hu = one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept)
    url = f"{url_of(phantom_server, one)}/rendered"
    for center, width in ((40, 400), (-600, 1500), (50.5, 2)):
        found = got(url, window=f"{center},{width},linear")
        assert np.abs(found - windowed(hu, center, width)).max() <= 1
    exact = np.clip((hu - 40) / 400 + 0.5, 0, 1) * 255
    assert np.abs(got(url, window="40,400,linear-exact") - exact).max() <= 1
    sigmoid = 255 / (1 + np.exp(-4 * (hu - 40) / 400))
    assert np.abs(got(url, window="40,400,sigmoid") - sigmoid).max() <= 1
    jpeg = got(url, "image/jpeg", window="40,400", quality="100").astype(float)
    assert np.abs(jpeg - windowed(hu, 40, 400)).mean() < 2


def test_without_a_window_it_is_that_of_the_object_or_all_values(image_server: Callable[[Dataset], Server]) -> None:
    one = ct(WindowCenter=["1000", "9"], WindowWidth=["500", "9"], RescaleSlope="2", RescaleIntercept="-1000")
    server = image_server(one)
    hu = one.pixel_array * 2.0 - 1000
    assert np.abs(got(f"{server.dicom_web}{IMAGE}/rendered") - windowed(hu, 1000, 500)).max() <= 1


def test_all_values_are_shown_where_nothing_says_which(image_server: Callable[[Dataset], Server]) -> None:
    one = ct(PhotometricInterpretation="MONOCHROME1")
    found = got(f"{image_server(one).dicom_web}{IMAGE}/rendered")
    assert (found.min(), found.max()) == (0, 255)
    assert found.flat[int(one.pixel_array.argmax())] == 0


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_compressed_images_are_shown(image_server: Callable[[Dataset], Server], syntax: str) -> None:
    one = ct()
    pixels = one.pixel_array
    one.compress(syntax, generate_instance_uid=False)
    found = got(f"{image_server(one).dicom_web}{IMAGE}/rendered", window="2048,4096")
    assert np.abs(found - windowed(pixels, 2048, 4096)).max() <= 1


def test_frames_of_a_segmentation_are_masks(phantom_server: Server, objects: list[Dataset]) -> None:
    seg = objects[-1]
    masks = seg.pixel_array
    for number in (1, 7, len(masks)):
        found = got(f"{url_of(phantom_server, seg)}/frames/{number}/rendered")
        assert np.array_equal(found, masks[number - 1] * 255)
    assert np.array_equal(got(f"{url_of(phantom_server, seg)}/rendered"), masks[len(masks) // 2] * 255)
    answer = requests.get(f"{url_of(phantom_server, seg)}/frames/1,2/rendered", timeout=30)
    assert answer.headers["Content-Type"].startswith('multipart/related; type="image/jpeg"')


def test_fractional_segmentations_are_grey(image_server: Callable[[Dataset], Server]) -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    one = ct(
        SOPClassUID=SegmentationStorage, SegmentationType="FRACTIONAL", MaximumFractionalValue=200, BitsAllocated=8,
        BitsStored=8, HighBit=7, PixelData=pixels.tobytes(),
    )  # fmt: skip
    found = got(f"{image_server(one).dicom_web}{IMAGE}/rendered")
    assert np.abs(found - np.clip(pixels * (255 / 200), 0, 255)).max() <= 1


def test_a_viewport_keeps_the_aspect_ratio_and_shows_a_region(phantom_server: Server, objects: list[Dataset]) -> None:
    url = f"{url_of(phantom_server, objects[6])}/rendered"
    rows, columns = objects[6].Rows, objects[6].Columns
    assert got(url, viewport="100,1000").shape == (round(rows * 100 / columns), 100)
    whole, part = got(url, window="40,400"), got(url, window="40,400", viewport="20,10,5,7,20,10")
    assert np.array_equal(part, whole[7:17, 5:25])


@pytest.mark.parametrize(
    "query",
    ["window=40", "window=40,0", "window=40,400,cubic", "window=a,b", "viewport=0,10", "viewport=1e9,1", "viewport=9",
     "viewport=10,10,0,0,-5,5", "viewport=99999,10", "quality=0", "quality=good"],
)  # fmt: skip
def test_parameters_that_are_not_valid(phantom_server: Server, objects: list[Dataset], query: str) -> None:
    answer = requests.get(f"{url_of(phantom_server, objects[0])}/rendered?{query}", timeout=30)
    assert (answer.status_code, list(answer.json())) == (400, ["message"])


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        ("/rendered", "image/gif", 406),
        ("/rendered", "text/html", 406),
        ("/rendered", "image/avif,image/webp,*/*;q=0.8", 200),
        ("/rendered?accept=image/png", "*/*", 200),
        ("/frames/2/rendered", "*/*", 404),
        ("/frames/0/thumbnail", "*/*", 400),
        ("/rendered?viewport=10,10,500,500,5,5", "*/*", 406),
    ],
)
def test_statuses(phantom_server: Server, objects: list[Dataset], path: str, accept: str, status: int) -> None:
    answer = requests.get(f"{url_of(phantom_server, objects[0])}{path}", headers={"Accept": accept}, timeout=30)
    assert answer.status_code == status


def test_thumbnails_are_small_and_of_the_middle_image(phantom_server: Server, objects: list[Dataset]) -> None:
    one = objects[0]
    study = f"{phantom_server.dicom_web}/studies/{one.StudyInstanceUID}"
    series = f"{study}/series/{one.SeriesInstanceUID}"
    instances = f"{series}/instances"
    middle = (len(objects) - 1) // 2
    by_number = sorted(objects[:-1], key=lambda each: int(each.InstanceNumber))
    expected = got(f"{instances}/{by_number[middle].SOPInstanceUID}/thumbnail")
    assert max(expected.shape) == 128
    for url in (study, series):
        assert np.array_equal(got(f"{url}/thumbnail"), expected)
    assert max(got(f"{study}/thumbnail", "image/jpeg", viewport="32,32").shape) == 32


def report() -> Dataset:
    one = ct(SOPClassUID=ComprehensiveSRStorage, Modality="SR", ValueType="CONTAINER")
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"):
        delattr(one, keyword)
    one.ConceptNameCodeSequence = [named("Quality <report>")]
    group = item("CONTAINER", "Liver")
    number = item("NUM", "Volume")
    value, unit = Dataset(), named("millilitre")
    unit.CodeValue = "mL"
    value.NumericValue, value.MeasurementUnitsCodeSequence = "12.5", [unit]
    number.MeasuredValueSequence = [value]
    finding = item("CODE", "Verdict")
    finding.ConceptCodeSequence = [named("Fail")]
    comment = item("TEXT", "Comment")
    comment.TextValue = "<script>alert(1)</script> größer"
    image = item("IMAGE", "Source")
    reference = Dataset()
    reference.ReferencedSOPInstanceUID, reference.ReferencedSegmentNumber = "1.2.3", 4
    image.ReferencedSOPSequence = [reference]
    group.ContentSequence = [number, finding, comment, image]
    empty = item("NUM", "Nothing")
    empty.MeasuredValueSequence = []
    one.ContentSequence = [group, empty]
    return one


def named(meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "99X", meaning
    return code


def item(kind: str, name: str) -> Dataset:
    found = Dataset()
    found.ValueType, found.ConceptNameCodeSequence = kind, [named(name)]
    return found


def test_reports_are_shown_as_pages(image_server: Callable[[Dataset], Server]) -> None:
    url = f"{image_server(report()).dicom_web}{IMAGE}"
    text = requests.get(f"{url}/rendered", headers={"Accept": "text/plain"}, timeout=30)
    assert text.content.decode().splitlines() == [
        "Quality <report>",
        "  Liver",
        "    Volume: 12.5 mL",
        "    Verdict: Fail",
        "    Comment: <script>alert(1)</script> größer",
        "    Source: 1.2.3, segment 4",
        "  Nothing: no value",
    ]
    page = requests.get(f"{url}/rendered", timeout=30)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "<script>" not in page.text
    assert "<h1>Quality &lt;report&gt;</h1>" in page.text
    assert page.text.count("<ul>") == page.text.count("</ul>") == 2
    assert requests.get(f"{url}/rendered", headers={"Accept": "image/png"}, timeout=30).status_code == 406
    assert requests.get(f"{url}/frames/1/rendered", timeout=30).status_code == 404
    assert requests.get(f"{url}/thumbnail", timeout=30).status_code == 404


def test_frames_that_are_too_large_are_not_shown(image_server: Callable[[Dataset], Server]) -> None:
    one = ct(Rows=65535, Columns=65535)
    answer = requests.get(f"{image_server(one).dicom_web}{IMAGE}/rendered", timeout=30)
    assert (answer.status_code, list(answer.json())) == (406, ["message"])


def test_what_can_be_shown_in_no_way_is_refused(image_server: Callable[[Dataset], Server], tmp_path: Path) -> None:
    one = ct()
    del one.PixelData
    answer = requests.get(f"{image_server(one).dicom_web}{IMAGE}/rendered", timeout=30)
    assert (answer.status_code, list(answer.json())) == (406, ["message"])
