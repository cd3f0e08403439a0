"""A painter learns a word whose vector is made from pictures, with low-rank additions that stay in the word's box."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..forms import Count
from ..networks.concept_word import ConceptEncoder, LowRankUpdate, matched_norm
from ..networks.painter import PaintingNetwork
from .attention import cross_attention, positions_of, recorded_attention
from .personal import LearnedWords, Reading

_TIME = 250
"""The level of noise at which a U-Net is asked about a picture: at 0 it is asked about the finest details alone."""


@torch.no_grad()
def picture_features(
    painter: PaintingNetwork, pictures: Float[Tensor, "B 3 H W"]
) -> Float[Tensor, "B cells w"]:
    """Return what the middle block of a U-Net says of pictures with values in [0, 1], without noise or a text.

    Source: Tang et al., "Emergent Correspondence from Image Diffusion" (2023), arXiv 2306.03881, for such features.
    """
    seen: list[Tensor] = []
    hook = painter.unet.mid_block.register_forward_hook(lambda *given: seen.append(given[-1]))
    times = torch.full((len(pictures),), _TIME, device=pictures.device)
    noisy, _ = painter.noised(pictures, torch.zeros_like(pictures), times)
    empty = painter.states(painter.tokenizer([""]).to(pictures.device))
    try:
        painter(noisy, times, empty.expand(len(pictures), -1, -1))
    finally:
        hook.remove()
    return seen[0].flatten(2).mT


class LowRankAdditions(nn.Module):
    """Additions of a rank to weights of attention layers, 0 at first.

    Args:
        sizes: rows and columns of each, by the names of layers.
        rank: of each.
    """

    def __init__(self, sizes: Mapping[str, tuple[int, int]], rank: Count) -> None:
        super().__init__()
        self.layers = tuple(sizes)
        self.updates = nn.ModuleList(LowRankUpdate(*size, rank) for size in sizes.values())

    def named(self) -> dict[str, Float[Tensor, "d w"]]:
        """Return them by the names of layers, with gradient."""
        return {layer: update() for layer, update in zip(self.layers, self.updates, strict=True)}


class ConceptWords(LearnedWords):
    """New words whose vectors a Q-Former makes from pictures and the names of their kinds.

        v_i = E(features of picture i, kind),   word = v̄ · ‖kind‖ / ‖v̄‖,   v̄ = mean_i v_i

    Features are those of the painter's own U-Net (`picture_features`).

    Args:
        painter: that is frozen.
        prompt: of the pictures to learn from, with new words in angle brackets.
        kinds: of the new words, known words with + between them; one for all. A kind may be several tokens.
        queries: of the Q-Former.
        rank: of the additions to keys and values of cross-attention.
        pictures: i, those that `remember` is given.

    Attributes:
        features: of these pictures, 0 before.

    Raises:
        ValueError: for other numbers of kinds, none, and as `LearnedWords` does.
    """

    features: Tensor

    def __init__(
        self,
        painter: PaintingNetwork,
        prompt: str,
        kinds: str,
        *,
        queries: Count = 4,
        rank: Count = 16,
        pictures: Count = 5,
    ) -> None:
        super().__init__(painter, prompt)
        names = kinds.split("+") * (len(self.words.names) if "+" not in kinds else 1)
        if len(names) != len(self.words.names) or not all(names):
            raise ValueError(
                f"like={kinds!r} must name a kind for each of the new words {', '.join(self.words.names)}"
            )
        self.words.vectors.requires_grad_(
            False
        )  # in place of which `vectors` returns those made from pictures
        begins = self.words.tokens([""]).shape[1] - 1
        self.kinds = [self.words.tokens([name])[0, begins:-1] for name in names]
        size, tokenizer = painter.size, painter.tokenizer
        example = picture_features(painter, self.base.new_zeros(1, 3, size, size).float())
        self.encoder = ConceptEncoder(
            painter.width, example.shape[2], tokenizer.vocabulary, tokenizer.context, queries
        )
        layers = cross_attention(painter.unet)
        self.low_rank_keys, self.low_rank_values = (LowRankAdditions(layers, rank) for _ in range(2))
        self.register_buffer("features", example.new_zeros(pictures, *example.shape[1:]))

    def remember(self, features: Float[Tensor, "n cells w"]) -> None:
        """Set the pictures that words are made from: the first ones, again and again where they are too few."""
        rows = torch.arange(len(self.features)) % len(features)
        self.features.copy_(features[rows])

    def extracted(self, features: Float[Tensor, "B cells w"]) -> Float[Tensor, "B N d"]:
        """Return the vector of each word from each picture, as long as it comes."""
        return torch.stack([self.encoder(features, kind.to(features.device)) for kind in self.kinds], 1)

    def matched(self, extracted: Float[Tensor, "*B N d"]) -> Float[Tensor, "*B N d"]:
        """Return vectors as long as those of their kinds."""
        table = self.painter.text.get_input_embeddings().weight
        pairs = zip(extracted.unbind(-2), self.kinds, strict=True)
        return torch.stack([matched_norm(v, table[kind.to(table.device)]) for v, kind in pairs], -2)

    def vectors(self) -> Float[Tensor, "N d"]:
        return self.matched(self.extracted(self.features).mean(0))

    def additions(self) -> tuple[dict[str, Float[Tensor, "d w"]], dict[str, Float[Tensor, "d w"]]]:
        return self.low_rank_keys.named(), self.low_rank_values.named()

    def read_with(
        self,
        pictures: Float[Tensor, "B 3 H W"],
        noise: Float[Tensor, "B 3 H W"],
        times: Int[Tensor, " B"],
        words: Float[Tensor, "B N d"],
    ) -> Reading:
        """Return what the painter makes of noisy pictures and the prompt, in which each has word vectors of its own."""
        painter, first = self.painter, self.painter.tokenizer.vocabulary
        tokens = self.words.tokens([self.words.prompt]).to(self.base.device)
        positions = torch.stack([positions_of(tokens, first + n) for n in range(words.shape[1])], 1)
        # The words of each picture have ids of their own.
        rows = torch.arange(len(pictures), device=tokens.device)[:, None] * words.shape[1]
        own = torch.where(tokens >= first, tokens + rows, tokens)
        noisy, velocity = painter.noised(pictures, noise, times)
        states = painter.states(own, words.flatten(0, 1))
        with recorded_attention(painter.unet, *self.additions()) as maps:
            predicted = painter(noisy, times, states)
        return Reading(predicted - velocity, states, positions.expand(len(pictures), -1), maps)
