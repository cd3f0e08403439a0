"""Arms that go on from a LLaVA of transformers: the same likelihoods, and nothing moves but what is to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from counterpoint.decoding.prompts import image_of
from counterpoint.methods.arm import Arm
from counterpoint.networks.tiny_vlm import CHAT_TEMPLATE, IMAGE, train_tokenizer
from counterpoint.networks.weights import restored
from counterpoint.recipes import load, override
from counterpoint.study.as_it_came import with_models_as_they_came
from counterpoint.study.design import Design
from counterpoint.testing._stubs import LATE
from counterpoint.types import Batch, Prompt
from fixtures.foreign import SIZES
from fixtures.speaking import PICTURES, RECIPE, TALKS

COLUMNS = {"image": "image", "talk": "talk"}
LONG = RECIPE.model_copy(update={"towers": RECIPE.towers.model_copy(update={"talk_context": 128})})
EXAMPLES = {"image": PICTURES, "talk": TALKS["talk"]}
# As that of LLaVA 1.5: the picture has a line of its own, and replies end in the end token.
LINES = (
    "<start>{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>\n' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    "{% if message['role'] == 'assistant' %}<end>{% else %}{{ ' ' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT: {% endif %}"
)


def llava(folder: Path, template: str = CHAT_TEMPLATE, kind: str = "Clip", act: str = "gelu") -> Path:
    """Save a tiny random LLaVA with its processor."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer({text for row in TALKS["talk"] for pair in row for text in pair}, 300)
    clip = kind == "Clip"
    vision = transformers.CLIPVisionConfig if clip else transformers.SiglipVisionConfig
    config = transformers.LlavaConfig(
        vision_config=vision(**SIZES, image_size=16, patch_size=8),
        text_config=transformers.LlamaConfig(
            **SIZES,
            vocab_size=len(tokenizer),
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        ),
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        vision_feature_select_strategy="default" if clip else "full",
        vision_feature_layer=-2 if clip else -1,
        projector_hidden_act=act,
    )
    model = transformers.LlavaForConditionalGeneration(config)
    for weight in model.parameters():
        weight.data.normal_(0, 0.2)
    model.save_pretrained(folder)
    size = {"height": 16, "width": 16}
    pictures = (
        transformers.CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=size)
        if clip
        else transformers.SiglipImageProcessor(size=size)
    )
    transformers.LlavaProcessor(
        pictures,
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy=config.vision_feature_select_strategy,
        num_additional_image_tokens=int(clip),
        chat_template=template,
        image_token=IMAGE,
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return llava(tmp_path_factory.mktemp("whole") / "llava")


def build(arm: str) -> Any:
    return Arm.parse(arm).build(LONG, EXAMPLES, 0, columns=COLUMNS).eval()


def batch_of(method: Any) -> Batch:
    views = {"image": method.inputs["image"](PICTURES), "talk": method.inputs["talk"](TALKS["talk"])}
    return Batch(torch.arange(4), views, {}, {})


@torch.no_grad()
def own_log_p(folder: Path, row: int) -> float:
    """The log-likelihood of a reply by transformers' own forward."""
    model = transformers.LlavaForConditionalGeneration.from_pretrained(folder).eval()
    processor = transformers.AutoProcessor.from_pretrained(folder)
    ((request, reply),) = TALKS["talk"][row]
    asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": request}]}]
    said = [*asked, {"role": "assistant", "content": [{"type": "text", "text": reply}]}]
    texts = [
        processor.apply_chat_template(asked, add_generation_prompt=True),
        processor.apply_chat_template(said),
    ]
    options: Any = {"add_special_tokens": False, "return_tensors": "pt"}
    prompt, whole = (processor(images=[image_of(PICTURES[row])], text=[text], **options) for text in texts)
    start, tokens = prompt["input_ids"].shape[1], whole["input_ids"][0]
    log_p = model(**whole).logits[0].log_softmax(-1)
    return float(sum(log_p[place - 1, tokens[place]] for place in range(start, len(tokens))))


@pytest.mark.parametrize(
    ("template", "kind", "act"),
    [(CHAT_TEMPLATE, "Clip", "gelu"), (LINES, "Clip", "gelu"), (CHAT_TEMPLATE, "Siglip", "linear")],
)
def test_replies_are_as_likely_as_by_the_models_own_forward(
    template: str, kind: str, act: str, tmp_path: Path
) -> None:
    method = build(f"sft,from={llava(tmp_path / 'model', template, kind, act)},tune=none")
    prompts = [Prompt(row[0].request, shown) for row, shown in zip(TALKS["talk"], PICTURES, strict=True)]
    found = method.log_p(prompts, [row[0].reply for row in TALKS["talk"]])
    expected = torch.tensor([own_log_p(tmp_path / "model", row) for row in range(4)])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    assert not any(weight.requires_grad for weight in method.parameters())


@pytest.mark.parametrize(
    ("tune", "moving"),
    [
        ("full", {"bridge_projections", "towers.talk"}),
        ("frozen", {"bridge_projections"}),
        ("lora,rank=2", {"bridge_projections", "lora_"}),
        ("frozen,tune_image=full", {"bridge_projections", "towers.image"}),
    ],
)
def test_what_is_frozen_stays_bit_for_bit(tune: str, moving: set[str], folder: Path) -> None:
    method = build(f"sft,from={folder},tune={tune}").train()
    before = {name: weight.detach().clone() for name, weight in method.named_parameters()}
    moves = [weight for weight in method.parameters() if weight.requires_grad]
    optimizer, batch = torch.optim.AdamW(moves, lr=0.01), batch_of(method)
    for _ in range(3):
        optimizer.zero_grad()
        torch.stack([*method.losses(method.encode(batch), batch, LATE).values()]).sum().backward()
        optimizer.step()
    for name, weight in method.named_parameters():
        if not any(part in name for part in moving):
            assert weight.grad is None
            assert torch.equal(weight, before[name]), name
    moved = {
        part
        for part in moving
        for name, it in method.named_parameters()
        if part in name and it.grad is not None
    }
    assert moved == moving
    assert all(
        not torch.equal(it, before[name]) for name, it in method.named_parameters() if "bridge" in name
    )


def test_a_trained_one_is_built_again_without_the_weights_of_its_start(folder: Path) -> None:
    method = build(f"cal,from={folder},tune=frozen")
    for weight in method.bridge_projections.parameters():
        weight.data.add_(1.0)
    with restored():
        again = build(f"cal,from={folder},tune=frozen")
    again.load_state_dict(method.state_dict())
    batch = batch_of(method)
    torch.testing.assert_close(again.encode(batch)["talk"], method.encode(batch)["talk"])


def test_the_model_as_it_came_joins_arms_that_go_on_from_it(folder: Path) -> None:
    recipe = override(load("speak"), {"steps": 1})
    design = Design((f"sft,from={folder},tune=lora",), data="scenes:tiny,talk=captions", recipe=recipe)
    assert with_models_as_they_came(design).added == (f"sft,from={folder},tune=none",)


def test_mistakes_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="leave bridge out"):
        Arm.parse(f"sft,from={folder},bridge=resampler")
    with pytest.raises(ValueError, match="leave lm out"):
        Arm.parse(f"sft,from={folder},lm=llama")
    with pytest.raises(ValueError, match="its method has a bridge of its own"):
        build(f"brote,from={folder},tokens=2")
    (tmp_path / "config.json").write_text(
        '{"architectures": ["Qwen2VLForConditionalGeneration"], "vision_config": {}}'
    )
    with pytest.raises(ValueError, match="is a Qwen2VLForConditionalGeneration: an arm goes on from a LLaVA"):
        Arm.parse(f"sft,from={tmp_path}")
    with pytest.raises(ValueError, match="the activation of its projector is relu"):
        build(f"sft,from={llava(tmp_path / 'relu', act='relu')}")
    with pytest.raises(ValueError, match="its chat template leaves the request out"):
        build(f"sft,from={llava(tmp_path / 'mute', template='<start><image><end>')}")


@pytest.mark.slow
def test_the_shipped_model_replies_as_it_does_by_itself() -> None:
    from counterpoint.decoding.assistant import VisionLanguageAssistant
    from counterpoint.networks.tiny_vlm import default_model_path

    method = build("sft,from=tiny-vlm,tune=none")
    pictures = torch.nn.functional.interpolate(PICTURES.float(), 64).to(torch.uint8)
    prompts = [Prompt("What is in the picture?", picture) for picture in pictures]
    own = VisionLanguageAssistant.load(default_model_path(), max_new_tokens=12, device="cpu")
    assert method.reply(prompts, max_tokens=12) == own.reply(prompts)
