"""Methods that speak: steps beside plain loops and transformers' Trainer, packing, likelihoods in tiles, experts.

    python benchmarks/speaking.py [REPEATS] [PART ...] [--small]

PART is ``step``, ``trainer``, ``kept``, ``packed``, ``words``, ``experts`` or ``embedder``; all unless given. Prints
ratios of what takes turns in one run, the median and the middle half, with the bound that each is meant to keep.
``--small`` takes an eighth of the tokens, a fourth of the words and an eighth of the batch, for a busy machine.
"""

from __future__ import annotations

import copy
import os
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from _timing import compare, peak_of, spread
from patches import Step, ratio, seconds, show
from torch import Tensor, nn

from counterpoint.data.source import load_any
from counterpoint.methods._speaking import SpeakingMethod
from counterpoint.methods.tower_method import TowerMethod
from counterpoint.networks.bridges.base import Seen
from counterpoint.networks.experts import MixtureOfExperts
from counterpoint.networks.token_likelihood import token_log_p
from counterpoint.networks.towers.chat import EXCHANGE, REPLY, TOKEN
from counterpoint.networks.towers.language import trimmed
from counterpoint.raw import Exchange
from counterpoint.recipes import load as load_recipe
from counterpoint.recipes import override
from counterpoint.training.run import Run
from counterpoint.training.speed.feature_cache import remember
from counterpoint.training.start import prepare
from counterpoint.training.step.caching import backward
from counterpoint.types import Batch, StepInfo

BATCH, PACKED = 32, 8
DATA = f"scenes:tiny,talk=captions,train={2 * BATCH},validation=4,test=4"
CLOCK = StepInfo(5, 10)
SMALL = "--small" in sys.argv


def prepared(arm: str, data: str = DATA, **changes: Any) -> tuple[Any, Any, Any]:
    """Return a method, its loader and its recipe."""
    recipe = override(load_recipe("speak"), {"batch_size": BATCH, **changes})
    method, loader = prepare(Run(arm, data, recipe), load_any(data))
    assert isinstance(method, TowerMethod)
    return method.train(), loader, recipe


def stepping(method: TowerMethod, batch: Callable[[], Batch]) -> Step:
    """Return a training step as the loop takes it."""
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad])

    def step() -> None:
        with torch.no_grad():
            given = method.prepare(batch(), CLOCK)
            targets = method.targets(given)
        z = {**targets, **method.encode(given)}
        torch.autograd.backward(torch.stack([*method.losses(z, given, CLOCK).values()]).sum())
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            method.after_step({name: value.detach() for name, value in z.items()}, given, CLOCK)

    return step


class Plain(nn.Module):
    """Copies of the parts of `sft` in one function, which gives the loss of a batch."""

    def __init__(self, method: SpeakingMethod) -> None:
        super().__init__()
        speaker = method.speaker
        self.tower, self.bridge = copy.deepcopy((speaker.image, speaker.bridge))
        self.language = copy.deepcopy(speaker.language.model)
        self.opening = speaker.language.chat.opening

    def forward(self, pictures: Tensor, tokens: Tensor, spoken: Tensor) -> dict[str, Tensor]:
        patches = self.tower.patches(pictures).flatten(2).mT
        seen = self.bridge(Seen((patches,), self.bridge.grid)).tokens
        embedded = self.language.get_input_embeddings()(tokens)
        whole = torch.cat([embedded[:, : self.opening], seen, embedded[:, self.opening :]], 1)
        states = self.language.base_model(inputs_embeds=whole, use_cache=False).last_hidden_state
        states = states[:, seen.shape[1] :]
        # The first token of a reply comes behind the picture.
        logits = self.language.get_output_embeddings()(states[:, :-1][spoken[:, 1:]])
        return {"loss": F.cross_entropy(logits, tokens[:, 1:][spoken[:, 1:]])}


def rows_of(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    talk = trimmed(batch["talk"])
    return batch["image"], talk[:, TOKEN], talk[:, REPLY] > 0


def step(repeats: int) -> None:
    """A step of sft beside a plain loop with the same parts."""
    method, loader, _ = prepared("sft")
    batch = loader.batch(0)
    plain = Plain(method)
    optimizer = torch.optim.AdamW(plain.parameters())

    def theirs() -> None:
        torch.autograd.backward(plain(*rows_of(batch))["loss"])
        optimizer.step()
        optimizer.zero_grad()

    ours = stepping(method, lambda: batch)
    show("sft / a plain loop with the same parts: time", ratio(ours, theirs, repeats), "at most 1.05")
    show("sft / a plain loop with the same parts: memory", f"{peak_of(ours) / peak_of(theirs):.2f}", "")


def trainer(repeats: int) -> None:
    """A step of sft beside one of transformers' Trainer, on the same rows."""
    import transformers

    method, loader, _ = prepared("sft")
    batch = loader.batch(0)
    ours, ratios = stepping(method, lambda: batch), list[float]()
    ours()
    rows = [
        dict(zip(("pictures", "tokens", "spoken"), row, strict=True))
        for row in zip(*rows_of(batch), strict=True)
    ]

    class Turns(transformers.TrainerCallback):
        """Times each step of the Trainer, and one of ours behind it."""

        def on_step_begin(self, args: Any, state: Any, control: Any, **options: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **options: Any) -> None:
            theirs = time.perf_counter() - self.began
            ratios.append(seconds(ours) / theirs)

    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            folder,
            per_device_train_batch_size=BATCH,
            max_steps=repeats + 1,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        transformers.Trainer(Plain(method), arguments, train_dataset=rows, callbacks=[Turns()]).train()
    show("sft / transformers.Trainer on the same parts: time", spread(ratios[1:]), "at most 1.0")


def kept(repeats: int) -> None:
    """Steps with kept features of a frozen tower beside those that compute them."""
    steps = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["COUNTERPOINT_CACHE"] = folder
        for keep in (True, False):
            method, loader, recipe = prepared("sft,tune_image=frozen")
            if keep:
                remember(method, recipe)
            batch = loader.batch(0)
            steps.append(stepping(method, lambda batch=batch: batch))
        show("sft, kept features / a frozen tower: time", ratio(steps[0], steps[1], repeats), "at most 0.8")


def packed(repeats: int) -> None:
    """Eight exchanges behind one picture beside eight rows."""
    method, loader, _ = prepared("sft", **{"towers.talk_exchanges": PACKED})
    plain, _, _ = prepared("sft")
    pictures, chat = loader.batch(0)["image"][: BATCH // PACKED], plain.language.chat
    rows = [
        tuple(Exchange(f"What is thing {n}?", f"A cat and {n} dogs beside a tree.") for n in range(PACKED))
        for _ in pictures
    ]
    alone = [(one,) for row in rows for one in row]
    together = Batch(
        torch.arange(len(rows)), {"image": pictures, "talk": method.language.chat.pack(rows)}, {}, {}
    )
    apart = Batch(
        torch.arange(len(alone)),
        {"image": pictures.repeat_interleave(PACKED, 0), "talk": chat(alone)},
        {},
        {},
    )
    count = int((together["talk"][:, EXCHANGE] > 0).sum())
    ours, theirs = stepping(method, lambda: together), stepping(plain, lambda: apart)
    what = f"{PACKED} exchanges packed ({count} tokens) / rows"
    show(f"{what}: time", ratio(ours, theirs, repeats), "at most 0.5")
    show(f"{what}: memory", f"{peak_of(ours) / peak_of(theirs):.2f}", "")


def words(repeats: int) -> None:
    """Likelihoods in tiles beside those of all logits at once."""
    tokens, width, vocabulary = (1024, 512, 8192) if SMALL else (8192, 512, 32768)
    # As many tiles for fewer logits.
    at_once = 2**18 if SMALL else 2**23
    head, said = nn.Linear(width, vocabulary, bias=False), torch.randint(vocabulary, (tokens,))
    states = torch.randn(tokens, width).requires_grad_()

    def ours(states: Tensor, *weight: Tensor) -> Tensor:
        return -token_log_p(head, states, said, at_once=at_once).mean()

    def theirs(states: Tensor, *weight: Tensor) -> Tensor:
        return F.cross_entropy(head(states), said)

    for inputs, what in (([states, head.weight], ""), ([states], ", head frozen")):
        head.weight.requires_grad_(len(inputs) > 1)
        found = compare(ours, theirs, inputs, repeats)
        name = f"{tokens:,} tokens of {vocabulary:,} words, tiles / dense{what}"
        show(f"{name}: memory", f"{found.share:.3f}", "at most 0.15")
        show(f"{name}: time", found.time, "at most 1.05")


class GatedExpert(nn.Module):
    """A feed-forward network as Mixtral has it."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(width, inner, bias=False), nn.Linear(width, inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(F.silu(self.gate(x)) * self.up(x))
        return out


def experts(repeats: int) -> None:
    """A mixture of experts beside Mixtral's block of the same sizes."""
    from transformers import MixtralConfig

    width, inner, count, tokens = 128, 448, 8, 512 if SMALL else 4096
    config = MixtralConfig(
        hidden_size=width, intermediate_size=inner, num_local_experts=count, num_experts_per_tok=2
    )
    config._experts_implementation = "eager"
    block = import_module("transformers.models.mixtral.modeling_mixtral").MixtralSparseMoeBlock(config)
    for p in block.parameters():
        nn.init.normal_(p, std=0.05)
    mixture = MixtureOfExperts(width, lambda: GatedExpert(width, inner), count, choices=2, renormalise=True)
    x = torch.randn(1, tokens, width)

    def ours() -> None:
        torch.autograd.backward(mixture(x[0])[0].square().mean())

    def theirs() -> None:
        made = block(x)
        torch.autograd.backward((made[0] if isinstance(made, tuple) else made).square().mean())

    show("mixture of experts / Mixtral's block: time", ratio(ours, theirs, repeats), "at most 1.0")
    show("mixture of experts / Mixtral's block: memory", f"{peak_of(ours) / peak_of(theirs):.2f}", "")


def embedder(repeats: int) -> None:
    """The memory of vlm2vec at a large batch in microbatches, beside a batch of one."""
    large, micro = (128, 32) if SMALL else (1024, 32)
    data = f"scenes:tiny,talk=captions,train={large},validation=4,test=4"
    small = {"towers.image_size": 16, "towers.image_patch": 8, "towers.talk_width": 32}
    method, loader, _ = prepared("vlm2vec,columns=image+talk", data, **{**small, "batch_size": large})
    _, fewer, _ = prepared("vlm2vec,columns=image+talk", data, **{**small, "batch_size": micro})
    whole, part = loader.batch(0), fewer.batch(0)

    def once() -> None:
        terms = [*method.losses(method.encode(part), part, CLOCK).values()]
        torch.autograd.backward(torch.stack(terms).sum())

    def cached() -> None:
        backward(method, whole, CLOCK, micro)

    for call in (once, cached):  # gradients are there before they are counted
        call()
    name = f"vlm2vec, {large} in microbatches of {micro} / a batch of {micro}"
    show(f"{name}: memory", f"{peak_of(cached) / peak_of(once):.2f}", "at most 1.1")


PARTS: dict[str, Callable[[int], None]] = {
    "step": step,
    "trainer": trainer,
    "kept": kept,
    "packed": packed,
    "words": words,
    "experts": experts,
    "embedder": embedder,
}


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    given = [it for it in sys.argv[1:] if it != "--small"]
    repeats = int(given[0]) if given else 15
    for name in given[1:] or PARTS:
        PARTS[name](repeats)


if __name__ == "__main__":
    main()
