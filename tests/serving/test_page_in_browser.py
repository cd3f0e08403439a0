"""The page in a browser: asked as people ask it, by pointer, keyboard and screen reader."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import uvicorn
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

from counterpoint.serving import app
from fixtures.rows import ROWS, index_of, write_rows
from fixtures.served import served

pytestmark = [pytest.mark.slow, pytest.mark.system]
expect.set_options(timeout=60_000)  # ms to wait for a state of the page: the machine may be busy

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
POINTS = 20_000
TOKEN = "open sesame"
VIEWS = (
    "#/search",
    "#/search?q=red&both=true",
    "#/search?like=12",
    "#/labels?id=12&labels=red%0Ablue",
    "#/map",
)


class Served:
    """A server in a thread."""

    def __init__(self, application: Any) -> None:
        self.server = uvicorn.Server(uvicorn.Config(application, port=0, log_level="warning"))
        self._thread = threading.Thread(target=self.server.run, daemon=True)
        self._thread.start()
        while not self.server.started:
            assert self._thread.is_alive()
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/"

    def end(self) -> None:
        self.server.should_exit = True
        self._thread.join()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def index(folder: Path) -> Any:
    return served(folder)


@pytest.fixture(scope="module")
def url(index: Any) -> Iterator[str]:
    held = Served(app(index, against=index))
    yield held.url
    held.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium: install one, or name it in the environment variable CHROMIUM")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A context of its own, in which no page may fail or ask another host."""
    made = browser.new_context(viewport={"width": 1100, "height": 1000})
    made.set_default_navigation_timeout(120_000)  # milliseconds; a busy machine may take long to load a page
    hosts: set[str | None] = set()
    failures: list[str] = []
    made.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
    made.on("weberror", lambda error: failures.append(str(error.error)))
    yield made
    made.close()
    assert hosts <= {"127.0.0.1", "", None}  # data: and blob: have no host
    assert not failures


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


def asked(page: Page, path: str, body: Any) -> Any:
    """Ask the server beside the page."""
    return page.request.post(f"{page.url.partition('#')[0]}{path}", data=body).json()


def likes(page: Page) -> list[int]:
    """Return the ids of the results, in order."""
    expect(page.locator("#search")).not_to_have_attribute("aria-busy", "true")
    cards = page.get_by_role("list", name="Results").locator(".card")
    expect(cards.first).to_be_visible()
    links = cards.evaluate_all("cards => cards.map(card => card.getAttribute('href'))")
    return [int(re.search(r"like=(\d+)", link)[1]) for link in links]  # type: ignore[index]


def expect_pictures(page: Page) -> None:
    """Wait until the pictures of all results are shown, each of which comes by a request of its own."""
    pictures = page.locator(".card img")
    expect(pictures).not_to_have_count(0)
    for picture in pictures.all():
        # Not page.wait_for_function, which evaluates a text as code each time it asks again: the page forbids that.
        expect(picture).not_to_have_js_property("naturalWidth", 0)


def png(size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize(size).save(file, "PNG")
    return file.getvalue()


def give(page: Page, way: str, content: bytes, name: str = "mine.png", kind: str = "image/png") -> None:
    """Give the page a file."""
    expect(page.get_by_role("heading", level=1)).to_have_text("Search pairs")  # it is ready
    if way == "choose":
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Picture", exact=True).click()
        chooser.value.set_files({"name": name, "mimeType": kind, "buffer": content})
        return
    page.evaluate(
        """([way, content, name, kind]) => {
          const bytes = Uint8Array.from(atob(content), (sign) => sign.charCodeAt(0));
          const data = new DataTransfer();
          data.items.add(new File([bytes], name, { type: kind }));
          const init = { bubbles: true, cancelable: true };
          document.body.dispatchEvent(way === "paste"
            ? new ClipboardEvent("paste", { ...init, clipboardData: data })
            : new DragEvent("drop", { ...init, dataTransfer: data }));
        }""",
        [way, base64.b64encode(content).decode(), name, kind],
    )


def test_words_find_pictures_and_stand_in_the_address(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_label("Words to search for").fill("red")
    page.keyboard.press("Enter")
    expected = asked(page, "v1/search", {"query": "red", "k": 12, "modality": "image"})["results"]
    assert likes(page) == [row["id"] for row in expected]
    first = page.locator(".card").first
    expect(first).to_contain_text(expected[0]["text"])
    expect(first).to_contain_text(f"{expected[0]['score']:.3f}")
    expect_pictures(page)
    expect(page.get_by_role("status").first).to_contain_text("12 results in")
    expect(page.get_by_text("Shapes drawn by a test.")).to_be_in_viewport()
    assert page.url.endswith("#/search?q=red")
    page.reload()
    assert likes(page) == [row["id"] for row in expected]


@pytest.mark.parametrize("way", ["choose", "paste", "drop"])
def test_a_picture_finds_its_like(page: Page, url: str, folder: Path, way: str) -> None:
    page.goto(url)
    give(page, way, (folder / "pairs" / "12.png").read_bytes())
    assert likes(page)[0] == 12
    expect(page.get_by_alt_text("Your picture mine.png")).to_be_visible()
    page.get_by_role("button", name="Take the picture away").click()
    expect(page.get_by_alt_text("Your picture mine.png")).to_be_hidden()
    page.go_back()
    expect(page.get_by_alt_text("Your picture mine.png")).to_be_visible()
    assert likes(page)[0] == 12
    page.reload()  # an address cannot hold a picture
    expect(page.get_by_text("Paste or drop it again")).to_be_visible()


def test_a_large_picture_is_made_smaller_before_it_is_sent(page: Page, url: str) -> None:
    page.goto(url)
    with page.expect_request("**/v1/search") as request:
        give(page, "drop", png((3000, 1500)))
    sent = request.value.post_data_json["image"]
    assert Image.open(io.BytesIO(base64.b64decode(sent.partition(",")[2]))).size == (1024, 512)


def test_what_is_no_picture_is_said(page: Page, url: str) -> None:
    page.goto(url)
    give(page, "drop", b"%PDF-1.4", "paper.pdf", "application/pdf")
    expect(page.get_by_role("alert").first).to_have_text(re.compile("paper.pdf is no picture"))


def test_more_like_this(page: Page, url: str) -> None:
    page.goto(f"{url}#/search?q=red")
    chosen = likes(page)[3]
    page.locator(".card").nth(3).click()
    asked_about = page.get_by_role("article", name="The row whose like is looked for")
    row = page.request.get(f"{url}v1/items/{chosen}").json()
    for said in (row["text"], row["key"], row["split"], *filter(None, row["labels"].values())):
        expect(asked_about).to_contain_text(said)
    expected = asked(page, "v1/search", {"id": chosen, "k": 12, "modality": "image"})["results"]
    assert likes(page) == [each["id"] for each in expected]
    assert chosen not in likes(page)
    page.go_back()
    expect(asked_about).to_be_hidden()
    assert likes(page)[3] == chosen


def test_a_condition_and_its_error_in_the_server_s_words(page: Page, url: str) -> None:
    page.goto(f"{url}#/search?q=red")
    page.get_by_text("Only where").click()
    where = page.get_by_label("Condition over the columns, in SQL")
    page.get_by_role("button", name="split", exact=True).click()
    expect(where).to_have_value("split")
    where.press_sequentially(" = 'test'")
    # From this request on the page is busy, until it shows what was found.
    with page.expect_request(lambda request: "split = 'test'" in (request.post_data or "")):
        where.press("Enter")
    body = {"query": "red", "k": 12, "modality": "image", "where": "split = 'test'"}
    assert likes(page) == [row["id"] for row in asked(page, "v1/search", body)["results"]]
    where.fill("nonsense = 1")
    where.press("Enter")
    message = asked(page, "v1/search", {**body, "where": "nonsense = 1"})["error"]["message"]
    expect(page.get_by_role("alert").first).to_have_text(message)
    expect(where).to_have_attribute("aria-invalid", "true")
    where.fill("")
    where.press("Enter")
    assert len(likes(page)) == 12
    expect(page.get_by_role("alert").first).to_be_hidden()


def test_the_first_answer_leaves_the_focus_where_somebody_types(page: Page, url: str) -> None:
    held: list[Route] = []
    page.route("**/v1/search", lambda route: held.append(route))
    page.goto(f"{url}#/search?q=red")
    page.get_by_text("Only where").click()
    where = page.get_by_label("Condition over the columns, in SQL")
    page.get_by_role("button", name="split", exact=True).click()
    page.keyboard.type(" = ")
    held.pop().continue_()
    likes(page)
    expect(where).to_be_focused()
    page.keyboard.type("'test'")
    expect(where).to_have_value("split = 'test'")


def test_labels_of_one_s_own(page: Page, url: str, folder: Path) -> None:
    page.goto(f"{url}#/labels")
    content = (folder / "pairs" / "12.png").read_bytes()
    give(page, "paste", content)
    page.get_by_label("Labels, one a line").fill("red\n\n blue \ngreen")
    page.get_by_label("Template").fill("a {} shape")
    page.get_by_role("button", name="Compare").click()
    body = {"labels": ["red", "blue", "green"], "template": "a {} shape"}
    image = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    expected = asked(page, "v1/zero-shot", {**body, "image": image})["labels"]
    rows = page.locator(".bars").first.get_by_role("listitem")
    expect(rows).to_have_text([f"{each['label']}{each['score']:.3f}".replace("-", "−") for each in expected])
    lengths = rows.locator(".bar").evaluate_all("bars => bars.map(bar => bar.getBoundingClientRect().width)")
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > lengths[-1]


def test_an_earlier_address_is_not_shown_to_a_user_who_went_on(page: Page, url: str) -> None:
    held: list[Route] = []
    page.route("**/v1/items/*", lambda route: held.append(route))
    for begun, gone_to in (
        ("labels?id=12&labels=red", "labels?id=13&labels=red"),
        ("search", "search?q=red"),
    ):
        page.goto(f"{url}#/{begun}")
        expect(page.get_by_role("heading", level=1)).to_have_text("Search pairs")
        page.evaluate("address => { location.hash = address }", f"#/{gone_to}")
        expect(
            page.locator("#labels-pick img" if "labels" in begun else "#search .card").first
        ).to_be_attached()
        while held:
            held.pop().continue_()
        expect(page.locator("#trouble")).to_be_hidden()


def test_two_models_side_by_side(page: Page, url: str) -> None:
    page.goto(f"{url}#/search?q=red")
    page.get_by_label("Two models side by side").check()
    lists = page.get_by_role("list", name=re.compile("Results of"))
    expect(lists).to_have_count(2)
    expect(page.get_by_role("status").first).to_contain_text("12 of 12 found by both")
    expect(lists.nth(1).get_by_role("listitem").first).to_contain_text("1st there")


def show_points(page: Page, url: str, columns: int = 200, rows: int = 100) -> None:
    """Open the map with points in a grid, 20,000 of them unless said otherwise, of two modalities in turn."""
    places = np.arange(columns * rows)
    values = {"id": places % 70, "modality": places % 2, "x": places % columns, "y": places // columns}
    points = {name: each.tolist() for name, each in values.items()} | {"modalities": ["image", "text"]}
    page.route("**/v1/map", lambda route: route.fulfill(json=points))
    page.route("**/v1/about", lambda route: route.fulfill(json=route.fetch().json() | {"map": True}))
    page.goto(f"{url}#/map")
    expect(page.get_by_text(f"Each of the {columns * rows:,} points")).to_be_visible()


def where_is(page: Page, place: int, columns: int = 200, rows: int = 100) -> tuple[float, float]:
    """Return where a point of the whole map lies in the window."""
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    scale = min((box["width"] - 56) / (columns - 1), (box["height"] - 56) / (rows - 1))
    x, y = place % columns - (columns - 1) / 2, place // columns - (rows - 1) / 2
    return box["x"] + box["width"] / 2 + x * scale, box["y"] + box["height"] / 2 - y * scale


def drawn(page: Page) -> int:
    """Return the number of pixels of the map that are not as its corner is."""
    return page.evaluate(
        """async () => {
          for (const _ of [1, 2]) await new Promise(requestAnimationFrame);  // the frame that was asked for is painted
          const canvas = document.getElementById("points");
          const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          const pixels = new Uint32Array(data.buffer);
          return pixels.filter((pixel) => pixel !== pixels[0]).length;
        }"""
    )


def test_map_shows_every_point_and_the_pointer_finds_it(page: Page, url: str) -> None:
    show_points(page, url)
    both = drawn(page)
    assert both > POINTS  # more than a pixel each
    page.get_by_label("texts", exact=True).uncheck()
    assert drawn(page) < 0.7 * both
    page.get_by_label("texts", exact=True).check()
    for place in (0, 8_123, POINTS - 200):
        page.mouse.move(*where_is(page, place))
        row = page.request.get(f"{url}v1/items/{place % 70}").json()
        expect(page.locator("#under")).to_have_text(row["text"])
        link = f"#/search?like={place % 70}" + ("&modality=text" if place % 2 else "")
        expect(page.locator("#under")).to_have_attribute("href", link)
    page.mouse.click(*where_is(page, 8_124))
    expect(page).to_have_url(re.compile(rf"#/search\?like={8_124 % 70}$"))


def test_map_moves_under_the_pointer(page: Page, url: str) -> None:
    show_points(page, url)
    left, top = map(round, where_is(page, 8_124))  # a wheel turns at a whole pixel
    row = page.request.get(f"{url}v1/items/{8_124 % 70}").json()
    page.mouse.move(left, top)
    expect(page.locator("#under")).to_have_text(row["text"])
    for _ in range(3):
        page.mouse.wheel(0, -400)
    expect(page.locator("#under")).to_have_text(row["text"])  # what lay there still does
    page.mouse.down()
    page.mouse.move(left + 101, top + 50, steps=5)
    page.mouse.up()
    assert "#/map" in page.url  # a drag is no click
    page.mouse.move(left + 101, top + 51)
    expect(page.locator("#under")).to_have_text(row["text"])
    page.get_by_role("button", name="Whole map").click()
    page.mouse.move(*where_is(page, 0))
    expect(page.locator("#under")).to_have_attribute("href", "#/search?like=0")


def test_map_may_be_left_before_its_points_are_there(page: Page, url: str) -> None:
    held: list[Route] = []
    page.route("**/v1/about", lambda route: route.fulfill(json=route.fetch().json() | {"map": True}))
    page.route("**/v1/map", lambda route: held.append(route))
    page.goto(url)
    for view in ("Map", "Search", "Map", "Search"):
        page.get_by_role("link", name=view, exact=True).click()
        expect(page.get_by_role("link", name=view, exact=True)).to_have_attribute("aria-current", "page")
    assert len(held) == 1  # two would listen twice to every click and key
    held[0].fulfill(
        json={"id": [0, 1], "modality": [0, 0], "x": [0, 1], "y": [0, 1], "modalities": ["image"]}
    )
    expect(page.locator("#map-lead")).to_contain_text("Each of the 2 points")
    expect(page.locator("#trouble")).to_be_hidden()
    page.get_by_role("link", name="Map", exact=True).click()
    expect(page.get_by_role("link", name="Map", exact=True)).to_have_attribute("aria-current", "page")
    assert drawn(page) > 0


def test_map_by_keys(page: Page, url: str) -> None:
    show_points(page, url)
    canvas = page.get_by_role("application", name="Map of the data")
    canvas.focus()
    page.keyboard.press("ArrowRight")  # the point in the middle
    said = page.locator("#map-said")
    expect(said).to_contain_text("Enter finds more like this")
    first = said.text_content()
    page.keyboard.press("ArrowUp")
    expect(said).not_to_have_text(str(first))
    page.keyboard.press("ArrowDown")
    expect(said).to_have_text(str(first))
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"#/search\?like=\d+"))
    assert likes(page)


def test_map_by_touch(browser: Browser, url: str) -> None:
    with browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    ) as context:
        page = context.new_page()
        show_points(page, url, 8, 6)
        page.touchscreen.tap(*where_is(page, 26, 8, 6))
        card = page.locator("#under")
        expect(card).to_contain_text(page.request.get(f"{url}v1/items/26").json()["text"])
        assert "#/map" in page.url  # a finger hides what it touches: first it is shown
        box = card.bounding_box()
        assert box is not None
        page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] - 8)
        expect(page).to_have_url(re.compile(r"#/search\?like=26$"))


def test_keys_alone_go_from_start_to_more_like_this(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.get_by_label("Words to search for")).to_be_focused()
    page.keyboard.type("red")
    page.keyboard.press("Enter")
    cards = likes(page)
    page.keyboard.press("ArrowDown")
    expect(page.locator(".card").first).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".card").nth(1)).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    expect(page.locator(".card").nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"like={cards[1]}$"))
    expect(page.get_by_role("article")).to_be_visible()
    expect(page.locator(".card").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_label("Words to search for")).to_be_focused()
    page.locator(".card").first.focus()
    page.keyboard.press("/")
    expect(page.get_by_label("Words to search for")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    expect(page.get_by_label("Words to search for")).to_be_focused()


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1100, 390, 320])
def test_layouts_fit(page: Page, url: str, view: str, scheme: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    if view == "#/map":
        show_points(page, url)
    else:
        page.goto(url + view)
    root = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert root[0] <= root[1]
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", colour))) < 64) == (scheme == "dark")
    moving = "element => getComputedStyle(element).transitionDuration"
    assert page.locator("a").evaluate_all(f"all => all.map({moving}).every(each => each === '0s')")


@pytest.mark.parametrize("view", VIEWS)
def test_every_control_has_a_name_and_the_page_its_landmarks(
    page: Page, context: BrowserContext, url: str, view: str
) -> None:
    if view == "#/map":
        show_points(page, url)
    else:
        page.goto(url + view)
    session = context.new_cdp_session(page)
    session.send("Accessibility.enable")
    nodes = [node for node in session.send("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
    named = [(node["role"]["value"], node.get("name", {}).get("value", "").strip()) for node in nodes]
    controls = {"button", "link", "textbox", "searchbox", "checkbox", "combobox", "spinbutton", "application"}
    assert {role for role, _ in named} & controls
    assert not [role for role, name in named if role in controls | {"image", "region"} and not name]
    assert {"banner", "main", "contentinfo", "navigation"} <= {role for role, _ in named}
    assert [role for role, _ in named].count("heading") >= 1


def test_large_ids_keep_their_digits(page: Page, url: str) -> None:
    """Numbers of JavaScript have 53 bits, ids of the data have 63."""
    large = 8_433_449_903_732_589_123
    item = page.request.get(f"{url}v1/items/12").json() | {
        "id": large,
        "text": f'"id": {large}, 1.2345678901234567',
    }
    results = {"results": [{**item, "modality": "image", "score": 0.12345678901234567}], "seconds": 0.0}
    page.route("**/v1/search", lambda route: route.fulfill(json=results))
    page.route(f"**/v1/items/{large}", lambda route: route.fulfill(json=item))
    page.goto(f"{url}#/search?q=red")
    expect(page.locator(".caption")).to_have_text(item["text"])
    expect(page.locator(".card")).to_contain_text("0.123")
    with page.expect_request("**/v1/search") as request:
        page.locator(".card").click()
    assert request.value.post_data_json["id"] == large
    expect(page.get_by_role("article")).to_contain_text(str(large))


def test_text_of_the_data_is_text(page: Page, url: str) -> None:
    hostile = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"

    def poisoned(route: Any) -> None:
        answer = route.fetch().json()
        for row in answer["results"]:
            row.update(text=hostile, key=hostile, labels={hostile: hostile})
        route.fulfill(json=answer)

    page.route("**/v1/search", poisoned)
    page.goto(f"{url}#/search?q={hostile}&both=true")
    expect(page.locator(".caption").first).to_have_text(hostile)
    assert page.locator("img[src=x]").count() == 0
    assert page.title() != "taken"


def test_same_query_as_code_gives_the_same(page: Page, url: str, folder: Path) -> None:
    page.goto(f"{url}#/search?q=it%27s%20%22red%22%20%24HOME&where=split%20%3D%20%27test%27")
    run_code(page, folder / "pairs")
    give(page, "drop", (folder / "pairs" / "12.png").read_bytes(), "12.png")
    expect(page.get_by_alt_text("Your picture 12.png")).to_be_visible()
    run_code(page, folder / "pairs")


def run_code(page: Page, folder: Path) -> None:
    """Run the page's code for its query, which is to find what the page shows."""
    expected = likes(page)
    page.locator("#search-code summary").click()
    curl, requests, openai = page.locator("#search-code code").all_text_contents()
    if shutil.which("curl"):
        done = subprocess.run(["bash", "-c", curl], cwd=folder, capture_output=True, text=True, check=True)
        assert [row["id"] for row in json.loads(done.stdout)["results"]] == expected
    done = subprocess.run(
        [sys.executable, "-c", requests], cwd=folder, capture_output=True, text=True, check=True
    )
    assert [int(each) for each in re.findall(r"^\{'id': (\d+)", done.stdout, re.MULTILINE)] == expected
    code = f"{openai}\nprint(len(vector))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 1


def test_a_token_is_asked_for_and_kept_from_the_address(page: Page, index: Any) -> None:
    held = Served(app(index, token=TOKEN))
    page.goto(f"{held.url}#/search?q=red")
    entry = page.get_by_label("Token", exact=True)
    expect(entry).to_be_focused()
    for _ in range(2):  # a browser lets no page keep a dialog open twice
        page.keyboard.press("Escape")
    expect(entry).to_be_focused()
    entry.fill("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#entry").get_by_role("alert")).to_contain_text("token")
    entry.fill(TOKEN)
    page.keyboard.press("Enter")
    assert len(likes(page)) == 12
    expect_pictures(page)
    page.locator("#search-code summary").click()
    assert TOKEN not in page.content()
    assert "$TOKEN" in page.locator("#search-code code").first.text_content()  # type: ignore[operator]
    assert "sesame" not in page.url
    page.reload()
    assert len(likes(page)) == 12
    held.end()
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.get_by_role("alert").first).to_have_text("The server does not answer. Is it still running?")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="module")
def sounds(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return index_of(f"{rows},columns=audio:sound+text:text", tmp_path_factory.mktemp("sounds"))


def play(page: Page) -> float:
    """Let the first player play without a sound, and return how many seconds it lasts."""
    player = page.locator("audio").first
    player.evaluate("player => { player.muted = true; return player.play(); }")
    expect(player).not_to_have_js_property("currentTime", 0)
    duration: float = player.evaluate("player => player.duration")
    return duration


def test_sounds_are_seen_and_heard(page: Page, sounds: Path) -> None:
    held = Served(app(sounds))
    page.goto(held.url)
    expect(page.locator("#facts")).to_contain_text(f"{ROWS} sounds · {ROWS} texts")
    expect(page.get_by_label("Words to search for")).to_have_attribute(
        "placeholder", "Type words to find sounds"
    )
    page.get_by_label("Words to search for").fill("row number")
    page.keyboard.press("Enter")
    assert len(likes(page)) == 12
    expect_pictures(page)
    expect(page.locator("audio")).to_have_count(12)
    assert play(page) == pytest.approx(1, abs=0.01)
    name = page.locator(".card .caption").first.text_content()
    expect(page.locator("audio").first).to_have_attribute("aria-label", f"Sound: {name}")
    assert page.url.endswith("#/search?q=row+number"), "a player is no link"
    page.locator(".card").first.click()
    article = page.get_by_role("article", name="The row whose like is looked for")
    expect(article.locator("audio")).to_have_count(1)
    page.get_by_label("Find").select_option(label="texts")
    likes(page)
    expect(page.locator("#found audio")).to_have_count(12)  # the sounds of the texts' items
    held.end()


def test_sounds_are_heard_with_a_token(page: Page, sounds: Path) -> None:
    held = Served(app(sounds, token=TOKEN))
    page.goto(f"{held.url}#/search?q=row")
    page.get_by_label("Token", exact=True).fill(TOKEN)
    page.keyboard.press("Enter")
    assert len(likes(page)) == 12
    expect_pictures(page)
    expect(page.locator("audio")).to_have_count(0)
    page.get_by_role("button", name="Play").first.click()
    expect(page.locator("audio")).to_have_count(1)
    assert play(page) == pytest.approx(1, abs=0.01)
    held.end()


@pytest.mark.parametrize(("column", "many"), [("series:walk", "series"), ("video:clip", "clips")])
def test_series_and_clips_are_seen(page: Page, rows: Path, tmp_path: Path, column: str, many: str) -> None:
    held = Served(app(index_of(f"{rows},columns={column}+text:text", tmp_path)))
    page.goto(f"{held.url}#/search?q=row")
    expect(page.locator("#facts")).to_contain_text(f"{ROWS} {many} · {ROWS} texts")
    assert len(likes(page)) == 12
    expect_pictures(page)
    expect(page.locator("audio")).to_have_count(0)
    held.end()
