"""Patches: masked encoding, steps of dbot and pixpro, views of maps, features of regions, the segmentation probe.

    pip install lightly
    python benchmarks/patches.py [REPEATS] [PART ...]

PART is ``masked``, ``steps``, ``views``, ``regions`` or ``probe``; all unless given. Prints ratios of what takes turns
in one run, the median and the middle half, with the bound that each is meant to keep. The probe prints seconds.
"""

from __future__ import annotations

import copy
import statistics
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from _timing import peak_of, spread
from torch import Tensor, nn

from counterpoint import methods
from counterpoint.data.source import load_any
from counterpoint.data.views import image, key
from counterpoint.data.views.maps import maps
from counterpoint.evaluation import STATISTICS, evaluate
from counterpoint.evaluation.statistic import name_of
from counterpoint.methods.tower_method import TowerMethod
from counterpoint.networks import VisionTransformer, initialise
from counterpoint.networks.masking import random_patches
from counterpoint.networks.regions import pool_boxes
from counterpoint.networks.state.momentum import MomentumCopy
from counterpoint.networks.towers.maps import MapSquare
from counterpoint.networks.towers.parts.pixels import Square
from counterpoint.recipes import load as load_recipe
from counterpoint.recipes import override
from counterpoint.statistics.bootstrap import multi_bootstrap
from counterpoint.training.run import Run
from counterpoint.training.start import prepare
from counterpoint.types import Batch, StepInfo

BATCH, SIZE, PATCH, WIDTH, DEPTH = 32, 96, 8, 192, 4
"""Twelve by twelve patches."""
Step = Callable[[], object]


def seconds(call: Step) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def ratio(ours: Step, theirs: Step, repeats: int) -> str:
    """Time two calls in alternation; the ratio of each pair."""
    for call in (ours, theirs):  # warm up
        call()
    return spread([seconds(ours) / seconds(theirs) for _ in range(repeats)])


def show(what: str, measured: str, bound: str) -> None:
    print(f"{what:66s} {measured:22s} {bound}", flush=True)


def masked(repeats: int) -> None:
    """Forward and backward of a ViT without some of its patches, beside all of them."""
    tower = VisionTransformer(SIZE, PATCH, WIDTH, DEPTH)
    initialise(tower, 0)
    images, patches = torch.rand(BATCH, 3, SIZE, SIZE), (SIZE // PATCH) ** 2

    def step(visible: int) -> Step:
        index = random_patches(BATCH, (SIZE // PATCH, SIZE // PATCH), visible)
        return lambda: tower.encode_visible(images, index).patches.square().mean().backward()

    def whole() -> None:
        torch.autograd.backward(tower.patches(images).square().mean())

    for visible, bound in ((patches // 4, "at most 0.40"), (patches // 2, "at most 0.65")):
        name = f"{visible} of {patches} patches / all"
        show(f"{name}: time", ratio(step(visible), whole, repeats), bound)
    show(
        f"{patches // 4} of {patches} patches / all: memory",
        f"{peak_of(step(patches // 4)) / peak_of(whole):.2f}",
        "at most 0.45",
    )


def trained(arm: str, data: str, **changes: Any) -> tuple[TowerMethod, Batch, torch.optim.Optimizer]:
    """Return a method with a batch of its own and an optimiser."""
    sizes = {"towers.image_size": SIZE, "towers.image_width": WIDTH, "towers.image_layers": DEPTH}
    recipe = override(load_recipe("cpu-dense"), {**sizes, "batch_size": BATCH, **changes})
    method, loader = prepare(Run(arm, data, recipe), load_any(data))
    assert isinstance(method, TowerMethod)
    method.train()
    return method, loader.batch(0), torch.optim.AdamW([p for p in method.parameters() if p.requires_grad])


def step_of(method: TowerMethod, batch: Batch, optimizer: torch.optim.Optimizer) -> Step:
    """Return a training step as the loop takes it, without the loading of its batch."""
    clock = StepInfo(5, 10, stage="1" if method.stages else "")

    def step() -> None:
        with torch.no_grad():
            given = method.prepare(batch, clock)
            targets = method.targets(given)
        z = {**targets, **method.encode(given)}
        torch.autograd.backward(torch.stack([*method.losses(z, given, clock).values()]).sum())
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            method.after_step({name: value.detach() for name, value in z.items()}, given, clock)

    return step


def lightly_dbot(images: Tensor) -> Step:
    """A plain loop of masked distillation with lightly's encoder and decoder, as large as those of dbot."""
    modules, utils = import_module("lightly.models.modules"), import_module("lightly.models.utils")
    vit = import_module("timm.models.vision_transformer").VisionTransformer(
        SIZE, PATCH, embed_dim=WIDTH, depth=DEPTH, num_heads=4, num_classes=0
    )
    teacher = copy.deepcopy(vit).eval().requires_grad_(False)
    encoder: Any = modules.MaskedVisionTransformerTIMM(vit=vit)
    patches = vit.patch_embed.num_patches
    decoder: Any = modules.MAEDecoderTIMM(
        num_patches=patches,
        patch_size=PATCH,
        embed_dim=WIDTH,
        decoder_embed_dim=64,
        decoder_depth=1,
        decoder_num_heads=4,
    )
    head = nn.Linear(64, WIDTH)
    parts = nn.ModuleList([encoder, decoder, head])
    optimizer = torch.optim.AdamW([p for p in parts.parameters() if p.requires_grad])

    def step() -> None:
        with torch.no_grad():
            features = teacher.forward_features(images)
        keep, hidden = utils.random_token_mask((len(images), patches + 1), mask_ratio=0.75)
        embedded = decoder.embed(encoder.encode(images, idx_keep=keep))
        tokens = utils.repeat_token(decoder.mask_token, (len(images), patches + 1))
        decoded = decoder.decode(utils.set_at_index(tokens, keep, embedded.type_as(tokens)))
        target = F.layer_norm(utils.get_at_index(features, hidden), (WIDTH,))
        loss = F.smooth_l1_loss(head(utils.get_at_index(decoded, hidden)), target, beta=2.0)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()

    return step


def plain_pixpro(given: Any, batch: Batch) -> Step:
    """A plain loop of PixPro: the method's layers, with the loss of the paper on coordinates of patches."""
    tower, projector, predictor = copy.deepcopy((given.image_tower, given.projection, given.predictor))
    slow = copy.deepcopy((tower, projector))
    fast = [*tower.parameters(), *projector.parameters()]
    optimizer = torch.optim.AdamW([*fast, *predictor.parameters()])

    def projected(parts: tuple[nn.Module, nn.Module], images: Tensor) -> Tensor:
        maps = parts[0].patches(images).permute(0, 2, 3, 1)  # type: ignore[operator] # of an image tower
        return parts[1](maps.flatten(0, 2)).view(len(images), -1, given.projection[-1].out_features)

    def coordinates(frames: Tensor, side: int) -> tuple[Tensor, Tensor]:
        middles = (torch.arange(side) + 0.5) / side
        grid = torch.cartesian_prod(middles, middles).flip(1)
        points = grid @ frames[:, :, :2].mT + frames[:, None, :, 2]
        return points, frames[:, :, :2].diagonal(dim1=1, dim2=2).norm(dim=1) / side

    def loss(q: Tensor, k: Tensor, at_q: Tensor, at_k: Tensor) -> Tensor:
        side = round(q.shape[1] ** 0.5)
        (points_q, bin_q), (points_k, bin_k) = coordinates(at_q, side), coordinates(at_k, side)
        distance = (points_q[:, :, None] - points_k[:, None]).norm(dim=3) / torch.maximum(bin_q, bin_k)[
            :, None, None
        ]
        near = (distance < given.reach).float()
        return -2 * ((torch.bmm(q, k.mT) * near).sum((1, 2)) / (near.sum((1, 2)) + 1e-6)).mean()

    def step() -> None:
        views = [batch[name] for name in given.views]
        frames = [batch.frames[name] for name in given.views]
        with torch.no_grad():
            keys = [F.normalize(projected(slow, view), dim=-1) for view in views]
        queries = [F.normalize(predictor(projected((tower, projector), view)), dim=-1) for view in views]
        total = loss(queries[0], keys[1], *frames) + loss(queries[1], keys[0], *frames[::-1])
        torch.autograd.backward(total)
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            late = [p for part in slow for p in part.parameters()]
            for old, new in zip(late, fast, strict=True):
                old.mul_(0.99).add_(new, alpha=0.01)

    return step


def steps(repeats: int) -> None:
    """Steps of dbot and pixpro beside plain loops."""
    data = f"scenes:basic,pixels={SIZE},train={2 * BATCH},validation=4,test=4"
    method, batch, optimizer = trained("dbot,image=vit", data)
    step = step_of(method, batch, optimizer)
    show(
        "dbot / lightly's masked encoder and decoder",
        ratio(step, lightly_dbot(batch["image"]), repeats),
        "at most 1.05",
    )
    method, batch, optimizer = trained("pixpro", data, **{"towers.image_width": 64, "towers.image_layers": 2})
    assert isinstance(getattr(method, "momentum", None), MomentumCopy)
    step = step_of(method, batch, optimizer)
    show(
        "pixpro / plain loop with the published loss",
        ratio(step, plain_pixpro(method, batch), repeats),
        "at most 1.05",
    )


def views(repeats: int) -> None:
    """A view of a map beside its picture's, and both in the time of a loader."""
    name = f"scenes:basic,pixels={SIZE},train=256,validation=4,test=4,maps=classes"
    data, rows, size = load_any(name), np.arange(128), 64
    raw, pictures = data.read("classes", rows), data.read("image", rows)
    keys, square = key(0, 0, rows, "image"), Square(size)
    look, of_map, given = image("weak"), maps("weak"), MapSquare.fit([raw], size, None)

    def map_view() -> object:
        return of_map(raw, keys, given, part=keys, followed=(pictures, square))

    def frames() -> object:
        return look.frames(pictures, keys, square)

    show(
        "view of a map / its picture's",
        ratio(map_view, lambda: look(pictures, keys, square), repeats),
        "at most 0.15",
    )
    recipe = override(load_recipe("cpu-dense"), {"batch_size": len(rows), "towers.image_size": size})
    _, loader = prepare(Run("segment,columns=image+map", name, recipe), data)

    def both() -> None:
        map_view()
        frames()

    show("maps and frames / a loader's batch", ratio(both, lambda: loader.batch(0), repeats), "at most 0.10")


def regions(repeats: int) -> None:
    """Features of boxes beside torchvision's roi_align on the same map."""
    roi_align: Any = import_module("torchvision.ops").roi_align
    maps_, corner = torch.rand(64, WIDTH, 12, 12), torch.rand(64, 8, 2) / 2
    boxes = torch.cat([corner, corner + 0.1 + torch.rand(64, 8, 2) * 0.4], 2)
    listed = list(boxes * 12)
    show(
        "pooling of embed_regions / roi_align",
        ratio(
            lambda: pool_boxes(maps_, boxes),
            lambda: roi_align(maps_, listed, 1, sampling_ratio=0, aligned=True),
            repeats,
        ),
        "at most 1.10",
    )


def probe(repeats: int) -> None:
    """Seconds of the segmentation probe on 1,000 pictures, and of a bootstrap of its result."""
    data = load_any(f"scenes:basic,pixels={SIZE},train=500,validation=4,test=1000")
    tower = VisionTransformer(SIZE, PATCH, 64, 2)
    initialise(tower, 0)
    recipe = load_recipe("cpu-dense")
    model = methods.create("ntxent", {"image": tower}, recipe)
    initialise(model, 0)
    start = time.perf_counter()
    ((scores,),) = evaluate(model.eval(), data, ["segmentation_probe"]).by_test.values()
    show("segmentation_probe, 1,000 pictures of 96 px", f"{time.perf_counter() - start:.1f} s", "under 60 s")
    outcomes, statistic = scores.outcomes("miou"), STATISTICS[name_of(scores.metrics["miou"].statistic)]
    times = [seconds(lambda: multi_bootstrap(outcomes, score=statistic)) for _ in range(repeats)]
    show("its bootstrap", f"{statistics.median(times):.1f} s", "under 5 s")


PARTS = {"masked": masked, "steps": steps, "views": views, "regions": regions, "probe": probe}


def main(repeats: int, names: list[str]) -> None:
    torch.set_num_threads(2)
    torch.manual_seed(0)
    for name in names or PARTS:
        PARTS[name](repeats)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9, sys.argv[2:])
