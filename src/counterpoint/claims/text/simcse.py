"""SimCSE: the same sentence under two dropout masks is all the augmentation that sentence embeddings need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ...losses import SimCSELoss
from ...study.presets import Preset
from ..benches.data import glosses
from ..benches.data.glosses import DROPOUT, Encoder, Tokens, Views
from ..lab import Arrays, Lab, Result, Score, above, below, beside, decides

CLAIM = (
    "Contrast between two passes under independent dropout masks ranks pairs of glosses better than the "
    "pretrained encoder and than the same without dropout; embeddings become more uniform, and less of them "
    "lies in one direction."
)
REFUTED = (
    "no dropout is as good, the ranking is no better than before, or uniformity or the share of the largest "
    "singular value does not fall"
)
PRESET = Preset(
    "simcse",
    "texts alone: two passes under hardly any dropout, under the usual one, and under more",
    {"arms": ("simcse,on=texts,dropout=0.01", "simcse,on=texts", "simcse,on=texts,dropout=0.3")},
    "simcse,on=texts,dropout=0.01",
    {"probe": ("logistic_*_top1",)},
)


SEEDS = 5


def dropout(encoder: Encoder, tokens: Tokens) -> list[Float[Tensor, "n d"]]:
    """Run two passes, each under a mask of its own."""
    return [encoder(tokens, DROPOUT), encoder(tokens, DROPOUT)]


def one_mask(encoder: Encoder, tokens: Tokens) -> list[Float[Tensor, "n d"]]:
    """Run two passes under one mask, which are the same."""
    return [encoder(tokens, DROPOUT)] * 2


def no_dropout(encoder: Encoder, tokens: Tokens) -> list[Float[Tensor, "n d"]]:
    """Run two passes without dropout, which are the same."""
    return [encoder(tokens)] * 2


def deletion(encoder: Encoder, tokens: Tokens) -> list[Float[Tensor, "n d"]]:
    """Run two passes without dropout, each over nine tenths of the words."""
    return [encoder(tokens * (torch.rand(tokens.shape) > 0.1)) for _ in range(2)]


ARMS: Mapping[str, Views] = {
    "dropout": dropout,
    "one mask": one_mask,
    "no dropout": no_dropout,
    "word deletion": deletion,
}


def trained(rates: Mapping[str, Sequence[float]], seed: int, steps: int, pretraining: int) -> Arrays:
    """Pretrain one encoder, then train it on with each kind of views."""
    return glosses.compared(ARMS, SimCSELoss(glosses.TEMPERATURE), rates, seed, steps, pretraining)


def run(lab: Lab) -> Iterator[Result]:
    outcome = glosses.compare(lab, trained, list(ARMS), SEEDS)

    def less(measure: str, baseline: str, metric: str) -> Score:
        return outcome.score(measure, "dropout", metric) - outcome.score(measure, baseline, metric)

    def ranks(baseline: str) -> Result:
        metric = "Spearman's coefficient of cosine and Wu–Palmer similarity, held-out glosses"
        return above(less("rank correlation", baseline, metric), name=f"1: dropout − {baseline}")

    spread = less("uniformity", "before", "uniformity, t = 2, held-out glosses (lower is better)")
    share = less("first singular value", "before", "share of the sum of singular values, held-out glosses")
    near = f"mean squared distance of pairs at least {glosses.NEAR:g} similar (lower is better)"
    yield from decides(
        ranks("before"),
        ranks("no dropout"),
        below(spread, name="1: uniformity, dropout − before"),
        below(share, name="3: largest singular value, dropout − before"),
    )
    yield from beside(
        ranks("one mask"),
        ranks("word deletion"),
        *(
            below(less("alignment", baseline, near), name=f"1: alignment, dropout − {baseline}")
            for baseline in ("before", "no dropout")
        ),
    )
    lab.note(
        "'Before' is the pretrained encoder. Next sentences as positives were not tried, since glosses do not",
        "follow each other, nor were hard negatives (2), which need captions that differ in one thing.",
    )
