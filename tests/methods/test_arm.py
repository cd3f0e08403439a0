"""Arms as they are written on the command line."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from method_stubs import LATE, RECIPE, StubImage, StubText, batch, run
from torch import nn

from counterpoint import methods, networks
from counterpoint.methods.arm import Arm, is_fixed
from counterpoint.methods.user_loss import LossError
from counterpoint.recipes import override
from counterpoint.recipes.schema import Towers
from counterpoint.trust import given

PAIR = "open_clip:tiny@/models/tiny.pt"
HEAD = ["import torch; from torch import nn", "class L(nn.Module):"]
FORWARD = "  def forward(self, x, y): return (x * y).sum()"
LOSS = """
import torch
from torch import nn


class MyLoss(nn.Module):
    tunable = {"margin": (0.05, 0.5)}

    def __init__(self, margin: float = 0.2, names=3, wide=False, free=None):
        super().__init__()
        self.margin, self.names, self.wide, self.free = margin, names, wide, free

    def forward(self, x, y):
        s = x @ y.T
        return torch.relu(self.margin + s - s.diagonal()[:, None]).mean()


class NoModule:
    pass


class OneInput(nn.Module):
    def forward(self, x):
        return x.mean()


class PerSample(nn.Module):
    def forward(self, x, y):
        return (x * y).sum(1)


class Detached(nn.Module):
    def forward(self, x, y):
        return torch.tensor(1.0)


class Weighted(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(8, 8)

    def forward(self, x, y):
        return (self.mix(x) * y).sum(1).mean()
"""


@pytest.fixture
def towers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stub towers in place of the built-in and the pretrained ones; a pretrained pair shares a space."""

    def build_towers(
        towers: Towers,
        examples: Mapping[str, Any],
        seed: int,
        columns: Mapping[str, str],
        names: Mapping[str, str],
        folder: Path | None,
        origin: Path | None,
    ) -> dict[str, StubImage | StubText]:
        towers = towers.model_copy(update=dict(names))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            image, text = (
                (StubImage(6), StubText(6)) if "open_clip" in towers.image else (StubImage(), StubText())
            )
        for tower, name in ((image, towers.image), (text, towers.text)):
            tower.weights_set = True
            tower.projected, tower.name = name.startswith("open_clip:"), name
        both = {"image": image, "text": text}
        return {column: both[column] for column in columns}

    monkeypatch.setattr(networks, "build_towers", build_towers)


@pytest.fixture
def loss(tmp_path: Path) -> Path:
    path = tmp_path / "my_loss.py"
    path.write_text(LOSS)
    return path


STUBS = {"image": StubImage(), "text": StubText()}


def built(text: str, seed: int = 0) -> Any:
    given(text)
    return Arm.parse(text).build(RECIPE, {"text": ["a cat"]}, seed)


def test_parsing_and_listing_load_no_torch() -> None:
    code = """
import sys
from counterpoint import methods
from counterpoint.methods.arm import Arm
arm = Arm.parse("slip,ssl_weight=0.5")
assert methods.names() and arm.label and arm.slug
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", methods.names())
def test_every_method_is_an_arm(name: str) -> None:
    arm = Arm.parse(name)
    assert (arm.spec, arm.label, arm.slug) == (name, name, name)
    assert arm.method == methods.METHODS.resolve(name)[0]


def test_reads_options_towers_and_tuning_apart() -> None:
    arm = Arm.parse(" clip , temperature=0.1 ,image=timm:resnet18@hub, tune=lora ")
    assert arm.spec == "clip,temperature=0.1,image=timm:resnet18@hub,tune=lora"
    assert arm.options == {"temperature": "0.1"}
    assert arm.towers == {"image": "timm:resnet18@hub"}
    assert arm.tune == "lora"
    assert Arm.parse(arm.spec) == arm


@pytest.mark.parametrize(
    ("text", "towers"),
    [
        (PAIR, {"image": PAIR, "text": PAIR}),
        ("timm:resnet18@hub", {"image": "timm:resnet18@hub"}),
        ("transformers:bert@hub", {"text": "transformers:bert@hub"}),
        ("cnn@runs/first", {"image": "cnn@runs/first"}),
        (f"{PAIR},text=transformer", {"image": PAIR, "text": "transformer"}),
    ],
)
def test_pretrained_towers_are_clip_arms(text: str, towers: dict[str, str]) -> None:
    arm = Arm.parse(text)
    assert arm.method == "clip"
    assert dict(arm.towers) == towers


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("timm:resnet18@hub,tune=none", "image"),
        ("transformers:bert@hub,tune=none", "text"),
        (f"{PAIR},on=images,tune=none", "image"),
    ],
)
def test_a_tower_as_it_is_is_an_arm_of_its_column_alone(text: str, column: str) -> None:
    arm = Arm.parse(text)
    assert arm.reads() == {column: column}
    assert arm.reads({"sound": "audio", column: column}) == {column: column}
    assert is_fixed(text)
    assert Arm.parse(arm.spec) == arm


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clpi", "unknown method 'clpi': did you mean 'clip'"),
        ("", "unknown method ''"),
        ("siamlip_rocket", "did you mean 'siamlip-rocket'"),
        ("slip,ssl_weight", "'ssl_weight' is no option; write name=value"),
        ("slip,ssl_weight=", "'ssl_weight=' is no option"),
        ("slip,", "'' is no option"),
        ("slip,ssl_weight=1,ssl_weight=2", "option 'ssl_weight' is given twice"),
        (f"{PAIR},tune=lroa", "unknown way to tune 'lroa': did you mean 'lora'"),
        ("lit,tune=full", "lit's mode says what is tuned"),
        ("./nowhere.py", "a loss is written FILE.py:CLASS"),
    ],
)
def test_refuses_at_once_what_it_cannot_read(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Arm.parse(text)


def test_a_loss_whose_file_is_gone() -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no Python file nowhere\.py"):
        Arm.parse("./nowhere.py:Loss")


def test_labels_leave_folders_out_and_slugs_are_file_names() -> None:
    texts = [
        "clip",
        "slip,ssl_weight=0.5",
        PAIR,
        "open_clip:tiny@/other/tiny.pt",
        f"{PAIR},tune=lora",
        "open_clip:hf-hub:a/b",
        "cnn@runs/first/",
    ]
    arms = [Arm.parse(text) for text in texts]
    assert arms[2].label == arms[3].label == "open_clip:tiny@tiny.pt"
    assert arms[4].label == "open_clip:tiny@tiny.pt,tune=lora"
    assert arms[6].label == "cnn@first/"
    slugs = [arm.slug for arm in arms]
    assert len(set(slugs)) == len(slugs)
    assert not any(set(slug) & set('/\\:*?"<>| ') for slug in slugs)
    assert all(len(slug) <= 100 for slug in slugs)
    assert slugs == [Arm.parse(text).slug for text in texts]


@pytest.mark.usefixtures("towers")
def test_options_take_the_type_of_their_annotation() -> None:
    assert built("slip,ssl_weight=2").ssl_weight == 2.0
    assert build_views("siamlip,views=2") == {"image": 3, "text": 3}
    shared = built("clip-rocket,separate_proj=false,reduction=mean,proj=mlp")
    assert shared.heads == ("global",)
    assert len(shared.projections["image"]) == 7
    assert built("swalip,momentum=none").momentum is None
    assert built("swalip,momentum=0.5").momentum.m == 0.5


def build_views(text: str) -> dict[str, float]:
    passes: dict[str, float] = built(text).passes()
    return passes


@pytest.mark.usefixtures("towers")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slip,ssl_wieght=2", "unknown option of slip 'ssl_wieght': did you mean 'ssl_weight'"),
        ("clip-rocket,smothing=0", "did you mean 'smoothing'"),
        ("clip,smoothing=0.1", "unknown option of clip 'smoothing'"),
        ("clip,recipe=x", "unknown option of clip 'recipe'"),
        ("siamlip,views=two", "option views of siamlip must be a whole number, got 'two'"),
        ("clip,temperature=-1", "option temperature of clip must be greater than 0, got '-1'"),
        ("clip-rocket,reduction=max", "option reduction of clip-rocket must be one of 'mean' or 'sum'"),
        ("clip-rocket,separate_proj=perhaps", "option separate_proj of clip-rocket must be true or false"),
        ("clip,tune=lora", "tune=lora is for pretrained towers, and neither 'cnn' nor 'transformer' is one"),
        ("ntxent,on=images,head=identity,tune=none", "tune=none is for pretrained towers, and 'cnn' is none"),
        ("clip,image=timm:x@hub,tune=none", "tune=none trains nothing"),
        (
            "moco,image=timm:x@hub,tune=none",
            "needs a pretrained tower by itself, timm:NAME@FILE, a pretrained pair",
        ),
    ],
)
def test_refuses_options_when_it_builds(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        built(text)


@pytest.mark.parametrize(
    ("name", "option"),
    [("guided-ntxent", "teacher"), ("jest", "reference"), ("kernel-uniformity", "prior")],
)
def test_an_option_that_is_needed_is_named(name: str, option: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name} needs {option}=…; write {name},{option}=VALUE$"):
        methods.create(name, {"image": StubImage(), "text": StubText()}, RECIPE)


def test_creating_by_name_refuses_unknown_names_too() -> None:
    with pytest.raises(ValueError, match="did you mean 'ssl_weight'"):
        methods.create("slip", STUBS, RECIPE, sslweight=1.0)
    with pytest.raises(ValueError, match="did you mean 'slip'"):
        methods.create("slipp", STUBS, RECIPE)


@pytest.mark.usefixtures("towers")
def test_the_start_follows_from_the_seed() -> None:
    torch.manual_seed(3)
    one = built("byolip-rocket", 0).state_dict()
    torch.manual_seed(4)
    again, other = built("byolip-rocket", 0).state_dict(), built("byolip-rocket", 1).state_dict()
    assert all(torch.equal(one[k], again[k]) for k in one)
    assert not torch.equal(one["projections.image.weight"], other["projections.image.weight"])
    copied = {k: v for k, v in one.items() if k.startswith("momentum.module.term.")}
    assert copied
    for key, value in copied.items():
        assert torch.equal(value, one[key.removeprefix("momentum.module.")])


def test_tunable_leaves_out_what_the_arm_states() -> None:
    assert set(Arm.parse("slip").tunable()) == {"temperature", "ssl_weight"}
    assert set(Arm.parse("slip,ssl_weight=0.5").tunable()) == {"temperature"}


# Pretrained towers


@pytest.mark.usefixtures("towers")
def test_a_pretrained_pair_starts_as_it_is() -> None:
    method = built(PAIR)
    captions, pictures = ["a red cat", "the old hill"], torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    for modality, inputs in (("image", pictures), ("text", captions)):
        tower = method.towers[modality]
        prepared = tower.input(inputs) if modality == "image" else tower.tokenizer(inputs)
        z = nn.functional.normalize(tower(prepared).detach(), dim=-1)
        torch.testing.assert_close(method.embed(modality, inputs), z)


@pytest.mark.usefixtures("towers")
def test_an_untrained_pair_starts_as_any_other() -> None:
    for text in ("open_clip:tiny", f"{PAIR},text=open_clip:other@w"):
        weight = built(text).projections["image"].weight
        assert weight.shape == (8, 6)


@pytest.mark.usefixtures("towers")
@pytest.mark.parametrize(
    ("text", "image", "text_tower", "head"),
    [
        (PAIR, True, True, True),
        (f"{PAIR},tune=full", True, True, True),
        (f"{PAIR},tune=frozen", False, False, True),
        (f"{PAIR},tune=none", False, False, False),
        ("timm:x@hub,tune=frozen", False, True, True),
        ("slip,image=timm:x@hub,tune=frozen", False, True, True),
    ],
)
def test_tuning_says_what_moves(text: str, image: bool, text_tower: bool, head: bool) -> None:
    method = built(text)
    assert all(p.requires_grad == image for p in method.image_tower.parameters())
    assert all(p.requires_grad == text_tower for p in method.text_tower.parameters())
    assert all(p.requires_grad == head for p in method.projections.parameters())
    assert method.train().image_tower.training == image


@pytest.mark.usefixtures("towers")
def test_low_rank_updates_leave_the_start_as_it_was() -> None:
    pytest.importorskip("peft")
    lora, full = built(f"{PAIR},tune=lora"), built(PAIR)
    captions = ["a red cat", "the old hill"]
    torch.testing.assert_close(lora.embed("text", captions), full.embed("text", captions))
    trained = [name for name, p in lora.towers.named_parameters() if p.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)


# A loss of one's own


@pytest.mark.usefixtures("towers")
def test_a_users_loss_trains_clips_model(loss: Path) -> None:
    arm = Arm.parse(f"{loss}:MyLoss,margin=0.5")
    assert arm.label == "my_loss.py:MyLoss,margin=0.5"
    given(arm.spec)
    method: Any = arm.build(RECIPE, {"text": ["a cat"]}, 0)
    losses = run(method, batch(method))
    assert set(losses) == {"MyLoss"}
    torch.autograd.backward(losses["MyLoss"])
    assert all(p.grad is not None for p in method.parameters())
    method.after_step({}, batch(method), LATE)
    clip = built("clip")
    assert torch.equal(method.projections["image"].weight, clip.projections["image"].weight)
    assert method.embed("text", ["a cat"]).shape == (1, 8)


@pytest.mark.usefixtures("towers")
def test_users_options_are_typed_by_annotation_default_or_looks(loss: Path) -> None:
    objective = built(f"{loss}:MyLoss,margin=1,names=4,wide=true,free=0.5").objective
    assert (objective.margin, objective.names, objective.wide, objective.free) == (1.0, 4, True, 0.5)
    assert type(objective.margin) is float
    assert type(objective.names) is int
    assert built(f"{loss}:MyLoss,free=word").objective.free == "word"
    assert Arm.parse(f"{loss}:MyLoss").tunable() == {"margin": (0.05, 0.5)}


@pytest.mark.usefixtures("towers")
def test_a_users_weights_start_from_the_seed(loss: Path) -> None:
    torch.manual_seed(5)
    one = built(f"{loss}:Weighted").objective.mix.weight
    torch.manual_seed(6)
    assert torch.equal(built(f"{loss}:Weighted").objective.mix.weight, one)


@pytest.mark.usefixtures("towers")
@pytest.mark.parametrize(
    ("symbol", "message"),
    [
        ("MyLos", "unknown class in .*my_loss.py 'MyLos': did you mean 'MyLoss'"),
        ("NoModule", "NoModule in .* must be an nn.Module"),
        ("OneInput", r"OneInput.forward in .* must be forward\(self, image_embeddings, text_embeddings\)"),
        ("MyLoss,margn=1", "unknown option of MyLoss 'margn': did you mean 'margin'"),
        ("MyLoss,margin=wide", "option margin of MyLoss must be a number, got 'wide'"),
    ],
)
def test_a_users_loss_that_is_none_is_refused(loss: Path, symbol: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        built(f"{loss}:{symbol}")


@pytest.mark.usefixtures("towers")
@pytest.mark.parametrize(("symbol", "got"), [("PerSample", r"shape \(16,\)"), ("Detached", r"shape \(\)")])
def test_a_users_loss_must_be_one_number_with_a_gradient(loss: Path, symbol: str, got: str) -> None:
    method = built(f"{loss}:{symbol}")
    with pytest.raises(ValueError, match=f"{symbol} must return one number .* got {got}"):
        run(method, batch(method))


@pytest.mark.usefixtures("towers")
@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["import nothing_of_that_name"], "line 1: it cannot be imported: ModuleNotFoundError: .*nothing_of"),
        (["import sys", "sys.exit(5)"], "line 2: it cannot be imported: SystemExit: 5"),
        (["class L(:"], "line 1: it cannot be imported: SyntaxError"),
        (
            [*HEAD, "  def __init__(self): raise KeyError('gone')", FORWARD],
            "line 3, in __init__: KeyError: 'gone'",
        ),
        ([*HEAD, "  def __init__(self): self.w = 1", FORWARD], "must call super\\(\\).__init__\\(\\) first"),
        (
            [*HEAD, "  def __init__(self):", "    self.p = nn.Parameter(torch.ones(1))", FORWARD],
            "line 4, in __init__: AttributeError: cannot assign",
        ),
        (
            [*HEAD, "  def __init__(self, scale): super().__init__()", FORWARD],
            "missing a required argument: 'scale'; give its options after commas, .*:L,option=value",
        ),
        (
            [*HEAD, "  def forward(self, x, y): raise RuntimeError('mine')"],
            "line 3, in forward: RuntimeError: mine",
        ),
        (
            [*HEAD, "  def forward(self, x, y): raise ValueError"],
            "line 3, in forward: ValueError: no message",
        ),
        ([*HEAD, "  def forward(self, x, y): exit(3)"], "line 3, in forward: SystemExit: 3"),
        (
            [
                *HEAD,
                "  def forward(self, x, y): return self.helper(x)",
                "  def helper(self, x): return x @ x",
            ],
            "line 4, in helper: RuntimeError: mat1 and mat2",
        ),
    ],
)
def test_a_users_mistake_is_named_with_its_file_and_line(
    lines: list[str], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.py"
    path.write_text("\n".join(lines))
    with pytest.raises((ValueError, LossError), match=rf"mine\.py.*{message}"):
        build_and_run(f"{path}:L")


def build_and_run(text: str) -> None:
    method = built(text)
    run(method, batch(method))


# The real towers


def test_builds_and_embeds_with_the_towers_of_the_package() -> None:
    recipe = RECIPE.model_copy(update={"towers": Towers(image_size=32, context=8, vocabulary=300)})
    captions = ["a red cat", "the old green hill", "a cat on the hill"] * 4
    method: Any = Arm.parse("clip-rocket").build(recipe, {"text": captions}, 0)
    z = method.embed("image", torch.randint(0, 256, (2, 3, 40, 32), dtype=torch.uint8), "local")
    assert z.shape == (2, 8)
    assert method.embed("text", captions[:3]).shape == (3, 8)
    assert math.isclose(float(z[0].norm()), 1, rel_tol=1e-5)


def test_convirt_may_freeze_the_first_layers_of_a_text_tower() -> None:
    recipe = RECIPE.model_copy(update={"towers": Towers(image_size=32, context=8, vocabulary=300)})
    trained = {}
    for count in (0, 1):
        method: Any = Arm.parse(f"convirt,frozen_text_layers={count}").build(
            recipe, {"text": ["a red cat"] * 9}, 0
        )
        assert method.text_tower.pooling == "max"
        trained[count] = sum(p.numel() for p in method.text_tower.parameters() if p.requires_grad)
    assert 0 < trained[1] < trained[0]


@pytest.mark.parametrize("text", ["jigclu", "filip"])
def test_tower_without_what_a_method_needs_is_said_with_the_arm(text: str) -> None:
    recipe = override(RECIPE, {"towers.image": "mlp"})
    with pytest.raises(
        ValueError, match=rf"arm '{text}': PixelPerceptron has no features of single places .* cnn"
    ):
        Arm.parse(text).build(recipe, {"text": ["a cat"]}, 0)
