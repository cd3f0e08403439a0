"""The encoder of series of ``transformers``: PatchTST."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ....registry import unknown
from ...init import seeded
from ...weights import TowerSource
from ..series import SeriesTower, Standardised
from .hugging_face import ModelFiles
from .whole_model import whole_model

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
