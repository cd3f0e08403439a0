"""SparseFormer: a tower of sixteen tokens comes near to a ViT sooner with the ViT's own later blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from counterpoint.methods import TowerMethod
from counterpoint.training.start import load

from .lab import Lab, Result, TrainingComparison, above, below, decides, effects, exact, secondary

CLAIM = (
    "After as many steps of distillation a sparse tower that inherits the later blocks of its teacher is nearer to the "
    "teacher's embeddings of test pictures, in cosine, than the same tower with blocks drawn at random."
)
REFUTED = "random blocks come as near"

DRAWN, INHERITED, LARGE = "blocks at random", "blocks of the teacher", "sixteen large patches"
TAUGHT, STEPS = 1000, 300
SETTINGS = {"batch_size": 32, "towers.image_layers": 6}
NEAR = "teaching distance_summary"
TEACHERS = TrainingComparison(
    {"CLIP": "clip,image=vit"},
    {"retrieval": ("i2t_R@1",)},
    data="scenes:basic,train=4000,validation=100,test=1000",
    recipe="cpu-dense",
    changes={"steps": TAUGHT, "validate_every": TAUGHT, **SETTINGS},
)


def taught(teacher: Path) -> dict[str, str]:
    """Return the arms, taught by the run of the same seed."""
    sparse = f'distil,image=sparse,teacher="{teacher}"'
    return {DRAWN: sparse, INHERITED: f"{sparse},inherit=true"}


COMPARISON = replace(
    TEACHERS,
    arms=taught(Path("runs/teachers/seed-{seed}")),
    tasks={"teaching": ("distance_summary",)},
    changes={"steps": STEPS, "validate_every": STEPS, **SETTINGS},
)


def operations(model: TowerMethod) -> int:
    """Return the floating-point operations of one picture."""
    tower = model.image_tower.requires_grad_(False)  # the counter fails on torch.no_grad
    with FlopCounterMode(display=False) as counter:
        tower(torch.zeros(1, 3, tower.size, tower.size))
    return int(counter.get_total_flops())


def run(lab: Lab) -> Iterator[Result]:
    teachers = lab.study(TEACHERS, "teachers")
    folder = teachers.each("CLIP")
    study = lab.study(replace(COMPARISON, arms=taught(folder)), "sparse")
    large = replace(
        COMPARISON,
        arms={LARGE: f'distil,image=vit,teacher="{folder}"'},
        changes={**COMPARISON.changes, "towers.image_patch": 16},
    )
    patches = lab.study(large, "large patches")
    distance, of_patches = study.scores(NEAR), patches.scores(NEAR)
    yield from decides(
        above(
            (distance[DRAWN] - distance[INHERITED]) / distance[DRAWN],
            name="share of the distance to the teacher that the teacher's blocks remove",
            metric="1 − cosine on test pictures, relative",
            **effects.convention(
                "count", reason="a share of the baseline's distance, as no cosine is reported"
            ),
        )
    )
    seed = lab.seeds(COMPARISON.seeds)[0]
    counts = [
        operations(load(path)) for path in (study.folder(INHERITED, seed), teachers.folder("CLIP", seed))
    ]
    yield from secondary(
        below(
            exact(counts[0] / counts[1], "ratio of operations"),
            1.0,
            name="operations, sparse tower / its teacher",
        ),
    )
    lab.note(
        f"The registered method on {TEACHERS.data} under the recipe cpu-dense with a vit of six",
        f"blocks, {STEPS} steps of 32 pictures. Teachers are CLIP runs of {TAUGHT} steps, one a seed. 1 − cosine",
        f"to the teacher on test pictures: {distance.means()}; a vit of 4 × 4 patches of 16 pixels, drawn at random:",
        f"{of_patches.means()}. A picture takes {counts[0]:,} floating-point operations in the sparse tower and",
        f"{counts[1]:,} in the teacher.",
    )
