"""The modality importance score: averaged over models it tells what a question needs, better than one model does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from counterpoint.data.items import Narrations
from counterpoint.data.synthetic.clips.words.narrations import NAMES
from counterpoint.evaluation.modality_importance import question_types
from counterpoint.evaluation.statistic import STATISTICS
from counterpoint.evaluation.tasks.modality_importance_score import BOTH, NEEDS, TEXT, TYPES, VIDEO
from counterpoint.networks import BytePairTokenizer
from counterpoint.networks.heads import mlp
from counterpoint.networks.init import initialise
from counterpoint.networks.towers.transformer import Embedding

from .lab import Arrays, Lab, Result, ThresholdOrigin, above, decides, effects, secondary, within
from .lab.clip_towers import SIDE, ClipFrames, FrameNetwork, filmed
from .lab.descent import minimise

CLAIM = (
    "The modality importance score from probabilities averaged over models recovers what questions need, "
    "better than from the answers of one model, and accuracy falls with the modality permuted that they need "
    "and with no other one."
)
REFUTED = "its macro F1 is below 0.6, or permuting does not hurt where it should"
OWN = (
    "A fusion network is trained here with modalities dropped at random, and asked with every subset of them. No "
    "registered method answers questions about clips and speech with a modality missing."
)
SHARE = effects.convention("share")
TYPED = effects.level(
    "four types in equal parts, of which a constant answer has 0.1; chosen here", "convention"
)
NEEDED = {
    "video": effects.reported(
        61.6, 42.7, "accuracy on video-biased questions, video as it is against permuted", unit=0.01
    ),
    "text": effects.reported(
        85.9, 34.2, "accuracy on subtitle-biased questions, subtitles as they are against permuted", unit=0.01
    ),
}
"""Smallest losses of interest where a modality is permuted that a question needs."""
NOT_NEEDED = ThresholdOrigin(
    kind="convention",
    text="0.05, between the paper's losses with the other modality permuted, 0.017 at most, and with the needed one, "
    "0.189 at least; chosen here",
)


COLOURS = ("red", "yellow", "green", "blue", "purple")
WORLD = (
    "clips:narrated,frames=6,backgrounds=white,concepts=cat+dog+pig+fish+apple+banana+car+bus,"
    f"colours={'+'.join(COLOURS)}"
)
WORDS = (*COLOURS, *NAMES)
"""Every answer."""
LOOKED_AT = (1, 4)
"""Frames."""
DROPPED = 0.3
"""Probability of each modality to be missing in training."""
TOLERANCE = 0.25
"""Scores of probabilities that are this close to 0 are 0."""
MODELS, STEPS, BATCH, LR = 5, 1000, 64, 2e-3
TRAINED, TESTED = 8000, 2400
"""Clips, of which about half show two things side by side."""
SHOWN = {"video": VIDEO, "text": TEXT, "both": BOTH, "nothing": frozenset[str]()}


@final
class ModalityFusion(nn.Module):
    """Answers from two frames, what is said and a question; a modality that is missing is a vector of its own.

    Args:
        tokenizer: of what is said and asked.
        seed: of the initial weights.
        width: of the features.
    """

    def __init__(self, tokenizer: BytePairTokenizer, seed: int, width: int = 64) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.frame = FrameNetwork(width)
        self.words = nn.ModuleDict(
            {name: Embedding(tokenizer.vocabulary, width, std=0.5) for name in ("said", "asked")}
        )
        self.missing = Embedding(2, width, std=0.5)
        self.head = mlp(3 * width, 256, len(WORDS), layers=3, norm=False)
        initialise(self, seed)

    def forward(
        self,
        frames: UInt8[Tensor, "n T 3 H W"],
        narration: Int[Tensor, "n L"],
        question: Int[Tensor, "n M"],
        mask: Bool[Tensor, "n 2"],
    ) -> Float[Tensor, "n words"]:
        """Compute logits of all answers.

        Args:
            frames: some of the video.
            narration, question: in tokens.
            mask: whether the video, and what is said, are there.
        """
        seen = self.frame(frames.flatten(0, 1)).view(*frames.shape[:2], -1).mean(1)
        parts = torch.stack([seen, self._read("said", narration)], 1)
        parts = torch.where(mask[..., None], parts, self.missing.weight)
        return self.head(torch.cat([parts.flatten(1), self._read("asked", question)], 1))

    def _read(self, name: str, tokens: Int[Tensor, "n L"]) -> Float[Tensor, "n width"]:
        inside = (tokens != 0)[..., None]
        total: Tensor = (self.words[name](tokens) * inside).sum(1)
        return total / inside.sum(1)


def narrated(data: ClipFrames) -> Narrations:
    assert isinstance(data.items, Narrations)
    return data.items


def among(items: Narrations) -> tuple[Bool[Tensor, "n words"], Int[Tensor, " n"]]:
    """Return which words are options of each question, and which word is its answer."""
    words = [[WORDS.index(option.split()[-1]) for option in options] for options in items.options]
    allowed = torch.zeros(len(words), len(WORDS), dtype=torch.bool)
    for row, indices in zip(allowed, words, strict=True):
        row[indices] = True
    return allowed, torch.tensor(
        [indices[answer] for indices, answer in zip(words, items.answers.tolist(), strict=True)]
    )


def train_fusion(data: ClipFrames, tokenizer: BytePairTokenizer, steps: int, seed: int) -> ModalityFusion:
    """Train a model with modalities dropped at random."""
    items, model = narrated(data), ModalityFusion(tokenizer, seed).train()
    narrations, questions = tokenizer(items.narrations), tokenizer(items.questions)
    options, answers = among(items)

    def step(rng: np.random.Generator) -> Tensor:
        rows = rng.choice(len(data), min(BATCH, len(data)), replace=False)
        there = torch.from_numpy(rng.random((len(rows), 2)) >= DROPPED)
        logits = model(data.frames[rows][:, LOOKED_AT], narrations[rows], questions[rows], there)
        return F.cross_entropy(logits.masked_fill(~options[rows], -torch.inf), answers[rows])

    minimise(step, model.parameters(), steps=steps, lr=LR, seed=seed)
    return model.eval()


@torch.no_grad()
def right(
    model: ModalityFusion,
    data: ClipFrames,
    shown: frozenset[str],
    videos: Int[np.ndarray, " n"] | None = None,
    texts: Int[np.ndarray, " n"] | None = None,
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return the probability of the right answer of each question, and whether it is the model's answer.

    Args:
        model: answers.
        data: the questions.
        shown: which modalities are there.
        videos, texts: whose video is seen and what is heard, their own unless given.
    """
    items = narrated(data)
    rows = np.arange(len(data))
    frames = data.frames[rows if videos is None else videos][:, LOOKED_AT]
    narrations = model.tokenizer(items.narrations)[rows if texts is None else texts]
    options, answers = among(items)
    there = torch.tensor([name in shown for name in ("video", "text")]).expand(len(data), 2)
    logits = model(frames, narrations, model.tokenizer(items.questions), there).masked_fill(
        ~options, -torch.inf
    )
    chance = logits.softmax(1).gather(1, answers[:, None])[:, 0]
    return chance.numpy(), (logits.argmax(1) == answers).float().numpy()


def experiment(seed: int, steps: int, train_size: int, test_size: int, models: int) -> Arrays:
    """Train five models; type the test questions by the first one's answers and by the mean of all probabilities.

    Returns:
        ``hard``, ``soft``: constructed and found type of each question; for each kind of question the
        models' mean accuracy with both shown, as they are and with the video or the text of another question.
    """
    data = filmed(WORLD, "train", train_size, Narrations)
    test = filmed(WORLD, "as trained", test_size, Narrations)
    texts = [*narrated(data).narrations, *narrated(data).questions]
    tokenizer = BytePairTokenizer.train(sorted(set(texts)), 320, 16)
    ensemble = [train_fusion(data, tokenizer, steps, seed * MODELS + k) for k in range(models)]
    answers = [{shown: right(model, test, shown) for shown in SHOWN.values()} for model in ensemble]
    kinds = np.asarray(test.items.kinds)
    needed = np.array([TYPES.index(NEEDS[kind]) for kind in kinds])
    hard = question_types({shown: answers[0][shown][1] for shown in (VIDEO, TEXT, BOTH)})
    mean = {
        shown: np.mean([by_modality[shown][0] for by_modality in answers], axis=0)
        for shown in (VIDEO, TEXT, BOTH)
    }
    soft = question_types(mean, TOLERANCE)
    outcomes: Arrays = {
        name: np.stack([needed, [TYPES.index(one) for one in types.tolist()]], 1)
        for name, types in (("hard", hard), ("soft", soft))
    }
    order = np.roll(np.arange(len(test)), 1)
    accuracies = {
        "as they are": [by_modality[BOTH][1] for by_modality in answers],
        "video permuted": [right(model, test, BOTH, videos=order)[1] for model in ensemble],
        "text permuted": [right(model, test, BOTH, texts=order)[1] for model in ensemble],
    }
    for kind in NEEDS:
        for name, hits in accuracies.items():
            outcomes[f"{kind} {name}"] = np.mean(hits, axis=0)[kinds == kind].astype(float)
    for name, shown in SHOWN.items():
        outcomes[f"accuracy {name}"] = np.mean(
            [by_modality[shown][1] for by_modality in answers], axis=0
        ).astype(float)
    return outcomes


def run(lab: Lab) -> Iterator[Result]:
    runs = lab.grid(experiment, {}, steps=STEPS, train_size=TRAINED, test_size=TESTED, models=MODELS)
    types = runs.scores("{}", "macro F1 of the constructed types", STATISTICS["macro_f1"])
    accuracy = runs.scores("{} {}", "accuracy as they are − permuted")

    def drop(kind: str, modality: str, large: bool) -> Result:
        lost = accuracy[kind, "as they are"] - accuracy[kind, f"{modality} permuted"]
        name = f"drop of {kind} questions with the {modality} of another"
        if large:
            return above(lost, name=name, **NEEDED[modality])
        return within(lost, 0.05, name=name, source=NOT_NEEDED)

    yield from decides(
        above(types["soft"], 0.6, name="soft: types found", **TYPED),
        above(types["soft"] - types["hard"], name="soft − hard: types found", **SHARE),
        drop("video", "video", large=True),
        drop("video", "text", large=False),
        drop("text", "text", large=True),
        drop("text", "video", large=False),
        drop("both", "video", large=True),
        drop("both", "text", large=True),
    )
    yield from secondary(*(drop("either", modality, large=False) for modality in ("video", "text")))
    lab.note(
        f"Two coloured things side by side, {len(LOOKED_AT)} frames of {SIDE} pixels, and a sentence about one of",
        f"them; five options a question. {MODELS} models a seed, {STEPS} steps of {BATCH} each, every modality dropped",
        f"with probability {DROPPED:g}; soft scores are means of the right answer's probability, and 0 within",
        f"{TOLERANCE:g}; hard ones are the first model's answers. Accuracy with",
        runs.scores("accuracy {}", "accuracy").means(SHOWN, digits=2)
        + ". Where both tell the same, the permuted one",
        "contradicts the other, so that drop is not judged. That complementary questions are rare in real sets cannot",
        "be tested here.",
    )
