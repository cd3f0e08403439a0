"""The encoder of the forecaster Fracast-0 for series of any channels: tower and loading."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from safetensors.torch import load_file
from torch import Tensor, nn

from ..networks.init import seeded
from ..networks.towers.build import Start
from ..networks.towers.parts.temporal import before
from ..networks.towers.series import SeriesTower, Standardised
from ..networks.weights import TowerSource
from ..raw import ends
from ._packaged import weights_file
from ._pretrained import PackageLoader

STEPS = 2048
"""Steps of what it sees, whatever a series has."""
_WIDTH, _HIDDEN, _SCALES, _PERIODS = 64, 96, 10, 4
_SIGNIFICANT = 0.05
"""The chance at which noise would have a period, among all that are looked at."""
_ROWS = 16
"""Channels at a time, for the memory."""
_NAMES = {
    "core.in_proj.": "stem.",
    "core.periodic.proj.": "phase.",
    "core.block.dw_": "depthwise.",
    "core.block.pw.": "pointwise.",
    "core.block.ffn.": "",
    "core.block.": "",
    "core.scale.to_gb.": "scale.",
    "core.": "",
}
"""The starts of the names of weights in its file, and those here."""


class _Encoder(nn.Module):
    """One block of causal convolution at ten scales, told of the time before now and of a series' own periods."""

    recency: Tensor
    scales: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(7, _WIDTH)
        self.phase = nn.Linear(2 * _PERIODS, _WIDTH)
        self.depthwise = nn.Conv1d(_WIDTH, _WIDTH, 3, groups=_WIDTH)
        self.pointwise = nn.Linear(_WIDTH, _WIDTH)
        self.up, self.down = nn.Linear(_WIDTH, 2 * _HIDDEN), nn.Linear(_HIDDEN, _WIDTH)
        self.norm1, self.norm2, self.norm = (nn.RMSNorm(_WIDTH) for _ in range(3))
        self.scale = nn.Linear(8, 2 * _WIDTH)
        ago = 1 - torch.arange(1, STEPS + 1) / STEPS
        fading = [torch.exp(-rate * ago) for rate in (0.5, 2.0, 8.0)]
        recency = torch.stack([-ago, -torch.log1p(ago) / math.log(2.0), *fading], 1)
        angles = torch.arange(_SCALES)[:, None] / 2.0 ** torch.arange(4) * math.pi
        self.register_buffer("recency", recency, persistent=False)
        self.register_buffer("scales", torch.cat([angles.sin(), angles.cos()], 1), persistent=False)

    def forward(
        self, values: Float[Tensor, "n steps"], known: Bool[Tensor, "n steps"]
    ) -> Float[Tensor, "n steps width"]:
        """Return a state of each step, which sees those before it.

        Args:
            values: from 0 to 1; 0 where nothing was measured.
            known: where something was.
        """
        given = torch.stack([values, known.to(values.dtype)], 2)
        x = self.stem(torch.cat([given, self.recency.expand(len(values), -1, -1)], 2))
        x = x + self.phase(_phases(values, known))
        for power, of_scale in enumerate(self.scale(self.scales)):
            stretch, shift = of_scale.chunk(2)
            x = x * (1.0 + stretch) + shift
            before_it = F.pad(x.mT, (2 * 2**power, 0))
            seen = F.conv1d(
                before_it, self.depthwise.weight, self.depthwise.bias, dilation=2**power, groups=_WIDTH
            )
            x = self.norm1(x + self.pointwise(seen.mT))
            gate, value = self.up(x).chunk(2, -1)
            x = self.norm2(x + self.down(F.silu(gate) * value))
        return self.norm(x)


@torch.no_grad()
def _phases(
    values: Float[Tensor, "n steps"], known: Bool[Tensor, "n steps"]
) -> Float[Tensor, "n steps waves"]:
    """Return the sine and the cosine of each step in each period of a series; 0 of those that it has not."""
    periods = _periods(values, known)[:, None, :, None]
    steps = torch.arange(STEPS, device=values.device)[None, :, None, None]
    phase = 2 * math.pi * steps / periods.clamp_min(1)
    return (torch.cat([phase.sin(), phase.cos()], 3) * (periods > 0)).flatten(2)


def _periods(values: Float[Tensor, "n steps"], known: Bool[Tensor, "n steps"]) -> Int[Tensor, "n periods"]:
    """Return the periods of a series, the strongest first: peaks of the periodogram that noise would hardly have."""
    mean = values.sum(1, keepdim=True) / known.sum(1, keepdim=True).clamp_min(1)
    power = torch.fft.rfft(torch.where(known, values - mean, 0.0)).abs().square()[:, 1:]
    share = power / power.sum(1, keepdim=True).clamp_min(1e-12)
    here, bins = share[:, 1:-1], share.shape[1]
    peak = (here > share[:, :-2]) & (here > share[:, 2:]) & (here >= math.log(bins / _SIGNIFICANT) / bins)
    found, places = here.masked_fill(~peak, -torch.inf).topk(_PERIODS)
    return torch.round(STEPS / (places + 2)).long().masked_fill(found.isinf(), 0)


@final
class Forecaster(SeriesTower):
    """Fracast-0 without its head: each channel by itself, read as the mean of the states of all steps.

    Channels are scaled from 0 to 1, so that neither level nor unit matters. A series ends at the last of 2,048 steps;
    what is before it counts as not measured, and costs as much. A channel in which nothing was measured is left out.

    Args:
        standardised: its input.

    Source: fracast 0.1.0 (Apache-2.0), whose periods are those of TinyCast (arXiv 2608.15767).
    """

    def __init__(self, standardised: Standardised) -> None:
        super().__init__()
        self.standardised, self.width = standardised, _WIDTH
        self.encoder = _Encoder()
        self.weights_set = True

    def forward(self, series: Float[Tensor, "B T C"]) -> Float[Tensor, "B width"]:
        return self.states(series).sum(1) / ends(series).clamp_min(1)[:, None]

    def states(self, series: Float[Tensor, "B T C"]) -> Float[Tensor, "B T width"]:
        lengths, (count, times, channels) = ends(series), series.shape
        rows = series.mT.flatten(0, 1)
        own = lengths.repeat_interleave(channels)[:, None]
        known, rows = ~rows.isnan(), rows.nan_to_num(0.0)
        low = rows.masked_fill(~known, torch.inf).amin(1, keepdim=True)
        span = rows.masked_fill(~known, -torch.inf).amax(1, keepdim=True) - low
        scaled = torch.where(known, (rows - low) / span.clamp_min(1e-5), 0.0)
        there = known.any(1)
        # Every series ends where the context does.
        places = torch.arange(STEPS, device=rows.device) - STEPS + own
        inside = places >= 0
        places = places.clamp(0, times - 1)
        scaled, known = scaled.gather(1, places) * inside, known.gather(1, places) & inside
        back = (torch.arange(times, device=rows.device) + STEPS - own).clamp_max(STEPS - 1)
        groups = (torch.split(part[there], _ROWS) for part in (scaled, known, back))
        states = rows.new_zeros(len(rows), times, _WIDTH)
        if there.any():
            seen = [
                self.encoder(values, measured).gather(1, at[..., None].expand(-1, -1, _WIDTH))
                for values, measured, at in zip(*groups, strict=True)
            ]
            states[there] = torch.cat(seen).to(states.dtype)
        mean = states.view(count, channels, times, _WIDTH).sum(1)
        mean = mean / there.view(count, channels).sum(1).clamp_min(1)[:, None, None]
        return mean * before(lengths, times)[..., None]


def forecaster(source: TowerSource, steps: int, seed: int, fit: Callable[[int], Standardised]) -> Forecaster:
    """Build ``fracast:fracast-0``: random; ``@package``: weights of the package fracast; ``@PATH``: a file like it.

    Args:
        source: the tower's name.
        steps: of a series that it sees, at most 2,048.
        seed: of random weights.
        fit: makes the input of so many steps.

    Raises:
        UnknownNameError: for another model.
        MissingPackageError: if the package is not installed.
        ValueError: for weights that are missing, broken or incomplete, and for those of a package that is not the known
            one.
    """
    path = weights_file(source)
    with source.reading(), seeded(seed, f"{source.library}:{source.name}"):
        tower = Forecaster(fit(min(steps, STEPS)))
        if path is not None:
            kept = load_file(path)
            tower.encoder.load_state_dict(
                {_own_name(name): value for name, value in kept.items() if name.startswith("core.")}
            )
        return tower


def _own_name(name: str) -> str:
    start = next(start for start in _NAMES if name.startswith(start))
    return _NAMES[start] + name.removeprefix(start)


class FracastLoader(PackageLoader):
    """The encoder of series of fracast, of 26 thousand weights and 64 features."""

    form: ClassVar[str] = "fracast:fracast-0@package or fracast:fracast-0@PATH"
    library = "fracast"
    modalities = ("series",)
    packages: ClassVar[Mapping[str, Mapping[str, str | bool]]] = {
        "fracast-0": {
            "module": "fracast",
            "distribution": "fracast",
            "extra": "series",
            "model": "weights/model.safetensors",
            "weights": "weights/model.safetensors",
            "sha256": "0d678f123f3d1f91c5065cca2b5d40eccc469360afc2381b27290486011ded2c",
        }
    }

    def build(self, modality: str, source: TowerSource, start: Start) -> Forecaster:
        def fit(steps: int) -> Standardised:
            columns = [column for column in start.examples() if column is not None]
            # It scales each series itself, so it can be loaded as it is, without training rows.
            return Standardised.fit(columns, steps) if columns else Standardised.as_measured(steps)

        def fitted(steps: int) -> Standardised:
            return start.fitted(Standardised, lambda: fit(steps))

        return forecaster(source, start.sizes.series_steps, start.seed, fitted)
