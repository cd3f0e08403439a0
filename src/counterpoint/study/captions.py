"""Captions for pictures that have none in the wanted style: chosen among queries, or written by a captioner."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..data.base import Data, Rows
from ..data.columns import TEXT
from ..data.derived.captioned import CaptionsManifest, begin_captions, write_captions
from ..data.source import load_any, rooted
from ..execution import leased
from ..files import read_json, write_json
from ..types import Captioner, Embedder

PAPERS = {"in-style": ("match_queries", "caption_pictures", "pseudo_pairs")}

_AT_ONCE = 256
"""Rows whose pictures are in memory."""
CANDIDATES = 64
"""Pictures that a query may be given to, the nearest ones."""
WRITTEN = "written.json"
"""The captions that are written so far."""
Notify = Callable[[int], None]
"""A function that is told how many more rows or queries have been dealt with."""


def pseudo_pairs(
    queries: Float[Tensor, "Q d"], pictures: Float[Tensor, "N d"], uses: int, candidates: int = CANDIDATES
) -> tuple[Int[np.ndarray, " M"], Int[np.ndarray, " M"], Float[np.ndarray, " M"]]:
    """Give queries to pictures, the most similar pair first, each query once and each picture at most ``uses`` times.

    Without the limit a few pictures that are similar to everything (hubs) would get most of the queries. A query whose
    ``candidates`` nearest pictures are all used up is left out.

    Args:
        queries, pictures: embeddings of unit length.
        uses: most queries of a picture.
        candidates: pictures that a query may be given to.

    Returns:
        The queries and the pictures of the pairs, by their positions, and the cosines; the most similar pair first.

    >>> queries = torch.tensor([[1.0, 0.0], [0.8, 0.6]])
    >>> [part.tolist() for part in pseudo_pairs(queries, torch.eye(2), uses=1)[:2]]
    [[0, 1], [0, 1]]
    """
    nearest = [
        (part @ pictures.T).topk(min(candidates, len(pictures)), dim=1)
        for part in torch.split(queries, _AT_ONCE)
    ]
    cosines = torch.cat([part.values for part in nearest]).double().cpu().numpy()
    indices = torch.cat([part.indices for part in nearest]).cpu().numpy()
    used, given, pairs = np.zeros(len(pictures), np.int64), np.zeros(len(queries), bool), []
    for position in np.argsort(-cosines, axis=None, kind="stable").tolist():
        query, rank = divmod(position, cosines.shape[1])
        picture = int(indices[query, rank])
        if not given[query] and used[picture] < uses:
            given[query] = True
            used[picture] += 1
            pairs.append((query, picture, float(cosines[query, rank])))
    columns = list(zip(*pairs, strict=True)) or [(), (), ()]
    return np.array(columns[0], np.int64), np.array(columns[1], np.int64), np.array(columns[2], np.float64)


def match_queries(
    model: Embedder,
    source: str,
    queries: str,
    out: Path,
    *,
    name: str,
    uses: int = 1,
    keep: float = 0.5,
    on_rows: Notify = lambda count: None,
) -> int:
    """Give the pictures of some data the texts of other data that are most similar to them, and write both.

    Texts and pictures are those of the rows to train on; no held-out query is read. See `pseudo_pairs`.

    Args:
        model: embeds pictures and texts.
        source: data with pictures, as ``--data`` takes it.
        queries: data with texts.
        out: the folder, which ``--data`` takes then.
        name: of the model, for the folder.
        uses: most queries of a picture.
        keep: the share of the pairs that stays, the most similar ones.
        on_rows: is told how many more pictures are embedded.

    Returns:
        The number of pairs.

    Raises:
        ValueError: for data without pictures or texts, and a folder with captions that were made otherwise.
    """
    manifest = CaptionsManifest(
        source=rooted(source),
        model=name,
        judge=name,
        queries=rooted(queries),
        options={"uses": uses, "keep": keep},
    )
    pool, asked = load_any(source), load_any(queries)
    rows = _with_pictures(pool)
    if TEXT not in asked.columns:
        raise ValueError(f"{queries} has no column {TEXT}: queries are texts")
    told = asked.splits.train[asked.present(TEXT, asked.splits.train)]
    texts = list(dict.fromkeys(text for text in asked.read(TEXT, told) if text.strip()))
    if not texts:
        raise ValueError(f"{queries} has no texts to train on, of which queries are taken")
    with leased(out):
        begin_captions(out, manifest)
        of_texts = torch.cat(
            [model.embed(TEXT, texts[at : at + _AT_ONCE]) for at in range(0, len(texts), _AT_ONCE)]
        )
        of_pictures = torch.cat([model.embed("image", raw) for _, raw in _pictures(pool, rows, on_rows)])
        chosen, pictures, cosines = pseudo_pairs(of_texts, of_pictures, uses)
        stay = max(1, round(keep * len(chosen)))
        ids = pool.ids[rows[pictures[:stay]]].tolist()
        write_captions(out, manifest, ids, [texts[i] for i in chosen[:stay]], cosines[:stay].tolist())
    return stay


def caption_pictures(
    model: Captioner,
    source: str,
    out: Path,
    *,
    name: str,
    judge: Embedder,
    judged_by: str,
    keep: float = 0.5,
    top_p: float = 0.9,
    temperature: float = 1.0,
    seed: int = 0,
    on_rows: Notify = lambda count: None,
) -> int:
    """Let a captioner write a caption of each picture of some data, and write those that fit the pictures best.

    Captions are sampled, so that they differ. They are written down as they come, so that the same call goes on where
    it was stopped.

    Args:
        model: writes the captions.
        source: data with pictures, as ``--data`` takes it.
        out: the folder, which ``--data`` takes then.
        name: of the model, for the folder.
        judge: embeds pictures and texts; the captions whose cosine is lowest are left out.
        judged_by: the name of the judge.
        keep: the share of the captions that stays.
        top_p: of the sampling: from the likeliest tokens that together have this probability.
        temperature: of the sampling.
        seed: of the sampling.
        on_rows: is told how many more captions are written.

    Returns:
        The number of captions.

    Raises:
        ValueError: for data without pictures, a captioner that writes nothing, and a folder with captions that were
            made otherwise.
    """
    manifest = CaptionsManifest(
        source=rooted(source),
        model=name,
        judge=judged_by,
        options={"keep": keep, "top_p": top_p, "temperature": temperature, "seed": seed},
    )
    pool = load_any(source)
    rows = _with_pictures(pool)
    with leased(out):
        begin_captions(out, manifest)
        path = out / WRITTEN
        texts: list[str] = read_json(path, list, f"delete {out}") if path.exists() else []
        cosines: list[Tensor] = []
        for start, raw in _pictures(pool, rows, on_rows):
            if start >= len(texts):
                texts += model.caption(
                    raw, sample=True, top_p=top_p, temperature=temperature, seed=seed + start
                )
                write_json(path, texts)
            written = texts[start : start + len(raw)]
            cosines.append((judge.embed("image", raw) * judge.embed(TEXT, written)).sum(1))
        scores = torch.cat(cosines).double().cpu().numpy()
        order = [i for i in np.argsort(-scores, kind="stable").tolist() if texts[i].strip()]
        if not order:
            raise ValueError(f"{name} wrote nothing about any picture: train it for longer")
        stay = np.sort(order[: max(1, round(keep * len(order)))])
        write_captions(
            out, manifest, pool.ids[rows[stay]].tolist(), [texts[i] for i in stay], scores[stay].tolist()
        )
    return len(stay)


def _with_pictures(pool: Data) -> Rows:
    """Return the rows to train on that have a picture."""
    if "image" not in pool.columns or not len(pool.splits.train):
        raise ValueError(f"{pool.name} has no pictures to train on, and captions are of pictures")
    rows = pool.splits.train
    return rows[pool.present("image", rows)]


def _pictures(pool: Data, rows: Rows, on_rows: Notify) -> Iterator[tuple[int, Tensor]]:
    """Yield the pictures of so many rows at once as fit into memory, with the position of the first."""
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        yield start, pool.read("image", part)
        on_rows(len(part))
