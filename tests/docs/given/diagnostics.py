"""A trained pair of towers with pictures, and an assistant with a reply."""

from types import SimpleNamespace

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from counterpoint.networks import build_towers
from counterpoint.networks.tiny_vlm import default_model_path
from counterpoint.recipes import Towers

image_tower, _ = build_towers(Towers(image="vit", image_size=32), {"text": ["a cat"]}, 0).values()
pictures, classes = torch.rand(6, 3, 32, 32), torch.arange(6) % 2
batch = torch.rand(4, 3, 32, 32)
of_pictures = SimpleNamespace(image_tower=image_tower, named_parameters=image_tower.named_parameters)
of_words = AutoModelForImageTextToText.from_pretrained(default_model_path())
processor = AutoProcessor.from_pretrained(default_model_path())
inputs = processor(
    images=Image.new("RGB", (96, 96), "white"),
    text="<start><user><image>Is there a cat?<assistant>",
    return_tensors="pt",
    add_special_tokens=False,
)
reply_tokens = processor.tokenizer("No.", return_tensors="pt").input_ids[0]
width = of_words.config.text_config.hidden_size
german, english = torch.randn(2, 9, width)


def loss(given: torch.Tensor) -> torch.Tensor:
    return image_tower(given).square().mean()


model = of_pictures
