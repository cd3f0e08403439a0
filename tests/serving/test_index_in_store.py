"""An index in an object store: a database that LanceDB keeps there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from counterpoint.serving import Index, index
from fixtures import store
from fixtures.vectors_folder import unit_vectors, write_vectors

pytestmark = [pytest.mark.slow, pytest.mark.system]


def test_a_database_in_a_store_is_written_found_again_and_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lancedb")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")  # LanceDB's own word for a store without TLS
    first, second = tmp_path / "first", tmp_path / "second"
    write_vectors(first, {"image": unit_vectors(40, 8, 0)})
    write_vectors(second, {"image": unit_vectors(20, 8, 1)}, ids=np.arange(1000, 1020))
    with store.bucket("vectors") as client:
        where = "s3://vectors/pictures"
        assert len(index(first, where, kind="lancedb")) == 40
        Index.open(where).add(second)
        found = Index.open(where).nearest(unit_vectors(20, 8, 1)[:1], 3, where="id >= 1000")[0]
        assert found.rows["id"][0] == 1000
        assert found.scores[0] == pytest.approx(1, abs=1e-6)
        kept = {item["Key"] for item in client.list_objects_v2(Bucket="vectors")["Contents"]}
        assert all(key.startswith("pictures/") for key in kept)
    assert not (tmp_path / "s3:").exists()
