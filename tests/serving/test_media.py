"""Items of every modality are seen, and sounds are heard: the routes of an item's picture and sound."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile
from starlette.testclient import TestClient

import counterpoint as cp
from counterpoint.data.source import load_any
from counterpoint.recipes import load, override
from counterpoint.serving import Index, app
from counterpoint.serving.application.gallery import LONGEST_SOUND, Gallery
from counterpoint.serving.requests.refusals import RequestError
from fixtures.rows import index_of, write_rows


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("rows"))


def media(source: str, what: str, column: str | None = None) -> tuple[str, bytes]:
    gallery = Gallery(source)
    data = asyncio.run(gallery.opened())
    make = gallery.picture if what == "picture" else gallery.sound
    return make(data, int(data.ids[3]), data.key(3), column)


@pytest.mark.parametrize(
    ("columns", "kind", "form"),
    [
        ("audio:sound", "image/png", "PNG"),
        ("video:clip", "image/webp", "WEBP"),
        ("series:walk", "image/png", "PNG"),
        ("table:height+table:weight", "image/png", "PNG"),
    ],
)
def test_every_modality_is_seen(table: Path, columns: str, kind: str, form: str) -> None:
    source = f"{table},columns={columns}+text:text"
    told, file = media(source, "picture")
    assert told == kind
    with Image.open(io.BytesIO(file)) as shown:
        assert shown.format == form
        assert np.ptp(np.asarray(shown.convert("L"))) > 0, "something is drawn"
        assert getattr(shown, "n_frames", 1) == (3 if kind == "image/webp" else 1)
    if columns == "audio:sound":
        return
    with pytest.raises(RequestError) as refused:
        media(source, "sound")
    assert refused.value.message == "there is no sound of this item"


def test_a_sound_is_heard_whole(table: Path) -> None:
    kind, file = media(f"{table},columns=audio:sound+text:text", "sound")
    rate, samples = wavfile.read(io.BytesIO(file))
    assert (kind, len(samples) / rate) == ("audio/wav", pytest.approx(1))
    assert LONGEST_SOUND > 1
    for column in ("video", "text", "nothing"):
        with pytest.raises(RequestError):
            media(f"{table},columns=audio:sound+text:text", "sound", column)


def test_the_sound_of_an_item_with_pictures_needs_no_column(table: Path) -> None:
    source = f"{table},columns=video:clip+audio:sound+text:text"
    assert media(source, "sound") == media(source, "sound", "audio")
    assert media(source, "picture") == media(source, "picture", "video")


def test_an_item_has_one_sound_whichever_index_and_row_shows_it(table: Path, tmp_path: Path) -> None:
    source = f"{table},columns=video:clip+audio:sound+text:text"
    few = override(load("seconds"), {"steps": 1, "batch_size": 8})

    def index_by(column: str) -> Index:
        run = tmp_path / f"run-{column}"
        cp.train(f"clip,columns={column}+text", source, recipe=few, folder=run)
        return cp.index(cp.embed(run, source, tmp_path / column))

    first, other = (index_by(column) for column in ("video", "audio"))
    asking = TestClient(app(first, against=other), base_url="http://127.0.0.1")
    assert [*asking.get("/v1/about").json()["kinds"]] == ["video", "text", "audio"]
    number = int(load_any(source).ids[3])
    expected = f"/v1/items/{number}/sound?column=audio"
    assert asking.get(f"/v1/items/{number}").json()["sound"] == expected
    for side, modality in (("first", "video"), ("first", "text"), ("against", "audio"), ("against", "text")):
        asked = {"query": "row", "modality": modality, "k": 24, "index": side}
        found = asking.post("/v1/search", json=asked).json()["results"]
        assert {row["id"]: row["sound"] for row in found}[number] == expected
    assert asking.get(f"/v1/items/{number}/sound").content == asking.get(expected).content


def test_results_and_items_say_where_they_are_seen_and_heard(table: Path, tmp_path: Path) -> None:
    source = f"{table},columns=audio:sound+text:text"
    asking = TestClient(app(index_of(source, tmp_path)), base_url="http://127.0.0.1")
    about = asking.get("/v1/about").json()
    assert about["kinds"]["audio"] == {"modality": "audio", "one": "sound", "many": "sounds"}
    number = int(load_any(source).ids[3])
    item = asking.get(f"/v1/items/{number}").json()
    assert item["sound"] == f"/v1/items/{number}/sound?column=audio"
    found = asking.post("/v1/search", json={"id": number, "modality": "audio", "k": 3}).json()["results"]
    assert {row["sound"].partition("/sound")[2] for row in found} == {"?column=audio"}
    texts = asking.post("/v1/search", json={"query": "row", "modality": "text", "k": 3}).json()["results"]
    assert {row["sound"].partition("/sound")[2] for row in texts} == {"?column=audio"}
    assert asking.get(item["picture"]).headers["content-type"] == "image/png"
    whole = asking.get(item["sound"])
    assert (whole.status_code, whole.headers["accept-ranges"]) == (200, "bytes")
    part = asking.get(item["sound"], headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, whole.content[4:8])
    assert part.headers["cache-control"] == whole.headers["cache-control"] == "private, max-age=3600"
    assert part.headers["content-range"] == f"bytes 4-7/{len(whole.content)}"
    for beyond in ("bytes=9-4", f"bytes={len(whole.content)}-", "bytes=-5", "lines=1-2"):
        assert asking.get(item["sound"], headers={"Range": beyond}).content == whole.content
    assert "media-src 'self' blob:" in whole.headers["content-security-policy"]
