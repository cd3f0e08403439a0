"""Prompts of a trained transformer over several columns, a set of them for each case of columns that are missing."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .single_stream import SingleStream

PAPERS = {"missing-aware-prompts": ("StreamPrompts",)}
Position = Literal["input", "attention"]
"""Choices of where prompts enter a block."""


class StreamPrompts(nn.Module):
    """Rows of prompts P_i of each block i of a `SingleStream`, one set for each case.

        input:      x ← block_i([P_i; x]),   prompts of earlier blocks stay: the sequence grows by the rows
        attention:  K = [P_i^K; x W_K],  V = [P_i^V; x W_V],   P_i = [P_i^K; P_i^V]: half of the rows each

    The state of the read-out token is returned, which is the first behind all prompts.

    Args:
        cases: how many sets.
        blocks: of the transformer.
        rows: of prompts of each block.
        width: of the transformer.
        at: where they enter.

    Raises:
        ValueError: for an odd number of rows of prompts that enter the attention.

    Source: Lee et al., "Multimodal Prompting with Missing Modalities for Visual Recognition" (2023), arXiv 2303.03369.
    Rows start from N(0, 0.02²). Those of the released code start at zero but for one of ones, so that all others would
    stay alike.

    >>> stream = SingleStream({"image": 12}, 16, depth=2)
    >>> tokens, case = torch.ones(3, 5, 16), torch.tensor([0, 2, 1])
    >>> StreamPrompts(3, 2, 4, 16)(stream, tokens, torch.ones(3, 5, dtype=torch.bool), case).shape
    torch.Size([3, 16])
    """

    def __init__(self, cases: int, blocks: int, rows: int, width: int, at: Position = "input") -> None:
        super().__init__()
        if at == "attention" and rows % 2:
            raise ValueError(
                f"rows={rows}: half of the rows are keys and half are values; give an even number"
            )
        self.at = at
        self.rows = nn.Parameter(torch.empty(cases, blocks, rows, width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.rows, std=0.02)

    def forward(
        self,
        stream: SingleStream,
        tokens: Float[Tensor, "B n W"],
        mask: Bool[Tensor, "B n"],
        case: Int[Tensor, " B"],
    ) -> Float[Tensor, "B W"]:
        """Return the state of the read-out token behind the last block.

        Args:
            stream: the transformer.
            tokens: of all columns.
            mask: the tokens that are attended to.
            case: of each example.
        """
        x, mask = stream.begun(tokens, mask)
        before = 0
        for block, rows in zip(stream.blocks, self.rows[case].to(x).unbind(1), strict=True):
            if self.at == "attention":
                keys, values = rows.chunk(2, 1)
                x = block(x, mask=mask, prefix=(keys, values))
            else:
                before += rows.shape[1]
                mask = F.pad(mask, (rows.shape[1], 0), value=True)
                x = block(torch.cat([rows, x], 1), mask=mask)
        return stream.norm(x[:, before])
