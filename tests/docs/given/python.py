import wave
from pathlib import Path

import numpy as np
from PIL import Image

from counterpoint.cli import main

Path("photos").mkdir()
Path("sounds").mkdir()
Image.new("RGB", (64, 48), "red").save("photos/car.jpg")
Image.new("RGB", (48, 64), "brown").save("photos/dog.png")
with wave.open("sounds/bell.wav", "wb") as bell:
    bell.setparams((2, 2, 44_100, 0, "NONE", "not compressed"))
    bell.writeframes((9000 * np.sin(np.arange(88_200) / 9)).astype("<i2").tobytes())
small = ["--steps", "2", "--batch-size", "16", "--towers.vocabulary", "300", "--tasks", "retrieval"]
scenes = "scenes:basic,train=64,validation=16,test=16"
assert main(["train", "clip", "--data", scenes, "--out", "runs/mine", *small]) == 0
assert main(["train", "clip", "--data", "sounds", "--out", "runs/sounds", *small]) == 0
