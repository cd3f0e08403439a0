"""Image-induced fidelity loss: small assistants that saw pictures in English alone, on what they could speak before."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoint.data.rng import Rng
from counterpoint.data.synthetic.scenes.scene import Scene
from counterpoint.data.synthetic.scenes.words.captions import short
from counterpoint.data.synthetic.scenes.words.lexicon import Language
from counterpoint.data.synthetic.scenes.words.paragraphs import long
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.decoding.assistant import VisionLanguageAssistant
from counterpoint.diagnostics.assistants import (
    alignment_by_layer,
    direction,
    picture_states,
    prompt_states,
    steered,
)
from counterpoint.evaluation.tasks.fidelity import (
    PIVOT,
    REQUESTS,
    Fidelity,
    FidelityQuestion,
    faithful,
    named,
    questions,
)
from counterpoint.networks import tiny_vlm
from counterpoint.networks.init import seeded
from counterpoint.recipes.tiny_vlm import TinyVLM, Transformer
from counterpoint.statistics import clustered_regression, interactions

from .lab import (
    Arrays,
    Grid,
    Lab,
    Result,
    Score,
    ScoreEstimate,
    above,
    below,
    decides,
    effects,
    per_seed,
    secondary,
    within,
)
from .lab.descent import minimise

CLAIM = (
    "A model tuned on pictures in English replies to German questions in English more often with a picture "
    "than with words in its place, and less so if its language model has learnt from as many German as "
    "English texts."
)
REFUTED = (
    "with a picture German questions are answered in German as often as without, or the loss is as large with "
    "the bilingual language model"
)
SHARE = effects.convention("share")


LANGUAGES: tuple[Language, ...] = ("en", "de")
RECIPE = TinyVLM(
    image_size=48,
    patch=12,
    vision=Transformer(width=64, layers=2, heads=2),
    language=Transformer(width=64, layers=3, heads=4),
    vocabulary=448,
)
WORLD = "scenes:tiny,objects=1,tinted=1,sizes=large,pixels=48"
TRAINED, ASKED = 1200, 60
FEWEST = 4
"""Scenes of a test that CKA needs; a smoke run has no fewer."""
BATCH = 32
SEEING, SPEAKING, LOOKING = 400, 600, 400
"""Steps of the vision tower on labels, of the language model on texts, and on pictures, the first half of which move
the connector alone."""
LR, TUNED_LR = 2e-3, 1e-3
"""Rates of learning, and of tuning language model and connector together on pictures: there `LR` wipes out the rarer
language even without a picture, and nothing is left to lose."""
SHARES = {"mostly English": 0.9, "bilingual": 0.5}
"""Share of English among the texts that the language model learns from."""
GAMMAS = (0.5, 1.0, 2.0)
ALLOWED = 0.05
"""Right answers that steering may cost on the rows on which its strength is chosen."""

Variant = tuple[bool, bool]
"""Variant of training: are the pictures' questions bilingual, and is the language model frozen meanwhile?"""
VARIANTS: tuple[Variant, ...] = tuple(product((False, True), (False, True)))
BASE: Variant = (False, False)
FACTORS = ("bilingual model", "bilingual pictures", "frozen")
"""Factors of the design beside the picture."""


def name_of(variant: Variant) -> str:
    bilingual, frozen = variant
    return f"{'bilingual' if bilingual else 'English'} pictures, {'frozen' if frozen else 'tuned'}"


class QuestionReply(NamedTuple):
    """A question and its reply, with or without a picture."""

    request: str
    reply: str
    row: int | None = None


@lru_cache(maxsize=2)
def world(trained: int, tested: int) -> Scenes:
    tested = max(tested, FEWEST)
    return Scenes.parse(f"{WORLD},train={trained},validation={tested},test={tested}")


def described(scene: Scene, language: Language, draws: Rng) -> QuestionReply:
    """Write a text-only question: what the picture shows stands before it, in one of the ways to say it."""
    if draws.happens("colour", 0.5):
        description = short(scene, language, draws).text
        description = f"{description[:1].upper()}{description[1:]}."
    else:
        scene = replace(scene, things=tuple(replace(thing, colour=None) for thing in scene))
        description = long(scene, language, draws)[0].text
    return QuestionReply(f"{description} {REQUESTS[language]}", short(scene, language).text)


def texts(scenes: Sequence[Scene], share: float, seed: int) -> list[QuestionReply]:
    """Write text-only questions, of which a share is English."""
    examples = []
    for scene in scenes:
        draws = Rng(seed, scene.index, "fidelity texts")
        language: Language = "en" if draws.happens("English", share) else "de"
        examples.append(described(scene, language, draws))
    return examples


def picture_questions(scenes: Sequence[Scene], bilingual: bool, seed: int) -> list[QuestionReply]:
    """Write questions about pictures, all in English or half of them."""
    examples = []
    for row, scene in enumerate(scenes):
        german = bilingual and Rng(seed, scene.index, "fidelity pictures").happens("German", 0.5)
        language: Language = "de" if german else "en"
        examples.append(QuestionReply(REQUESTS[language], short(scene, language).text, row))
    return examples


class Learner:
    """A tiny assistant in training.

    Args:
        scenes: whose words it will know.
        seed: of its weights.
    """

    def __init__(self, scenes: Sequence[Scene], seed: int) -> None:
        known = [
            text for it in (*texts(scenes, 1.0, 0), *texts(scenes, 0.0, 0)) for text in (it.request, it.reply)
        ]
        self.tokenizer = tiny_vlm.train_tokenizer([*known, *REQUESTS.values()], RECIPE.vocabulary)
        self.processor = tiny_vlm.processor(RECIPE, self.tokenizer)
        with seeded(seed, "fidelity"):
            self.model: Any = tiny_vlm.build(RECIPE, self.tokenizer)

    def see(self, pixels: Tensor, labels: Tensor, steps: int, seed: int) -> None:
        """Train the vision tower to name concept and colour."""
        tower, width = self.model.get_submodule("model.vision_tower"), RECIPE.vision.width
        with seeded(seed, "fidelity heads"):
            heads = nn.ModuleList(nn.Linear(width, int(column.max()) + 1) for column in labels.T)

        def loss(rng: np.random.Generator) -> Tensor:
            rows = torch.from_numpy(rng.integers(len(pixels), size=BATCH))
            seen = tower(pixel_values=pixels[rows], output_hidden_states=True).hidden_states[-1].mean(1)
            terms = [
                F.cross_entropy(head(seen), column[rows])
                for head, column in zip(heads, labels.T, strict=True)
            ]
            return torch.stack(terms).sum()

        minimise(loss, [*tower.parameters(), *heads.parameters()], steps=steps, lr=1e-3, seed=seed)
        tower.requires_grad_(False)

    def learn(
        self,
        examples: Sequence[QuestionReply],
        pixels: Tensor | None,
        parameters: Sequence[Tensor],
        steps: int,
        seed: int,
        lr: float = LR,
    ) -> None:
        """Train on replies."""
        ids, mask, labels = self._tokens(examples)
        rows = torch.tensor([-1 if it.row is None else it.row for it in examples])

        def loss(rng: np.random.Generator) -> Tensor:
            batch = torch.from_numpy(rng.integers(len(ids), size=BATCH))
            seen = {} if pixels is None else {"pixel_values": pixels[rows[batch]]}
            out = self.model(input_ids=ids[batch], attention_mask=mask[batch], labels=labels[batch], **seen)
            return out.loss

        minimise(loss, parameters, steps=steps, lr=lr, seed=seed)

    def _tokens(self, examples: Sequence[QuestionReply]) -> tuple[Tensor, Tensor, Tensor]:
        """Return ids, mask and labels, padded on the right, in the form of the chat template."""
        picture = tiny_vlm.IMAGE * (RECIPE.image_size // RECIPE.patch) ** 2
        rows, starts = [], []
        for it in examples:
            image = "" if it.row is None else picture
            before = f"{tiny_vlm.START}{tiny_vlm.USER}{image}{it.request}{tiny_vlm.ASSISTANT}"
            prompt, reply = (
                self.tokenizer(text, add_special_tokens=False)["input_ids"]
                for text in (before, f"{it.reply}{tiny_vlm.END}")
            )
            rows.append(prompt + reply)
            starts.append(len(prompt))
        longest = max(map(len, rows))
        ids = torch.full((len(rows), longest), int(self.tokenizer.pad_token_id))
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
        for k, (row, start) in enumerate(zip(rows, starts, strict=True)):
            ids[k, : len(row)] = torch.tensor(row)
            mask[k, : len(row)] = 1
            labels[k, start : len(row)] = ids[k, start : len(row)]
        return ids, mask, labels

    def assistant(self) -> VisionLanguageAssistant:
        return VisionLanguageAssistant(self.model, self.processor, max_new_tokens=12, batch_size=64)


def backbone(share: float, seed: int, steps: tuple[int, int, int], sizes: tuple[int, int]) -> Arrays:
    """Train one language model and its four connectors, and ask them.

    Returns:
        Of each variant the outcomes of every question; of a mostly English model that is tuned on English pictures what
        steering gives, and how alike its pictures and languages are.
    """
    data = world(*sizes)
    train, test = data.splits.train, data.splits.test["as trained"]
    chosen = data.splits.validation["as trained"]
    scenes = [data.scene(int(row)) for row in train]
    learner = Learner(scenes, seed)
    labels = torch.stack(
        [
            torch.from_numpy(np.unique(column, return_inverse=True)[1])
            for column in zip(
                *((it.things[0].concept, str(it.things[0].colour)) for it in scenes), strict=True
            )
        ],
        1,
    )
    pixels = data.images(train).float() / 127.5 - 1
    learner.see(pixels, labels, steps[0], seed)
    language = [
        *learner.model.get_decoder().parameters(),
        *learner.model.get_output_embeddings().parameters(),
    ]
    learner.learn(texts(scenes, share, seed), None, language, steps[1], seed)
    start = copy.deepcopy(learner.model.state_dict())
    outcomes: Arrays = {}
    for variant in VARIANTS:
        bilingual, frozen = variant
        learner.model.load_state_dict(start)
        connector = learner.model.get_submodule("model.multi_modal_projector")
        shown, half = picture_questions(scenes, bilingual, seed), steps[2] // 2
        for weights in language:
            weights.requires_grad_(False)
        learner.learn(shown, pixels, [*connector.parameters()], half, seed + 1)
        for weights in language:
            weights.requires_grad_(not frozen)
        learner.learn(shown, pixels, [*connector.parameters(), *language], half, seed + 2, TUNED_LR)
        assistant = learner.assistant()
        scores = Fidelity(LANGUAGES)(assistant, data, test)
        examples = scores.examples
        for column in ("faithful text", "faithful image", "right text", "right image"):
            for tongue in LANGUAGES:
                values = examples.filter(subset=tongue)[column].to_numpy()
                outcomes[f"{name_of(variant)}, {column}, {tongue}"] = values.astype(np.float64)
        if variant == BASE and share == SHARES["mostly English"]:
            outcomes |= steering(assistant, data, chosen, test) | alikeness(assistant, data, test)
    return outcomes


def _questions(data: Scenes, rows: np.ndarray, language: str) -> list[FidelityQuestion]:
    return [
        question
        for row, picture in zip(rows, data.images(rows), strict=True)
        for question in questions(data.scene(int(row)), picture, LANGUAGES)
        if question.language == language
    ]


def steering(
    assistant: VisionLanguageAssistant, data: Scenes, chosen: np.ndarray, test: np.ndarray
) -> Arrays:
    """Steer German towards German: direction from texts, layer and strength from validation scenes; then test.

    The strength that gives most fidelity among those that cost no more than `ALLOWED` right answers.
    """
    model, detect = assistant.model, Fidelity(LANGUAGES).detect
    states = {
        language: prompt_states(model, assistant.inputs([q.text for q in _questions(data, chosen, language)]))
        for language in LANGUAGES
    }
    ways = direction(states["de"], states["en"])
    parts = {"chosen": chosen, "test": test}
    prompts = {part: [q.image for q in _questions(data, rows, "de")] for part, rows in parts.items()}
    shown = {part: [frozenset(data.scene(int(row)).counts()) for row in rows] for part, rows in parts.items()}

    def rates(part: str, layer: int, gamma: float) -> tuple[float, float]:
        with steered(model, {layer: ways[layer]}, gamma):
            replies = assistant.reply(prompts[part])
        right = [
            named(text, detect(text)) == concepts for text, concepts in zip(replies, shown[part], strict=True)
        ]
        return share(faithful(replies, ["de"] * len(replies), detect)), float(np.mean(right))

    middle = range(1, ways.shape[0] - 1)
    before = rates("chosen", 1, 0.0)
    tried = {(layer, gamma): rates("chosen", layer, gamma) for layer in middle for gamma in GAMMAS}
    cheap = {key: it for key, it in tried.items() if it[1] >= before[1] - ALLOWED} or tried
    best = max(cheap, key=lambda key: cheap[key][0])
    plain, moved = rates("test", 1, 0.0), rates("test", *best)
    return {
        "steered, gain": np.array(moved[0] - plain[0]),
        "steered, cost": np.array(plain[1] - moved[1]),
        "steered, where": np.array(best),
    }


def share(outcomes: np.ndarray) -> float:
    """Compute the share of replies in the language asked for; a reply whose language cannot be told is not in it."""
    return float(np.nan_to_num(outcomes, nan=0.0).mean())


def alikeness(assistant: VisionLanguageAssistant, data: Scenes, rows: np.ndarray) -> Arrays:
    """Measure CKA by layer of English questions with German ones, and with the pictures."""
    by_language: dict[str, list[FidelityQuestion]] = {
        language: _questions(data, rows, language) for language in LANGUAGES
    }
    sets: dict[str, Tensor] = {
        language: prompt_states(assistant.model, assistant.inputs([q.text for q in items]))
        for language, items in by_language.items()
    }
    sets["picture"] = picture_states(assistant.model, assistant.inputs([q.image for q in by_language[PIVOT]]))
    matrix = alignment_by_layer(sets).double().numpy()
    return {"alike, languages": matrix[:, 0, 1], "alike, picture": matrix[:, 0, 2]}


def run(lab: Lab) -> Iterator[Result]:
    runs = lab.grid(
        backbone,
        {"model": {name: {"share": share} for name, share in SHARES.items()}},
        steps=(SEEING, SPEAKING, LOOKING),
        sizes=(TRAINED, ASKED),
    )
    mostly = runs["mostly English"].values()
    frozen, bilingual = (False, True), (True, False)

    def lost(variant: Variant, model: str = "mostly English", language: str = "de") -> Score:
        """Return the fidelity that questions in a language lose by a picture."""
        about = {"de": "German", "en": "English"}[language]
        metric = f"fidelity of {about} questions, text only − with the picture"
        faithful = runs.scores("{}, faithful {}, {}", metric, by_seed=share)
        text, image = (
            faithful[model, name_of(variant), condition, language] for condition in ("text", "image")
        )
        return text - image

    def number(outcome: str, metric: str, by_seed: Callable[[np.ndarray], Any] | None = None) -> Score:
        return runs.scores(outcome, metric, by_seed=by_seed)["mostly English"]

    base, other = lost(BASE), lost(BASE, "bilingual")
    yield from decides(
        above(base, name=f"IFL: mostly English, {name_of(BASE)}", **SHARE),
        above(base - other, name="IFL: mostly English − bilingual language model", **SHARE),
    )
    alike = [float(np.nanmean(run["alike, languages"] - run["alike, picture"])) for run in mostly]
    yield from secondary(
        *(
            above(base - lost(variant), name=f"IFL: {name_of(BASE)} − {name_of(variant)}")
            for variant in (frozen, bilingual)
        ),
        above(
            number(f"{name_of(BASE)}, faithful text, de", "share of replies in German", share),
            0.8,
            name="fidelity of German, text only",
        ),
        below(
            number(f"{name_of(BASE)}, faithful image, de", "share", lambda replies: np.isnan(replies).mean()),
            0.1,
            name="replies to German questions about pictures whose language cannot be told",
        ),
        within(lost(BASE, language="en"), 0.05, name="control: IFL of English"),
        above(
            number(
                "steered, gain", "share of German replies to German questions about pictures, steered − not"
            ),
            name="steering: fidelity gained",
        ),
        below(
            number("steered, cost", "share of replies that name the thing, not steered − steered"),
            ALLOWED,
            name="steering: right answers lost",
        ),
        above(
            per_seed("CKA: German questions − pictures, with English questions", "mean over layers", alike)
        ),
        *regression(runs),
    )
    where = "; ".join("{:g}, {:g}".format(*run["steered, where"]) for run in mostly)
    lab.note(
        "LLaVA-class models of about a third of a million weights: a vision tower trained on labels, a language model",
        f"trained on text-only questions of which 90 or 50 % are English, then {LOOKING} steps on pictures, half of",
        "them of the connector alone, half of both at half the rate; scenes of one dyed thing, questions and replies",
        "in English and German, detected by their words; those whose language cannot be told count as in none. Texts",
        "say in the question's language what the",
        f"picture shows. Steering (layer, strength, chosen on validation scenes): {where}.",
    )


def regression(runs: Grid) -> Iterator[Result]:
    """Regress a German reply to a German question on the design (linear probability), errors clustered by model."""
    trained = [(model, run) for model in SHARES for run in runs[model].values()]
    models = list(product(trained, VARIANTS))
    outcomes, rows, clusters = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    for number, ((model, run), variant) in enumerate(models):
        for condition in ("text", "image"):
            replies = run[f"{name_of(variant)}, faithful {condition}, de"]
            outcomes.append(np.nan_to_num(replies, nan=0.0))
            row = (condition == "image", model == "bilingual", *variant)
            rows.append(np.tile(np.array(row, dtype=float), (len(replies), 1)))
            clusters.append(np.full(len(replies), number))
    image, *others = np.concatenate(rows).T
    design = interactions(image, dict(zip(FACTORS, others, strict=True)))
    fit = clustered_regression(np.concatenate(outcomes), design, np.concatenate(clusters), link="identity")
    about = f"difference in the share of German replies, linear probability, errors clustered over {len(models)} models"
    for name in ("image", *(f"image × {factor}" for factor in FACTORS)):
        effect = ScoreEstimate(fit[name].estimate, fit[name].low, fit[name].high)
        judge = below if name == "image" else above
        yield judge(effect, name=f"design: {name}", metric=about)
