"""An arm of a comparison, as it is written on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..data.columns import TEXT
from ..data.loading.samplers import NATURAL, streams
from ..modalities import MODALITIES, PAIR
from ..networks.libraries import modalities_of
from ..reasons import listing
from ..registry import unknown
from ..spec import Spec
from . import METHODS
from ._registry import TOWERS
from .fitting import fitting
from .head import loss_in_file, of_folder
from .needs import columns_asked
from .tower_names import say_taken, tower_names
from .whole_model import bridge_of, lend_bridge, parts_of, whole_model

if TYPE_CHECKING:
    from ..pairwise import Loss
    from ..recipes.schema import Recipe
    from ..types import Kind, Target
    from .base import Method
    from .tower_method import TowerMethod

TUNE = ("full", "lora", "biases", "frozen", "none")
"""Choices of what moves in pretrained towers: all, low-rank adapters, biases, nothing; ``none``: nothing in the whole
model."""


@dataclass(frozen=True)
class Arm:
    """A method with its options, pretrained towers, or a loss of the user's own.

    ========================================  ==============================================================
    ``clip``                                  a method
    ``slip,ssl_weight=0.5``                   options after commas
    ``lit,image=timm:resnet18@FILE``          ``image=`` and ``text=`` name other towers than the recipe's
    ``sft,lm=…,tune=lora,rank=16,dora=true``  low-rank updates of a language model, of a rank and a scale (``alpha``)
    ``open_clip:ViT-B-32@FILE,tune=lora``     CLIP from a pretrained pair; also ``timm:…``, ``transformers:…``,
                                              ``sentence-transformers:…``, of which some are pairs
    ``transformers:FOLDER``, ``FOLDER``       the same of a folder with its weights, as `counterpoint.load` takes it
    ``timm:resnet18@FILE,tune=none``          a pretrained tower as it is, on its column alone; of a pair
                                              ``open_clip:ViT-B-32@FILE,on=images,tune=none``
    ``sft,from=FOLDER``                       a method that goes on from a LLaVA of transformers, or ``tiny-vlm``
    ``clip,from=RUN``                         a method that goes on from a run of your own: from its towers
                                              and their sizes, its vocabulary, its heads
    ``cnn@RUN``                               CLIP from the image tower of a run of your own; so ``text=bag@RUN`` …
    ``dcl,temperature=0.1``                   a loss, on CLIP's towers and heads (see `SingleLoss`)
    ``dcl,on=images``                         the same loss on two views of each picture; so ``on=texts``, ``on=COLUMN``
    ``clip,columns=image+audio``              a method on other columns than the first ones that suit it
    ``dpo,worse=blind``                       a method that compares replies with the worse ones of a column: short for
                                              ``columns=image+talk+blind``
    ``supcon,labels=colour``                  a method that learns from another label than the run's
    ``supcon,on=images,sampler=balanced``     a method that learns from labels, of rows that come by their classes (see
                                              `counterpoint.data.loading.samplers`)
    ``coop,shots=4``                          a method that is trained on four rows of each class of the run's label
    ``textual-inversion,from=RUN``            new words of a painter, a run of ``painter``
    ``clip,from=RUN,wise=0.5``                the mean of the weights that it goes on from and of those that it comes to
    ``./my_loss.py:MyLoss,margin=0.2``        a loss from a file: an ``nn.Module`` called with unit-norm image
                                              and text embeddings that returns a number
    ========================================  ==============================================================

    Attributes:
        spec: the arm as it was written; ``Arm.parse(arm.spec)`` is the arm again.
        method: the name of the method, or of the loss that is made one.
        options: of the method, or of the loss; still text.
        towers: the names of towers by modality, where they differ from the recipe.
        tune: one of `TUNE`, or None where it was not given.
        loss: the file and the class of the user's loss.
        columns: those that the arm asks for; those that suit the method unless given.
        labels: the label that it learns from; the run's unless given.
        sampler: the way in which rows come to it; the method's own unless given.
        origin: the folder of a run, or of a checkpoint, that it goes on from; empty for none.
        shots: the rows of each class or tag that it is trained on; all unless given.
        wise: α of θ ← (1 − α) θ₀ + α θ after the last step, for an arm that continues from weights θ₀; None for no such
            mean.
    """

    spec: str
    method: str
    options: Mapping[str, str] = field(default_factory=dict)
    towers: Mapping[str, str] = field(default_factory=dict)
    tune: str | None = None
    loss: tuple[Path, str] | None = None
    columns: tuple[str, ...] = ()
    labels: str = ""
    sampler: str = ""
    origin: str = ""
    shots: int | None = None
    wise: float | None = None
    whole: Path | None = None

    @classmethod
    def parse(cls, text: str) -> Arm:
        """Read an arm, without loading torch unless it begins with a folder.

        >>> Arm.parse("slip,ssl_weight=0.5").options
        {'ssl_weight': '0.5'}

        Raises:
            UnknownNameError: for an unknown method, sampler or way of tuning; the message gives the nearest one.
            FileNotFoundError: for a loss whose file is not there.
            ValueError: for an option without a value or given twice.
        """
        spec = Spec.parse(text)
        head, options = spec.name, dict(spec.options)
        usual = TOWERS.get(head, {})
        towers = {**usual, **_towers(text, options)}
        columns, labels = columns_asked(text, options), options.pop("labels", "")
        tune, sampler, origin = options.pop("tune", None), options.pop("sampler", ""), options.pop("from", "")
        shots = _shots(text, options.pop("shots", None))
        wise = _wise(text, options.pop("wise", None))
        if (whole := whole_model(origin)) is not None:
            towers, origin = parts_of(f"arm {text!r}", whole, options, towers), ""
        if origin and not Path(origin).expanduser().is_dir() and (embedded := modalities_of(origin)):
            # A library's pair has no run to go on from: its towers are named.
            towers, origin = {**dict.fromkeys(embedded, origin), **towers}, ""
        if tune is not None and tune not in TUNE:
            raise unknown("way to tune", tune, TUNE)
        method, loss = "clip", None
        if head in METHODS:
            method, implied = METHODS.resolve(head)
            # What is written outweighs what a short name implies: siamlip-rocket,improved=false.
            options = {**implied, **options}
        elif embedded := modalities_of(head := of_folder(text, head)):
            towers = {**dict.fromkeys(embedded, head), **towers}
            if tune == "none" and 1 in (len(columns), len(towers)):
                # The tower's own features, as nothing would train a head.
                method, options, columns = "ntxent", {"head": "identity", **options}, columns or tuple(towers)
        elif ".py" in head:
            loss = loss_in_file(head)
        else:
            raise unknown("method", head, METHODS.names())
        if method == "lit" and tune is not None:
            raise ValueError(f"arm {text!r}: lit's mode says what is tuned; leave tune={tune} out")
        streams(sampler or NATURAL)  # an error here and not in a run
        return cls(
            str(spec),
            method,
            options,
            towers,
            tune,
            loss,
            columns,
            labels,
            sampler,
            origin,
            shots,
            wise,
            whole,
        )

    @property
    def label(self) -> str:
        """The arm as a reader is shown it: files without their folders.

        >>> Arm.parse("open_clip:ViT-B-32@/models/vit.pt,tune=lora").label
        'open_clip:ViT-B-32@vit.pt,tune=lora'
        """
        return Spec.parse(self.spec).label

    @property
    def slug(self) -> str:
        """The arm as a file name; different arms have different ones.

        >>> Arm.parse("slip,ssl_weight=0.5").slug
        'slip,ssl_weight=0.5'
        """
        return Spec.parse(self.spec).slug

    def reads(self, columns: Mapping[str, str] = PAIR) -> dict[str, str]:
        """Return the columns that the arm works on of those of the data, each with its modality.

        >>> Arm.parse("dcl,on=images").reads()
        {'image': 'image'}
        >>> Arm.parse("whitened-cse").reads()
        {'text': 'text'}

        Raises:
            UnknownNameError: for a column that the arm asks for and the data does not have.
            ValueError: if the columns are not what the method takes; the message names what to write.
        """
        try:
            return self.kind.needs.choose(Spec.parse(self.spec).name, columns, self.columns)
        except ValueError as error:
            if self.columns or not (others := fitting(columns)):
                raise
            raise ValueError(f"{error}; methods that fit such data: {', '.join(others)}") from None

    def embeds(self, columns: Mapping[str, str] = PAIR) -> dict[str, str]:
        """Return the columns that the arm's model embeds, each with its modality.

        Beside those that it reads, that is a column of the modality whose tower it takes over from another model.
        """
        reads = self.reads(columns)
        if self.kind.carries is None:
            return reads
        modality = self.kind.carries[1]
        return {**reads, next((name for name, of in columns.items() if of == modality), modality): modality}

    @property
    def incomplete(self) -> Literal["drop", "use"]:
        """Fate of rows that lack a column which the arm reads; see `Method`."""
        return self.kind.incomplete

    @property
    def default_label(self) -> str:
        """Name of the label that the method learns where nobody names one; empty for none."""
        return self.kind.default_label

    @property
    def learns_labels(self) -> bool:
        """True for a loss that needs a label of examples."""
        return self._loss is not None and self._loss.needs_labels

    @property
    def classifies(self) -> bool:
        """True for a method that says which class of its label an example is of; see `Classifier`.

        >>> Arm.parse("cross-entropy").classifies, Arm.parse("supcon,on=images").classifies
        (True, False)
        """
        from .classifying import Classifying

        return issubclass(self.kind, Classifying)

    @property
    def speaks(self) -> bool:
        """True for a method whose model replies to requests about pictures.

        >>> Arm.parse("sft").speaks, Arm.parse("clip").speaks
        (True, False)
        """
        from ._speaking import SpeakingMethod

        return issubclass(self.kind, SpeakingMethod)

    @property
    def draws_words(self) -> bool:
        """True for a method whose model draws new words.

        >>> Arm.parse("textual-inversion").draws_words, Arm.parse("painter").draws_words
        (True, False)
        """
        from ._personal import Personal

        return issubclass(self.kind, Personal)

    @property
    def learns(self) -> tuple[Kind, ...]:
        """Kinds of labels that it can learn from; none for a method that learns from no label."""
        if self._loss is not None:
            return self._loss.learns if self._loss.needs_labels else ()
        return self.kind.learns

    def learned(self, label: str = "") -> str:
        """Return the label that it learns from; empty for none.

        Args:
            label: that of the run; empty where the run names none.

        >>> Arm.parse("supcon,on=images").learned("species"), Arm.parse("moco").learned("species")
        ('species', '')
        """
        if not self.learns:
            return ""
        return self.labels or label or self.default_label or ("group" if self.learns_labels else "")

    @property
    def further(self) -> dict[str, tuple[Kind, ...]]:
        """Labels that it learns from beside that one, each with the kinds that it takes.

        >>> Arm.parse("luab").further, Arm.parse("luab,points=fixation").further, Arm.parse("cross-entropy").further
        ({'click': ('points',)}, {'fixation': ('points',)}, {})
        """
        parameters = signature(self.kind).parameters
        result: dict[str, tuple[Kind, ...]] = {}
        for option, kinds in self.kind.further.items():
            labels = self.options.get(option, parameters[option].default)
            # What must be given and is not is refused where the method is built.
            if labels is not Parameter.empty:
                result |= dict.fromkeys(filter(None, labels.split("+")), kinds)
        return result

    @property
    def _loss(self) -> type[Loss] | None:
        """The loss that is made a method; None for another method, and for a user's loss, which may be any module."""
        from ..pairwise import Loss

        known = METHODS.get(self.method) if self.loss is None else None
        return known if isinstance(known, type) and issubclass(known, Loss) else None

    @property
    def kind(self) -> type[Method]:
        """The class of the method; that of single losses for a loss."""
        from .base import Method
        from .single_loss import SingleLoss

        known = METHODS.get(self.method) if self.loss is None else None
        return known if known is not None and issubclass(known, Method) else SingleLoss

    def tunable(self) -> dict[str, tuple[float, float]]:
        """Return the options a search may draw, with their ranges; what the arm states itself is not among them."""
        from .base import Method
        from .options import read

        constructor = self._constructor()
        if isinstance(constructor, type) and issubclass(constructor, Method):
            ranges = constructor.searched(read(self.method, constructor, self._of_method(self.options)[0]))
        else:  # a loss of the user's own may say nothing
            ranges = getattr(constructor, "tunable", {})
        return {name: bounds for name, bounds in ranges.items() if name not in self.options}

    def build(
        self,
        recipe: Recipe,
        examples: Mapping[str, Any],
        seed: int,
        folder: Path | None = None,
        columns: Mapping[str, str] = PAIR,
        target: Target | None = None,
    ) -> TowerMethod:
        """Build the method at the start of a run.

        Initial weights depend on the seed and each module's name, so that arms start alike in what they
        share. A pretrained pair of towers with a common space starts as it is: its heads are the identity.

        Args:
            recipe: of the run.
            examples: a column to the raw form of its training rows, which a tokenizer is trained on where the text
                tower needs one.
            seed: of the initial weights.
            folder: of the run, where an earlier start may have left its tokenizer.
            columns: of the data, each with its modality.
            target: the label that a method which learns from labels learns from.

        Raises:
            UnknownNameError: for an unknown option or tower; the message gives the nearest one.
            ValueError: for a value an option cannot take, a loss that is none, ``tune`` with nothing
                pretrained, a sampler of a method that learns from no label, or a tower without what the method needs.
        """
        from ..files import run_of
        from ..networks import build_towers, tune
        from ..networks.init import initialise
        from ..networks.towers.trained import CheckpointWeights
        from ..networks.weights import is_restored
        from . import assemble
        from .dual_encoder import begin_as_identity
        from .options import read
        from .origin import lend_heads, lend_towers
        from .pretrained import as_wide, check_bare, check_bridge, check_pretrained, is_pair, pretrained

        constructor = self._constructor()
        kind = self.method if self.loss is None else self.loss[1]
        way = self.tune or recipe.towers.tune
        of_method, low_rank = self._of_method(self.stated(recipe), way)
        if self.whole is not None and "bridge" in signature(constructor).parameters:
            of_method = {**of_method, "bridge": bridge_of(self.whole)}
        of_painter = self.loss is None and "painter" in signature(constructor).parameters
        if of_painter and self.origin:  # it has the weights of a network, and no towers
            of_method = {"painter": self.origin, **of_method}
        options = read(kind, constructor, of_method)
        reads, embeds = self.reads(columns), self.embeds(columns)
        built = {**embeds, TEXT: TEXT} if self.kind.names and TEXT not in embeds.values() else embeds
        named = tower_names(
            self.towers,
            self.asked(recipe),
            recipe.towers.names,
            (built if self.kind.names else reads).values(),
        )
        before = Path(self.origin) if self.origin and not (of_painter or is_restored()) else None
        if self.kind.names and not (
            is_restored() or before or all("@" in named.get(it, "") for it in built.values())
        ):
            raise ValueError(
                f"arm {self.spec!r} adapts a pair of towers that is trained already: name it with --from MODEL, or in "
                "the arm with from=MODEL, a run's folder or a library's pair, for example open_clip:ViT-B-32@FILE"
            )
        towers = build_towers(
            recipe.towers,
            examples,
            seed,
            columns=built,
            names=named,
            folder=folder,
            origin=before and run_of(before),
        )
        weights = before and CheckpointWeights.of_run(before, f"arm {self.spec!r}")
        lent = lend_towers(weights, towers, named, f"arm {self.spec!r}") if weights else {}
        if not is_restored():
            for modality in named.keys() - self.towers.keys():
                say_taken(self.spec, modality, named[modality])
        tuned = {
            c: it for c, it in towers.items() if it.modality in (self.kind.tuned_modalities or reads.values())
        }
        if self.tune is not None:
            check_pretrained(tuned, self.tune, f"arm {self.spec!r}")
        pair = is_pair(towers)
        if pair:
            recipe = as_wide(recipe, towers)
        # Before the method is built: momentum copies are made of towers that have adapters, or are frozen, already.
        if way is not None and self.method != "lit":
            for tower in pretrained(tuned):
                tune(tower, "frozen" if way == "none" else way, seed=seed, **low_rank)
        try:
            method = assemble(kind, constructor, towers, recipe, target, **options)
        except LookupError as error:
            if type(error) is not LookupError:  # no tower that lacks something, but a mistake
                raise
            raise ValueError(
                f"arm {self.spec!r}: {error}: take a tower that has them, as --towers.image cnn or --towers.text "
                "transformer"
            ) from error
        initialise(method, seed)
        if pair:
            begin_as_identity(method)  # after all weights are drawn
        heads = lend_heads(weights, method, lent, self.options) if weights else set()
        if self.whole is not None and not is_restored():
            lend_bridge(method, self.whole, f"arm {self.spec!r}")
        if (
            before
            and self.kind.names
            and (missing := {f"projections.{name}" for name in method.projections} - heads)
        ):
            raise ValueError(
                f"arm {self.spec!r}: the run that it goes on from has no linear layers of "
                f"{listing(sorted(name.rpartition('.')[2] for name in missing))} into a common space, so that it "
                "cannot compare examples with names"
            )
        if self.wise is not None and not is_restored():
            if method.closed or not (before or pretrained(towers)):
                raise ValueError(
                    f"arm {self.spec!r}: wise={self.wise:g} blends the weights that an arm continues from with those "
                    "that it comes to, and this one continues from none: give from=RUN or a pretrained tower"
                )
            method.wise = self.wise
        if self.sampler:
            method.sampler = self._sampler(constructor)
        if self.tune == "none":
            if not (pair or self.origin or self.whole):
                check_bare(method, f"arm {self.spec!r}")
            if before and self.speaks:
                check_bridge(method, heads, f"arm {self.spec!r}")
            method.requires_grad_(False)
        return method

    def asked(self, recipe: Recipe) -> list[str]:
        """Return what its options ask of the towers, one of which must have it: properties of `Tower`."""
        stated = {"": "1", **self.stated(recipe)}
        return [what for option, what in self.kind.asks.items() if float(stated.get(option, 0))]

    def stated(self, recipe: Recipe) -> dict[str, str]:
        """Return the options that somebody gave: the arm, or else a recipe for this method; still text.

        Those of the recipe for the arm's short name come before those for the method that it stands for.

        Raises:
            UnknownNameError: for a method in the recipe's options that there is not.
        """
        for name in recipe.options:
            if name not in METHODS:
                raise unknown("method in the recipe's options", name, METHODS.names())
        if self.loss is not None:
            return dict(self.options)
        # The short name last: it says more than the method that it stands for.
        names = (self.method, Spec.parse(self.spec).name)
        of_recipe = {
            option: value for name in names for option, value in recipe.options.get(name, {}).items()
        }
        return {option: str(value) for option, value in of_recipe.items()} | dict(self.options)

    def _sampler(self, constructor: Any) -> str:
        """Return the sampler that the arm asks for, of a method that can learn from a label."""
        learns = self.loss or self.learns_labels or "target" in signature(constructor).parameters
        if not learns and self.sampler != NATURAL:
            raise ValueError(
                f"arm {self.spec!r}: {self.method} learns from no label, and sampler={self.sampler} goes by the "
                "classes of one; leave it out"
            )
        return self.sampler

    def check_options(self) -> None:
        """Refuse options that the method does not take, before any data is read.

        Raises:
            UnknownNameError: for an option that the method does not have; the message gives the nearest one.
            ValueError: for a value of another type.
        """
        from .options import read

        of_method, _ = self._of_method(self.options)
        read(self.method if self.loss is None else self.loss[1], self._constructor(), of_method)

    def _of_method(
        self, options: Mapping[str, str], way: str | None = "lora"
    ) -> tuple[dict[str, str], dict[str, Any]]:
        """Return the options of the method itself, and those of low-rank updates where towers are tuned that way."""
        from .low_rank import split_low_rank

        way = self.tune or way
        return split_low_rank(f"arm {self.spec!r}", self._constructor(), options, way)

    def _constructor(self) -> Any:
        if self.loss is None:
            return METHODS.get(self.method)
        from .user_loss import load_loss

        return load_loss(*self.loss)


def _towers(arm: str, options: dict[str, str]) -> dict[str, str]:
    """Take the names of towers out of an arm's options, by modality."""
    towers: dict[str, str] = {}
    for modality in MODALITIES:
        names = [name for name in (modality.name, modality.option) if name in options]
        if len(names) > 1:
            raise ValueError(f"arm {arm!r}: {' and '.join(names)} name the same tower: leave one out")
        if names:
            towers[modality.name] = options.pop(names[0])
    return towers


def _shots(arm: str, text: str | None) -> int | None:
    """Return the number of shots that an arm asks for; None where it asks for none.

    >>> _shots("coop,shots=0", "0")
    Traceback (most recent call last):
    ...
    ValueError: arm 'coop,shots=0': shots must be a whole number of at least 1, got '0'
    """
    if text is not None and not (text.isdecimal() and int(text)):
        raise ValueError(f"arm {arm!r}: shots must be a whole number of at least 1, got {text!r}")
    return None if text is None else int(text)


def _wise(arm: str, text: str | None) -> float | None:
    """Return the share of what it learns that an arm ends with; None where it states none.

    >>> _wise("clip,wise=2", "2")
    Traceback (most recent call last):
    ...
    ValueError: arm 'clip,wise=2': wise must be a number from 0 to 1, got '2'
    """
    if text is None:
        return None
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueError(f"arm {arm!r}: wise must be a number from 0 to 1, got {text!r}")
    return share


def is_fixed(spec: str) -> bool:
    """Return whether nothing in an arm's whole model is trained, so that the arm is the same under every seed.

    >>> is_fixed("open_clip:ViT-B-32@FILE,tune=none"), is_fixed("open_clip:ViT-B-32@FILE,tune=frozen")
    (True, False)
    """
    return ("tune", "none") in Spec.parse(spec).options.items()
