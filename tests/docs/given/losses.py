"""Embeddings to learn from."""

import torch

import counterpoint as cp

image_embeddings, text_embeddings = (
    torch.nn.functional.normalize(torch.randn(8, 16), dim=-1).requires_grad_() for _ in range(2)
)
