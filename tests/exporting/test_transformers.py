"""Exports to transformers: dual encoders as they came, the built-in text tower as CLIP's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import transformers

import counterpoint as cp
from counterpoint.networks.towers.tokenizer import BytePairTokenizer
from fixtures import foreign

from .conftest import TEXTS, Made, Round, same


@pytest.mark.parametrize("make", [foreign.clip, foreign.dual])
@pytest.mark.parametrize("tune", ["full", "lora"])
def test_dual_encoders(
    make: Callable[[Path], Path], tune: str, made: Made, exported: Round, tmp_path: Path
) -> None:
    model = made(f"transformers:pair@{make(tmp_path / 'model')},tune={tune}")
    done, again = exported(model, "transformers")
    assert set(done.differences) == {"image", "text"}
    same(model, again)
    moved = done.folder.rename(tmp_path / "a@b")
    same(model, cp.load(moved))
    own = transformers.AutoModel.from_pretrained(moved)
    assert own.logit_scale.exp().item() == pytest.approx(
        1 / model.objective.temperature.value.item(), rel=1e-4
    )


def test_siglip_without_a_head(made: Made, exported: Round, tmp_path: Path) -> None:
    model = made(f"transformers:pair@{foreign.siglip(tmp_path / 'model')},tune=none")
    for head in model.projections.values():
        torch.nn.init.eye_(head.weight)
    _, again = exported(model, "transformers")
    same(model, again)


def test_siglip_has_no_place_for_a_head(made: Made, exported: Round, tmp_path: Path) -> None:
    folder = foreign.siglip(tmp_path / "model")
    with pytest.raises(
        ValueError, match="image half ends in no linear map that the head could become a part of"
    ):
        exported(made(f"transformers:pair@{folder},tune=full"), "transformers")


def test_the_text_tower_of_this_package_is_clips(made: Made, exported: Round) -> None:
    model = made("clip")
    done, again = exported(model, "transformers")
    assert set(done.differences) == {"text"}
    assert done.differences["text"] <= 1e-7
    assert "the tower of the column 'image', which transformers has no words for" in done.left_out
    same(model, again, ["text"])
    own = transformers.CLIPTextModelWithProjection.from_pretrained(done.folder).eval()
    words = transformers.AutoTokenizer.from_pretrained(done.folder)(
        TEXTS, padding=True, truncation=True, return_tensors="pt"
    )
    with torch.no_grad():
        found = F.normalize(
            own(input_ids=words["input_ids"], attention_mask=words["attention_mask"]).text_embeds, dim=-1
        )
    torch.testing.assert_close(found, model.embed("text", TEXTS), rtol=0, atol=1e-6)


def test_the_end_token_moves_with_its_row(tmp_path: Path) -> None:
    tokenizer = BytePairTokenizer.train(["a red car", "two dogs"], 280, 8)
    last = tokenizer.vocabulary - 1
    tokenizer.save_pretrained(tmp_path, end=last)
    own = transformers.AutoTokenizer.from_pretrained(tmp_path)
    rows = tokenizer(["a red dog"])[0].tolist()
    swapped = {tokenizer.end: last, last: tokenizer.end}
    assert own("a red dog")["input_ids"] == [swapped.get(i, i) for i in rows if i]
    assert (own.eos_token_id, own.model_max_length) == (last, 8)


@pytest.mark.parametrize(
    ("arm", "why"),
    [
        (
            "clip,text=bag",
            "transformers has no image tower like cnn; transformers has no text tower like bag",
        ),
        (
            "clip,text=transformers:all-MiniLM-L6-v2@package",
            "transformers' bert has no place for a pooling and a head",
        ),
    ],
)
def test_refusals(arm: str, why: str, made: Made, exported: Round, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=why):
        exported(made(arm), "transformers")
    assert not list(tmp_path.iterdir())
