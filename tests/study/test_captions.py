"""Captions for pictures: queries that pictures get, captions that a model writes, and data made of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.data.derived.captioned import MANIFEST, TABLE, CaptionedData
from counterpoint.data.source import load_any
from counterpoint.files import DamagedFileError
from counterpoint.study.captions import caption_pictures, match_queries, pseudo_pairs

POOL = "scenes:tiny,train=40,validation=4,test=6,seed=1,pixels=32"
QUERIES = "scenes:tiny,train=30,validation=4,test=6,seed=2,terse=1,pixels=32"


class Model:
    """An embedder and captioner whose texts follow from the mean colour of a picture."""

    heads: tuple[str, ...] = ("default",)

    def __init__(self) -> None:
        self.asked: list[int] = []

    def embed(self, modality: str, inputs: Any, head: str = "default") -> Tensor:
        if modality == "image":
            return F.normalize(inputs.float().mean((2, 3)), dim=1)
        lengths = torch.tensor([[len(text) % 7, len(text) % 5, 1] for text in inputs])
        return F.normalize(lengths.float(), dim=1)

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b.T

    def caption(self, pictures: Any, **options: Any) -> list[str]:
        self.asked.append(len(pictures))
        return [f"shade {int(p.float().mean())}" for p in pictures]

    def log_likelihood(self, pictures: Any, captions: Sequence[str]) -> Tensor:
        raise NotImplementedError


def test_no_picture_gets_more_queries_than_allowed_and_no_query_two_pictures() -> None:
    generator = torch.Generator().manual_seed(0)
    hub = torch.ones(4) / 2
    pictures = F.normalize(torch.cat([hub[None], torch.randn(9, 4, generator=generator)]), dim=1)
    queries = F.normalize(hub + 0.3 * torch.randn(30, 4, generator=generator), dim=1)
    for uses in (1, 2):
        chosen, given, cosines = pseudo_pairs(queries, pictures, uses)
        assert np.bincount(given).max() == uses
        assert len(set(chosen.tolist())) == len(chosen) == min(30, uses * len(pictures))
        assert (np.diff(cosines) <= 0).all()
        assert np.allclose(cosines, (queries[chosen] * pictures[given]).sum(1).numpy(), atol=1e-6)
    # Without a limit each query gets its nearest picture.
    chosen, given, _ = pseudo_pairs(queries, pictures, 30)
    assert given[np.argsort(chosen)].tolist() == (queries @ pictures.T).argmax(1).tolist()


def test_queries_become_captions_of_training_rows_and_held_out_rows_keep_theirs(tmp_path: Path) -> None:
    count = match_queries(Model(), POOL, QUERIES, tmp_path / "out", name="model", keep=0.5)
    data, pool, queries = load_any(str(tmp_path / "out")), load_any(POOL), load_any(QUERIES)
    assert isinstance(data, CaptionedData)
    assert len(data.splits.train) == count
    told = set(data.read("text", data.splits.train))
    assert told <= set(queries.read("text", queries.splits.train))
    held_out = next(iter(data.splits.test.values()))
    assert data.read("text", held_out) == pool.read("text", held_out)
    assert data.evaluation_texts("text", int(held_out[0])) == pool.evaluation_texts("text", int(held_out[0]))
    assert data.read_training("text", data.splits.train[:1])[0] == tuple(
        data.read("text", data.splits.train[:1])
    )
    assert data.fingerprint.parts != pool.fingerprint.parts


def test_captions_that_fit_best_stay_and_none_is_written_twice(tmp_path: Path) -> None:
    model, out = Model(), tmp_path / "out"
    options: dict[str, Any] = {"name": "model", "judge": model, "judged_by": "model", "keep": 0.25}
    assert caption_pictures(model, POOL, out, **options) == 10
    assert model.asked == [40]
    scores = pl.read_parquet(out / TABLE)["similarity"].to_numpy()
    caption_pictures(model, POOL, out, **options)
    assert model.asked == [40]
    everything = caption_pictures(model, POOL, tmp_path / "all", **{**options, "keep": 1.0})
    every = np.sort(pl.read_parquet(tmp_path / "all" / TABLE)["similarity"].to_numpy())
    assert everything == 40
    assert np.allclose(np.sort(scores), every[-10:])
    with pytest.raises(ValueError, match="made otherwise"):
        caption_pictures(model, POOL, out, **{**options, "keep": 0.5})


def test_damaged_table_and_data_without_pictures_are_refused(tmp_path: Path) -> None:
    match_queries(Model(), POOL, QUERIES, tmp_path, name="model")
    (tmp_path / TABLE).write_bytes(b"torn")
    with pytest.raises(DamagedFileError, match="make the captions again"):
        load_any(str(tmp_path))
    assert (tmp_path / MANIFEST).exists()
    with pytest.raises(ValueError, match="no pictures"):
        match_queries(Model(), "glosses", QUERIES, tmp_path / "other", name="model")
