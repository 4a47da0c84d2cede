"""The heavy steps of a batch under Ray Data: several processes, each with its own model; a lost one loses no row.

Needs the optional `requirements-scale.txt`. Looks and scores are kept in the run's folder by whoever made them, so that
only names travel between processes; a worker that dies is started anew and finds what it had kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from assistant import load
from assistant.batch import Comparer, Seen, look_at
from assistant.batch_store import Store
from assistant.entries import Entry
from assistant.errors import LookTwiceError
from assistant.tiling import Tiles, checked_tiles

if TYPE_CHECKING:
    from assistant.inspector import Inspector

TOGETHER = 4
"""Items that a worker takes at once: what is done again when it dies in the middle."""
OBJECT_STORE = 100_000_000
"""Bytes; Ray's least is 75 MB, and only names go through it."""
ROOT = Path(__file__).parent.parent


def import_ray() -> Any:
    """The ray module with Ray Data, its reports to others switched off.

    Raises:
        LookTwiceError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    try:
        import ray
        import ray.data
    except ImportError:
        raise LookTwiceError(
            "Ray is not installed.", "Install it with: pip install -r requirements-scale.txt"
        ) from None
    return ray


class RayEngine:
    """Engine over a Ray of this machine's own, begun and ended with the context.

    Args:
        profile: name of the model that every worker loads.
        workers: how many processes, at least 1.
        tiles: see batch.Engine.
        options: see `assistant.load`.

    Raises:
        LookTwiceError: Ray is not installed.
    """

    def __init__(
        self, profile: str, workers: int = 2, tiles: Tiles = None, options: dict[str, Any] | None = None
    ) -> None:
        self._ray = import_ray()
        self._profile, self._workers, self._options = profile, workers, options or {}
        self.tiles = checked_tiles(tiles)

    def __enter__(self) -> RayEngine:
        search = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self._ray.init(
            address="local",
            num_cpus=self._workers,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE,
            log_to_driver=False,
            logging_level="error",
            runtime_env={"env_vars": {"PYTHONPATH": search}},
        )
        context = self._ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ray.shutdown()

    def looks(self, store: Store, entries: Sequence[Entry]) -> Iterator[Seen]:
        """See batch.Engine."""
        items = [{**asdict(entry), "file": str(entry.file.resolve())} for entry in entries]
        settings: dict[str, Any] = {"run": str(store.run.resolve()), "model": store.model, "profile": self._profile}
        settings |= {"tiles": self.tiles, "options": self._options}
        for found in self._mapped(Looker, settings, items):
            yield Seen(**found)

    def mutual(self, store: Store, batch: str, pool: Sequence[str], keys: Sequence[str]) -> Iterator[tuple[str, float]]:
        """See batch.Engine."""
        settings = {"run": str(store.run.resolve()), "model": store.model, "batch": batch, "pool": list(pool)}
        for found in self._mapped(Mutual, settings, [{"key": key} for key in keys]):
            yield found["key"], found["score"]

    def _mapped(self, worker: type, settings: dict[str, Any], items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """One result an item, in any order; items and results travel as JSON, which takes every file name."""
        if not items:
            return
        rows = [{"item": json.dumps(item)} for item in items]
        blocks = max(1, -(-len(rows) // TOGETHER))
        data = self._ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
            worker,
            fn_constructor_kwargs=settings,
            batch_size=TOGETHER,
            compute=self._ray.data.ActorPoolStrategy(size=self._workers),
            num_cpus=1,
            max_restarts=-1,
            max_task_retries=-1,
        )
        for row in data.iter_rows():
            yield json.loads(row["item"])


class Looker:
    """Ray worker of the first step: a model of its own, and `batch.look_at`."""

    def __init__(self, run: str, model: str, profile: str, tiles: Tiles, options: dict[str, Any]) -> None:
        self._store, self._tiles = Store(Path(run), model), tiles
        self._inspector: Inspector = load(profile, **options)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[str]]:
        """JSON entries -> JSON of Seen."""
        found = []
        for text in batch["item"]:
            values = json.loads(str(text))
            entry = Entry(**{**values, "file": Path(values["file"])})
            found.append(json.dumps(asdict(look_at(self._inspector, self._store, entry, self._tiles))))
        return {"item": found}


class Mutual:
    """Ray worker of the second step: `batch.Comparer`."""

    def __init__(self, run: str, model: str, batch: str, pool: list[str]) -> None:
        self._compare = Comparer(Store(Path(run), model), batch, pool)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[str]]:
        """JSON keys -> JSON keys with their scores."""
        keys = [json.loads(str(text))["key"] for text in batch["item"]]
        return {"item": [json.dumps({"key": key, "score": self._compare(key)}) for key in keys]}
