"""Missing-aware prompts: a frozen transformer over columns gets prompts by the columns that an example has."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..forms import Count, Natural
from ..networks.base import Towers
from ..networks.fusion.single_stream import SingleStream
from ..networks.fusion.stream_prompts import Position, StreamPrompts
from ..recipes.schema import Recipe
from ..types import Embeddings, Target
from .fused import Fused, has_value


class MissingAwarePrompts(Fused):
    """`Fused` with ``fusion=joint``, whose towers and transformer are frozen; prompts and the classifier C learn.

        P = prompts of the case m,   m: which columns the example has, of 2^N − 1 cases
        p = softmax(C(joint(tokens of x_1, …, x_N; P)));   L = CE(p, y)

    The transformer is that of the run that is gone on from (``from=RUN``), of ``fused`` with the same ``depth`` and
    ``width``; without one it is random and stays so. Each example gets the prompts of its own case, in training and in
    use. Columns that it lacks have no tokens.

    Args:
        towers: by column, any number of them, each with states. None of them moves.
        recipe: unused: no embedding is learned.
        target: the label that is learned.
        prompts: ``aware``, a set for each case; ``shared``, one set for all; ``none``: C alone learns.
        at: where they enter each block; see `StreamPrompts`.
        rows: of prompts of each block. A set for each case has so many; for ``shared`` with as many parameters give 2^N
            − 1 times as many.
        pictures, depth, width, hidden: as of `Fused`.

    Raises:
        LookupError: for a picture tower without features of patches.
        ValueError: without a label, and for an odd number of rows with ``at=attention``.

    Source: Lee et al., "Multimodal Prompting with Missing Modalities for Visual Recognition" (2023), arXiv 2303.03369,
    and its code, YiLunLee/missing_aware_prompts: in ViLT, in the first 6 of 12 blocks. There an absent text is the
    empty one, and an absent picture is all ones; here both are masked.
    """

    family = "fusion"
    papers = ("missing-aware-prompts",)

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        prompts: Literal["none", "shared", "aware"] = "aware",
        at: Position = "input",
        rows: Count = 16,
        pictures: Literal["patches", "whole"] = "patches",
        depth: Count = 2,
        width: Count = 128,
        hidden: Natural = 256,
    ) -> None:
        super().__init__(
            towers, recipe, target=target, pictures=pictures, depth=depth, width=width, hidden=hidden
        )
        for tower in towers.values():
            tower.requires_grad_(False)
            tower.frozen = True
            tower.eval()
        self.joint.requires_grad_(False)
        self.cases = {"none": 0, "shared": 1, "aware": 2 ** len(towers) - 1}[prompts]
        self.prompts = StreamPrompts(self.cases, depth, rows, width, at) if self.cases else None

    def fuse_columns(self, z: Embeddings) -> Float[Tensor, "B V"]:
        if self.prompts is None:
            return super().fuse_columns(z)
        assert isinstance(self.joint, SingleStream)
        tokens = [self._stand_in(column, z[column]) for column in self.columns]
        together = torch.cat(tokens, 1)
        return self.prompts(self.joint, together, has_value(together), self.case_of(tokens))

    def case_of(self, tokens: list[Float[Tensor, "B _ W"]]) -> Int[Tensor, " B"]:
        """Return which prompts each example gets, from the tokens of every column, which are zero where it lacks it."""
        if self.cases == 1:
            return torch.zeros(len(tokens[0]), dtype=torch.long, device=tokens[0].device)
        present = torch.stack([has_value(of_column).any(1) for of_column in tokens], 1)
        numbers = 2 ** torch.arange(len(tokens), device=present.device)
        # An example without any column gets the prompts of the first case.
        return ((present * numbers).sum(1) - 1).clamp_min(0)
