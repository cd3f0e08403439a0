"""Train on a folder of pictures with captions, and find its pictures by words.

    python examples/train_on_folder.py

The folder is made here: pictures of coloured shapes, each with its caption in a text file of the same name. The recipe
``seconds`` reads pixels with a perceptron and captions as bags of words. Leave ``recipe`` out for models of a real
size.
"""

from __future__ import annotations

import tempfile
from itertools import product
from pathlib import Path

from PIL import Image, ImageDraw

import counterpoint as cp

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "black", "gray")
SHAPES = {"circle": ImageDraw.ImageDraw.ellipse, "square": ImageDraw.ImageDraw.rectangle}
CORNERS = {"top left": (2, 2), "top right": (26, 2), "bottom left": (2, 26), "bottom right": (26, 26)}


def write_pairs(folder: Path) -> Path:
    """Write a picture and a caption of each colour, shape and corner."""
    folder.mkdir()
    for number, (colour, shape, corner) in enumerate(product(COLOURS, SHAPES, CORNERS)):
        picture, (x, y) = Image.new("RGB", (48, 48), "white"), CORNERS[corner]
        SHAPES[shape](ImageDraw.Draw(picture), (x, y, x + 19, y + 19), fill=colour)
        picture.save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"a {colour} {shape} at the {corner}")
    return folder


def main(steps: int = 40) -> tuple[float, float]:
    """Train; return how similar a caption is to its picture, and to the other pictures on average."""
    with tempfile.TemporaryDirectory() as scratch:
        photos = write_pairs(Path(scratch) / "photos")
        recipe = cp.recipes.override(cp.recipes.load("seconds"), {"steps": steps, "batch_size": 32})
        model = cp.train("clip", photos, recipe=recipe, folder=Path(scratch) / "run", tasks=["retrieval"])
        pictures = sorted(photos.glob("*.png"), key=lambda path: int(path.stem))
        # `counterpoint embed RUN photos/` does the same for a folder of any size.
        query = model.embed("text", (photos / "0.txt").read_text())
        own, *others = model.similarity(query, model.embed("image", pictures))[0].tolist()
    mean = sum(others) / len(others)
    print(f"similarity of the first caption: {own:.3f} to its picture, {mean:.3f} to another on average")
    return own, mean


if __name__ == "__main__":
    main()
