"""Making the tiny vision-language model: read the world, learn to see, learn to speak, save."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from ...data.synthetic.scenes.config import SceneConfig
from ...data.synthetic.scenes.scene import Scene
from ...data.synthetic.scenes.world import Scenes
from ...execution import postponed
from ...files import write_json
from ...networks.tiny_vlm import MODEL, build, check, processor, train_tokenizer
from ...recipes.schema import Optimizer
from ...recipes.tiny_vlm import TinyVLM
from ...types import NonFiniteLossError
from ..run import OtherRunError
from ..saving import checkpoint as checkpoints
from ..saving.saver import save
from ..step.optim import learning_rate, optimizer_of
from ..trackers import MetricLog
from .conversations import GroundedExchange, Packer, corpus, exchanges
from .grounding import FIRST, LAYER, Grounding
from .perception import PerceptionHeads, Targets, targets

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

Stage = Literal["reading", "perception", "features", "conversation"]
STAGES: dict[Stage, str] = {
    "reading": "drawing scenes and telling about them",
    "perception": "learning to see",
    "features": "seeing",
    "conversation": "learning to speak",
}
CHUNK = 250
"""Scenes that are drawn, and pictures that are encoded, at once."""
LOG_EVERY = 20
CHECKPOINT_EVERY = 500

Listen = Callable[[Stage, int, int, float], None]
"""Called with the stage, what is done of it, what there is to do, and the loss."""


@dataclass(frozen=True)
class TrainingRows:
    """A world's training rows, read once.

    Attributes:
        pictures: all of them.
        seen: what is where in them.
        conversations: all exchanges about each.
    """

    pictures: UInt8[Tensor, "n 3 H W"]
    seen: Targets
    conversations: list[list[GroundedExchange]]


def train_tiny_vlm(
    world: Scenes,
    folder: Path,
    recipe: TinyVLM | None = None,
    *,
    seed: int = 0,
    listen: Listen | None = None,
) -> Path:
    """Train the tiny vision-language model on a world's training rows, going on where an earlier call stopped.

    First the vision tower learns from the scenes' annotations what is in each patch; then, with the tower as it is,
    projector and language model learn from conversations. Each stage keeps its checkpoints in the folder.

    Args:
        world: of scenes; its options say what the model learns, co-occurrence included.
        folder: of the run.
        recipe: how.
        seed: of the weights and of the order.
        listen: told about every step.

    Returns:
        The finished model: an ordinary checkpoint of transformers, with its processor.

    Raises:
        OtherRunError: if the folder holds a run of other data, seed or recipe.
        ValueError: for a recipe that no model can be built by, fewer than three layers of language, or pictures of
            another size.
        NonFiniteLossError: if a loss is NaN or infinite.
        CheckpointError: if a checkpoint cannot be written or read.
    """
    recipe, listen = recipe or TinyVLM(), listen or (lambda stage, done, whole, loss: None)
    if recipe.language.layers < LAYER + 2:
        raise ValueError(
            f"language.layers={recipe.language.layers}: replies are tied to what they rest on behind layer "
            f"{LAYER + 2}, so there must be as many"
        )
    # Before the folder is this run's: another recipe is what the message asks for.
    check(recipe)
    _check_pictures(world, recipe)
    plan = {
        "data": world.name,
        "version": world.preset.version,
        "seed": seed,
        "recipe": recipe.model_dump(mode="json"),
    }
    _reserve(folder / "plan.json", plan)
    read = read_world(world, recipe, listen)
    tokenizer = train_tokenizer(
        {text for scene in read.conversations for one in scene for text in (one.request, one.reply)},
        recipe.vocabulary,
    )
    torch.manual_seed(seed)
    model = build(recipe, tokenizer)
    learn_to_see(model, world, read, recipe, folder / "perception", seed, listen)
    speaking = folder / "conversation"
    learn_to_speak(model, tokenizer, read, world.preset.config, recipe, speaking, seed, listen)
    target = folder / MODEL
    model.save_pretrained(target)
    processor(recipe, tokenizer).save_pretrained(target)
    write_json(target / "made.json", {**plan, "parameters": sum(p.numel() for p in model.parameters())})
    return target


def _reserve(file: Path, plan: Mapping[str, Any]) -> None:
    """Write what a run is to be, or check that it is what an earlier call began."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, plan)
    elif json.loads(file.read_text(encoding="utf-8")) != plan:
        raise OtherRunError(f"{file.parent} holds a run of other data, seed or recipe: give another folder")


def _check_pictures(world: Scenes, recipe: TinyVLM) -> None:
    drawn = world.images(world.splits.train[:1])
    if drawn.shape[-1] != recipe.image_size:
        raise ValueError(
            f"{world.name} draws pictures of {drawn.shape[-1]} pixels, and the recipe has image_size="
            f"{recipe.image_size}: add pixels={recipe.image_size} to the data"
        )


def read_world(world: Scenes, recipe: TinyVLM, listen: Listen) -> TrainingRows:
    """Read the training rows of a world.

    Raises:
        ValueError: if its pictures are not of the recipe's size.
    """
    _check_pictures(world, recipe)
    rows = world.splits.train
    pictures = torch.empty(len(rows), 3, recipe.image_size, recipe.image_size, dtype=torch.uint8)
    scenes: list[Scene] = []
    conversations: list[list[GroundedExchange]] = []
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        pictures[start : start + len(part)] = world.images(part)
        scenes += [world.scene(int(row)) for row in part]
        conversations += [list(exchanges(world, int(row))) for row in part]
        listen("reading", start + len(part), len(rows), float("nan"))
    return TrainingRows(
        pictures, targets(scenes, world.preset.config, recipe.image_size // recipe.patch), conversations
    )


def features(
    model: LlavaForConditionalGeneration, pictures: UInt8[Tensor, "n 3 H W"]
) -> Float[Tensor, "n p w"]:
    """Return the features that the vision tower hands to the projector."""
    pixels = pictures.float() / 127.5 - 1
    seen = model.model.vision_tower(pixels, output_hidden_states=True).hidden_states
    return seen[model.config.vision_feature_layer]


def learn_to_see(
    model: LlavaForConditionalGeneration,
    world: Scenes,
    read: TrainingRows,
    recipe: TinyVLM,
    folder: Path,
    seed: int,
    listen: Listen,
) -> None:
    """Train the vision tower to tell from the scenes' annotations what is where.

    Args:
        model: is changed.
        world: that is seen.
        read: its pictures, and what is in them.
        recipe: of which ``perception`` counts here.
        folder: of the checkpoints; one that is there is gone on from.
        seed: of the order.
        listen: told about every step.
    """
    stage = nn.ModuleDict(
        {
            "tower": model.model.vision_tower,
            "heads": PerceptionHeads(recipe.vision.width, world.preset.config),
        }
    )
    heads = stage["heads"]

    def loss(step: int) -> Tensor:
        rows = torch.from_numpy(_drawn(len(read.pictures), recipe.perception.batch, seed, step))
        with _autocast(recipe):
            seen = features(model, read.pictures[rows])
        return torch.stack(list(heads(seen.float(), read.seen[rows]).values())).sum()

    options = recipe.perception
    _fit(stage, loss, options.steps, options.optimizer, folder, "perception", listen)


def learn_to_speak(
    model: LlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    read: TrainingRows,
    config: SceneConfig,
    recipe: TinyVLM,
    folder: Path,
    seed: int,
    listen: Listen,
) -> None:
    """Train projector and language model on conversations; the vision tower stays as it is.

    Args:
        model: is changed.
        tokenizer: the model's.
        read: pictures, and what is said of them.
        config: of their world.
        recipe: of which ``conversation``, ``blind`` and ``continued`` count here.
        folder: of the checkpoints; one that is there is gone on from.
        seed: of the order.
        listen: told about every step.
    """
    packer = Packer(corpus(read.conversations, tokenizer), tokenizer, recipe)
    grounding = Grounding(config, tokenizer)
    stage = nn.ModuleDict(
        {"projector": model.model.multi_modal_projector, "language": model.model.language_model}
    )
    llava, image, pictures = model.model, model.config.image_token_id, read.pictures
    # The tower moves no more, so that every picture is encoded once and not once a step; bfloat16 holds them in half.
    seen = torch.empty(
        len(pictures), model.config.image_seq_length, recipe.vision.width, dtype=torch.bfloat16
    )
    with torch.no_grad(), _autocast(recipe):
        for start in range(0, len(pictures), CHUNK):
            part = slice(start, start + CHUNK)
            seen[part] = features(model, pictures[part])
            listen("features", min(start + CHUNK, len(pictures)), len(pictures), float("nan"))
    options = recipe.conversation

    def loss(step: int) -> Tensor:
        rows = _drawn(len(pictures), options.batch, seed, step)
        packs = packer(rows, np.random.default_rng((seed, step)))
        tokens, there = packs.tokens, read.seen[torch.from_numpy(rows)]
        with _autocast(recipe):
            embedded = llava.get_input_embeddings()(tokens)
            projected = llava.multi_modal_projector(seen[torch.from_numpy(rows)].float())
            embedded = embedded.masked_scatter((tokens == image)[..., None], projected.to(embedded))
            out = llava.language_model(
                inputs_embeds=embedded,
                attention_mask=packs.mask.to(embedded),
                position_ids=packs.positions,
                use_cache=False,
                output_attentions=True,
                output_hidden_states=True,
            )
            # The head has a whole vocabulary a token, and most tokens are nobody's to learn.
            spoken = packs.targets >= 0
            logits = model.lm_head(out.last_hidden_state[spoken])
            # Who sees the picture's first patch sees all of it.
            sees = packs.mask[:, 0, :, FIRST] == 0
            naming = grounding.naming(model, projected, there)
            pointing = grounding.pointing(out.attentions[LAYER], tokens, sees, there)
            # Number 0 is what goes into the first layer, so that LAYER + 1 is what comes out of layer LAYER.
            knowing = grounding.knowing(model, out.hidden_states[LAYER + 1], tokens, sees, there)
            concluding = grounding.concluding(model, out.hidden_states[LAYER + 2], packs.facts)
        each = F.cross_entropy(logits.float(), packs.targets[spoken], reduction="none")
        weights = packs.weights[spoken]
        answering = (weights * each).sum() / weights.sum()
        return answering + options.grounding * (naming + pointing + knowing + concluding)

    implementation = llava.language_model.config._attn_implementation
    llava.language_model.set_attn_implementation("eager")  # the one that shows its attention
    _fit(stage, loss, options.steps, options.optimizer, folder, "conversation", listen)
    llava.language_model.set_attn_implementation(implementation)


def _fit(
    module: nn.Module,
    loss: Callable[[int], Tensor],
    steps: int,
    options: Optimizer,
    folder: Path,
    stage: Stage,
    listen: Listen,
) -> None:
    """Take steps of AdamW; the loss of a step is a function of its number, so that a stopped stage goes on exactly."""
    module.train()
    optimizer, start = optimizer_of(module, options), 0
    if (saved := checkpoints.load(folder)) is not None:
        checkpoints.restore(saved, module, optimizer)
        start = saved.step
    with MetricLog(folder, since=start) as log, postponed() as stop:
        for step in range(start, steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps, options)
            optimizer.zero_grad(set_to_none=True)
            value = loss(step)
            if not bool(value.isfinite()):
                raise NonFiniteLossError(
                    f"the loss of {STAGES[stage]} is not finite at step {step}: lower its lr"
                )
            value.backward()  # type: ignore[no-untyped-call] # torch's own
            if options.clip_norm:
                nn.utils.clip_grad_norm_(module.parameters(), options.clip_norm)
            optimizer.step()
            done = step + 1
            if done % LOG_EVERY == 0 or done == steps:
                log.add(done, {"loss": float(value.detach())})
            listen(stage, done, steps, float(value.detach()))
            if done % CHECKPOINT_EVERY == 0 or done == steps or stop.requested:
                log.save()
                save(folder, done, module, optimizer)
            stop.check()
        log.close()
    module.eval()


def _drawn(n: int, batch: int, seed: int, step: int) -> np.ndarray:
    """Return the rows of a step: all rows once, in random order, before any comes again."""
    # From the step's number alone, so that a stopped stage goes on exactly; an epoch may end within a batch.
    positions = np.arange(step * batch, (step + 1) * batch)
    orders = {
        epoch: np.random.default_rng((seed, int(epoch))).permutation(n) for epoch in np.unique(positions // n)
    }
    return np.array(
        [orders[epoch][position] for epoch, position in zip(positions // n, positions % n, strict=True)]
    )


def _autocast(recipe: TinyVLM) -> AbstractContextManager[object]:
    # Elsewhere bfloat16 is emulated, and gains nothing.
    native = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    if recipe.precision == "bfloat16" or (recipe.precision == "auto" and native):
        return torch.autocast("cpu", torch.bfloat16)
    return nullcontext()
