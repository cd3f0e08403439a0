"""SigLIP 2: sequences of its tasks by hand, the teacher's part, the last part of a run, and SigLIP as a limit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, StubImage, batch, build, finer_vit, loaded, run

from counterpoint.methods.siglip_2 import CAPTION, GROUND, LOCAL, PARALLEL, REFER, TASK, cropped
from counterpoint.types import Batch, StepInfo

F64 = torch.float64
LAST = StepInfo(1700, 2000)


def siglip_2(**options: Any) -> Any:
    return build("siglip-2", image=finer_vit, **{"last": 0.2, **options}).double().eval()


def in_last_part(method: Any, size: int = 4, clock: StepInfo = LAST) -> Batch:
    torch.manual_seed(0)
    with torch.no_grad():
        return method.prepare(loaded(method, size, dtype=F64), clock)


def test_sequences_of_the_tasks() -> None:
    method = siglip_2(bins=4, most_boxes=2, masked=0.0, distil=0.0)
    end, vocabulary = method.text_tower.tokenizer.end, method.text_tower.tokenizer.vocabulary
    text = torch.tensor([[5, 6, end, 0]]).expand(3, -1)
    boxes = torch.tensor([[0.0, 0.5, 0.3, 1.0], [torch.nan] * 4, [0.1, 0.1, 0.9, 0.9]]).expand(3, 3, 4)
    tokens, asked = method.spoken(text, boxes, torch.tensor([CAPTION, REFER, GROUND]))
    sign, box = [vocabulary + 4 + k for k in range(3)], [vocabulary + k for k in (0, 2, 1, 3)]
    assert [of[: 4 if k == 0 else 8].tolist() for k, of in enumerate(tokens)] == [
        [sign[0], 5, 6, end],
        [sign[1], 5, 6, end, *box],
        [sign[2], *box, 5, 6, end],
    ]
    assert [of.nonzero()[:, 0].tolist() for of in asked] == [[1, 2, 3], [4, 5, 6, 7], [5, 6, 7]]


def test_likelihood_is_of_what_is_asked() -> None:
    method = siglip_2(parallel=0.5, masked=0.0, distil=0.0)
    with torch.no_grad():  # else every token is as likely
        weight = method.decoder.head.weight
        weight += torch.randn(weight.shape, generator=torch.Generator().manual_seed(3))
    given = batch(method, 8, dtype=F64)
    z = method.encode(given)["likelihood.boxes"]
    states = method.image_tower.patches(given["image"]).flatten(2).mT + method.positions.weight
    tokens, asked = method.spoken(given["text"], given["boxes"], given[TASK + "text"])
    for row in range(8):
        own = tokens[row : row + 1]
        if given[PARALLEL + "text"][row]:
            inputs, causal = torch.full((1, method.decoder.length), method.decoder.mask), False
        else:
            inputs, causal = F.pad(own[:, :-1], (1, 0), value=method.decoder.start), True
        of_row = method.decoder(inputs, states[row : row + 1], causal=causal)[0, : own.shape[1]]
        log_p = method.decoder.head(of_row).log_softmax(1)
        expected = log_p[range(own.shape[1]), own[0]][asked[row]]
        torch.testing.assert_close(z[row, 0], expected.sum())
        assert z[row, 1] == len(expected)


def test_rows_without_a_box_are_captioned() -> None:
    method = siglip_2(grounding=1.0, parallel=1.0)
    given = loaded(method, 6, dtype=F64)
    boxes = given["boxes"].clone()
    boxes[:3] = torch.nan
    given = method.prepare(replace(given, views={**given.views, "boxes": boxes}), LATE)
    assert (given[TASK + "text"] == CAPTION).tolist() == [True] * 3 + [False] * 3
    assert given[PARALLEL + "text"].tolist() == [True] * 3 + [False] * 3
    captions = siglip_2(grounding=0.0)
    assert not captions.prepare(loaded(captions, 6, dtype=F64), LATE)[TASK + "text"].any()


def test_without_decoder_and_further_losses_it_is_siglip() -> None:
    ours = siglip_2(captioning=0.0, distil=0.0, masked=0.0, bias=-3.0)
    theirs = build("siglip", image=finer_vit, bias=-3.0).double().eval()
    state = {n: t for n, t in ours.state_dict().items() if not n.startswith(("decoder", "positions"))}
    theirs.load_state_dict(state)
    given = in_last_part(ours, 6)
    assert set(run(ours, given, LAST)) == {"siglip"}
    torch.testing.assert_close(run(ours, given)["siglip"], run(theirs, given)["siglip"])


def test_the_last_part_begins_with_a_copy_of_the_student() -> None:
    method = siglip_2(last=0.2)
    with torch.no_grad():
        for weight in method.teacher.parameters():
            weight += 1
    early = in_last_part(method, 4, StepInfo(1599, 2000))
    assert set(run(method, early)) == {"siglip", "decoder"}
    given = in_last_part(method, 4, StepInfo(1600, 2000))
    for slow, fast in zip(
        method.teacher.module["tower"].parameters(), method.image_tower.parameters(), strict=True
    ):
        assert torch.equal(slow, fast)
    assert set(run(method, given)) == {"siglip", "decoder", "distil", "masked"}


def test_further_losses_are_those_of_the_docstring_and_move_the_picture_tower_alone() -> None:
    method = siglip_2(outputs=6, crops=2, distil=1.0, masked=1.0)
    given = in_last_part(method, 3)
    with torch.no_grad():
        method.centres += torch.randn(2, 6, generator=torch.Generator().manual_seed(1))
    losses = run(method, given)
    copy, heads = method.teacher.module, method.extra_heads
    distil, masked = [], []
    for row in range(3):
        view = given["global.image"][row : row + 1]
        target = ((copy["heads"]["distil"](copy["tower"](view)) - method.centres[0]) / 0.04).softmax(1)
        for crop in given["local.image"][row]:
            log_p = (heads["distil"](method.image_tower(crop[None])) / 0.1).log_softmax(1)
            distil.append(-(target * log_p).sum())
        index = given["hidden.image"][row : row + 1]
        states = method.image_tower.encode_visible(view, index, method.mask_token.weight[0]).patches[0]
        taught = copy["tower"].patches(view)[0].flatten(1).T
        for patch in sorted({*range(16)} - {*index[0].tolist()}):
            target = ((copy["heads"]["masked"](taught[patch]) - method.centres[1]) / 0.04).softmax(0)
            log_p = (heads["masked"](states[patch]) / 0.1).log_softmax(0)
            masked.append(-(target * log_p).sum())
    torch.testing.assert_close(losses["distil"], torch.stack(distil).mean())
    torch.testing.assert_close(losses["masked"], torch.stack(masked).mean())
    torch.autograd.backward(losses["distil"] + losses["masked"])
    moved = {name.partition(".")[0] for name, p in method.named_parameters() if p.grad is not None}
    assert moved == {"towers", "extra_heads", "mask_token"}
    assert all(p.grad is None for p in method.towers["text"].parameters())
    assert all(p.grad is None for p in method.teacher.parameters())


def test_teacher_and_centres_follow_after_a_step_of_the_last_part() -> None:
    method = siglip_2(outputs=6)
    given = in_last_part(method)
    z = method.targets(given) | method.encode(given)
    before = [p.clone() for p in method.teacher.parameters()]
    with torch.no_grad():
        for weight in method.image_tower.parameters():
            weight += 1
    method.after_step({name: t.detach() for name, t in z.items()}, given, LAST)
    torch.testing.assert_close(method.centres[0], 0.1 * z["momentum.image"].mean(0))
    torch.testing.assert_close(method.centres[1], 0.1 * z["momentum.hidden.image"].mean((0, 1)))
    assert any(not torch.equal(a, b) for a, b in zip(before, method.teacher.parameters(), strict=True))
    assert z[LOCAL + "image"].shape[1] == method.crops


def test_crops_are_parts_of_the_picture() -> None:
    ramp = torch.arange(8.0).expand(2, 3, 8, 8)
    drawn = torch.tensor([[0.0, 0.0, 0.5, 0.9], [0.0, 1.0, 0.5, 0.1]])
    left, right = cropped(ramp, drawn, (0.25, 1.0), 4)[:, 0, 0]
    torch.testing.assert_close(left, torch.arange(4.0))
    torch.testing.assert_close(right, torch.arange(7.0, 3.0, -1))  # mirrored


def test_masked_patches_ask_for_a_tower_that_leaves_patches_out() -> None:
    with pytest.raises(ValueError, match="cannot leave patches"):
        build("siglip-2", image=StubImage)
    assert build("siglip-2", image=StubImage, masked=0.0).embeds == ("image", "text")
