"""Encoders of clips of ``transformers``: TimeSformer, VideoMAE and ViViT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor

from ....raw import ends
from ....registry import unknown
from ...init import seeded
from ...weights import TowerSource
from ..footage import centres
from ..parts.pixels import Normalise
from ..video import VideoTower
from .hugging_face import ModelFiles
from .whole_model import whole_model

_KINDS = ("timesformer", "videomae", "vivit")
_FILES = ("preprocessor_config.json", "video_preprocessor_config.json")
_HALF = (0.5, 0.5, 0.5)


@final
class ClipEncoder(VideoTower):
    """An encoder of clips, read at its class token; VideoMAE, which has none, as the mean of its states.

    It was made for one number of frames. A clip of fewer is seen with frames that stay for several, evenly, whatever
    stands beside it in a batch. Clips are not read at the library's rate of frames: those that are seen are spread over
    all of a clip.

    Args:
        model: maps ``pixel_values`` to ``last_hidden_state``.
        normalise: what its processor does to pixels in [0, 1].
    """

    def __init__(self, model: Any, normalise: Normalise) -> None:
        super().__init__()
        config = model.config
        self.model, self.normalise = model, normalise
        self.size, self.frames, self.width = config.image_size, config.num_frames, config.hidden_size
        self.weights_set = True

    def forward(self, clips: Float[Tensor, "B T 3 H W"]) -> Float[Tensor, "B width"]:
        states = self._states(clips)
        return states.mean(1) if self.model.config.model_type == "videomae" else states[:, 0]

    def states(self, clips: Float[Tensor, "B T 3 H W"]) -> Float[Tensor, "B t width"]:
        """Return the mean over the places of each time; a time is one frame, or the frames that are one patch."""
        states, config = self._states(clips), self.model.config
        if (
            config.model_type == "timesformer"
        ):  # whose states run over the frames of a place, then over places
            return states[:, 1:].reshape(len(states), -1, self.frames, self.width).mean(1)
        if config.model_type == "vivit":
            states, frames = states[:, 1:], config.tubelet_size[0]
        else:
            frames = config.tubelet_size
        return states.reshape(len(states), self.frames // frames, -1, self.width).mean(2)

    def _states(self, clips: Float[Tensor, "B T 3 H W"]) -> Float[Tensor, "B n width"]:
        lengths = ends(clips[:, :, 0, 0, 0]).clamp_min(1).tolist()
        places = torch.stack([torch.from_numpy(centres(length, self.frames)) for length in lengths])
        seen = clips[torch.arange(len(clips))[:, None], places].nan_to_num(0.0)
        return self.model(self.normalise(seen)).last_hidden_state


def clip_encoder(source: TowerSource, size: int, frames: int, seed: int) -> ClipEncoder:
    """Build ``transformers:NAME``: random; ``@PATH``: weights of a folder; ``@hub``: those of the hub's NAME.

    Without weights, NAME is a kind of model (``videomae``: its default widths), or a folder or hub name whose
    configuration is taken.

    Args:
        source: the tower's name.
        size: height and width of frames in pixels, where no configuration says it.
        frames: of a clip, where no configuration says it.
        seed: of random weights.

    Raises:
        UnknownNameError: for a kind of model that is no encoder of clips known here.
        ValueError: for weights that are missing, broken or incomplete.
    """
    import transformers

    name = source.name
    files = None if source.weights is None and name in _KINDS else ModelFiles.of(source)
    if files is None and name not in _KINDS:
        raise unknown("transformers model of clips", name, _KINDS)
    with source.reading():
        if files is None:
            config = transformers.AutoConfig.for_model(name, image_size=size, num_frames=frames)
            settings: Mapping[str, Any] = {}
        else:
            config = transformers.AutoConfig.from_pretrained(**files.arguments)
            settings = next((content for file in _FILES if (content := files.json(file))), {})
        kind = config.model_type
        if kind not in _KINDS:
            raise ValueError(
                f"{kind} is no encoder of clips that is known here, which are {', '.join(_KINDS)}"
            )
        with seeded(seed, f"transformers:{name}"):
            if files is not None and source.weights is not None:
                model = whole_model(files)
            else:
                model = transformers.AutoModel.from_config(config)
        return ClipEncoder(model.float(), _normalisation(settings, offset=kind == "vivit"))


def _normalisation(settings: Mapping[str, Any], *, offset: bool) -> Normalise:
    """Return what a processor does to pixels in [0, 1], by its settings or, where it says nothing, its defaults.

    Args:
        settings: of the processor.
        offset: whether pixels become values in [−1, 1], before they are normalised, unless it says otherwise.
    """
    offset = settings.get("offset", offset)
    scale = 255 * settings.get("rescale_factor", 1 / 127.5 if offset else 1 / 255)
    normalised = settings.get("do_normalize", True)
    mean = settings.get("image_mean") or _HALF if normalised else (0.0,) * 3
    std = settings.get("image_std") or _HALF if normalised else (1.0,) * 3
    return Normalise([(offset + m) / scale for m in mean], [s / scale for s in std])
