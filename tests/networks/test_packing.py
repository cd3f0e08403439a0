"""Exchanges packed behind the pictures of a row: each sees these and itself, and is what it is alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from counterpoint.data.views import key
from counterpoint.data.views.conversations import talk
from counterpoint.methods.arm import Arm
from counterpoint.networks.packing import packed_mask, packed_positions
from counterpoint.networks.towers.chat import EXCHANGE, REPLY, TOKEN
from counterpoint.raw import Exchange
from counterpoint.testing._stubs import LATE
from counterpoint.types import Batch
from fixtures.speaking import GOOD, PICTURES, RECIPE

REQUESTS = ["What is it?", "Is there a bus?", "No?"]
ROWS = [tuple(Exchange(request, reply) for request in REQUESTS) for reply in GOOD]
COLUMNS = {"image": "image", "talk": "talk"}


def build(arm: str = "sft", packed: int | str = 3, **towers: Any) -> Any:
    changes = {"talk_exchanges": packed, **towers}
    recipe = RECIPE.model_copy(update={"towers": RECIPE.towers.model_copy(update=changes)})
    columns = dict(COLUMNS, second="image") if "second" in arm else COLUMNS
    examples = {"image": PICTURES, "talk": ROWS, "second": PICTURES.flip(0)}
    examples = {column: examples[column] for column in columns}
    return Arm.parse(arm).build(recipe, examples, 0, columns=columns).double().eval()


def batch_of(method: Any, tokens: torch.Tensor) -> Batch:
    pictures = dict(zip(method.pictures, (PICTURES, PICTURES.flip(0)), strict=False))
    shown = {column: method.inputs[column](raw).double() for column, raw in pictures.items()}
    return Batch(torch.arange(4), {**shown, "talk": tokens}, {}, {})


def test_positions_and_sight_by_hand() -> None:
    exchange = torch.tensor([[1, 1, 1, 2, 2, 0]])  # an opening of one, a picture of two
    assert packed_positions(exchange, 1, 2).tolist() == [[0, 1, 2, 3, 4, 3, 4, 3]]
    seen = ["10000000", "11000000", "11100000", "11110000", "11111000", "11100100", "11100110", "11100001"]
    found = ["".join(str(int(it)) for it in row) for row in packed_mask(exchange, 1, 2)[0]]
    assert found == seen


@pytest.mark.parametrize(
    "options",
    ["bridge=linear", "bridge=resampler,tokens=2", "bridge=crossed,tokens=2", "columns=image+talk+second"],
)
def test_each_exchange_is_as_likely_as_alone(options: str) -> None:
    method = build(f"sft,{options}")
    packed = method.language.chat.pack(ROWS)
    together = method.encode(batch_of(method, packed))["talk"]
    for number in range(3):
        alone = method.language.chat([row[number : number + 1] for row in ROWS])
        expected = method.encode(batch_of(method, alone))["talk"]
        for row in range(4):
            mine = (packed[row, EXCHANGE] == number + 1) & (packed[row, REPLY] > 0)
            its = alone[row, REPLY] > 0
            assert torch.equal(packed[row, TOKEN][mine], alone[row, TOKEN][its])
            torch.testing.assert_close(together[row][mine], expected[row][its], rtol=1e-9, atol=1e-9)


def test_one_exchange_packed_is_unpacked() -> None:
    method, plain = build(packed=2), build(packed=1)
    rows = [row[:1] for row in ROWS]
    tokens = method.language.chat.pack(rows)
    assert torch.equal(tokens, method.language.chat(rows))
    batch = batch_of(method, tokens)
    assert torch.equal(method.encode(batch)["talk"], plain.encode(batch)["talk"])


def test_no_gradient_crosses_exchanges() -> None:
    method = build()
    tokens = method.language.chat.pack(ROWS)
    embedded: list[torch.Tensor] = []

    def kept(module: Any, args: Any, output: torch.Tensor) -> None:
        output.retain_grad()
        embedded.append(output)

    handle = method.language.model.get_input_embeddings().register_forward_hook(kept)
    log_p = method.encode(batch_of(method, tokens))["talk"]
    handle.remove()
    mine = tokens[:, EXCHANGE] == 2
    log_p[mine].sum().backward()
    grads = embedded[0].grad.abs().sum(2)
    opening = method.language.chat.opening
    others = ~mine[:, : grads.shape[1]]
    others[:, :opening] = False
    assert grads[others].max() == 0
    assert grads[~others].sum() > 0


def test_a_row_gives_as_many_exchanges_as_are_packed() -> None:
    chat, keys = build(packed=2).language.chat, key(0, 0, np.arange(4), "talk")
    view = talk("plain", RECIPE.augmentation)
    rows = [ROWS[0], ROWS[1][:1], (), ROWS[3]]
    tokens = view(rows, keys, chat)
    assert (tokens[:, EXCHANGE].amax(1)).tolist() == [2, 1, 1, 2]
    chat.exchanges = 1
    alone = view(rows, keys, chat)
    assert tokens[:, :, : alone.shape[2]][1].equal(alone[1]), "a row of one is the same"
    first = alone[0, TOKEN][alone[0, EXCHANGE] > 0]
    assert torch.equal(tokens[0, TOKEN][: len(first)], first), "the first is the one that is drawn alone"
    chat.exchanges = 9
    every = view(rows, keys, chat)
    texts = {chat.decode(every[0, TOKEN][every[0, EXCHANGE] == number]) for number in (1, 2, 3)}
    assert len(texts) == 3


def test_a_whole_row_comes_in_its_order_and_later_exchanges_see_earlier_ones() -> None:
    method, keys = build(packed="whole"), key(0, 0, np.arange(4), "talk")
    chat, rows = method.language.chat, [ROWS[0][:2], ROWS[1][:1], (), ROWS[3][1:]]
    tokens = talk("plain", RECIPE.augmentation)(rows, keys, chat)
    assert torch.equal(tokens, chat([row or (Exchange("", ""),) for row in rows]))
    log_p = method.encode(batch_of(method, tokens))["talk"]
    assert torch.equal(log_p, build("sft", 1).encode(batch_of(method, tokens))["talk"])
    other = tokens.clone()
    other[:, TOKEN, chat.opening] += 1
    later = (tokens[0, EXCHANGE] == 2) & (tokens[0, REPLY] > 0)
    changed = method.encode(batch_of(method, other))["talk"][0] - log_p[0]
    assert changed[later].abs().min() > 1e-9
    build("sft,lm=mamba", packed="whole")  # reads in order, as it does any conversation


def test_the_loss_counts_tokens_of_all_exchanges() -> None:
    method = build()
    tokens = method.language.chat.pack(ROWS)
    batch = batch_of(method, tokens)
    z = method.encode(batch)
    count = ((tokens[:, REPLY] > 0) & (tokens[:, EXCHANGE] > 0)).sum()
    torch.testing.assert_close(method.losses(z, batch, LATE)["nll"], -z["talk"].sum() / count)


@pytest.mark.parametrize("arm", ["cal,low=0.01,high=0.2,window=9", "cumo", "llava-uhd-v2,tokens=1"])
def test_losses_of_packed_exchanges_are_those_of_exchanges_alone(arm: str) -> None:
    """Terms about pictures alone see each picture once, and here as often as others."""
    method, plain = build(arm), build(arm, packed=1)
    plain.load_state_dict(method.state_dict())
    chat, pictures = method.language.chat, method.inputs["image"](PICTURES).double()
    every = chat([row[n : n + 1] for row in ROWS for n in range(3)])
    alone = Batch(torch.arange(12), {"image": pictures.repeat_interleave(3, 0), "talk": every}, {}, {})
    found, expected = (
        it.losses({**it.targets(batch), **it.encode(batch)}, batch, LATE)
        for it, batch in ((method, batch_of(method, chat.pack(ROWS))), (plain, alone))
    )
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name])


def test_what_reads_one_exchange_refuses_more() -> None:
    with pytest.raises(ValueError, match="talk_exchanges=3: NextToken reads one exchange behind a picture"):
        build("next-token,lm=llama")
    with pytest.raises(ValueError, match="the language model 'mamba' reads one exchange"):
        build("sft,lm=mamba")
