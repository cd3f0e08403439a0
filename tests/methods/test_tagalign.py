"""TagAlign: what is frozen, the loss of tags as plain loops, pictures without tags, and patches that are projected."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F

from counterpoint.methods import Arm, create
from counterpoint.methods.tagalign import TagAlign
from counterpoint.modalities import PAIR
from counterpoint.networks import build_towers
from counterpoint.pairwise.ranks import Ranks
from counterpoint.recipes import load, override
from counterpoint.recipes.schema import Towers
from counterpoint.types import Batch, StepInfo, Target

TAGS = Target("nouns", ("cat", "red", "dog"), "tags")
SIZES = Towers(image="vit", image_size=16, image_patch=4, image_width=16, image_layers=1)
CLOCK = StepInfo(0, 10)


def method(**options: Any) -> TagAlign:
    towers = build_towers(SIZES, {"text": ["a red cat", "a dog"]}, 0)
    recipe = override(load("seconds"), {"widths.embedding": 8})
    built = create("tagalign", towers, recipe, target=TAGS, **options)
    assert isinstance(built, TagAlign)
    built.embed_tags()
    return built.train()


def batch(of: TagAlign, tags: list[list[int]]) -> Batch:
    n = len(tags)
    captions = ["a red cat", "a dog", "a cat", "red"][:n]
    views = {"image": torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(0))}
    views["text"] = of.text_tower.tokenizer(captions)
    return Batch(torch.arange(n), views, {"nouns": torch.tensor(tags)})


def term(of: TagAlign, some: Batch) -> torch.Tensor:
    return of.losses(of.encode(some), some, CLOCK)["tags"]


def test_tags_are_a_softmax_whose_mass_is_shared() -> None:
    tagalign = method(weight=0.5)
    some = batch(tagalign, [[1, 1, 0], [0, 0, 1], [1, 0, -1]])
    with torch.no_grad():
        tagalign.tagging.temperature.parameter.add_(0.3)  # that of captions is another one
        v = F.normalize(tagalign.project("image", tagalign.encode(some)["image"], "global"), dim=-1)
        logits = (v @ tagalign.tags.T * tagalign.tagging.temperature.inverse()).log_softmax(1)
        expected = -(logits[0, :2].mean() + logits[1, 2] + logits[2, 0]) / 3
        torch.testing.assert_close(term(tagalign, some), 0.5 * expected)


def test_pictures_without_tags_weigh_nothing() -> None:
    tagalign = method()
    both = batch(tagalign, [[1, 0, 0], [0, 1, 0], [0, 0, 0]])
    some = replace(
        both,
        ids=both.ids[:2],
        views={k: v[:2] for k, v in both.views.items()},
        labels={k: v[:2] for k, v in both.labels.items()},
    )
    torch.testing.assert_close(term(tagalign, both), term(tagalign, some))
    assert term(tagalign, batch(tagalign, [[0, 0, 0], [0, 0, -1]])).item() == 0


def test_towers_texts_and_tags_are_frozen() -> None:
    tagalign = method()
    some = batch(tagalign, [[1, 0, 0], [0, 1, 0]])
    torch.stack(list(tagalign.losses(tagalign.encode(some), some, CLOCK).values())).sum().backward()
    learnt = {name.split(".")[0] for name, p in tagalign.named_parameters() if p.grad is not None}
    assert learnt == {"projector", "projections", "objective", "tagging"}
    assert tagalign.projections["text"].weight.grad is None
    assert not tagalign.towers["image"].training
    torch.testing.assert_close(tagalign.tags, tagalign.embed("text", list(TAGS.classes)))


def test_shuffled_tags_are_those_of_the_next_picture_of_all_processes() -> None:
    control = method(shuffled=True)
    tags = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]]
    whole, expected = batch(control, tags), [tags[-1], *tags[:-1]]
    assert control.prepare(whole, CLOCK).labels["nouns"].tolist() == expected
    for rank, part in enumerate(whole.split(2)):
        two = Ranks(rank, 2)
        with (
            patch.object(Ranks, "present", return_value=two),
            patch.object(Ranks, "counts", return_value=[2, 2]),
            patch.object(Ranks, "gather", return_value=whole.labels["nouns"]),
        ):
            shuffled = control.prepare(part, CLOCK)
        assert shuffled.labels["nouns"].tolist() == expected[2 * rank : 2 * rank + 2]
    assert method().prepare(whole, CLOCK) is whole


def test_patches_are_projected_and_their_mean_is_the_picture() -> None:
    tagalign = method()
    pictures = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    whole = tagalign.embed_regions(pictures, torch.tensor([[[0.0, 0, 1, 1]]]).expand(2, 1, 4))
    torch.testing.assert_close(whole[:, 0], tagalign.embed("image", pictures), rtol=1e-4, atol=1e-6)


def test_tags_are_required() -> None:
    towers = build_towers(SIZES, {"text": ["a"]}, 0)
    with pytest.raises(ValueError, match="tagalign learns tags"):
        TagAlign(towers, load("seconds"))


def test_it_is_refused_without_a_run_to_go_on_from() -> None:
    arm = Arm.parse("tagalign,image=vit")
    with pytest.raises(ValueError, match=r"adapts a pair of towers that is trained already.*from=MODEL"):
        arm.build(load("seconds"), {"text": ["a"]}, seed=0, columns=PAIR, target=TAGS)
