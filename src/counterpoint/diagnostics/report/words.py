"""Sections about the words of texts: the patches that each rests on, and how likely a captioner finds it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ...methods._captioning import CaptioningMethod
from ...methods._matching import MatchingMethod
from ...networks.base import Tokenizer
from ...networks.fusion.relevance import unit_range
from ...networks.towers.parts.pooling import inside
from ...reasons import counted
from .subject import DiagnosticCard, DiagnosticSection, MarkedWord, Subject, WordMap

SHOWN = 12
"""Pairs that are drawn."""
END = "■"
"""What stands for the end of a caption."""


def word_maps(subject: Subject) -> DiagnosticSection:
    """Draw which patches each word of a text rests on.

    The maps are the relevances of a joint encoder, or else the similarities of patches with the word by itself.
    """
    rows, texts = subject.captioned(SHOWN)
    pictures = subject.pictures(rows)
    model = subject.model
    if isinstance(model, MatchingMethod) and model.maps_phrases:
        of_texts = _relevances(model, pictures, texts)
        what = (
            "A map is the attention of the word to the patches times the gradient of the logit that picture and text "
            "belong together. The number is the word's share of the sum over its text."
        )
    else:
        of_texts = _similarities(subject, pictures, texts)
        what = (
            "A map is the similarity of patches with the embedding of the word by itself. The number is the highest "
            "one."
        )
    alike = [_mean_correlation([one.values for one in of_text]) for of_text in of_texts]
    numbers = {
        "correlation of two words of a text": float(np.nanmean(alike)) if np.isfinite(alike).any() else np.nan
    }
    sentence = (
        f"{what} The maps of two words of one text correlate by {numbers['correlation of two words of a text']:.2f} on "
        "average (1: all words rest on the same patches). Each map is scaled by its own lowest and highest value."
    )
    cut = sum(len(text.split()) - len(maps) for text, maps in zip(texts, of_texts, strict=True))
    if cut:
        sentence += f" {counted(cut, 'word')} behind the tower's context {'has' if cut == 1 else 'have'} no map."
    shown = squares(pictures)
    cards = [
        DiagnosticCard(text, pictures=[("", picture)], maps=maps)
        for text, picture, maps in zip(texts, shown, of_texts, strict=True)
    ]
    return DiagnosticSection("words", "What words rest on", sentence, numbers, None, cards)


def captions(subject: Subject) -> DiagnosticSection:
    """Show the captions that a model writes beside the true ones, each word with its probability."""
    model = subject.model
    if not isinstance(model, CaptioningMethod):
        raise ValueError("the model writes no captions of pictures, as models of cappa and coca do")
    rows, texts = subject.captioned(SHOWN)
    pictures = subject.pictures(rows)
    written = model.caption(pictures)
    true = model.token_log_likelihood(pictures, texts)
    own = model.token_log_likelihood(pictures, written)
    blind = model.token_log_likelihood(None, texts)
    numbers = {
        "negative log-likelihood of a token": float(-true.nanmean()),
        "without the picture": float(-blind.nanmean()),
        "of the model's own captions": float(-own.nanmean()),
    }
    nll, without, of_own = numbers.values()
    sentence = (
        f"A token of the true captions has a negative log-likelihood of {nll:.2f} nats, {without:.2f} with a grey "
        f"picture in place of the true one, and {of_own:.2f} in the captions that the model writes itself, of "
        f"{len(rows)} pictures. The redder a word, the less likely it is behind the words before it; {END} is the end."
    )
    cards = []
    for k, (text, mine) in enumerate(zip(texts, written, strict=True)):
        lines = [
            ("true", _marked(model, text, true[k], blind[k])),
            ("written", _marked(model, mine, own[k])),
        ]
        cards.append(DiagnosticCard("", pictures=[("", squares(pictures[k : k + 1])[0])], lines=lines))
    return DiagnosticSection("captions", "Captions", sentence, numbers, None, cards)


def word_spans(tokenizer: Tokenizer, text: str) -> list[tuple[str, slice]]:
    """Return the words of a text, between white space, each with the positions of its tokens.

    Words behind the tokenizer's context have none, and are left out. Tokens are told apart by how many more there are
    with a word than without, so that no tokenizer is asked for offsets.
    """
    words = text.split()
    prefixes = ["", *(" ".join(words[: k + 1]) for k in range(len(words)))]
    tokens = tokenizer(prefixes)
    # The last token of each is the end.
    count = (inside(tokens, tokenizer.end).sum(1) - 1).tolist()
    spans = [(word, slice(a, b)) for word, a, b in zip(words, count, count[1:], strict=False)]
    return [(word, span) for word, span in spans if span.start < span.stop]


def _relevances(model: MatchingMethod, pictures: Tensor, texts: Sequence[str]) -> list[list[WordMap]]:
    maps = model.word_maps(pictures, texts)
    of_texts = []
    for of_tokens, text in zip(maps, texts, strict=True):
        spans = word_spans(model.text_tower.tokenizer, text)
        means = [of_tokens[span].mean(0) for _, span in spans]
        total = max(sum(float(of_tokens[span].sum()) for _, span in spans), 1e-30)
        of_texts.append(
            [
                WordMap(word, f"{float(of_tokens[span].sum()) / total:.2f}", _scaled(mean))
                for (word, span), mean in zip(spans, means, strict=True)
            ]
        )
    return of_texts


def _similarities(subject: Subject, pictures: Tensor, texts: Sequence[str]) -> list[list[WordMap]]:
    try:
        patches = subject.model.embed_patches(pictures).float().cpu().permute(0, 2, 3, 1)
        words = [text.split() for text in texts]
        embedded = subject.features.texts([word for of_text in words for word in of_text])
    except (LookupError, ValueError) as error:
        raise ValueError(
            f"words have no map in this model: {error.args[0] if error.args else error}; take one with a joint encoder "
            "(albef, softmask), or towers whose patches can be compared with texts"
        ) from error
    of_texts, start = [], 0
    for grid, of_text in zip(patches, words, strict=True):
        z = embedded[start : start + len(of_text)]
        start += len(of_text)
        near = subject.model.similarity(grid.flatten(0, 1), z).T.reshape(len(z), *grid.shape[:2])
        of_texts.append(
            [
                WordMap(word, f"{float(one.max()):.2f}", _scaled(one))
                for word, one in zip(of_text, near, strict=True)
            ]
        )
    return of_texts


def _scaled(values: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    return unit_range(values.flatten()[None]).view_as(values)


def _mean_correlation(maps: Sequence[Float[Tensor, "h w"]]) -> float:
    """Return the mean correlation of two maps; NaN where there are no two, or one is constant."""
    varied = [one.flatten().double() for one in maps if one.max() > one.min()]
    if len(varied) < 2:
        return float("nan")
    matrix = torch.corrcoef(torch.stack(varied))
    upper = matrix[tuple(torch.triu_indices(len(varied), len(varied), 1))]
    return float(upper.mean())


def _marked(
    model: CaptioningMethod,
    text: str,
    likelihood: Float[Tensor, " L"],
    blind: Float[Tensor, " M"] | None = None,
) -> list[MarkedWord]:
    """Return the words of a caption, each the redder the less probable, and the end of it."""
    spans = word_spans(model.tokenizer, text)
    stop = spans[-1][1].stop if spans else model.skipped
    marked = []
    for word, span in [*spans, (END, slice(stop, stop + 1))]:
        where = slice(span.start - model.skipped, span.stop - model.skipped)
        probability = float(likelihood[where].sum().exp())
        if np.isnan(probability) or not len(likelihood[where]):  # cut off by the context
            continue
        note = f"probability {probability:.2f}"
        if blind is not None:
            note += f", {float(blind[where].sum().exp()):.2f} without the picture"
        marked.append(MarkedWord(word, 1 - probability, note))
    return marked


def squares(pictures: Tensor, side: int = 144) -> Tensor:
    """Return the central squares of pictures, at most this large."""
    least = min(pictures.shape[-2:])
    top, left = ((length - least) // 2 for length in pictures.shape[-2:])
    square = pictures[..., top : top + least, left : left + least]
    if least <= side:
        return square
    small = F.interpolate(square.float(), (side, side), mode="bilinear", antialias=True, align_corners=False)
    return small.round().clamp(0, 255).byte()
