"""Times between frames of the search page's map, while it is moved, zoomed, and under the pointer.

python benchmarks/page_map.py [points]

A screen shows a frame every 16.7 ms; longer times are frames that were missed. The idle page of the same run, on the
same machine, is what the others are to be set beside. It needs chromium, or the environment variable CHROMIUM.
"""

from __future__ import annotations

import mimetypes
import os
import shutil
import sys
from importlib.resources import files
from urllib.parse import urlsplit

import numpy as np
from playwright.sync_api import Mouse, Page, Route, sync_playwright

from counterpoint.serving import application

STEPS = 120


def answers(points: int) -> dict[str, object]:
    """Return what a server with a map of so many points in twenty heaps would say."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 2))[rng.integers(0, 20, points)].T * 40 + rng.normal(size=(2, points)) * 5
    index = {
        "index": "first",
        "model": "none",
        "rows": points,
        "embeds": ["image", "text"],
        "takes": ["image", "text"],
        "shares_space": True,
    }
    about = {
        "indexes": [index],
        "data": "drawn",
        "attribution": "",
        "modalities": {"image": points},
        "columns": [],
        "examples": [],
        "pictures": False,
        "map": True,
        "against": False,
        "limits": {"results": 100},
    }
    columns = {"id": range(points), "modality": np.arange(points) % 2, "x": x.round(4), "y": y.round(4)}
    shown = {name: np.asarray(values).tolist() for name, values in columns.items()}
    return {"/v1/about": about, "/v1/map": {"modalities": ["image", "text"], **shown}}


def main(points: int) -> None:
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        print("left out: there is no chromium")
        return
    said = answers(points)

    def answer(route: Route) -> None:
        path = urlsplit(route.request.url).path
        file = files(application) / "page" / (path.strip("/") or "index.html")
        if path in said:
            route.fulfill(json=said[path])
        elif file.is_file():
            kind = mimetypes.guess_type(file.name)[0] or "text/plain"
            route.fulfill(body=file.read_bytes(), content_type=kind)
        else:
            route.fulfill(json={"id": 0, "key": "row", "text": "A row.", "labels": {}, "picture": None})

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 1000})
        page.route("**/*", answer)
        page.goto("http://page.invalid/#/map")
        page.get_by_text("points is a row of the data").wait_for()
        print(f"{points:,} points; milliseconds between frames: median, 95th percentile, longest")
        for name in ("idle", "pointer", "move", "zoom", "move, zoomed"):
            times = frames(page, name)
            low, high = np.percentile(times, [50, 95])
            print(f"{name:14} {low:6.1f} {high:6.1f} {times.max():6.1f}")
        browser.close()


def frames(page: Page, name: str) -> np.ndarray:
    """Return the times between frames while something is done on the map."""
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    left, top = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(left, top)
    page.evaluate(
        """() => {
          window.frames_at = [];
          const each = (time) => { window.frames_at.push(time); window.frame = requestAnimationFrame(each); };
          window.frame = requestAnimationFrame(each);
        }"""
    )
    act(page.mouse, page, name, left, top)
    return np.diff(page.evaluate("() => { cancelAnimationFrame(window.frame); return window.frames_at; }"))


def act(mouse: Mouse, page: Page, name: str, left: float, top: float) -> None:
    """Do something on the map, in steps."""
    if name == "idle":
        page.wait_for_timeout(2000)
        return
    if name.startswith("move"):
        mouse.down()
    for step in range(STEPS):
        if name == "zoom":
            mouse.wheel(0, -40 if step < STEPS / 2 else 25)
        else:
            mouse.move(left + 200 * np.sin(step / 15), top + 100 * np.sin(step / 10))
    mouse.up()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
