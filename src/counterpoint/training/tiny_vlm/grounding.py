"""Tying words to what they mean, from the annotations of scenes.

The thing that a question asks about is found by a word that looks at the patches which show its thing, and is answered
from what those patches hold. Left to the answers alone that is learned late: neither the words nor the picture tell
anything about a balanced answer before both work. So four things are taught directly: a patch, as the language model
is shown it, looks like the words for what is there; a word for a thing looks at the patches that show it; from there
on it knows the thing's colour and place; and where a reply begins, what it rests on is known a layer before it is
said, so that "Is the cat red?" is answered by comparing the cat's colour with the one that is named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from ...data.synthetic.scenes.config import SceneConfig
from ...data.synthetic.scenes.items.questions import named
from .perception import PLACES, Targets

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

LAYER, HEADS = 1, 2
"""The layer of the language model whose first heads point from words to patches, and the number of these heads."""
FIRST = 2
"""Place at which the picture begins in what is read."""
NO_WORD = -100
"""Label for a place without a word to name."""


def first_token(tokenizer: PreTrainedTokenizerFast, word: str) -> int:
    """Return the token by which a word within a sentence begins; `NO_WORD` for an empty one."""
    return int(tokenizer(" " + word)["input_ids"][0]) if word else NO_WORD


class Grounding:
    """The losses that tie the words of a language model to what is seen.

    Args:
        config: of the world that is seen.
        tokenizer: the language model's.

    Attributes:
        names: for every class of a patch's concept, colour, column and row the first token of its word within a
            sentence, −100 for none; of columns and rows the outer thirds have one.
        meanings: for every token the class of the concept whose word begins with it, 0 for none.
    """

    def __init__(self, config: SceneConfig, tokenizer: PreTrainedTokenizerFast) -> None:
        def token(word: str) -> int:
            return first_token(tokenizer, word)

        third = PLACES // 3
        words = {
            "concept": ["", *(named(concept, "") for concept in config.concepts)],
            "colour": ["", "", *config.colours],
            "column": ["", *["left"] * third, *[""] * third, *["right"] * third],
            "row": ["", *["top"] * third, *[""] * third, *["bottom"] * third],
        }
        self.names = {what: torch.tensor([token(word) for word in each]) for what, each in words.items()}
        self.meanings = torch.zeros(len(tokenizer), dtype=torch.long)
        for number, concept in enumerate(config.concepts):
            # Both numbers: a cat, two cats.
            for count in (1, 2):
                self.meanings[token(named(concept, "", count))] = 1 + number

    def naming(
        self, model: LlavaForConditionalGeneration, projected: Float[Tensor, "n p w"], targets: Targets
    ) -> Float[Tensor, ""]:
        """Return how far patches are from looking like the words for what they show: mean cross-entropies, averaged."""
        logits = model.lm_head(projected).float()
        each = [_mean_of_named(logits, words[getattr(targets, what)]) for what, words in self.names.items()]
        return torch.stack(each).mean()

    def pointing(
        self,
        attention: Float[Tensor, "n h t s"],
        tokens: Int[Tensor, "n t"],
        sees: Bool[Tensor, "n t"],
        targets: Targets,
    ) -> Float[Tensor, ""]:
        """Compute ``−log`` of the attention that words for things pay to the patches that show them.

        Where no patch shows a thing, the attention to no patch at all counts; the mean over words and heads.

        Args:
            attention: of layer `LAYER`, whose first `HEADS` heads point.
            tokens: that are read.
            sees: which of them see the picture.
            targets: what the picture shows.
        """
        shown = self._shown(tokens, sees, targets)[:, None]
        paid = attention[:, :HEADS, :, FIRST : FIRST + targets.concept.shape[1]].float()
        right = torch.where(shown.any(-1), (paid * shown).sum(-1), 1 - paid.sum(-1))
        words = (self.meanings[tokens] > 0) & sees
        # An attention may be rounded to 0, whose logarithm has no end.
        return -right.clamp(min=1e-6).log().mean(1)[words].sum() / words.sum().clamp(min=1)

    def knowing(
        self,
        model: LlavaForConditionalGeneration,
        states: Float[Tensor, "n t w"],
        tokens: Int[Tensor, "n t"],
        sees: Bool[Tensor, "n t"],
        targets: Targets,
    ) -> Float[Tensor, ""]:
        """Return how far a word for a thing is from naming its colour and outer thirds: averaged mean cross-entropies.

        Args:
            model: whose head reads the words.
            states: behind layer `LAYER`.
            tokens, sees, targets: as for `pointing`.
        """
        shown = self._shown(tokens, sees, targets)
        normed = model.model.language_model.norm(states)
        losses = []
        for what in ("colour", "column", "row"):
            classes = getattr(targets, what)[:, None]
            most = classes.masked_fill(~shown, 0).amax(-1)
            # Where two things of a name differ, the word stands for neither's colour or place.
            one = shown.any(-1) & (shown & (classes != most[..., None])).logical_not().all(-1)
            words = self.names[what][most.where(one, torch.zeros_like(most))]
            taught = words != NO_WORD
            losses.append(_mean_of_named(model.lm_head(normed[taught]).float(), words[taught]))
        return torch.stack(losses).mean()

    def concluding(
        self,
        model: LlavaForConditionalGeneration,
        states: Float[Tensor, "n t w"],
        facts: Int[Tensor, "n t"],
    ) -> Float[Tensor, ""]:
        """Return how far the beginning of a reply is from naming the fact that it rests on: a mean cross-entropy.

        Args:
            model: whose head reads the words.
            states: behind the layer after `LAYER`.
            facts: the first tokens of facts, `NO_WORD` elsewhere.
        """
        known = facts != NO_WORD
        return _mean_of_named(model.lm_head(model.model.language_model.norm(states[known])), facts[known])

    def _shown(
        self, tokens: Int[Tensor, "n t"], sees: Bool[Tensor, "n t"], targets: Targets
    ) -> Bool[Tensor, "n t p"]:
        """Return which patches show what a token that sees the patches is a word for."""
        meant = self.meanings[tokens] * sees
        return (meant[:, :, None] == targets.concept[:, None]) & (meant > 0)[:, :, None]


def _mean_of_named(logits: Float[Tensor, "*n v"], words: Int[Tensor, "*n"]) -> Float[Tensor, ""]:
    """Compute the mean cross-entropy of what has a word; 0 where nothing does."""
    # Summed here, since the mean over nothing would be NaN.
    total = F.cross_entropy(logits.flatten(0, -2), words.flatten(), ignore_index=NO_WORD, reduction="sum")
    return total / (words != NO_WORD).sum().clamp(min=1)
