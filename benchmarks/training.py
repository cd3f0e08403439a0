"""The cost of the loop over a hand-written one: the same towers, views, loss and optimiser, in alternation.

    python benchmarks/training.py [PAIRS] [STEPS] [THREADS] [DATA] [ARM]

DATA is ``emoji`` unless given; ``clips:basic``, ``sounds:basic`` and the like are learned by the towers of their
modalities. ARM is ``clip`` unless given, and says which columns where there are more than two. Prints the ratio of the
loop's time to the plain loop's, pair by pair: lowest, median, highest.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

from counterpoint.data.loading.loader import Loader
from counterpoint.data.source import load_any
from counterpoint.methods.tower_method import TowerMethod
from counterpoint.pairwise import Loss
from counterpoint.recipes import Recipe, override
from counterpoint.recipes import load as load_recipe
from counterpoint.training.loop import fit
from counterpoint.training.run import Run
from counterpoint.training.start import prepare
from counterpoint.training.step.optim import learning_rate
from counterpoint.types import StepInfo


def prepared(recipe: Recipe, data: str, arm: str) -> tuple[TowerMethod, Loader]:
    return prepare(Run(arm, data, recipe), load_any(data))


def ours(recipe: Recipe, data: str, arm: str) -> float:
    method, loader = prepared(recipe, data, arm)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        fit(method, loader, recipe, Path(folder))
        return time.perf_counter() - began


def plain(recipe: Recipe, data: str, arm: str) -> float:
    method, loader = prepared(recipe, data, arm)
    o = recipe.optimizer
    groups = [
        {"params": [p for p in method.parameters() if p.ndim >= 2], "weight_decay": o.weight_decay},
        {"params": [p for p in method.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=o.lr, betas=(o.beta1, o.beta2), eps=o.eps)
    method.train()
    began = time.perf_counter()
    for step in range(recipe.steps):
        batch = loader.batch(step)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, recipe.steps, o)
        losses = method.losses(method.encode(batch), batch, StepInfo(step, recipe.steps))
        optimizer.zero_grad()
        losses["clip"].backward()
        torch.nn.utils.clip_grad_norm_(method.parameters(), o.clip_norm)
        optimizer.step()
        with torch.no_grad():
            objective = method.get_submodule("objective")
            assert isinstance(objective, Loss)
            objective.commit()
    return time.perf_counter() - began


def main() -> None:
    *numbers, data, arm = [*sys.argv[1:], *("5", "30", "1", "emoji", "clip")[len(sys.argv) - 1 :]]
    pairs, steps, threads = map(int, numbers)
    torch.set_num_threads(threads)
    recipe = override(load_recipe("cpu"), {"steps": steps})
    ours(override(recipe, {"steps": 2}), data, arm)
    ratios, pace = [], []
    for pair in range(pairs):
        first, second = (ours, plain) if pair % 2 else (plain, ours)
        times = {first: first(recipe, data, arm), second: second(recipe, data, arm)}
        ratios.append(times[ours] / times[plain])
        pace.append(steps * recipe.batch_size / times[ours])
    print(
        f"{data}, {arm}, torch {torch.__version__}, {threads} thread(s), {pairs} pairs of {steps} steps, batch "
        f"{recipe.batch_size}"
    )
    print(
        f"time of the loop / plain loop: {min(ratios):.3f} … {statistics.median(ratios):.3f} … {max(ratios):.3f}"
    )
    print(f"pairs a second: {statistics.median(pace):.0f}")


if __name__ == "__main__":
    main()
