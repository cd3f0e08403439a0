"""Tar shards of JPEGs to training steps, beside open_clip's own loader and loop, and beside plain webdataset.

    pip install "webdataset<=0.2.86" ftfy braceexpand  # open_clip's training code asks for it
    python benchmarks/shards.py [--rounds N] [--pairs N] [--batch N] [--workers N]

Shards of 256-pixel JPEGs with captions are made in a temporary folder. Ours indexes them and trains ``clip`` on the
towers of a small open_clip model; open_clip's ``get_wds_dataset`` and ``train_one_epoch`` train the same towers, and so
does a loop written by hand on a webdataset pipeline: with the same loss, batch and number of workers, by turns in one
process. Then batches alone, at 48 and at 224 pixels, against a webdataset pipeline with Pillow and torchvision. Printed
are the median of the paired ratios of pairs a second, with the middle half of them; above 1 ours is quicker. What comes
before the first quarter of the steps does not count: the start of workers, and buffers that fill.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import open_clip
import torch
import webdataset
from _timing import spread
from open_clip_train.data import get_wds_dataset
from open_clip_train.train import train_one_epoch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import nn
from torchvision.transforms import v2

import counterpoint as cp
from counterpoint.data.source import load
from counterpoint.recipes import Recipe, override
from counterpoint.training.loop import fit
from counterpoint.training.run import Run
from counterpoint.training.start import prepare

SHARDS, SIDE, SIZE = 8, 256, 64
MODEL = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": SIZE, "layers": 2, "width": 128, "head_width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 2},
}
ARM = "clip,image=open_clip:small-for-benchmarks,text=open_clip:small-for-benchmarks"
NAME = "small-for-benchmarks"


def make_shards(folder: Path, pairs: int) -> str:
    """Write shards of crops of photographs; return their pattern."""
    rng, photographs = np.random.default_rng(0), [Image.fromarray(p) for p in load_sample_images().images]
    each = pairs // SHARDS
    for number in range(SHARDS):
        with tarfile.open(folder / f"{number:05}.tar", "w") as shard:
            for item in range(number * each, (number + 1) * each):
                whole = photographs[item % 2]
                x, y = rng.integers(0, whole.width - 300), rng.integers(0, whole.height - 300)
                file = io.BytesIO()
                whole.crop((x, y, x + 300, y + 300)).resize((SIDE, SIDE)).save(file, "JPEG", quality=90)
                files = {
                    "jpg": file.getvalue(),
                    "txt": f"a crop of photograph {item % 2} at {x}, {y}".encode(),
                }
                for suffix, content in files.items():
                    member = tarfile.TarInfo(f"{item:08}.{suffix}")
                    member.size = len(content)
                    shard.addfile(member, io.BytesIO(content))
    return str(folder / f"{{00000..{SHARDS - 1:05}}}.tar")


class Pace:
    """The times at which steps began."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, *_: object) -> None:
        self.times.append(time.perf_counter())

    def rate(self, batch: int) -> float:
        """Return examples a second, from the first quarter of the steps on."""
        first = len(self.times) // 4
        return (len(self.times) - 1 - first) * batch / (self.times[-1] - self.times[first])


def recipe_of(options: argparse.Namespace, size: int = SIZE) -> Recipe:
    steps = options.pairs // options.batch
    return override(
        Recipe(),
        {
            "steps": steps,
            "batch_size": options.batch,
            "workers": options.workers,
            "towers.image_size": size,
            "validate_every": 10**6,
            "checkpoint_every": 10**6,
        },
    )


def ours(index: Path, options: argparse.Namespace) -> float:
    recipe, pace = recipe_of(options), Pace()
    method, loader = prepare(Run(ARM, str(index), recipe), load(str(index)))
    fit(method, loader, recipe, on_step=pace, accelerator="cpu")
    return pace.rate(options.batch)


def theirs(pattern: str, options: argparse.Namespace) -> float:
    """Train by open_clip's own code."""
    model, preprocess, _ = open_clip.create_model_and_transforms(NAME)
    model.output_dict = True
    args = SimpleNamespace(
        train_data=pattern,
        train_num_samples=options.pairs,
        val_num_samples=None,
        train_data_upsampling_factors=None,
        dataset_resampled=False,
        batch_size=options.batch,
        workers=options.workers,
        world_size=1,
        rank=0,
        local_rank=0,
        log_local=False,
        seed=0,
        device="cpu",
        precision="fp32",
        distill=False,
        accum_freq=1,
        skip_scheduler=False,
        horovod=False,
        grad_clip_norm=1.0,
        log_every_n_steps=10**6,
        wandb=False,
    )
    data, pace = get_wds_dataset(args, preprocess, True, tokenizer=open_clip.get_tokenizer(NAME)), Pace()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    train_one_epoch(model, {"train": data}, open_clip.ClipLoss(), 0, optimizer, None, pace, None, args)
    pace()
    return pace.rate(options.batch)


def pipeline(pattern: str, options: argparse.Namespace, size: int) -> Any:
    """Make the batches of a webdataset pipeline as its documentation has it."""
    look = v2.Compose(
        [
            v2.RandomResizedCrop(size, (0.9, 1.0), interpolation=v2.InterpolationMode.BICUBIC),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    tokens = open_clip.get_tokenizer(NAME)
    data = (
        webdataset.WebDataset(pattern, shardshuffle=SHARDS)
        .shuffle(1000)
        .decode("pilrgb")
        .to_tuple("jpg", "txt")
        .map_tuple(look, lambda text: tokens(text)[0])
        .batched(options.batch, partial=False)
    )
    return webdataset.WebLoader(data, batch_size=None, num_workers=options.workers)


def by_hand(pattern: str, options: argparse.Namespace) -> float:
    model = open_clip.create_model(NAME)
    loss, pace = open_clip.ClipLoss(), Pace()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN)[:, None, None]
    std = torch.tensor(open_clip.OPENAI_DATASET_STD)[:, None, None]
    model.train()
    for images, texts in pipeline(pattern, options, SIZE):
        z_images, z_texts, scale = model((images - mean) / std, texts)
        optimizer.zero_grad()
        loss(z_images, z_texts, scale).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        pace()
    return pace.rate(options.batch)


def paced(batches: Iterator[Any], options: argparse.Namespace) -> float:
    pace = Pace()
    for _ in batches:
        pace()
    return pace.rate(options.batch)


def our_batches(index: Path, options: argparse.Namespace, size: int) -> float:
    recipe = recipe_of(options, size)
    arm = f"clip,text=open_clip:{NAME}"
    _, loader = prepare(Run(arm, str(index), recipe), load(str(index), size))
    return paced(loader.batches(0, recipe.total_steps), options)


def compared(name: str, mine: Callable[[], float], other: Callable[[], float], rounds: int) -> None:
    """Run the two by turns, and print what the ratios are."""
    pairs = []
    for turn in range(rounds):
        first, second = (mine, other) if turn % 2 else (other, mine)
        rates = {first: first(), second: second()}
        pairs.append((rates[mine], rates[other]))
    here, there = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(f"{name:44s} {spread([a / b for a, b in pairs])}   {here:6.0f} / {there:6.0f} pairs/s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / f"{NAME}.json").write_text(json.dumps(MODEL))
        open_clip.add_model_config(folder / f"{NAME}.json")
        (folder / "shards").mkdir()
        pattern = make_shards(folder / "shards", options.pairs * 9 // 8)  # an eighth may be held out
        cp.data.index(folder / "shards", folder / "index", held_out=options.pairs // 16)
        index = folder / "index"
        compared(
            "training / open_clip's loader and loop",
            lambda: ours(index, options),
            lambda: theirs(pattern, options),
            options.rounds,
        )
        compared(
            "training / webdataset and a loop by hand",
            lambda: ours(index, options),
            lambda: by_hand(pattern, options),
            options.rounds,
        )
        for size in (48, 224):

            def other(size: int = size) -> float:
                return paced(iter(pipeline(pattern, options, size)), options)

            compared(
                f"batches of {size} pixels / webdataset's",
                lambda size=size: our_batches(index, options, size),  # type: ignore[misc]
                other,
                options.rounds,
            )


if __name__ == "__main__":
    main()
