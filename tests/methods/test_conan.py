"""Conan: mining, the rule of replacement, what is stored, and graded pairs beside retrieval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from datasets import Dataset
from torch import Tensor, nn

from counterpoint.losses import CoSENTLoss, HardNegativesLoss
from counterpoint.methods._candidates import Candidates, MinedCandidates, easy, mine
from counterpoint.methods.arm import Arm
from counterpoint.methods.conan import CANDIDATES, Conan
from counterpoint.methods.fitting import fitting
from counterpoint.networks.base import TextTower
from counterpoint.recipes.schema import Recipe, Widths
from counterpoint.types import Batch, StepInfo

START = StepInfo(0, 10)
N, WIDTH = 12, 4


class Letters:
    """A tokenizer of single ids; the last one ends a text."""

    context, vocabulary, end = 4, 40, 39

    def __call__(self, captions: Any) -> Tensor:
        raise NotImplementedError

    too_long = __call__


class Table(TextTower):
    """A vector for each first token, and how often it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.width, self.tokenizer = WIDTH, Letters()
        self.words = nn.Embedding(Letters.vocabulary, WIDTH)
        self.asked = 0

    def forward(self, tokens: Tensor, dropout: float = 0.0) -> Tensor:
        self.asked += len(tokens)
        return self.words(tokens[:, 0])


class All:
    """All examples, in batches of another length each."""

    def __init__(self, batch: Batch) -> None:
        self.batch, self.ids, self.labels = batch, batch.ids, batch.labels

    def map(self, function: Callable[[Batch], Tensor]) -> Tensor:
        return torch.cat([function(part) for part in self.batch.split(5)])


def method_of(columns: tuple[str, ...] = ("question", "answer"), **options: Any) -> Conan:
    torch.manual_seed(0)
    tower = Table()
    options = {"negatives": 2, "listed": 5, "most": 1.0, **options}
    method = Conan(dict.fromkeys(columns, tower), Recipe(widths=Widths(embedding=WIDTH)), **options)
    nn.init.eye_(method.projections[columns[0]].weight)
    return method


def texts(first: Tensor) -> Tensor:
    return torch.stack([first, torch.full_like(first, Letters.end)], 1)


def whole(n: int = N) -> Batch:
    """Question i is the token i, its answer the token 20 + i."""
    ids = torch.arange(n)
    return Batch(100 + 7 * ids, {"question": texts(ids), "answer": texts(20 + ids)})


def rows(batch: Batch, chosen: list[int]) -> Batch:
    return batch.map(lambda tensor: tensor[chosen])


def cosines(method: Conan) -> Tensor:
    """Return the cosine of every question with every answer."""
    z = F.normalize(method.towers["question"].words.weight, dim=-1).detach()
    return z[:N] @ z[20 : 20 + N].T


def test_mined_negatives_are_those_of_sentence_transformers() -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util import mine_hard_negatives

    generator = torch.Generator().manual_seed(1)
    z = {text: F.normalize(torch.randn(3, generator=generator), dim=0) for text in [*"abcdef", *"ABCDEF"]}

    class Known(SentenceTransformer):
        def __init__(self) -> None:
            nn.Module.__init__(self)

        def encode(self, sentences: Any, **_: Any) -> Any:
            return torch.stack([z[text] for text in sentences]).numpy()

        encode_query = encode_document = encode

        @property
        def similarity(self) -> Any:
            return lambda a, b: torch.as_tensor(a) @ torch.as_tensor(b).T

        similarity_pairwise = property(
            lambda self: lambda a, b: (torch.as_tensor(a) * torch.as_tensor(b)).sum(-1)
        )

    pairs = Dataset.from_dict({"anchor": [*"abcdef"], "positive": [*"ABCDEF"]})
    for skip, most in ((0, 1.0), (1, 0.95)):
        theirs = mine_hard_negatives(
            pairs,
            Known(),
            range_min=skip,
            num_negatives=2,
            relative_margin=None if most == 1.0 else 1 - most,
            output_format="triplet",
            verbose=False,
        )
        found = {(row["anchor"], row["negative"]) for row in theirs}
        q, p = (torch.stack([z[text] for text in names]) for names in ("abcdef", "ABCDEF"))
        mined = mine(q, p, torch.arange(6), 2, skip=skip, most=most).documents
        ours = {("abcdef"[i], "ABCDEF"[j]) for i, row in enumerate(mined.tolist()) for j in row if j >= 0}
        assert ours == found


def test_at_random_document_but_and_likely_right_ones_may_mined() -> None:
    z = F.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    own, allowed = torch.arange(6), z @ z.T <= 0.5
    seen = torch.zeros(6, 6, dtype=torch.bool)
    for seed in range(40):
        mined = mine(z, z, own, 2, skip=1, most=0.5, draws=torch.Generator().manual_seed(seed))
        rows, places = torch.nonzero(mined.documents >= 0, as_tuple=True)
        documents = mined.documents[rows, places]
        seen[rows, documents] = True
        torch.testing.assert_close(mined.scores[rows, places], (z @ z.T)[rows, documents])
        assert all(
            len(set(row)) == len(row)
            for row in ([d for d in row if d >= 0] for row in mined.documents.tolist())
        )
    assert torch.equal(seen, allowed & ~torch.eye(6, dtype=torch.bool))


def test_is_mined_at_random_follows_from_generator_look_is_given() -> None:
    listed = []
    for seed in (0, 0, 5):
        method = method_of(mined="random")
        torch.manual_seed(seed)
        method.on_epoch_start(All(whole()), START)
        listed.append(method.candidates.listed)
    assert torch.equal(listed[0], listed[1])
    assert not torch.equal(listed[0], listed[2])


def test_query_with_too_few_documents_has_places_that_are_empty() -> None:
    z = F.normalize(torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    mined = mine(z, z, torch.arange(3), 4, skip=1)
    assert (mined.documents >= 0).sum(1).tolist() == [1, 1, 1]
    assert mine(z[:1], z[:1], torch.zeros(1, dtype=torch.int64), 2).documents.tolist() == [[-1, -1]]


def test_both_conditions_hold_for_a_negative_to_be_easy() -> None:
    now, first = torch.tensor([0.7, 0.85, 0.58, 0.5]), torch.tensor([0.71, 1.0, 0.7, 0.99])
    # Fallen too little; fallen but still above the limit; fallen by more than the factor; fallen far.
    assert easy(now, first).tolist() == [False, False, True, True]
    assert easy(torch.tensor([0.5, -0.3]), torch.tensor([0.0, -0.9])).tolist() == [True, True]


def test_looking_mines_query_knows_one_document_under_two() -> None:
    method, batch = method_of(), whole()
    batch.views["answer"][1] = batch.views["answer"][0]
    method.on_epoch_start(All(batch), START)
    store = method.candidates
    assert store.ids.tolist() == batch.ids.tolist()
    assert len(store.documents) == N - 1
    assert store.own[0] == store.own[1]
    answers = store.documents[:, 0] - 20
    scores = cosines(method)
    for row in range(N):
        own = int(store.own[row])
        others = [number for number in range(N - 1) if number != own]
        ranked = sorted(others, key=lambda number: -scores[row, answers[number]].item())
        assert store.listed[row].tolist() == ranked[:5]
        expected = [scores[row, answers[number]] for number in ranked[:2]]
        torch.testing.assert_close(store.first[row], torch.stack(expected))


def test_a_batch_has_the_negatives_that_count_as_a_view() -> None:
    method, batch = method_of(renew="never"), whole()
    method.on_epoch_start(All(batch), START)
    part = method.prepare(rows(batch, [3, 8]), START)
    store = method.candidates
    assert torch.equal(part[CANDIDATES][..., 0], store.documents[store.listed[[3, 8], :2]][..., 0])
    assert part[CANDIDATES].shape == (2, 2, 2)  # no longer than the longest text
    z = method.encode(part)
    q, p = (F.normalize(z[column], dim=-1) for column in ("question", "answer"))
    n = F.normalize(z["candidates.answer"], dim=-1)
    documents = store.own[[3, 8]], store.listed[[3, 8], :2]
    expected = HardNegativesLoss(0.02)(q, p, n, None, documents)
    torch.testing.assert_close(method.losses(z, part, START)["conan"], expected)


def test_has_become_easy_gives_way_and_replaces_it_has_score() -> None:
    method, batch = method_of(factor=1.15, limit=0.8), whole()
    method.on_epoch_start(All(batch), START)
    store = method.candidates
    row = next(i for i in range(N) if store.first[i, 0] > 0.3 and (store.listed[i] >= 0).all())
    easiest = int(store.listed[row, 0])
    words = method.towers["question"].words.weight
    before = store.offsets[row].tolist(), store.first[row].clone()
    with torch.no_grad():  # the answer moves away from the question
        answer = words[store.documents[easiest, 0]]
        answer.sub_(words[row] * (answer @ words[row]) / (words[row] @ words[row]))
    part = method.prepare(rows(batch, [row]), START)
    assert before[0] == store.offsets[row].tolist()  # nothing is kept before the step was taken
    z = {name: tensor.detach() for name, tensor in method.encode(part).items()}
    method.after_step(z, part, START)
    assert store.offsets[row].tolist()[0] == 2
    assert store.next[row] >= 3
    taken = int(store.listed[row, 2])
    torch.testing.assert_close(store.first[row, 0], cosines(method)[row, store.documents[taken, 0] - 20])
    again = method.prepare(rows(batch, [row]), START)
    assert int(again[CANDIDATES][0, 0, 0]) == int(store.documents[taken, 0])


def test_a_list_that_has_ended_keeps_its_negatives() -> None:
    method, batch = method_of(listed=2), whole()
    method.on_epoch_start(All(batch), START)
    with torch.no_grad():
        method.towers["question"].words.weight[20:].mul_(-1)
    part = method.prepare(batch, START)
    assert torch.equal(part["candidates.offsets"], method.candidates.offsets)
    assert method.candidates.find(batch.ids)[1].all()


def test_a_candidate_that_is_likely_right_is_passed_over() -> None:
    method, batch = method_of(most=0.95), whole()
    method.on_epoch_start(All(batch), START)
    store, scores = method.candidates, cosines(method)
    for row in range(N):
        own = scores[row, row]
        taken = store.listed[row][store.listed[row] >= 0]
        assert (scores[row, store.documents[taken, 0] - 20] <= 0.95 * own + 1e-6).all()


def test_scores_are_compared_in_evaluation_mode() -> None:
    method, batch = method_of(), whole()
    modes = []
    method.on_epoch_start(All(batch), START)
    tower = method.towers["question"]
    tower.register_forward_hook(lambda module, inputs, output: modes.append(module.training))
    method.train()
    method.prepare(batch, START)
    assert modes
    assert not any(modes)
    assert method.training


def test_store_is_saved_with_model_and_loaded_whatever_its_size() -> None:
    method, batch = method_of(), whole()
    method.on_epoch_start(All(batch), START)
    other = method_of()
    other.load_state_dict(method.state_dict())
    assert other.candidates.filled
    one, two = (it.prepare(batch, START) for it in (method, other))
    assert torch.equal(one[CANDIDATES], two[CANDIDATES])
    method_of().load_state_dict(method_of().state_dict())


def test_step_measured_before_anything_mined_of_size_of_others() -> None:
    part = method_of(negatives=3).prepare(whole(), START)
    assert part[CANDIDATES].shape == (N, 3, 2)
    method = method_of(negatives=0)
    assert method.prepare(whole(), START).views.keys() == {"question", "answer"}
    assert not method.epoch_start_every
    assert method_of(renew="all", every=3).epoch_start_every == 3


@pytest.mark.parametrize(
    ("options", "of_all"),
    [({"renew": "easy"}, 2), ({"renew": "never"}, 2), ({"renew": "all"}, 0), ({"negatives": 0}, 0)],
)
def test_documents_and_queries_passed_once_where_they_mined_once(
    options: dict[str, Any], of_all: int
) -> None:
    assert sum(method_of(**options).passes_of_all().values()) == of_all


def graded(have: Mapping[str, list[bool]]) -> Batch:
    ids = torch.arange(6)
    views = {name: texts(ids + 5 * k) for k, name in enumerate(("question", "answer", "first", "second"))}
    present = {name: torch.tensor(flags) for name, flags in have.items()}
    return Batch(ids, views, {"similarity": torch.tensor([-1, -1, -1, 3, 0, 1])}, present)


COLUMNS = ("question", "answer", "first", "second")
HALVES = {
    **dict.fromkeys(COLUMNS[:2], [True] * 3 + [False] * 3),
    **dict.fromkeys(COLUMNS[2:], [False] * 3 + [True] * 3),
}


def test_a_step_of_both_sources_sums_the_terms_of_each() -> None:
    method, batch = method_of(COLUMNS, negatives=0), graded(HALVES)
    z = method.encode(batch)
    terms = method.losses(z, batch, START)
    alone = replace(batch, present={})
    q, p, a, b = (F.normalize(method.encode(alone)[name], dim=-1) for name in COLUMNS)
    torch.testing.assert_close(terms["conan"], HardNegativesLoss(0.02)(q[:3], p[:3]))
    expected = 0.8 * CoSENTLoss(0.05)(a[3:], b[3:], labels=batch.labels["similarity"][3:])
    torch.testing.assert_close(terms["cosent"], expected)


@pytest.mark.parametrize("source", [0, 1])
def test_a_step_of_one_source_alone_has_nothing_of_the_other(source: int) -> None:
    none = dict.fromkeys(COLUMNS[2 * source : 2 * source + 2], [False] * 6)
    method, batch = method_of(COLUMNS, negatives=0), graded(none)
    terms = method.losses(method.encode(batch), batch, START)
    name = ("conan", "cosent")[source]
    assert terms[name].item() == 0
    torch.stack(list(terms.values())).sum().backward()


def test_what_is_not_there_is_not_looked_at() -> None:
    method, batch = method_of(COLUMNS, negatives=0), graded(HALVES)
    method.towers["question"].asked = 0
    method.encode(batch)
    assert method.towers["question"].asked == 12


def test_columns_that_are_not_for_it_are_refused() -> None:
    with pytest.raises(ValueError, match="takes 2 or 4 columns, and there are 3"):
        method_of(COLUMNS[:3])
    method = method_of(COLUMNS, graded="likeness")
    batch = graded(HALVES)
    with pytest.raises(ValueError, match="likeness"):
        method.losses(method.encode(batch), batch, START)


def test_data_of_three_columns_is_told_pairs_and_does_not_fit() -> None:
    texts = dict.fromkeys(("question", "answer", "title"), "text")
    mixed = {"image": "image", "text": "text", "audio": "audio"}
    for columns, pairs in (
        (texts, "conan,columns=question+answer, conan,columns=question+title, conan,columns=answer+title;"),
        (mixed, "conan,columns=image+text, conan,columns=audio+text;"),
    ):
        with pytest.raises(ValueError, match="conan takes 2 or 4 columns, and there are 3") as refusal:
            Arm.parse("conan").reads(columns)
        assert f"write one of {pairs} methods that fit such data: " in str(refusal.value)
        assert "conan" not in fitting(columns)
    assert list(Arm.parse("conan,columns=audio+text").reads(mixed)) == ["audio", "text"]
    with pytest.raises(ValueError, match=r"takes a column of text second, .*write conan,columns=FIRST\+TEXT"):
        Arm.parse("conan,columns=text+audio").reads(mixed)


def test_a_store_finds_queries_by_their_ids() -> None:
    store = Candidates(2)
    assert not store.filled
    store.fill(
        torch.tensor([5, 2]),
        torch.tensor([0, 1]),
        torch.zeros(2, 3, dtype=torch.int64),
        MinedCandidates(torch.tensor([[1], [0]]), torch.tensor([[0.5], [0.25]])),
    )
    assert store.ids.tolist() == [2, 5]
    assert store.find(torch.tensor([5, 3, 9]))[1].tolist() == [True, False, False]
    assert store.first.tolist() == [[0.25, -torch.inf], [0.5, -torch.inf]]
    assert store.at(torch.tensor([0]), store.offsets[:1]).tolist() == [[0, -1]]
