"""``counterpoint compare-decoding``, ``generate`` and ``diagnose --what language``, on a tiny random model."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from counterpoint.cli import main
from counterpoint.decoding.assistant import VisionLanguageAssistant
from counterpoint.study.report import fidelity
from counterpoint.types import Prompt
from fixtures.chat import saved
from fixtures.decoded import write_questions


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "cat.png"
    drawn = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(drawn).save(path)
    return path


def asked(model: Path, picture: Path, *words: str) -> list[str]:
    common = ["--model", str(model), "--image", str(picture), "--prompt", "is it a cat"]
    return ["generate", *common, "--max-new-tokens", "4", *words]


@pytest.mark.parametrize(
    ("decoding", "passes"), [("plain", 1), ("vcd,alpha=0.5", 2), ("ritual", 2), ("vcd+ritual", 3), ("lcd", 2)]
)
def test_generate_replies_and_says_what_it_cost(
    decoding: str, passes: int, model: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(model, picture, "--decoding", decoding, "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["decoding"] == decoding
    assert found["cost"]["relative_passes"] == passes
    assert found["cost"]["passes"]["own"] == 4
    assert isinstance(found["reply"], str)


def test_generate_samples_by_its_seed(model: Path, picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for seed in (0, 0, 1, 2):
        assert main(asked(model, picture, "--sample", "--seed", str(seed), "--json")) == 0
        said.append(json.loads(capsys.readouterr().out)["reply"])
    assert said[0] == said[1]
    assert len(set(said)) > 1


def test_generate_takes_a_lead_off(
    model: Path, picture: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[list[str]] = []
    texts = VisionLanguageAssistant.inputs

    def inputs(self: VisionLanguageAssistant, prompts: Sequence[Prompt]) -> dict[str, Any]:
        read.append([prompt.text for prompt in prompts])
        return texts(self, prompts)

    monkeypatch.setattr(VisionLanguageAssistant, "inputs", inputs)
    assert main(asked(model, picture, "--decoding", "lqcd", "--lead", "a dog", "--json")) == 0
    assert read == [["is it a cat"], ["a dog is it a cat"]]
    assert json.loads(capsys.readouterr().out)["cost"]["relative_passes"] == 2
    read.clear()
    assert main(asked(model, picture, "--lead", "a dog", "--json")) == 0
    assert read == [["a dog is it a cat"]], "a lead that nothing takes off"


def test_generate_for_people(model: Path, picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(asked(model, picture, "--decoding", "vcd")) == 0
    assert "vcd: 8 forward passes, 2.00 × those of plain decoding" in " ".join(
        capsys.readouterr().out.split()
    )


def test_what_generate_cannot_do(
    model: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config(vocab_size=8, n_embd=4, n_layer=1, n_head=1)).save_pretrained(
        tmp_path / "text"
    )
    silent = saved(tmp_path / "silent", template=None)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG, but not for long")
    (tmp_path / "empty").mkdir()
    cases = [
        (
            asked(model, picture, "--decoding", "rituall"),
            "unknown decoding method 'rituall': did you mean 'ritual'",
        ),
        (
            asked(model, picture, "--decoding", "vcd,alpha=-1"),
            "option alpha of vcd must be at least 0, got '-1'",
        ),
        (asked(model, picture, "--decoding", "lqcd"), "give one: --lead"),
        (asked(model, picture, "--decoding", "mvcd"), "a single prompt holds none"),
        (
            asked(model, picture, "--sample", "--temperature", "0"),
            "--temperature must be greater than 0, got 0",
        ),
        (asked(model, picture, "--temperature", "0.5"), "add --sample"),
        (asked(model, tmp_path / "gone.png"), "there is no picture"),
        (asked(model, tmp_path / "broken.png"), "broken.png cannot be decoded as a picture"),
        (asked(tmp_path / "text", picture), "is a gpt2 model, which writes nothing about pictures"),
        (asked(silent, picture), "has no chat template"),
        (asked(tmp_path / "gone", picture), "there is no folder"),
        (asked(tmp_path / "empty", picture), "it has no config.json"),
    ]
    for words, message in cases:
        assert main(words) == 1, message
        assert message in " ".join(capsys.readouterr().err.split())


def test_compare_decoding_ends_with_a_study_that_report_reads(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    common = ["--model", str(model), "--data", "scenes:basic", "--tasks", "answers", "--limit", "3"]
    common += ["--seeds", "1", "--max-new-tokens", "3", "--out", str(tmp_path / "study")]
    assert main(["compare-decoding", "vcd", "ritual", *common, "--dry-run"]) == 0
    assert "4 arms × 1 seed × 1 task" in " ".join(capsys.readouterr().out.split())
    assert not (tmp_path / "study").exists()
    assert main(["compare-decoding", "vcd", "ritual", *common]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "forward passes per token" in said
    assert "report:" in said
    summary = json.loads((tmp_path / "study" / "summary.json").read_text(encoding="utf-8"))
    costs = {arm["name"]: arm["cost"]["relative_passes"] for arm in summary["arms"]}
    assert costs == {"plain": 1.0, "plain,beta=0.1": 1.0, "vcd": 2.0, "ritual": 2.0}
    assert summary["weights"]
    assert main(["report", str(tmp_path / "study"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["conclusions"] == summary["conclusions"]
    assert main(["compare-decoding", "vcd", *common, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["conclusions"] == summary["conclusions"]


def test_a_study_is_not_continued_with_other_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = saved(tmp_path / "model")
    words = ["compare-decoding", "vcd", "--model", str(model), "--data", "scenes:basic", "--tasks", "answers"]
    words += ["--limit", "2", "--seeds", "1", "--max-new-tokens", "1", "--out", str(tmp_path / "study")]
    assert main(words) == 0
    weights = model / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    capsys.readouterr()
    assert main(words) == 1
    assert "it differs in weights" in " ".join(capsys.readouterr().err.split())


def test_fidelity_writes_a_page_and_its_numbers(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fidelity, "GAMMAS", (1.0,))
    words = [
        "diagnose",
        str(model),
        "--what",
        "language",
        "--data",
        "scenes:tiny,train=1,validation=1,test=10",
    ]
    words += ["--languages", "en", "de", "--rows", "8", "--max-new-tokens", "3", "--out", str(tmp_path)]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["languages"]) == (8, ["en", "de"])
    assert {path.name for path in tmp_path.iterdir()} == {"fidelity.html", "fidelity.json"}
    assert json.loads((tmp_path / "fidelity.json").read_text(encoding="utf-8")) == found
    page = (tmp_path / "fidelity.html").read_text(encoding="utf-8")
    assert found["sections"]["fidelity"]["sentence"] in page
    assert " ".join(["counterpoint", *words, "--json"][:4]) in page, "the command that makes it again"


def test_fidelity_asks_about_scenes_alone(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_questions(tmp_path / "questions")
    words = ["diagnose", str(model), "--what", "language", "--data", data, "--out", str(tmp_path / "page")]
    assert main(words) == 1
    message = f"--data {data}: questions in several languages are asked about scenes alone"
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "page").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rituall"], "unknown decoding method 'rituall': did you mean 'ritual'"),
        (["vcd", "--tasks", "poep"], "did you mean 'pope'"),
        ([], "which methods?"),
        (["vcd"], "which model?"),
        (["vcd", "--model", "x"], "which data?"),
        (
            ["vcd", "--model", "./gone", "--data", "scenes:basic"],
            "there is no folder ./gone with a model in it",
        ),
    ],
)
def test_one_line_says_what_is_wrong(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare-decoding", *words]) == 1
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


def test_typos_are_answered_without_torch() -> None:
    code = "import sys; from counterpoint.cli import main; s = main(sys.argv[1:]); assert 'torch' not in sys.modules"
    for words in (["compare-decoding", "rituall"], ["compare-decoding", "vcd", "--tasks", "poep"]):
        done = subprocess.run(
            [sys.executable, "-c", f"{code}; sys.exit(s)", *words], capture_output=True, text=True
        )
        assert done.returncode == 1
        assert "unknown" in done.stderr
        assert "AssertionError" not in done.stderr
