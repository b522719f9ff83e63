"""Take the pictures of the report in docs/images, by chromium from a finished run of the demo.

python scripts/make_screenshots.py runs/demo
"""

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "run", type=Path, help="run folder of fashion-stickers, the only data whose images may be published"
    )
    report = parser.parse_args().run.absolute() / "report.html"
    chromium = shutil.which("chromium")
    if chromium is None or not report.is_file():
        raise SystemExit(f"this needs chromium and {report} (make demo)")
    if "fashion-stickers" not in report.read_text("utf-8").partition("</title>")[0]:
        raise SystemExit(f"{report} is of other data than fashion-stickers, whose images may not be shown here")
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1160, "height": 1000}, reduced_motion="reduce")
        page.goto(report.as_uri())
        page.screenshot(path=IMAGES / "report.png")
        take(page, "#clusters details", "clusters.png")
        page.check("input[value=after]")
        page.select_option("#map-colour", label="class")
        take(page, "#map", "map.png")
        take(page, "#attention", "attention.png", height=520)
        page.close()
        phone = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
        phone.goto(report.as_uri())
        phone.screenshot(path=IMAGES / "phone.png")


def take(page: Page, selector: str, name: str, height: float | None = None) -> None:
    """Write a picture of the first matching element, or of its upper part."""
    element = page.locator(selector).first
    element.scroll_into_view_if_needed()
    box = element.bounding_box()
    assert box is not None
    clip = {"x": box["x"], "y": box["y"], "width": box["width"], "height": height or box["height"]}
    top = page.evaluate("scrollY")
    page.screenshot(path=IMAGES / name, full_page=True, clip={**clip, "y": clip["y"] + top})  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
