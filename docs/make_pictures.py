"""Draw the pictures of README.md and docs/summarize.md again (`python docs/make_pictures.py`), by the commands that they show.

Needs the package playwright and a Chromium (CHROMIUM=path, by default /usr/bin/chromium) for the report's picture.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from ecgcam.cli.app import run

IMAGES = Path(__file__).parent / "img"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")


def call(*arguments: object) -> None:
    """Run one command; stop where it fails."""
    if code := run([str(argument) for argument in arguments]):
        raise SystemExit(f"ecgcam {arguments[0]}: exit code {code}")


def take(source: Path, name: str) -> None:
    """Copy a picture to its place."""
    shutil.copyfile(source, IMAGES / name)


def explanations(folder: Path) -> None:
    """The page in columns, and the beats."""
    demo, out = folder / "demo", folder / "out"
    call("simulate", "lbbb", "--seed", 3, "--out", demo)
    left = "left bundle branch block"
    call("explain", demo / "lbbb-3.dat", "--text", left, "--waves", "--layout", "3x4", "--out", out, "--quiet")
    take(out / "lbbb-3/left-bundle-branch-block/page.png", "page-3x4.png")
    take(out / "lbbb-3/left-bundle-branch-block/beats.png", "beats.png")


def in_ten_seconds(folder: Path) -> None:
    """Three figures for those who have never seen a heatmap: one beat, two answers, beats of two shapes."""
    demo, out = folder / "demo", folder / "three"
    pvc, lbbb = "premature ventricular complexes", "left bundle branch block"
    call("simulate", "pvc", "--seed", 5, "--out", demo)
    call("explain", demo / "pvc-5.dat", "--text", pvc, "--waves", "--out", out, "--quiet")
    take(out / "pvc-5/premature-ventricular-complexes/lead-III.png", "one-beat.png")
    take(out / "pvc-5/premature-ventricular-complexes/beats.png", "two-shapes.png")
    call("explain", demo / "lbbb-3.dat", "--text", lbbb, "--text", "normal ECG", "--no-png", "--out", out, "--quiet")
    both = [out / "lbbb-3" / slug for slug in ("left-bundle-branch-block", "normal-ecg")]
    call("draw", *both, "--together", folder / "two-answers.png", "--dpi", 120)
    take(folder / "two-answers.png", "two-answers.png")


def cohort(folder: Path) -> None:
    """Twelve recordings with left bundle branch block, without their twins."""
    for seed in range(1, 13):
        call("simulate", "lbbb", "--seed", seed, "--out", folder / "twelve")
    records = [folder / f"twelve/lbbb-{seed}.dat" for seed in range(1, 13)]
    call("explain", *records, "--text", "left bundle branch block", "--out", folder / "many", "--no-png", "--quiet")
    call("summarize", folder / "many")
    take(folder / "many/cohort/left-bundle-branch-block.png", "cohort.png")


def report(folder: Path) -> None:
    """Two prompts side by side in a browser."""
    left = "left bundle branch block"
    texts = ("--text", left, "--text", "normal ECG")
    call("explain", folder / "demo/lbbb-3.dat", *texts, "--out", folder / "pair", "--no-png", "--quiet", "--report")
    (page_file,) = (folder / "pair").glob("*.html")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.goto(page_file.as_uri())
        page.select_option("#prompt-a", label=left)
        page.select_option("#prompt-b", label="normal ECG")
        page.evaluate("document.querySelector('#traces').scrollIntoView()")
        page.locator(".trace").nth(1).hover()
        page.screenshot(path=IMAGES / "report.png")
        browser.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        explanations(Path(made))
        in_ten_seconds(Path(made))
        cohort(Path(made))
        report(Path(made))
