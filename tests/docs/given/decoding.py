"""A model that sees and answers, its inputs, and what the page's branches are made of."""

import os

from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

import counterpoint as cp
from counterpoint.decoding import ExampleContrastive, LeadingQueryContrastive, Ritual
from counterpoint.evaluation import create, evaluate
from counterpoint.networks.tiny_vlm import default_model_path, world

os.makedirs("path/or", exist_ok=True)
os.symlink(default_model_path(), "path/or/hub-name")
image = Image.new("RGB", (96, 96), "white")
image.save("cat.png")
model, processor = (
    AutoModelForImageTextToText.from_pretrained(default_model_path()),
    AutoProcessor.from_pretrained(default_model_path()),
)


def ask(*turns: str):
    prompt = "".join(f"<user>{'<image>' if i == 0 else ''}{turn}<assistant>" for i, turn in enumerate(turns))
    return processor(images=image, text=f"<start>{prompt}", return_tensors="pt", add_special_tokens=False)


prompt = "<start><user><image>Is there a cat?<assistant>"
inputs = ask("Is there a cat?")
neutral, leading = inputs, ask("I am sure that there is a cat. Is there a cat?")
with_examples, zero_shot = ask("Is there a dog?", "Is there a cat?"), inputs
ritual = Ritual()

_load = cp.data.load


def few(source: str, image_size: int = 48):
    """The page's world with a few test pictures, as its own takes a minute."""
    return _load(f"{source},test=4" if source.startswith("scenes:") else source, image_size)


cp.data.load = few
