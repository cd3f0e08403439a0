"""Spans of moments in seconds in tables: starts, ends and the seconds of a clip become a timeline."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from counterpoint.data.labels import Label, Timelines
from counterpoint.data.listed.labels import labels_of
from counterpoint.data.listed.spans import PLACES
from counterpoint.data.source import load_any
from counterpoint.data.synthetic.clips.clip import save
from counterpoint.evaluation.tasks.moments import Moments, runs
from counterpoint.recipes import Recipe, override
from counterpoint.study.side_by_side import evaluate
from counterpoint.study.training.runner import run
from counterpoint.training.run import Run


def labels(**columns: list[str | None]) -> tuple[dict[str, Label], dict[str, str]]:
    return labels_of({name: pl.Series(values, dtype=pl.String) for name, values in columns.items()})


def test_starts_and_ends_are_the_spans_of_a_timeline() -> None:
    made, refused = labels(
        start=["[0]", "[1, 7.5]", "[]", None, "[29.999]"],
        end=["[2.5]", "[2, 10]", "[]", None, "[30]"],
        duration=["10", "10", "4", None, "30"],
    )
    assert (list(made), refused) == (["duration", "moments"], {})
    label = made["moments"]
    assert isinstance(label, Timelines)
    assert label.values.shape == (5, PLACES)
    assert label.known.tolist() == [True, True, True, False, True]
    spans = runs(torch.from_numpy(label.values))
    expected = [[[0, 0.25]], [[0.1, 0.2], [0.75, 1.0]], [], [], [[1 - 1 / PLACES, 1]]]
    for found, true in zip(spans, expected, strict=True):
        np.testing.assert_allclose(found.tolist(), true)
    numbers, _ = labels(start=["0", "NA", "1"], end=["2.5", None, "2"], duration=["10", None, "10"])
    np.testing.assert_array_equal(
        numbers["moments"].known, [True, False, True], "one span a row, as a number of each column"
    )
    np.testing.assert_array_equal(numbers["moments"].values[0], label.values[0])
    again, _ = labels(moments=label.texts(np.arange(5)))
    np.testing.assert_array_equal(again["moments"].values, label.values)


def test_other_names_have_labels_of_their_own() -> None:
    made, refused = labels(laughs_start=["1", "2"], laughs_end=["2", "4"], duration=["8", "8.5"])
    assert (list(made), refused) == (["duration", "laughs"], {})
    made, refused = labels(laughs_start=["1", "2"], laughs_end=["2", "4"])
    assert (list(made), refused) == (["laughs_end", "laughs_start"], {}), (
        "without seconds of clips: two columns"
    )


@pytest.mark.parametrize(
    ("start", "end", "duration", "why"),
    [
        ("5", "5", "10", "a span from 5 to 5 seconds is empty"),
        ("6", "5", "10", "a span from 6 to 5 seconds is empty"),
        ("8", "12", "10", "a span from 8 to 12 seconds lies outside its clip of 10 seconds"),
        ("-1", "2", "10", "a span from -1 to 2 seconds lies outside its clip of 10 seconds"),
        ("1", None, "10", "a row with 1 starts and no ends"),
        ("[1, 2]", "[3]", "10", "a row with 2 starts and 1 ends"),
        ("[1, null]", "[2, 3]", "10", "a row with no starts and 2 ends"),
        ("1", "2", None, "a clip with a span and a duration of nothing"),
        ("1", "2", "0", "a clip with a span and a duration of 0"),
        ("1", "inf", "inf", "a clip with a span and a duration of inf"),
        ("inf", "inf", "9", "a span from inf to inf seconds is empty"),
    ],
)
def test_bad_spans_are_refused_with_why(start: str, end: str, duration: str, why: str) -> None:
    lists = start.startswith("[")
    sound = ("[1]", "[2]") if lists else ("1", "2")
    made, refused = labels(start=[sound[0], start], end=[sound[1], end], duration=["10", duration])
    assert "moments" not in made
    assert refused["moments"] == why


def test_spans_without_seconds_of_clips_say_what_to_give() -> None:
    made, refused = labels(start=["1", "2"], end=["2", "3"])
    assert list(made) == ["end", "start"]
    assert refused == {"moments": "the seconds of each clip are not known: give them in a column 'duration'"}


def test_starts_and_ends_that_are_no_seconds_are_other_labels() -> None:
    made, refused = labels(start=["north", "south"] * 2, end=["south", "north"] * 2, duration=["1", "2"] * 2)
    assert (list(made), refused) == (["duration", "end", "start"], {})
    made, refused = labels(
        start=["1", "2"], end=["2", "3"], duration=["5", "6"], moments=["[0, 1]", "[1, 0, 1]"]
    )
    assert made["moments"].values.shape == (2, 3), "a column of that name is the label"


def test_table_of_clips_with_spans_is_trained_on_and_asked(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["video", "text", "split", "start", "end", "duration"])
        for k in range(12):
            frames = torch.full((4, 3, 32, 32), 20 * k, dtype=torch.uint8)
            frames[k % 4] += 30
            save(frames, tmp_path / f"{k}.mp4")
            side = "train" if k < 6 else "validation" if k < 9 else "test"
            table.writerow([f"{k}.mp4", f"it becomes light {k % 3}", side, 2 * (k % 4), 2 * (k % 4) + 2, 8])
    source = f"{tmp_path / 'rows.csv'}"
    data = load_any(source)
    assert dict(data.columns) == {"video": "video", "text": "text"}
    assert data.labels["moments"].kind == "timelines"
    changes = {
        "steps": 1, "batch_size": 4, "validate_every": 1, "checkpoint_every": 1, "towers.video_frames": 4,
    }  # fmt: skip
    arm = "videolights,video=stills,width=16,depth=1,queries=2"
    run(Run(arm, source, override(recipe, changes), labels="moments"), tmp_path / "run", tasks=("moments",))
    scored = evaluate(tmp_path / "run", tasks=("moments",)).scores()
    assert {row["metric"] for row in scored} == {"R1@0.5", "R1@0.7", "mAP"}
    assert {row["n"] for row in scored} == {3}
    assert Moments.labels == ("moments", "saliency")
