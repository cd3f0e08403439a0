"""Rank, scale and DoRA of the low-rank updates of a language model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from counterpoint.methods.arm import Arm
from counterpoint.networks.towers.language import LanguageTower
from counterpoint.testing._stubs import LATE
from fixtures.speaking import RECIPE, batch_of, speaking


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a language model of transformers."""
    folder = tmp_path_factory.mktemp("language")
    language: LanguageTower = speaking("sft", "talk").language
    language.model.float().save_pretrained(folder)
    language.chat.tokenizer.save_pretrained(folder)
    return folder


def adapters(method: Any) -> dict[str, Any]:
    """The adapters of a language model by the layers that they stand in."""
    return {name: part for name, part in method.language.named_modules() if hasattr(part, "lora_A")}


def arm(saved: Path, options: str = "") -> Any:
    return speaking(f"sft,lm=transformers:llama@{saved},tune=lora{options}", "talk")


def test_the_defaults_are_those_of_tune(saved: Path) -> None:
    for part in adapters(arm(saved)).values():
        assert (part.r["default"], part.scaling["default"], part.use_dora["default"]) == (8, 2.0, False)


@pytest.mark.parametrize(("options", "expected"), [("rank=2", (2, 2.0)), ("rank=4,alpha=1", (4, 0.25))])
def test_rank_and_scale(saved: Path, options: str, expected: tuple[int, float]) -> None:
    for part in adapters(arm(saved, f",{options}")).values():
        assert (part.r["default"], part.scaling["default"]) == expected
        assert part.lora_A["default"].weight.shape[0] == expected[0]


def test_dora_starts_as_the_model_and_moves_magnitudes_too(saved: Path) -> None:
    plain, method = arm(saved, ",rank=2"), arm(saved, ",rank=2,dora=true")
    batch = batch_of(method)
    torch.testing.assert_close(method.encode(batch)["talk"], plain.encode(batch)["talk"])
    before = {name: weight.detach().clone() for name, weight in method.language.named_parameters()}
    method.losses(method.encode(batch), batch, LATE)["nll"].backward()
    moved = {name for name, weight in method.language.named_parameters() if weight.grad is not None}
    assert moved == {name for name in before if "lora_" in name}
    assert any("magnitude" in name for name in moved)


def test_a_method_keeps_an_option_of_the_same_name(saved: Path) -> None:
    Arm.parse(f"distillm-2,teacher={saved},tune=lora,alpha=0.3,rank=2").check_options()


def test_mistakes_are_named(saved: Path) -> None:
    with pytest.raises(ValueError, match="rank is of low-rank updates: write tune=lora, or leave rank=4 out"):
        speaking(f"sft,lm=transformers:llama@{saved},rank=4", "talk")
    with pytest.raises(ValueError, match="rank"):
        Arm.parse(f"sft,lm=transformers:llama@{saved},tune=lora,rank=0").check_options()
    with pytest.raises(ValueError, match="unknown option of clip 'rank'"):
        Arm.parse("clip,tune=lora,rank=4").check_options()
    with pytest.raises(ValueError, match="tune=lora is for pretrained towers"):
        Arm.parse("sft,tune=lora,rank=4").build(
            RECIPE,
            {"talk": [], "image": torch.zeros(0, 3, 16, 16)},
            0,
            columns={"image": "image", "talk": "talk"},
        )
