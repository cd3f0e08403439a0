"""The speaker encoder of Resemblyzer: tower and loading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..networks.init import seeded
from ..networks.towers.build import Start
from ..networks.towers.parts.temporal import before
from ..networks.towers.sound import LogMel, SoundTower
from ..networks.weights import TowerSource
from ..raw import ends
from ._packaged import weights_file
from ._pretrained import PackageLoader

_LEVEL = 10 ** (-30 / 20)
"""The root mean square, 30 dB below full scale, that quieter sounds are made as loud as."""
_HOP = 160
"""Samples from one frame to the next."""
_FRAMES = 160
"""Frames of a window."""
_STEP = 77
"""Frames from one window to the next: 1.3 windows a second."""
_LEAST = 0.75
"""The share of the last window that has to be sound, where it is not the only one."""


@final
class SpeakerEncoder(SoundTower):
    """An LSTM on the mel bands of 1.6 seconds at a time, read as the mean of such windows, at unit norm.

    It was trained to tell the voices of thousands of people apart. Windows are Resemblyzer's: those of a sound depend
    on its length alone, and silence goes on behind its end. Pauses, which Resemblyzer can cut out of recordings before,
    are heard here.

    Args:
        seconds: of a sound that it hears.

    Source: GE2E (arXiv 1710.10467), as Resemblyzer has it.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.rate, self.seconds, self.width = 16_000, seconds, 256
        self.mel = LogMel(self.rate, 40, window=400, hop=_HOP, fft=400)
        self.lstm = nn.LSTM(40, self.width, 3, batch_first=True)
        self.linear = nn.Linear(self.width, self.width)
        self.weights_set = True

    def forward(self, sounds: Float[Tensor, "B T"]) -> Float[Tensor, "B width"]:
        return F.normalize(self.states(sounds).sum(1), dim=-1)

    def states(self, sounds: Float[Tensor, "B T"]) -> Float[Tensor, "B t width"]:
        windows, inside = self._windows(sounds)
        _, (last, _) = self.lstm(windows[inside])
        heard = F.normalize(self.linear(last[-1]).relu(), dim=-1)
        states = heard.new_zeros(*inside.shape, self.width)
        states[inside] = heard
        return states

    def _windows(
        self, sounds: Float[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B t frames bands"], Bool[Tensor, "B t"]]:
        """Return windows of the power in each band, and which of them are a sound's."""
        lengths = ends(sounds)
        last = (lengths // _HOP + 1 - (_FRAMES - _STEP)).clamp_min(0) // _STEP
        short = lengths - last * _STEP * _HOP < _LEAST * _FRAMES * _HOP
        counts = (last - short.to(last.dtype)).clamp_min(0) + 1
        frames = (int(counts.max()) - 1) * _STEP + _FRAMES
        with torch.autocast(sounds.device.type, enabled=False):  # a power's range is more than 16 bits hold
            waves = sounds.nan_to_num(0.0)
            loudness = (waves.square().sum(1) / lengths.clamp_min(1)).sqrt()
            waves = waves * (_LEVEL / loudness.clamp_min(1e-10)).clamp_min(1)[:, None]
            power = self.mel.power(F.pad(waves, (0, max(frames * _HOP - waves.shape[1], 0))))[:, :frames]
        windows = power.unfold(1, _FRAMES, _STEP).mT
        return windows, before(counts, windows.shape[1])


def speaker_encoder(source: TowerSource, seconds: float, seed: int) -> SpeakerEncoder:
    """Build ``resemblyzer:ge2e``: random; ``@package``: weights of the package Resemblyzer; ``@PATH``: a file like it.

    Args:
        source: the tower's name.
        seconds: of a sound that it hears.
        seed: of random weights.

    Raises:
        UnknownNameError: for another model.
        MissingPackageError: if the package is not installed.
        ValueError: for weights that are missing, broken or incomplete, and for those of a package that is not the known
            one.
    """
    path = weights_file(source)
    with source.reading(), seeded(seed, f"{source.library}:{source.name}"):
        tower = SpeakerEncoder(seconds)
        if path is not None:
            kept = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
            # Its scale and shift of similarities are the loss's, not the encoder's.
            tower.load_state_dict({name: kept[name] for name in tower.state_dict()})
        return tower


class ResemblyzerLoader(PackageLoader):
    """The encoder of voices of Resemblyzer, of 1.4 million weights and 256 features.

    Its package asks for a compiler and for a stand-in of Python's own ``typing``, and so is installed alone.
    """

    form: ClassVar[str] = "resemblyzer:ge2e@package or resemblyzer:ge2e@PATH"
    library = "resemblyzer"
    modalities = ("audio",)
    packages: ClassVar[Mapping[str, Mapping[str, str | bool]]] = {
        "ge2e": {
            "module": "resemblyzer",
            "distribution": "Resemblyzer",
            "extra": "",
            "model": "pretrained.pt",
            "weights": "pretrained.pt",
            "sha256": "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
            "alone": True,
        }
    }

    def build(self, modality: str, source: TowerSource, start: Start) -> SpeakerEncoder:
        return speaker_encoder(source, start.sizes.audio_seconds, start.seed)
