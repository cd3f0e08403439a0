"""A painter learns new words from a few pictures: vectors, and additions to the keys and values that read them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..networks.base import Tokenizer
from ..networks.painter import STEPS, PaintingNetwork
from ..networks.towers.parts.pooling import inside
from .attention import (
    BoxedConcept,
    cross_attention,
    positions_of,
    recorded_attention,
    regional_attention,
)

Guidance = Literal["hard", "soft"]
_NEW = re.compile(r"<[\w-]+>")


class NewWords(nn.Module):
    """Vectors of words that a tokenizer does not have, in a matrix of their own.

    Args:
        tokenizer: of the texts.
        table: of the vectors of its tokens.
        prompt: a text with new words, each in angle brackets.
        like: words that the vectors begin as, one for each new word, with + between them; one for all.

    Attributes:
        names: of the new words, in the order in which the prompt has them.
        vectors: that move.

    Raises:
        ValueError: for a prompt without a new word, other numbers of words, and a word of several tokens.
    """

    start: Tensor

    def __init__(self, tokenizer: Tokenizer, table: Float[Tensor, "V w"], prompt: str, like: str) -> None:
        super().__init__()
        self.tokenizer, self.prompt = tokenizer, prompt
        self.names = tuple(dict.fromkeys(_NEW.findall(prompt)))
        if not self.names:
            raise ValueError(f"prompt={prompt!r} has no new word: write one in angle brackets, 'a <one>'")
        first = self.tokenizer([""])[0]
        self.begins = first[: int((first == tokenizer.end).long().argmax())].tolist()
        words = like.split("+") * (len(self.names) if "+" not in like else 1)
        if len(words) != len(self.names):
            raise ValueError(
                f"like={like} names {len(words)} words, and the prompt has {len(self.names)} new ones"
            )
        for word in words:
            if len(self._ids(word)) != 1:
                raise ValueError(f"like={like}: {word!r} is not one token; name a word that the painter has")
        self.register_buffer("start", table[[self._ids(word)[0] for word in words]].detach().clone())
        self.vectors = nn.Parameter(self.start.clone())

    def reset_parameters(self) -> None:
        with torch.no_grad():
            self.vectors.copy_(self.start)

    def tokens(self, texts: Sequence[str]) -> Int[Tensor, "B L"]:
        """Return ids of texts, in which new words have ids from the vocabulary on.

        Raises:
            ValueError: for a new word that is not of the prompt, and a text that is too long.
        """
        rows = []
        for text in texts:
            row = [*self.begins]
            for piece in re.split(r"(<[\w-]+>)", text):
                if not _NEW.fullmatch(piece):
                    row += self._ids(piece.strip()) if piece.strip() else []
                elif piece in self.names:
                    row.append(self.tokenizer.vocabulary + self.names.index(piece))
                else:
                    raise ValueError(
                        f"{text!r}: {piece} was not learned; the new words are {', '.join(self.names)}"
                    )
            row.append(self.tokenizer.end)
            if len(row) > self.tokenizer.context:
                raise ValueError(
                    f"{text!r} has {len(row)} tokens, and the painter reads {self.tokenizer.context}"
                )
            rows.append(row)
        longest = max(map(len, rows))
        return torch.tensor([row + [0] * (longest - len(row)) for row in rows])

    def _ids(self, text: str) -> list[int]:
        tokens = self.tokenizer([text])
        own = tokens[0][inside(tokens, self.tokenizer.end)[0]].tolist()
        return own[len(self.begins) : -1]


class Personal(nn.Module):
    """A frozen painter with vectors of new words, and additions to keys and values of cross-attention.

    Without additions it is Textual Inversion (Gal et al., 2022, arXiv 2208.01618), with them Custom Diffusion (Kumari
    et al., 2022, arXiv 2212.04488) without prior pictures. The painter's own weights never change.

    Args:
        painter: that is frozen, and shared, not copied.
        prompt: of the pictures to learn from, with new words in angle brackets.
        like: words of the painter that the new ones begin as, with + between them.
        keys: whether keys and values learn.

    Raises:
        ValueError: for a prompt without a new word, other numbers of words, and a word of several tokens.

    >>> from counterpoint.networks.towers.tokenizer import BytePairTokenizer
    >>> tokenizer = BytePairTokenizer.train(["a red cat"], 300, 8)
    >>> small = PaintingNetwork(tokenizer, 8, width=4, blocks=2, text_width=8, text_layers=1)
    >>> learner = Personal(small, "a <one> a", like="a")
    >>> learner.words.names, learner.draw(["a <one>"], steps=2).shape
    (('<one>',), torch.Size([1, 3, 8, 8]))
    """

    def __init__(self, painter: PaintingNetwork, prompt: str, like: str, *, keys: bool = False) -> None:
        super().__init__()
        painter.eval().requires_grad_(False)
        self._held = (painter,)  # in a tuple, and so no module of this one
        self.words = NewWords(painter.tokenizer, painter.text.get_input_embeddings().weight, prompt, like)
        layers = cross_attention(painter.unet) if keys else {}
        self.keys, self.values = (
            nn.ParameterDict({_key(name): nn.Parameter(torch.zeros(size)) for name, size in layers.items()})
            for _ in range(2)
        )

    @property
    def painter(self) -> PaintingNetwork:
        """The painter."""
        return self._held[0]

    def errors(
        self,
        pictures: Float[Tensor, "B 3 H W"],
        noise: Float[Tensor, "B 3 H W"],
        times: Int[Tensor, " B"],
    ) -> tuple[Float[Tensor, " B"], Float[Tensor, "B N s s"]]:
        """Return the squared errors of velocities, and the map of each new word as `AttentionMaps.of` averages it."""
        tokens = self.words.tokens([self.words.prompt]).expand(len(pictures), -1).to(pictures.device)
        noisy, velocity = self.painter.noised(pictures, noise, times)
        states = self.painter.states(tokens, self.words.vectors)
        with recorded_attention(self.painter.unet, _named(self.keys), _named(self.values)) as maps:
            predicted = self.painter(noisy, times, states)
            attended = torch.stack([maps.of(it) for it in self._positions(tokens)], 1)
        return (predicted - velocity).square().flatten(1).mean(1), attended

    def _positions(self, tokens: Int[Tensor, "B L"]) -> list[Int[Tensor, " B"]]:
        vocabulary = self.painter.tokenizer.vocabulary
        return [positions_of(tokens, vocabulary + number) for number in range(len(self.words.names))]

    def fit(
        self,
        pictures: Float[Tensor, "n 3 H W"],
        masks: Bool[Tensor, "n N H W"] | None = None,
        *,
        steps: int = 200,
        rate: float = 0.005,
        batch: int = 4,
        guidance: Guidance = "hard",
        attention: float = 1.0,
        seed: int = 0,
    ) -> list[float]:
        """Learn from pictures with values in [0, 1], and return the losses of all steps.

            L = E ‖v − v_θ‖² + attention · `attention_loss`

        Two calls with one seed see the same pictures, noise and levels of noise, with masks and without.

        Args:
            pictures: of the subject.
            masks: where the subject of each new word is; without them, and with ``attention=0``, the first term alone
                counts.
            steps, rate, batch: of Adam.
            guidance: of the second term.
            attention: its weight.
            seed: of all that is drawn.

        Source: Shentu, Watson and Al Moubayed, "Textual Localization: Decomposing Multi-concept Images for
        Subject-Driven Text-to-Image Generation" (2024), arXiv 2402.09966, for the second term.
        """
        generator = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.Adam(self.parameters(), lr=rate)
        losses: list[float] = []
        for _ in range(steps):
            rows = torch.randint(len(pictures), (batch,), generator=generator)
            times = torch.randint(STEPS, (batch,), generator=generator)
            noise = torch.randn(batch, *pictures.shape[1:], generator=generator)
            errors, maps = self.errors(pictures[rows], noise, times)
            loss = errors.mean()
            if masks is not None and attention:
                loss = loss + attention * attention_loss(maps, masks[rows], guidance)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            losses.append(float(loss.detach()))
        return losses

    @torch.no_grad()
    def attended(
        self, pictures: Float[Tensor, "n 3 H W"], *, time: int = 400, seed: int = 0
    ) -> Float[Tensor, "n N s s"]:
        """Return the map of each new word on pictures at one level of noise."""
        noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(seed))
        return self.errors(pictures, noise, torch.full((len(pictures),), time))[1]

    @torch.no_grad()
    def draw(
        self,
        texts: Sequence[str],
        *,
        seeds: Sequence[int] | None = None,
        steps: int = 12,
        guidance: float = 3.0,
    ) -> Float[Tensor, "n 3 H W"]:
        """Draw a picture of each text, which may have new words; the options are those of `PaintingNetwork.draw`.

        Raises:
            ValueError: for a new word that was not learned, and a text that is too long.
        """
        empty, drawn = self.painter.states(self.painter.tokenizer([""])), []
        for number, text in enumerate(texts):
            states = self.painter.states(self.words.tokens([text]), self.words.vectors)
            seed = [number if seeds is None else seeds[number]]
            concept = BoxedConcept(states, (0, 0, 1, 1), _named(self.keys), _named(self.values))
            with regional_attention(self.painter.unet, [concept] if self.keys else [], guided=guidance != 1):
                drawn.append(self.painter.sample(states, empty, seeds=seed, steps=steps, guidance=guidance))
        return torch.cat(drawn)


def attention_loss(
    maps: Float[Tensor, "B N s s"], masks: Bool[Tensor, "B N H W"], guidance: Guidance = "hard"
) -> Float[Tensor, ""]:
    """Return how far maps of words are from the masks of what they name; the mean over words and pictures.

        hard: mean over cells (A − M)²;   soft: mean over all cells of 1[M = 0] A²

    Maps are enlarged to the side of masks. Masks are binary: resized ones have soft borders, which are no background.
    A word without a mask in a picture, one whose mask is empty, has no loss there. Under ``soft``, a mask that is full
    asks nothing.

    >>> mask = torch.tensor([[[[True, False], [False, False]]]])
    >>> maps = torch.tensor([[[[0.0, 1.0], [0.0, 0.0]]]])
    >>> attention_loss(maps, mask, "hard").item(), attention_loss(maps, mask, "soft").item()
    (0.5, 0.25)
    """
    enlarged = F.interpolate(maps, masks.shape[2:], mode="bilinear")
    gaps = (enlarged - masks.to(enlarged)).square()
    if guidance == "soft":
        gaps = gaps * ~masks
    shown = masks.flatten(2).any(2)
    return (gaps.mean((2, 3)) * shown).sum() / shown.sum().clamp_min(1)


def _key(layer: str) -> str:
    return layer.replace(".", "|")  # names of parameters have no dots


def _named(parameters: nn.ParameterDict) -> dict[str, Tensor]:
    return {name.replace("|", "."): parameter for name, parameter in parameters.items()}
