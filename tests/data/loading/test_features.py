"""Features that a frozen tower computed before."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from counterpoint.data.cache import CacheError
from counterpoint.data.loading.features import Memory, digests
from counterpoint.networks import build_towers, tune
from counterpoint.networks.base import Tower
from counterpoint.recipes.schema import Towers


def towers(seed: int = 0) -> dict[str, Tower]:
    return build_towers(
        Towers(image="mlp", text="bag", image_size=8), {"text": ["a red car", "the sea"]}, seed
    )


class Counted:
    """A count of the examples that a tower sees."""

    def __init__(self, tower: Tower) -> None:
        self.seen = 0
        tower.register_forward_hook(self)

    def __call__(self, module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.seen += len(inputs[0])


@pytest.fixture
def pictures() -> Tensor:
    return torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path))


def frozen(seed: int = 0) -> tuple[Tower, Counted]:
    tower = towers(seed)["image"]
    tune(tower, "frozen")
    tower.memory = Memory()
    return tower, Counted(tower)


def test_an_input_is_seen_once_by_all_runs(tmp_path: Path, pictures: Tensor) -> None:
    tower, count = frozen()
    expected = tower.compute(pictures)
    count.seen = 0
    torch.testing.assert_close(tower(pictures[:4]), expected[:4])
    torch.testing.assert_close(tower(pictures[[5, 0, 0, 3]]), expected[[5, 0, 0, 3]])
    assert count.seen == 5
    other, again = frozen()  # another run of the same weights
    torch.testing.assert_close(other(pictures), expected)
    assert again.seen == 1
    assert not other(pictures).requires_grad


def test_other_weights_have_a_memory_of_their_own(tmp_path: Path, pictures: Tensor) -> None:
    tower, _ = frozen()
    tower(pictures)
    other, count = frozen(seed=1)
    assert not torch.allclose(other(pictures), tower(pictures))
    assert count.seen == 6
    assert len(list(tmp_path.glob("features/*/*"))) == 2


def test_padding_is_no_part_of_a_caption(tmp_path: Path) -> None:
    text = towers()["text"]
    tune(text, "frozen")
    text.memory, count = Memory(), Counted(text)
    short = text.input(["the sea"])
    both = text.input(["the sea", "a red car the sea a red car"])
    assert digests(text, short) == digests(text, both)[:1]
    assert digests(text, short) != digests(text, both)[1:]
    alone = text(short)
    torch.testing.assert_close(text(both)[:1], alone)
    assert count.seen == 2


def test_a_damaged_part_is_computed_again(tmp_path: Path, pictures: Tensor) -> None:
    tower, _ = frozen()
    expected = tower(pictures)
    (part,) = tmp_path.glob("**/*.keys.npy")
    features = part.with_name(part.name.replace(".keys", ""))
    for path, content in ((features, features.read_bytes()[:100]), (part, b"no array")):
        path.write_bytes(content)
        other, count = frozen()
        torch.testing.assert_close(other(pictures), expected)
        assert count.seen == 6
    features.unlink()
    other, count = frozen()
    torch.testing.assert_close(other(pictures), expected)
    assert count.seen == 6


def test_a_tower_that_moves_has_no_memory(tmp_path: Path, pictures: Tensor) -> None:
    tower = towers()["image"]
    tower.memory = Memory()
    with pytest.raises(ValueError, match="features are kept of frozen towers alone"):
        tower(pictures)


def test_dropout_asks_the_tower(tmp_path: Path) -> None:
    text = build_towers(Towers(image="mlp"), {"text": ["a red car"]}, 0)["text"]
    tune(text, "frozen")
    text.memory, count = Memory(), Counted(text)
    tokens = text.input(["a red car"])
    text(tokens, dropout=0.1)
    text(tokens, dropout=0.1)
    assert count.seen == 2
    assert not list(tmp_path.iterdir())


def test_a_cache_that_cannot_be_written_says_what_to_set(
    tmp_path: Path, pictures: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "file"))
    with pytest.raises(CacheError, match="set COUNTERPOINT_CACHE to a folder that can be written"):
        frozen()[0](pictures)


def test_a_sound_is_known_whatever_it_is_padded_to() -> None:
    tower = build_towers(Towers(), {}, 0, columns={"audio": "audio"})["audio"]
    sounds = torch.tensor([[0.1, 0.2, torch.nan], [0.1, 0.2, 0.3]])
    short, long = digests(tower, sounds)
    assert digests(tower, sounds[:1, :2]) == [short] != [long]
