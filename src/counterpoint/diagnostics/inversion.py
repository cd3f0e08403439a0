"""Modality inversion: what the other encoder would have to read to say what this one says.

Contrastive losses of two modalities compare across them alone; similarities within one are by-products. Inversion
takes a sample to the other side, by tokens optimised for the frozen encoder there, so that a task within a
modality becomes one across.

Source: Mistretta et al., "Cross the Gap: Exposing the Intra-modal Misalignment in CLIP via Modality Inversion"
(2025), arXiv 2502.04263.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from ..methods.tower_method import TowerMethod
from ..networks.base import ImageTower, TextTower
from ..networks.towers.parts.pooling import inside

PAPERS = {"cross-the-gap": ("average_precision", "to_image", "to_text")}

LR, WEIGHT_DECAY, SPREAD = 0.02, 0.01, 0.02
BATCH = 64
TEMPLATE = "a photo of"


@dataclass(frozen=True)
class InversionSamples:
    """Samples on the other side.

    Attributes:
        features: the other encoder's unit-norm embeddings of what was found.
        cosine: of each with its target. Near 1 the feature has come back over the gap, and the advantage is
            gone: use fewer steps or tokens.
    """

    features: Float[Tensor, "n d"]
    cosine: Float[Tensor, " n"]


def to_text(
    model: TowerMethod,
    images: UInt8[Tensor, "n 3 H W"],
    *,
    template: str = TEMPLATE,
    tokens: int = 1,
    steps: int = 150,
    seed: int = 0,
) -> InversionSamples:
    """Find the pseudo-words after "a photo of" that make the text encoder say what the image encoder says (OTI).

        u* = argmin_u  1 − cos( f_T(template with u), f_I(picture) )

    Each picture by itself has vectors u of its own, put in place of token embeddings; AdamW at 0.02 with weight decay
    0.01, from N(0, 0.02²), the same start for all. No weight moves, and no label is seen.

    Args:
        model: two towers and their heads.
        images: the pictures.
        template: what stands before the pseudo-words.
        tokens: R, how many vectors.
        steps: of AdamW.
        seed: of the start.

    Raises:
        ValueError: if the template leaves no room for the tokens, or the text tower's token embeddings are not
            found.
    """
    tower = model.text_tower
    table = _token_table(tower)
    device = next(tower.parameters()).device
    ids, places = _prompt(tower, template, tokens)
    ids = ids.to(device)

    def run(u: Tensor) -> Tensor:
        def replace(module: nn.Module, args: Any, embedded: Tensor) -> Tensor:
            changed = embedded.clone()
            changed[:, places] = u.to(embedded)
            return changed

        with _hooked(table, replace):
            return _project(model, "text", tower(ids.expand(len(u), -1)))

    targets = model.embed(_column(model, "image"), images)
    return _invert(model, run, targets, (tokens, table.embedding_dim), steps, seed)


def to_image(
    model: TowerMethod, captions: Sequence[str], *, tokens: int = 1, steps: int = 1000, seed: int = 0
) -> InversionSamples:
    """Find visual pseudo-tokens for patches that make the image encoder say what the text says (OVI).

    As `to_text`; each of the R tokens stands for a contiguous share of the patches.

    Raises:
        ValueError: if the image tower has no embedding of patches, or fewer patches than tokens.
    """
    tower = model.image_tower
    patches = _patch_embedding(tower)
    parameter = next(tower.parameters())
    blank = torch.zeros(1, 3, tower.size, tower.size).to(parameter)
    shape: list[torch.Size] = []

    def record_shape(module: nn.Module, args: Any, embedded: Tensor) -> None:
        shape.append(embedded.shape)

    with _hooked(patches, record_shape), torch.no_grad():
        tower(blank)
    count, width, as_map = _layout(shape[0])
    if not 1 <= tokens <= count:
        raise ValueError(f"tokens={tokens}: a picture has {count} patches")
    whose = torch.arange(count, device=parameter.device) * tokens // count

    def run(u: Tensor) -> Tensor:
        def replace(module: nn.Module, args: Any, embedded: Tensor) -> Tensor:
            spread = u[:, whose].to(embedded)
            return (spread.mT if as_map else spread).reshape(len(u), *shape[0][1:])

        with _hooked(patches, replace):
            return _project(model, "image", tower(blank.expand(len(u), -1, -1, -1)))

    targets = model.embed(_column(model, "text"), list(captions))
    return _invert(model, run, targets, (tokens, width), steps, seed)


def average_precision(
    queries: Float[Tensor, "n d"],
    gallery: Float[Tensor, "m d"],
    relevant: Callable[[slice], Bool[Tensor, "p m"]],
    positions: Int[Tensor, " n"] | None = None,
) -> Float[Tensor, " n"]:
    """Return the average precision of each query over the whole ranking of the gallery by cosine.

    A panel of queries at a time; NaN for a query with nothing to find.

    Args:
        queries, gallery: unit-norm embeddings.
        relevant: which of the gallery answer some of the queries.
        positions: of the queries in the gallery, each of which is left out of its own ranking.

    >>> gallery = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    >>> right = torch.tensor([[True, False, True]])
    >>> average_precision(gallery[:1], gallery, lambda part: right[part], torch.tensor([0])).item()
    0.5
    """
    precisions = []
    for start in range(0, len(queries), BATCH):
        part = slice(start, start + BATCH)
        scores, right = queries[part] @ gallery.T, relevant(part).to(queries.device)
        if positions is not None:
            scores = scores.scatter(1, positions[part, None], -torch.inf)
            right = right.scatter(1, positions[part, None], False)
        hits = right.gather(1, scores.argsort(dim=1, descending=True, stable=True)).double()
        precision = hits.cumsum(1) / torch.arange(1, hits.shape[1] + 1, device=hits.device)
        precisions.append((precision * hits).sum(1) / hits.sum(1))
    return torch.cat(precisions) if precisions else torch.zeros(0, dtype=torch.float64)


def _invert(
    model: TowerMethod,
    run: Callable[[Tensor], Tensor],
    targets: Float[Tensor, "n d"],
    shape: tuple[int, int],
    steps: int,
    seed: int,
) -> InversionSamples:
    start = SPREAD * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    features, cosines = [], []
    was_training = model.training
    model.eval()
    try:
        for part in torch.split(targets, BATCH):
            u = start.to(targets).expand(len(part), *shape).clone().requires_grad_()
            optimizer = torch.optim.AdamW([u], LR, weight_decay=WEIGHT_DECAY)
            for _ in range(steps):
                # A sum, not a mean: a sample's gradient must not depend on how many others are in the batch.
                with torch.enable_grad():
                    loss = (1 - (run(u) * part).sum(1)).sum()
                (u.grad,) = torch.autograd.grad(loss, [u])
                optimizer.step()
            with torch.no_grad():
                features.append(run(u))
                cosines.append((features[-1] * part).sum(1))
    finally:
        model.train(was_training)
    return InversionSamples(torch.cat(features), torch.cat(cosines))


def _project(model: TowerMethod, modality: str, features: Tensor) -> Float[Tensor, "n d"]:
    return F.normalize(model.project(_column(model, modality), features, model.heads[0]), dim=-1)


def _column(model: TowerMethod, modality: str) -> str:
    """Return the first column of a modality that a model embeds."""
    return next(column for column in model.embeds if model.tower(column).modality == modality)


@contextmanager
def _hooked(module: nn.Module, hook: Callable[..., Any]) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _prompt(tower: TextTower, template: str, tokens: int) -> tuple[Int[Tensor, "1 L"], slice]:
    """Return the template's ids with room for the pseudo-words before its end, and where they are.

    The template's last word stands there in the meantime, and its embedding is then replaced.
    """
    if tokens < 1:
        raise ValueError(f"tokens={tokens}: there must be one at least")
    tokenizer = tower.tokenizer
    ids = tokenizer([template])
    length = int(inside(ids, tokenizer.end, begins_with_end=tower.begins_with_end).sum())
    end = length - 1
    if end < 1 or length + tokens > tokenizer.context:
        raise ValueError(
            f"template {template!r} has {length} tokens, which leaves no room for {tokens} more among the "
            f"{tokenizer.context} of this tower"
        )
    row = torch.cat([ids[0, :end], ids[0, end - 1].repeat(tokens), ids[0, end:]])
    return row[: max(ids.shape[1], length + tokens)][None], slice(end, end + tokens)


def _token_table(tower: TextTower) -> nn.Embedding:
    """Return the embedding of token ids: of the built-in and ``open_clip`` towers, and of ``transformers``."""
    inner: Any = getattr(tower, "model", tower)
    if hasattr(inner, "get_input_embeddings"):
        return inner.get_input_embeddings()
    for name, module in inner.named_modules():
        if name.split(".")[-1] == "token_embedding" and isinstance(module, nn.Embedding):
            return module
    raise ValueError(f"{type(tower).__name__} has no table of token embeddings to put pseudo-words into")


def _patch_embedding(tower: ImageTower) -> nn.Module:
    """Return the module that turns pixels into patch tokens: built in, ``timm``'s, ``open_clip``'s."""
    for module in tower.modules():
        for name in ("patch_embedding", "patch_embed"):
            if hasattr(module, name):
                return module.get_submodule(name)
        if hasattr(module, "class_embedding") and hasattr(module, "conv1"):
            return module.get_submodule("conv1")
    raise ValueError(
        f"{type(tower).__name__} has no embedding of patches to put pseudo-tokens into: inversion to pictures takes a "
        f"vision transformer"
    )


def _layout(shape: torch.Size) -> tuple[int, int, bool]:
    """Return the number of patches, their width, and whether they come as a map ``(B, W, h, w)`` and not as tokens."""
    if len(shape) == 3:
        return shape[1], shape[2], False
    return shape[2] * shape[3], shape[1], True
