"""A view that is like another one shows the same part of an example, and draws all else by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoint.data.loading.loader import Loader
from counterpoint.data.loading.order import ShuffledOrder
from counterpoint.data.views import key
from counterpoint.data.views.clips import ClipView
from counterpoint.data.views.pictures import ImageView
from counterpoint.data.views.time_series import SeriesView
from counterpoint.data.views.transforms import transforms
from counterpoint.data.views.waves import WaveView
from counterpoint.networks.towers.footage import Footage
from counterpoint.networks.towers.parts.pixels import Square
from counterpoint.networks.towers.series import Standardised
from counterpoint.networks.towers.sound import Waveform
from counterpoint.raw import Clips, Series, Waves
from counterpoint.recipes import Augmentation
from counterpoint.registry import UnknownNameError
from counterpoint.types import View
from fixtures.tiny import TinyData

PART, OWN = (key(0, 0, np.arange(12), name) for name in ("a", "b"))


def test_series_show_the_same_steps() -> None:
    ramp = Series.of([np.arange(80.0)[:, None]] * 12)
    given = Standardised(64, (), [0.0], [1.0])
    first, noisy = SeriesView(window=0.3), SeriesView(window=0.9, jitter=1e-3)
    shown, like = first(ramp, PART, given), noisy.within(first)(ramp, OWN, given, part=PART)
    torch.testing.assert_close(like, shown, atol=1e-2, rtol=0, equal_nan=True)
    assert not like.equal(shown), "the noise is its own"
    other = noisy.within(first)(ramp, OWN, given)
    assert (other[:, 0, 0] - shown[:, 0, 0]).abs().max() > 1


def test_sounds_are_of_the_same_seconds() -> None:
    ramp = Waves(torch.arange(100.0).repeat(12, 1), rate=10)
    given, first = Waveform(10, 2.0), WaveView(window=True)
    shown = first(ramp, PART, given)
    assert WaveView().within(first)(ramp, OWN, given, part=PART).equal(shown)
    assert not WaveView().within(first)(ramp, OWN, given).equal(shown)
    assert len(shown[:, 0].unique()) > 6


def test_pictures_show_the_same_crop() -> None:
    pictures = torch.randint(256, (12, 3, 32, 32), dtype=torch.uint8)
    first = ImageView(crop=(0.1, 0.5))
    shown = first(pictures, PART, Square(16))
    assert ImageView().within(first)(pictures, OWN, Square(16), part=PART).equal(shown)
    assert not ImageView().within(first)(pictures, OWN, Square(16)).equal(shown)
    mirrored = ImageView(mirror=0.5)
    like = ImageView(jitter=(0.4, 0.4, 0.4, 0.1), jitter_p=1.0).within(mirrored).draw(OWN, 32, 32, 16, PART)
    assert (like.flip == mirrored.draw(PART, 32, 32, 16).flip).all(), "it is mirrored where the other one is"
    assert len(set(like.flip.tolist())) == 2


def test_clips_show_the_same_frames_and_crop() -> None:
    clips = Clips.of(
        [np.random.default_rng(n).integers(256, size=(9, 3, 20, 20), dtype=np.uint8) for n in range(12)]
    )
    given, first = Footage(16, 3), ClipView(ImageView(crop=(0.1, 0.5)), anywhere=True)
    shown, plain = first(clips, PART, given), ClipView(ImageView()).within(first)
    assert plain(clips, OWN, given, part=PART).equal(shown)
    assert not plain(clips, OWN, given).equal(shown)


class _Several(TinyData):
    def training_captions(self, row: int) -> list[str]:
        return [f"{word} {row}" for word in ("one", "two", "three", "four", "five")]


def test_texts_are_of_the_same_caption() -> None:
    seen: list[list[str]] = []

    class Listening:
        context, vocabulary, end = 8, 10, 9

        def __call__(self, given: list[str]) -> torch.Tensor:
            seen.append(list(given))
            return torch.zeros(len(given), 1, dtype=torch.long)

        def too_long(self, given: list[str]) -> torch.Tensor:
            return torch.zeros(len(given), dtype=torch.bool)

    data = _Several()
    loader = Loader(
        data,
        ShuffledOrder(data.splits.train, 16, 0),
        {"a": View("text"), "b": View("text"), "c": View("text", like="a")},
        augmentation=Augmentation(),
        inputs={"text": Listening()},
    )
    loader.batch(0)
    a, b, c = seen
    assert a == c != b


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ({"a": View("image"), "b": View("image", like="a"), "c": View("image", like="b")}, "itself like 'a'"),
        ({"a": View("image"), "b": View("text", like="a")}, "which is of image"),
        ({"a": View("image", "weak_or_strong"), "b": View("image", like="a")}, "no part of an example"),
        ({"a": View("table"), "b": View("table", like="a")}, "no part of an example"),
    ],
)
def test_what_no_view_can_be_like_is_refused(views: dict[str, View], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        transforms(views, Augmentation())


def test_a_view_that_there_is_not() -> None:
    with pytest.raises(UnknownNameError, match="'c'"):
        transforms({"a": View("image"), "b": View("image", like="c")}, Augmentation())
