"""QVHighlights: the published layout, videos that are not there, and rows that contradict themselves."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from counterpoint.data.labels import Timelines
from counterpoint.data.source import load_any
from counterpoint.networks.towers.footage import Footage


def row(qid: int, vid: str, **more: Any) -> dict[str, Any]:
    return {
        "qid": qid,
        "query": f"query  {qid}",
        "duration": 9,
        "vid": vid,
        "relevant_windows": [[2, 6]],
        "relevant_clip_ids": [1, 2],
        "saliency_scores": [[4, 4, 1], [0, 2, 3]],
        **more,
    }


def layout(root: Path, val: list[dict[str, Any]], test: bool = False) -> Path:
    (root / "videos").mkdir(parents=True)
    for k in range(12):
        file = io.BytesIO()
        frames = [Image.new("RGB", (16, 16), (10 * k, 20 * t, 0)) for t in range(4)]
        frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
        (root / "videos" / f"v{k}.mp4").write_bytes(file.getvalue())
    files = {"train_release": [row(k, f"v{k}") for k in range(2)], "val_release": val}
    if test:
        files["test_with_gt"] = [row(99, "v11")]
    for name, rows in files.items():
        (root / f"highlight_{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return root


def test_published_layout_is_read(tmp_path: Path) -> None:
    val = [row(10 + k, f"v{k}") for k in range(2, 11)] + [row(50, "v5")]
    data = load_any(f"qvhighlights:{layout(tmp_path / 'it', val)}")
    assert dict(data.columns) == {"video": "video", "text": "text"}
    assert data.ids[data.splits.train].tolist() == [0, 1]
    test, validation = data.splits.test["test"], data.splits.validation["val"]
    assert {*data.ids[test], *data.ids[validation]} == {it["qid"] for it in val}
    assert (15 in data.ids[test]) == (50 in data.ids[test]), "one video is on one side"
    assert data.read("text", np.array([0])) == ["query 0"]
    clips = data.suited({"video": Footage(12, 4)}).read("video", test[:3])
    assert clips.frames.shape == (3, 4, 3, 16, 16)
    labels = data.labels
    assert isinstance(labels["saliency"], Timelines)
    assert labels["moments"].values[0].tolist() == [0, 1, 1, 0, 0]
    assert labels["saliency"].values[0].tolist() == [0, 4, 2, 0, 0]


def test_file_of_test_and_missing_videos(tmp_path: Path) -> None:
    bare = {
        key: value for key, value in row(12, "v3").items() if not key.startswith(("relevant", "saliency"))
    }
    data = load_any(
        f"qvhighlights:{layout(tmp_path / 'it', [row(11, 'v2'), bare, row(13, 'gone')], test=True)}"
    )
    assert data.ids[data.splits.test["test"]].tolist() == [99]
    assert data.ids[data.splits.validation["val"]].tolist() == [11, 12]
    assert data.describe()["data"]["left out, without a video"] == 1
    assert data.labels["moments"].known.tolist() == [True, True, True, False, True]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"relevant_clip_ids": [1]}, "val_release.jsonl, line 1: 1 clips and 2 saliency scores"),
        ({"relevant_clip_ids": [1, 5]}, "line 1: clip 5 of a video of 9 seconds"),
    ],
)
def test_rows_that_contradict_themselves_are_named(
    tmp_path: Path, wrong: dict[str, Any], message: str
) -> None:
    data = load_any(f"qvhighlights:{layout(tmp_path / 'it', [row(11, 'v2', **wrong)])}")
    with pytest.raises(ValueError, match=message):
        _ = data.labels


def test_rows_without_fields_and_folders_without_videos_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="line 1: no query"):
        load_any(f"qvhighlights:{layout(tmp_path / 'a', [{'qid': 1}])}")
    with pytest.raises(ValueError, match="same qid"):
        load_any(f"qvhighlights:{layout(tmp_path / 'b', [row(1, 'v3')])}")
    root = layout(tmp_path / "c", [row(11, "v2")])
    for file in (root / "videos").iterdir():
        file.unlink()
    with pytest.raises(FileNotFoundError, match="qvhighlights: the videos of all 3 rows are missing"):
        load_any(f"qvhighlights:{root}")
