"""Embedding by several processes: the vectors are those of one, and what is lost is done again."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import counterpoint as cp
from counterpoint.execution import Ray, ResourceRequest, Slurm, WorkHandover, work
from counterpoint.execution.watch import standings
from counterpoint.serving import Vectors
from counterpoint.serving.embedding import rows as embedding
from fixtures import foreign, ray_cluster
from fixtures.tiny import TinyData


@pytest.fixture(autouse=True)
def _parts_of_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "ROWS", 16)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"transformers:{foreign.clip(tmp_path_factory.mktemp('models') / 'clip')}"


@pytest.fixture(scope="module")
def alone(pairs: Path, reference: str, tmp_path_factory: pytest.TempPathFactory) -> Vectors:
    """Return what one process makes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding, "ROWS", 16)
        return cp.embed(reference, pairs, tmp_path_factory.mktemp("alone"), batch_size=16)


def same(vectors: Vectors, alone: Vectors) -> None:
    assert vectors.table().equals(alone.table())
    for mine, other in zip(vectors.parts, alone.parts, strict=True):
        assert np.array_equal(vectors.read(mine)[0], alone.read(other)[0])
    assert sorted(path.name for path in vectors.folder.iterdir()) == [path.name for path in alone.parts]


def test_one_process_leaves_vectors_alone(alone: Vectors) -> None:
    assert sorted(path.name for path in alone.folder.iterdir()) == [path.name for path in alone.parts]


def test_what_is_handed_over_is_made_by_whoever_sees_the_folder(
    pairs: Path, reference: str, alone: Vectors, tmp_path: Path
) -> None:
    out = tmp_path / "vectors"
    with pytest.raises(WorkHandover, match="sbatch"):
        cp.embed(reference, pairs, out, batch_size=16, executor=Slurm(), needs=ResourceRequest(cpus=3))
    assert "--cpus-per-task=3" in (out / "slurm" / "runs.sh").read_text()
    assert {standing.status for standing in standings(out, time.time())} == {"waiting"}
    assert len(standings(out, time.time())) == len(alone.parts)
    work(out)
    (out / "slurm" / "runs.sh").unlink()
    (out / "slurm" / "end.sh").unlink()
    (out / "slurm").rmdir()
    same(Vectors.open(out), alone)


def test_another_model_of_the_same_name_is_refused(pairs: Path, tmp_path: Path) -> None:
    model = foreign.clip(tmp_path / "clip")
    out = tmp_path / "vectors"
    with pytest.raises(WorkHandover):
        cp.embed(f"transformers:{model}", pairs, out, executor=Slurm())
    weights = model / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ValueError, match="the model on this machine differs"):
        work(out)


def test_objects_cannot_be_told_to_others(tiny_data: TinyData, reference: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="given as objects: give their names"):
        cp.embed(reference, tiny_data, tmp_path, executor=Slurm())


@pytest.mark.slow
@pytest.mark.system
def test_two_processes_make_the_vectors_of_one(
    pairs: Path, reference: str, alone: Vectors, tmp_path: Path
) -> None:
    same(cp.embed(reference, pairs, tmp_path / "vectors", batch_size=16, jobs=2), alone)


@pytest.mark.slow
@pytest.mark.system
def test_a_worker_that_is_lost_on_ray(pairs: Path, reference: str, alone: Vectors, tmp_path: Path) -> None:
    out, killed = tmp_path / "vectors", []

    def kill() -> None:
        end = time.monotonic() + 120
        while len(killed) < 2 and time.monotonic() < end:
            for lease in out.glob(".parts/*/.lease-*.json"):
                number = _process(lease)
                if number not in (None, *killed):
                    os.kill(number, signal.SIGKILL)
                    killed.append(number)
                    break
            time.sleep(0.02)

    with ray_cluster.cluster() as cluster:
        ray_cluster.machines(cluster)
        thread = threading.Thread(target=kill)
        thread.start()
        try:
            same(cp.embed(reference, pairs, out, batch_size=16, executor=Ray(cluster.address)), alone)
        finally:
            thread.join()
    assert killed


def _process(lease: Path) -> int | None:
    import json

    try:
        return int(json.loads(lease.read_text())["process"])
    except (OSError, ValueError):
        return None
