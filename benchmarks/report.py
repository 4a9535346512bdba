"""Sizes of reports, and how long a browser takes to open them: python -m benchmarks.report [--counts N ...] [--repeat N].

Each report has N simulated recordings of 10 s at 250 Hz, with one result each: smooth maps and gradients, waves, no model. Each
repeat is a new page; the best counts: from the call to the first trace on the screen, and from a click on another row of the
table to its traces. Wall seconds, and CPU seconds of all of the browser's processes, which other programs hardly change (Linux).
Needs the package playwright and a Chromium: Debian's, or what CHROMIUM names.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.pictures import example
from ecgcam.render.report import report_html
from ecgcam.results.beatwise import wave_table
from ecgcam.results.explanation import Explanation

DRAWN = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def results(count: int) -> Iterator[tuple[Explanation, dict[str, Any]]]:
    """Yield `count` results of recordings of their own."""
    whole = example()
    half = {name: getattr(whole, name)[..., ::2] for name in ("map", "signal", "time", "valid")}
    made = replace(whole, fs=250.0, gradient=half["map"], gradient_smoothed=half["map"], **half)
    waves = wave_table(made).summary()
    for number in range(count):
        yield replace(made, meta=made.meta | {"record": f"rec-{number:04d}"}), {"waves": waves}


def descendants_cpu() -> float:
    """Return the CPU seconds that the processes below this one have taken, those that ended left out."""
    parents, seconds = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            parents[int(path.parent.name)] = int(fields[1])
            seconds[int(path.parent.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    below, found = {os.getpid()}, {os.getpid()}
    while below:
        below = {child for child, parent in parents.items() if parent in below}
        found |= below
    return sum(seconds.get(process, 0.0) for process in found - {os.getpid()})


def opened(browser: Any, path: Path, *, another: bool) -> tuple[float, float, float, float]:
    """Return wall and CPU seconds to the first trace, and from a click to those of another recording."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(300_000)
    began, busy = time.perf_counter(), descendants_cpu()
    page.goto(path.as_uri())
    page.wait_for_selector(".trace")
    page.evaluate(DRAWN)
    first, first_busy = time.perf_counter() - began, descendants_cpu() - busy
    switched = switched_busy = float("nan")
    if another:
        row = page.locator("#all tbody tr").nth(1)
        name = row.locator("th, td").first.inner_text()
        began, busy = time.perf_counter(), descendants_cpu()
        row.get_by_role("button").click()
        page.wait_for_function("name => document.querySelector('.scores').textContent.includes(name)", arg=name)
        page.evaluate(DRAWN)
        switched, switched_busy = time.perf_counter() - began, descendants_cpu() - busy
    page.close()
    return first, first_busy, switched, switched_busy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 50, 1000])
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    program = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for count in options.counts:
            path = Path(folder) / f"{count}.html"
            path.write_text(report_html(results(count)), encoding="utf-8")
            times = [opened(browser, path, another=count > 1) for _ in range(options.repeat)]
            first, busy, switched, switched_busy = (min(column) for column in zip(*times, strict=True))
            print(
                f"{count} recordings: {path.stat().st_size / 1e6:.2f} MB, first trace {first:.2f} s ({busy:.2f} CPU), "
                f"another result {switched:.2f} s ({switched_busy:.2f} CPU)",
                flush=True,
            )
        browser.close()


if __name__ == "__main__":
    main()
