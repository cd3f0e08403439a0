"""PixPro: patches matched by their place train features for segmentation better than pooled features do."""

from __future__ import annotations

from collections.abc import Iterator

from .lab import Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "A linear layer on frozen patches segments pictures better after PixPro than after BYOL with the same views, "
    "projector and steps."
)
REFUTED = "PixPro is not better than BYOL"
PATCHES = effects.reported(
    76.2, 77.2, "Cityscapes mIoU, the best method on whole pictures and PixPro", unit=0.01
)

PIXPRO, IDENTITY, BYOL = "PixPro", "PixPro without propagation", "BYOL"
STEPS, BATCH, SIZE, HIDDEN = 700, 32, 48, 256
DATA = "scenes:tiny,tinted=0,objects=6-9,sizes=medium,relations=0,train=4000,validation=200,test=1000"
COMPARISON = TrainingComparison(
    {PIXPRO: "pixpro", IDENTITY: "pixpro,propagate=false", BYOL: "byol"},
    {"segmentation_probe": ("miou", "miou_band"), "multi_label": ("logistic_*_mAP",)},
    data=DATA,
    recipe="cpu-dense",
    changes={
        "steps": STEPS,
        "validate_every": STEPS,
        "optimizer.lr": 0.001,
        "batch_size": BATCH,
        "towers.image_size": SIZE,
        "widths.ssl_hidden": HIDDEN,
    },
)


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    miou, band = (study.scores(f"segmentation_probe {name}") for name in ("miou", "miou_band"))
    things = study.scores("multi_label logistic_concepts_mAP")
    yield from decides(above(miou[PIXPRO] - miou[BYOL], name="1: mIoU, PixPro − BYOL", **PATCHES))
    yield from secondary(
        above(miou[PIXPRO] - miou[IDENTITY], name="1: mIoU, PixPro − PixPro without propagation"),
        above(miou[IDENTITY] - miou[BYOL], name="1: mIoU, PixPro without propagation − BYOL"),
        above(band[PIXPRO] - band[BYOL], name="1: mIoU within three pixels of a border, PixPro − BYOL"),
        # The paper expects no gain for whole pictures.
        above(things[PIXPRO] - things[BYOL], name="2: mAP of the things in a picture, PixPro − BYOL"),
    )
    lab.note(
        f"The registered methods on {DATA} at {SIZE} px under the",
        f"recipe cpu-dense (a cnn of two stages, {SIZE // 8} × {SIZE // 8} patches), {STEPS} steps of {BATCH} pictures",
        "at a rate of 0.001. Both have the views of BYOL, the same projector with batch norms, and a momentum of 0.99",
        "on a cosine; BYOL has a predictor where PixPro propagates. The probe learns from the regions of 500 training",
        f"pictures. mIoU on 1,000 test pictures: {miou.means()}; near borders: {band.means()}; mAP of the things in",
        f"a picture, by logistic regressions: {things.means()}.",
    )
