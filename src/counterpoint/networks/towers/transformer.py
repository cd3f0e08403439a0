"""The built-in transformers: captions or patches of a picture to one vector, after CLIP, at a CPU's size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..base import ImageTower, PictureStates, TextTower, Tokenizer
from ..exported import ExportedTower, Head, NotExportableError
from ..heads import Linear
from ..masking import gather_patches
from .parts.pixels import Normalise
from .parts.pooling import Packing, inside, pool
from .tokenizer import BytePairTokenizer


class Embedding(nn.Embedding):
    """A table of vectors that starts from N(0, std²)."""

    def __init__(self, count: int, width: int, std: float) -> None:
        self.std = std
        super().__init__(count, width)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.std)


class TransformerBlock(nn.Module):
    """x ← x + attention(norm(x)); x ← x + mlp(norm(x)), with the deviations CLIP starts from."""

    def __init__(self, width: int, heads: int, depth: int, causal: bool) -> None:
        super().__init__()
        residual = (2 * depth * width) ** -0.5
        self.heads, self.causal = heads, causal
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = Linear(width, 3 * width, bias=True)
        self.out = Linear(width, width, std=residual, bias=True)
        self.up = Linear(width, 4 * width, std=(2 * width) ** -0.5, bias=True)
        self.down = Linear(4 * width, width, std=residual, bias=True)

    def forward(
        self,
        x: Float[Tensor, "*batch n W"],
        packing: Packing | None = None,
        mask: Bool[Tensor, "B L"] | Bool[Tensor, "B h L L"] | None = None,
        prefix: tuple[Float[Tensor, "B P W"], Float[Tensor, "B P W"]] | None = None,
    ) -> Float[Tensor, "*batch n W"]:
        """Return states after the block: ``(B, L, W)``, or those of the tokens of a ``packing`` alone, ``(n, W)``.

        Args:
            x: states before it.
            packing: of the tokens that the states are of.
            mask: the places that are attended to, of which each row has one, or those that each query of each head
                attends to; all unless given.
            prefix: keys and values that all queries attend to besides.
        """
        return self._fed(self.attend(x, packing, mask, prefix))

    def attend(
        self,
        x: Float[Tensor, "*batch n W"],
        packing: Packing | None = None,
        mask: Bool[Tensor, "B L"] | Bool[Tensor, "B h L L"] | None = None,
        prefix: tuple[Float[Tensor, "B P W"], Float[Tensor, "B P W"]] | None = None,
    ) -> Float[Tensor, "*batch n W"]:
        """Return states after the attention of the block, before its feed-forward part."""
        qkv = self.qkv(self.norm_1(x))
        if packing is not None:
            qkv = packing.unpack(qkv)
        q, k, v = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mask = mask[:, None, None] if mask is not None and mask.ndim == 2 else mask
        if prefix is not None:
            of_prefix = (it.view(*it.shape[:2], self.heads, -1).transpose(1, 2) for it in prefix)
            k, v = (torch.cat([first, own], 2) for first, own in zip(of_prefix, (k, v), strict=True))
            mask = None if mask is None else F.pad(mask, (prefix[0].shape[1], 0), value=True)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.causal)
        attended = attended.transpose(1, 2).flatten(2)
        return x + self.out(attended if packing is None else packing.pack(attended))

    def reading(
        self, prompts: Float[Tensor, "B P W"], x: Float[Tensor, "B n W"], mask: Bool[Tensor, "B n"]
    ) -> Float[Tensor, "B P W"]:
        """Return the states of prompts after the block: each sees all prompts and the block's own input ``x``.

        Args:
            prompts: their states before the block.
            x: what the block was given.
            mask: which states of x are an input's own; the others are padding.
        """
        count = prompts.shape[1]
        qkv = self.qkv(self.norm_1(torch.cat([x, prompts], 1)))
        q, k, v = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = F.pad(mask, (0, count), value=True)[:, None, None]
        attended = F.scaled_dot_product_attention(q[:, :, -count:], k, v, attn_mask=seen)
        return self._fed(prompts + self.out(attended.transpose(1, 2).flatten(2)))

    def _fed(self, x: Float[Tensor, "*batch n W"]) -> Float[Tensor, "*batch n W"]:
        fed: Tensor = self.down(F.gelu(self.up(self.norm_2(x))))
        return x + fed


@contextmanager
def _noted(blocks: Iterable[nn.Module]) -> Iterator[list[Tensor]]:
    """Note what each block is given, inside a ``with`` block."""
    inputs: list[Tensor] = []
    handles = [b.register_forward_pre_hook(lambda block, args: inputs.append(args[0])) for b in blocks]
    try:
        yield inputs
    finally:
        for handle in handles:
            handle.remove()


def _read(
    blocks: Iterable[nn.Module],
    inputs: Sequence[Float[Tensor, "B n W"]],
    mask: Bool[Tensor, "B n"],
    prompts: Float[Tensor, "P W"],
) -> Float[Tensor, "B P W"]:
    """Return the states of prompts, which have no places, behind the last block."""
    states = prompts.expand(len(mask), -1, -1)
    for block, x in zip(blocks, inputs, strict=True):
        assert isinstance(block, TransformerBlock)
        states = block.reading(states, x, mask)
    return states


def keys_seen(inside: Bool[Tensor, "B n"], heads: int, rate: float) -> Bool[Tensor, "B heads n n"]:
    """Draw which keys each query of each head attends to: a key inside is dropped at a rate, before the softmax.

    The weights of the others are then those of a softmax over them alone. A query that would see none sees all.

    Source: DropKey, Li et al. (2023), arXiv 2208.02646.
    """
    places = inside[:, None, None]
    drawn = torch.rand(len(inside), heads, *(2 * inside.shape[1:]), device=inside.device) >= rate
    seen = drawn & places
    return torch.where(seen.any(-1, keepdim=True), seen, places)


class TextTransformer(TextTower):
    """A causal pre-norm transformer over token ids, read at the end token.

    While training, ``dropout`` acts on the input of every residual block: on the branch and on the skip path.

    Args:
        tokenizer: whose ids it takes; gives vocabulary and context.
        width: size of states and features.
        depth: number of blocks.
        heads: attention heads; divides ``width``.

    Source: CLIP (arXiv 2103.00020); dropout as in CLIP-rocket (arXiv 2305.08675).
    """

    takes_prompts = True
    causal: ClassVar[bool] = True

    def __init__(self, tokenizer: Tokenizer, width: int = 128, depth: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.tokenizer, self.width = tokenizer, width
        self.token_embedding = Embedding(tokenizer.vocabulary + self.masks_words, width, std=0.02)
        self.position_embedding = Embedding(tokenizer.context, width, std=0.01)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, depth, self.causal) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Int[Tensor, "B L"], dropout: float = 0.0) -> Float[Tensor, "B width"]:
        assert self.pooling is not None
        mask = inside(tokens, self.tokenizer.end)
        return pool(self.states(tokens, dropout), mask, self.pooling)

    def states(self, tokens: Int[Tensor, "B L"], dropout: float = 0.0) -> Float[Tensor, "B L width"]:
        mask = inside(tokens, self.tokenizer.end)
        # Half of a batch of short captions is padding. How many tokens are left is no shape that an exporter can know.
        packing = None if torch.compiler.is_compiling() else Packing(mask)
        x = self.token_embedding(tokens) + self.position_embedding.weight[: tokens.shape[1]]
        x = x if packing is None else packing.pack(x)
        seen = None if self.causal else mask  # a causal state sees no padding, which comes behind it
        for block in self.blocks:
            x = block(F.dropout(x, dropout, self.training and dropout > 0), packing, seen)
        x = self.norm(x)
        return x * mask[..., None] if packing is None else packing.unpack(x)

    def prompted(
        self, inputs: Int[Tensor, "B L"], prompts: Float[Tensor, "P width"]
    ) -> tuple[Float[Tensor, "B width"], Float[Tensor, "B P width"]]:
        mask = inside(inputs, self.tokenizer.end)
        with _noted(self.blocks) as block_inputs:
            features = self.compute(inputs)
        packing = Packing(mask)
        block_inputs = [x if x.ndim == 3 else packing.unpack(x) for x in block_inputs]
        return features, self.norm(_read(self.blocks, block_inputs, mask, prompts))

    def in_open_clip(self, head: Head) -> ExportedTower:
        """Return the tower as open_clip's text transformer, which is the same but for names."""
        tokenizer = self._exported_tokenizer("open_clip")
        names = {
            "token_embedding.weight": self.token_embedding.weight,
            "positional_embedding": self.position_embedding.weight,
            "ln_final.weight": self.norm.weight,
            "ln_final.bias": self.norm.bias,
        }
        for number, block in enumerate(self.blocks):
            for ours, theirs in _OPEN_CLIP.items():
                of_block = f"transformer.resblocks.{number}.{theirs}"
                separator = "_" if theirs.endswith("in_proj") else "."
                names |= {
                    f"{of_block}{separator}{n}": p for n, p in block.get_submodule(ours).named_parameters()
                }
        if head.bias is None:
            names["text_projection"] = head.weight.T
        else:
            names |= {"text_projection.weight": head.weight, "text_projection.bias": head.bias}
        config = {
            "context_length": tokenizer.context,
            "vocab_size": tokenizer.vocabulary,
            "width": self.width,
            "heads": self.blocks[0].heads,
            "layers": len(self.blocks),
            "pool_type": "eos",
            "eos_id": tokenizer.end,
            "proj_bias": head.bias is not None,
            "hf_tokenizer_name": ".",
        }
        return ExportedTower(
            {"text_cfg": config, "quick_gelu": False},
            {f"text.{name}": weight for name, weight in names.items()},
            save=tokenizer.save_pretrained,
        )

    def in_transformers(self, head: Head) -> ExportedTower:
        """Return the tower as CLIP's of texts. Its end token gets the highest id: CLIP's looks for no other at id 2."""
        tokenizer = self._exported_tokenizer("transformers")
        if head.bias is not None:
            raise NotExportableError("transformers' CLIP has a projection without bias, and the head has one")
        last = tokenizer.vocabulary - 1
        order = torch.arange(tokenizer.vocabulary)
        order[tokenizer.end], order[last] = last, tokenizer.end
        names = {
            "text_model.embeddings.token_embedding.weight": self.token_embedding.weight[order],
            "text_model.embeddings.position_embedding.weight": self.position_embedding.weight,
            "text_model.final_layer_norm.weight": self.norm.weight,
            "text_model.final_layer_norm.bias": self.norm.bias,
            "text_projection.weight": head.weight,
        }
        for number, block in enumerate(self.blocks):
            of_block = f"text_model.encoder.layers.{number}"
            for ours, theirs in _CLIP.items():
                for name, weight in block.get_submodule(ours).named_parameters():
                    parts = weight.chunk(len(theirs))
                    names |= {f"{of_block}.{t}.{name}": part for t, part in zip(theirs, parts, strict=True)}
        config = {
            "vocab_size": tokenizer.vocabulary,
            "hidden_size": self.width,
            "intermediate_size": 4 * self.width,
            "num_hidden_layers": len(self.blocks),
            "num_attention_heads": self.blocks[0].heads,
            "max_position_embeddings": tokenizer.context,
            "hidden_act": "gelu",
            "projection_dim": head.width,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": last,
        }
        return ExportedTower(
            {"kind": "CLIPTextModelWithProjection", "config": config},
            names,
            save=partial(tokenizer.save_pretrained, end=last),
        )

    def _exported_tokenizer(self, library: str) -> BytePairTokenizer:
        """Return the tokenizer, where the tower reads the end token and the tokenizer can be written down."""
        if self.pooling != "end":
            raise NotExportableError(
                f"{library}'s text transformer is read at the end token, and this one by {self.pooling!r}"
            )
        if not isinstance(self.tokenizer, BytePairTokenizer):
            raise NotExportableError(f"{library} cannot read a {type(self.tokenizer).__name__}")
        return self.tokenizer


class TextReader(TextTransformer):
    """A two-way pre-norm transformer over token ids, in which every token of a caption sees all others.

    The table of tokens has one row more than the tokenizer has ids: that of the mask token, whose id is
    ``tokenizer.vocabulary``. The view ``"masked"`` of texts hides words behind it.

    Source: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding" (2019),
    arXiv 1810.04805; pre-norm, and read at the end token.
    """

    takes_prompts = False
    causal = False
    masks_words = True

    def in_open_clip(self, head: Head) -> ExportedTower:
        raise self._not_exportable("open_clip")

    def in_transformers(self, head: Head) -> ExportedTower:
        raise self._not_exportable("transformers")


_OPEN_CLIP = {
    "norm_1": "ln_1",
    "qkv": "attn.in_proj",
    "out": "attn.out_proj",
    "norm_2": "ln_2",
    "up": "mlp.c_fc",
    "down": "mlp.c_proj",
}
"""The parts of a block, and open_clip's names for them."""
_CLIP = {
    "norm_1": ("layer_norm1",),
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "out": ("self_attn.out_proj",),
    "norm_2": ("layer_norm2",),
    "up": ("mlp.fc1",),
    "down": ("mlp.fc2",),
}
"""The parts of a block, and those of CLIP in transformers that they are together."""


_VIT = {"image_width": 192, "image_layers": 4, "image_patch": 8}
"""The sizes of a vision transformer unless given, by the keys of a recipe."""


class VisionTransformer(ImageTower):
    """A small pre-norm vision transformer over square patches, read as the mean of their states.

    Args:
        size: pixels of a side; a multiple of ``patch``.
        patch: pixels of a patch's side.
        width: size of states and features.
        depth: number of blocks.
        heads: attention heads; divides ``width``.

    Raises:
        ValueError: where ``patch`` does not divide ``size``, or ``heads`` does not divide ``width``.

    Source: ViT (arXiv 2010.11929).
    """

    kept_in_timm = "counterpoint_vit"
    takes_prompts = True
    takes_masks = True
    drops_keys: ClassVar[bool] = True

    def __init__(
        self, size: int = 48, patch: int = 8, width: int = 192, depth: int = 4, heads: int = 4
    ) -> None:
        super().__init__()
        if size % patch:
            raise ValueError(f"image size {size} is not a multiple of the patch size {patch}")
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of the {heads} attention heads")
        self.size, self.patch, self.width, self.heads = size, patch, width, heads
        self.normalise = Normalise()
        self.patch_embedding = Linear(3 * patch * patch, width, bias=True)
        self.position_embedding = Embedding((size // patch) ** 2, width, std=0.02)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, depth, causal=False) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    @classmethod
    def of_sizes(
        cls, size: int, width: int | None = None, layers: int | None = None, patch: int | None = None
    ) -> Self:
        """Build a transformer; a size that is None is the constructor's default."""
        given = {"width": width, "depth": layers, "patch": patch}
        return cls(size, **{name: value for name, value in given.items() if value is not None})

    @property
    def sizes(self) -> Mapping[str, int | float | str]:
        own = {"image_width": self.width, "image_layers": len(self.blocks), "image_patch": self.patch}
        return {name: value for name, value in own.items() if value != _VIT[name]}

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width"]:
        return self._states(images).mean(1)

    def prompted(
        self, inputs: Float[Tensor, "B 3 H W"], prompts: Float[Tensor, "P width"]
    ) -> tuple[Float[Tensor, "B width"], Float[Tensor, "B P width"]]:
        with _noted(self.blocks) as block_inputs:
            features = self.compute(inputs)
        mask = torch.ones(block_inputs[0].shape[:2], dtype=torch.bool, device=inputs.device)
        return features, self.norm(_read(self.blocks, block_inputs, mask, prompts))

    def patches(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width h w"]:
        rows, columns = (length // self.patch for length in images.shape[2:])
        return self._states(images).mT.reshape(len(images), self.width, rows, columns)

    def patch_levels(
        self, images: Float[Tensor, "B 3 H W"], count: int
    ) -> tuple[Float[Tensor, "B width h w"], ...]:
        depth = len(self.blocks)
        if count > depth:
            raise ValueError(f"levels={count}: the tower of pictures has {depth} blocks")
        with _noted(self.blocks) as block_inputs:
            last = self.patches(images)
        earlier = [block_inputs[depth * number // count] for number in range(1, count)]
        return (*(level.mT.reshape(last.shape) for level in earlier), last)

    def summary_and_patches(
        self, images: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B width"], Float[Tensor, "B width h w"]]:
        maps = self.patches(images)
        return maps.mean((2, 3)), maps

    def _seen(self, x: Float[Tensor, "B n width"]) -> Tensor | None:
        if not (self.training and self.dropkey):
            return None
        return keys_seen(torch.ones(x.shape[:2], dtype=torch.bool, device=x.device), self.heads, self.dropkey)

    def encode_visible(
        self,
        images: Float[Tensor, "B 3 H W"],
        index: Int[Tensor, "B k"],
        mask_token: Float[Tensor, " width"] | None = None,
    ) -> PictureStates:
        pixels, positions = self.pixels_and_positions(images)
        visible = self.patch_embedding(gather_patches(pixels, index))
        if mask_token is None:
            x = visible + gather_patches(positions.expand(len(images), *positions.shape[-2:]), index)
        else:
            masked = mask_token.to(visible.dtype).expand(len(visible), positions.shape[-2], -1)
            x = masked.scatter(1, index[..., None].expand_as(visible), visible) + positions
        states = self.from_tokens(x)
        return PictureStates(states.mean(1), states)

    def _states(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B n width"]:
        pixels, positions = self.pixels_and_positions(images)
        return self.from_tokens(self.patch_embedding(pixels) + positions)

    def pixels_and_positions(
        self, images: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B n pixels"], Float[Tensor, "*count n width"]]:
        """Return the normalised pixels of the patches, channel by channel, and the patches' positions."""
        rows, columns = (length // self.patch for length in images.shape[2:])
        if len(images):
            pixels = F.pixel_unshuffle(self.normalise(images), self.patch).flatten(2).transpose(1, 2)
        else:  # which torch's function would leave as it is
            pixels = self.patch_embedding.weight.new_zeros(
                0, rows * columns, self.patch_embedding.in_features
            )
        return pixels, self._positions(rows, columns, len(images))

    def from_tokens(self, x: Float[Tensor, "B n width"]) -> Float[Tensor, "B n width"]:
        """Return the states of tokens that have their positions already."""
        for block in self.blocks:
            x = block(x, mask=self._seen(x))
        return self.norm(x)

    def _positions(self, rows: int, columns: int, count: int) -> Float[Tensor, "*count n width"]:
        """Return the embeddings of the places of a grid: those learned, interpolated where the grid is another one.

        Args:
            rows, columns: of the grid.
            count: of pictures, for a tower whose positions are a picture's own.
        """
        learned, side = self.position_embedding.weight, self.size // self.patch
        if (rows, columns) == (side, side):
            return learned
        grid = learned.view(1, side, side, -1).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, (rows, columns), mode="bicubic", antialias=True)
        return grid.flatten(2)[0].T


class ProbedTransformer(VisionTransformer):
    """A `VisionTransformer` read by one learned query that attends to all places (multi-head attention pooling).

        a = attention(query, states),   features = a + mlp(norm(a))

    It has the same arguments. Places are mixed before they are features, so that there are none of single places.

    Source: the head of Zhai et al., "Scaling Vision Transformers" (2021), arXiv 2106.04560, as CLIPPO (arXiv
    2212.08045) and SigLIP have it.
    """

    kept_in_timm = "counterpoint_vit_map"
    takes_masks = False

    def __init__(
        self, size: int = 48, patch: int = 8, width: int = 192, depth: int = 4, heads: int = 4
    ) -> None:
        super().__init__(size, patch, width, depth, heads)
        self.heads = heads
        self.probe = Embedding(1, width, std=width**-0.5)
        self.kv = Linear(width, 2 * width, bias=True)
        self.out = Linear(width, width, bias=True)
        self.norm_2 = nn.LayerNorm(width)
        self.up = Linear(width, 4 * width, std=(2 * width) ** -0.5, bias=True)
        self.down = Linear(4 * width, width, std=(2 * width) ** -0.5, bias=True)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width"]:
        return self.pooled(self._states(images))

    def pooled(
        self, states: Float[Tensor, "B n width"], mask: Bool[Tensor, "B n"] | None = None
    ) -> Float[Tensor, "B width"]:
        """Return what the query reads of the states inside ``mask``, of all unless given."""
        k, v = self.kv(states).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q = self.probe.weight.view(self.heads, 1, -1).expand(len(k), -1, -1, -1)
        seen = None if mask is None else mask[:, None, None]
        attended = self.out(F.scaled_dot_product_attention(q, k, v, attn_mask=seen).flatten(1))
        fed: Tensor = self.down(F.gelu(self.up(self.norm_2(attended))))
        return attended + fed

    def patches(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width h w"]:
        return ImageTower.patches(self, images)

    def encode_visible(
        self,
        images: Float[Tensor, "B 3 H W"],
        index: Int[Tensor, "B k"],
        mask_token: Float[Tensor, " width"] | None = None,
    ) -> PictureStates:
        return ImageTower.encode_visible(self, images, index, mask_token)
