from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Bool
from torch import Tensor

from counterpoint.data.base import Data, ImageSource, Rows, Splits
from counterpoint.data.corruptions import CORRUPTIONS, STRENGTHS
from counterpoint.data.labels import Classes
from counterpoint.evaluation import create, default_tasks
from counterpoint.evaluation.task import NotApplicableError, check_data
from counterpoint.evaluation.tasks.shift import _candidates
from counterpoint.raw import Waves
from fixtures.tiny import Oracle, Pixels, TinyData

ROWS = np.arange(60)


class Sure(Pixels):
    """Knows every caption and every picture by heart; what it does not know it takes for the first row's."""

    def __init__(self, data: TinyData) -> None:
        super().__init__()
        self._row = {p.numpy().tobytes(): row for row, p in enumerate(data.images(np.arange(70)))}
        self._text = {data.captions(row)[0]: row for row in range(70)}
        self.asked = 0

    def embed(self, modality: str, inputs: Sequence[str] | Tensor, head: str = "default") -> Tensor:
        if modality == "text":
            return torch.eye(70)[[self._text.get(str(text), 0) for text in inputs]]
        self.asked += len(inputs)
        return torch.eye(70)[[self._row.get(p.numpy().tobytes(), 0) for p in inputs]]  # type: ignore[union-attr]


def test_clean_pictures_found_and_others_as_far_as_recognised(tiny_data: TinyData) -> None:
    scores = create("shift")(Sure(tiny_data), tiny_data, ROWS)
    assert scores.value("clean_100way") == 1
    # Every corrupted picture is taken for row 0, whose caption some of the rows have among their candidates.
    assert scores.value("blur_100way") < 0.2
    assert scores.metrics["clean_100way"].chance == 1 / 60
    assert scores.metrics["clean_group_top1"].chance == 1 / 2


def test_the_main_number_is_the_mean_over_all_corruptions(tiny_data: TinyData) -> None:
    scores = create("shift")(Pixels(), tiny_data, ROWS)
    for question in ("100way", "group_top1"):
        parts = [
            scores.examples[f"{k}_{s + 1}_{question}"].to_numpy() for k in CORRUPTIONS for s in STRENGTHS
        ]
        assert len(parts) == 12
        np.testing.assert_allclose(scores.examples[f"corruption_{question}"], np.mean(parts, axis=0))
        blurred = [scores.examples[f"blur_{s + 1}_{question}"].to_numpy() for s in STRENGTHS]
        assert scores.value(f"blur_{question}") == pytest.approx(np.mean(blurred))


def test_the_other_artist_is_asked_about_the_same_rows(tiny_data: TinyData) -> None:
    class Swapped(TinyData):
        def shifts(self) -> Mapping[str, ImageSource]:
            return {"same": self.images, "shuffled": lambda rows: self.images(rows[::-1].copy())}

    data = Swapped()
    scores = create("shift")(Sure(data), data, ROWS)
    assert scores.value("same_100way") == 1
    assert scores.value("shuffled_100way") == 0


@pytest.mark.parametrize("ways", [5, 100])
def test_candidates_hold_the_own_caption_once_and_are_fixed(
    ways: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Alike(TinyData):
        def evaluation_captions(self, row: int) -> Sequence[str]:
            return [f"caption {row // 2}", f"other {row % 7}"]

    data = Alike()
    monkeypatch.setattr("counterpoint.evaluation.tasks.shift.WAYS", ways)
    candidates, gallery = _candidates(data, ROWS, np.arange(60))
    assert candidates.shape == (60, min(ways, 37 - 2 + 1))
    for row, chosen in zip(ROWS, candidates, strict=True):
        names = [gallery[i] for i in chosen]
        assert names[0] == f"caption {row // 2}"
        assert len(set(names)) == len(names)
        assert f"other {row % 7}" not in names
    again, _ = _candidates(data, ROWS, np.array([4, 50]))
    np.testing.assert_array_equal(again, candidates[[4, 50]])
    assert len({tuple(sorted(row)) for row in candidates.tolist()}) > 1


def test_at_most_limit_pictures_are_asked_always_the_same(tiny_data: TinyData) -> None:
    asked = []
    for seed in (0, 1):
        scores = create("shift", limit=8)(Pixels(seed=seed), tiny_data, ROWS)
        has = scores.examples.filter(scores.examples["corruption_100way"].is_not_null())
        assert len(scores.examples) == 60
        asked.append(has["example"].to_list())
    assert asked[0] == asked[1]
    assert len(asked[0]) == 8
    model = Sure(tiny_data)
    create("shift", limit=8)(model, tiny_data, ROWS)
    assert model.asked == 8 * (1 + 1 + 12)


def test_without_knowledge_it_scores_chance(tiny_data: TinyData) -> None:
    class Collapsed(Pixels):
        def embed(self, modality: str, inputs: object, head: str = "default") -> Tensor:
            return torch.ones(len(inputs), 4) / 2  # type: ignore[arg-type]

    scores = create("shift")(Collapsed(), tiny_data, ROWS)
    for name, metric in scores.metrics.items():
        assert scores.value(name) == pytest.approx(metric.chance), name


def test_answer_prefers_common_captions_better_than_chance_where(
    tiny_data: TinyData,
) -> None:
    class Repeated(TinyData):
        def evaluation_captions(self, row: int) -> Sequence[str]:
            return ["a shape"] if row < 30 else super().evaluation_captions(row)

    plain, repeated = (create("shift")(Pixels(), data, ROWS) for data in (tiny_data, Repeated()))
    assert plain.constant("corruption_100way") == pytest.approx(1 / 60)
    # Thirty of 60 pictures are a shape, and the others have it among their 31 candidates.
    assert repeated.constant("corruption_100way") == pytest.approx(30 / 60)
    assert repeated.metrics["corruption_100way"].chance == pytest.approx(1 / 31)


def test_negative_cosines_choose_the_largest(tiny_data: TinyData) -> None:
    images = -torch.eye(70)[:, :2].abs() - 0.5
    texts = {tiny_data.captions(row)[0]: torch.rand(2) * 0.1 + 0.2 for row in range(70)}
    images[3], texts[tiny_data.captions(3)[0]] = torch.tensor([-0.1, -0.1]), torch.tensor([0.01, 0.01])
    data = TinyData()
    data.labels = {}
    data.shifts = dict  # type: ignore[method-assign]

    class Blind(Oracle):
        def embed(self, modality: str, inputs: object, head: str = "default") -> Tensor:
            try:
                return super().embed(modality, inputs, head)
            except KeyError:
                return torch.full((len(inputs), 2), -1.0)  # type: ignore[arg-type]

    scores = create("shift")(Blind(data, images, texts), data, ROWS)
    assert scores.examples["clean_100way"][3] == 1
    assert scores.value("clean_100way") == pytest.approx(1 / 60)


def test_a_single_caption_is_an_error() -> None:
    class Same(TinyData):
        def evaluation_captions(self, row: int) -> Sequence[str]:
            return ["a shape"]

    with pytest.raises(ValueError, match="the test set of 'tiny' has one"):
        create("shift")(Pixels(), Same(), ROWS)


class Sounds(Data):
    """Tones with their names: loud or quiet, low or high."""

    name, columns = "tones", MappingProxyType({"text": "text", "audio": "audio"})  # as the base has it

    def __init__(self) -> None:
        self.ids = np.arange(12)
        self.splits = Splits(self.ids[:0], {}, {"test": self.ids})
        self.hertz = 200 * (1 + self.ids)

    @property
    def labels(self) -> Mapping[str, Classes]:  # type: ignore[override] # the base keeps what it makes
        return {"pitch": Classes(("200", "2400"), (self.hertz > 1200).astype(int), ("tone {}",))}

    def read(self, column: str, rows: Rows) -> Any:
        if column == "text":
            return [f"tone {hertz}" for hertz in self.hertz[rows]]
        time = np.arange(4000) / 16_000
        return Waves.of([np.sin(2 * np.pi * hertz * time) for hertz in self.hertz[rows]], 16_000)

    def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
        return (rows != 7) | (column == "text")


class Ear:
    """Hears the loudest frequency."""

    heads = ("global",)
    embeds = ("text", "audio")

    def embed(self, column: str, inputs: Any, head: str = "default") -> Tensor:
        if column == "text":
            hertz = torch.tensor([float(text.split()[1]) for text in inputs])
        else:
            hertz = torch.fft.rfft(inputs.samples).abs().argmax(1) * inputs.rate / inputs.samples.shape[1]
        return torch.stack([(hertz / 3000).cos(), (hertz / 3000).sin()], 1)

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b.T


def test_sounds_are_made_worse_as_sounds_are() -> None:
    data = Sounds()
    assert default_tasks(data) == ("retrieval", "zero_shot", "shift")  # nothing to learn from
    scores = create("shift")(Ear(), data, data.ids)
    kinds = ("noise", "band", "clipping", "gain")
    assert {*scores.metrics} == {
        f"{kind}_{question}"
        for kind in ("clean", "corruption", *kinds)
        for question in ("100way", "pitch_top1")
    }
    assert scores.value("clean_100way") == scores.value("gain_100way") == scores.value("clipping_100way") == 1
    assert scores.examples["clean_100way"][7] is None  # it has no sound
    # Of the eleven others the five up to 1 kHz are left by the narrowest band.
    assert scores.examples["band_3_100way"].drop_nulls().to_list() == [1.0] * 5 + [0.0] * 6
    assert scores.metrics["clean_100way"].chance == pytest.approx(1 / 11)
    assert scores.value("corruption_100way") == pytest.approx(
        np.mean([scores.value(f"{kind}_100way") for kind in kinds])
    )


def test_what_has_no_corruptions_is_left_out() -> None:
    class Words(Sounds):
        columns = MappingProxyType({"question": "text", "answer": "text"})  # as the base has it

    with pytest.raises(
        NotApplicableError, match=r"shift asks about pictures .* columns question, answer: leave the"
    ):
        check_data(create("shift"), Words())
