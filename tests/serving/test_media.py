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
from counterpoint.serving import app
from counterpoint.serving.application.gallery import HEARD, Gallery
from counterpoint.serving.requests.refusals import Refusal

RATE, ROWS = 8_000, 24


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a table with a sound, a clip, a series and numbers in every row."""
    folder = tmp_path_factory.mktemp("rows")
    lines = ["sound,clip,walk,height,weight,text"]
    for k in range(ROWS):
        wave = 0.5 * np.sin(2 * np.pi * (200 + 60 * k) * np.arange(RATE) / RATE)
        wavfile.write(folder / f"{k}.wav", RATE, np.rint(wave * 32767).astype(np.int16))
        frames = [Image.new("RGB", (16, 16), (10 * k, 80 * step, 0)) for step in range(3)]
        frames[0].save(folder / f"{k}.webp", save_all=True, append_images=frames[1:])
        np.save(folder / f"{k}.npy", np.cumsum(np.ones((50, 2)) * (k + 1), axis=0))
        lines.append(f"{k}.wav,{k}.webp,{k}.npy,{k + 150},{k + 50},row number {k}")
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    return folder / "rows.csv"


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
    with pytest.raises(Refusal) as refused:
        media(source, "sound")
    assert refused.value.message == "there is no sound of this item"


def test_a_sound_is_heard_whole(table: Path) -> None:
    kind, file = media(f"{table},columns=audio:sound+text:text", "sound")
    rate, samples = wavfile.read(io.BytesIO(file))
    assert (kind, len(samples) / rate) == ("audio/wav", pytest.approx(1))
    assert HEARD > 1
    for column in ("video", "text", "nothing"):
        with pytest.raises(Refusal):
            media(f"{table},columns=audio:sound+text:text", "sound", column)


def test_results_and_items_say_where_they_are_seen_and_heard(table: Path, tmp_path: Path) -> None:
    source = f"{table},columns=audio:sound+text:text"
    few = override(load("seconds"), {"steps": 2, "batch_size": 8})
    cp.train("clip", source, recipe=few, folder=tmp_path / "run")
    cp.index(cp.embed(tmp_path / "run", source, tmp_path / "vectors"), tmp_path / "index")
    asking = TestClient(app(tmp_path / "index"), base_url="http://127.0.0.1")
    about = asking.get("/v1/about").json()
    assert about["kinds"]["audio"] == {"modality": "audio", "one": "sound", "many": "sounds"}
    number = int(load_any(source).ids[3])
    item = asking.get(f"/v1/items/{number}").json()
    assert item["sound"] == f"/v1/items/{number}/sound?column=audio"
    found = asking.post("/v1/search", json={"id": number, "modality": "audio", "k": 3}).json()["results"]
    assert {row["sound"].partition("/sound")[2] for row in found} == {"?column=audio"}
    texts = asking.post("/v1/search", json={"query": "row", "modality": "text", "k": 3}).json()["results"]
    assert {row["sound"] for row in texts} == {None}
    assert asking.get(item["picture"]).headers["content-type"] == "image/png"
    whole = asking.get(item["sound"])
    assert (whole.status_code, whole.headers["accept-ranges"]) == (200, "bytes")
    part = asking.get(item["sound"], headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, whole.content[4:8])
    assert part.headers["content-range"] == f"bytes 4-7/{len(whole.content)}"
    for beyond in ("bytes=9-4", f"bytes={len(whole.content)}-", "bytes=-5", "lines=1-2"):
        assert asking.get(item["sound"], headers={"Range": beyond}).content == whole.content
    assert "media-src 'self' blob:" in whole.headers["content-security-policy"]
