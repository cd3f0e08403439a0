"""PRIOR: its terms by loops over sentences, the assignment, sigmoid attention, and its traps."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import torch
import torch.nn.functional as F
from method_stubs import LATE, batch, build, prepared
from torch import Tensor

from counterpoint.methods._sentences import SentenceSplitter, sentence_means
from counterpoint.methods.prior import BANK, KL, LOCAL, REBUILT, SET, WRITTEN, assigned
from counterpoint.networks import BytePairTokenizer
from counterpoint.networks.attention_pooling import MeanQueryPooler
from counterpoint.networks.fusion.sigmoid_attention import SigmoidAttention
from counterpoint.networks.init import initialise
from counterpoint.networks.prototype_bank import PrototypeBank
from counterpoint.types import Batch, NamesSentences, StepInfo

F64 = torch.float64


def prior(**options: Any) -> Any:
    return build("prior", **{"prototypes": 7, "queries": 4, "depth": 1, **options}).double().eval()


def given_of(method: Any, size: int = 5) -> Batch:
    """A batch with sentences of two words each: the first mark of the splitter ends one."""
    given = batch(method, size, dtype=F64)
    mark = int(method.splitter.marks[0])
    tokens = torch.randint(1, 60, (size, 6), generator=torch.Generator().manual_seed(1))
    for other in method.splitter.marks.tolist():
        tokens[tokens == other] = 61 if mark != 61 else 62
    tokens[:, 1::2] = mark
    tokens[1, 2:] = 0  # one sentence
    tokens[2, 4:] = 0  # two
    tokens[range(size), [5, 2, 4, 5, 5]] = method.text_tower.tokenizer.end
    return replace(given, views={**given.views, "text": tokens})


@torch.no_grad()
def test_terms_are_those_of_the_card() -> None:
    method = prior()
    given = given_of(method)
    z = method.encode(given)
    v = method.patch_head(method.image_tower.patches(given["image"]).flatten(2).mT)
    words = method.sentence_head(method.text_tower.states(given["text"]))
    prototypes, noise = method.bank.prototypes.weight, given["noise"]
    scale, width = 1 / method.local_temperature.value, v.shape[2]
    local, errors, sets, divergences = [], [], [], []
    for row, count in enumerate((3, 1, 2, 3, 3)):
        parts = [words[row, 2 * k : 2 * k + 2] for k in range(count)]
        if count == 3:
            parts[2] = parts[2][:1]  # the end token belongs to no sentence
        u = torch.stack([part.mean(0) for part in parts])
        s = ((u @ prototypes.T + noise[row, 0, :count]) / 0.9).softmax(1) @ prototypes
        errors += (s - u).abs().mean(1).tolist()
        q_v, k_v, v_v = method.attention.of_patches(v[row]).chunk(3, -1)
        q_s, k_s, v_s = method.attention.of_sentences(s).chunk(3, -1)
        c_v = torch.sigmoid(q_v @ k_s.T / width**0.5) @ v_s
        c_s = torch.sigmoid(q_s @ k_v.T / width**0.5) @ v_v
        cosines = [F.cosine_similarity(method.predictor(a), b) for a, b in ((v[row], c_v), (c_v, v[row]))]
        logits = scale * F.normalize(s, dim=1) @ F.normalize(c_s, dim=1).T
        own = torch.arange(count)
        contrast = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
        local.append([-(cosines[0].mean() + cosines[1].mean()) / 2, contrast, float(count > 1)])
        targets = F.pad(s, (0, 0, 0, 4 - count))
        outputs = method.generated(v[row : row + 1])[0]
        best = min(permutations(range(4)), key=lambda order: (outputs[list(order)] - targets).abs().sum())
        matched = outputs[list(best)]
        sets.append((matched - targets).abs().mean())
        true, said = (x @ prototypes.T for x in (u, matched[:count]))
        divergences.append(F.kl_div(said.log_softmax(1), true.softmax(1), reduction="sum"))
    torch.testing.assert_close(z[LOCAL + "image"], torch.tensor(local, dtype=F64))
    torch.testing.assert_close(z[SET + "text"], torch.stack(sets))
    torch.testing.assert_close(z[KL + "text"][:, 0], torch.stack(divergences))
    losses = method.losses(z, given, LATE)
    torch.testing.assert_close(losses["bank"], torch.tensor(10 * sum(errors) / 12, dtype=F64))
    torch.testing.assert_close(losses["kl"], torch.stack(divergences).sum() / 12)
    # A report of one sentence has nothing to be told from.
    expected = torch.tensor([c for _, c, several in local if several], dtype=F64).mean()
    torch.testing.assert_close(losses["sentences"], expected)


def test_stages_add_terms_and_move_what_they_read() -> None:
    method = prior()
    terms = {}
    for stage in method.stages:
        clock = StepInfo(0, 9, stage=stage.name)
        given = method.prepare(given_of(method), clock)
        losses = method.losses(method.encode(given), given, clock)
        terms[stage.name] = set(losses)
        method.zero_grad()
        torch.autograd.backward(list(losses.values()))
        moved = {name for name, p in method.named_parameters() if p.grad is not None and p.grad.any()}
        assert all(name.startswith(stage.moves) for name in moved)
    first = {"contrast", "patches", "sentences"}
    rest = {"set", "kl", "written", "picture"}
    assert terms == {"align": first, "prototypes": first | {"bank"}, "generate": first | rest | {"bank"}}


def test_outputs_are_ordered_by_the_inverse_of_the_assignment() -> None:
    targets = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    order = torch.tensor([[1, 2, 0, 4, 3]])  # not its own inverse
    outputs = targets[:, order[0]] + 0.01
    torch.testing.assert_close(assigned(outputs, targets), targets + 0.01)


def test_order_of_sentences_matters_to_the_fixed_decoder_alone() -> None:
    for order, same in (("set", True), ("fixed", False)):
        method = prior(order=order)
        given = given_of(method, 5)
        rows = given.map(lambda t: t[[0, 3, 4]])
        noise = rows["noise"].clone()
        noise[:, :, :2] = noise[:, :, :2].flip(2)
        tokens = rows["text"][:, [2, 3, 0, 1, 4, 5]]
        other = replace(rows, views={**rows.views, "text": tokens, "noise": noise})
        a, b = (method.encode(x)[SET + "text"] for x in (rows, other))
        assert torch.allclose(a, b) == same


def test_padding_is_read_by_no_patch_and_its_zeros_are_targets() -> None:
    layer = SigmoidAttention(8).double()
    v, s = torch.randn(2, 3, 8, dtype=F64), torch.randn(2, 4, 8, dtype=F64)
    real = torch.tensor([[True, True, False, False], [False] * 4])
    c_v, _ = layer(v, s, real)
    torch.testing.assert_close(c_v[:1], layer(v[:1], s[:1, :2], real[:1, :2])[0])
    assert not c_v[1].any()
    # Weights are not divided by the number of keys: a sentence that is there twice counts twice.
    twice = torch.tensor([[True, True]] * 2)
    both, once = layer(v, s[:, [0, 0]], twice)[0], layer(v, s[:, :1], twice[:, :1])[0]
    torch.testing.assert_close(both, 2 * once)
    method = prior(queries=6)
    given = given_of(method)
    with torch.no_grad():
        method.queries.weight.zero_()
    assert (method.encode(given)[SET + "text"] > 0).all()


def test_sentences_end_in_marks_and_are_pooled_in_any_order() -> None:
    tokenizer = BytePairTokenizer.train(["a cat. a dog! why? yes"], vocabulary=290)
    splitter = SentenceSplitter(tokenizer)
    tokens = tokenizer(["a cat. a dog!! yes", "", "."])
    number = splitter(tokens)
    assert number[0].max() == 2
    assert (number[1] == -1).all()
    assert number[2].max() == 0
    pooler = MeanQueryPooler(8, 2).double()
    initialise(pooler, 0)
    s, real = torch.randn(1, 4, 8, dtype=F64), torch.tensor([[True, True, True, False]])
    torch.testing.assert_close(pooler(s, real), pooler(s[:, [2, 0, 1, 3]], real[:, [2, 0, 1, 3]]))
    torch.testing.assert_close(pooler(s, real), pooler(s[:, :3]))
    means, _ = sentence_means(torch.randn(3, tokens.shape[1], 4), number, 2)
    assert means.shape == (3, 2, 4)


def test_rows_without_a_sentence_have_finite_gradients() -> None:
    method = prior()
    given = given_of(method)
    tokens = given["text"].clone()
    tokens[0] = F.pad(torch.tensor([method.text_tower.tokenizer.end]), (0, tokens.shape[1] - 1))
    given = replace(given, views={**given.views, "text": tokens})
    z = method.encode(given)
    torch.autograd.backward(list(method.losses(z, given, LATE).values()))
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())
    assert z[BANK + "text"][0].tolist() == [0, 0]
    assert {REBUILT + "image", WRITTEN + "text"} <= set(z)


def test_the_bank_has_noise_in_training_alone() -> None:
    bank = PrototypeBank(5, 4)
    u = torch.randn(2, 4)
    torch.testing.assert_close(
        bank(u), (u @ bank.prototypes.weight.T / 0.9).softmax(1) @ bank.prototypes.weight
    )
    method = prior()
    texts = ["a b", "c d"]
    torch.testing.assert_close(method.embed("text", texts), method.embed("text", texts))
    given = given_of(method)
    other = prepared(method, given, seed=1)
    assert not torch.equal(given["noise"], other["noise"])


def test_names_the_sentences_nearest_to_what_its_queries_give() -> None:
    method = prior().float()
    sentences = ["small cat", "red hill", "green runs"]
    known = method.bank(method.sentences(method.text_tower.tokenizer(sentences))[0][:, 0])
    zero = torch.zeros_like(known[0])
    outputs = torch.stack([known[2], zero, known[0], known[2]]).detach()

    def generated(v: Tensor) -> Tensor:
        return outputs.expand(len(v), -1, -1)

    method.generated = generated
    pictures = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    assert method.name_sentences(pictures, sentences) == [[0, 2], [0, 2]]
    assert isinstance(method, NamesSentences)
