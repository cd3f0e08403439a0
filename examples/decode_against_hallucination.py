"""Decode against hallucination: ask a model what is in a picture, plainly and by visual contrastive decoding.

    python examples/decode_against_hallucination.py

The model is the small one that comes with the package. It has learned that most things come in pairs (a cat with a
ball). ``counterpoint compare-decoding vcd lcd --model PATH --data questions:mine.csv`` says whether a method helps on
your questions, and whether it helps more than its plausibility rule alone.
"""

from __future__ import annotations

import torch
from PIL import Image, ImageDraw

from counterpoint.decoding import Plain, VisionLanguageAssistant, VisualContrastive
from counterpoint.networks.tiny_vlm import default_model_path
from counterpoint.types import Prompt


def picture() -> torch.Tensor:
    """Draw an orange shape on grey, of which nobody can say what it is: uint8 ``(3, 96, 96)``."""
    drawn = Image.new("RGB", (96, 96), (200, 200, 200))
    ImageDraw.Draw(drawn).ellipse((20, 30, 60, 70), fill=(230, 140, 30))
    return torch.frombuffer(bytearray(drawn.tobytes()), dtype=torch.uint8).view(96, 96, 3).permute(2, 0, 1)


def main() -> dict[str, tuple[str, float]]:
    """Ask under each method; return the reply and the forward passes for each pass of plain decoding."""
    question = Prompt("What is in this picture?", picture())
    result = {}
    for name, method in {"plain": Plain(), "vcd": VisualContrastive(alpha=1.0, beta=0.1)}.items():
        assistant = VisionLanguageAssistant.load(default_model_path(), method, max_new_tokens=12)
        (reply,) = assistant.reply([question])
        assert assistant.cost is not None
        result[name] = reply, assistant.cost.relative_passes
        print(f"{name} ({result[name][1]:.0f} passes a token): {reply}")
    return result


if __name__ == "__main__":
    main()
