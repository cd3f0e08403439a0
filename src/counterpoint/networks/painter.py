"""A small text-to-image model of the Stable Diffusion form: a text encoder, a denoiser, and its schedule of noise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import gcd
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..registry import require
from .base import Tokenizer
from .towers.tokenizer import BytePairTokenizer

NAME = "tiny-painter"
"""The name of the painter that comes with the package."""
_SHIPPED = Path(__file__).parent / "files" / NAME
STEPS = 1000
"""Levels of noise."""
_SCALE = 32.0
"""Of pixels in the latent space of `pixel_coder`, which is linear only near 0."""


def default_path() -> Path:
    """Return the folder of the painter that comes with the package, whose ``made.json`` says how it was made."""
    return _SHIPPED


class PaintingNetwork(nn.Module):
    """CLIP's text encoder and diffusers' conditional U-Net, on pixels.

    At a side of 32 pixels, the latents of an autoencoder would be as coarse as the maps of the U-Net, and the
    autoencoder would be one more thing to train. `pixel_coder` therefore stands in its place.

    Args:
        tokenizer: whose ids the text encoder takes; captions are padded to its context, as a pipeline does.
        size: height and width of a picture, in pixels.
        width: channels at that side; each of the other blocks has half the side, and 3 and then 4 times the channels.
        blocks: of the U-Net, all but the first with cross-attention.
        heads: of each attention layer.
        text_width, text_layers: of the text encoder.

    Attributes:
        unet: predicts the velocity √ᾱ ε − √(1 − ᾱ) x.
        text: the text encoder.

    Raises:
        MissingPackageError: without diffusers.
        ValueError: for a side that the blocks cannot halve.
    """

    levels: Tensor

    def __init__(
        self,
        tokenizer: Tokenizer,
        size: int,
        *,
        width: int = 16,
        blocks: int = 3,
        heads: int = 2,
        text_width: int = 64,
        text_layers: int = 2,
    ) -> None:
        super().__init__()
        diffusers = require("diffusers", "paint")
        from transformers import CLIPTextConfig, CLIPTextModel

        if blocks < 2 or size % 2 ** (blocks - 1):
            raise ValueError(
                f"blocks={blocks} cannot halve a side of {size} pixels {max(blocks - 1, 1)} times"
            )
        self.tokenizer, self.size = tokenizer, size
        self.unet = diffusers.UNet2DConditionModel(
            sample_size=size,
            in_channels=3,
            out_channels=3,
            layers_per_block=1,
            block_out_channels=(width, *(min(2 + k, 4) * width for k in range(1, blocks))),
            down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * (blocks - 1)),
            up_block_types=(*("CrossAttnUpBlock2D",) * (blocks - 1), "UpBlock2D"),
            cross_attention_dim=text_width,
            attention_head_dim=heads,  # which diffusers takes for the number of heads
            norm_num_groups=gcd(8, width),
        )
        config = CLIPTextConfig(
            vocab_size=tokenizer.vocabulary,
            hidden_size=text_width,
            intermediate_size=2 * text_width,
            num_hidden_layers=text_layers,
            num_attention_heads=2,
            max_position_embeddings=tokenizer.context,
            projection_dim=text_width,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=tokenizer.end,
        )
        self.text = CLIPTextModel(config)
        self.register_buffer("levels", schedule().alphas_cumprod.float(), persistent=False)

    @property
    def width(self) -> int:
        """The size of a text's states."""
        return int(self.text.config.hidden_size)

    def padded(self, tokens: Int[Tensor, "B L"]) -> Int[Tensor, "B context"]:
        """Return ids of texts padded to the context."""
        return F.pad(tokens, (0, self.tokenizer.context - tokens.shape[1]))

    def states(
        self, tokens: Int[Tensor, "B L"], words: Float[Tensor, "N w"] | None = None
    ) -> Float[Tensor, "B context w"]:
        """Return the states of all tokens, those of padding too, which the U-Net reads.

        Args:
            tokens: ids.
            words: vectors, with gradient, of ids from the tokenizer's vocabulary on.
        """
        padded = self.padded(tokens)
        if words is None:
            return self.text(input_ids=padded).last_hidden_state
        new = padded >= self.tokenizer.vocabulary
        vectors = words[(padded - self.tokenizer.vocabulary).clamp_min(0)]
        hook = self.text.get_input_embeddings().register_forward_hook(
            lambda table, args, known: torch.where(new[..., None], vectors.to(known), known)
        )
        try:
            return self.text(input_ids=padded.masked_fill(new, 0)).last_hidden_state
        finally:
            hook.remove()

    def noised(
        self, pictures: Float[Tensor, "B 3 H W"], noise: Float[Tensor, "B 3 H W"], times: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B 3 H W"]]:
        """Return pictures with values in [0, 1] at some levels of noise, and their velocities."""
        clean = 2 * pictures - 1
        signal = self.levels[times][:, None, None, None].to(clean.dtype)
        a, b = signal.sqrt(), (1 - signal).sqrt()
        return a * clean + b * noise, a * noise - b * clean

    def forward(
        self, noisy: Float[Tensor, "B 3 H W"], times: Int[Tensor, " B"], states: Float[Tensor, "B context w"]
    ) -> Float[Tensor, "B 3 H W"]:
        """Return predicted velocities."""
        return self.unet(noisy, times, encoder_hidden_states=states).sample

    def save(self, folder: Path) -> None:
        """Write it as a pipeline, which plain diffusers opens."""
        self.pipeline(folder / "tokenizer").save_pretrained(folder)

    @classmethod
    def load(cls, folder: Path) -> PaintingNetwork:
        """Read what ``save`` wrote.

        Raises:
            ValueError: for a folder that is no such pipeline.
        """
        from safetensors.torch import load_file

        try:
            unet, text = (
                json.loads((folder / part / "config.json").read_text(encoding="utf-8"))
                for part in ("unet", "text_encoder")
            )
            made = cls(
                BytePairTokenizer.load_pretrained(folder / "tokenizer", text["max_position_embeddings"]),
                unet["sample_size"],
                width=unet["block_out_channels"][0],
                blocks=len(unet["block_out_channels"]),
                heads=unet["attention_head_dim"],
                text_width=text["hidden_size"],
                text_layers=text["num_hidden_layers"],
            )
            made.unet.load_state_dict(load_file(folder / "unet" / "diffusion_pytorch_model.safetensors"))
            made.text.load_state_dict(load_file(folder / "text_encoder" / "model.safetensors"))
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise ValueError(f"{folder} is no pipeline that a painter was written as: {error}") from error
        return made

    def pipeline(self, folder: Path) -> Any:
        """Return it as a Stable Diffusion pipeline of diffusers, with the same modules.

        Args:
            folder: where the tokenizer is written.

        Raises:
            LookupError: for a tokenizer that cannot be written down.
        """
        diffusers = require("diffusers", "paint")
        from transformers import PreTrainedTokenizerFast

        if not isinstance(self.tokenizer, BytePairTokenizer):
            raise LookupError(f"diffusers cannot read a {type(self.tokenizer).__name__}")
        self.tokenizer.save_pretrained(folder)
        return diffusers.StableDiffusionPipeline(
            vae=pixel_coder(),
            text_encoder=self.text,
            tokenizer=PreTrainedTokenizerFast.from_pretrained(folder),
            unet=self.unet,
            scheduler=schedule(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )

    @torch.no_grad()
    def draw(
        self,
        texts: Sequence[str],
        *,
        seeds: Sequence[int] | None = None,
        steps: int = 12,
        guidance: float = 3.0,
    ) -> Float[Tensor, "n 3 H W"]:
        """Draw a picture of each text, with values in [0, 1], by DPM-Solver++ with guidance.

        Args:
            texts: what to draw.
            seeds: of the pictures; 0, 1 … unless given. A picture follows from its text and its seed.
            steps: of the solver.
            guidance: the factor of the difference that a text makes; 1 for none.
        """
        device = self.levels.device
        empty = self.states(self.tokenizer([""]).to(device))
        states = self.states(self.tokenizer(list(texts)).to(device))
        return self.sample(states, empty, seeds=seeds, steps=steps, guidance=guidance)

    @torch.no_grad()
    def sample(
        self,
        states: Float[Tensor, "n context w"],
        empty: Float[Tensor, "1 context w"],
        *,
        seeds: Sequence[int] | None = None,
        steps: int = 12,
        guidance: float = 3.0,
    ) -> Float[Tensor, "n 3 H W"]:
        """Draw a picture for the states of each text; the options are those of `draw`.

        Args:
            states: of the texts.
            empty: of the empty text, which the unconditional branch reads.
        """
        diffusers, device = require("diffusers", "paint"), states.device
        solver = diffusers.DPMSolverMultistepScheduler.from_config(schedule().config)
        solver.set_timesteps(steps)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds or range(len(states))]
        shape = 3, self.size, self.size
        x = torch.stack([torch.randn(shape, generator=it) for it in generators]).to(device)
        was_training = self.training
        self.eval()
        try:
            for time in solver.timesteps:
                if guidance == 1:
                    v = self(x, torch.full((len(x),), int(time), device=device), states)
                else:  # in one batch, the unconditional half first, as pipelines do
                    times = torch.full((2 * len(x),), int(time), device=device)
                    both = torch.cat([empty.expand_as(states), states])
                    base, v = self(torch.cat([x, x]), times, both).chunk(2)
                    v = base + guidance * (v - base)
                x = solver.step(v, time, x).prev_sample
        finally:
            self.train(was_training)
        return ((x + 1) / 2).clamp(0, 1)


def schedule() -> Any:
    """Return the schedule of noise: a cosine that ends in noise alone, of which the velocity is predicted."""
    return require("diffusers", "paint").DDIMScheduler(
        num_train_timesteps=STEPS,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        steps_offset=1,  # of no effect with trailing steps; diffusers warns without
    )


def pixel_coder() -> Any:
    """Return an autoencoder of diffusers that changes nothing: its latents are pixels, in [−1, 1], but for rounding.

    A pipeline of the Stable Diffusion form must have one. Its layers have rectifiers, so that each colour passes in two
    channels, one of either sign. Its decoder bends what is far from 0, so that it is given small values.
    """
    coder = require("diffusers", "paint").AutoencoderTiny(
        encoder_block_out_channels=(6,),
        decoder_block_out_channels=(6,),
        num_encoder_blocks=(1,),
        num_decoder_blocks=(1,),
        latent_channels=3,
        scaling_factor=_SCALE,
    )
    with torch.no_grad():
        for parameter in coder.parameters():
            parameter.zero_()
        # Pixels come to the encoder's layers as (x + 1) / 2, and leave the decoder's as (x + 1) / 2.
        for half, into, factor, shift in (
            (coder.encoder, 2 / _SCALE, 1.0, -1 / _SCALE),
            (coder.decoder, 1.0, _SCALE / 2, 0.5),
        ):
            convolutions: list[Any] = [layer for layer in half.layers if isinstance(layer, nn.Conv2d)]
            first, last = convolutions[0], convolutions[-1]
            assert last.bias is not None
            for colour in range(3):
                for row, sign in ((colour, 1.0), (colour + 3, -1.0)):
                    first.weight[row, colour, 1, 1] = sign * into
                    last.weight[colour, row, 1, 1] = sign * factor
                last.bias[colour] = shift
    return coder
