"""The recipe: the hyper-parameters of a training run, one frozen type that YAML, the command line and Python build."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..forms import Count, Derived, Fraction, Natural, NonNegative, Positive
from ..registry import unknown

Decay = Annotated[float, Field(ge=0, lt=1)]
"""Decay of a moving average: the share that stays at every step."""


Option = bool | int | float | str
"""Value of a method's option."""


class Section(BaseModel):
    """A part of a recipe: immutable, and a key it does not know is an error that names the nearest one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for key in values:
                if key not in cls.model_fields:
                    raise unknown(f"key in {cls.__name__.lower()}", str(key), cls.model_fields)
        return values


class Towers(Section):
    """The encoders, by modality: ``cnn`` or ``vit`` of pictures, ``transformer`` of texts, ``timm:NAME`` …

    With ``pixels`` texts are drawn and read by the tower of pictures itself. ``image_size`` is for towers without a
    size of their own; those of ``open_clip``, and of ``timm`` with weights, take pictures of the size that they were
    made for. ``text_layers`` makes a ``transformer`` or an ``open_clip`` text tower another number of layers deep.
    Sounds are read at ``audio_rate`` samples a second; a tower hears ``audio_seconds`` of each, and ``mel`` and
    ``spectra`` have ``audio_bands`` bands. A tower sees ``video_frames`` frames of a clip, each as large as a picture
    and through a tower of pictures like ``image``. It sees ``series_steps`` steps of a series. ``tune`` says what moves
    in pretrained towers, where neither arm nor method does. With ``keep`` features of frozen towers are computed once
    for each picture and text, and kept in the cache folder for all runs.
    """

    image: str = "cnn"
    text: str = "transformer"
    audio: str = "mel"
    video: str = "frames"
    series: str = "dilated"
    table: str = "mlp"
    image_size: Count = 48
    context: Count = 24
    vocabulary: Count = 2048
    text_layers: Count | None = None
    audio_rate: Count = 16_000
    audio_seconds: Positive = 5.0
    audio_bands: Count = 64
    video_frames: Count = 8
    series_steps: Count = 1000
    tune: Literal["full", "lora", "biases", "frozen"] | None = None
    keep: bool = False

    @property
    def names(self) -> dict[str, str]:
        """The names of towers, by modality."""
        return {name: getattr(self, name) for name in ("image", "text", "audio", "video", "series", "table")}


class Widths(Section):
    """Sizes of the heads that several methods have. CPU sizes by default; the papers' are in the GPU recipes."""

    embedding: Count = 256
    local_hidden: Count = 512
    ssl_hidden: Count = 512
    ssl_output: Count = 256


class Optimizer(Section):
    """The optimiser; parameters with fewer than two axes (biases, norms, scales) are not decayed.

    ``name``: ``adamw``, ``sgd`` with Nesterov's ``momentum``, or ``lars``, whose step of a matrix follows its norm.
    The first alone reads ``beta1``, ``beta2`` and ``eps``, the others ``momentum``. Rates are not comparable: what is
    0.002 for ``adamw`` is about 0.05 for ``sgd`` and a few units for ``lars``.
    """

    name: Literal["adamw", "sgd", "lars"] = "adamw"
    lr: Positive = 2e-3
    beta1: Decay = 0.9
    beta2: Decay = 0.98
    eps: Positive = 1e-8
    momentum: Decay = 0.9
    weight_decay: NonNegative = 0.1
    warmup: Fraction = 0.1
    final_lr: Fraction = 0.01
    clip_norm: NonNegative = 1.0


class Augmentation(Section):
    """Text and picture augmentation that the views read.

    ``captions``: whether each text view of an example draws a caption of its own, or all share one.
    ``paired``: the view of pictures and of clips that methods of pairs train on, where these say ``weak``.
    ``contrasted``: the view of pictures that methods contrast with themselves, where these say ``simclr``.
    """

    captions: Literal["each", "shared"] = "each"
    paired: str = "weak"
    contrasted: str = "simclr"
    stop_words: Fraction = 0.8
    clean_text: bool = False
    synonyms: bool = True


class Parallel(Section):
    """The way in which several processes share a model.

    ``mode``: with ``ddp`` each has all of it, and gradients travel while the backward pass goes on; ``auto`` is that.
    With ``fsdp`` each has a part of the blocks of the towers, of their gradients and of their moments.
    """

    mode: Literal["auto", "ddp", "fsdp"] = "auto"


LEAST_STEPS = 100
"""Steps that follow from the data are never fewer: a warm-up and a learnt temperature need some."""


class Recipe(Section):
    """Everything a training run needs besides the method, the data and the seed.

    With ``precision`` ``"bf16-mixed"`` or ``"16-mixed"`` towers, heads and losses run under autocast, on every device;
    weights and gradients stay float32, and under float16 the loss is scaled.
    With ``microbatch`` N > 0 encoders see N examples at a time (gradient caching): the same gradient in less
    memory, for one more forward pass. With ``recompute`` the blocks of trained towers keep their inputs alone, and
    compute the rest again in the backward pass. With ``compile`` the blocks of towers are compiled (``torch.compile``).

    ``options`` are options of single methods, by the name of the method or its short name (``{"siamlip": {"hidden":
    2048}}``); what an arm states itself goes before them.

    A run has ``steps`` steps. Unless given, they follow the data: ``epochs`` of it, in which no arm of the comparison
    passes more than ``most_passes`` pictures or texts through a tower. The number of steps is written into the run, and
    where it is given the other two mean nothing and are not kept.
    """

    towers: Towers = Towers()
    widths: Widths = Widths()
    optimizer: Optimizer = Optimizer()
    augmentation: Augmentation = Augmentation()
    parallel: Parallel = Parallel()
    options: Annotated[Mapping[str, Mapping[str, Option]], Derived()] = {}
    batch_size: Count = 256
    microbatch: Natural = 0
    recompute: bool = False
    compile: bool = False
    steps: Count | None = None
    epochs: Positive = 45
    most_passes: Count | None = None
    precision: Literal["32", "bf16-mixed", "16-mixed"] = "32"
    checkpoint_every: Count = 100
    log_every: Count = 10
    validate_every: Count = 100
    workers: Natural = 0
    threads: Natural = 0

    @model_validator(mode="before")
    @classmethod
    def _steps_say_all(cls, values: Any) -> Any:
        # Recipes with the same steps are the same recipe, those of earlier versions too, which had nothing else.
        if isinstance(values, dict) and values.get("steps") is not None:
            return {key: value for key, value in values.items() if key not in ("epochs", "most_passes")}
        return values

    @property
    def total_steps(self) -> int:
        """The number of steps.

        Raises:
            ValueError: where it follows the data and was not written in yet.
        """
        if self.steps is None:
            raise ValueError(
                "this recipe's steps follow the data: give steps, or take them from steps_for(...)"
            )
        return self.steps

    def steps_for(self, rows: int, batch_size: int, passes: float) -> int:
        """Return ``steps``, or those that follow the data: E ⌊N/B⌋, at most P / (B v), at least `LEAST_STEPS`.

        E is ``epochs``, P ``most_passes``.

        Args:
            rows: N, the examples to train on.
            batch_size: B, the examples of a step.
            passes: v, the passes of an example through a tower at a step, of the arm that has most.

        >>> Recipe(epochs=10).steps_for(rows=6400, batch_size=64, passes=1)
        1000
        >>> Recipe(epochs=10, most_passes=64_000).steps_for(rows=6400, batch_size=64, passes=3)
        333
        """
        if self.steps is not None:
            return self.steps
        steps = round(self.epochs * (rows // batch_size))
        if self.most_passes is not None:
            steps = min(steps, int(self.most_passes // (batch_size * passes)))
        return max(steps, LEAST_STEPS)
