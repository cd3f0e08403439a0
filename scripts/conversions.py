"""Print the table of what converts to what, made by doing it: ``python scripts/conversions.py > table.md``.

Each row is a small model of random weights, and each cell the largest difference between its unit-norm embeddings and
those of the library that reads the export back; where a layout cannot hold the model, a note says why.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import torch

from counterpoint.exporting import LAYOUTS, _export
from counterpoint.methods.arm import Arm
from counterpoint.methods.tower_method import TowerMethod
from counterpoint.recipes import load, override
from fixtures import foreign

SENTENCES = "transformers:all-MiniLM-L6-v2@package"
PICTURES = "timm:tf_efficientnet_lite0@package"
MODELS: dict[str, Callable[[Path], str]] = {
    "`cnn` and `transformer`": lambda folder: "clip",
    "`vit` and `transformer`": lambda folder: "siglip,image=vit",
    "`mlp` and `bag`": lambda folder: "clip,image=mlp,text=bag",
    "`cnn` and `transformer` under perceptrons": lambda folder: "clip-rocket,proj=mlp",
    "`timm:` and `transformer`": lambda folder: f"clip,image={PICTURES}",
    "`timm:` and `transformers:`": lambda folder: f"clip,image={PICTURES},text={SENTENCES},tune=frozen",
    "`open_clip:`": lambda folder: f"open_clip:tiny@{foreign.open_clip_folder(folder)},tune=lora",
    "`transformers:` (CLIP)": lambda folder: f"transformers:pair@{foreign.clip(folder)},tune=lora",
    "`transformers:` (SigLIP)": lambda folder: f"transformers:pair@{foreign.siglip(folder)},tune=full",
    "`transformers:` (VisionTextDualEncoder)": lambda folder: (
        f"transformers:pair@{foreign.dual(folder)},tune=full"
    ),
    "pictures alone, `cnn`": lambda folder: "dcl,on=images",
    "pictures alone, `timm:`": lambda folder: f"dcl,on=images,image={PICTURES}",
    "texts alone, `transformer`": lambda folder: "simcse,on=texts",
    "texts alone, `transformers:`": lambda folder: f"simcse,on=texts,text={SENTENCES}",
    "tokens and patches (`filip`)": lambda folder: "filip",
}
"""The rows: kinds of model, and the arm that is one; a folder for what it is read from."""


def made(spec: str) -> TowerMethod:
    """Build an arm whose heads and low-rank updates are no longer as they start."""
    small = override(load("cpu"), {"towers.image_size": 32, "towers.vocabulary": 300})
    model = Arm.parse(spec).build(small, {"text": ["a red car", "two dogs play", "a town"] * 5}, 0).eval()
    generator = torch.Generator().manual_seed(1)
    for name, weight in model.named_parameters():
        if "projections" in name or "lora_" in name:
            weight.data.add_(0.05 * torch.randn(weight.shape, generator=generator))
    return model


def main() -> int:
    notes: dict[str, int] = {}
    layouts = [name for name in LAYOUTS.names() if not LAYOUTS.get(name).replies]
    print("| model |", " | ".join(layouts), "|")
    print("| --- |", " | ".join("---" for _ in layouts), "|")
    for row, (kind, spec_of) in enumerate(MODELS.items()):
        with tempfile.TemporaryDirectory() as folder:
            spec = spec_of(Path(folder) / "model")
            cells = [_cell(made(spec), name, Path(folder) / f"out-{row}", notes) for name in layouts]
        print(f"| {kind} |", " | ".join(cells), "|", flush=True)
    print()
    for note, number in notes.items():
        print(f"{number}. {note}.")
    return 0


def _cell(model: TowerMethod, layout: str, out: Path, notes: dict[str, int]) -> str:
    """Return the largest difference by modality, or the number of the note that says why there is none."""
    _export.load = lambda reference: model
    try:
        done = _export.export("the model", layout, out / layout, allow_custom_code=True)
    except (ValueError, ImportError) as error:
        reason = str(error).removeprefix(f"the model cannot be exported to {layout}: ")
        reason = re.sub(r"@/[^\s;']*", "@PATH", reason)
        return f"({notes.setdefault(reason, len(notes) + 1)})"
    return ", ".join(f"{modality} {value:.0e}" for modality, value in done.differences.items())


if __name__ == "__main__":
    sys.exit(main())
