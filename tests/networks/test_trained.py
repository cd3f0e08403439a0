"""Built-in image towers that start from an earlier run's weights, or from a clear error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from counterpoint.files import writing_folder
from counterpoint.methods.arm import Arm
from counterpoint.networks import ImageTower, build_towers
from counterpoint.recipes import Recipe
from counterpoint.recipes.schema import Towers
from counterpoint.study.training.runner import run
from counterpoint.training.run import Run
from counterpoint.training.start import load

CAPTIONS = ["a red car", "a blue car"]


def tower(name: str, size: int = 32, seed: int = 0) -> ImageTower:
    return build_towers(Towers(image=name, image_size=size, vocabulary=280), {"text": CAPTIONS}, seed)[
        "image"
    ]


def saved(tensors: dict[str, Tensor], path: Path) -> Path:
    save_file({k: v.contiguous() for k, v in tensors.items()}, path)
    return path


def run_of(name: str, folder: Path, status: str = "finished") -> Path:
    """The folder of a run of CLIP at its start, as far as its weights are concerned."""
    recipe = Recipe(towers=Towers(image=name, image_size=32, vocabulary=280))
    method = Arm.parse("clip").build(recipe, {"text": CAPTIONS}, seed=5)
    for step in (2, 10):
        with writing_folder(folder / "checkpoint" / f"step-{step:07d}") as part:
            saved({k: v * step for k, v in method.state_dict().items()}, part / "model.safetensors")
    (folder / "run.json").write_text(json.dumps({"status": status}))
    return folder


@pytest.mark.parametrize("name", ["cnn", "vit"])
def test_a_run_lends_its_image_tower_of_the_last_step(name: str, tmp_path: Path) -> None:
    folder = run_of(name, tmp_path / "run")
    borrowed, own = tower(f"{name}@{folder}").state_dict(), tower(name, seed=5).state_dict()
    assert borrowed.keys() == own.keys()
    for key, value in own.items():
        assert torch.equal(borrowed[key], 10 * value), key


def test_a_file_holds_a_tower_or_a_whole_checkpoint(tmp_path: Path) -> None:
    trained = tower("cnn", seed=7)
    bare = saved(trained.state_dict(), tmp_path / "tower.safetensors")
    whole = run_of("cnn", tmp_path / "run") / "checkpoint/step-0000002/model.safetensors"
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(tower(f"cnn@{bare}")(images), trained(images))
    first = next(tower("cnn", seed=5).parameters())
    assert torch.equal(next(tower(f"cnn@{whole}").parameters()), 2 * first)


def test_weights_same_whatever_seed_and_stay_when_method_starts(tmp_path: Path) -> None:
    name = f"cnn@{saved(tower('cnn', seed=7).state_dict(), tmp_path / 'tower.safetensors')}"
    start = tower("cnn", seed=7).state_dict()
    recipe = Recipe(towers=Towers(image_size=32, vocabulary=280))
    for seed in (0, 1):
        method = Arm.parse(f"{name},tune=frozen").build(recipe, {"text": CAPTIONS}, seed)
        assert all(torch.equal(v, start[k]) for k, v in method.image_tower.state_dict().items())
        assert not any(p.requires_grad for p in method.image_tower.parameters())


def test_network_without_positions_takes_another_size_of_picture(tmp_path: Path) -> None:
    name = f"cnn@{saved(tower('cnn', 32).state_dict(), tmp_path / 'tower.safetensors')}"
    assert tower(name, size=48).size == 48


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("vit@{cnn}", 32, r"not the weights of a 'vit' tower .*missing: .*unexpected: .* name the tower"),
        ("cnn@{vit}", 32, "not the weights of a 'cnn' tower"),
        (
            "vit@{vit}",
            48,
            r"sizes .*of another shape: position_embedding.weight \(16, 192\), not \(36, 192\)",
        ),
        ("cnn@{run}/nowhere", 32, "there is no file or folder .*nowhere"),
        ("cnn@hub", 32, "there is no file or folder hub; give a run's folder"),
        ("cnn@{empty}", 32, "is not a run's folder: it has no run.json"),
        ("cnn@{running}", 32, "the run has not finished .*'running'"),
        ("cnn@{failed}", 32, "the run has not finished .*'failed'"),
        ("cnn@{text}", 32, "could not be read"),
    ],
)
def test_refuses_what_does_not_fit(name: str, size: int, message: str, tmp_path: Path) -> None:
    places = {
        kind: saved(tower(kind).state_dict(), tmp_path / f"{kind}.safetensors") for kind in ("cnn", "vit")
    }
    places["run"] = run_of("cnn", tmp_path / "run")
    for status in ("running", "failed"):
        places[status] = run_of("cnn", tmp_path / status, status)
    places["empty"] = tmp_path / "empty"
    places["empty"].mkdir()
    places["text"] = tmp_path / "text.safetensors"
    places["text"].write_text("no weights")
    with pytest.raises(ValueError, match=message):
        tower(name.format(**places), size)


@pytest.mark.parametrize("arm", ["clip,image=cnn@{}", "lit,image=cnn@{}", "clip,image=cnn@{},tune=lora"])
def test_a_trained_model_outlives_the_weights_it_started_from(arm: str, what: Run, tmp_path: Path) -> None:
    weights = saved(
        tower("cnn", size=what.recipe.towers.image_size).state_dict(), tmp_path / "tower.safetensors"
    )
    folder = tmp_path / "run"
    begun = Run(arm.format(weights), what.data, what.recipe, what.seed)
    assert run(begun, folder, tasks=("retrieval",)).status == "finished"
    images = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    before = load(folder).embed("image", images)
    weights.unlink()
    assert torch.equal(load(folder).embed("image", images), before)


def test_the_column_of_the_pictures_may_have_any_name(tmp_path: Path) -> None:
    trained, text = tower("cnn", seed=7), build_towers(Towers(), {"text": CAPTIONS}, 0)["text"]
    weights = {f"towers.note.{k}": v for k, v in text.state_dict().items()}
    weights |= {f"towers.photo.{k}": v for k, v in trained.state_dict().items()}
    borrowed = tower(f"cnn@{saved(weights, tmp_path / 'model.safetensors')}").state_dict()
    assert all(torch.equal(value, borrowed[key]) for key, value in trained.state_dict().items())
