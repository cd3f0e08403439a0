"""Encoders of sounds, clips and series of transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..networks.init import seeded
from ..networks.towers.footage import centres
from ..networks.towers.parts.pixels import Normalise
from ..networks.towers.parts.temporal import before, mean_inside
from ..networks.towers.series import SeriesTower, Standardised
from ..networks.towers.sound import SoundTower
from ..networks.towers.video import VideoTower
from ..networks.towers.wav2vec2 import WaveEncoder
from ..networks.weights import TowerSource
from ..raw import ends
from ..registry import unknown
from ._hugging_face import ModelFiles, whole_model

_WAVES = ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat", "data2vec-audio")
_SPECTROGRAMS = ("audio-spectrogram-transformer", "whisper", "clap")


@final
class SpectrogramEncoder(SoundTower):
    """An encoder of spectrograms, which transformers' own feature extractor makes.

    AST is read at its pooled tokens, the audio half of CLAP behind its projection, and Whisper's encoder as the mean of
    the states that hold sound. Each hears as much as it was made for at most, and what is shorter is padded to that by
    the extractor, whatever stands beside it: a second costs Whisper as much as thirty.

    Args:
        model: maps spectrograms to states.
        extractor: transformers' own for it.
        seconds: of a sound that it hears.
    """

    def __init__(self, model: Any, extractor: Any, seconds: float) -> None:
        super().__init__()
        config = model.config
        config.apply_spec_augment = False
        self.model, self.extractor, self.rate = model, extractor, int(extractor.sampling_rate)
        self.seconds = min(seconds, _most(extractor))
        # AST's extractor makes windows of 25 ms, and fails at less than one.
        self._least = self.rate // 40 if hasattr(extractor, "num_mel_bins") else 1
        self.width = int(getattr(config, "projection_dim", None) or config.hidden_size)
        self.weights_set = True

    def forward(self, sounds: Float[Tensor, "B T"]) -> Float[Tensor, "B width"]:
        output = self._output(sounds)
        if (projected := getattr(output, "audio_embeds", None)) is not None:
            return projected
        if (pooled := getattr(output, "pooler_output", None)) is not None:
            return pooled
        states = output.last_hidden_state
        return mean_inside(states.mT, before(self._counts(sounds, states.shape[1]), states.shape[1]))

    def _output(self, sounds: Float[Tensor, "B T"]) -> Any:
        heard = [
            F.pad(row[:end].nan_to_num(0.0), (0, max(self._least - end, 0))).cpu().numpy()
            for row, end in zip(sounds, ends(sounds).tolist(), strict=True)
        ]
        options: dict[str, Any] = {}
        if hasattr(
            self.extractor, "truncation"
        ):  # what is longer was cut before, so that nothing is drawn at random
            options = {"truncation": "fusion" if self.model.config.enable_fusion else "rand_trunc"}
        with torch.autocast("cpu", enabled=False):  # a power's range is more than 16 bits hold
            made = self.extractor(heard, sampling_rate=self.rate, return_tensors="pt", **options)
        features = made[self.extractor.model_input_names[0]].to(sounds.device, torch.float32)
        longer = {}
        if options.get("truncation") == "fusion":
            longer = {"is_longer": torch.zeros(len(sounds), 1, dtype=torch.bool, device=sounds.device)}
        return self.model(features, **longer)

    def _counts(self, sounds: Float[Tensor, "B T"], states: int) -> Int[Tensor, " B"]:
        """Return how many of so many states, which share what the extractor pads sounds to, hold some of each."""
        whole = int(self.extractor.n_samples)
        return ((ends(sounds) * states + whole - 1) // whole).clamp_min(1)


def _most(extractor: Any) -> float:
    """Return the seconds that an extractor cuts sounds to."""
    if hasattr(extractor, "num_mel_bins"):  # of AST: windows 10 ms apart, of which the last is whole
        return (extractor.max_length * 160 + 240) / 16_000
    return float(getattr(extractor, "chunk_length", None) or extractor.max_length_s)


def sound_encoder(source: TowerSource, seconds: float, seed: int) -> WaveEncoder | SpectrogramEncoder:
    """Build ``transformers:NAME``: random; ``@PATH``: weights of a folder; ``@hub``: those of the hub's NAME.

    Without weights, NAME is a kind of model (``wav2vec2``: its default sizes), or a folder or hub name whose
    configuration is taken.

    Args:
        source: the tower's name.
        seconds: of a sound that it hears, at most as much as it was made for.
        seed: of random weights.

    Raises:
        UnknownNameError: for a kind of model that is no encoder of sounds known here.
        ValueError: for weights that are missing, broken or incomplete.
    """
    import transformers

    kinds, name = (*_WAVES, *_SPECTROGRAMS), source.name
    files = None if source.weights is None and name in kinds else ModelFiles.of(source)
    if files is None and name not in kinds:
        raise unknown("transformers model of sounds", name, kinds)
    with source.reading():
        if files is None:
            config = transformers.AutoConfig.for_model(name)
            extractor: Any = transformers.FEATURE_EXTRACTOR_MAPPING[type(config)]()
        else:
            config = transformers.AutoConfig.from_pretrained(**files.arguments)
            extractor = transformers.AutoFeatureExtractor.from_pretrained(**files.arguments)
        kind = config.model_type
        if kind not in kinds:
            raise ValueError(
                f"{kind} is no encoder of sounds that is known here, which are {', '.join(kinds)}"
            )
        with seeded(seed, f"transformers:{name}"):
            if files is not None and source.weights is not None:
                model = whole_model(files)
            else:
                model = transformers.AutoModel.from_config(config)
        tower = WaveEncoder if kind in _WAVES else SpectrogramEncoder
        return tower(_hearing(model).float(), extractor, seconds)


def _hearing(model: Any) -> Any:
    """Return the part of a model that hears: the encoder of Whisper, the audio half of CLAP with its projection."""
    import transformers

    if model.config.is_encoder_decoder:
        return model.get_encoder()
    if not hasattr(model, "audio_projection"):
        return model
    half: Any = transformers.ClapAudioModelWithProjection(model.config.audio_config)
    half.audio_model, half.audio_projection = model.audio_model, model.audio_projection
    return half


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


KIND = "patchtst"


@final
class PatchEncoder(SeriesTower):
    """PatchTST: each channel cut into patches, read as the mean over the patches in which something was measured.

    It was made for series of one length. A shorter one is padded to that, whatever stands beside it, and padding counts
    as not measured.

    Args:
        model: maps ``past_values`` to ``last_hidden_state``.
        standardised: its input.

    Source: PatchTST (arXiv 2211.14730).
    """

    def __init__(self, model: Any, standardised: Standardised) -> None:
        super().__init__()
        self.model, self.standardised = model, standardised
        self.width = int(model.config.d_model)
        self.weights_set = True

    def forward(self, series: Float[Tensor, "B T C"]) -> Float[Tensor, "B width"]:
        config, cut = self.model.config, self.model.patchifier
        whole = F.pad(series, (0, 0, 0, config.context_length - series.shape[1]), value=torch.nan)
        known = ~whole.isnan()
        states = self.model(
            past_values=whole.nan_to_num(0.0), past_observed_mask=known.to(whole.dtype)
        ).last_hidden_state[:, :, int(config.use_cls_token) :]
        patches = known[:, cut.sequence_start :].unfold(1, cut.patch_length, cut.patch_stride)
        mask = patches.any(3).mT[..., None].to(states.dtype)
        return (states * mask).sum((1, 2)) / mask.sum((1, 2)).clamp_min(1)


def series_encoder(
    source: TowerSource, steps: int, seed: int, fit: Callable[[int], Standardised]
) -> PatchEncoder:
    """Build ``transformers:patchtst``: random; ``@PATH``: weights of a folder; ``@hub``: those of the hub's NAME.

    Without weights, NAME is ``patchtst`` (its default sizes, patches of at most 16 steps, layer norms), or a folder or
    hub name whose configuration is taken. Where channels share the weights of their patches, as they do unless a
    configuration says otherwise, the model takes any number of channels.

    Args:
        source: the tower's name.
        steps: of a series that it sees, at most as many as it was made for.
        seed: of random weights.
        fit: makes the input of so many steps.

    Raises:
        UnknownNameError: for another kind of model.
        ValueError: for weights that are missing, broken or incomplete, and for series of other channels.
    """
    import transformers

    name = source.name
    files = None if source.weights is None and name == KIND else ModelFiles.of(source)
    if files is None and name != KIND:
        raise unknown("transformers model of series", name, [KIND])
    with source.reading():
        config: Any
        if files is None:
            length = max(1, min(16, steps // 2))
            config = transformers.PatchTSTConfig(
                context_length=steps,
                patch_length=length,
                patch_stride=max(1, length // 2),
                norm_type="layernorm",
            )
        else:
            config = transformers.AutoConfig.from_pretrained(**files.arguments)
        if config.model_type != KIND:
            raise ValueError(
                f"{config.model_type} is no encoder of series that is known here, which is {KIND}"
            )
        standardised = fit(min(steps, config.context_length))
        channels = len(standardised.means)
        with seeded(seed, f"transformers:{name}"):
            if files is not None and source.weights is not None:
                model = whole_model(files)
            else:
                model = transformers.PatchTSTModel(config)
        if not config.share_embedding and channels != config.num_input_channels:
            raise ValueError(
                f"it takes series of {config.num_input_channels} channels, and these have {channels}"
            )
        for part in model.modules():
            if hasattr(part, "num_input_channels"):
                part.num_input_channels = channels
        config = model.config
        config.num_input_channels, model.do_mask_input = channels, False
        model.masking = torch.nn.Identity()  # which hides patches at random, for its own training
        return PatchEncoder(model.float(), standardised)
