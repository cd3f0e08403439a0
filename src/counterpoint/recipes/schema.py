"""The recipe: the hyper-parameters of a training run, one frozen type that YAML, the command line and Python build."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..forms import ComputedField, Count, Fraction, Natural, NonNegative, Positive
from ..registry import unknown

Decay = Annotated[float, Field(ge=0, lt=1)]
"""Decay of a moving average: the share that stays at every step."""


Option = bool | int | float | str
"""Value of a method's option."""


class Section(BaseModel):
    """A part of a recipe: immutable, and a key it does not know is an error that names the nearest one.

    The text below a field is its help on the command line.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for key in values:
                if key not in cls.model_fields:
                    raise unknown(f"key in {cls.__name__.lower()}", str(key), cls.model_fields)
        return values


class Towers(Section):
    """The encoders, by modality: our own, or those of a library, as ``timm:NAME``.

    Sizes are those of towers that have none of their own: ``open_clip`` towers, and those of ``timm`` with weights,
    take pictures of the size that they were made for.
    """

    image: str = "cnn"
    """Tower of pictures (see: counterpoint list towers): cnn, vit; timm:NAME; open_clip:NAME@FOLDER."""
    text: str = "transformer"
    """Tower of texts: transformer, reader (both ways) or bag; transformers:NAME; pixels draws texts, for the tower of
    pictures to read."""
    audio: str = "mel"
    """Tower of sounds: mel, wav2vec2, or spectra, which does not know their order; transformers:NAME;
    timm:NAME, of spectrograms; resemblyzer:ge2e, of voices."""
    video: str = "frames"
    """Tower of clips: frames, or stills, which does not know their order; each frame through a tower like image."""
    series: str = "dilated"
    """Tower of series of measurements: dilated (convolutions) or transformer; fracast:fracast-0, of a forecaster."""
    table: str = "mlp"
    """Tower of a row of numbers and classes."""
    talk: str = "llama"
    """Tower of conversations: llama, mamba or mamba2, a small language model; transformers:PATH."""
    image_size: Count = 48
    """Height and width of pictures, and of the frames of clips, in pixels."""
    image_width: Count | None = None
    """Channels of the features of a built-in tower of pictures that has a choice, if not its own number."""
    image_layers: Count | None = None
    """Blocks of a vit, stages of a cnn, if not its own number."""
    image_patch: Count | None = None
    """Side in pixels of the patches of a vit, if not its own."""
    context: Count = 24
    """Tokens of a text that are read."""
    vocabulary: Count = 2048
    """Tokens that a tokenizer learns from the captions of training."""
    text_layers: Count | None = None
    """Layers of a transformer over texts, or of an open_clip text tower, if not their own number."""
    audio_rate: Count = 16_000
    """Samples a second of sounds."""
    audio_seconds: Positive = 5.0
    """Seconds of a sound that are heard."""
    audio_bands: Count = 64
    """Bands of frequency in mel and spectra."""
    video_frames: Count = 8
    """Frames of a clip that are seen."""
    series_steps: Count = 1000
    """Steps of a series that are seen."""
    talk_context: Count = 96
    """Tokens of a conversation that are read."""
    talk_exchanges: Count | Literal["whole"] = 1
    """Exchanges of a row that are read behind its pictures in a step of training, drawn anew in each epoch; each sees
    these and itself. With whole, all are read in their order, and each sees those in front of it, as for a model
    that is to learn from examples."""
    talk_width: Count = 128
    """Width of a small language model."""
    talk_layers: Count = 2
    """Layers of a small language model."""
    tune: Literal["full", "lora", "biases", "frozen"] | None = None
    """Parts of pretrained towers that are trained, where neither arm nor method says: all unless given."""
    keep: bool = False
    """Compute features of frozen towers, and of teachers, once for each picture and text, and keep them in the cache
    folder for all runs."""

    @property
    def names(self) -> dict[str, str]:
        """The names of towers, by modality."""
        return {
            name: getattr(self, name)
            for name in ("image", "text", "audio", "video", "series", "table", "talk")
        }

    def sizes(self, modality: str) -> dict[str, Any]:
        """Return what a tower of a modality goes by beside its name; of clips also the tower inside for their frames.

        >>> Towers().sizes("text")
        {'text_layers': None, 'context': 24, 'vocabulary': 2048}
        """
        image = ("image", "image_size", "image_width", "image_layers", "image_patch")
        further = {"text": ("context", "vocabulary"), "talk": ("vocabulary",), "video": image}.get(
            modality, ()
        )
        # How a model is trained is no size of it.
        fields = type(self).model_fields.keys() - {"talk_exchanges"}
        own = [name for name in type(self).model_fields if name in fields and name.startswith(f"{modality}_")]
        return {name: getattr(self, name) for name in (*own, *further)}


class Widths(Section):
    """Sizes of the heads that several methods have. CPU sizes by default; the papers' are in the GPU recipes."""

    embedding: Count = 256
    """Dimensions of the shared space."""
    local_hidden: Count = 512
    """Hidden units of the heads over places and words of the rocket family."""
    ssl_hidden: Count = 512
    """Hidden units of the heads that views of one picture, or of one text, are compared behind."""
    ssl_output: Count = 256
    """Dimensions behind these heads."""


class Optimizer(Section):
    """The optimiser; parameters with fewer than two axes (biases, norms, scales) are not decayed.

    Rates are not comparable: what is 0.002 for ``adamw`` is about 0.05 for ``sgd`` and a few units for ``lars``.
    """

    name: Literal["adamw", "sgd", "lars"] = "adamw"
    """AdamW, SGD with Nesterov's momentum, or LARS, whose step of a matrix follows its norm."""
    lr: Positive = 2e-3
    """Highest learning rate."""
    beta1: Decay = 0.9
    """Decay of the mean of gradients in adamw."""
    beta2: Decay = 0.98
    """Decay of the mean of their squares in adamw."""
    eps: Positive = 1e-8
    """Summand in the denominator of adamw."""
    momentum: Decay = 0.9
    """Momentum of sgd and lars."""
    weight_decay: NonNegative = 0.1
    """Decay of weights, times the learning rate, at every step."""
    warmup: Fraction = 0.1
    """Share of the steps in which the rate rises linearly; a cosine follows."""
    final_lr: Fraction = 0.01
    """Rate of the last step, as a share of lr."""
    clip_norm: NonNegative = 1.0
    """Most that the norm of all gradients may be; 0 for no limit."""


class Augmentation(Section):
    """Text and picture augmentation that the views read."""

    captions: Literal["each", "shared"] = "each"
    """Caption of an example with several: each text view draws its own, or all share one."""
    paired: str = "weak"
    """View of pictures and of clips that methods of pairs train on, where these say weak; with plain, rows of tables
    keep all their cells as well, and sounds and series are heard and seen as they were recorded."""
    contrasted: str = "simclr"
    """View of pictures that methods contrast with themselves, where these say simclr; or some of its changes alone,
    as in crop+mirror+colour+gray+blur."""
    stop_words: Fraction = 0.8
    """Probability that an edited text loses its stop words."""
    clean_text: bool = False
    """Mend the encoding of captions, resolve entities in them and lower their case first."""
    synonyms: bool = True
    """Replace words by synonyms in edited texts."""


class Parallel(Section):
    """The way in which several processes share a model."""

    mode: Literal["auto", "ddp", "fsdp"] = "auto"
    """With ddp each process has all of the model, and gradients travel while the backward pass goes on; auto is that.
    With fsdp each has a part of the blocks of the towers, of their gradients and of their moments."""


LEAST_STEPS = 100
"""Steps that follow from the data are never fewer: a warm-up and a learnt temperature need some."""


class Recipe(Section):
    """Everything a training run needs besides the method, the data and the seed.

    A run has ``steps`` steps. Unless given, they follow the data: ``epochs`` of it, in which no arm of the comparison
    passes more than ``most_passes`` pictures or texts through a tower. The number of steps is written into the run, and
    where it is given the other two mean nothing and are not kept.
    """

    towers: Towers = Towers()
    widths: Widths = Widths()
    optimizer: Optimizer = Optimizer()
    augmentation: Augmentation = Augmentation()
    parallel: Parallel = Parallel()
    options: Annotated[Mapping[str, Mapping[str, Option]], ComputedField()] = {}
    """Options of single methods, by the name of the method or its short name (``{"siamlip": {"hidden": 2048}}``); an
    arm's own go before them."""
    batch_size: Count = 256
    """Examples of a step, over all processes."""
    microbatch: Natural = 0
    """Examples that encoders see at a time (gradient caching): the same gradient in less memory, for one more forward
    pass; 0 for the whole batch."""
    recompute: bool = False
    """Keep the inputs of the blocks of trained towers alone, and compute the rest again in the backward pass."""
    compile: bool = False
    """Compile the blocks of towers (torch.compile)."""
    steps: Count | None = None
    """Steps of a run; unless given they follow from epochs and most-passes."""
    epochs: Positive = 45
    """Passes over the data of training."""
    most_passes: Count | None = None
    """Most pictures or texts that an arm passes through a tower."""
    precision: Literal["32", "bf16-mixed", "16-mixed"] = "32"
    """Numbers that towers, heads and losses compute with; weights and gradients stay float32, and under float16 the
    loss is scaled."""
    checkpoint_every: Count = 100
    """Steps between two checkpoints, at which a stopped run goes on."""
    log_every: Count = 10
    """Steps between two lines of numbers in metrics.parquet."""
    validate_every: Count = 100
    """Steps between two looks at the rows of validation."""
    workers: Natural = 0
    """Processes that prepare batches; with 0 the run's own does."""
    threads: Natural = 0
    """Threads that torch may use; 0 for as many as it takes by itself."""

    @model_validator(mode="before")
    @classmethod
    def _steps_say_all(cls, values: Any) -> Any:
        # Two recipes with the same number of steps are equal, whatever epochs and most_passes they state.
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
