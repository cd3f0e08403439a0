"""Steps of methods whose columns meet before they are pooled, beside plain ones, and their memory in microbatches.

    python benchmarks/fusion.py [REPEATS] [PART ...]

PART is ``coca``, ``albef``, ``microbatch``, ``reranking``, ``probabilities`` or ``kept``; all unless given. Prints
ratios of what takes turns in one run, the median and the middle half, with the bound that each is meant to keep.
"""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from _timing import peak_of
from patches import BATCH, PATCH, SIZE, WIDTH, Step, ratio, show, trained
from safetensors.torch import save_file
from torch import Tensor, nn

from counterpoint.data.embeddings import BATCH as PANEL
from counterpoint.data.embeddings import EmbeddingCache
from counterpoint.data.source import load_any
from counterpoint.evaluation.tasks._ranking import rank, reranked
from counterpoint.methods._matching import PATCHES, WORDS
from counterpoint.methods.albef import ALBEF, MASKED
from counterpoint.methods.tower_method import TowerMethod
from counterpoint.networks import VisionTransformer
from counterpoint.training.step.caching import backward
from counterpoint.types import Batch, StepInfo

HEADS, QUERIES, LAYERS = 4, 16, 2
"""Attention heads, queries of the pooling, and layers of each half of the decoder."""
QUERIES, BEST = 1000, 32
"""Queries that are ranked once more, and the answers of each."""
DATA = f"scenes:basic,pixels={SIZE},train={2 * BATCH},validation=4,test=4"
CLOCK = StepInfo(5, 10)


def step_of(method: TowerMethod, batch: Batch, optimizer: torch.optim.Optimizer) -> Step:
    """Return a training step as the loop takes it, without the loading of its batch."""

    def step() -> None:
        with torch.no_grad():
            given = method.prepare(batch, CLOCK)
            targets = method.targets(given)
        z = {**targets, **method.encode(given)}
        pairs = method.pairs(z, given)
        if pairs:
            z |= pairs | method.fuse(z, pairs)
        torch.stack([*method.losses(z, given, CLOCK).values()]).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            method.after_step({name: value.detach() for name, value in z.items()}, given, CLOCK)

    return step


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def open_clip_coca(method: TowerMethod, batch: Batch) -> tuple[nn.Module, Step]:
    """Return open_clip's CoCa of the same sizes and a step of it on the same batch."""
    tokenizer: Any = method.text_tower.tokenizer if "text" in method.towers else vars(method)["tokenizer"]
    sizes = {"width": WIDTH, "heads": HEADS, "layers": LAYERS, "vocab_size": tokenizer.vocabulary}
    tower = method.image_tower
    assert isinstance(tower, VisionTransformer)
    model: nn.Module = import_module("open_clip.coca_model").CoCa(
        embed_dim=WIDTH,  # which the decoder reads
        text_cfg={**sizes, "context_length": tokenizer.context, "embed_cls": True, "output_tokens": True},
        multimodal_cfg={**sizes, "context_length": tokenizer.context},
        vision_cfg={
            "image_size": SIZE,
            "patch_size": PATCH,
            "width": WIDTH,
            "head_width": WIDTH // HEADS,
            "layers": len(tower.blocks),
            "attentional_pool": True,
            "attn_pooler_queries": QUERIES,
            "attn_pooler_heads": HEADS,
            "output_tokens": True,
        },
    )
    loss = import_module("open_clip.loss").CoCaLoss(caption_loss_weight=2.0, clip_loss_weight=1.0)
    optimizer = torch.optim.AdamW(model.parameters())
    pictures, tokens = batch["image"], batch["text"]

    def step() -> None:
        found = model(pictures, tokens)
        torch.stack(
            loss(
                *(
                    found[name]
                    for name in ("image_features", "text_features", "logits", "labels", "logit_scale")
                )
            )
        ).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    return model, step


def coca(repeats: int) -> None:
    """A step of coca beside open_clip's."""
    method, batch, optimizer = trained(f"coca,image=vit,depth={LAYERS},queries={QUERIES}", DATA)
    model, theirs = open_clip_coca(method, batch)
    show(
        "coca / open_clip's CoCa: parameters",
        f"{parameters(method) / parameters(model):.2f}",
        "near 1: the sizes are equal",
    )
    ours = step_of(method, batch, optimizer)
    show("coca / open_clip's CoCa: time of a step", ratio(ours, theirs, repeats), "at most 1.0")
    show("coca / open_clip's CoCa: memory", f"{peak_of(ours) / peak_of(theirs):.2f}", "")


def plain_albef(method: ALBEF, batch: Batch) -> Step:
    """Return a step with copies of the parts of a method, in one function and without its hooks."""
    towers, joint, match = (copy.deepcopy(part) for part in (method.towers, method.joint, method.match_head))
    heads, word_head, momentum = (
        copy.deepcopy(part) for part in (method.projections, method.word_head, method.copy)
    )
    queues: Any = copy.deepcopy(method.queues)
    assert momentum is not None
    scale = nn.Parameter(torch.tensor(1 / 0.07))
    moved = [*towers.parameters(), *joint.parameters(), *match.parameters(), *heads.parameters()]
    moved += [*word_head.parameters(), scale]
    optimizer = torch.optim.AdamW(moved)
    slow: Any = momentum.module
    image, text = (method.columns[column] for column in method.embeds)
    followers = [
        (slow.towers, towers),
        (slow.projections, heads),
        (slow.joint, joint),
        (slow.word_head, word_head),
    ]
    pictures, tokens, (hidden, asked) = batch[method.picture], batch[method.text], batch[MASKED].unbind(1)

    def encoded(of_towers: Any, of_heads: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        patches = of_towers[image].patches(pictures).flatten(2).mT
        words = of_towers[text].states(tokens)
        x, y = of_heads[image](patches.mean(1)), of_heads[text](method.read(words))
        return patches, words, F.normalize(x, dim=-1), F.normalize(y, dim=-1)

    def step() -> None:
        with torch.no_grad():
            slow_patches, _, k_x, k_y = encoded(slow.towers, slow.projections)
            slow_states = slow.joint(slow.towers[text].states(hidden), slow_patches)
        patches, words, x, y = encoded(towers, heads)
        own, terms = torch.arange(len(x)), []
        for q, teacher, keys, to in ((x, k_x, k_y, method.text), (y, k_y, k_x, method.picture)):
            everything = torch.cat([keys, queues[to].keys])
            logits = scale * q @ everything.T
            target = 0.4 * (scale * teacher @ everything.T).detach().softmax(1)
            target[own, own] += 0.6
            terms.append(-(target * logits.log_softmax(1)).sum(1).mean() / 2)
        with torch.no_grad():
            same = torch.eye(len(x), dtype=torch.bool)
            others = [
                torch.multinomial((scale * a @ b.T).masked_fill(same, -torch.inf).softmax(1), 1)[:, 0]
                for a, b in ((x, k_y), (y, k_x))
            ]
        rows_of_text, rows = torch.cat([own, others[0], own]), torch.cat([own, own, others[1]])
        states = joint(words[rows_of_text], patches[rows])
        label = (torch.arange(3 * len(x)) < len(x)).long()
        terms.append(F.cross_entropy(match(method.read(states, like=words[rows_of_text])), label))
        where = asked != -100
        logits = word_head(joint(towers[text].states(hidden), patches)[where])
        with torch.no_grad():
            soft = slow.word_head(slow_states[where]).softmax(1)
        terms.append(0.6 * F.cross_entropy(logits, asked[where]))
        terms.append(-0.4 * (soft * logits.log_softmax(1)).sum(1).mean())
        torch.stack(terms).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            for copied, moving in followers:
                for a, b in zip(copied.parameters(), moving.parameters(), strict=True):
                    a.lerp_(b, 0.005)
            for to, keys in ((method.text, k_y), (method.picture, k_x)):
                queues[to].enqueue(keys, batch.ids)

    return step


def albef(repeats: int) -> None:
    """A step of albef beside a plain loop with the same parts."""
    method, batch, optimizer = trained("albef,image=vit,text=reader,queue=64", DATA)
    assert isinstance(method, ALBEF)
    theirs = plain_albef(method, batch)
    ours = step_of(method, batch, optimizer)
    show("albef / a plain loop with the same parts", ratio(ours, theirs, repeats), "at most 1.05")


def microbatch(repeats: int) -> None:
    """Encoder and fusion an eighth of the batch at a time, beside all at once."""
    method, batch, _ = trained("albef,image=vit,text=reader,queue=0,alpha=0", DATA)

    def once() -> None:
        z = method.encode(batch)
        pairs = method.pairs(z, batch)
        torch.stack(
            [*method.losses(z | pairs | method.fuse(z, pairs), batch, CLOCK).values()]
        ).sum().backward()

    def eighths() -> None:
        backward(method, batch, CLOCK, len(batch) // 8)

    for step in (once, eighths):  # gradients are there before they are counted
        step()
    show(
        "albef, an eighth at a time / at once: memory",
        f"{peak_of(eighths) / peak_of(once):.2f}",
        "at most 0.25",
    )
    show("albef, an eighth at a time / at once: time", ratio(eighths, once, repeats), "at most 1.6")


def reranking(repeats: int) -> None:
    """Retrieval that is re-ranked, beside the fused passes of its pairs alone."""
    data = load_any(f"scenes:basic,pixels={SIZE},train=64,validation=4,test={QUERIES}")
    method, _, _ = trained(f"albef,image=vit,text=reader,queue=0,alpha=0,depth={LAYERS}", DATA)
    assert isinstance(method, ALBEF)
    method.eval()
    features = EmbeddingCache(method, data)
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(QUERIES, WIDTH, generator=generator) for _ in range(2))
    rows = next(iter(data.splits.test.values()))
    pictures, texts = (
        features.pair_states(column, features.data.read(column, rows))
        for column in (method.picture, method.text)
    )
    correct = [[k] for k in range(QUERIES)]

    def order(part: slice, similarities: Tensor) -> Tensor:
        best = similarities.topk(BEST, 1).indices
        query = torch.arange(part.start, part.start + len(best)).repeat_interleave(BEST)
        scores = features.pair_scores(pictures, texts, torch.stack([query, best.flatten()], 1))
        return reranked(similarities, best, scores.view(*best.shape))

    def passes() -> None:
        words, patches = texts[WORDS][:PANEL], pictures[PATCHES][:PANEL]
        with torch.no_grad():
            for _ in range(QUERIES * BEST // PANEL):
                method.matched(words, patches)

    show(
        f"re-ranking {QUERIES:,} x {BEST} / the fused passes alone",
        ratio(lambda: rank(features, x, y, correct, order), passes, repeats),
        "at most 1.1",
    )


def probabilities(repeats: int) -> None:
    """The joint encoder where no probabilities are asked for, beside one that has none, and where they are."""
    method, _, _ = trained(f"albef,image=vit,text=reader,queue=0,alpha=0,depth={LAYERS}", DATA)
    assert isinstance(method, ALBEF)
    joint: Any = method.joint
    text = method.text_tower
    words = torch.randn(BATCH, text.tokenizer.context, text.width, requires_grad=True)
    patches = torch.randn(BATCH, (SIZE // PATCH) ** 2, WIDTH, requires_grad=True)
    mask = torch.ones(words.shape[:2], dtype=torch.bool)

    def without() -> None:
        x, context = words, patches + joint.patch_positions.weight
        for block in joint.blocks:
            of_self, of_cross, of_mlp = block.norms
            q, k, v = block.qkv(of_self(x)).unflatten(-1, (3, block.heads, -1)).permute(2, 0, 3, 1, 4)
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])
            x = x + block.out(attended.transpose(1, 2).flatten(2))
            q = block.q(of_cross(x)).unflatten(-1, (block.heads, -1)).transpose(1, 2)
            read = block.kv(block.context_norm(context))
            k, v = read.unflatten(-1, (2, block.heads, -1)).permute(2, 0, 3, 1, 4)
            attended = F.scaled_dot_product_attention(q, k, v)
            x = x + block.cross_out(attended.transpose(1, 2).flatten(2))
            x = x + block.down(F.gelu(block.up(of_mlp(x))))
        joint.norm(x).sum().backward()

    def asked() -> None:
        states, _ = joint(words, patches, attention_of=0)
        states.sum().backward()

    def ours() -> None:
        joint(words, patches).sum().backward()

    show("joint encoder / one that has no probabilities", ratio(ours, without, repeats), "at most 1.02")
    show("joint encoder, probabilities of one block / none", ratio(asked, ours, repeats), "")


def kept(repeats: int) -> None:
    """A step whose frozen towers answer from memory, beside one with the towers in the loop."""
    with TemporaryDirectory() as folder, patch.dict(os.environ, COUNTERPOINT_CACHE=folder):
        weights = f"{folder}/tower.safetensors"
        source, _, _ = trained("cappa,image=vit", DATA)
        save_file(dict(source.image_tower.state_dict()), weights)
        steps = {}
        for keep in (True, False):
            method, batch, optimizer = trained(
                f'cappa,image="vit@{weights}"',
                DATA,
                **{"towers.keep": keep, "augmentation.paired": "plain", "towers.tune": "frozen"},
            )
            steps[keep] = step_of(method, batch, optimizer)
        show(
            "cappa, kept patches / the tower in the loop",
            ratio(steps[True], steps[False], repeats),
            "at most 0.33",
        )


PARTS: dict[str, Callable[[int], None]] = {
    part.__name__: part for part in (coca, albef, microbatch, reranking, probabilities, kept)
}


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    for name in sys.argv[2:] or PARTS:
        PARTS[name](repeats)


if __name__ == "__main__":
    main()
