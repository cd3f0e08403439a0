"""Sources that are mixed: what is whose, what stands in gaps, and which rows make a batch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch

from counterpoint.data.base import Data, Rows, Splits
from counterpoint.data.derived.mixed import MixedData
from counterpoint.data.derived.mixture import parts_of, together
from counterpoint.data.labels import Classes
from counterpoint.data.loading.loader import Loader
from counterpoint.data.loading.mixed import Mixture
from counterpoint.data.replaced import Replacement
from counterpoint.data.source import load_any, located, rooted, short_name
from counterpoint.evaluation import evaluate
from counterpoint.evaluation.task import NotApplicableError, check_labels
from counterpoint.networks.towers.parts.pixels import Square
from counterpoint.raw import Clips, Table, Waves
from counterpoint.recipes import Augmentation
from counterpoint.registry import UnknownNameError
from counterpoint.types import View
from fixtures.tiny import SIDE, TinyData


class Sayings(Data):
    """Texts of two columns, with a label that the shapes have too."""

    columns: Mapping[str, str] = MappingProxyType({"text": "text", "answer": "text"})
    name = "some/sayings.csv"

    def __init__(self, count: int = 12) -> None:
        self.ids = np.arange(count)
        rows = np.arange(count)
        self.splits = Splits(rows[4:], {"held out": rows[:2]}, {"held out": rows[2:4]})
        group = np.where(rows % 3 == 2, -1, rows % 2)
        self.labels = {"group": Classes(("loud", "round"), group), "source": Classes(("a", "b"), rows % 2)}

    def read(self, column: str, rows: Rows) -> list[str]:
        return [f"{column} {row}" for row in rows]


class Heard(Data):
    """Sounds of three samples and rows of a table."""

    columns: Mapping[str, str] = MappingProxyType({"audio": "audio", "table": "table"})

    def __init__(self, name: str, samples: int = 3, rate: int = 10) -> None:
        self.name, self.samples, self.rate = name, samples, rate
        self.ids = np.arange(4)
        self.splits = Splits(self.ids, {}, {"held out": self.ids[:2]})

    def read(self, column: str, rows: Rows) -> Table | Waves:
        if column == "table":
            return Table(torch.ones(len(rows), 2), ("a", "b"), ((), ()))
        return Waves(torch.ones(len(rows), self.samples), self.rate)


def mixed() -> MixedData:
    return MixedData([TinyData(), Sayings()], shares=[0.75, 0.25])


def test_columns_labels_and_ids_of_all_sources() -> None:
    data = mixed()
    tiny, sayings = data.sources
    assert data.columns == {"image": "image", "text": "text", "answer": "text"}
    assert len(data) == len(tiny) + len(sayings) == len(np.unique(data.ids))
    group = data.labels["group"]
    assert group.names == ("round", "angular", "loud")
    assert group.values[: len(tiny)].tolist() == tiny.labels["group"].values.tolist()
    assert group.values[len(tiny) :].tolist()[:4] == [2, 0, -1, 0]  # loud, round, none, round
    assert data.labels["source"].names == ("tiny", "sayings.csv")
    assert data.labels["source"].values.tolist() == [0] * len(tiny) + [1] * len(sayings)
    assert data.labels["sayings.csv source"].names == ("a", "b")
    assert "source" not in check_labels(data, (), "probe")
    assert check_labels(data, ("source",), "probe") == ("source",)
    assert (data.labels["subgroup"].values[len(tiny) :] == -1).all()


def test_ids_stay_when_another_source_grows() -> None:
    grown = MixedData([TinyData(), Sayings(20)])
    assert grown.ids[: len(mixed())].tolist() == mixed().ids.tolist()
    assert set(MixedData([Sayings(), TinyData()]).ids).isdisjoint(mixed().ids)


def test_validation_and_test_sets_stay_apart() -> None:
    data = mixed()
    tiny = data.sources[0]
    names = [f"tiny: {name}" for name in tiny.splits.test]
    assert list(data.splits.test) == [*names, "sayings.csv: held out"]
    assert data.splits.test["sayings.csv: held out"].tolist() == [len(tiny) + 2, len(tiny) + 3]
    assert sorted(data.splits.train) == sorted(
        [*tiny.splits.train, *(data.sources[1].splits.train + len(tiny))]
    )
    # The first rows that somebody looks at are of all sources.
    assert (data.splits.train[:16] >= len(tiny)).any()
    assert (data.splits.train[:16] < len(tiny)).any()


def test_row_is_read_from_its_source_and_lacks_what_source_lacks() -> None:
    data = mixed()
    tiny = len(data.sources[0])
    rows = np.array([tiny + 3, 5, tiny, 6])
    assert data.present("image", rows).tolist() == [False, True, False, True]
    assert data.present("answer", rows).tolist() == [True, False, True, False]
    pictures = data.read("image", rows)
    assert torch.equal(pictures[[1, 3]], data.sources[0].read("image", np.array([5, 6])))
    assert not pictures[[0, 2]].any()
    assert data.read("answer", rows) == ["answer 3", "", "answer 0", ""]
    assert data.read_training("answer", rows[1:]) == [[""], "answer 0", [""]]
    assert data.read("image", rows[:1]).shape == (1, 3, SIDE, SIDE)
    assert data.read("answer", rows[1:2]) == [""]
    assert data.evaluation_texts("answer", 5) == ()
    assert list(data.evaluation_texts("answer", tiny + 1)) == ["answer 1"]
    assert data.key(tiny + 1) == "sayings.csv/1"
    assert "" not in data.examples()["answer"]
    with pytest.raises(UnknownNameError, match="answer"):
        data.read("answr", rows)


def test_raw_forms_of_several_sources_are_one() -> None:
    data = MixedData([Heard("one"), Heard("two", samples=5), Sayings()])
    rows = np.array([0, 4, 8])
    waves = data.read("audio", rows)
    assert waves.lengths.tolist() == [3, 5, 5]
    assert waves.samples[0].isnan().tolist() == [False] * 3 + [True] * 2
    assert not waves.samples[2].any()
    assert data.read("table", rows).cells.isnan().any(1).tolist() == [False, False, True]


def test_raw_forms_that_are_not_measured_alike_are_refused() -> None:
    data = MixedData([Heard("one"), Heard("two", rate=20)])
    with pytest.raises(ValueError, match="do not measure alike"):
        data.read("audio", np.array([0, 4]))


def test_clips_of_several_sources_are_one() -> None:
    class Seen(Heard):
        columns = MappingProxyType({"video": "video"})

        def read(self, column: str, rows: Rows) -> Clips:  # type: ignore[override] # another modality
            return Clips.of([np.ones((self.samples, 3, 4, 4), np.uint8)] * len(rows))

    clips = MixedData([Seen("one"), Seen("two", samples=5), Sayings()]).read("video", np.array([0, 4, 8]))
    assert clips.lengths.tolist() == [3, 5, 1]
    assert clips.frames[0].flatten(1).any(1).tolist() == [True] * 3 + [False] * 2


def test_all_rows_of_a_mixture_are_known_to_its_order() -> None:
    data = mixed()
    order = Mixture.of(data.splits, data.splits.train, 16, 7)
    assert order.rows(0, 9).tolist() == sorted(data.splits.train.tolist())


def test_pictures_of_two_sizes_become_those_of_the_larger() -> None:
    data = load_any("digits")
    both = MixedData([data, TinyData()])
    assert both.read("image", np.array([0, len(data)])).shape[-1] == SIDE


def test_source_has_share_of_batch_and_comes_round_by_itself() -> None:
    few, many = np.arange(6), np.arange(100, 140)
    order = Mixture([many, few], [0.75, 0.25], 8, seed=3)
    steps = [order.at(step)[0] for step in range(24)]
    assert {int((rows < 100).sum()) for rows in steps} == {2}
    for start in range(0, 24, 3):  # six rows, two a step
        assert sorted(row for rows in steps[start : start + 3] for row in rows if row < 100) == few.tolist()


def test_every_source_has_its_share_of_the_steps() -> None:
    first, second = np.arange(40), np.arange(40, 80)
    order = Mixture([first, second], [0.75, 0.25], 8, seed=3, by="steps")
    steps = [order.at(step)[0] for step in range(24)]
    kinds = [set((rows >= 40).tolist()) for rows in steps]
    assert all(len(kind) == 1 for kind in kinds)
    assert [kind == {True} for kind in kinds].count(True) == 6
    of_first = [row for rows in steps for row in rows.tolist() if row < 40]
    assert sorted(of_first[:40]) == first.tolist()


def test_two_sources_of_one_size_do_not_come_in_one_order() -> None:
    order = Mixture([np.arange(50), np.arange(50, 100)], [0.5, 0.5], 20, seed=0)
    rows = order.at(0)[0]
    assert sorted(rows[rows < 50]) != sorted(rows[rows >= 50] - 50)


def test_a_source_that_is_left_out_has_no_share() -> None:
    order = Mixture.of(mixed().splits, np.arange(70), 8, 0)
    assert (order.at(0)[0] < 70).all()
    assert len(order.at(5)[0]) == 8


def loader_of(data: Data, rank: int = 0, world: int = 1, workers: int = 0) -> Loader:
    return Loader(
        data,
        Mixture.of(data.splits, data.splits.train, 16, 7),
        {"image": View("image", "weak")},
        augmentation=Augmentation(),
        inputs={"image": Square(24)},
        rank=rank,
        world=world,
        workers=workers,
    )


def test_the_batch_of_a_step_follows_from_seed_and_step() -> None:
    whole = [batch for batch, _ in loader_of(mixed()).batches(0, 9)]
    resumed = [batch for batch, _ in loader_of(mixed()).batches(5, 9)]
    for one, other in zip(whole[5:], resumed, strict=True):
        assert torch.equal(one.ids, other.ids)
        assert torch.equal(one["image"], other["image"])
    assert {int((~batch.has("image")).sum()) for batch in whole} == {4}
    assert len({tuple(batch.ids.tolist()) for batch in whole}) == 9


def test_a_row_that_comes_round_is_seen_in_another_way() -> None:
    seen: dict[int, list[torch.Tensor]] = {}
    for batch, _ in loader_of(mixed()).batches(0, 12):
        for identity, view in zip(batch.ids.tolist(), batch["image"], strict=True):
            seen.setdefault(identity, []).append(view)
    tiny = set(mixed().ids[:70].tolist())
    twice = [views for identity, views in seen.items() if len(views) > 1 and identity in tiny]
    assert twice
    assert all(not torch.equal(views[0], views[1]) for views in twice)


def test_row_comes_round_within_epoch_is_seen_in_another_way() -> None:
    few, many = np.arange(4), np.arange(4, 70)
    order = Mixture([many, few], [0.5, 0.5], 8, seed=3)
    loader = Loader(
        TinyData(),
        order,
        {"image": View("image", "weak")},
        augmentation=Augmentation(),
        inputs={"image": Square(24)},
    )
    # Each step has all four rows of the small source, and an epoch has eight steps.
    assert order.steps_per_epoch == 8
    first = int(TinyData().ids[0])
    views = [loader.batch(step) for step in range(3)]
    of_row = [batch["image"][batch.ids == first] for batch in views]
    assert [len(view) for view in of_row] == [1, 1, 1]
    assert not torch.equal(of_row[0], of_row[1])
    assert not torch.equal(of_row[1], of_row[2])


@pytest.mark.parametrize("world", [2, 3])
def test_the_ranks_have_parts_of_every_source(world: int) -> None:
    for step in (0, 4):
        whole = loader_of(mixed()).batch(step)
        parts = [loader_of(mixed(), rank, world).batch(step) for rank in range(world)]
        assert torch.equal(torch.cat([part.ids for part in parts]), whole.ids)
        assert torch.equal(torch.cat([part["image"] for part in parts]), whole["image"])
        assert all((~part.has("image")).any() and part.has("image").any() for part in parts)


@pytest.mark.slow
def test_workers_change_nothing() -> None:
    data = MixedData([TinyData(), TinyData()], [0.75, 0.25])
    here = [batch for batch, _ in loader_of(data).batches(2, 6)]
    there = [batch for batch, _ in loader_of(data, workers=2).batches(2, 6)]
    for one, other in zip(here, there, strict=True):
        assert torch.equal(one.ids, other.ids)
        assert torch.equal(one["image"], other["image"])


def test_each_source_is_evaluated_by_itself() -> None:
    class Lengths(torch.nn.Module):
        heads = ("global",)
        embeds = ("text", "answer")

        def embed(self, column: str, inputs: list[str], head: str = "default") -> torch.Tensor:
            return torch.nn.functional.one_hot(torch.tensor([int(t.split()[-1]) for t in inputs]), 20).float()

        def similarity(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return a @ b.T

    data = mixed()
    found = evaluate(Lengths(), data, ["retrieval"])
    assert [len(scores) for scores in found.by_test.values()] == [0] * (len(data.splits.test) - 1) + [1]
    assert found.value("retrieval", "sayings.csv: held out", "text2answer_R@1") == 1
    with pytest.raises(NotApplicableError, match="retrieval"):
        evaluate(Lengths(), data, ["retrieval"], {"tiny": data.splits.test[next(iter(data.splits.test))]})


def test_fingerprints_tell_mixtures_apart() -> None:
    parts = mixed().fingerprint.parts
    assert parts == mixed().fingerprint.parts
    assert parts["ids"] != MixedData([TinyData(), Sayings()]).fingerprint.parts["ids"]
    assert parts["text"] != MixedData([TinyData(), Sayings(14)], [0.75, 0.25]).fingerprint.parts["text"]
    rows = mixed().fingerprint.rows
    assert rows["id"].to_list() == mixed().ids.tolist()
    assert mixed().identity(["text"]) == mixed().identity(["text"])
    assert mixed().identity(["text"]) != MixedData([TinyData(), Sayings()]).identity(["text"])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: MixedData([TinyData()]), "two sources or more"),
        (lambda: MixedData([TinyData(), Sayings()], [1.0]), "one above 0 for each"),
        (lambda: MixedData([TinyData(), Sayings()], [1.0, 0.0]), "one above 0 for each"),
        (lambda: MixedData([TinyData(), load_any("digits:stream")]), "comes in tasks"),
        (lambda: MixedData([mixed(), Sayings()]), "mixed already"),
        (lambda: load_any("digits + digits,share=1.5"), "above 0 and below 1"),
        (lambda: load_any("digits + digits,share=much"), "above 0 and below 1"),
        (lambda: load_any("digits,share=0.5 + digits,share=0.6"), "the shares make 1.1"),
        (lambda: load_any("digits,share=0.5,by=epochs + digits"), "by=epochs must be one of"),
        (lambda: load_any("digits,by=batch + digits,by=steps"), "cannot both be"),
        (lambda: load_any("digits,share=0.5"), "give --data twice"),
        (lambda: load_any("digits + digitz"), "did you mean"),
        (lambda: Mixture([np.arange(9), np.arange(2)], [0.5, 0.5], 8, 0), "lower its share"),
        (lambda: Mixture([np.arange(9), np.arange(9)], [0.9, 0.1], 4, 0), "no place for a share"),
    ],
)
def test_what_cannot_be_mixed_is_said(make: object, said: str) -> None:
    with pytest.raises(Exception, match=said):
        make()  # type: ignore[operator] # one of the functions above


def test_a_column_of_two_modalities_is_refused() -> None:
    class Sung(Sayings):
        columns = MappingProxyType({"text": "audio"})

    with pytest.raises(ValueError, match="'text' is of audio in some/sayings"):
        MixedData([TinyData(), Sung()])


def test_how_a_mixture_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert together(["emoji", Path("pairs.csv")]) == "emoji + pairs.csv"
    assert parts_of("emoji") == []
    monkeypatch.chdir(tmp_path)
    Path("one.csv").write_text("text,answer\na,b\n")
    Path("a + b.csv").write_text("text,answer\na,b\n")
    source = "one.csv,share=0.25 + emoji"
    assert rooted(source) == f"{tmp_path}/one.csv,share=0.25 + emoji"
    assert short_name(source) == "one-emoji"
    assert parts_of("a + b.csv") == []
    monkeypatch.chdir("/")
    assert located(source, str(tmp_path)) == f"{tmp_path}/one.csv,share=0.25 + emoji"
    with pytest.raises(FileNotFoundError, match="say where it is"):
        located(source, None)


def test_rows_that_were_replaced_are_those_of_the_mixture() -> None:
    sources = [TinyData(), Sayings()]
    for source in sources:
        source.replaced = lambda: [Replacement(3, "3.png", "broken picture", "", "4.png")]  # type: ignore[method-assign] # of this source alone
    assert [one.row for one in MixedData(sources).replaced()] == [3, len(sources[0]) + 3]
