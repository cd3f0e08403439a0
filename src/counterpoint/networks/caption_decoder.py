"""A transformer that predicts the tokens of a caption from the states of a picture."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..pairwise.inputs import upcast
from .heads import Linear
from .towers.transformer import Embedding

PAPERS = {"cappa": ("CaptionDecoder",)}


class ZeroLinear(nn.Linear):
    """A linear layer that starts from zero, so that the first prediction is uniform."""

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)


class DecoderBlock(nn.Module):
    """Self-attention among tokens, cross-attention to the states of a picture, and a perceptron, without biases.

        x ← x + self(norm(x));   x ← x + cross(norm(x), context);   x ← x + mlp(norm(x))

    The context is not normalised again. Tokens attend to the states in ``seen``, to all unless it is given.
    """

    def __init__(self, width: int, heads: int, depth: int) -> None:
        super().__init__()
        residual = (2 * depth * width) ** -0.5
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width, bias=False) for _ in range(3))
        self.qkv, self.out = Linear(width, 3 * width), Linear(width, width, std=residual)
        self.q, self.kv = Linear(width, width), Linear(width, 2 * width)
        self.cross_out = Linear(width, width, std=residual)
        self.up = Linear(width, 4 * width, std=(2 * width) ** -0.5)
        self.down = Linear(4 * width, width, std=residual)

    def forward(
        self,
        x: Float[Tensor, "B L W"],
        context: Float[Tensor, "B P W"],
        causal: bool = True,
        seen: Bool[Tensor, "B P"] | None = None,
    ) -> Float[Tensor, "B L W"]:
        of_self, of_cross, of_mlp = self.norms
        q, k, v = self.qkv(of_self(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        q = self.q(of_cross(x)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.kv(context).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mask = None if seen is None else seen[:, None, None]
        x = x + self.cross_out(F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2))
        fed: Tensor = self.down(F.gelu(self.up(of_mlp(x))))
        return x + fed


class CaptionDecoder(nn.Module):
    """Predicts a caption word by word, or all of its words at once.

    Word by word, the input is the caption shifted by a start token and attention is causal. At once, every input is the
    mask token and attention is full, so that a position knows its number and the picture alone. The output layer is not
    tied to the embedding, and starts from zero: the first loss is log V.

    Args:
        vocabulary: V, tokens that are predicted. The start token and the mask token are two more.
        length: the most tokens of a caption.
        width: of states and of the context.
        depth: number of blocks.
        heads: attention heads; divides ``width``.

    Source: Tschannen et al., "Image Captioners Are Scalable Vision Learners Too" (2023), arXiv 2306.07915.

    >>> decoder = CaptionDecoder(vocabulary=10, length=4, width=8, depth=1, heads=2)
    >>> decoder(torch.tensor([[10, 3]]), torch.zeros(1, 5, 8)).shape
    torch.Size([1, 2, 8])
    """

    def __init__(self, vocabulary: int, length: int, width: int, depth: int = 3, heads: int = 4) -> None:
        super().__init__()
        self.start, self.mask, self.length = vocabulary, vocabulary + 1, length
        self.token_embedding = Embedding(vocabulary + 2, width, std=1.0)
        self.position_embedding = Embedding(length, width, std=width**-0.5)
        self.blocks = nn.ModuleList(DecoderBlock(width, heads, depth) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = ZeroLinear(width, vocabulary)

    def forward(
        self,
        inputs: Int[Tensor, "B L"],
        context: Float[Tensor, "B P W"],
        causal: bool = True,
        seen: Bool[Tensor, "B P"] | None = None,
    ) -> Float[Tensor, "B L W"]:
        """Return the states that the output layer reads."""
        x = self.token_embedding(inputs) + self.position_embedding.weight[: inputs.shape[1]]
        for block in self.blocks:
            x = block(x, context, causal, seen)
        return self.norm(x)

    def log_likelihood(
        self,
        targets: Int[Tensor, "B L"],
        mask: Bool[Tensor, "B L"],
        context: Float[Tensor, "B P W"],
        parallel: bool = False,
        seen: Bool[Tensor, "B P"] | None = None,
    ) -> Float[Tensor, "B 2"]:
        """Return the sum of the log-probabilities of each caption's tokens, and their number.

        Args:
            targets: the captions' tokens without a start token.
            mask: which of them belong to the caption.
            context: states of the pictures.
            parallel: predicts all tokens at once. Positions up to ``length`` take part, so that the input does not
                tell how long a caption is.
            seen: the states that are no padding; all unless given.
        """
        if parallel:
            inputs = targets.new_full((len(targets), self.length), self.mask)
            states = self(inputs, context, causal=False, seen=seen)[:, : targets.shape[1]]
        else:
            states = self(shifted(targets, self.start), context, seen=seen)
        return summed_log_likelihood(self.head, states, targets, mask)


def shifted(targets: Int[Tensor, "B L"], start: int) -> Int[Tensor, "B L"]:
    """Return the inputs that predict some tokens: the start token, and all tokens but the last.

    >>> shifted(torch.tensor([[5, 6, 2]]), start=9).tolist()
    [[9, 5, 6]]
    """
    return F.pad(targets[:, :-1], (1, 0), value=start)


def summed_log_likelihood(
    head: nn.Module,
    states: Float[Tensor, "B L W"],
    targets: Int[Tensor, "B L"],
    mask: Bool[Tensor, "B L"],
    label_smoothing: float = 0.0,
) -> Float[Tensor, "B 2"]:
    """Return the sum of the log-probabilities of the tokens inside ``mask``, and their number, of each caption.

    Logits are computed of these tokens alone, and only the sums leave. With ``label_smoothing`` ε, a share ε of the
    weight of a token is spread evenly over the vocabulary.
    """
    wrong = F.cross_entropy(
        upcast(head(states[mask])), targets[mask], reduction="none", label_smoothing=label_smoothing
    )
    # Not an assignment to the places of the mask, whose number differs between batches.
    rows = torch.arange(len(mask), device=mask.device)[:, None].expand_as(mask)[mask]
    return torch.stack([wrong.new_zeros(len(mask)).index_add(0, rows, -wrong), mask.sum(1).to(wrong)], 1)
