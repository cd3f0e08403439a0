"""Sections about places in pictures: what heads look at, objects and their parts, the same points of two pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from matplotlib.figure import Figure
from torch import Tensor

from ...data.base import Rows
from ...data.items import Correspondences, Regions
from ...methods.tower_method import TowerMethod
from .. import plots
from ..internals import attention as heads
from ..internals import parts
from .subject import DiagnosticSection, Subject, spaced

SHOWN, SHOWN_BLOCKS = 4, 6
"""Pictures whose attention is drawn, and blocks of it at most."""
MASS = 0.6
"""The share of the attention that a saliency mask holds."""
ITEMS = 256
"""Objects, and pairs of things, that are looked at, at most."""
POINTS_WITHIN = (0.1, 0.05, 0.01)
"""Thresholds of PCK, in sides of the picture."""


def what_heads_look_at(subject: Subject) -> DiagnosticSection:
    """Return the attention of some pictures, block by block, and how much it depends on head and query."""
    pictures = subject.pictures(subject.inside)
    by_block: dict[str, list[list[float]]] = {"heads": [], "queries": [], "class": []}
    for look in subject.captures(subject.model, pictures):
        patches = [heads.spatial(a, look.prefix) for a in look.attended()]
        by_block["heads"].append([heads.head_deviation(p) * p.shape[-1] for p in patches])
        by_block["queries"].append([float(heads.position_deviation(p).mean()) * p.shape[-1] for p in patches])
        by_block["class"].append([float(heads.class_share(a, look.prefix).mean()) for a in look.attended()])
    means = {name: np.mean(values, axis=0) for name, values in by_block.items()}
    numbers = {
        f"block {b}, {what}": float(value)
        for name, what in (
            ("heads", "differences between heads"),
            ("queries", "differences between queries"),
            ("class", "share on the class token"),
        )
        for b, value in enumerate(means[name])
    }
    first, last = means["queries"][0], means["queries"][-1]
    sentence = (
        f"How much a head's map depends on where it is asked from goes from {first:.2f} in the first block to "
        f"{last:.2f} in the last (standard deviation over queries, in units of even attention; near 0: it looks at "
        f"the same places from everywhere). The pictures show what is looked at, averaged over heads."
    )
    return DiagnosticSection(
        "looks", "What heads look at", sentence, numbers, _attention_pictures(subject, pictures)
    )


def _attention_pictures(subject: Subject, pictures: Tensor) -> Figure:
    shown = pictures[spaced(np.arange(len(pictures)), SHOWN)]
    (look,) = subject.captures(subject.model, shown)
    blocks = np.unique(np.linspace(0, len(look.attended()) - 1, SHOWN_BLOCKS).astype(int))
    maps = {
        b: heads.looked_at(look.attended()[b], look.prefix).mean(1).reshape(-1, *look.patches).cpu().numpy()
        for b in blocks
    }
    rows = [
        [picture.permute(1, 2, 0).numpy(), *(maps[b][k] for b in blocks)] for k, picture in enumerate(shown)
    ]
    return plots.gallery(rows, ["picture", *(f"block {b}" for b in blocks)])


def saliency(subject: Subject) -> DiagnosticSection:
    """Report how well the patches that heads look at cover what a phrase names, for the best head of each block."""
    regions = subject.items(Regions)
    chosen = spaced(np.arange(len(regions)), ITEMS)
    pictures, masks = regions.pictures(chosen), regions.masks(chosen)
    curves: dict[str, plots.Curve] = {}
    covered: Mapping[str, Float[np.ndarray, "blocks heads"]] = {
        name: _overlaps(subject, model, pictures, masks)
        for name, model in (("trained", subject.model), ("at the start", subject.start))
    }
    numbers: dict[str, float] = {}
    for name, overlaps in covered.items():
        best = overlaps.max(1)
        curves[name] = range(len(best)), best
        numbers |= {f"block {b}, best head, {name}": float(value) for b, value in enumerate(best)}
    best, block = curves["trained"][1], int(np.argmax(curves["trained"][1]))
    sentence = (
        f"The patches that hold {MASS:.0%} of a head's attention and those that a phrase names overlap by "
        f"{best[block]:.2f} at best (head {int(covered['trained'][block].argmax())} of block {block}; intersection "
        f"over union, mean over phrases that fill a patch), and by {covered['at the start'].max():.2f} before training."
    )
    figure = plots.lines(
        curves, x="block", y="overlap of the best head", ticks=[str(b) for b in range(len(best))]
    )
    return DiagnosticSection("saliency", "Attention and objects", sentence, numbers, figure)


def _overlaps(
    subject: Subject,
    model: TowerMethod,
    pictures: Tensor,
    masks: Bool[Tensor, "n H W"],
) -> Float[np.ndarray, "blocks heads"]:
    overlaps: list[list[Tensor]] = []
    start = 0
    for look in subject.captures(model, pictures):
        part = masks[start : start + len(look.output)].to(look.output.device)
        start += len(part)
        named = parts.cells(part, look.patches)[:, None]
        each = [
            heads.overlap(heads.salient(heads.looked_at(a, look.prefix), MASS), named)
            for a in look.attended()
        ]
        # What is too small for any patch has no overlap to speak of.
        overlaps.append([torch.where(named.any(-1), overlap, torch.nan) for overlap in each])
    return np.stack([torch.cat(block).nanmean(0).cpu().numpy() for block in zip(*overlaps, strict=True)])


def objects(subject: Subject) -> DiagnosticSection:
    """Report how well k-means finds what things are, by block: of whole pictures, of objects, of their halves."""
    regions = subject.items(Regions)
    chosen = _repeated(regions.phrases)
    pictures, masks = regions.pictures(chosen), regions.masks(chosen)
    names = np.unique([regions.phrases[k] for k in chosen], return_inverse=True)[1]
    upper, lower = parts.halves(masks)
    whole = torch.ones_like(masks)
    labelled = {
        "whole pictures": (whole, names),
        "objects": (masks, names),
        "upper and lower halves": (torch.cat([upper, lower]), np.concatenate([2 * names, 2 * names + 1])),
    }
    numbers: dict[str, float] = {}
    curves: dict[str, plots.Curve] = {}
    for name, (where, classes) in labelled.items():
        layers = _masked(subject, pictures, where)
        clusters = [_clustered(z, classes) for z in layers]
        curves[name] = range(len(clusters)), [c.ari for c in clusters]
        for b, c in enumerate(clusters):
            numbers |= {
                f"{name}, block {b}, ARI": c.ari,
                f"{name}, block {b}, NMI": c.nmi,
                f"{name}, block {b}, purity": c.purity,
            }
    best = {name: int(np.argmax(up)) for name, (_, up) in curves.items()}
    sentence = (
        f"Groups that k-means finds among the features of {len(chosen)} objects of {names.max() + 1} kinds agree with "
        f"what they are by {curves['objects'][1][best['objects']]:.2f} at best, in block {best['objects']} (adjusted "
        f"Rand index, 0 by chance); of whole pictures by {curves['whole pictures'][1][best['whole pictures']]:.2f}, "
        f"of the objects' halves by {curves['upper and lower halves'][1][best['upper and lower halves']]:.2f}."
    )
    figure = plots.lines(
        curves, x="block", y="adjusted Rand index", ticks=[str(b) for b in curves["objects"][0]]
    )
    return DiagnosticSection("objects", "Objects and their parts", sentence, numbers, figure)


def _masked(
    subject: Subject, pictures: Tensor, masks: Bool[Tensor, "m H W"]
) -> list[Float[np.ndarray, "m C"]]:
    """Return the features of each block under the masks: one of each picture, then perhaps another one of each."""
    maps = _block_maps(subject, subject.model, pictures)
    again = len(masks) // len(pictures)
    return [
        parts.object_features(m.repeat(again, 1, 1, 1), masks.to(m.device)).float().cpu().numpy()
        for m in maps
    ]


def _block_maps(subject: Subject, model: TowerMethod, pictures: Tensor) -> list[Float[Tensor, "n C h w"]]:
    """Return the map of every picture after each block."""
    by_batch = [look.block_maps().values() for look in subject.captures(model, pictures)]
    return [torch.cat(block) for block in zip(*by_batch, strict=True)]


def _clustered(z: Float[np.ndarray, "m C"], classes: np.ndarray) -> parts.Clustering:
    there = ~np.isnan(z).any(1)
    return parts.clustering(z[there], classes[there])


def _repeated(phrases: Sequence[str]) -> Rows:
    """Return positions of some phrases that occur twice or more, evenly spaced."""
    _, of, counts = np.unique(phrases, return_inverse=True, return_counts=True)
    often = np.flatnonzero(counts[of] > 1)
    if len(np.unique(of[often])) < 2:
        raise ValueError(
            f"of {len(counts)} phrases about {len(of)} regions fewer than two occur more than once"
        )
    return spaced(often, ITEMS)


def points(subject: Subject) -> DiagnosticSection:
    """Return PCK by block: points of a thing, looked for in another picture of it by the most similar patch."""
    items = subject.items(Correspondences)
    chosen = spaced(np.arange(len(items)), ITEMS)
    pictures, pairs = items.pictures(chosen), [torch.from_numpy(items.points[k]).float() for k in chosen]
    true = torch.cat([pair[:, 1] for pair in pairs])
    numbers: dict[str, float] = {}
    curves: dict[str, plots.Curve] = {}
    least = POINTS_WITHIN[0]
    for name, model in (("trained", subject.model), ("at the start", subject.start)):
        sides = [_block_maps(subject, model, pictures[:, side]) for side in (0, 1)]
        within, limits = [], []
        for b, (source, target) in enumerate(zip(*sides, strict=True)):
            transferred = [parts.transfer(source[k], pair[:, 0], target[k]) for k, pair in enumerate(pairs)]
            share = parts.pck(torch.cat(transferred).cpu(), true, POINTS_WITHIN)
            numbers |= {f"block {b}, within {alpha:g}, {name}": value for alpha, value in share.items()}
            within.append(share[least])
            grid = (target.shape[2], target.shape[3])
            limits.append(parts.pck(parts.middle_of_cell(true, grid), true, (least,))[least])
        curves[name] = range(len(within)), within
    curves["the right patch"] = range(len(limits)), limits
    trained = curves["trained"][1]
    block = int(np.argmax(trained))
    numbers["the right patch, within 0.1"] = limits[block]
    sentence = (
        f"{trained[block]:.0%} of {len(true)} points of things are found within a tenth of the picture's side in "
        f"another picture of the thing, by the most similar patch of block {block}; the right patches would give "
        f"{limits[block]:.0%}, and before training it is {max(curves['at the start'][1]):.0%} at best."
    )
    figure = plots.lines(
        curves, x="block", y="points within 0.1", ticks=[str(b) for b in range(len(trained))]
    )
    return DiagnosticSection("points", "The same points in two pictures", sentence, numbers, figure)
