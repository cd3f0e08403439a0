"""Arms that share a module start it alike, so that a comparison on one seed is paired."""

from __future__ import annotations

import pytest
import torch
from method_stubs import PERSONAL, build, columns_of

from counterpoint import methods
from counterpoint.methods import METHODS
from counterpoint.modalities import PAIR

OTHER_HEADS = {
    *(
        "align",
        "amcl",
        "autoencoder",
        "blip-2",
        "brivl",
        "cci",
        "coavt",
        "coca",
        "convirt",
        "cosmo",
        "cwcl",
        "ebm",
        "fusemix",
        "guided-ntxent",
        "hydra",
    ),
    "kernel-uniformity",
    *("lat", "limoe", "lit", "lm-supcon", "m3col", "mcl", "mochi", "moco", "moco-dual-view", "msclap"),
    *("multimodn", "p-former", "x-former"),
    *("sbcl", "supcon-bins", "sy-con", "whitened-cse", "zorro"),
}
OF_OTHERS = {name for name in methods.names() if not {*columns_of(name)} & {*PAIR}}
"""Methods of neither pictures nor texts, which share no tower with the others."""
READING = {
    name for name in methods.names() if "masks_words" in getattr(METHODS.get(name), "asks", {}).values()
}
"""Methods with a tower of texts that knows a mask token, and so has a table of one more row than clip's."""
LINEAR_HEADS = [n for n in methods.names() if n not in OTHER_HEADS | OF_OTHERS]


# These have networks of their own in the place of towers.
OWN = {"limoe", "painter", *PERSONAL}


@pytest.mark.parametrize("name", [n for n in methods.names() if n not in {"clip", "mcl", *OWN, *OF_OTHERS}])
def test_towers_start_alike(name: str) -> None:
    clip, other = build("clip").towers.state_dict(), build(name).towers.state_dict()
    assert other
    shared = {k for k in clip.keys() & other.keys() if not (name in READING and k == "text.words.weight")}
    assert all(torch.equal(clip[k], other[k]) for k in shared)


@pytest.mark.parametrize("name", LINEAR_HEADS)
def test_global_heads_start_alike(name: str) -> None:
    clip, other = build("clip").projections, build(name).projections
    for column in clip.keys() & other.keys():  # methods of other columns share no head with it
        assert torch.equal(clip[column].weight, other[column].weight)


@pytest.mark.parametrize("name", ["siamlip", "barlip", "byolip"])
def test_heads_of_a_term_start_alike_under_both_recipes(name: str) -> None:
    basic, improved = build(name).term.state_dict(), build(f"{name}-rocket").term.state_dict()
    assert all(torch.equal(basic[k], improved[k]) for k in basic)


def test_siamlip_and_byolip_start_alike() -> None:
    siamlip, byolip = build("siamlip").term.state_dict(), build("byolip").term.state_dict()
    assert all(torch.equal(siamlip[k], byolip[k]) for k in siamlip)


def test_images_and_texts_do_not_start_alike() -> None:
    heads = build("clip").projections
    assert not torch.equal(heads["image"].weight[:, :10], heads["text"].weight)
