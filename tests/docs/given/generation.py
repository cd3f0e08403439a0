"""A generator and two embedders: of a picture's mean colour, and of a caption's length."""

import torch


def generate(prompt: str, seed: int) -> torch.Tensor:
    return torch.full((3, 8, 8), (len(prompt) + seed) % 256, dtype=torch.uint8)


class Mean:
    heads = ("global",)

    def embed(self, modality, inputs, head="default"):
        known = (
            inputs.float().mean((2, 3))
            if modality == "image"
            else torch.tensor([[float(len(t)), 1.0, 1.0] for t in inputs])
        )
        return torch.nn.functional.normalize(known + 1, dim=-1)

    def similarity(self, a, b):
        return a @ b.T


scorer = judge = Mean()
