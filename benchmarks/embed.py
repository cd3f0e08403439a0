"""From data to vectors on disk, beside the loop that one would write, and the memory of it.

    pip install 'counterpoint[sentences]' sentence-transformers
    python benchmarks/embed.py [--pictures 128] [--texts 1000] [--rows 200000]

Pictures: a folder of JPEG files of 640 × 480 pixels, the same ViT-B-32 of open_clip (random weights) and the same
batch. The peer is open_clip's own preprocessing in a `DataLoader` with a worker per core, and one file of vectors at
the end. Ours decodes a folder once, into the cache: the first pass begins with an empty cache, the second one finds
what the first has left there, as another model of the same preprocessing does. Both load the data and write vectors;
neither loads the model.

Texts: some of three words to forty of everyday English, some names of emoji, the same MiniLM, batches of 32.
`SentenceTransformer.encode` is given all at once, and sorts them by their letters. Ours writes vectors; the peer keeps
them.

Memory: of rows that are made when they are asked for, by a model that costs nothing: what grows with them shows.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import emoji
import numpy as np
import open_clip
import torch
from _timing import spread
from pictures import photo
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import counterpoint as cp
from counterpoint.data.base import Data, Rows, Splits
from counterpoint.execution import NullListener, Unit, UnitProgress
from counterpoint.interop._packaged import packaged
from counterpoint.models import Pretrained
from counterpoint.networks import build_towers
from counterpoint.recipes.schema import Towers

BATCH, ROUNDS, WIDTH = 64, 3, 512
MINI_LM = "all-MiniLM-L6-v2"


class Made(Data):
    """Texts that are made when they are asked for."""

    columns: Mapping[str, str] = {"text": "text"}
    name = "made"

    def __init__(self, count: int, texts: Sequence[str]) -> None:
        self.texts = texts
        self.ids = np.arange(count)
        self.splits = Splits(self.ids, {}, {})

    def read(self, column: str, rows: Rows) -> list[str]:
        return [self.texts[row % len(self.texts)] for row in rows.tolist()]


class Opened(Dataset[Tensor]):
    """Pictures of a folder as open_clip shows them."""

    def __init__(self, folder: Path, preprocess: Callable[[Any], Tensor]) -> None:
        self.files, self.preprocess = sorted(folder.iterdir()), preprocess

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        from PIL import Image

        return self.preprocess(Image.open(self.files[index]).convert("RGB"))


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def pictures(count: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        root, photos = Path(place), Path(place) / "photos"
        photos.mkdir()
        content = photo(640, 480, "JPEG")
        for number in range(count):  # a mark after the end makes each file another one
            (photos / f"{number:06}.jpg").write_bytes(content + number.to_bytes(8, "little"))
        peer, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32")
        torch.save(peer.state_dict(), root / "weights.pt")
        model = cp.load(f"open_clip:ViT-B-32@{root / 'weights.pt'}")
        peer.eval()
        print(f"model {model.fingerprint}")  # computed once a model, as it is loaded

        def loop() -> None:
            loader = DataLoader(Opened(photos, preprocess), batch_size=BATCH, num_workers=os.cpu_count() or 1)
            with torch.inference_mode():
                found = [torch.nn.functional.normalize(peer.encode_image(it), dim=-1) for it in loader]
            np.save(root / "peer.npy", torch.cat(found).numpy())

        times: dict[str, list[float]] = {"first pass": [], "second pass": []}
        for number in range(ROUNDS):
            os.environ["COUNTERPOINT_CACHE"] = str(root / f"cache-{number}")
            for name, ratios in times.items():
                os.utime(photos)  # so that the folder is read again, and not kept from before
                theirs = seconds(loop)
                out = root / f"vectors {number} {name}"
                ours = seconds(lambda out=out: cp.embed(model, photos, out, batch_size=BATCH))
                ratios.append(theirs / ours)
                print(f"  {name}: {count / ours:.1f} pictures/s, the peer {count / theirs:.1f}")
        vectors = cp.serving.Vectors.open(out)
        difference = np.abs(
            vectors.read(vectors.parts[0])[0] - np.load(root / "peer.npy")[: vectors.counts[0]]
        )
        print(f"largest difference of a number: {difference.max():.1e}")
        for name, ratios in times.items():
            print(f"pictures/s, {name}, ours over the peer's: {spread(ratios)}")


def texts(count: int) -> None:
    words = (
        "a",
        "red",
        "car",
        "drives",
        "on",
        "the",
        "wet",
        "road",
        "while",
        "two",
        "dogs",
        "play",
        "ball",
        "houses",
    )
    draw = random.Random(0)
    names = [names["en"].strip(":").replace("_", " ") for names in emoji.EMOJI_DATA.values()]
    drawn = [" ".join(draw.choices(words, k=draw.randint(3, 40))) for _ in range(count)]
    for name, some in (("drawn", drawn), ("names of emoji", draw.sample(names, count))):
        beside_encode(name, some)


def beside_encode(name: str, some: Sequence[str]) -> None:
    from sentence_transformers import SentenceTransformer

    count = len(some)
    peer = SentenceTransformer(
        str(packaged(MINI_LM)), device="cpu" if not torch.cuda.is_available() else "cuda"
    )
    model = cp.load(f"transformers:{MINI_LM}@package").to(peer.device)
    print(f"model {model.fingerprint}")
    ratios: list[float] = []
    with tempfile.TemporaryDirectory() as place:
        for number in range(ROUNDS):
            theirs = seconds(lambda: peer.encode(some, normalize_embeddings=True, show_progress_bar=False))
            out = f"{place}/{number}"
            ours = seconds(lambda out=out: cp.embed(model, Made(count, some), out, batch_size=32))
            ratios.append(theirs / ours)
            print(f"  {count / ours:.0f} texts/s, the peer {count / theirs:.0f}")
    print(f"texts/s, {name}, ours over the peer's: {spread(ratios)}")


class Nothing(Pretrained):
    """A model whose embeddings cost nothing."""

    width = WIDTH  # type: ignore[assignment] # the base computes it

    def embed_prepared(self, column: str, prepared: Tensor, head: str = "default") -> Tensor:
        return torch.rand(len(prepared), WIDTH)


class Watched:
    """A listener that looks at this process's memory."""

    def __init__(self) -> None:
        self.rest = NullListener()
        self.begin, self.ended, self.waits = self.rest.begin, self.rest.ended, self.rest.waits
        self.first, self.most = 0, 0

    def progressed(self, unit: Unit[Any], progress: UnitProgress) -> None:
        now = anonymous()
        self.first = self.first or now
        self.most = max(self.most, now)


def anonymous() -> int:
    """Return the bytes of this process that no file backs."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def memory(rows: int) -> None:
    watched, texts = Watched(), ["a red car", "a train", "two dogs on a road"]
    data, model = (
        Made(rows, texts),
        Nothing({"text": build_towers(Towers(text="bag"), {"text": texts}, 0)["text"]}),
    )
    before = anonymous()
    with tempfile.TemporaryDirectory() as place:
        cp.embed(model, data, place, batch_size=256, listener=watched)  # type: ignore[arg-type] # a listener
    at_first, at_most = (f"{(held - before) / 2**20:.0f} MB" for held in (watched.first, watched.most))
    print(
        f"memory over that of model and data, {rows:,} rows × {WIDTH}: {at_first} at first, {at_most} at most"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, count in (("pictures", 128), ("texts", 1000), ("rows", 200_000)):
        parser.add_argument(f"--{name}", type=int, default=count)
    asked = parser.parse_args()
    print(
        f"torch {torch.__version__}, {os.cpu_count()} cores, load before {os.getloadavg()[0]:.2f}; {ROUNDS} rounds"
    )
    pictures(asked.pictures)
    texts(asked.texts)
    memory(asked.rows)


if __name__ == "__main__":
    main()
