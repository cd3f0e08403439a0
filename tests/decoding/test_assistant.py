"""A vision-language model as an assistant, on a tiny random one with a chat template made here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from counterpoint.decoding import (
    Decoding,
    DescriptionGrounded,
    ExampleContrastive,
    LanguageContrastive,
    LeadingQueryContrastive,
    Plain,
    Ritual,
    VisionLanguageAssistant,
    VisualContrastive,
    create,
    describe,
    first_logits,
    plausibility_only,
    read_picture,
)
from counterpoint.decoding.branch import GivenBranch
from counterpoint.decoding.combine import BranchWeights
from counterpoint.decoding.sampling import SamplingProcessor, generators_of
from counterpoint.types import Assistant, Prompt, Turn
from fixtures.chat import SAID, processor_of
from fixtures.tiny_vlms import TEXT, WORDS, tiny

ALL = ("code", "lcd", "lqcd", "mvcd", "plain", "ritual", "vcd", "vdd", "vdgd")


def assistant(decoding: Decoding | None = None, **options: Any) -> VisionLanguageAssistant:
    options = {"max_new_tokens": 5, "description_tokens": 6} | options
    return VisionLanguageAssistant(tiny("Llava"), processor_of(), decoding, **options)


def picture(seed: int) -> Tensor:
    return torch.randint(
        0, 256, (3, 12, 16), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8
    )


PROMPTS = (
    Prompt("is it a cat", picture(0), neutral="is it"),
    Prompt("what", picture(1)),
    Prompt("is it red", picture(2), (Turn("is it blue", "no", picture(3)), Turn("what", "red"))),
    Prompt("is it a dog what is it", picture(4), neutral="what is it"),
    Prompt("is it a dog"),
)


def written(inputs: Any, **given: Any) -> Any:
    """The model's own generate with a method."""
    out = tiny("Llava").generate(**inputs, do_sample=False, max_new_tokens=5, **given)
    return (
        processor_of()
        .batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0]
        .strip()
    )


def encoded(text: str, *pictures: Tensor) -> Any:
    return dict(processor_of()(text=text, images=list(pictures) or None, return_tensors="pt"))


def test_it_is_an_assistant() -> None:
    assert isinstance(assistant(), Assistant)


@pytest.mark.parametrize("name", ALL)
def test_a_batch_says_what_its_prompts_say_alone(name: str) -> None:
    together, alone = assistant(create(name)), assistant(create(name), batch_size=1)
    assert together.reply(PROMPTS) == alone.reply(PROMPTS)
    assert together.reply(PROMPTS[::-1]) == alone.reply(PROMPTS)[::-1]
    words = ("yes", "no", "red")
    assert torch.allclose(together.word_logits(PROMPTS, words), alone.word_logits(PROMPTS, words), atol=1e-4)
    assert together.reply([]) == []


def test_replies_are_those_of_generate_with_the_method() -> None:
    prompt = PROMPTS[0]
    inputs = encoded("<s> <image> is it a cat :", picture(0))
    assert assistant().reply([prompt]) == [written(inputs)]
    for method in (VisualContrastive(alpha=2.0), LanguageContrastive()):
        assert assistant(method).reply([prompt]) == [written(inputs, custom_generate=method.on(inputs))]
    assert assistant(VisualContrastive(alpha=5.0)).reply(PROMPTS) != assistant().reply(PROMPTS)


def test_turns_and_their_pictures_are_shown_in_order() -> None:
    inputs = encoded(
        "<s> <image> is it blue : no </s> <s> what : red </s> <s> <image> is it red :", picture(3), picture(2)
    )
    assert assistant().reply([PROMPTS[2]]) == [written(inputs)]
    without = encoded("<s> <image> is it red :", picture(2))
    method = ExampleContrastive()
    expected = written(inputs, custom_generate=method.on(inputs, without_examples=without))
    assert assistant(method).reply([PROMPTS[2]]) == [expected]


def test_neutral_question_is_decoded_and_leading_one_subtracted() -> None:
    neutral, leading = (encoded(f"<s> <image> is it{lead} :", picture(0)) for lead in ("", " a cat"))
    method = LeadingQueryContrastive(alpha=3.0)
    expected = written(neutral, custom_generate=method.on(neutral, leading=leading))
    assert assistant(method).reply([PROMPTS[0]]) == [expected]
    # without a lead both are the same, and nothing is subtracted
    bare = [replace(prompt, neutral=None) for prompt in PROMPTS]
    assert assistant(LeadingQueryContrastive(beta=0.0)).reply(bare) == assistant().reply(bare)


def test_the_rule_alone_reads_the_neutral_question_too() -> None:
    rule = plausibility_only(LeadingQueryContrastive(beta=0.1))
    assert rule is not None
    neutral = encoded("<s> <image> is it :", picture(0))
    assert assistant(rule).reply([PROMPTS[0]]) == [written(neutral)]
    assert assistant(rule).reply([PROMPTS[0]]) != assistant().reply([PROMPTS[0]])


def test_the_picture_is_transformed_before_the_processor() -> None:
    from torchvision.transforms.v2.functional import to_pil_image

    ritual = Ritual(seed=1)
    inputs = encoded("<s> <image> is it a cat :", picture(0))
    image = ritual.transform(to_pil_image(picture(0)))
    other = dict(processor_of()(text="<s> <image> is it a cat :", images=image, return_tensors="pt"))
    expected = written(inputs, custom_generate=ritual.on(inputs, transformed=other))
    assert assistant(ritual).reply([PROMPTS[0]]) == [expected]
    both = VisualContrastive() + ritual
    expected = written(inputs, custom_generate=both.on(inputs, transformed=other))
    assert assistant(both).reply([PROMPTS[0]]) == [expected]


def test_descriptions_made_once_picture_read_where_method_asks() -> None:
    asking = encoded("<s> <image> what :", picture(0))
    description = describe(tiny("Llava"), asking, max_new_tokens=6)
    (words,) = processor_of().batch_decode(description.words, skip_special_tokens=True)
    text = f"<s> <image> The input image is described as follows: {words} is it a cat :"
    inputs = encoded(text, picture(0))
    method = DescriptionGrounded(top_p=0.9)
    expected = written(inputs, custom_generate=method.on(inputs, description=description))
    asked = assistant(method, description_prompt="what")
    assert asked.reply([PROMPTS[0]]) == [expected]
    assert asked.cost is not None
    described = asked.cost.passes["describing"]
    assert described == description.passes
    asked.reply([PROMPTS[0], replace(PROMPTS[0], text="what")])
    assert asked.cost.passes["describing"] == described


def test_prompts_without_pictures_decoded_plainly_where_picture() -> None:
    blind = [Prompt("is it a dog"), Prompt("what")]
    assert assistant(VisualContrastive(alpha=5.0)).reply(blind) == assistant().reply(blind)
    method = ExampleContrastive()
    shown = [replace(prompt, turns=(Turn("what", "red"),)) for prompt in blind]
    assert assistant(method).reply(shown) != assistant().reply(shown)


def test_what_a_method_costs_adds_up() -> None:
    one = assistant(VisualContrastive())
    assert one.cost is None
    one.reply(PROMPTS[:1])
    assert one.cost is not None
    assert one.cost.passes == {"own": 5, "noise": 5}
    one.reply(PROMPTS[1:2])
    assert one.cost.passes == {"own": 10, "noise": 10}
    assert one.cost.relative_passes == one.cost.relative_positions == 2.0
    plain = assistant()
    plain.reply(PROMPTS)
    assert plain.cost is not None
    assert plain.cost.relative_passes == 1.0


def test_samples_depend_on_seed_and_prompt_and_not_on_the_batch() -> None:
    some = assistant(Plain(), do_sample=True, temperature=2.0)
    replies = some.reply(PROMPTS, seed=1)
    assert replies == some.reply(PROMPTS, seed=1)
    assert replies == assistant(Plain(), do_sample=True, temperature=2.0, batch_size=1).reply(PROMPTS, seed=1)
    assert replies != some.reply(PROMPTS, seed=2)
    assert replies[::-1] == some.reply(PROMPTS[::-1], seed=1)
    before = torch.random.get_rng_state()
    some.reply(PROMPTS[:1])
    assert torch.equal(before, torch.random.get_rng_state())


def test_cold_sampling_takes_the_likeliest() -> None:
    assert assistant(do_sample=True, temperature=1e-6).reply(PROMPTS) == assistant().reply(PROMPTS)
    assert assistant(do_sample=True, top_p=1e-6).reply(PROMPTS) == assistant().reply(PROMPTS)


def test_samples_have_the_frequencies_of_their_probabilities() -> None:
    p = torch.tensor([0.5, 0.3, 0.15, 0.05])
    prompts = [Prompt(f"number {number}") for number in range(4000)]
    scores = p.log().expand(len(prompts), -1)
    ids = torch.zeros(len(prompts), 1, dtype=torch.long)

    def frequencies(temperature: float, top_p: float) -> Tensor:
        chosen = SamplingProcessor(temperature, top_p, generators_of(prompts, 0))(ids, scores).argmax(-1)
        return torch.bincount(chosen, minlength=4) / len(prompts)

    assert torch.allclose(frequencies(1.0, 1.0), p, atol=0.03)
    assert torch.allclose(frequencies(2.0, 1.0), p.sqrt() / p.sqrt().sum(), atol=0.03)
    nucleus = torch.tensor([0.5, 0.3, 0.0, 0.0]) / 0.8
    assert torch.allclose(frequencies(1.0, 0.75), nucleus, atol=0.03)


def test_word_logits_are_the_first_tokens_in_both_spellings() -> None:
    inputs = encoded("<s> <image> is it a cat :", picture(0))
    logits = first_logits(tiny("Llava"), inputs)["own"][0]
    found = assistant().word_logits(PROMPTS[:1], ("yes", "no", "red"))[0]
    token = dict(zip(SAID, WORDS, strict=False))
    yes, no = (logits[[token[word], token[word.capitalize()]]].logsumexp(-1) for word in ("yes", "no"))
    assert torch.allclose(found[:2], torch.stack([yes, no]), atol=1e-5)
    red_or_unknown = assistant()
    with pytest.raises(ValueError, match="'green' begins with no token"):
        red_or_unknown.word_logits(PROMPTS[:1], ("green",))


def test_word_logits_are_combined_and_not_masked() -> None:
    method = VisualContrastive(alpha=2.0, beta=1.0)
    inputs = encoded("<s> <image> is it a cat :", picture(0))
    (logits,) = assistant(Plain()).word_logits(PROMPTS[:1], ("cat", "dog"))
    (found,) = assistant(method).word_logits(PROMPTS[:1], ("cat", "dog"))
    seen: list[Tensor] = []

    @dataclass(frozen=True)
    class Watching(Decoding):
        def branches(self) -> Any:
            return method.branches()

        def weights(self, logits: Tensor, others: Sequence[Tensor]) -> BranchWeights:
            seen.append(others[0])
            return BranchWeights([0.0])

        def keep(self, logits: Tensor, others: Sequence[Tensor]) -> Tensor:
            return torch.ones_like(logits, dtype=torch.bool)

    written(inputs, custom_generate=Watching().on(inputs))
    token = dict(zip(SAID, WORDS, strict=False))
    noisy = seen[0][0, [token["cat"], token["dog"]]]
    assert torch.allclose(found, 3 * logits - 2 * noisy, atol=1e-4)
    assert found.isfinite().all()


def test_a_model_is_loaded_with_its_processor(tmp_path: Path) -> None:
    tiny("Llava").save_pretrained(tmp_path)
    processor_of().save_pretrained(tmp_path)
    loaded = VisionLanguageAssistant.load(tmp_path, VisualContrastive(), device="cpu", max_new_tokens=5)
    assert loaded.reply(PROMPTS) == assistant(VisualContrastive()).reply(PROMPTS)


def test_what_is_no_vision_language_model_is_refused(tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    text = LlamaForCausalLM(LlamaConfig(**TEXT))
    with pytest.raises(ValueError, match="LlamaForCausalLM takes no pixel_values"):
        VisionLanguageAssistant(text, processor_of())
    text.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a llama model, which writes nothing about pictures"):
        VisionLanguageAssistant.load(tmp_path)


def test_a_processor_without_pictures_or_template_is_refused() -> None:
    with pytest.raises(ValueError, match=r"makes no pixel_values of a picture.* not its tokenizer"):
        VisionLanguageAssistant(tiny("Llava"), processor_of().tokenizer)
    with pytest.raises(ValueError, match="LlavaProcessor has no chat template"):
        VisionLanguageAssistant(tiny("Llava"), processor_of(None))


def test_words_that_begin_alike_are_refused() -> None:
    with pytest.raises(ValueError, match="'yes' and 'Yes' begin with the same token"):
        assistant().word_logits(PROMPTS[:1], ("yes", "Yes"))


def test_a_branch_that_no_prompt_gives_is_refused() -> None:
    @dataclass(frozen=True)
    class Sketched(Decoding):
        def branches(self) -> tuple[GivenBranch]:
            return (GivenBranch("sketch"),)

        def weights(self, logits: Tensor, others: Sequence[Tensor]) -> BranchWeights:
            return BranchWeights([0.0])

        def keep(self, logits: Tensor, others: Sequence[Tensor]) -> Tensor:
            return torch.ones_like(logits, dtype=torch.bool)

    with pytest.raises(ValueError, match=r"Sketched needs sketch=…, which cannot be made from a prompt"):
        assistant(Sketched()).reply(PROMPTS[:1])


def test_pictures_from_files(tmp_path: Path) -> None:
    from torchvision.transforms.v2.functional import to_pil_image

    to_pil_image(picture(0)).save(tmp_path / "a.png")
    assert torch.equal(read_picture(tmp_path / "a.png"), picture(0))
    whole = (tmp_path / "a.png").read_bytes()
    for content in (b"no picture", whole[: len(whole) // 2]):
        (tmp_path / "b.png").write_bytes(content)
        with pytest.raises(ValueError, match=r"b\.png cannot be decoded as a picture"):
            read_picture(tmp_path / "b.png")
    with pytest.raises(FileNotFoundError):
        read_picture(tmp_path / "none.png")


def test_pictures_from_files_are_as_people_see_them(tmp_path: Path) -> None:
    from PIL import ExifTags, Image
    from torchvision.transforms.v2.functional import to_pil_image

    on_its_side = Image.Exif()
    on_its_side[ExifTags.Base.Orientation] = 6
    to_pil_image(picture(0)).save(tmp_path / "turned.png", exif=on_its_side)
    assert torch.equal(read_picture(tmp_path / "turned.png"), picture(0).rot90(-1, (1, 2)))
    clear = to_pil_image(picture(0))
    clear.putalpha(0)
    clear.save(tmp_path / "clear.png")
    assert (read_picture(tmp_path / "clear.png") == 255).all()


def test_replies_vary() -> None:
    """The tiny model says different things, so that the tests above compare something."""
    assert len(Counter(assistant().reply([replace(PROMPTS[0], picture=picture(i)) for i in range(6)]))) > 2


@pytest.mark.parametrize("sample", [False, True])
def test_a_reply_with_hidden_tokens_follows_from_what_is_left(sample: bool) -> None:
    some = assistant(do_sample=sample)
    asked = [replace(PROMPTS[1], picture=picture(seed)) for seed in range(3)] + [PROMPTS[0]]
    assert some.complete(asked, [""] * 4, seed=3) == some.reply(asked, seed=3), (
        "nothing hidden is plain decoding"
    )
    begun = ["", "red", "red", "a cat"]
    together = some.complete(asked, begun, hidden=0.5)
    assert together == [
        some.complete([one], [text], hidden=0.5)[0] for one, text in zip(asked, begun, strict=True)
    ]
    if not sample:
        assert len({*some.complete(asked[:3], ["red"] * 3, hidden=1.0)}) == 1
    inputs, more = some.inputs(asked[:1]), some.inputs(asked[:1], ["red cat"])
    assert more["input_ids"].shape[1] > inputs["input_ids"].shape[1]
    assert torch.equal(more["input_ids"][:, : inputs["input_ids"].shape[1]], inputs["input_ids"])


def test_hidden_tokens_are_no_keys_and_positions_count_them(monkeypatch: pytest.MonkeyPatch) -> None:
    some = assistant()
    monkeypatch.setattr(
        "counterpoint.decoding.completion.torch.rand", lambda n, generator: torch.arange(n) % 2
    )
    calls: list[dict[str, Any]] = []
    handle = some.model.register_forward_pre_hook(
        lambda model, args, given: calls.append(given), with_kwargs=True
    )
    some.complete([PROMPTS[1]], [""], hidden=0.5)
    handle.remove()
    first, second = calls[:2]
    shown = first["input_ids"] == some.model.config.image_token_id
    assert first["attention_mask"][shown].tolist() == [k % 2 for k in range(int(shown.sum()))]
    assert first["attention_mask"][~shown].all()
    assert first["position_ids"][0].tolist() == list(range(shown.shape[1]))
    assert second["position_ids"].tolist() == [[shown.shape[1]]]
