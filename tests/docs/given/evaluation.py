"""Assistants, pictures to rate, and names with a model that tells them apart."""

import os

import numpy as np
import torch

import counterpoint.data as data
from counterpoint.decoding import VisionLanguageAssistant
from counterpoint.networks.tiny_vlm import default_model_path

os.makedirs("path/or", exist_ok=True)
os.symlink(default_model_path(), "path/or/hub-name")
another = VisionLanguageAssistant.load(default_model_path())
pictures = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
names = ["robin", "wren"]
sets, means, deviations = ["ours"] * 20, np.linspace(1, 5, 20), np.full(20, 0.4)
logits, block = np.zeros((3, 5, 5)), np.full((5, 5), 0.5)


def generate(prompt: str) -> str:
    return "A robin has a red breast. A wren is brown."


_load = data.load
data.load = lambda source, image_size=48: _load(
    f"{source},test=4", image_size
)  # a few pictures of the page's world
