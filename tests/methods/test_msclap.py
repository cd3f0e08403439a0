"""MS-CLAP: CLAP's loss, residual projections, the last real token, labels before pairs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, RECIPE, StubSound, StubText, WordTokenizer, batch, build
from transformers.models.clap.modeling_clap import contrastive_loss

from counterpoint import methods
from counterpoint.methods import Arm
from counterpoint.networks.heads import ResidualProjection
from counterpoint.networks.towers.transformer import TextTransformer
from counterpoint.registry import UnknownNameError
from counterpoint.training.run import target_of
from counterpoint.types import Batch, StepInfo
from fixtures.tiny import TinyData


def test_the_loss_is_claps() -> None:
    method = build("msclap", dropout=0.0).double()
    given = batch(method, size=6, dtype=torch.float64)
    z = method.encode(given)
    x, y = (F.normalize(method.project(c, z[c], "global"), dim=-1) for c in ("image", "text"))
    logits = x @ y.T / 0.07
    wanted = (contrastive_loss(logits) + contrastive_loss(logits.T)) / 2
    torch.testing.assert_close(method.losses(z, given, LATE), {"msclap": wanted})


def test_a_projection_is_that_of_the_release() -> None:
    head = ResidualProjection(6, 4, 0.5).double()
    u = torch.randn(3, 6, dtype=torch.float64)
    e = u @ head.first.weight.T
    wanted = F.layer_norm(e + F.gelu(e) @ head.second.weight.T, (4,), eps=1e-5)
    torch.testing.assert_close(head.eval()(u), wanted)
    assert head.first.bias is None
    assert head.second.bias is None
    assert not torch.allclose(head.train()(u), wanted)  # half of the second part is dropped


class WithExclamations(WordTokenizer):
    """A tokenizer in which padding and "!" have one id, as in GPT-2's vocabulary."""

    context = 8


def test_a_text_is_read_at_its_last_real_token_whatever_its_ids() -> None:
    tower = TextTransformer(WithExclamations(), width=16, depth=2, heads=2).eval()
    method = methods.create("msclap", {"audio": StubSound(), "text": tower}, RECIPE)
    end = WordTokenizer.end
    tokens = torch.tensor([[5, 0, 7, end, 0, 0], [5, 0, 0, end, 0, 0], [9, 4, 3, 2, 1, end]])
    with torch.no_grad():
        states, found = tower.states(tokens), tower(tokens)
        assert torch.equal(found[:2], states[:2, 3])
        assert torch.equal(found[2], states[2, 5])
        # By counting ids that are not 0, as the release does, another token would be read.
        wrong = states[torch.arange(3), (tokens != 0).sum(1) - 1]
        assert not torch.allclose(wrong[:2], found[:2])
        torch.testing.assert_close(tower(tokens[:2, :4]), found[:2])
        assert method.text_tower is tower
        # At the first token nothing has been read yet: texts that begin alike are all the same.
        methods.create("msclap", {"audio": StubSound(), "text": tower}, RECIPE, read="first")
        first = tower(tokens)
        torch.testing.assert_close(first[0], first[1])
        assert not torch.allclose(found[0], found[1])


def test_labels_come_first_and_teach_the_tower_of_sounds_alone() -> None:
    towers = {"text": StubText(), "audio": StubSound()}
    method = methods.create("msclap", towers, RECIPE, tasks="colour+count", share=0.25, classes=5)
    supervised, contrastive = method.stages
    assert (supervised.share, contrastive.share) == (0.25, 0.75)
    assert method.taught == "audio"
    given = batch(method, size=4)
    labels = {"colour": torch.tensor([0, 4, -1, 2]), "count": torch.tensor([-1, 1, 1, -1])}
    given = replace(given, labels=labels)
    terms = method.losses(method.encode(given), given, StepInfo(0, 10, stage="supervised"))
    features = method.encode(given)["audio"]
    for k, (task, target) in enumerate(labels.items()):
        known = target >= 0
        wanted = F.cross_entropy(method.classifiers[k](features[known]), target[known]) / 2
        torch.testing.assert_close(terms[task], wanted)
    torch.stack(list(terms.values())).sum().backward()
    for name, parameter in method.named_parameters():
        assert (parameter.grad is not None) == name.startswith(supervised.moves), name
    assert set(method.losses(method.encode(given), given, StepInfo(5, 10, stage="contrastive"))) == {"msclap"}
    assert not any(name.startswith(contrastive.moves) for name in ("classifiers.0.weight",))
    assert build("msclap").stages == ()


def test_labels_that_cannot_be_learned_are_named() -> None:
    towers = {"audio": StubSound(), "text": StubText()}
    method = methods.create("msclap", towers, RECIPE, tasks="colour", classes=3)
    assert target_of(Arm.parse("msclap,tasks=tone+gender"), "", TinyData()) is None
    with pytest.raises(UnknownNameError, match="unknown label 'gendr': did you mean 'gender'"):
        target_of(Arm.parse("msclap,tasks=tone+gendr"), "", TinyData())
    given = batch(method, size=2)
    start = StepInfo(0, 10, stage="supervised")
    given = Batch(given.ids, given.views, {"colour": torch.tensor([0, 3])})
    with pytest.raises(ValueError, match="colour has a class 3, and there is room for 3"):
        method.losses(method.encode(given), given, start)
    with pytest.raises(ValueError, match="names a label twice"):
        methods.create("msclap", towers, RECIPE, tasks="colour+colour")
    with pytest.raises(ValueError, match="share of 0"):
        methods.create("msclap", towers, RECIPE, tasks="colour", share=0.0)
