"""Every modality: read, seen, made a tower's input, learned, embedded, kept, loaded, drawn."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Bool
from matplotlib.figure import Figure
from PIL import Image
from scipy.io import wavfile
from torch import Tensor

import counterpoint as cp
from counterpoint import trust
from counterpoint.data.base import Data, Rows, Splits
from counterpoint.data.source import _slot
from counterpoint.data.views import key
from counterpoint.data.views.transforms import transforms
from counterpoint.exporting import LAYOUTS
from counterpoint.modalities import MODALITIES, PAIR, Modality, resolve
from counterpoint.networks import build_towers
from counterpoint.networks.base import FormedInput, Tower
from counterpoint.recipes import Recipe, load, override
from counterpoint.recipes.schema import Augmentation
from counterpoint.study.training.runner import run
from counterpoint.training.loop import TrainingProgress
from counterpoint.training.run import Run
from counterpoint.types import View

RATE, ROWS, TRAIN, GAP = 8000, 24, 16, 5
WORDS = ("a low tone", "a high tone", "noise")
AUGMENTATION = Augmentation(synonyms=False)


@dataclass(frozen=True)
class Case:
    """Examples of one modality.

    Attributes:
        keys: of a recipe's section on towers, as small as they may be.
        file: the bytes of the file of an example, of another length than others; None where there are no such files.
        raw: the raw form of some rows where there are no files.
        form: in which the tower takes files.
        refused: what ``check`` refuses, each with what it says.
    """

    keys: Mapping[str, Any]
    refused: Sequence[tuple[Callable[[Any], Any], str]]
    file: Callable[[int], bytes] | None = None
    raw: Callable[[Sequence[int]], Any] | None = None
    form: int = 0


def sound(row: int) -> bytes:
    """A WAV file of what a row of `WORDS` names, of 0.1 to 0.9 seconds."""
    rng = np.random.default_rng(row)
    time = np.arange(800 + 270 * row) / RATE
    kind = row % len(WORDS)
    samples = (
        rng.normal(0, 0.3, len(time)) if kind == 2 else 0.5 * np.sin(2 * np.pi * (300, 1900)[kind] * time)
    )
    file = io.BytesIO()
    wavfile.write(file, RATE, samples.astype(np.float32))
    return file.getvalue()


def clip(row: int) -> bytes:
    """A WebP file of 1 to 8 frames that go as a row of `WORDS` says: dark above, dark below, or noise."""
    rng = np.random.default_rng(row)
    kind = row % len(WORDS)
    frames = rng.integers(0, 256 if kind == 2 else 60, (1 + row % 8, 24, 24, 3), np.uint8)
    frames[:, (slice(12, 24), slice(0, 12), slice(0, 0))[kind]] += 180
    first, *rest = map(Image.fromarray, frames)
    file = io.BytesIO()
    first.save(file, "WEBP", lossless=True, save_all=True, append_images=rest)
    return file.getvalue()


def series(row: int) -> bytes:
    """An .npy file of three channels of 20 to 55 steps that go as a row of `WORDS` says, with gaps."""
    rng = np.random.default_rng(row)
    time = np.arange(20 + 5 * (row % 8))
    kind = row % len(WORDS)
    wave = rng.normal(0, 1, len(time)) if kind == 2 else np.sin(2 * np.pi * (0.05, 0.3)[kind] * time)
    channels = wave[:, None] * [1, 20, -3] + [5, 0, 1] + 0.1 * rng.normal(size=(len(time), 3))
    channels[rng.random(channels.shape) < 0.1] = np.nan
    file = io.BytesIO()
    np.save(file, channels)
    return file.getvalue()


def cells(rows: Sequence[int]) -> cp.Table:
    """Rows of a table that go as `WORDS` says: two numbers and a category, with gaps."""
    kinds, rng = np.array(rows) % len(WORDS), np.random.default_rng(0)
    noise, gaps = rng.normal(0, 0.1, (ROWS, 2))[list(rows)], rng.random((ROWS, 3))[list(rows)] < 0.15
    numbers = np.stack([kinds * 100.0, kinds == 1], 1) + noise
    values = np.where(gaps, np.nan, np.concatenate([numbers, kinds[:, None] > 0], 1))
    return cp.Table(torch.from_numpy(values).float(), ("pitch", "level", "kind"), ((), (), ("low", "other")))


def pictures(rows: Sequence[int]) -> Tensor:
    """Pictures that go as a row of `WORDS` says: dark above, dark below, or noise."""
    drawn = []
    for row in rows:
        rng, kind = np.random.default_rng(row), row % len(WORDS)
        picture = rng.integers(0, 256 if kind == 2 else 60, (3, 24, 24), np.uint8)
        picture[:, (slice(12, 24), slice(0, 12), slice(0, 0))[kind]] += 180
        drawn.append(torch.from_numpy(picture))
    return torch.stack(drawn) if drawn else torch.zeros(0, 3, 24, 24, dtype=torch.uint8)


def texts(rows: Sequence[int]) -> list[str]:
    """Texts of different lengths, with what a row of `WORDS` says between words of the row's own."""
    return [f"the {row} of a {WORDS[row % len(WORDS)]}" + " and more" * (row % 4) for row in rows]


def classes(rows: Sequence[int]) -> cp.Maps:
    """Maps that go as a row of `WORDS` says: one class above, one below, or any; some pixels are unknown."""
    drawn = []
    for row in rows:
        rng, kind = np.random.default_rng(row), row % len(WORDS)
        one = rng.integers(0, 3 if kind == 2 else 1, (24, 24), np.uint8)
        one[(slice(12, 24), slice(0, 12), slice(0, 0))[kind]] = 1 + kind
        one[rng.random(one.shape) < 0.1] = 255
        drawn.append(torch.from_numpy(one))
    pixels = torch.stack(drawn) if drawn else torch.zeros(0, 24, 24, dtype=torch.uint8)
    return cp.Maps(pixels, ("sky", "sea", "sand"))


def rectangles(rows: Sequence[int]) -> cp.Boxes:
    """Boxes, one to four, that go as a row of `WORDS` says: above, below, or anywhere."""
    drawn = []
    for row in rows:
        rng, kind = np.random.default_rng(row), row % len(WORDS)
        corners = np.sort(rng.random((1 + row % 4, 2, 2)), 1).reshape(-1, 4)
        if kind < 2:
            corners[:, 1::2] = corners[:, 1::2] / 2 + kind / 2
        drawn.append(corners)
    return cp.Boxes.of(drawn)


def exchanges(rows: Sequence[int]) -> list[tuple[cp.Exchange, ...]]:
    """One exchange a row, whose reply says what a row of `WORDS` says."""
    return [(cp.Exchange(f"what is number {row} of them?", WORDS[row % len(WORDS)]),) for row in rows]


def subtitles(row: int) -> bytes:
    """A SubRip file of one to four sentences, of which each says what a row of `WORDS` says."""
    captions = [
        f"{k + 1}\n00:00:0{k},500 --> 00:00:0{k + 1},250\nnumber {row} is a {WORDS[row % len(WORDS)]}\n"
        for k in range(1 + row % 4)
    ]
    return "\n".join(captions).encode()


CASES = {
    "transcript": Case(
        keys={"context": 12},
        file=subtitles,
        refused=(
            (lambda raw: "a text", "transcripts must be a list"),
            (lambda raw: raw[:0], "the list of transcripts is empty"),
            (lambda raw: ["a text"], "transcript 0 must be a cp.Subtitles"),
            (lambda raw: [cp.Subtitles(raw[0].sentences, 0.1)], "sentence 0 of transcript 0 is said from"),
            (lambda raw: [cp.Subtitles(raw[1].sentences[::-1], 9.0)], "in the order of their starts"),
        ),
    ),
    "talk": Case(
        keys={"talk_width": 32, "talk_layers": 1, "talk_context": 64},
        raw=exchanges,
        refused=(
            (lambda raw: "a text", "conversations must be a list"),
            (lambda raw: raw[:0], "the list of conversations is empty"),
            (lambda raw: [*raw, ("a request alone",)], "conversation 2 must be a list of pairs"),
        ),
    ),
    "image": Case(
        keys={"image_size": 16, "image": "patches"},
        raw=pictures,
        refused=(
            (lambda raw: raw.float(), "pictures must be a uint8 tensor"),
            (lambda raw: raw.permute(0, 2, 3, 1), "channels come second"),
            (lambda raw: raw[:0], "nothing to embed|no pictures"),
        ),
    ),
    "text": Case(
        keys={"context": 12},
        raw=texts,
        refused=(
            (lambda raw: b"a text", "texts must be a list of texts, or one text"),
            (lambda raw: raw[:0], "the list of texts is empty"),
            (lambda raw: [*raw, None], "text 2 must be a text"),
        ),
    ),
    "table": Case(
        keys={},
        raw=cells,
        refused=(
            (lambda raw: raw.cells, "must be cp.Table"),
            (lambda raw: raw[:0], "no rows"),
            (lambda raw: raw.with_values(raw.cells / 0), "infinite in"),
        ),
    ),
    "map": Case(
        keys={"image_size": 16},
        raw=classes,
        refused=(
            (lambda raw: raw.pixels.long(), "maps must be cp.Maps or an array"),
            (lambda raw: raw.pixels[0], "maps must be cp.Maps or an array"),
            (lambda raw: raw[:0], "nothing to embed"),
            (lambda raw: raw.with_values(raw.pixels.clamp(min=3)), "class 3, and there are names of 3"),
            (lambda raw: torch.full((1, 2, 2), torch.inf), "infinite"),
        ),
    ),
    "boxes": Case(
        keys={},
        raw=rectangles,
        refused=(
            (lambda raw: raw.corners[0], "boxes must be cp.Boxes or an array"),
            (lambda raw: raw[:0], "boxes of no picture"),
            (lambda raw: raw.with_values(raw.corners + 1), "box 0 of picture 0 .* inside the picture"),
            (lambda raw: raw.with_values(raw.corners.flip(2)), "left must be less than right"),
            (lambda raw: raw.with_values(0 * raw.corners), "left must be less than right"),
            (lambda raw: raw.with_values(torch.tensor([[[0.1, torch.nan, 0.2, 0.3]]])), "all four numbers"),
        ),
    ),
    "series": Case(
        keys={"series_steps": 40},
        file=series,
        refused=(
            (lambda raw: "a series", "must be cp.Series or an array"),
            (lambda raw: raw[:0], "there are no series"),
            (lambda raw: raw.with_values(raw.measured * torch.nan), "series 0 is empty"),
            (lambda raw: raw.with_values(raw.measured / 0), "infinite"),
        ),
    ),
    "video": Case(
        keys={"image_size": 16, "video_frames": 4, "image": "patches"},
        form=21,
        file=clip,
        refused=(
            (lambda raw: raw.frames.float(), "clips must be cp.Clips or bytes"),
            (lambda raw: raw.frames.permute(0, 1, 3, 4, 2), "clips must be cp.Clips or bytes"),
            (lambda raw: raw[:0], "there are no clips"),
            (lambda raw: cp.Clips(raw.frames, 0 * raw.lengths), "clip 0 is empty"),
        ),
    ),
    "audio": Case(
        keys={"audio_rate": RATE, "audio_seconds": 0.5, "audio_bands": 24},
        form=RATE,
        file=sound,
        refused=(
            (lambda raw: raw.samples, "sounds must be cp.Waves"),
            (lambda raw: raw[:0], "there are no sounds"),
            (lambda raw: raw.with_values(raw.samples * torch.nan), "sound 0 is empty"),
            (lambda raw: raw.with_values(raw.samples / 0), "infinite"),
        ),
    ),
}
CHECKED = [pytest.param(modality, CASES[modality.name], id=modality.name) for modality in MODALITIES]
BY_LIBRARIES = [
    pytest.param(
        MODALITIES.get("audio"),
        replace(CASES["audio"], keys={**CASES["audio"].keys, "audio": "timm:test_resnet"}),
        id="audio by timm",
    )
]
"""Towers of libraries that need no files, for what is asked of towers."""


def recipe(case: Case) -> Recipe:
    small = {
        "towers.vocabulary": 280,
        "towers.context": 8,
        "widths.embedding": 16,
        "towers.text": "bag",
        "log_every": 10,
    }
    towers = {f"towers.{name}": value for name, value in case.keys.items()}
    return override(load("cpu"), {**small, **towers, "steps": 20, "batch_size": 8, "checkpoint_every": 5})


def tower_of(modality: Modality, case: Case) -> Tower:
    name, examples = modality.name, raw_of(modality, case, range(TRAIN), modality.form)
    return build_towers(recipe(case).towers, {name: examples}, 0, columns={name: name})[name].eval()


def raw_of(modality: Modality, case: Case, rows: Sequence[int], form: int) -> Any:
    """Files as they are read for a tower, or what is in no files."""
    if case.raw is not None:
        return resolve(modality.check)(case.raw(rows))
    assert case.file is not None
    read, pack = resolve(modality.read), resolve(modality.pack)
    return resolve(modality.check)(pack([read(case.file(row), form) for row in rows], form))


def some(raw: Any, rows: Sequence[int]) -> Any:
    """Some examples of a raw form; a list of texts knows no list of places."""
    return [raw[row] for row in rows] if isinstance(raw, list) else raw[list(rows)]


def form_of(tower: Tower) -> int:
    return tower.input.form if isinstance(tower.input, FormedInput) else 0


@pytest.mark.parametrize(("modality", "case"), [*CHECKED, *BY_LIBRARIES])
def test_a_row_is_embedded_alike_whatever_stands_beside_it(modality: Modality, case: Case) -> None:
    tower = tower_of(modality, case)
    raw = raw_of(modality, case, range(7), form_of(tower))
    assert len(raw) == 7
    with torch.no_grad():
        together = tower(tower.input(raw))
        assert together.shape == (7, tower.width)
        assert torch.pdist(together).min() > 1e-3
        order = [3, 0, 6, 2, 5, 1, 4]
        torch.testing.assert_close(tower(tower.input(some(raw, order))), together[order], rtol=0, atol=1e-5)
        for row in range(7):
            alone = tower.input(raw_of(modality, case, [row], form_of(tower)))
            torch.testing.assert_close(tower(alone)[0], together[row], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("modality", "name"),
    [
        *((it.name, name) for it in MODALITIES if it.unit for name in it.towers if ":" not in name),
        *[("audio", "timm:test_resnet"), ("text", "transformer"), ("text", "bag")],
    ],
)
def test_padding_changes_no_more_than_rounding_in_sixteen_bits(modality: str, name: str) -> None:
    kind = MODALITIES.get(modality)
    words = Case(keys={}, refused=(), raw=lambda rows: [" ".join(WORDS[: row % 3 + 1]) for row in rows])
    case = replace(CASES.get(modality, words), keys={**CASES.get(modality, words).keys, modality: name})
    section = override(recipe(words), {f"towers.{key}": value for key, value in case.keys.items()}).towers
    examples = {modality: raw_of(kind, case, range(TRAIN), kind.form)}
    tower = build_towers(section, examples, 0, columns={modality: modality})[modality].eval()
    given = tower.input(raw_of(kind, case, range(7), form_of(tower)))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        together, lengths = tower(given).float(), set()
        for row in range(7):
            alone = tower.input(raw_of(kind, case, [row], form_of(tower)))
            lengths.add(alone.shape[1])
            # 2^-8 is the rounding of one number of 8 bits; a text's transformer, whose masks differ, is 2^-6 off.
            far = (tower(alone)[0].float() - together[row]).abs().amax() / together.square().mean().sqrt()
            assert far < 2**-5
    assert len(lengths) > 1
    assert given.shape[1] == max(lengths)


@pytest.mark.parametrize(("modality", "case"), CHECKED)
@pytest.mark.parametrize("name", ["plain", "weak", "strong", "simclr"])
def test_a_view_is_a_function_of_the_key(modality: Modality, case: Case, name: str) -> None:
    tower = tower_of(modality, case)
    look = transforms({"view": View(modality.name, name)}, AUGMENTATION)["view"]
    raw, keys = raw_of(modality, case, range(6), form_of(tower)), key(0, 0, np.arange(6), "view")
    together = look(raw, keys, tower.input)
    assert torch.equal(look(raw, keys, tower.input).nan_to_num(9), together.nan_to_num(9))
    others = look(raw, key(0, 1, np.arange(6), "view"), tower.input)
    same = others.shape == together.shape and torch.equal(others.nan_to_num(9), together.nan_to_num(9))
    assert same == (name == "plain")
    with torch.no_grad():
        assert tower(together).isfinite().all()
    for row in range(6):
        alone = look(some(raw, [row]), keys[row : row + 1], tower.input)[0]
        assert torch.equal(alone.nan_to_num(9), together[row, : len(alone)].nan_to_num(9))
        behind = together[row, len(alone) :]
        assert (behind.isnan() if behind.is_floating_point() else behind == 0).all()  # tokens know no NaN


@pytest.mark.parametrize(("modality", "case"), CHECKED)
def test_what_cannot_be_embedded_is_refused(modality: Modality, case: Case) -> None:
    raw = raw_of(modality, case, range(2), form_of(tower_of(modality, case)))
    check = resolve(modality.check)
    for spoil, message in case.refused:
        with pytest.raises(ValueError, match=message):
            check(spoil(raw))


@pytest.mark.parametrize(("modality", "case"), CHECKED)
def test_examples_are_drawn(modality: Modality, case: Case) -> None:
    axis = Figure().subplots()
    for example in raw_of(modality, case, range(2), form_of(tower_of(modality, case))):
        assert modality.draw is not None
        resolve(modality.draw)(axis, example)
    assert axis.get_images() or axis.get_lines() or axis.texts or axis.get_title()


@pytest.mark.parametrize(("modality", "case"), CHECKED)
def test_an_entry_is_whole(modality: Modality, case: Case) -> None:
    assert modality.letter == modality.name[0] or modality.letter in ("b", "d", "r")
    assert modality.noun != modality.name or modality.name == "series"
    assert all(ending.startswith(".") and ending == ending.lower() for ending in modality.endings)
    assert not any(modality.endings & other.endings for other in MODALITIES if other is not modality)


class Told(Data):
    """Examples of a modality, and words that name them."""

    def __init__(self, name: str) -> None:
        self.modality = MODALITIES.get(name)
        self.words = "text" if name != "text" else "note"
        self.name, self.columns = "told", MappingProxyType({name: name, self.words: "text"})
        self.ids = np.arange(ROWS)
        self.splits = Splits(self.ids[:TRAIN], {}, {"held out": self.ids[TRAIN:]})

    def read(self, column: str, rows: Rows) -> Any:
        if column == self.words:
            return [WORDS[row % len(WORDS)] for row in rows.tolist()]
        return raw_of(self.modality, CASES[column], rows.tolist(), CASES[column].form)

    def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
        return (rows != GAP) | (column == self.words)


FILE = "from test_modalities import Told\n\nDATA = Told({name!r})\n"


@pytest.mark.parametrize(("modality", "case"), [*CHECKED, *BY_LIBRARIES])
def test_clip_learns_it_beside_texts_stops_goes_on_and_is_loaded(
    modality: Modality, case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    (tmp_path / "told.py").write_text(FILE.format(name=modality.name))
    name, source = modality.name, f"{tmp_path / 'told.py'}:DATA"
    trust.given(source)
    what, losses = Run("clip", source, recipe(case)), []

    def stop(now: TrainingProgress) -> None:
        losses.append(now.loss)
        if now.step == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(what, tmp_path / "run", on_step=stop)
    state = run(what, tmp_path / "run", on_step=lambda now: losses.append(now.loss))
    assert (state.status, state.steps, state.rows) == ("finished", 20, TRAIN - 1), "one of them has a gap"
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    _slot.cache_clear()  # as in a process that has not opened the data
    model, data = cp.load(tmp_path / "run"), Told(name)
    held_out = data.read(name, data.splits.test["held out"])
    embeddings = model.embed(name, held_out)
    turned = some(held_out, range(len(held_out))[::-1])
    torch.testing.assert_close(model.embed(name, turned).flip(0), embeddings, rtol=0, atol=1e-5)
    whole = cp.train("clip", source, recipe=recipe(case), folder=tmp_path / "whole")
    torch.testing.assert_close(whole.embed(name, held_out), embeddings, rtol=0, atol=0)
    exported = cp.export(tmp_path / "run", "safetensors", tmp_path / "exported")
    assert set(exported.differences) == {name, "text"}
    again = cp.load(tmp_path / "exported")
    torch.testing.assert_close(again.embed(name, held_out), embeddings, rtol=0, atol=0)
    # Some layouts are for pictures with texts, or for texts, and for nothing else; these have tests of their own.
    for layout in () if name in PAIR else LAYOUTS.names():
        if layout != "safetensors":
            with pytest.raises(ValueError, match=f"cannot be exported to {layout}: .*{name}|{modality.noun}"):
                cp.export(tmp_path / "run", layout, tmp_path / layout)
