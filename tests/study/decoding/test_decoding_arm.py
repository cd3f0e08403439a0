"""Arms of a study of decoding, and the rule alone that each is held against."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from counterpoint.decoding import DECODING, create, plausibility_only
from counterpoint.decoding.methods.plain import Plain
from counterpoint.decoding.rule import PlausibilityOnly
from counterpoint.registry import UnknownNameError
from counterpoint.study.decoding.arm import DecodingArm


@pytest.mark.parametrize("name", DECODING.names())
def test_an_arm_is_read_again_from_what_it_is_called(name: str) -> None:
    arm = DecodingArm.parse(name)
    assert DecodingArm.parse(arm.spec) == arm
    assert arm.method() == create(name)
    rule = arm.rule()
    if rule is not None:
        assert DecodingArm.parse(rule.spec) == rule
        assert rule.rule() is None
        assert rule.method() == plausibility_only(arm.method())


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("plain", None),
        ("plain,beta=0.1", None),
        ("vcd", "plain,beta=0.1"),
        ("vcd,beta=0.25", "plain,beta=0.25"),
        ("vcd,beta=0", None),
        ("ritual", "plain,beta=0.1"),
        ("vcd,beta=0.2+ritual", "plain,beta=0.2"),
        ("code", "code,contrast=0"),
        ("vdgd,top_p=0.4", "vdgd,top_p=0.4,contrast=0"),
        ("code+vcd", "code+vcd,contrast=0"),
    ],
)
def test_the_rule_alone(text: str, rule: str | None) -> None:
    found = DecodingArm.parse(text).rule()
    assert (None if found is None else found.spec) == rule


def test_options_have_their_types() -> None:
    method = DecodingArm.parse("vdd, without=none/unk, alpha=0.5").method()
    assert method == create("vdd", without=("none", "unk"), alpha=0.5)
    assert DecodingArm.parse("code,alpha=none").method() == create("code")


def test_chance_follows_the_seed_unless_it_is_given() -> None:
    assert DecodingArm.parse("vcd").method(seed=4) == create("vcd", seed=4)
    assert DecodingArm.parse("vcd,seed=1").method(seed=4) == create("vcd", seed=1)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("rituall", UnknownNameError, "unknown decoding method 'rituall': did you mean 'ritual'"),
        ("vcd,alpha", ValueError, "'alpha' is no option; write name=value"),
        ("vcd,alpha=1,alpha=2", ValueError, "'alpha' is given twice"),
        ("vcd,contrast=0.5", ValueError, "contrast=0 leaves the plausibility rule alone"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_loaded(
    text: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        DecodingArm.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vcd,alhpa=1", "unknown option of vcd 'alhpa': did you mean 'alpha'"),
        ("vcd,alpha=much", "option alpha of vcd must be a number"),
        ("vcd,beta=2", "option beta of vcd must be at most 1, got '2'"),
        ("lcd,language_model=x", "unknown option of lcd 'language_model'"),
    ],
)
def test_wrong_options(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DecodingArm.parse(text).method()


def test_names_are_read_without_torch() -> None:
    code = "import sys; from counterpoint.study.decoding import DecodingArm; DecodingArm.parse('vcd,alpha=1+ritual')"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_slugs_are_files_and_differ() -> None:
    assert DecodingArm.parse("vcd,alpha=0.5+ritual").slug == "vcd,alpha=0.5+ritual"
    slugs = {DecodingArm.parse(f"vdd,without={names}").slug for names in ("none/unk", "none/zeros", "none")}
    assert len(slugs) == 3
    assert not any("/" in slug for slug in slugs)


def test_the_rule_alone_keeps_the_models_own_order() -> None:
    torch.manual_seed(0)
    own, other = torch.randn(2, 3, 8)
    method = create("code")
    rule = plausibility_only(method)
    assert isinstance(rule, PlausibilityOnly)
    assert torch.equal(rule.keep(own, [other]), method.keep(own, [other]))
    assert rule.weights(own, [other]).others == [0.0]
    assert rule.weights(own, [other]).total == 1.0
    assert plausibility_only(create("vcd", beta=0.3)) == Plain(0.3)
    ends = create("mvcd", end=int(other[0].argmax()))  # a rule that looks at its branch too
    rule = plausibility_only(ends)
    assert rule is not None
    assert torch.equal(rule.keep(own, [other]), ends.keep(own, [other]))
    assert rule.keep(own, [other])[0].sum() == 1


def test_a_described_rule_is_its_method_with_contrast_zero() -> None:
    from counterpoint.decoding import DescriptionContrastive, describe
    from fixtures.tiny_vlms import KINDS, tiny

    model, inputs = tiny("Llava"), KINDS["Llava"].row(0)
    description = describe(model, inputs, max_new_tokens=4)
    method = DescriptionContrastive()
    said = [
        model.generate(
            **inputs,
            custom_generate=each.on(inputs, description=description),
            do_sample=False,
            max_new_tokens=6,
        ).tolist()
        for each in (DecodingArm.parse("code,contrast=0").method(), DescriptionContrastive(alpha=0.0))
    ]
    assert said[0] == said[1]
    assert plausibility_only(method) == DecodingArm.parse("code,contrast=0").method()
