"""Drawing from the command line, and what plain diffusers reads of learned words."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from counterpoint.cli import main
from counterpoint.cli.draw import boxes_of
from counterpoint.exporting import export
from counterpoint.models import load

diffusers = pytest.importorskip("diffusers")
SMALL = "painter,width=4,blocks=2,text_width=8,text_layers=1"
RECIPE = (
    *("--steps", "2", "--batch-size", "2", "--towers.image-size", "16", "--towers.vocabulary", "300"),
    *("--towers.context", "12", "--augmentation.paired", "plain"),
)
DATA = ("--data", "scenes:subjects,train=4,validation=2,test=2,pixels=16")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of a painter, and of words that were learned from it."""
    root = tmp_path_factory.mktemp("runs")
    assert main(["train", SMALL, *DATA, *RECIPE, "--out", str(root / "painter")]) == 0
    for name in ("one", "two"):
        arm = f"custom-diffusion,prompt=a <{name}>,from={root / 'painter'}"
        assert main(["train", arm, *DATA, *RECIPE, "--optimizer.lr", "0.1", "--out", str(root / name)]) == 0
    return {name: root / name for name in ("painter", "one", "two")}


def test_words_of_two_runs_are_drawn_in_their_boxes(folders: dict[str, Path], tmp_path: Path) -> None:
    words = ["draw", "--model", str(folders["one"]), str(folders["two"]), "--prompt", "a <one> and a <two>"]
    words += ["--steps", "2", "--pictures", "2", "--out", str(tmp_path / "both.png")]
    assert main(words) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"both-0.png", "both-1.png"}
    before = (tmp_path / "both-0.png").read_bytes()
    assert main([*words, "--boxes", "<one>:0,0,0.5,1", "<two>:0.5,0,1,1"]) == 0
    assert (tmp_path / "both-0.png").read_bytes() != before


def test_a_painter_draws_by_itself(folders: dict[str, Path], tmp_path: Path) -> None:
    words = ["draw", "--model", str(folders["painter"]), "--prompt", "a bus", "--steps", "2"]
    assert main([*words, "--out", str(tmp_path / "bus.png")]) == 0
    assert (tmp_path / "bus.png").is_file()


@pytest.mark.parametrize(
    ("models", "prompt", "more", "message"),
    [
        (("one",), "a <three>", (), "<three> was not learned"),
        (("one",), "a <one>", ("--boxes", "<one>:0,0,2,1"), "must hold"),
        (("one",), "a <one>", ("--boxes", "<one>:0,0,1"), "is no box"),
        (("one",), "a bus", ("--boxes", "<one>:0,0,1,1"), "lacks the word"),
        (("one", "painter"), "a <one>", (), "has learned no words"),
        (("painter",), "a bus", ("--boxes", "<one>:0,0,1,1"), "leave them out"),
        (("one", "one"), "a <one>", (), "two words are called <one>"),
    ],
)
def test_refusals(
    folders: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    models: tuple[str, ...],
    prompt: str,
    more: tuple[str, ...],
    message: str,
) -> None:
    named = [str(folders[name]) for name in models]
    out = ("--out", str(tmp_path / "drawn.png"))
    assert main(["draw", "--model", *named, "--prompt", prompt, *more, *out]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "drawn.png").exists()


def test_two_boxes_of_a_word_are_refused() -> None:
    with pytest.raises(ValueError, match="two boxes"):
        boxes_of(["<one>:0,0,1,1", "<one>:0,0,0.5,1"])


def test_plain_diffusers_draws_with_the_words(folders: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("peft")
    export(folders["painter"], "diffusers", tmp_path / "painter")
    export(folders["one"], "diffusers", tmp_path / "one")
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path / "painter", local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_textual_inversion(str(tmp_path / "one"), weight_name="learned_embeds.safetensors")
    pipeline.load_lora_weights(str(tmp_path / "one"))
    pipeline.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    theirs = pipeline(
        "a red<one> and a bus",  # the space before a word is a token of its own there
        height=16,
        width=16,
        num_inference_steps=2,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(0),
        output_type="pt",
    ).images
    ours = load(folders["one"]).draw(["a red <one> and a bus"], seeds=[0], steps=2, guidance=1.0)
    torch.testing.assert_close(ours, theirs, atol=5e-3, rtol=0)


def test_a_run_without_its_painter_says_what_is_missing(folders: dict[str, Path], tmp_path: Path) -> None:
    moved = folders["painter"].rename(folders["painter"].with_name("elsewhere"))
    try:
        with pytest.raises(ValueError, match="cannot be read"):
            load(folders["one"])
    finally:
        moved.rename(folders["painter"])
