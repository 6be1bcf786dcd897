"""How soon a browser shows the first screen of the review page, at thousands of groups.

Makes pictures of random colours, each with a copy of another quality, builds an index of them,
starts `annidx review` on it and opens it in Chromium. Prints a table, and the same as JSON.

    python -m scripts.bench_review [--groups 10000] [--visits 5] [--place DIR] [--json FILE]

A place is kept, and used again: then nothing is made or built. Rows, in ms after the address was
opened; first visits are those for which the previews were not made yet:

* answered, painted: the first byte, the first contentful paint;
* shown: all small pictures that are in the window have come;
* asked for, of: how many pictures had been asked for by then, of those of the page (lazily);
* frame: 99 of 100 frames took at most so long while the page was scrolled to its end.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

import annidx
from annidx.native import processors
from annidx.options import Options
from scripts.bench_tables import markdown

MUST_MS = 1000.0
SIZE, CELLS = (320, 240), (18, 24)
WINDOW: Any = {"width": 1440, "height": 900}
COLUMNS = ("page", "visit", "answered", "painted", "shown", "asked for", "of", "frame")
TIMES = """() => {
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  const page = performance.getEntriesByType("navigation")[0];
  const ends = performance.getEntriesByType("resource")
    .filter((each) => each.name.includes("/picture/")).map((each) => each.responseEnd);
  return [page.responseStart, paint ? paint.startTime : null, Math.max(0, ...ends), ends.length,
    document.images.length];
}"""
SHOWN = """() => [...document.images].filter((each) => {
  const box = each.getBoundingClientRect();
  return box.bottom > 0 && box.top < innerHeight;
}).every((each) => each.complete && each.naturalWidth > 0)"""
SCROLL = """() => new Promise((done) => {
  const frames = [];
  let last = performance.now();
  const step = (now) => {
    frames.push(now - last);
    last = now;
    window.scrollBy(0, 40);
    if (innerHeight + scrollY < document.documentElement.scrollHeight - 1 && frames.length < 600) {
      requestAnimationFrame(step);
    } else done(frames.slice(2).sort((a, b) => a - b));
  };
  requestAnimationFrame(step);
})"""


def make(photos: Path, numbers: range) -> None:
    """Save a picture and its copy for each number, 500 to a folder."""
    for number in numbers:
        folder = photos / f"{number // 500:03}"
        folder.mkdir(parents=True, exist_ok=True)
        cells = np.random.default_rng(number).integers(0, 256, (*CELLS, 3), np.uint8)
        picture = Image.fromarray(cells).resize(SIZE, Image.Resampling.BICUBIC)
        picture.save(folder / f"{number:06}.jpg", quality=90)
        picture.save(folder / f"{number:06} sent.jpg", quality=60)


def prepared(place: Path, groups: int) -> Path:
    """Return the index of a place, made unless it is there."""
    index, photos = place / "index", place / "photos"
    if index.exists():
        return index
    parts = [range(start, min(groups, start + 500)) for start in range(0, groups, 500)]
    with ProcessPoolExecutor(processors()) as pool:
        list(pool.map(make, [photos] * len(parts), parts))
    # By thumbs all pairs are there in seconds: what is measured is the page, not the search.
    annidx.build(photos, index=index, options=Options(descriptors=("thumb", "signature")))
    return index


@contextmanager
def reviewing(index: Path) -> Iterator[str]:
    """Start the page; give its link."""
    command = [sys.executable, "-m", "annidx", "review", "--index", str(index)]
    command += ["--no-browser", "--json", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["address"]
        finally:
            process.terminate()


@contextmanager
def visiting(browser: Browser, cookies: list[Any]) -> Iterator[BrowserContext]:
    """Open what has no cache yet, but the cookie."""
    context = browser.new_context(viewport=WINDOW)
    context.set_default_timeout(600_000)
    context.add_cookies(cookies)
    yield context
    context.close()


def visited(context: BrowserContext, address: str, name: str, visit: str) -> dict[str, Any]:
    """Open a page once; return its row."""
    page = context.new_page()
    page.goto(address)
    page.wait_for_function(SHOWN)
    answered, painted, shown, asked, images = page.evaluate(TIMES)
    frames = page.evaluate(SCROLL) if name == "overview" else []
    frame = frames[len(frames) * 99 // 100] if frames else None
    values = (name, visit, answered, painted, shown, asked, images, frame)
    return dict(zip(COLUMNS, values, strict=True))


def measured(link: str, browser: Browser, visits: int) -> tuple[list[dict[str, Any]], float]:
    """Return a row for each visit, and the seconds until groups were there at all."""
    began = time.monotonic()
    with visiting(browser, []) as context:
        page = context.new_page()
        page.goto(link)
        page.wait_for_selector(".cards", state="attached")
        compared_s = time.monotonic() - began
        cookies = list(context.cookies())
    base = link.partition("/review")[0]
    rows = []
    # Another order has other pictures, of which no preview was made.
    for address, name in (("/review?sort=distance&page=3", "overview"), ("/review", "overview")):
        for visit in range(visits):
            with visiting(browser, cookies) as context:
                which = "first" if visit == 0 and "page" in address else "again"
                rows.append(visited(context, base + address, name, which))
                card = context.pages[0].locator(".card").nth(visit)
                group = str(card.evaluate("each => each.href"))
            with visiting(browser, cookies) as context:
                rows.append(visited(context, group, "group", "first"))
    return rows, compared_s


def summarised(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the median of each sort of visit, and the worst of `shown`."""
    sorts = dict.fromkeys((row["page"], row["visit"]) for row in rows)
    found = []
    for page, visit in sorts:
        some = [row for row in rows if (row["page"], row["visit"]) == (page, visit)]
        medians: dict[str, Any] = {"page": page, "visit": visit, "visits": len(some)}
        for name in COLUMNS[2:]:
            known = [row[name] for row in some if row[name] is not None]
            medians[name] = round(statistics.median(known), 1) if known else None
        medians["worst shown"] = round(max(row["shown"] for row in some), 1)
        found.append(medians)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 1 when a first screen takes more than it may."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--groups", type=int, default=10_000)
    parser.add_argument("--visits", type=int, default=5)
    parser.add_argument("--place", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        index = prepared(args.place or Path(folder), args.groups)
        with sync_playwright() as playwright, reviewing(index) as link:
            browser = playwright.chromium.launch(
                executable_path=args.chromium, args=["--no-sandbox"]
            )
            rows, compared_s = measured(link, browser, args.visits)
            browser.close()
    found = summarised(rows)
    head = list(found[0])
    cells = [["" if row[each] is None else str(row[each]) for each in head] for row in found]
    print(markdown(head, cells))
    # Small pictures are loaded lazily: the first screen is what is painted before they come.
    worst = max(row["painted"] for row in rows if row["page"] == "overview")
    told = {"groups": args.groups, "compared_s": round(compared_s, 1), "must_ms": MUST_MS}
    told |= {"worst_ms": round(worst, 1), "rows": found}
    print(json.dumps(told))
    if args.json:
        args.json.write_text(json.dumps(told | {"visits": rows}, indent=1) + "\n")
    return int(worst > MUST_MS)


if __name__ == "__main__":
    sys.exit(main())
