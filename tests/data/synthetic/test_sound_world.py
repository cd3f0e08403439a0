"""Soundscapes as a data set: composition, twins, squares."""

from __future__ import annotations

import pickle
import re
from hashlib import blake2b

import numpy as np
import pytest
import torch

from counterpoint.data import load
from counterpoint.data.items import MinimalPairs
from counterpoint.data.rng import Rng
from counterpoint.data.source import load_any
from counterpoint.data.synthetic.sounds.compose import SoundConfig, alike, compose_sounds, twin
from counterpoint.data.synthetic.sounds.items import SoundMinimalPairs
from counterpoint.data.synthetic.sounds.mel import spectrogram
from counterpoint.data.synthetic.sounds.pictured import SoundPictures
from counterpoint.data.synthetic.sounds.soundscape import (
    ATTRIBUTES,
    SOURCES,
    Sound,
    Soundscape,
    caption,
)
from counterpoint.data.synthetic.sounds.world import Sounds
from counterpoint.networks.towers.sound import Waveform
from counterpoint.registry import UnknownNameError

CONFIG = SoundConfig()
SMALL = "train=40,validation=4,test=6,pixels=24"


def test_soundscapes_are_the_same_everywhere() -> None:
    """Annotations do not depend on the machine: a change here needs another version of the presets."""
    text = repr([compose_sounds(CONFIG, 0, index, "train") for index in range(30)])
    assert blake2b(text.encode(), digest_size=8).hexdigest() == "918cf7125ede4f0c"


def test_everything_occurs() -> None:
    scapes = [compose_sounds(CONFIG, 0, index) for index in range(200)]
    sounds = [sound for scape in scapes for sound in scape.sounds]
    assert {sound.source for sound in sounds} == set(SOURCES)
    assert {len(scape.sounds) for scape in scapes} == {1, 2, 3}
    for name, values in ATTRIBUTES.items():
        assert {getattr(sound, name) for sound in sounds} == set(values)
    assert all(len({sound.source for sound in scape.sounds}) == len(scape.sounds) for scape in scapes)


@pytest.mark.parametrize("kind", ["order", "attribute"])
def test_twins_are_of_the_same_words_in_another_composition(kind: str) -> None:
    found = 0
    for index in range(120):
        scape = compose_sounds(SoundConfig(sounds="2-3", described=0.6), 1, index)
        other = twin(kind, scape, Rng(1, index))
        if other is None:
            continue
        found += 1
        assert not alike(scape, other)
        words = [sorted(re.findall(r"\w+", caption(it))) for it in (scape, other)]
        assert words[0] == words[1]
        if kind == "order":
            assert not scape.together
            assert sorted(scape.sounds, key=str) == sorted(other.sounds, key=str)
        else:
            differ = {
                name
                for a, b in zip(scape.sounds, other.sounds, strict=True)
                for name in ("source", *ATTRIBUTES)
                if getattr(a, name) != getattr(b, name)
            }
            assert len(differ) == 1
            assert "source" not in differ
    assert found > 20


def test_what_is_heard_at_once_has_no_order() -> None:
    one, other = Sound("hiss"), Sound("beep", pitch="low")
    assert alike(Soundscape((one, other), True), Soundscape((other, one), True))
    assert not alike(Soundscape((one, other)), Soundscape((other, one)))
    assert twin("order", Soundscape((one, other), True), Rng(0, 0)) is None
    assert twin("attribute", Soundscape((one, other)), Rng(0, 0)) is None
    with pytest.raises(UnknownNameError, match="did you mean 'order'"):
        twin("orders", Soundscape((one,)), Rng(0, 0))


def test_data_is_found_by_name_and_its_pictures_are_spectrograms() -> None:
    data = load(f"sounds:basic,{SMALL},as=pictures")
    assert isinstance(data, SoundPictures)
    rows = np.array([0, 45])
    waves = data.waves(rows)
    assert torch.equal(data.images(rows), spectrogram(list(waves), 24))
    assert data.captions(0) == [caption(data.scape(0))]
    assert data.labels["source"].names == SOURCES
    assert set(data.subsets) == {"one", "in order", "together"}


def test_squares_are_soundscapes_and_their_twins() -> None:
    data = Sounds.parse(f"sounds:attributes,{SMALL},as=pictures")
    items = data.items(MinimalPairs, data.splits.train)
    assert isinstance(items, SoundMinimalPairs)
    assert set(items.kinds) == {"order", "attribute"}
    pictures = items.pictures(np.array([0, 3]))
    assert pictures.shape == (2, 2, 3, 24, 24)
    assert not torch.equal(pictures[0, 0], pictures[0, 1])
    row = items.rows[3]
    assert torch.equal(pictures[1, 0], data.images(np.array([row]))[0])
    assert items.captions[3][0] == data.captions(row)[0]


def test_twins_need_two_sounds_and_sounds_their_sources() -> None:
    data = Sounds.parse(f"sounds:basic,{SMALL},sounds=1,as=pictures")
    with pytest.raises(LookupError, match="has two sounds to exchange"):
        data.items(MinimalPairs, data.splits.train)
    with pytest.raises(ValueError, match="3 sounds need as many sources, got 1"):
        Sounds.parse("sounds:basic,sources=beep")


def test_models_hear_sounds_unless_they_asked_for_as_pictures() -> None:
    data, pictured = load_any(f"sounds:basic,{SMALL}"), load_any(f"sounds:basic,{SMALL},as=pictures")
    assert isinstance(data, Sounds)
    assert dict(data.columns) == {"audio": "audio", "text": "text"}
    rows = np.array([0, 45])
    heard = data.read("audio", rows)
    assert heard.rate == 16_000
    assert np.array_equal(heard.samples.numpy() * 32768, data.waves(rows))
    assert data.read("text", rows) == [pictured.captions(int(row))[0] for row in rows]
    assert data.read_training("text", rows) == [pictured.captions(int(row)) for row in rows]
    assert list(data.evaluation_texts("text", 45)) == pictured.captions(45)
    assert np.array_equal(data.waves(rows), pictured.waves(rows))
    assert data.suited({"audio": Waveform(16_000)}) is data
    slow = data.suited({"audio": Waveform(8_000)})
    assert slow.read("audio", rows).samples.shape == (2, heard.samples.shape[1] // 2)
    assert pickle.loads(pickle.dumps(slow)).read("audio", rows).rate == 8_000
    with pytest.raises(UnknownNameError, match="did you mean 'pictures'"):
        load_any("sounds:basic,as=picture")
    with pytest.raises(UnknownNameError, match="column of sounds:basic"):
        data.read("image", rows)


def test_a_row_may_lack_its_sound_in_either_form() -> None:
    named = f"sounds:basic,{SMALL},missing_pictures=0.5,missing_captions=0.3"
    data, pictured = load_any(named), load_any(f"{named},as=pictures")
    rows = np.arange(len(data))
    there = data.present("audio", rows)
    assert 10 < there.sum() < 40
    assert np.array_equal(there, pictured.present("image", rows))
    assert np.array_equal(data.read("audio", rows).samples.abs().amax(1) > 0, there)
    assert np.array_equal(np.array(data.read("text", rows)) != "", data.present("text", rows))
