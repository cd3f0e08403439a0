"""The mathematics and the material of the claims about videos, sounds, association and amplification."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoint.data.items import GeneratedVideos, Narrations
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.data.synthetic.sounds.compose import alike, compose_sounds
from counterpoint.data.synthetic.sounds.soundscape import Sound, Soundscape, caption
from counterpoint.evaluation.statistic import f1_of, macro_f1
from counterpoint.methods.tower_method import TowerMethod
from counterpoint.recipes import load as load_recipe
from counterpoint.recipes import override
from counterpoint.training.run import Run
from counterpoint.training.start import prepare
from counterpoint_reproductions import compa, modality_importance_score, vibe
from counterpoint_reproductions import concept_association_bias as association
from counterpoint_reproductions import multi_attribute_bias_amplification as amplification
from counterpoint_reproductions.lab import clip_towers as moving


def test_video_towers_see_the_order_of_frames() -> None:
    towers = moving.ClipTowers(["a cat"], 4, 0)
    frames = torch.randint(0, 255, (2, 4, 3, moving.SIDE, moving.SIDE), dtype=torch.uint8)
    towers.eval()
    x, turned = towers.videos(frames), towers.videos(frames.flip(1))
    assert torch.allclose(x.norm(dim=1), torch.ones(2))
    assert not torch.allclose(x, turned, atol=1e-4)


def test_the_mean_f1_of_types_is_theirs_alone() -> None:
    true, said = np.array([0, 1, 1, 2, 2, 2]), np.array([0, 1, 2, 2, 2, 1])
    values = np.stack([true, said], 1)
    assert [f1_of(k)(values) for k in range(4)] == pytest.approx([1, 0.5, 2 / 3, 0])
    assert macro_f1(values) == pytest.approx(np.mean([1, 0.5, 2 / 3]))
    kinds = (vibe.TYPES[0], vibe.TYPES[2])
    assert vibe.mean_f1(kinds)(values) == pytest.approx((1 + 2 / 3) / 2)


def test_detector_of_one_frame_sees_no_other_reads_no_caption() -> None:
    frames = torch.randint(0, 255, (2, vibe.FRAMES, 3, moving.SIDE, moving.SIDE), dtype=torch.uint8)
    other = frames.clone()
    other[:, 0] = 0
    captions = ["a red cat", "two dogs"]
    same = {}
    for arm, (every, prompted) in vibe.ARMS.items():
        detector = vibe.Detector(captions, every, prompted, 0).eval()
        tokens = detector.words.tokenizer(captions)
        same[arm] = (
            torch.allclose(detector(frames, tokens), detector(other, tokens)),
            torch.allclose(detector(frames, tokens), detector(frames, tokens.flip(0))),
        )
    assert same == {"frame": (True, True), "video": (False, True), "prompted": (False, False)}


def test_things_of_the_test_are_not_those_of_training() -> None:
    seen, new = (set(world.rpartition("=")[2].split("+")) for world in (vibe.SEEN, vibe.NEW))
    assert len(seen) == len(new) == 10
    assert not seen & new
    data = moving.filmed(vibe.NEW, "other artist", 40, GeneratedVideos)
    assert len(set(data.items.kinds)) > 3


SCAPES = [compose_sounds(compa.world().preset.config, 0, index) for index in range(40)]


def test_captions_in_part_are_true_and_wrong_ones_are_not() -> None:
    for scape in SCAPES:
        said = compa.captions_of(scape)
        assert said.whole == caption(scape)
        assert len(said.parts) == 2
        assert said.wrong
        assert said.whole not in said.wrong


def test_a_caption_is_true_of_what_has_all_of_its_features() -> None:
    high, hiss = Sound("beep", pitch="high"), Sound("hiss")
    both, turned = Soundscape((high, hiss)), Soundscape((hiss, high))
    at_once = Soundscape((high, hiss), together=True)
    of = compa.features

    def true(said: Soundscape, shown: Soundscape) -> bool:
        return bool((of(said) <= of(shown)).all())

    assert true(Soundscape((high,)), both)
    assert true(Soundscape((Sound("beep"),)), both)  # a high beep is a beep
    assert not true(Soundscape((Sound("beep", pitch="low"),)), both)
    assert not true(both, turned)
    assert not true(both, at_once)
    assert true(at_once, Soundscape((hiss, high), together=True))
    for one in SCAPES:
        for other in SCAPES:
            if alike(one, other):
                assert true(one, other)


def test_batches_hold_what_their_arm_trains_on() -> None:
    data = compa.soundscapes(20)
    rows = np.arange(3)
    sizes = {arm: len(compa.batch(data, rows, arm).texts) for arm in compa.ARMS}
    wrong = sum(len(data.captions[row].wrong) for row in rows)
    assert sizes == {"plain": 3, "hard": 3 + wrong, "modular": 9 + wrong}
    said = compa.batch(data, rows, "modular")
    assert int(said.true.sum()) == 9
    assert said.needs.shape == (len(said.texts), data.features.shape[1])
    for text, owner, true in zip(said.texts, said.owner.tolist(), said.true.tolist(), strict=True):
        told = data.captions[owner]
        assert text in ((told.whole, *told.parts) if true else told.wrong)
    assert data.pictures.shape == (len(data), 3, compa.SIDE, compa.SIDE)


def test_pairs_of_sounds_in_the_test_are_not_in_training() -> None:
    data = compa.world()
    parts = {}
    for part in ("train", "test"):
        rows = compa.rows_of(part, 60)  # type: ignore[arg-type] # a part
        parts[part] = {frozenset(sound.source for sound in data.scape(int(row)).sounds) for row in rows}
    assert parts["train"]
    assert parts["test"]
    assert not parts["train"] & parts["test"]


def test_a_mean_over_moments_knows_no_order() -> None:
    """The control: two sounds between silences that change places."""
    one, other = (torch.randint(0, 255, (1, 3, compa.SIDE, 4), dtype=torch.uint8) for _ in range(2))
    silence = torch.zeros(1, 3, compa.SIDE, 6, dtype=torch.uint8)  # wider than what a moment hears
    pictures = torch.cat(
        [torch.cat([silence, a, silence, silence, b, silence], 3) for a, b in ((one, other), (other, one))]
    )
    for ordered in (True, False):
        towers = compa.SoundTowers(["a beep"], 0, ordered).eval()
        with torch.no_grad():
            x, y = towers.sounds(pictures)
        assert torch.allclose(x, y, atol=1e-6) == (not ordered)


@pytest.fixture(scope="module")
def questions() -> tuple[TowerMethod, association.Asked]:
    data = "scenes:associated,train=40,validation=6,test=20"
    recipe = override(
        load_recipe("seconds"),
        {"steps": 2, "batch_size": 8, "towers.image": "cnn", "towers.text": "transformer"},
    )
    world = Scenes.parse(data)
    model, _ = prepare(Run("clip", data, recipe), world)
    return model.eval(), association.asked(model, world, world.splits.test["typical"])


def test_questions_are_asked_with_the_phrases_that_may_answer(
    questions: tuple[TowerMethod, association.Asked],
) -> None:
    model, asked = questions
    assert len(asked.pictures) == len(asked.options) == len(asked.items)
    known = sorted({phrase for own in asked.items.options for phrase in own})
    assert [[known[k] for k in own] for own in asked.options.tolist()] == [
        list(o) for o in asked.items.options
    ]
    rows = np.arange(4)
    with torch.no_grad():
        near = association.Near(model)(asked, rows) * association.TEMPERATURE
    x = model.embed("image", asked.items.pictures(rows))
    for found, picture, own in zip(near, x, asked.items.options, strict=False):
        assert torch.allclose(found, model.embed("text", list(own)) @ picture, atol=1e-5)


def test_a_transformer_across_reads_both_sides(questions: tuple[TowerMethod, association.Asked]) -> None:
    model, asked = questions
    across = association.Across(model, asked, 0).eval()
    with torch.no_grad():
        scores = across(asked, np.arange(3))
        turned = across(asked._replace(pictures=asked.pictures.flip(3)), np.arange(3))
        other = across(asked._replace(tokens=asked.tokens.roll(1, 0)), np.arange(3))
    assert scores.shape == (3, 5)
    assert not torch.allclose(scores, turned)
    assert not torch.allclose(scores, other)


def test_best_guess_from_labels_is_hidden_from_single_attributes() -> None:
    found = amplification.hidden(0, amplification.WORLDS)
    assert abs(float(found["single"])) < 0.05
    assert float(found["multi"]) == pytest.approx(1 - amplification.STRONGEST, abs=0.04)
    assert float(found["noise"]) < 0.05


def test_gender_goes_with_combination_and_balance_takes_away() -> None:
    rng = np.random.default_rng(0)
    attributes = rng.random((4000, 2)) < 0.5
    groups = amplification.drawn_groups(attributes, 0.8, rng)
    agree = attributes[:, 0] == attributes[:, 1]
    assert groups[agree].mean() == pytest.approx(0.2, abs=0.03)
    assert groups[~agree].mean() == pytest.approx(0.8, abs=0.03)
    assert groups[attributes[:, 0]].mean() == pytest.approx(0.5, abs=0.05)
    for balance, expected in (("none", 0.2), ("things", 0.2), ("pairs", 0.5)):
        drawn = amplification.weights(attributes, groups, balance)
        assert drawn.sum() == pytest.approx(1)
        assert np.average(groups[agree], weights=drawn[agree]) == pytest.approx(expected, abs=0.03)


def test_pictures_show_the_things_and_a_person() -> None:
    world = amplification.world(0, 0.8, 12)
    assert world.pictures.shape == (12, 3, moving.SIDE, moving.SIDE)
    plain = amplification.posed(0, 12)
    assert not torch.equal(
        world.pictures[..., -amplification.PERSON :, :], plain.pictures[..., -amplification.PERSON :, :]
    )
    assert torch.equal(
        world.pictures[..., : -amplification.PERSON, :], plain.pictures[..., : -amplification.PERSON, :]
    )
    assert 0 < plain.attributes.mean() < 1


def test_a_modality_that_is_missing_or_another_ones_is_seen_so() -> None:
    data = moving.filmed(modality_importance_score.WORLD, "train", 30, Narrations)
    items = modality_importance_score.narrated(data)
    options, answers = modality_importance_score.among(items)
    assert (options.sum(1) == 5).all()
    assert options.gather(1, answers[:, None]).all()
    tokenizer = moving.BytePairTokenizer.train([*items.narrations, *items.questions], 320, 16)
    model = modality_importance_score.ModalityFusion(tokenizer, 0).eval()
    order = np.roll(np.arange(len(data)), 1)
    shown = modality_importance_score.SHOWN

    def answered(name: str, **others: np.ndarray) -> np.ndarray:
        return modality_importance_score.right(model, data, shown[name], **others)[0]

    assert np.array_equal(answered("text"), answered("text", videos=order))
    assert not np.array_equal(answered("both"), answered("both", videos=order))
    assert np.array_equal(answered("video"), answered("video", texts=order))
    assert not np.array_equal(answered("both"), answered("both", texts=order))
    assert np.array_equal(answered("nothing"), answered("nothing", videos=order, texts=order))
