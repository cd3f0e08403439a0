"""The material of the claims about vision-language models: statements about scenes, questions in two languages."""

from __future__ import annotations

import numpy as np
import torch

from counterpoint.data.rng import Rng
from counterpoint.data.synthetic.scenes.words.vocabulary import concepts_in
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.evaluation.languages import ClosedVocabulary
from counterpoint.evaluation.tasks.fidelity import named, questions
from counterpoint_reproductions import contextual_lens, cox_lmm, image_induced_fidelity_loss

WORLD = Scenes.parse(f"scenes:tiny,{contextual_lens.DIALS},train=1,validation=1,test=40")


def test_false_statements_are_false_in_the_way_of_their_kind() -> None:
    seen = set()
    for row in WORLD.splits.test["as trained"]:
        scene = WORLD.scene(int(row))
        colours = {thing.colour for thing in scene}
        for it in contextual_lens.statements(WORLD, int(row)):
            seen.add(it.kind)
            assert it.true != it.false
            if it.kind == "binding":
                assert {it.true, it.false} <= colours
            if it.kind == "colour":
                assert it.false not in colours
            if it.kind in ("colour", "binding"):
                assert [scene.things[place].colour for place in it.things] == [it.true]
            if it.kind == "object":
                assert concepts_in(it.true, "en") <= set(scene.counts())
                assert not concepts_in(it.false, "en") & set(scene.counts())
    assert seen == set(contextual_lens.KINDS)


def test_places_inside_a_box_have_their_middle_in_it() -> None:
    inside = contextual_lens._inside(np.array([0.25, 0.0, 0.75, 0.5]), (4, 4))
    assert inside.int().tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_texts_are_answerable_and_as_english_as_they_should_be() -> None:
    data = image_induced_fidelity_loss.world(300, 4)
    scenes = [data.scene(int(row)) for row in data.splits.train]
    detect = ClosedVocabulary.of_scenes(image_induced_fidelity_loss.LANGUAGES)
    found = image_induced_fidelity_loss.texts(scenes, 0.9, 0)
    languages = [detect(it.reply) for it in found]
    assert 0.8 < np.mean([own == "en" for own in languages]) < 0.97
    assert set(languages) == {"en", "de"}
    for it, language in zip(found, languages, strict=True):
        assert detect(it.request) == language
        assert named(it.reply, language) <= named(it.request, language)


def test_pictures_are_asked_about_in_english_or_in_both() -> None:
    data = image_induced_fidelity_loss.world(300, 4)
    scenes = [data.scene(int(row)) for row in data.splits.train]
    english, both = (
        image_induced_fidelity_loss.picture_questions(scenes, bilingual, 0) for bilingual in (False, True)
    )
    assert {it.request for it in english} == {"What is in the picture?"}
    assert 0.4 < np.mean([it.request == "Was ist auf dem Bild?" for it in both]) < 0.6


def test_training_reads_what_the_assistant_is_given() -> None:
    data = image_induced_fidelity_loss.world(300, 4)
    scene = data.scene(int(data.splits.train[0]))
    learner = image_induced_fidelity_loss.Learner([scene] * 3, 0)
    described = image_induced_fidelity_loss.described(scene, "de", Rng(0, 0))
    seen = image_induced_fidelity_loss.picture_questions([scene], False, 0)[0]
    ids, mask, labels = learner._tokens([described, seen])
    assistant = learner.assistant()
    (asked,) = questions(scene, data.images(data.splits.train[:1])[0], ["en"])
    given = assistant.inputs([asked.image])["input_ids"][0]
    real = ids[1][mask[1].bool()]
    assert torch.equal(real[: len(given)], given)
    assert (labels[1][: len(given)] == -100).all()
    reply = labels[1][labels[1] >= 0]
    assert learner.tokenizer.decode(reply, skip_special_tokens=True) == seen.reply
    assert reply[-1] == learner.tokenizer.eos_token_id


def test_true_words_of_a_scene_are_all_forms_of_what_is_in_it() -> None:
    for row in WORLD.splits.test["as trained"][:10]:
        scene, true = WORLD.scene(int(row)), cox_lmm.truths(WORLD.scene(int(row)))
        assert true <= cox_lmm.known(WORLD, int(row))
        assert concepts_in(" and ".join(sorted(true)), "en") == set(scene.counts())
        assert {thing.colour for thing in scene if thing.colour} <= true
