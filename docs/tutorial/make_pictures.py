"""Make the pictures of the tutorial and of the README: ``python docs/tutorial/make_pictures.py [--viewer DIR]``.

Needs Chromium, DCMTK's storescu and the `test` extra; OHIF is installed by npm unless `--viewer` names a folder that
`segqa viewer install --to` has filled.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import BrowserContext
from pydicom import Dataset

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from segqa_dicom.viewer import document_link  # noqa: E402
from tests.servers.chromium import chromium, viewer  # noqa: E402
from tests.servers.service import Serve, send  # noqa: E402

PICTURES = ROOT / "docs" / "tutorial" / "pictures"
MAX_BYTES = 200_000
KIDNEY_IN_REPORT = "Kidney"
_THUMBNAILS_ARE_DRAWN = """() => {
  const seen = [...document.querySelectorAll('.card img')].filter(one => one.getBoundingClientRect().top < innerHeight);
  return seen.length > 0 && seen.every(one => one.complete && one.naturalWidth > 0);
}"""


def segqa(*arguments: str | Path) -> None:
    """Run the command line as a user does."""
    subprocess.run([sys.executable, "-m", "segqa_dicom", *map(str, arguments)], check=True, cwd=ROOT)


def keep(picture: Path, name: str, *, colours: int = 128) -> None:
    """Save a screenshot with a palette, small enough for the repository."""
    image = Image.open(picture).convert("RGB")
    target = PICTURES / name
    while True:
        image.quantize(colours, dither=Image.Dither.NONE).save(target, optimize=True)
        if target.stat().st_size <= MAX_BYTES:
            print(f"{target.relative_to(ROOT)}: {target.stat().st_size // 1000} kB")
            return
        image = image.resize((image.width * 9 // 10, image.height * 9 // 10), Image.Resampling.LANCZOS)


def result_page(browser: BrowserContext, page_file: Path, scratch: Path) -> None:
    """The HTML page of `segqa review`, from its top."""
    page = browser.new_page()
    page.goto(page_file.as_uri())
    page.wait_for_load_state("networkidle")
    page.screenshot(path=scratch / "shot.png")
    keep(scratch / "shot.png", "result_page.png")
    page.close()


def service_pages(browser: BrowserContext, url: str, scratch: Path) -> None:
    """The worklist and the review page of its first segment."""
    page = browser.new_page()
    page.goto(url)
    page.wait_for_function(_THUMBNAILS_ARE_DRAWN, timeout=120_000)
    page.screenshot(path=scratch / "shot.png")
    keep(scratch / "shot.png", "worklist.png")
    page.keyboard.press("n")
    page.wait_for_selector("#main[data-drawn=yes]", timeout=120_000)
    page.screenshot(path=scratch / "shot.png")
    keep(scratch / "shot.png", "review_page.png")
    page.close()


def documents_in_ohif(browser: BrowserContext, url: str, documents: list[Dataset], scratch: Path) -> None:
    """The report of Model B as text, and its key images with the segmentation's findings as arrows."""
    of_model = [
        one for one in documents if "Model B" in one.SeriesDescription and "Model A" not in one.SeriesDescription
    ]
    for one in of_model:
        is_key_images = "key" in one.SeriesDescription.lower()
        with viewer(browser, url) as ohif:
            link = document_link(one.StudyInstanceUID, one.SeriesInstanceUID)
            if is_key_images:
                ohif.open_and_draw(link)
                ohif.wait_for("() => window.services.measurementService.getMeasurements().length > 0")
            else:
                ohif.open(link)
                ohif.wait_for_text(KIDNEY_IN_REPORT)
            ohif.wait_for_drawing()
            ohif.picture(scratch / "shot.png")
            keep(scratch / "shot.png", "ohif_key_images.png" if is_key_images else "ohif_report.png")


def main() -> None:
    """Run the demo, show its results and write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--viewer", type=Path, metavar="DIR", help="folder with OHIF, as `segqa viewer install --to`")
    options = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        ohif = options.viewer or scratch / "ohif"
        segqa("viewer", "install", "--to", ohif)
        segqa("demo", "--out", scratch / "demo")
        settings = {"SEGQA_VIEWER": str(ohif), "SEGQA_REVIEWER": "Jane Doe"}
        with Serve(scratch / "serve", settings=settings) as serve, chromium() as browser:
            assert send(serve.dicom_port, scratch / "demo" / "dicom") == 0
            serve.wait_for_cases(1, timeout_s=300)
            result_page(browser, scratch / "demo" / "review.html", scratch)
            service_pages(browser, serve.url, scratch)
            documents_in_ohif(browser, serve.url, serve.documents(), scratch)


if __name__ == "__main__":
    main()
