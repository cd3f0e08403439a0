"""RO-ViT: positions of a crop in training make features of regions of larger pictures better."""

from __future__ import annotations

from collections.abc import Iterator

from .lab import Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "Regions of pictures of twice the side of training are named better after CLIP with positions that are cropped "
    "from an enlarged grid than after CLIP with the whole grid."
)
REFUTED = "cropped positions are not better"
CROPPED = effects.convention("share")

PLAIN, CROP, FOCAL, BOTH = "whole grid", "cropped", "focal, whole grid", "focal, cropped"
SIZE, STEPS = 32, 800
LARGE = f"regions,side={2 * SIZE}"
COMPARISON = TrainingComparison(
    {
        PLAIN: "clip,image=vit",
        FOCAL: "focal,image=vit",
        BOTH: "focal,image=vit-crop",
        CROP: "clip,image=vit-crop",
    },
    {LARGE: ("named", "read"), "retrieval": ("i2t_R@1", "t2i_R@1")},
    data=f"scenes:tiny,pixels={2 * SIZE},train=4000,validation=200,test=1000",
    recipe="cpu-dense",
    changes={"steps": STEPS, "validate_every": STEPS, "towers.image_size": SIZE, "towers.image_patch": 4},
)


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    named, read = (study.scores(f"{LARGE} {name}") for name in ("named", "read"))
    to_text = study.scores("retrieval i2t_R@1")
    yield from decides(
        above(named[CROP] - named[PLAIN], name="1: names of regions, cropped − whole", **CROPPED)
    )
    yield from secondary(
        above(named[BOTH] - named[FOCAL], name="1: names of regions by focal, cropped − whole"),
        above(read[CROP] - read[PLAIN], name="1: linear probe of regions, cropped − whole"),
        above(to_text[CROP] - to_text[PLAIN], name="2: i2t R@1, cropped − whole"),
        above(to_text[FOCAL] - to_text[PLAIN], name="2: i2t R@1, focal − softmax"),
    )
    lab.note(
        "The registered methods on scenes of 14 concepts under the recipe cpu-dense: a vit of",
        f"{SIZE // 4} × {SIZE // 4} patches, trained at {SIZE} px for {STEPS} steps of 64 pictures. Regions are boxes",
        f"of things in the 1,000 test pictures at {2 * SIZE} px. Named by their captions' tower: {named.means()};",
        f"by a linear probe: {read.means()}; i2t R@1: {to_text.means()}.",
    )
