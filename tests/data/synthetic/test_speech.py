"""Speech as a data set: exact times, dials, gaps, and a cache that no stop leaves torn."""

from __future__ import annotations

import pickle
import subprocess
import sys
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterpoint.data.source import load_any
from counterpoint.data.synthetic.speech import VOICES, Speech, Utterance, speak
from counterpoint.data.synthetic.speech.speaking import RATE
from counterpoint.data.views.waves import level
from counterpoint.networks.towers.sound import Waveform
from counterpoint.registry import MissingPackageError, UnknownNameError

SMALL = "train=12,validation=2,test=4,pixels=16"
speaking = pytest.mark.skipif(
    find_spec("espeakng_loader") is None, reason="espeakng-loader is not installed: the extra [speech]"
)


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path))


def test_speech_needs_its_package_a_known_voice_and_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("counterpoint.data.synthetic.speech.speaking.engine", lambda: "none")
    with pytest.raises(UnknownNameError, match="did you mean 'plain'"):
        speak([("a cat", "plane")])
    with pytest.raises(ValueError, match="nothing to say in ' '"):
        speak([(" ", "plain")])
    with pytest.raises(ValueError, match="1 pauses before 2 words"):
        speak([Utterance("a cat", "plain", 100, (0,))])
    with pytest.raises(ValueError, match="pauses are said by marks"):
        speak([Utterance("a &", "plain", 100, (0, 9))])
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'counterpoint\[speech\]'"):
        speak([("a cat", "plain")])
    with pytest.raises(MissingPackageError, match=r"pip install 'counterpoint\[speech\]'"):
        Speech.parse(f"speech:basic,{SMALL}").read("audio", np.array([0]))


@speaking
def test_a_block_is_spoken_alike_in_every_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    block = [("a red cat appears, then a dog moves up", voice) for voice in VOICES]
    found = []
    for folder in ("one", "two"):
        monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / folder))
        found.append(speak(block))
    assert all((a.samples == b.samples).all() and a.words == b.words for a, b in zip(*found, strict=True))
    assert all(RATE < len(one.samples) < 5 * RATE and np.abs(one.samples).max() > 5000 for one in found[0])
    assert len({one.samples.tobytes() for one in found[0]}) == len(VOICES)
    # What was said first does not depend on what is said after it.
    assert (speak(block[:2])[1].samples == found[0][1].samples).all()
    monkeypatch.setattr(subprocess, "run", None)  # what is kept is not spoken again
    assert (speak(block)[3].samples == found[0][3].samples).all()


@speaking
@pytest.mark.parametrize("rate", [RATE, 16_000])
def test_times_are_those_of_the_samples(rate: int) -> None:
    said = [
        Utterance("a red cat and two dogs", voice, 90, (0, 0, 0, 0, 400, 0))
        for voice in ("plain", "scottish")
    ]
    for one in speak(said, rate):
        assert one.rate == rate
        phonemes = one.phonemes
        assert phonemes[0].start == 0
        assert phonemes[-1].end == len(one.samples)
        assert all(a.end == b.start for a, b in pairwise(phonemes))
        assert [word.text for word in one.words] == ["a", "red", "cat", "and", "two", "dogs"]
        assert all(a.end <= b.start for a, b in pairwise(one.words))
        two = next(word for word in one.words if word.text == "two")
        before = next(span for span in phonemes if span.start < two.start <= span.end)
        assert before.text == ""
        assert (before.end - before.start) / rate == pytest.approx(0.4, rel=0.05)
        # Silence is silent, within the filter's length at another rate; what is said is heard.
        inner = one.samples[before.start + rate // 50 : before.end - rate // 50]
        assert np.abs(inner.astype(int)).max() <= 40
        assert all(level(one.samples[w.start : w.end].astype(np.float32)) > 300 for w in one.words)


@speaking
def test_a_row_sounds_alike_whatever_is_read_beside_it() -> None:
    data, larger = Speech.parse(f"speech:basic,{SMALL}"), Speech.parse("speech:basic,train=14,pixels=16")
    rows = np.array([11, 3, 14])
    heard = data.read("audio", rows)
    assert heard.rate == 16_000
    assert (larger.spoken(np.array([3]))[0].samples == data.spoken(np.array([3]))[0].samples).all()
    alone = Speech.parse(f"speech:basic,{SMALL}").read("audio", rows[1:2])
    assert (alone.samples[0] == heard.samples[1, : alone.samples.shape[1]]).all()
    assert data.suited({"audio": Waveform(16_000)}) is data
    slow = pickle.loads(pickle.dumps(data.suited({"audio": Waveform(8_000)})))
    assert slow.read("audio", rows).lengths.tolist() == [
        pytest.approx(length / 2, abs=1) for length in heard.lengths.tolist()
    ]
    text = data.read("text", rows)
    assert [data.utterance(int(row)).text for row in rows] == text
    assert [[one] for one in text] == data.read_training("text", rows)
    assert data.read("image", rows).shape == (3, 3, 16, 16)
    assert dict(load_any("speech").columns) == {"audio": "audio", "text": "text", "image": "image"}


@speaking
def test_dials_change_what_is_heard() -> None:
    plain, rows = Speech.parse(f"speech:basic,{SMALL}"), np.arange(6)
    noisy = Speech.parse(f"speech:basic,{SMALL},noise=1,levels=10")
    for clean, other in zip(plain.spoken(rows), noisy.read("audio", rows), strict=True):
        samples = other.samples[0, : len(clean.samples)].numpy()
        noise = samples - clean.samples.astype(np.float32) / 32768
        below = 20 * np.log10(level(clean.samples.astype(np.float32) / 32768) / level(noise))
        assert below == pytest.approx(10, abs=0.1)
    slow = Speech.parse(f"speech:basic,{SMALL},speed=50,speakers=deep")
    assert {slow.utterance(int(row)).voice for row in rows} == {"deep"}
    assert slow.read("audio", rows).lengths.sum() > 1.4 * plain.read("audio", rows).lengths.sum()
    paused = Speech.parse(f"speech:basic,{SMALL},pauses=0.5,pause=200-300")
    assert {p for row in range(12) for p in paused.utterance(row).pauses} - {0} <= set(range(200, 301))
    assert all(said.pauses[:1] in ((), (0,)) for said in map(paused.utterance, range(12)))
    left = Speech.parse(f"speech:basic,{SMALL},unspoken=0.5")
    for row in range(12):
        caption, said = left.caption(row).split(), left.utterance(row).text.split()
        assert len(said) > 0
        assert set(said) <= set(caption)
    assert any(left.utterance(row).text != left.caption(row) for row in range(12))
    assert all(Speech.parse(f"speech:basic,{SMALL},unspoken=1").utterance(row).text for row in range(12))


@speaking
def test_no_row_lacks_both_and_what_is_missing_is_silent() -> None:
    data = Speech.parse(
        "speech:short,train=200,validation=2,test=4,pixels=16,missing_speech=0.4,missing_captions=0.3"
    )
    rows = np.arange(200)
    heard, said = data.present("audio", rows), data.present("text", rows)
    assert (heard | said).all()
    assert 0.3 < 1 - heard.mean() < 0.5
    assert 0.2 < 1 - said.mean() < 0.4
    few = rows[:20]
    assert np.array_equal(data.read("audio", few).samples.nan_to_num().abs().amax(1) > 0, heard[:20])
    assert np.array_equal(np.array(data.read("text", few)) != "", said[:20])
    with pytest.raises(ValueError, match="together at most 1"):
        Speech.parse("speech:basic,missing_speech=0.6,missing_captions=0.6")


@pytest.mark.parametrize("option", ["label_noise=0.1", "one_told=1", "unsaid=colour", "lacking=count:2"])
def test_what_speech_would_not_heed_is_refused(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option.partition('=')[0]} is of scenes alone"):
        Speech.parse(f"speech:basic,{option}")


@speaking
def test_labels_are_of_what_is_said() -> None:
    data = Speech.parse("speech:short,objects=1,train=40,validation=2,test=4,pixels=16")
    words, speaker = data.labels["words"], data.labels["speaker"]
    assert {"colour", "concept"} <= data.labels.keys()
    for row in range(40):
        assert data.caption(row).endswith(words.names[words.values[row]])
        assert speaker.names[speaker.values[row]] == data.utterance(row).voice == data.subsets[row]
    assert "count" in Speech.parse("speech:basic,train=40,validation=2,test=4,pixels=16").labels


@speaking
def test_a_stop_leaves_no_torn_cache_and_damage_is_mended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    block = [("a cat", "plain"), ("a dog", "deep")]
    run = subprocess.run

    def killed(*args: Any, **options: Any) -> Any:
        done = run(*args, **options)
        return subprocess.CompletedProcess(done.args, -9, done.stdout[: len(done.stdout) // 2], b"")

    monkeypatch.setattr(subprocess, "run", killed)
    with pytest.raises(RuntimeError, match="espeak-ng failed: -9"):
        speak(block)
    assert not [*tmp_path.rglob("*.npy"), *tmp_path.rglob("*.json")]
    monkeypatch.setattr(subprocess, "run", run)
    whole = [one.samples.copy() for one in speak(block)]
    (samples,), (told,) = tmp_path.rglob("*.npy"), tmp_path.rglob("*.json")
    for path, content in ((samples, samples.read_bytes()[:-100]), (told, b'{"ends": [')):
        path.write_bytes(content)
        assert all((a == b.samples).all() for a, b in zip(whole, speak(block), strict=True))
    told.unlink()  # as a stop between the two files leaves them
    assert all((a == b.samples).all() for a, b in zip(whole, speak(block), strict=True))


def test_people_voice_pitch_and_speed_and_those_of_test_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("counterpoint.data.synthetic.speech.world.engine", lambda: "none")
    data = Speech.parse("speech:people,train=200,validation=2,test=40,people=1-9")
    speaker, rows = data.classes["speaker"], np.arange(200)
    assert speaker.names[0] == "person 1"
    said = [data.utterance(row)[1:] for row in rows]  # speed, pauses, pitch, and the voice
    by_person = {value: {said[row] for row in rows if speaker.values[row] == value} for value in range(9)}
    assert all(len(ways) == 1 for ways in by_person.values())
    assert len(set().union(*by_person.values())) == 9
    tests = data.splits.test
    assert set(speaker.values[tests["as trained"]]) <= set(speaker.values[rows])
    assert not set(speaker.values[tests["other people"]]) & set(speaker.values[rows])
    same = Speech.parse("speech:people,train=200,validation=2,test=40,people=2-2")
    assert {same.utterance(row)[1:] for row in range(9)} == by_person[1]
    with pytest.raises(ValueError, match="numbered from 1"):
        Speech.parse("speech:basic,people=0-4")
    assert Speech.parse("speech:basic").utterance(0).pitch == 0


@speaking
def test_a_person_of_a_higher_pitch_sounds_otherwise() -> None:
    low, high = (speak([Utterance("two cats", "plain", pitch=pitch)])[0] for pitch in (-25, 25))
    assert low.samples.tobytes() != high.samples.tobytes()
    far = speak([Utterance("two cats", "plain", pitch=90)])[0]
    assert far.samples.tobytes() == speak([Utterance("two cats", "plain", pitch=49)])[0].samples.tobytes()
