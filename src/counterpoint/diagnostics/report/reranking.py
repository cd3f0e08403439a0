"""The section about re-ranking: the queries whose right answer a joint score lifts or loses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .subject import DiagnosticCard, DiagnosticSection, MarkedWord, Subject, spaced
from .words import squares

QUERIES = 64
"""Queries of each direction, at most."""
ANSWERS = 500
"""Rows whose answers are ranked, at most."""
BEST = 32
"""The best answers by embedding, which are scored jointly, as in the task of retrieval."""
SHOWN = 6
"""Queries of each direction and kind that are drawn."""


@dataclass(frozen=True)
class RankChange:
    """A query whose best right answer has another rank by the joint score.

    Attributes:
        query: its position.
        before, after: ranks of the best right answer, from 1.
        first: the answers that come first, by embedding and by the joint score.
    """

    query: int
    before: int
    after: int
    first: tuple[int, int]


def reranked(subject: Subject) -> DiagnosticSection:
    """Show the queries whose right answer comes earlier, or later, once the best answers are scored jointly."""
    features = subject.features
    if not features.pair_heads:
        raise ValueError("the model has no joint score of pairs, as models of albef and coca have")
    if not {"image", "text"} <= {*features.shared}:
        raise ValueError("the model does not embed both pictures and texts, so nothing is ranked first")
    rows, texts = subject.captioned(ANSWERS)
    pictures = torch.as_tensor(subject.data.read("image", rows))
    captions = list(dict.fromkeys(texts))
    number = {caption: k for k, caption in enumerate(captions)}
    belongs = torch.zeros(len(rows), len(captions), dtype=torch.bool)
    belongs[torch.arange(len(rows)), torch.tensor([number[text] for text in texts])] = True
    z, w = features.column("image", rows), features.texts(captions)
    of_pictures, of_texts = features.pair_states("image", pictures), features.pair_states("text", captions)
    near = features.similarity(z, w)
    shown = squares(pictures)
    numbers: dict[str, float] = {}
    cards: list[DiagnosticCard] = []
    for direction, scores, right in (
        ("picture to text", near, belongs),
        ("text to picture", near.T, belongs.T),
    ):
        queries = torch.from_numpy(spaced(torch.arange(len(scores)).numpy(), QUERIES))
        scores, right = scores[queries], right[queries]
        best = scores.topk(min(BEST, scores.shape[1]), 1).indices
        pairs = torch.stack([queries.repeat_interleave(best.shape[1]), best.flatten()], 1)
        of_both = (of_pictures, of_texts) if direction == "picture to text" else (of_texts, of_pictures)
        joint = features.pair_scores(*of_both, pairs)[:, 0].view(best.shape)
        changes = rank_changes(scores, best, joint, right)
        lifted = sorted((c for c in changes if c.after < c.before), key=lambda c: c.after - c.before)
        lost = sorted((c for c in changes if c.after > c.before), key=lambda c: c.before - c.after)
        numbers |= {
            f"{direction}, queries": float(len(queries)),
            f"{direction}, lifted": float(len(lifted)),
            f"{direction}, lost": float(len(lost)),
            f"{direction}, first by embedding": _share_first([c.before for c in changes]),
            f"{direction}, first by the joint score": _share_first([c.after for c in changes]),
        }
        for change in [*lifted[:SHOWN], *lost[:SHOWN]]:
            asked, (before, after) = int(queries[change.query]), change.first
            kind = "lifted" if change.after < change.before else "lost"
            title = f"{direction}, {kind}: rank {change.before} → {change.after}"
            if direction == "picture to text":
                lines = [
                    ("right", _words(texts[asked])),
                    ("before", _words(captions[before])),
                    ("after", _words(captions[after])),
                ]
                cards.append(DiagnosticCard(title, [("", shown[asked])], lines))
            else:
                own = int(belongs[:, asked].nonzero()[0])
                drawn = [("right", shown[own]), ("before", shown[before]), ("after", shown[after])]
                cards.append(DiagnosticCard(title, drawn, [("text", _words(captions[asked]))]))
    both = ", ".join(
        f"{direction} {numbers[f'{direction}, lifted']:.0f} lifted and {numbers[f'{direction}, lost']:.0f} lost of "
        f"{numbers[f'{direction}, queries']:.0f}"
        for direction in ("picture to text", "text to picture")
    )
    sentence = (
        f"The {min(BEST, len(captions))} answers nearest by embedding are ranked once more by the joint score "
        f"({features.pair_heads[0]}), among {len(captions)} texts and {len(rows)} pictures: {both}. Those with the "
        "largest change are shown, with what comes first before and after."
    )
    return DiagnosticSection("reranked", "What re-ranking changes", sentence, numbers, None, cards)


def rank_changes(
    scores: Float[Tensor, "n m"],
    best: Tensor,
    joint: Float[Tensor, "n k"],
    right: Bool[Tensor, "n m"],
) -> list[RankChange]:
    """Return the rank of the best right answer of each query, before and after the best answers are ranked anew.

    Args:
        scores: of all answers, by embedding.
        best: positions (n, k) of the answers that are ranked anew.
        joint: their new scores. The others keep their ranks behind them.
        right: the right answers; at least one for each query.

    >>> scores = torch.tensor([[0.9, 0.8, 0.1]])
    >>> right = torch.tensor([[False, True, False]])
    >>> rank_changes(scores, torch.tensor([[0, 1]]), torch.tensor([[-1.0, 2.0]]), right)
    [RankChange(query=0, before=2, after=1, first=(0, 1))]
    """
    # Behind the best, in the order of their own scores.
    again = (scores - scores.amax(1, keepdim=True) - 1).double() + joint.double().amin(1, keepdim=True)
    again = again.scatter(1, best, joint.double())
    ranks = []
    for values in (scores.double(), again):
        highest = values.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
        ranks.append(1 + ((values > highest) & ~right).sum(1))
    first = zip(scores.argmax(1).tolist(), again.argmax(1).tolist(), strict=True)
    before, after = (rank.tolist() for rank in ranks)
    return [
        RankChange(query, *changed) for query, changed in enumerate(zip(before, after, first, strict=True))
    ]


def _share_first(ranks: Sequence[int]) -> float:
    return sum(rank == 1 for rank in ranks) / max(len(ranks), 1)


def _words(text: str) -> list[MarkedWord]:
    return [MarkedWord(word) for word in text.split()]
