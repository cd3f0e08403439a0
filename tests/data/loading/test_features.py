"""Features that a frozen tower computed before."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from counterpoint.data.cache import CacheError
from counterpoint.data.loading.features import DeterministicView, Memory, digests, let_remember
from counterpoint.networks import build_towers, tune
from counterpoint.networks.base import ImageTower, TextTower, Tower
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


@pytest.mark.parametrize("name", ["cnn", "vit"])
def test_patches_are_kept_beside_features(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tower = build_towers(Towers(image=name, text="bag", image_size=16), {"text": ["a red car"]}, 0)["image"]
    assert isinstance(tower, ImageTower)
    tune(tower, "frozen")
    pictures = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    features, patches, count = tower(pictures), tower.patches(pictures), Counted(tower)
    let_remember(tower, rows=6)
    view = DeterministicView(tower)
    drawn: list[int] = []

    def draw(rows: list[int]) -> Tensor:
        drawn.extend(rows)
        return pictures[rows]

    with caplog.at_level("INFO"):
        for _ in range(2):
            shown = view([0, 1, 2], draw), view([5, 3, 4], draw)
            for digest, rows in zip(shown, ([0, 1, 2], [5, 3, 4]), strict=True):
                torch.testing.assert_close(tower.patches(digest), patches[rows], rtol=2e-3, atol=2e-3)
    assert drawn == [0, 1, 2, 5, 3, 4]  # whatever is asked for behind two batches
    assert count.seen == 0
    (message,) = {record.getMessage() for record in caplog.records if "float16" in record.getMessage()}
    numbers = patches[0].numel()
    assert f"{2 * numbers * 6 / 1e6:,.1f} MB for 6 examples" in message
    torch.testing.assert_close(tower(shown[0]), features[:3])  # not from patches in half precision
    again, both = tower.summary_and_patches(shown[1])
    torch.testing.assert_close(again, features[[5, 3, 4]])
    torch.testing.assert_close(both, patches[[5, 3, 4]], rtol=2e-3, atol=2e-3)
    with pytest.raises(ValueError, match=r"asks the tower .* for encode_visible, which is not kept"):
        tower.encode_visible(shown[0], torch.zeros(3, 1, dtype=torch.long))


def test_tokens_are_kept_for_texts_of_any_length(tmp_path: Path) -> None:
    text = build_towers(Towers(image="mlp", image_size=8), {"text": ["a red car", "the sea"]}, 0)["text"]
    assert isinstance(text, TextTower)
    tune(text, "frozen")
    short, both = text.input(["the sea"]), text.input(["the sea", "a red car the sea a red car"])
    expected = text.states(both)
    let_remember(text)
    alone = text.states(short)
    assert alone.shape[1] == short.shape[1]
    torch.testing.assert_close(text.states(both), expected, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(text.states(both)[0, : short.shape[1]], alone[0], rtol=0, atol=0)
    torch.testing.assert_close(text(both), text.compute(both), rtol=1e-6, atol=1e-6)


def test_what_float16_cannot_hold_is_refused(tmp_path: Path) -> None:
    tower, _ = frozen()
    memory = Memory("patches", lambda images: torch.full((len(images), 2, 1, 1), 1e6))
    with pytest.raises(ValueError, match="too large for float16"):
        memory(tower, torch.rand(2, 3, 8, 8))
