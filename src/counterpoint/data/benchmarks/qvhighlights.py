"""QVHighlights: queries about videos, the moments that they ask for, and the saliency of each two seconds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self, final

import numpy as np
from jaxtyping import Bool

from ...modalities import MODALITIES
from ...networks.base import FormedInput, Input
from ...registry import unknown
from ..base import Data, Rows, Splits
from ..labels import Timelines
from ..listed.decoded import DecodedExamples
from ..rng import Rng
from ..sources import Asset
from ._base import fields, read_json

SECONDS = 2.0
"""Seconds of a clip that has one saliency."""
_FIELDS = ("qid", "query", "duration", "vid")


def read(path: Path, size: int) -> QVHighlights:
    """Read QVHighlights: PATH is a folder with ``highlight_train_release.jsonl`` and the like.

    Rows have ``qid``, ``query``, ``duration`` and ``vid``, and where they are told ``relevant_clip_ids`` and
    ``saliency_scores``. Videos are ``videos/VID.mp4``, or lie beside the files; rows whose video is not there are left
    out. The file of validation is ``highlight_val_release.jsonl``, and that of test ``highlight_test_with_gt.jsonl``.
    Without that file, three quarters of the videos for validation are for test.

    Source: Lei et al., "Detecting Moments and Highlights in Videos via Natural Language Queries" (2021), arXiv
    2107.09609, and the files of its repository.
    """
    files = {
        side: path / f"highlight_{name}.jsonl"
        for side, name in (
            ("train", "train_release"),
            ("validation", "val_release"),
            ("test", "test_with_gt"),
        )
    }
    if not any(file.is_file() for file in files.values()):
        raise FileNotFoundError(
            f"qvhighlights: {path} has no {files['train'].name} and no {files['validation'].name}"
        )
    rows: list[dict[str, Any]] = []
    sides: list[str] = []
    annotated = missing = 0
    for side, file in files.items():
        for number, row in enumerate(read_json(file) if file.is_file() else [], 1):
            fields(row, _FIELDS, f"{file}, line {number}")
            annotated += 1
            candidates = [folder / f"{row['vid']}.mp4" for folder in (path / "videos", path)]
            video = next((file for file in candidates if file.is_file()), None)
            if video is None:
                missing += 1
                continue
            rows.append({**row, "video": video, "where": f"{file}, line {number}"})
            sides.append(side)
    if not rows:
        raise FileNotFoundError(
            f"qvhighlights: the videos of all {annotated} rows are missing: put them into {path / 'videos'}"
        )
    return QVHighlights(f"qvhighlights:{path}", rows, sides, missing)


@final
class QVHighlights(Data):
    """Videos with a query each, and the labels ``moments`` and ``saliency`` of each two seconds.

    The saliency is the median of what three people say, from 0 to 4.

    Args:
        name: as the user names it.
        rows: of the files, each with the path of its ``video``.
        sides: of the rows.
        missing: rows that were left out.

    Raises:
        ValueError: for two rows of one ``qid``, scores that are not one for each clip, and a clip behind the end.
    """

    def __init__(self, name: str, rows: list[dict[str, Any]], sides: list[str], missing: int) -> None:
        self.name, self._rows, self._missing = name, rows, missing
        self.columns = {"video": "video", "text": "text"}
        self.ids = np.array([row["qid"] for row in rows], dtype=np.int64)
        if len(np.unique(self.ids)) < len(rows):
            raise ValueError(f"{name}: two rows have the same qid")
        if "test" not in sides:
            of_video = {row["vid"]: Rng(0, 0, row["vid"]).happens("validation", 0.25) for row in rows}
            sides = [
                "test" if side == "validation" and not of_video[row["vid"]] else side
                for side, row in zip(sides, rows, strict=True)
            ]
        of = {side: np.flatnonzero(np.array(sides) == side) for side in ("train", "validation", "test")}
        self.splits = Splits(of["train"], {"val": of["validation"]}, {"test": of["test"]})
        files = list(dict.fromkeys(row["video"] for row in rows))
        position = {file: number for number, file in enumerate(files)}
        self._positions = np.array([position[row["video"]] for row in rows], dtype=np.int64)
        self._videos = DecodedExamples(
            [Asset.of(file) for file in files], "video", MODALITIES.get("video").form
        )
        for number, why in self._videos.unreadable.items():
            raise ValueError(f"{files[number]}: {why}")

    def key(self, row: int) -> str:
        return f"{self._rows[row]['qid']}"

    def read(self, column: str, rows: Rows) -> Any:
        if column == "text":
            return [" ".join(str(self._rows[int(row)]["query"]).split()) for row in rows]
        if column != "video":
            raise unknown(f"column of {self.name}", column, self.columns)
        return self._videos.read(self._positions[rows])

    def suited(self, inputs: Mapping[str, Input], *, training: bool = False) -> Self:
        asked = inputs.get("video")
        if not isinstance(asked, FormedInput) or asked.form == self._videos.form:
            return self
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, _videos=self._videos.formed(asked.form))
        return other

    @cached_property
    def labels(self) -> Mapping[str, Timelines]:
        """The labels, of which rows without them have none; nothing where no row has any."""
        known = [_moments_of(row) for row in self._rows]
        if all(it is None for it in known):
            return {}
        return {
            "moments": Timelines.of(None if it is None else it[0].astype(float).tolist() for it in known),
            "saliency": Timelines.of(None if it is None else it[1].tolist() for it in known),
        }

    def describe(self) -> dict[str, dict[str, Any]]:
        description = super().describe()
        description["data"]["left out, without a video"] = self._missing
        return description


def _moments_of(row: Mapping[str, Any]) -> tuple[Bool[np.ndarray, " n"], np.ndarray] | None:
    """Return which clips are asked for, and the saliency of all."""
    if "relevant_clip_ids" not in row or "saliency_scores" not in row:
        return None
    asked, scores = row["relevant_clip_ids"], row["saliency_scores"]
    count = int(np.ceil(row["duration"] / SECONDS))
    if len(asked) != len(scores):
        raise ValueError(f"{row['where']}: {len(asked)} clips and {len(scores)} saliency scores")
    if any(not 0 <= clip < count for clip in asked):
        raise ValueError(f"{row['where']}: clip {max(asked)} of a video of {row['duration']} seconds")
    of_row, saliency = np.zeros(count, bool), np.zeros(count)
    of_row[asked] = True
    for clip, of_people in zip(asked, scores, strict=True):
        saliency[clip] = np.median(of_people)
    return of_row, saliency
