"""Clips in four languages, as video files, with held-out pairs, and with what is said beside them."""

from __future__ import annotations

import re
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from counterpoint.data.items import ContrastCaptions, Narrations
from counterpoint.data.rng import Rng
from counterpoint.data.synthetic.clips.clip import ACTIONS, Clip, Event, film, save
from counterpoint.data.synthetic.clips.compose import compose_clip
from counterpoint.data.synthetic.clips.config import ClipConfig
from counterpoint.data.synthetic.clips.items import ClipContrasts, ClipNarrations
from counterpoint.data.synthetic.clips.words.captions import caption
from counterpoint.data.synthetic.clips.words.contrasts import contrast
from counterpoint.data.synthetic.clips.words.narrations import NAMES, NARRATIONS, narrate, sides
from counterpoint.data.synthetic.clips.world import VideoClips
from counterpoint.data.synthetic.scenes.layout.compositions import pair_part, together
from counterpoint.data.synthetic.scenes.scene import COLOURS, Relation, Scene, Thing
from counterpoint.data.synthetic.scenes.words.lexicon import LANGUAGES, lexicon
from counterpoint.registry import MissingPackageError, UnknownNameError

CAT = Thing("cat", "red", "small", 200, 300, 500)
DOG = Thing("dog", None, "small", 200, 700, 800)
TREE = Thing("tree", None, "small", 160, 800, 200)
EVENTS = (Event("change colour", 0, 1, 2, colour="green"), Event("move left", 1, 3, 6, by=200))
SMALL = "train=120,validation=5,test=60,pixels=16"


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "a red cat turns green, then a dog moves to the left, with a tree in the scene"),
        (
            "de",
            "eine rote Katze wird grün, dann bewegt sich ein Hund nach links, mit einem Baum im Bild",
        ),
        (
            "fr",
            "un chat rouge devient vert, puis un chien se déplace vers la gauche, avec un arbre dans la scène",
        ),
        (
            "es",
            "un gato rojo se vuelve verde, luego un perro se mueve hacia la izquierda, con un árbol en la escena",
        ),
    ],
)
def test_a_clip_is_told_in_four_languages(language: str, said: str) -> None:
    assert caption(Clip(Scene(0, (CAT, DOG, TREE)), EVENTS, 8), language) == said


def test_words_agree_with_subject_and_case_of_their_preposition() -> None:
    cow = Thing("cow", None, "small", 200, 300, 500)
    turning = Clip(Scene(0, (cow,)), (Event("change colour", 0, 1, 2, colour="green"),), 4)
    assert caption(turning, "fr") == "une vache devient verte"
    assert caption(turning, "es") == "una vaca se vuelve verde"
    beside = Clip(Scene(0, (DOG, CAT), (Relation("right of", 0, 1),)), (), 4)
    assert caption(beside, "de") == "mit einem Hund rechts von einer roten Katze im Bild"
    assert caption(beside, "fr") == "avec un chien à droite d'un chat rouge dans la scène"
    counted = Clip(Scene(0, (TREE, TREE, TREE)), (), 4)
    assert caption(counted, "de") == "mit drei Bäumen im Bild"
    assert caption(counted, "es") == "con tres árboles en la escena"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_clip_has_words_for_all_that_happens_in_it(language: str) -> None:
    words = lexicon(language)
    assert set(words.actions) == set(ACTIONS)
    for index in range(30):
        clip = compose_clip(ClipConfig(), 3, index)
        text = caption(clip, language)
        assert text == " ".join(text.split())
        assert text.count(f", {words.then} ") == len(clip.events) - 1
        places = [text.index(words.actions[event.action][0]) for event in clip.events[:1]]
        assert places[0] > 0  # the first clause begins with its subject
        assert text.endswith(words.scenery.after) == bool(clip.still)


def test_a_world_speaks_the_languages_it_is_asked_for() -> None:
    world = VideoClips.parse(f"clips:basic,{SMALL},languages=fr+de")
    assert list(world.captions(0)) == [caption(world.clip(0), language) for language in ("fr", "de")]
    assert list(world.evaluation_texts("text", 0)) == [caption(world.clip(0), "fr")]
    with pytest.raises(UnknownNameError, match="unknown language 'it'"):
        VideoClips.parse("clips:basic,languages=en+it")
    with pytest.raises(UnknownNameError, match="did you mean 'languages'"):
        VideoClips.parse("clips:basic,language=en")


def pairs(clip: Clip) -> set[str]:
    concepts = {thing.concept for thing in clip.scene}
    return {pair_part(a, b) for a, b in combinations(sorted(concepts), 2)}


def test_training_shows_no_pair_that_is_held_out() -> None:
    world = VideoClips.parse(f"clips:compositions,{SMALL},settings=none+count+relation")
    for row in world.splits.train:
        assert pairs(world.clip(int(row))) <= {"train"}
    for split, part in (("as trained", "train"), ("pairs", "test")):
        for row in world.splits.test[split]:
            clip = world.clip(int(row))
            moved = [clip.scene.things[place].concept for place in clip.moving]
            assert pair_part(*moved) == part
    for row in world.splits.validation["pairs"]:
        clip = world.clip(int(row))
        assert pair_part(*(clip.scene.things[place].concept for place in clip.moving)) == "validation"


def test_contrasts_of_training_do_not_show_held_out_pairs_either() -> None:
    world = VideoClips.parse(f"clips:compositions,{SMALL},settings=none+count+relation")
    items = world.items(ContrastCaptions, world.splits.train)
    assert isinstance(items, ClipContrasts)
    assert {"object", "hallucination"} <= set(items.kinds)
    assert all(pairs(clip) <= {"train"} for clip in items.clips)


def test_parts_of_pairs_are_of_size_is_said_whichever_way_round() -> None:
    found = [pair_part(a, b) for a, b in combinations(ClipConfig().concepts, 2)]
    assert 0.67 < found.count("train") / len(found) < 0.73
    assert 0.17 < found.count("test") / len(found) < 0.23
    assert pair_part("pig", "cow") == pair_part("cow", "pig") == "test"
    clique = together(ClipConfig().concepts, 5, "train")
    assert clique is not None
    assert {pair_part(a, b) for a, b in combinations(clique, 2)} == {"train"}
    assert together(["cat", "dog"], 2, "test") is None


def test_impossible_compositions_are_refused() -> None:
    config = ClipConfig()
    for changes, reason in (
        ({"pair_compositions": "test"}, "needs events=2"),
        (
            {"pair_compositions": "test", "events": 2, "concepts": "cat+dog+pig+horse+apple"},
            "name more concepts",
        ),
        ({"pair_compositions": "some"}, "pair_compositions"),
    ):
        with pytest.raises(ValueError, match=reason):
            config.changed(changes)


def test_where_no_other_concept_may_join_there_no_contrast() -> None:
    config = ClipConfig(
        pair_compositions="train", concepts=("cat", "dog", "pig", "horse", "apple", "cow"), events=1
    )
    clip = Clip(Scene(0, (CAT, DOG)), (Event("appear", 0, 1, 2), Event("vanish", 1, 3, 4)), 6)
    for index in range(20):
        other = contrast("object", clip, Rng(0, index), config)
        assert other is None or pairs(other) <= {"train"}


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_videos_hold_the_frames(tmp_path: Path, suffix: str) -> None:
    av = pytest.importorskip("av", reason="needs the extra [video]")
    frames = film([Clip(Scene(0, (CAT,)), (Event("move right", 0, 1, 8, by=400),), 8)], 32)[0]
    with av.open(str(save(frames, tmp_path / f"clip{suffix}", milliseconds=50))) as file:
        read = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert len(read) == 8
    assert np.abs(read[7].astype(int) - frames[7].permute(1, 2, 0).numpy()).mean() < 12


def test_a_video_needs_its_package_and_even_sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = torch.zeros(3, 3, 15, 16, dtype=torch.uint8)
    with pytest.raises(ValueError, match="even, got 15 × 16"):
        save(frames, tmp_path / "clip.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingPackageError, match=re.escape("pip install 'counterpoint[video]'")):
        save(frames[:, :, :14], tmp_path / "clip.mp4")
    assert not list(tmp_path.iterdir())  # nothing half-written is left
    with pytest.raises(
        ValueError, match=r"clip.avi as a video; end the name in .gif, .webp, .png, .mp4, .webm"
    ):
        save(frames, tmp_path / "clip.avi")


def narrated() -> ClipNarrations:
    world = VideoClips.parse(f"clips:narrated,{SMALL}")
    items = world.items(Narrations, world.splits.train)
    assert isinstance(items, ClipNarrations)
    return items


def test_answers_follow_from_what_is_shown_and_said() -> None:
    items = narrated()
    assert set(items.kinds) == set(NARRATIONS)
    assert items.frames(np.array([1, 0])).shape == (2, 12, 3, 16, 16)
    for row, kind, said, question, options, answer in zip(
        items.rows, items.kinds, items.narrations, items.questions, items.options, items.answers, strict=True
    ):
        both = sides(items.world.clip(int(row)))
        assert both is not None
        colours = {
            f"the one on the {side}": thing.colour
            for side, thing in zip(("left", "right"), both, strict=True)
        }
        about, told = re.split(r" is called | is ", said)
        right = options[answer].split()[-1]
        assert len(set(options)) == len(options) == 5
        if kind == "text":
            assert right == told
            assert right in NAMES
        else:
            subject = about if kind == "both" else question.removeprefix("what colour is ").removesuffix("?")
            assert right == colours[subject]
            assert (told in COLOURS) == (kind == "either")
        assert {option.rsplit(" ", 1)[0] for option in options} == {options[0].rsplit(" ", 1)[0]}


def test_is_said_gives_no_colour_away_but_where_either_tells() -> None:
    items = narrated()
    for kind, said in zip(items.kinds, items.narrations, strict=True):
        assert any(colour in said.split() for colour in COLOURS) == (kind == "either")


def test_clips_not_two_coloured_things_side_by_side_passed_over() -> None:
    one, other = CAT, Thing("dog", "blue", "small", 200, 700, 800)
    assert sides(Clip(Scene(0, (other, one)), (), 4)) == (one, other)
    for things, events in (
        ((one,), ()),
        ((one, DOG), ()),  # not dyed
        ((one, Thing("dog", "red", "small", 200, 700, 800)), ()),
        ((one, Thing("dog", "blue", "small", 200, 350, 800)), ()),  # above each other
        ((one, other), (Event("vanish", 0, 1, 2),)),
        ((one, other), (Event("change colour", 0, 1, 2, colour="blue"),)),
        ((one, other), (Event("move right", 0, 1, 3, by=300),)),
    ):
        clip = Clip(Scene(0, things), events, 4)
        assert sides(clip) is None
        assert narrate("video", clip, Rng(0, 0)) is None
    with pytest.raises(UnknownNameError, match="kind of narration"):
        narrate("audio", clip, Rng(0, 0))
