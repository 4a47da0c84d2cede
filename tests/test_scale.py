"""Two local Ray workers give what the plain engine gives, and one that is killed in the middle loses no row."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import torch

pytest.importorskip("ray.data", reason="Ray is not installed: see requirements-scale.txt")

from assistant.batch import Batch, PlainEngine, run_batch  # noqa: E402
from assistant.entries import list_entries  # noqa: E402
from assistant.scale import RayEngine  # noqa: E402
from tests.test_batch import draw  # noqa: E402

if TYPE_CHECKING:
    from assistant.inspector import Inspector

COUNT = 10
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = draw(tmp_path_factory.mktemp("parts") / "parts", COUNT)
    (folder / "torn.png").write_bytes((folder / "part0.png").read_bytes()[:200])
    return folder


@pytest.fixture(scope="module")
def plain(inspector: Inspector, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Batch:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a worker has: sums in another order differ in the last digits, and spreads scale that
    try:
        return run_batch(list_entries(folder)[0], tmp_path_factory.mktemp("plain"), "embedded", PlainEngine(inspector))
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def ray_engine(inspector: Inspector) -> Iterator[RayEngine]:
    """One Ray for the module; `inspector` skips where the weights are not installed."""
    with warnings.catch_warnings(action="ignore"), RayEngine("embedded", workers=2) as engine:
        yield engine


def test_a_worker_killed_in_the_middle_loses_no_row_and_changes_none(
    ray_engine: RayEngine, plain: Batch, folder: Path, tmp_path: Path
) -> None:
    killed: list[int] = []

    def kill() -> None:
        """Kills one of Ray's workers once the first looks are kept."""
        deadline = time.monotonic() + 400
        while time.monotonic() < deadline:
            if len(list(tmp_path.glob("looks-*/*.safetensors"))) >= 2:
                children = psutil.Process().children(recursive=True)
                workers = [child for child in children if "Looker" in " ".join(child.cmdline())]
                if workers:
                    workers[0].kill()
                    killed.append(workers[0].pid)
                    return
            time.sleep(0.005)

    killer = threading.Thread(target=kill)
    killer.start()
    batch = run_batch(list_entries(folder)[0], tmp_path, "embedded", ray_engine)
    killer.join()
    assert killed and not psutil.pid_exists(killed[0])
    assert [row.name for row in batch.rows] == [row.name for row in plain.rows] and len(batch.rows) == COUNT + 1
    assert batch.rows[-1].name == "torn.png" and batch.rows[-1].problem == plain.rows[-1].problem
    for row, expected in zip(batch.rows[:-1], plain.rows[:-1], strict=True):
        found = (row.suspicion, row.score, row.mutual)
        assert found == pytest.approx((expected.suspicion, expected.score, expected.mutual), abs=1e-5)
