"""Embeddings to learn from with their optimizer, and a model that sees and answers with its inputs."""

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

import counterpoint as cp
from counterpoint.networks.tiny_vlm import default_model_path

image_embeddings, text_embeddings = (
    torch.nn.functional.normalize(torch.randn(8, 16), dim=-1).requires_grad_() for _ in range(2)
)
optimizer = torch.optim.SGD([image_embeddings, text_embeddings])
model, processor = (
    AutoModelForImageTextToText.from_pretrained(default_model_path()),
    AutoProcessor.from_pretrained(default_model_path()),
)
inputs = processor(
    images=Image.new("RGB", (96, 96), "white"),
    text="<start><user><image>Is there a cat?<assistant>",
    return_tensors="pt",
    add_special_tokens=False,
)
