"""Whole runs of methods with state of their own: on ranks, and in processes that are killed on the way.

``whole_jobs.py FOLDER`` kills a run of every method at every moment. Each is a process of its own, forked from this
one, so that all is imported once. It prints ``METHOD MOMENT`` after each death.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from counterpoint.data.loading.loader import Loader
from counterpoint.methods import METHODS, Method
from counterpoint.recipes import Recipe
from counterpoint.study.training.runner import run as carry_out
from counterpoint.training.loop import TrainingProgress, fit
from counterpoint.training.run import Run
from counterpoint.training.sharing.distributed import whole
from counterpoint.training.start import prepare
from counterpoint.training.step.stages import spans
from counterpoint.types import Batch
from fixtures.tiny import TraitsData

ARMS = {
    "albef": "albef,queue=12",
    "swav": "swav,queue=12,frozen_steps=2,prototypes=16",
    "byol": "byol,self_label=cosine,positive=0.5",
    "m-dyr": "m-dyr,warmup=0.3",
    "sbcl": "sbcl,every=1,warmup=1,smallest=2",
    # Two of ten are chosen, so that in some steps one rank of two has none.
    "jest": "jest,filter=0.8,chunks=2,reference={reference}",
    "comic": "comic,labels=traits",
    "brivl": "brivl,queue=12",
    "catlip": "catlip,labels=traits",
    "clip-moe": "clip-moe,image=vit,experts=2,clusters=2",
    "dbl": "dbl",
    "dbot": "dbot,image=vit",
    "decoupled-softmax": "decoupled-softmax,labels=traits",
    "dreamlip": "dreamlip,sentences=2",
    "ebm": "ebm",
    "gml": "gml,queue=12",
    "l1": "l1,labels=area",
    "logit-adjusted": "logit-adjusted",
    # Stages of four and five steps; of more stages there would be fewer rows to a group than a batch.
    "mcl": "mcl,on=images,stages=2,clusters=2",
    "md-dyr": "md-dyr,warmup=0.3",
    "mlcd": "mlcd,clusters=4,positives=2",
    "mochi": "mochi,queue=12",
    "msclap": "msclap,tasks=subgroup+gender,dropout=0",
    "moco": "moco,queue=12",
    "moco-dual-view": "moco-dual-view,queue=12",
    "pcd": "pcd,teacher={reference},queue=12",
    "radio": "radio,teacher={reference}",
    "softmask": "softmask,queue=12",
    "supcon-bins": "supcon-bins,labels=area,bins=3",
    "sy-con": "sy-con,queue=12",
    "text-shearing": "text-shearing",
}
"""Methods with state beside their weights, and options under which it moves in so short a run."""
UNTRAINED = {
    "amc": ("it takes a column of maps", "tests/methods/test_amc.py"),
    "blip-2": ("it takes conversations beside texts", "tests/methods/test_blip_2.py"),
    "coavt": ("it takes three columns", "tests/methods/test_coavt.py"),
    "coconut-slu": ("it takes sounds", "tests/methods/test_coconut_slu.py"),
    "colva": ("it takes two pictures with maps", "tests/methods/test_colva.py"),
    "conan": ("it takes pairs of texts", "tests/methods/test_conan.py"),
    "cumo": ("it takes conversations", "tests/methods/test_cumo.py"),
    "custom-diffusion": ("it goes on from a painter", "tests/methods/test_personal.py"),
    "distillm-2": ("it takes conversations and a teacher", "tests/methods/test_distillm_2.py"),
    "dpo": ("it takes two columns of conversations", "tests/methods/test_dpo.py"),
    "illume": ("it takes two columns of conversations", "tests/methods/test_illume.py"),
    "finedefics": ("it takes conversations beside texts", "tests/methods/test_finedefics.py"),
    "llm-vem": ("it takes a table", "tests/methods/test_llm_vem.py"),
    "mcpl": ("it goes on from a painter", "tests/methods/test_mcpl.py"),
    "multibooth": ("it goes on from a painter", "tests/methods/test_multibooth.py"),
    "next-token": ("it takes conversations", "tests/methods/test_next_token.py"),
    "p-former": ("it takes conversations beside texts", "tests/methods/test_p_former.py"),
    "r2-t2": ("it takes conversations", "tests/methods/test_r2_t2.py"),
    "siglip-2": ("it takes boxes", "tests/methods/test_siglip_2.py"),
    "secla": ("it takes boxes", "tests/methods/test_secla.py"),
    "step-on-feet": ("it takes conversations", "tests/methods/test_step_on_feet.py"),
    "task-vectors": ("it takes conversations", "tests/methods/test_task_vectors.py"),
    "textual-inversion": ("it goes on from a painter", "tests/methods/test_personal.py"),
    "textual-localization": ("it goes on from a painter", "tests/methods/test_personal.py"),
    "tldr": ("it takes two columns of conversations", "tests/methods/test_tldr.py"),
    "x-former": ("it takes conversations beside texts", "tests/methods/test_x_former.py"),
    "tagalign": ("it goes on from a run", "tests/methods/test_tagalign.py"),
}
"""Methods that cannot learn from the data here, each with the reason and the file that tests it instead."""
LOOK = tuple(name for name in ARMS if METHODS.get(name).on_epoch_start is not Method.on_epoch_start)
"""Methods that look at all examples."""
ON_RANKS = ("swav", "byol", "jest", "msclap", *LOOK)
"""Methods that look or have stages, and one of each other way in which ranks share state; test_method_steps.py has a
step of every method on ranks."""
RECIPE = Recipe(
    batch_size=10,
    steps=9,
    checkpoint_every=2,
    log_every=1,
    threads=1,
    towers={"image_size": 24, "vocabulary": 300},
    widths={"embedding": 32, "ssl_hidden": 32, "ssl_output": 32},
)
"""Three epochs of three steps, so that methods that look before each epoch do so at steps 0, 3 and 6."""
EPOCH = 3


@cache
def looks(name: str, reference: Path) -> tuple[int, ...]:
    """Return the steps at which a method looks: the first of every so many epochs, and of each of its stages."""
    if name not in LOOK:
        return ()
    method, _ = prepare(Run(ARMS[name].format(reference=reference), "tiny", RECIPE), TraitsData())
    of_epochs = range(0, RECIPE.total_steps, EPOCH * method.epoch_start_every)
    return tuple(sorted({*of_epochs, *(span.first for span in spans(method.stages, RECIPE.total_steps))}))


def moments(name: str, reference: Path) -> tuple[str, ...]:
    """Return the moments at which a run is killed, each with its step: in an epoch, and between a look and a step.

    The last checkpoint before the look at step 3 is of step 2, and that before the look at step 6 of step 6.
    """
    return ("behind step 5", *(f"behind the look at step {step}" for step in looks(name, reference) if step))


def refer(folder: Path) -> None:
    """Train the reference that jest chooses by, and that others are taught by or go on from."""
    recipe = RECIPE.model_copy(update={"steps": 2, "checkpoint_every": 100, "validate_every": 100})
    carry_out(Run("siglip", "digits", recipe), folder, test=False)


def trained(
    name: str,
    reference: Path,
    folder: Path | None = None,
    on_step: Callable[[TrainingProgress], None] | None = None,
    on_look: Callable[[int], None] = lambda step: None,
    double: bool = False,
    microbatch: int = 0,
) -> dict[str, Tensor]:
    """Return the state that a run of one of `ARMS` leaves."""
    recipe = RECIPE.model_copy(update={"microbatch": microbatch})
    method, loader = prepare(Run(ARMS[name].format(reference=reference), "tiny", recipe), TraitsData())
    assert loader.order.steps_per_epoch == EPOCH
    if double:
        method = method.double()
    look = method.on_epoch_start

    def told(examples: Any, clock: Any) -> None:
        look(examples, clock)
        on_look(clock.step)

    with patch.object(method, "on_epoch_start", told):
        fit(method, loader, recipe, folder, accelerator="cpu", on_step=on_step)
    return {name: whole(value).clone() for name, value in method.state_dict().items()}


@contextmanager
def doubled() -> Iterator[None]:
    """Let all batches hold float64, in which the order of a sum hardly matters."""
    single = Loader.of

    def double(self: Loader, *given: Any) -> Batch:
        batch = single(self, *given)
        views = {name: v.double() if v.is_floating_point() else v for name, v in batch.views.items()}
        return replace(batch, views=views)

    with patch.object(Loader, "of", double):
        yield


def job_whole(
    rank: int, size: int, name: str, reference: Path, microbatch: int = 0
) -> tuple[list[float], dict[str, Tensor]]:
    """Return the losses of a run in float64, and the state that it leaves."""
    losses: list[float] = []

    def told(now: TrainingProgress) -> None:
        losses.append(now.loss)

    with doubled():
        state = trained(name, reference, on_step=told, double=True, microbatch=microbatch)
    return losses, state


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed(name: str, moment: str, reference: Path, folder: Path) -> None:
    """Train until a moment, and die."""
    at = int(moment.split()[-1])
    behind_look = "look" in moment
    trained(
        name,
        reference,
        folder,
        on_step=None if behind_look else lambda now: die() if now.step == at else None,
        on_look=(lambda step: die() if step == at else None) if behind_look else lambda step: None,
    )


def main(place: Path) -> None:
    torch.set_num_threads(1)
    for name in ARMS:
        for moment in moments(name, place / "reference"):
            child = os.fork()
            if not child:
                killed(name, moment, place / "reference", place / name / moment)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            assert os.WIFSIGNALED(status), (name, moment, status)
            assert os.WTERMSIG(status) == signal.SIGKILL, (name, moment, status)
            print(name, moment, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
