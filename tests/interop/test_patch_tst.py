"""PatchTST of transformers: features as its own, whatever stands beside a series."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

import counterpoint as cp
from counterpoint.networks import build_towers
from counterpoint.networks.base import Tower
from counterpoint.recipes.schema import Towers
from counterpoint.registry import UnknownNameError

SIZES = {"d_model": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 32}
CUT = {"context_length": 24, "patch_length": 6, "patch_stride": 6}


def save(folder: Path, **options: object) -> transformers.PatchTSTModel:
    torch.manual_seed(0)
    settings = {**SIZES, **CUT, "norm_type": "layernorm", **options}
    model = transformers.PatchTSTModel(transformers.PatchTSTConfig(**settings))
    model.save_pretrained(folder)
    return model.eval()


def walks(*lengths: int, channels: int = 2) -> cp.Series:
    rng = np.random.default_rng(0)
    return cp.Series.of([rng.normal(0, 1, (length, channels)).cumsum(0) for length in lengths])


def tower(name: str, steps: int = 1000, seed: int = 0, channels: int = 2) -> Tower:
    rows, columns = {"series": walks(24, 9, channels=channels)}, {"series": "series"}
    return build_towers(Towers(series=name, series_steps=steps), rows, seed, columns=columns)["series"]


@pytest.mark.parametrize("options", [{}, {"use_cls_token": True}, {"do_mask_input": True}])
def test_series_has_library_s_features_whatever_stands_beside_it(
    tmp_path: Path, options: dict[str, object]
) -> None:
    model = save(tmp_path, num_input_channels=2, **options)
    net = tower(f"transformers:patchtst@{tmp_path}").eval()
    series = walks(24, 17, 40, 3)
    with torch.no_grad():
        together = net(net.input(series))
        for row, own in enumerate(together):
            torch.testing.assert_close(net(net.input(series[row]))[0], own, rtol=0, atol=1e-5)
        if not model.config.do_mask_input:
            theirs = model(past_values=net.input(series[0])).last_hidden_state
            expected = theirs[0, :, -4:].mean((0, 1))
            torch.testing.assert_close(together[0], expected, rtol=0, atol=1e-5)
    assert together.shape == (4, 16)
    assert torch.pdist(together).min() > 1e-3


def test_patches_without_measurement_count_as_little_as_padding(tmp_path: Path) -> None:
    save(tmp_path)
    net = tower(f"transformers:patchtst@{tmp_path}").eval()
    given = torch.randn(1, 24, 2)
    given[:, 12:] = torch.nan
    torch.testing.assert_close(net(given), net(given[:, :12]))
    gap = torch.randn(1, 24, 2)
    gap[:, 6:12, 1] = torch.nan
    assert net(gap).isfinite().all()
    assert net(torch.full((1, 3, 2), torch.nan)).isfinite().all()


def test_channels_that_share_weights_may_be_any_number(tmp_path: Path) -> None:
    save(tmp_path, num_input_channels=7)
    net = tower(f"transformers:patchtst@{tmp_path}", channels=3)
    assert net(net.input(walks(24, channels=3))).shape == (1, 16)
    save(tmp_path, num_input_channels=7, share_embedding=False)
    with pytest.raises(ValueError, match="takes series of 7 channels, and these have 3"):
        tower(f"transformers:patchtst@{tmp_path}", channels=3)


def test_a_kind_by_name_is_random_by_seed(tmp_path: Path) -> None:
    save(tmp_path)
    for name in ("transformers:patchtst", f"transformers:{tmp_path}"):
        one, same, other = (tower(name, steps=20, seed=seed).eval() for seed in (1, 1, 2))
        given = one.input(walks(40))
        assert given.shape == (1, 20, 2)
        assert torch.equal(one(given), same(given))
        assert not torch.allclose(one(given), other(given))
        one.train()(given).square().sum().backward()
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in one.parameters())


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(
        UnknownNameError, match="unknown transformers model of series 'patchts': did you mean 'patchtst'"
    ):
        tower("transformers:patchts")
    transformers.BertConfig(hidden_size=16, num_attention_heads=2).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="bert is no encoder of series that is known here"):
        tower(f"transformers:bert@{tmp_path}")
