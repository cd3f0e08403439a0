"""Concepts of a word: a dictionary of the states that predict the word, grounded in pictures and in words.

Source: Parekh et al., "A Concept-Based Explainability Framework for Large Multimodal Models" (NeurIPS 2024),
arXiv 2406.08074.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import permutations
from typing import Any, Literal, NamedTuple, final

import numpy as np
import torch
from jaxtyping import Float, Int

from ...data.views.stopwords import STOP_WORDS
from ...forms import NonNegative
from ...ranges import Checked
from .captions import words_of
from .reading import ReplyReading, Unembedding

PAPERS = {"cox-lmm": ("ConceptDictionary", "grounded_words", "overlap", "strongest", "word_states")}

Decomposition = Literal["semi-nmf", "pca", "k-means", "simple"]

WORDS, CANDIDATES = 10, 50
"""Words that a concept is grounded in, and the tokens among which they are searched, as in the paper."""
SHORTEST = 3
"""Letters that a token has at least to count as a word, where no list of words is given."""


class WordStates(NamedTuple):
    """States that predict one word.

    Attributes:
        rows: indices of the replies that have the word.
        states: of one layer, one for each of these replies.
    """

    rows: Int[np.ndarray, " n"]
    states: Float[np.ndarray, "n d"]


def word_states(readings: Sequence[ReplyReading], tokenizer: Any, word: str, layer: int) -> WordStates:
    """Return the states that predict the first occurrence of a word; replies without the word are left out.

    A word of several tokens counts by its first one.

    Args:
        readings: of replies.
        tokenizer: of the model.
        word: in small letters.
        layer: as in `ReplyReading`. The last one has been through the final norm; the paper reads the one before.
    """
    rows, states = [], []
    for row, reading in enumerate(readings):
        _, spans = words_of(tokenizer, reading.tokens.tolist())
        start = next((span.tokens.start for span in spans if span.text.lower() == word), None)
        if start is not None:
            rows.append(row)
            states.append(reading.predicting[layer, start].double().cpu().numpy())
    width = readings[0].predicting.shape[-1] if readings else 0
    return WordStates(np.array(rows, dtype=int), np.array(states).reshape(len(rows), width))


@final
class ConceptDictionary(Checked):
    """Concepts u_k of states z, and how active each is in a state.

    ``"semi-nmf"`` is the paper's decomposition:

        min ½ ‖z / s − Σ_k v_k u_k‖² + α Σ_k v_k,   v ≥ 0,   ‖u_k‖ ≤ 1

    s is the mean norm of the states, so that α does not depend on the scale of the model's states. The paper writes the
    objective without ½ and s; its λ is ``2 α s``. The other methods are baselines. The activations of ``"pca"`` are
    signed. Those of ``"k-means"`` and of ``"simple"`` are 1 / (1 + distance); the atoms of ``"simple"`` are the states
    of largest norm.

    Args:
        states: one a row, of one word; many more than concepts.
        count: of concepts.
        method: of decomposition.
        alpha: weight of the sparsity. Look at `active`: at too high a value no concept is active.
        seed: of the decomposition.

    Attributes:
        atoms: concepts in the space of the states, without their scale.
        activations: of the states that the concepts were learned from.

    Raises:
        ValueError: for fewer states than concepts, or an unknown method.

    >>> states = np.repeat(np.eye(3), 4, axis=0)
    >>> concepts = ConceptDictionary(states, 3, alpha=0.1)
    >>> concepts.encode(states[::4]).max(1).round(2).tolist(), concepts.active
    ([0.9, 0.9, 0.9], 1.0)
    """

    def __init__(
        self,
        states: Float[np.ndarray, "n d"],
        count: int,
        *,
        method: Decomposition = "semi-nmf",
        alpha: NonNegative = 0.1,
        seed: int = 0,
    ) -> None:
        from sklearn.cluster import KMeans
        from sklearn.decomposition import PCA, DictionaryLearning

        if not 1 <= count <= len(states):
            raise ValueError(f"{count} concepts cannot be learned from {len(states)} states")
        self.scale = float(np.linalg.norm(states, axis=1).mean())
        unit = states / self.scale
        self._model: Any = None
        if method == "semi-nmf":
            self._model = DictionaryLearning(
                count,
                alpha=alpha,
                max_iter=1000,
                tol=1e-6,
                fit_algorithm="cd",
                transform_algorithm="lasso_cd",
                transform_max_iter=5000,
                positive_code=True,
                random_state=seed,
            ).fit(unit)
            self.atoms = self._model.components_
        elif method == "pca":
            self._model = PCA(count, random_state=seed).fit(unit)
            self.atoms = self._model.components_
        elif method == "k-means":
            self.atoms = KMeans(count, n_init=10, random_state=seed).fit(unit).cluster_centers_
        else:
            self.atoms = unit[np.argsort(-np.linalg.norm(unit, axis=1), kind="stable")[:count]]
        self.activations = self.encode(states)

    def encode(self, states: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
        """Return the activations of states, new ones too."""
        unit = states / self.scale
        if self._model is not None:
            return np.asarray(self._model.transform(unit))
        return 1 / (1 + np.linalg.norm(unit[:, None] - self.atoms, axis=-1))

    @property
    def active(self) -> float:
        """The mean number of concepts that are active in a state."""
        return float((self.activations != 0).sum(1).mean())


def strongest(activations: Float[np.ndarray, "n k"], count: int = 5) -> Int[np.ndarray, "k count"]:
    """Return the states that activate each concept most, the strongest first: their pictures ground the concept.

    Give activations of held-out states. The states that the concepts were learned from show what was memorised.
    """
    return np.argsort(-activations, axis=0, kind="stable")[:count].T


def grounded_words(
    atoms: Float[np.ndarray, "k d"],
    unembed: Unembedding,
    tokenizer: Any,
    known: Collection[str] | None = None,
    *,
    count: int = WORDS,
    candidates: int = CANDIDATES,
) -> list[tuple[str, ...]]:
    """Return the words that each concept is grounded in: those of the largest entries of ``W_U u``, without a norm.

    Args:
        atoms: concepts, or any other directions.
        unembed: of the model.
        tokenizer: of the model.
        known: words that count, in small letters; all tokens of at least three letters unless given. Stop words do not
            count.
        count: of words, at most; a concept may have fewer, or none.
        candidates: tokens among which they are searched.
    """
    weight = unembed.head.weight
    logits = torch.from_numpy(atoms).to(weight) @ weight.T
    grounded = []
    for tokens in logits.topk(min(candidates, logits.shape[1])).indices.tolist():
        texts = [tokenizer.decode([token]).strip().lower() for token in tokens]
        words = dict.fromkeys(text for text in texts if _counts(text, known))
        grounded.append(tuple(words)[:count])
    return grounded


def _counts(text: str, known: Collection[str] | None) -> bool:
    if text in STOP_WORDS:
        return False
    return text.isalpha() and len(text) >= SHORTEST if known is None else text in known


def overlap(words: Sequence[Collection[str]]) -> float:
    """Return how much concepts share their words: the mean of ``|w_i ∩ w_j| / |w_i|`` over ordered pairs.

    Concepts without words are left out; NaN for fewer than two others.

    >>> overlap([("cat", "red"), ("cat",), ()])
    0.75
    """
    shares = [len({*one} & {*other}) / len({*one}) for one, other in permutations(filter(None, words), 2)]
    return float(np.mean(shares)) if shares else float("nan")
