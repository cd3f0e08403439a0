"""VDD for answers from a list: class probabilities, corrected as if an image-free input should be judged uniform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..registry import unknown
from .branch import Branch
from .chooser import Logits
from .combine import BranchWeights
from .method import Decoding
from .methods.vdd import image_free

PAPERS = {"vdd": ("answer_probabilities", "debiased", "first_logits")}

FORMS = ("diagonal", "identity")


def first_logits(
    model: Any, inputs: Mapping[str, Any], without: Sequence[str] = (), *, unknown_token: int = 0
) -> dict[str, Float[Tensor, "b v"]]:
    """Return the logits of a reply's first token: ``"own"`` with the picture, and by name those of image-free inputs.

    Args:
        model: a vision-language model.
        inputs: what the processor made.
        without: image-free inputs, as for `VisualDebias`: ``"none"``, ``"unk"``, ``"noise"``, ``"zeros"``.
        unknown_token: for ``"unk"``.
    """
    reader = _Reader(tuple(image_free(name, unknown_token) for name in without))
    bound = reader.on(inputs, model=model)
    model.generate(**inputs, custom_generate=bound, max_new_tokens=1, do_sample=False, num_beams=1)
    return dict(zip(("own", *without), reader.logits, strict=True))


def answer_probabilities(
    logits: Float[Tensor, "b v"], answers: Sequence[Sequence[int]]
) -> Float[Tensor, "b k"]:
    """Compute how likely each answer begins the reply, among the answers alone: ``p_k ∝ Σ_{v ∈ answer k} p(v)``.

    Args:
        logits: of the first token, over the whole vocabulary.
        answers: for each class the first tokens of all its spellings (yes, Yes, YES), which add up.

    Returns:
        rows that sum to one; of zeros where no answer has any probability.

    Raises:
        ValueError: for a class without tokens, or a token that two classes share.

    >>> answer_probabilities(torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log(), [[0, 1], [2]])
    tensor([[0.5000, 0.5000]])
    """
    tokens = [token for spellings in answers for token in spellings]
    if not all(answers) or len(set(tokens)) != len(tokens):
        raise ValueError(f"answers={answers}: every class needs tokens of its own")
    p = logits.float().softmax(-1)
    classes = torch.stack([p[:, list(spellings)].sum(-1) for spellings in answers], -1)
    return classes / classes.sum(-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)


def debiased(
    p: Float[Tensor, "b k"], prior: Float[Tensor, "b k"], form: str = "diagonal", floor: float = 1e-4
) -> Float[Tensor, "b k"]:
    """Return class scores without the prior: ``p / p_cf``, renormalised, or ``p − p_cf``; the largest is the answer.

    With two classes the first subtracts the prior's log-odds. A uniform prior is a choice: where classes are truly
    unequal it costs accuracy, so report the share of yes beside it.

    Args:
        p: class probabilities with the picture.
        prior: p_cf, those of an image-free input; of each question, or ``prior.mean(0)`` expanded to all.
        form: ``"diagonal"`` for the quotient, ``"identity"`` for the difference.
        floor: added to each entry of the normalised prior, which bounds the quotient.

    Raises:
        UnknownNameError: for another form.

    Source: Post-Hoc Debias of VDD (arXiv 2403.05262), after Zhao et al. (arXiv 2102.09690).

    >>> debiased(torch.tensor([[0.6, 0.4]]), torch.tensor([[0.75, 0.25]])).argmax(-1)
    tensor([1])
    """
    if form not in FORMS:
        raise unknown("form", form, FORMS)
    tiny = torch.finfo(torch.float32).tiny
    prior = prior / prior.sum(-1, keepdim=True).clamp(min=tiny) + floor
    if form == "identity":
        return p - prior
    q = p / prior
    return q / q.sum(-1, keepdim=True).clamp(min=tiny)


@final
class _Reader(Decoding):
    """Decodes plainly, and remembers the logits of all branches."""

    def __init__(self, inputs: tuple[Branch, ...]) -> None:
        self.inputs = inputs
        self.logits: tuple[Tensor, ...] = ()

    def branches(self) -> tuple[Branch, ...]:
        return self.inputs

    def weights(self, logits: Logits, others: Sequence[Logits]) -> BranchWeights:
        self.logits = (logits, *others)
        return BranchWeights([0.0] * len(others))

    def keep(self, logits: Logits, others: Sequence[Logits]) -> Bool[Tensor, "b v"]:
        return torch.ones_like(logits, dtype=torch.bool)
