"""A vision-language model that answers prompts in words, decoded by any method of this room."""

from __future__ import annotations

import inspect
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..forms import Count, Positive, Share
from ..ranges import Checked
from ..types import Prompt
from .branch import Support
from .completion import complete_hidden
from .description import Description, describe
from .first_words import Combined, first_tokens
from .generate import OWN, Cost
from .likelihood import tokens_log_p
from .method import Decoding, SumOfMethods
from .methods.plain import Plain
from .methods.ritual import Ritual
from .prompts import chat_text, digest_of, image_of, messages_of, pictures_of, tensor_of
from .rule import PlausibilityOnly
from .sampling import HIDING, SamplingProcessor, generators_of

DESCRIBING = "describing"
"""Name of the descriptions that a method needs, in the cost report."""
DESCRIBE = (
    "Describe everything that can be seen in this picture in detail, so that any question can be answered."
)
DESCRIBED = "The input image is described as follows: {description} {question}"
_WITHOUT_PICTURES = {"leading", "without_examples"}
"""Further prompts that differ in words: all other branches are made from a picture."""
_KEPT = 256  # descriptions that are remembered

Prompts = Sequence[Prompt]


@final
class VisionLanguageAssistant(Checked):
    """A vision-language model of transformers and its processor as a `counterpoint.types.Assistant`.

    Everything that a method needs beside a prompt is made from the prompt: ``ritual`` gets the picture transformed;
    ``code`` and ``vdgd`` a description by the model, made once a picture, which ``vdgd`` also reads before the
    question; ``mvcd`` the prompt without its turns; ``lqcd`` decodes the prompt's neutral form and contrasts it with
    the prompt as it is. A prompt without any picture is decoded plainly by methods that change the picture.

    Sampling draws by noise of a prompt's own, from the seed and what the prompt says and shows: the same prompt and
    seed give the same reply whichever prompts stand beside it, up to the rounding of a padded batch, and two
    methods draw alike where their distributions are the same.

    Args:
        model: takes pixels and generates.
        processor: of the model, with a chat template.
        decoding: None decodes plainly.
        do_sample: samples; else the likeliest token is taken.
        temperature, top_p: of the sampling.
        max_new_tokens: where a reply is cut off.
        batch_size: prompts that are decoded at once.
        description_prompt: asks for the description that ``code`` and ``vdgd`` need.
        description_tokens: where it is cut off.

    Attributes:
        cost: of all calls so far, None before the first: passes of each branch and of describing, where ``"own"`` is
            what plain decoding takes. Set it to None to count anew.

    Raises:
        ValueError: for a text-only model, a processor without pictures or without a chat template, and options out of
            range.

    Example::

        assistant = VisionLanguageAssistant.load(path, VisualContrastive(), max_new_tokens=16)
        assistant.reply([Prompt("Is there a cat in the picture? Answer yes or no.", read_picture("cat.png"))])
    """

    cost: Cost | None = None

    def __init__(
        self,
        model: Any,
        processor: Any,
        decoding: Decoding | None = None,
        *,
        do_sample: bool = False,
        temperature: Positive = 1.0,
        top_p: Share = 1.0,
        max_new_tokens: Count = 64,
        batch_size: Count = 16,
        description_prompt: str = DESCRIBE,
        description_tokens: Count = 256,
    ) -> None:
        _check_parts(model, processor)
        self.model, self.processor = model.eval(), processor
        self.decoding: Decoding = Plain() if decoding is None else decoding
        self.do_sample, self.temperature, self.top_p = do_sample, temperature, top_p
        self.max_new_tokens, self.batch_size = max_new_tokens, batch_size
        self.description_prompt, self.description_tokens = description_prompt, description_tokens
        self._described: OrderedDict[bytes, Description] = OrderedDict()
        self._makers: dict[str, Callable[[Prompts, Prompts], Any]] = {
            "leading": lambda prompts, own_prompts: self.inputs(prompts),
            "without_examples": lambda prompts, own_prompts: self.inputs(
                [replace(prompt, turns=()) for prompt in own_prompts]
            ),
            "transformed": lambda prompts, own_prompts: self.inputs(
                [self._transformed(prompt) for prompt in own_prompts]
            ),
            "description": lambda prompts, own_prompts: self._descriptions(prompts),
        }

    @classmethod
    def load(
        cls, name: str | Path, decoding: Decoding | None = None, *, device: str | None = None, **options: Any
    ) -> Self:
        """Load a model that was saved with its processor, or that the Hugging Face hub has.

        Args:
            name: a folder, or the name of a model on the hub.
            decoding: None decodes plainly.
            device: where it runs; a GPU if there is one, unless given.
            options: see the class.

        Raises:
            ValueError: for a model that is no vision-language model, and as the class says.
            OSError: where there is no such model.
        """
        from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

        kind = AutoConfig.from_pretrained(name).model_type
        try:
            with _no_bars() if Path(name).is_dir() else nullcontext():  # a download shows its progress
                model = AutoModelForImageTextToText.from_pretrained(name)
        except ValueError as error:
            if "Unrecognized configuration class" not in str(error):
                raise
            raise ValueError(
                f"{name} is a {kind} model, which writes nothing about pictures; give a vision-language model, one "
                "that transformers loads with AutoModelForImageTextToText"
            ) from error
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        return cls(model.to(device), AutoProcessor.from_pretrained(name), decoding, **options)

    def reply(self, prompts: Prompts, *, seed: int = 0) -> list[str]:
        """Return a reply to each prompt, without special tokens.

        Args:
            prompts: what is asked.
            seed: of the sampling; without effect where the likeliest token is taken.

        Raises:
            ValueError: where the method needs what a prompt does not give, or the processor makes no pixels.
        """
        replies = [""] * len(prompts)
        for indices in self._batches(prompts):
            batch = [prompts[index] for index in indices]
            generators = generators_of(batch, seed)
            drawn = [SamplingProcessor(self.temperature, self.top_p, generators)] if self.do_sample else []
            tokens = self._generate(batch, self._method(batch), self.max_new_tokens, drawn)
            texts = self.processor.batch_decode(tokens, skip_special_tokens=True)
            for index, text in zip(indices, texts, strict=True):
                replies[index] = text.strip()
        return replies

    def complete(
        self, prompts: Prompts, beginnings: Sequence[str], *, hidden: float = 0.0, seed: int = 0
    ) -> list[str]:
        """Return what follows the beginning of each reply, decoded plainly while tokens of the picture are hidden.

        Args:
            prompts: what is asked.
            beginnings: of the replies; an empty one for a whole reply.
            hidden: share of the pictures' tokens that no text attends to in any layer, drawn for each prompt.
            seed: of the draws, and of the sampling.

        Raises:
            ValueError: for a model whose positions or picture tokens are not known.
        """
        texts = [""] * len(prompts)
        for indices in self._batches(prompts):
            batch = [prompts[index] for index in indices]
            inputs = self.inputs(batch, [beginnings[index] for index in indices])
            sampling = SamplingProcessor(self.temperature, self.top_p, generators_of(batch, seed))
            tokens, passes = complete_hidden(
                self.model,
                inputs,
                hidden=hidden,
                generators=generators_of(batch, seed + HIDING),
                max_new_tokens=self.max_new_tokens,
                drawn=[sampling] if self.do_sample else [],
            )
            self._spend({OWN: passes}, {OWN: len(batch) * (inputs["input_ids"].shape[1] + passes - 1)})
            written = self.processor.batch_decode(tokens, skip_special_tokens=True)
            for index, text in zip(indices, written, strict=True):
                texts[index] = text.strip()
        return texts

    def word_logits(self, prompts: Prompts, words: Sequence[str]) -> Float[Tensor, "n w"]:
        """Compute how strongly each word begins the reply, by the method's combined logits at the reply's first place.

        The plausibility rule is left out: it would leave no word where all are unlikely.

        Args:
            prompts: what is asked.
            words: each with a small or a capital first letter; the probabilities of both add up.

        Raises:
            ValueError: if two words begin with the same token, or one with none.
        """
        tokens = first_tokens(self.processor, words)
        result = torch.zeros(len(prompts), len(words))
        for indices in self._batches(prompts):
            batch = [prompts[index] for index in indices]
            combined = Combined(self._method(batch))
            self._generate(batch, combined, 1, [])
            of_words = [combined.logits[:, ids].logsumexp(-1) for ids in tokens]
            result[indices] = torch.stack(of_words, -1).float().cpu()
        return result

    def log_p(self, prompts: Prompts, replies: Sequence[str]) -> Float[Tensor, " n"]:
        """Return the log-likelihood of each reply, its end included, behind its prompt, whatever the decoding is.

        One prompt is read at a time, so that no padding moves positions.

        Raises:
            ValueError: for a model whose logits are not those of its input tokens.
        """
        end = (
            getattr(self.model.generation_config, "eos_token_id", None)
            or self.processor.tokenizer.eos_token_id
        )
        found = torch.zeros(len(prompts))
        for row, (prompt, reply) in enumerate(zip(prompts, replies, strict=True)):
            tokens = [*self.processor.tokenizer(reply, add_special_tokens=False)["input_ids"]]
            tokens.append(end if isinstance(end, int) else end[0])
            found[row] = tokens_log_p(self.model, self.inputs([prompt]), torch.tensor(tokens)).sum()
        return found

    def inputs(self, prompts: Prompts, beginnings: Sequence[str] | None = None) -> dict[str, Any]:
        """Return the model's inputs, for ``forward`` and ``generate``, for some prompts, all with as many pictures.

        Args:
            prompts: what is asked.
            beginnings: of the replies.

        Raises:
            ValueError: where the processor makes no pixels of a picture.
        """
        texts = [
            chat_text(self.processor, messages_of(prompt), add_generation_prompt=True) + begun
            for prompt, begun in zip(prompts, beginnings or [""] * len(prompts), strict=True)
        ]
        pictures = [[image_of(picture) for picture in pictures_of(prompt)] for prompt in prompts]
        begun = self.processor.tokenizer.bos_token
        made = self.processor(
            text=texts,
            images=pictures if pictures[0] else None,
            padding=True,
            padding_side="left",
            add_special_tokens=not (begun and texts[0].startswith(begun)),
            return_tensors="pt",
        )
        if pictures[0] and not any(key.startswith("pixel_values") for key in made):
            raise ValueError(
                f"{type(self.processor).__name__} made no pixel_values of a picture (only {', '.join(made)}); "
                "give the processor that belongs to the model"
            )
        return {
            key: value.to(self.model.device, self.model.dtype if value.is_floating_point() else None)
            for key, value in made.items()
        }

    def _batches(self, prompts: Prompts) -> Iterator[list[int]]:
        """Yield places of prompts with as many pictures, so that each batch has one form."""
        alike: dict[int, list[int]] = {}
        for index, prompt in enumerate(prompts):
            alike.setdefault(len(pictures_of(prompt)), []).append(index)
        for places in alike.values():
            for start in range(0, len(places), self.batch_size):
                yield places[start : start + self.batch_size]

    def _method(self, batch: Prompts) -> Decoding:
        from_words = all(branch.needs in _WITHOUT_PICTURES for branch in self.decoding.branches())
        return self.decoding if from_words or pictures_of(batch[0]) else Plain()

    def _generate(
        self, prompts: Prompts, method: Decoding, max_new_tokens: int, drawn: Sequence[SamplingProcessor]
    ) -> Int[Tensor, "b t"]:
        """Return the new tokens. Warpers are left to ``drawn``, after which the largest score is the sample."""
        needed = {branch.needs for branch in method.branches() if branch.needs is not None}
        if missing := sorted(needed - set(self._makers)):
            raise ValueError(
                f"{type(self.decoding).__name__} needs {missing[0]}=…, which cannot be made from a prompt; call the "
                f"model's generate with decoding.on(inputs, {missing[0]}=…)"
            )
        own_prompts = self._own_prompts(prompts, method, needed)
        inputs = self.inputs(own_prompts)
        bound = method.on(
            inputs,
            model=self.model,
            **{need: self._makers[need](prompts, own_prompts) for need in sorted(needed)},
        )
        plain = {"do_sample": False, "num_beams": 1, "temperature": 1.0, "top_p": 1.0, "top_k": 50}
        tokens: Tensor = self.model.generate(
            **inputs,
            **plain,
            custom_generate=bound,
            max_new_tokens=max_new_tokens,
            logits_processor=list(drawn),
        )
        assert bound.cost is not None
        self._spend(bound.cost.passes, bound.cost.positions)
        return tokens[:, -bound.cost.passes[OWN] :]

    def _own_prompts(self, prompts: Prompts, method: Decoding, needed: set[str]) -> Prompts:
        """Return the prompts that the user's own branch reads."""
        own_prompts = prompts
        if "leading" in needed:
            own_prompts = [
                prompt if prompt.neutral is None else replace(prompt, text=prompt.neutral)
                for prompt in own_prompts
            ]
        if any(isinstance(branch, Support) for branch in method.branches()):
            words = self.processor.batch_decode(self._descriptions(prompts).words, skip_special_tokens=True)
            own_prompts = [
                replace(prompt, text=DESCRIBED.format(description=text.strip(), question=prompt.text))
                for prompt, text in zip(own_prompts, words, strict=True)
            ]
        return own_prompts

    def _transformed(self, prompt: Prompt) -> Prompt:
        ritual = next(method for method in _parts(self.decoding) if isinstance(method, Ritual))
        if prompt.picture is None:
            return prompt
        return replace(prompt, picture=tensor_of(ritual.transform(image_of(prompt.picture))))

    def _descriptions(self, prompts: Prompts) -> Description:
        """Return the model's description of the picture of each prompt, the last one that is shown."""
        pictures = [pictures_of(prompt)[-1] for prompt in prompts]
        keys = [digest_of(picture) for picture in pictures]
        new = {
            key: picture for key, picture in zip(keys, pictures, strict=True) if key not in self._described
        }
        described = {key: self._described[key] for key in keys if key in self._described}
        if new:
            inputs = self.inputs([Prompt(self.description_prompt, picture) for picture in new.values()])
            made = describe(self.model, inputs, max_new_tokens=self.description_tokens)
            positions = len(new) * (inputs["input_ids"].shape[1] + made.passes - 1)
            self._spend({DESCRIBING: made.passes}, {DESCRIBING: positions})
            described |= {key: made.row(row) for row, key in enumerate(new)}
        self._described |= described
        while len(self._described) > _KEPT:
            self._described.popitem(last=False)
        return Description.joined([described[key] for key in keys])

    def _spend(self, passes: Mapping[str, int], positions: Mapping[str, int]) -> None:
        before = self.cost or Cost({}, {})
        self.cost = Cost(
            Counter(before.passes) + Counter(passes), Counter(before.positions) + Counter(positions)
        )


def _parts(method: Decoding) -> Iterator[Decoding]:
    """Yield the methods that a method is made of."""
    if isinstance(method, SumOfMethods):
        for each in method.methods:
            yield from _parts(each)
    elif isinstance(method, PlausibilityOnly):
        yield from _parts(method.method)
    else:
        yield method


def _check_parts(model: Any, processor: Any) -> None:
    taken = {*inspect.signature(model.forward).parameters}
    if not any(name.startswith("pixel_values") for name in taken):
        raise ValueError(
            f"{type(model).__name__} takes no pixel_values: it reads text only; give a vision-language model"
        )
    fields = getattr(getattr(processor, "image_processor", None), "model_input_names", ())
    if not any(name.startswith("pixel_values") for name in fields):
        raise ValueError(
            f"{type(processor).__name__} makes no pixel_values of a picture; give the processor of the vision-language "
            "model, as AutoProcessor loads it, and not its tokenizer"
        )
    if not getattr(processor, "chat_template", None):
        raise ValueError(
            f"{type(processor).__name__} has no chat template, so that it is not known how {type(model).__name__} is "
            "asked; set processor.chat_template to the form that the model was trained with"
        )


@contextmanager
def _no_bars() -> Iterator[None]:
    """Hide the bars that transformers draws while it reads weights, over whatever a command shows."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
