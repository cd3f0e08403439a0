"""Fine-tuning on replies: what is counted, what reads what, what moves, and what is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from counterpoint.methods import create
from counterpoint.networks import tune
from counterpoint.networks.bridges.base import Seen
from counterpoint.networks.bridges.linear import LinearBridge
from counterpoint.networks.bridges.stacked import StackedBridge
from counterpoint.networks.speaker import Speaker
from counterpoint.networks.towers.language import LanguageTower, Llama
from counterpoint.raw import Exchange
from counterpoint.testing._stubs import INPUTS, LATE, RECIPE, SIZE, StubImage, batch, begun, stub_towers
from counterpoint.types import Prompt, Turn

READS = {"image": "image", "talk": "talk"}
PICTURES = list(INPUTS["image"])


def build(**options: Any) -> Any:
    return begun(create("sft", stub_towers(READS), RECIPE, **options), 0)


@torch.no_grad()
def test_the_loss_is_the_mean_over_tokens_of_replies() -> None:
    method = build().eval()
    given = batch(method, 5)
    tokens, reply, _ = given["talk"].unbind(1)
    speaker = method.speaker
    picture = speaker.given(speaker.patches(given["image"]))
    total, count = 0.0, 0
    for row in range(5):
        length = int((given["talk"][row, 2] > 0).sum())
        embedded = method.language.embed(tokens[row : row + 1, :length])
        opening = method.language.chat.opening
        whole = torch.cat([embedded[:, :opening], picture.tokens[row : row + 1], embedded[:, opening:]], 1)
        model = method.language.model
        log_p = model(inputs_embeds=whole).logits[0].log_softmax(-1)
        for place in range(1, length):
            if reply[row, place]:
                total -= float(log_p[place - 1 + picture.tokens.shape[1], tokens[row, place]])
                count += 1
    loss = method.losses(method.encode(given), given, LATE)["nll"]
    assert float(loss) == pytest.approx(total / count, rel=1e-5)


def test_without_a_picture_it_is_the_language_model_itself() -> None:
    method = build().eval()
    tokens = batch(method, 3)["talk"][:, 0, :7]
    with torch.no_grad():
        alone = method.language.model(input_ids=tokens).logits
        assert torch.equal(method.language.head(method.speaker.states(tokens, None)), alone)


def test_functions_before_layers_change_their_inputs() -> None:
    language = build().language.eval()
    embedded = torch.randn(2, 5, 8)
    plain = language.token_states(embedded)
    assert torch.equal(language.token_states(embedded, before={0: lambda x: x}), plain)
    shifted = language.token_states(embedded, before={0: lambda x: x + 1})
    assert torch.equal(shifted, language.token_states(embedded + 1))
    assert not torch.allclose(language.token_states(embedded, before={1: lambda x: x + 1}), plain)
    assert torch.equal(language.token_states(embedded), plain), "the functions are gone behind the call"
    causal = torch.ones(5, 5, dtype=torch.bool).tril().expand(2, -1, -1)
    torch.testing.assert_close(language.token_states(embedded, mask=causal), plain)
    later = language.token_states(embedded, positions=torch.arange(3, 8).expand(2, -1))
    torch.testing.assert_close(later, plain, msg="rotary positions count from any number")


@pytest.mark.parametrize("bridge", ["linear", "resampler"])
def test_padding_and_neighbours_change_no_log_probability(bridge: str) -> None:
    method = build(bridge=bridge).eval()
    given = batch(method, 4)
    whole = method.encode(given)["talk"]
    for row, part in enumerate(given.split(1)):
        torch.testing.assert_close(method.encode(part)["talk"][0], whole[row], rtol=1e-4, atol=1e-5)
    assert ((whole != 0) == (given["talk"][:, 1] > 0)).all()


def test_a_frozen_language_model_lets_the_gradient_through() -> None:
    towers = stub_towers(READS)
    tune(towers["talk"], "frozen")
    method = begun(create("sft", towers, RECIPE), 0)
    given = batch(method)
    method.losses(method.encode(given), given, LATE)["nll"].backward()
    moved = {name.split(".")[0] for name, p in method.named_parameters() if p.grad is not None}
    assert moved == {"towers", "bridge_projections"}
    assert all(p.grad is None for p in method.language.parameters())
    assert all(p.grad is not None for p in method.image_tower.parameters())


def test_lora_leaves_the_head_alone() -> None:
    tower = stub_towers(READS)["talk"]
    tune(tower, "lora")
    names = [name for name, p in tower.named_parameters() if p.requires_grad]
    assert names
    assert not [name for name in names if "lm_head" in name]


def test_replies_follow_the_greedy_choice_of_the_logits() -> None:
    method = build().eval()
    prompts = [Prompt("what runs?", PICTURES[0]), Prompt("what?", PICTURES[1]), Prompt("what?")]
    chat = method.language.chat
    for prompt, reply in zip(prompts, method.reply(prompts, max_tokens=4), strict=True):
        tokens = chat([(Exchange(prompt.text, ""),)])[:, 0]
        tokens = tokens[:, : int((chat([(Exchange(prompt.text, ""),)])[0, 2] > 0).sum())]
        patches = method._patches([prompt.picture])
        start = tokens.shape[1]
        with torch.no_grad():
            for _ in range(4):
                tokens = torch.cat(
                    [tokens, method.speaker.next_logits(tokens, patches).argmax(-1)[:, None]], 1
                )
        ended = (tokens[0, start:] == chat.end).cumsum(0) > 0
        assert chat.decode(tokens[0, start:][~ended]) == reply


def test_a_sampled_reply_does_not_depend_on_other_prompts() -> None:
    method = build().eval()
    prompts = [Prompt("what runs?", picture) for picture in PICTURES[:3]]
    whole = method.reply(prompts, sample=True, max_tokens=3, seed=4)
    assert method.reply(prompts[1:2], sample=True, max_tokens=3, seed=4) == whole[1:2]


def test_likelihoods_of_words_add_up() -> None:
    method = build().eval()
    exchanges = INPUTS["talk"][0][0], Exchange("what?", "a hill")
    words = method.log_likelihood_of_words([PICTURES[0], None], exchanges)
    assert [len(of) for of in words] == [4, 3]
    prompts = [Prompt(one.request, shown) for one, shown in zip(exchanges, [PICTURES[0], None], strict=True)]
    sums = method.log_p(prompts, [one.reply for one in exchanges])
    torch.testing.assert_close(torch.stack([of.sum() for of in words]), sums)
    # Behind an earlier turn the same reply has another likelihood, of its own tokens alone.
    later = method.log_p([Prompt("what?", None, (Turn("what?", "a cat"),))], ["a hill"])
    assert 0 > float(later) != float(sums[1])


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="unknown bridge 'liner': did you mean 'linear'"):
        build(bridge="liner")
    with pytest.raises(ValueError, match="tokens=3: this bridge gives a token for each of the 2 patches"):
        build(tokens=3)
    method = build()
    with pytest.raises(ValueError, match="this model writes talk and has no talk embeddings"):
        method.embed("talk", INPUTS["talk"])
    earlier = Prompt("what?", None, (Turn("what?", "a cat", PICTURES[0]),))
    with pytest.raises(ValueError, match="an earlier turn has one"):
        method.log_p([earlier], ["a hill"])
    with pytest.raises(ValueError, match="longer than the 24 tokens"):
        method.reply([Prompt("what?", None, earlier.turns * 9)])


@torch.no_grad()
def test_pictures_of_earlier_turns_stand_behind_the_openings_of_their_turns() -> None:
    method = build().eval()
    turns = (Turn("a", "cat", PICTURES[0]), Turn("a", "hill"))
    prompts = [Prompt("a", PICTURES[1], turns), Prompt("a", PICTURES[0], turns[:1]), Prompt("a", None, turns)]
    shown = [[PICTURES[0], None, PICTURES[1]], [PICTURES[0], PICTURES[0]], [PICTURES[0], None, None]]
    for index, tokens, patches, at in method._prompted(prompts):
        (number,) = index
        user = int(tokens[0, 1])
        begins = (tokens[0] == user).nonzero()[:, 0] + 1
        embedded, parts, last = method.language.embed(tokens), [], 0
        for begin, picture in zip(begins.tolist(), shown[number], strict=True):
            parts.append(embedded[:, last:begin])
            if picture is not None:
                inputs = method.inputs["image"](picture[None])
                parts.append(method.speaker.given(method.speaker.patches(inputs)).tokens)
            last = begin
        whole = torch.cat([*parts, embedded[:, last:]], 1)
        expected = method.language.head(method.language.token_states(whole)[:, -1])
        torch.testing.assert_close(method.speaker.next_logits(tokens, patches, at), expected)
    assert len(method.reply(prompts, max_tokens=2)) == 3


def test_a_language_model_of_transformers_is_read_from_its_folder(tmp_path: Path) -> None:
    from counterpoint.methods import Arm

    tower = stub_towers(READS)["talk"]
    assert isinstance(tower, LanguageTower)
    tower.model.save_pretrained(tmp_path)
    tower.chat.tokenizer.save_pretrained(tmp_path)
    recipe = RECIPE.model_copy(
        update={"towers": RECIPE.towers.model_copy(update={"image": "patches", "talk_context": 24})}
    )
    arm = Arm.parse(f"sft,lm=transformers:llama@{tmp_path},tune=frozen")
    method = arm.build(recipe, {}, 0, columns=READS)
    own, tokens = tower.eval(), batch(build(), 3)["talk"]
    torch.testing.assert_close(method.language.eval()(tokens), own(tokens))
    assert not any(p.requires_grad for p in method.language.parameters())
    assert all(p.requires_grad for p in method.bridge_projections.parameters())
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "chat_template.jinja").unlink(missing_ok=True)
    with pytest.raises(ValueError, match="its tokenizer has no chat template"):
        arm.build(recipe, {}, 0, columns=READS)


def grid_numbers(side: int) -> torch.Tensor:
    """The number of each patch of a square map, as features of width one."""
    return torch.arange(float(side * side)).view(1, side * side, 1)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ("strided", [[0, 2, 8, 10], [1, 3, 9, 11], [4, 6, 12, 14], [5, 7, 13, 15]]),
        ("tiles", [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]),
        ("repeated", [[0, 1, 2, 3]] * 4),
    ],
)
def test_groups_of_a_finer_view_are_those_of_deepstack(groups: Any, expected: list[list[float]]) -> None:
    bridge = StackedBridge(1, 1, (2, 2), tiles=2, groups=groups)
    torch.nn.init.ones_(bridge.linear.weight)
    torch.nn.init.zeros_(bridge.linear.bias)
    given = bridge(Seen((grid_numbers(2),), (2, 2), grid_numbers(4)))
    states = torch.full((1, 3 + 4 + 2, 1), 100.0)
    kept = states.clone()
    for layer, group in enumerate(expected, 1):
        added = given.before[layer](states, 3)[0, :, 0] - 100
        assert added.tolist() == [0, 0, 0, *group, 0, 0]
    assert torch.equal(states, kept), "nothing is added in place"
    assert sorted(given.before) == [1, 2, 3, 4]


class Corners(StubImage):
    """A tower whose patches are the means of the quarters of a picture."""

    def patches(self, images: torch.Tensor) -> torch.Tensor:
        assert images.shape[-1] == self.size
        return torch.nn.functional.adaptive_avg_pool2d(images.mean(1, keepdim=True), 2)


def test_tiles_are_stitched_to_one_map() -> None:
    picture = torch.rand(2, 3, 2 * SIZE, 2 * SIZE)
    speaker = Speaker(Corners(), StackedBridge(1, 8, (2, 2)), build().language, tiles=2)
    patches = speaker.patches(picture)[:, :, 0]
    means = picture.mean(1)
    torch.testing.assert_close(patches[:, :4], torch.nn.functional.adaptive_avg_pool2d(means, 2).flatten(1))
    torch.testing.assert_close(patches[:, 4:], torch.nn.functional.adaptive_avg_pool2d(means, 4).flatten(1))


def test_zero_groups_are_the_linear_bridge() -> None:
    stacked, linear = StackedBridge(4, 8, (2, 2)), LinearBridge(4, 8, (2, 2))
    linear.load_state_dict(stacked.state_dict())
    stacked.linear.bias.data.zero_()
    linear.linear.bias.data.zero_()
    language = Llama(build().language.chat, width=8, layers=5, seed=0).eval()
    tokens = torch.randint(6, 200, (2, 9))
    seen = Seen((torch.randn(2, 4, 4),), (2, 2), torch.zeros(2, 16, 4))
    of = [Speaker(Corners(), bridge, language, 2) for bridge in (stacked, linear)]
    one, other = (speaker.states(tokens, speaker.bridge(seen)) for speaker in of)
    torch.testing.assert_close(one, other)


def test_tiles_and_bridges_must_fit() -> None:
    with pytest.raises(ValueError, match="image_tiles=2: bridge=linear reads the whole picture alone"):
        build(image_tiles=2)
    with pytest.raises(ValueError, match="image_tiles=1: bridge=stacked reads tiles of the picture"):
        build(bridge="stacked")
    with pytest.raises(
        ValueError, match="changes the input of layer 4, and the language model has 2: give it 5"
    ):
        build(bridge="stacked", image_tiles=2)


def test_no_text_attends_to_hidden_tokens_of_a_picture() -> None:
    method = build().eval()
    speaker, tokens = method.speaker, batch(method, 2)["talk"][:, 0]
    given = speaker.given(speaker.patches(method.inputs["image"](torch.stack(PICTURES[:2]))))
    hidden = torch.zeros(2, given.tokens.shape[1], dtype=torch.bool)
    hidden[0, 1:], hidden[1, :1] = True, True
    states = speaker.states(tokens, given, hidden=hidden)
    moved = given.tokens + hidden[..., None] * torch.randn_like(given.tokens)
    torch.testing.assert_close(speaker.states(tokens, replace(given, tokens=moved), hidden=hidden), states)
    other = given.tokens + ~hidden[..., None] * torch.randn_like(given.tokens)
    assert not torch.allclose(speaker.states(tokens, replace(given, tokens=other), hidden=hidden), states)
    every = torch.ones_like(hidden)
    torch.testing.assert_close(
        speaker.states(tokens, given, hidden=every), speaker.states(tokens, given, hidden=True)
    )
    none = speaker.states(tokens, given, hidden=torch.zeros_like(hidden))
    torch.testing.assert_close(none, speaker.states(tokens, given))


@pytest.mark.parametrize("sample", [False, True])
def test_a_blind_reply_depends_on_the_hidden_share_and_on_its_beginning(sample: bool) -> None:
    method = build().eval()
    prompts = [Prompt("what runs?", picture) for picture in PICTURES[:3]]
    options: Any = {"sample": sample, "max_tokens": 8}
    assert method.reply(prompts, hidden=0.0, beginnings=[""] * 3, **options) == method.reply(
        prompts, **options
    )
    if not sample:
        assert len({*method.reply(prompts, hidden=1.0, **options)}) == 1
    chat = method.language.chat
    ((_, tokens, _, _),) = method._prompted(prompts[:1], ["dog"])
    whole = chat([(Exchange("what runs?", "dog"),)])[0]
    end = int((whole[0] == chat.end).nonzero()[0])
    assert tokens.tolist() == [whole[0, :end].tolist()]
    together = method.reply(prompts, hidden=0.5, beginnings=["a", "dog", "dog"], **options)
    alone = [
        method.reply([prompt], hidden=0.5, beginnings=[text], **options)[0]
        for prompt, text in zip(prompts, ["a", "dog", "dog"], strict=True)
    ]
    assert together == alone
    with pytest.raises(ValueError, match="hidden takes one beam, got beams=2"):
        method.reply(prompts, hidden=0.5, beams=2)
