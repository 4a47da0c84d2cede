"""Many pictures without labels: each is looked at, held against the others, and listed by suspicion.

Three steps, each kept on disk picture by picture, so that a run that was killed goes on where it was: looks, mutual
scores, and the list. The first two are the same functions under every engine; the third takes no time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from assistant import mutual
from assistant.batch_store import Kept, Store, content_key, weights_id, with_heatmap
from assistant.calibration import Calibration
from assistant.entries import Entry
from assistant.errors import LookTwiceError
from assistant.fusion import MapScale, fuse_map, fuse_scores
from assistant.media import read_media
from assistant.profiles import Profile, read_profile
from assistant.tiling import Tiles, checked_tiles
from assistant.types import SUSPICIOUS, Look, Region
from assistant.weights import CALIBRATION_FILE

if TYPE_CHECKING:
    from assistant.inspector import Inspector

STANDS_OUT = 3.5
"""Suspicion from which a picture stands out of its batch: the usual cut of the modified z-score (Iglewicz & Hoaglin,
How to Detect and Handle Outliers, 1993)."""
FEW = 8
"""Different pictures below which mutual scoring says little."""
BROKEN = "The picture could not be looked at; the log says why."
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """One picture of a batch.

    Attributes:
        rank: 1 is the most suspicious; 0 for a picture that could not be looked at.
        name: of the entry.
        suspicion: how far the picture is from the middle of its batch, own score and mutual score together, in robust
            standard deviations; None when it could not be looked at.
        score: of the look alone, calibrated 0..1, on one scale for all batches.
        mutual: smoothed mutual score, a distance 0..2; None when there is nothing to compare with.
        over_threshold: whether `score` reaches `threshold`.
        stands_out: whether `suspicion` reaches STANDS_OUT.
        regions: suspicious places on the picture's map, own and mutual together.
        kinds: (name, probability) of the kinds of defect it could be; none for a normal picture.
        warnings: what was noticed while reading and looking.
        problem: why it could not be looked at, else empty.
        key: of its kept look, empty when there is none.
        threshold: score from which this picture is called anomalous; None when it could not be looked at.
    """

    rank: int
    name: str
    suspicion: float | None = None
    score: float | None = None
    mutual: float | None = None
    over_threshold: bool = False
    stands_out: bool = False
    regions: tuple[Region, ...] = ()
    kinds: tuple[tuple[str, float], ...] = ()
    warnings: tuple[str, ...] = ()
    problem: str = ""
    key: str = ""
    threshold: float | None = None

    @property
    def verdict(self) -> str:
        """One of "not read", "anomalous", "stands out" and "normal", the first that holds."""
        if self.problem:
            return "not read"
        return "anomalous" if self.over_threshold else "stands out" if self.stands_out else "normal"


@dataclass(frozen=True, eq=False)
class Batch:
    """The result of a run.

    Attributes:
        rows: most suspicious first, those that could not be looked at last.
        threshold, threshold_source: that most pictures have, see `Finding`; each row has its own.
        profile: name of the model.
        notes: what concerns the whole batch, one sentence each.
        seconds: of this run.
    """

    rows: tuple[Row, ...]
    threshold: float
    threshold_source: str
    profile: str
    notes: tuple[str, ...]
    seconds: float
    store: Store
    batch: str
    scale: MapScale | None

    @property
    def threshold_words(self) -> str:
        """The thresholds of all rows in words: "0.50", or "0.50 to 0.61"."""
        known = sorted({f"{row.threshold:.2f}" for row in self.rows if row.threshold is not None})
        return " to ".join(dict.fromkeys((known[0], known[-1]))) if known else f"{self.threshold:.2f}"

    def look(self, row: Row) -> Look:
        """The kept look of a row with own and mutual map together, to be drawn; it cannot be asked about.

        Raises:
            LookTwiceError: the row has none, or it has gone from the run's folder.
        """
        if not row.key:
            raise LookTwiceError(row.problem or f"There is no look at '{row.name}'.")
        return fused_look(self.store, self.batch, row.key, row.name, self.scale)


@dataclass(frozen=True)
class Seen:
    """What became of one entry: the key of its kept look, or why there is none."""

    name: str
    key: str = ""
    problem: str = ""


class Engine(Protocol):
    """Runs the two heavy steps over many items; results come in any order, one an item.

    Attributes:
        tiles: how every picture is looked at, see `Inspector.look`.
    """

    tiles: Tiles

    def looks(self, store: Store, entries: Sequence[Entry]) -> Iterator[Seen]:
        """`look_at` for every entry."""
        ...

    def mutual(self, store: Store, batch: str, pool: Sequence[str], keys: Sequence[str]) -> Iterator[tuple[str, float]]:
        """`Comparer` for every key: (key, score); -1 when there is nothing to compare with."""
        ...


class PlainEngine:
    """One item after the other in this process.

    Args:
        inspector: the model.
        submit: runs one piece of work and returns its result; a page gives its model's own thread here, so that
            conversations are answered between two pictures.
        tiles: see Engine.
    """

    def __init__(
        self,
        inspector: Inspector,
        submit: Callable[[Callable[[], Any]], Any] = lambda work: work(),
        tiles: Tiles = None,
    ) -> None:
        self._inspector, self._submit, self.tiles = inspector, submit, checked_tiles(tiles)

    def looks(self, store: Store, entries: Sequence[Entry]) -> Iterator[Seen]:
        """See Engine."""
        for entry in entries:
            yield self._submit(lambda entry=entry: look_at(self._inspector, store, entry, self.tiles))

    def mutual(self, store: Store, batch: str, pool: Sequence[str], keys: Sequence[str]) -> Iterator[tuple[str, float]]:
        """See Engine."""
        compare = Comparer(store, batch, pool)
        for key in keys:
            yield self._submit(lambda key=key: (key, compare(key)))


def look_at(inspector: Inspector, store: Store, entry: Entry, tiles: Tiles = None) -> Seen:
    """Looks at one entry and keeps the look, unless it is kept already; a picture that cannot be used is a problem."""
    try:
        data = entry.read()
        key = content_key(data)
        if store.has_look(key):
            return Seen(entry.name, key)
        look, levels = _look(inspector, data, entry.name, tiles)
    except LookTwiceError as error:
        return Seen(entry.name, problem=str(error))
    except Exception:  # one picture that breaks a library must not end the run
        log.exception("a picture could not be looked at")
        return Seen(entry.name, problem=BROKEN)
    halves = tuple(level.half().numpy() for level in levels)
    kept = Kept.of(look, halves, mutual.descriptor(levels).numpy(), spots=tiles is not None)
    store.save_look(key, kept)  # a disk that is full does end it
    return Seen(entry.name, key)


def _look(inspector: Inspector, data: bytes, name: str, tiles: Tiles) -> tuple[Look, list[torch.Tensor]]:
    """A look, and the tower's levels of the whole picture, without the finest: [C_l, h_l, w_l] each."""
    seen: list[Any] = []
    mine = threading.get_ident()

    def keep(_module: Any, _inputs: Any, output: Any) -> None:
        if threading.get_ident() == mine and not seen:  # looks of other threads are not ours; after the whole, tiles
            seen.append(output)

    hook = inspector.model.look_model.tower.register_forward_hook(keep)
    try:
        look = inspector.look(read_media(data, name=name), **({} if tiles is None else {"tiles": tiles}))
    finally:
        hook.remove()
    return look, [level[0].cpu() for level in seen[0].levels[1:]]


class Comparer:
    """Mutual scores of pictures whose looks are kept; the pool is read once, at the first picture."""

    def __init__(self, store: Store, batch: str, pool: Sequence[str]) -> None:
        self._store, self._batch, self._keys = store, batch, list(pool)
        self._pool: mutual.Pool | None = None

    def __call__(self, key: str) -> float:
        """The mutual score of one picture, kept with its map; -1 when there is nothing to compare it with."""
        kept = self._store.mutual_score(self._batch, key)
        if kept is not None:
            return kept
        if set(self._keys) <= {key}:
            return -1.0
        with torch.inference_mode():
            if self._pool is None:
                self._pool = mutual.make_pool(self._keys, [self._levels(other) for other in self._keys])
            found = mutual.mutual_map(key, self._levels(key), self._pool)
        assert found is not None  # the pool holds another picture
        score = mutual.map_score(found)
        self._store.save_mutual(self._batch, key, found.numpy(), score)
        return score

    def _levels(self, key: str) -> list[torch.Tensor]:
        return [torch.from_numpy(level) for level in self._store.load_levels(key)]


Progress = Callable[[str, int, int], None]
"""Called with "looking" or "comparing", how many are done, and how many there are."""


def run_batch(
    entries: Sequence[Entry],
    out: Path,
    profile: str | Profile,
    engine: Engine,
    *,
    notes: Sequence[str] = (),
    progress: Progress = lambda step, done, total: None,
    stop: threading.Event | None = None,
) -> Batch:
    """Looks at many pictures, compares them, and lists them by suspicion.

    Args:
        entries: of `entries.list_entries`.
        out: the run's folder; what it holds of the same pictures and weights is used again.
        profile: the model that the engine has, or its name.
        engine: runs the heavy steps.
        notes: sentences for the result.
        progress: is told how far it is.
        stop: ends the run after the picture at hand when it is set; what was done until then is kept.

    Raises:
        LookTwiceError: the folder cannot be written, or the run was stopped.
    """
    start = time.perf_counter()
    made_of = profile if isinstance(profile, Profile) else read_profile(profile)
    calibration = Calibration()  # of an imported expert there is none
    if not made_of.checkpoint or (made_of.weights / CALIBRATION_FILE).is_file():
        calibration = Calibration.load(made_of.weights / CALIBRATION_FILE)
    store = Store(out, weights_id(made_of, engine.tiles))
    store.prepare()
    looked = {
        seen.name: seen for seen in _followed(engine.looks(store, entries), "looking", len(entries), progress, stop)
    }
    seen = [looked[entry.name] for entry in entries]
    keys = sorted({one.key for one in seen if one.key})
    pool = mutual.choose_pool(keys)
    batch = store.batch_id(keys, mutual.SETTINGS)
    steps = _followed(engine.mutual(store, batch, pool, keys), "comparing", len(keys), progress, stop)
    raw = dict(steps) if len(keys) > 1 else {}
    facts = {key: store.load_facts(key) for key in keys}
    scores = np.array([facts[key][1]["score"] for key in keys])
    smooth = None
    if raw:
        smooth = mutual.smoothed(np.array([raw[key] for key in keys]), np.stack([facts[key][0] for key in keys]))
    known = float(np.mean([facts[key][1]["known"] for key in keys])) if keys else 0.0
    suspicion = dict(zip(keys, fuse_scores(scores, smooth, known), strict=True))
    compared = dict(zip(keys, smooth, strict=True)) if smooth is not None else {}
    scale = MapScale.of(store.load_mutual(batch, key) for key in keys) if raw else None

    def row(rank: int, one: Seen) -> Row:
        look = fused_look(store, batch, one.key, one.name, scale)
        far, over = float(suspicion[one.key]), look.score >= look.threshold
        return Row(
            rank, one.name, far, look.score, float(compared[one.key]) if compared else None,
            over, far >= STANDS_OUT, look.regions, look.kinds if over or far >= STANDS_OUT else (), look.warnings,
            key=one.key, threshold=look.threshold,
        )  # fmt: skip

    good = sorted((one for one in seen if one.key), key=lambda one: (-suspicion[one.key], one.name))
    rows = [row(rank, one) for rank, one in enumerate(good, start=1)]
    rows += [Row(0, one.name, problem=one.problem) for one in seen if not one.key]
    return Batch(
        tuple(rows), *_usual_threshold(facts, calibration), made_of.name, (*notes, *_doubts(seen, keys, facts)),
        time.perf_counter() - start, store, batch, scale,
    )  # fmt: skip


def fused_look(store: Store, batch: str, key: str, name: str, scale: MapScale | None) -> Look:
    """The kept look at a picture, its heatmap raised where the mutual map stands out of the batch's."""
    look = store.load_look(key).look(name)
    if scale is None:
        return look
    return with_heatmap(look, fuse_map(look.heatmap, store.load_mutual(batch, key), scale), SUSPICIOUS)


def _usual_threshold(
    facts: Mapping[str, tuple[np.ndarray, dict[str, Any]]], calibration: Calibration
) -> tuple[float, str]:
    """The threshold that most looks have, and where it comes from; the stored balanced point where there is no look."""
    known = Counter((one["threshold"], one["threshold_source"]) for _, one in facts.values())
    return known.most_common(1)[0][0] if known else (calibration.threshold, calibration.source)


def _doubts(
    seen: Sequence[Seen], keys: Sequence[str], facts: dict[str, tuple[np.ndarray, dict[str, Any]]]
) -> list[str]:
    notes = []
    if len({round(facts[key][1]["threshold"], 2) for key in keys}) > 1:
        notes.append(
            "Thresholds differ: a known product has its own, and pictures in tiles have a higher one, since each tile "
            "may raise the alarm."
        )
    if 0 < len(keys) < FEW:
        notes.append(f"With {len(keys)} different pictures, comparing them says little: trust the score more.")
    if twice := sum(bool(one.key) for one in seen) - len(keys):
        notes.append(f"{twice} pictures are copies of others, byte for byte; copies are not held against each other.")
    return notes


def _followed(
    results: Iterator[Any], step: str, total: int, progress: Progress, stop: threading.Event | None
) -> Iterator[Any]:
    """The results, with progress told after each and the stop signal obeyed."""
    progress(step, 0, total)
    for done, result in enumerate(results, start=1):
        yield result
        progress(step, done, total)
        if stop is not None and stop.is_set() and done < total:
            raise LookTwiceError("The run was stopped.", "Start it again to go on where it was.")
