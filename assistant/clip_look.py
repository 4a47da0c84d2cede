"""A clip looked at: evenly first, then more closely where the score rises; what is odd, when, where and why.

Each frame is looked at by the same model as a picture, and held against what is usual: in a normal clip or normal
frames of the scene, or, without any, in the clip itself. See `usual` for the three distances.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from assistant.alignment import Keypoints, similarity
from assistant.calibration import Calibration, logit
from assistant.clip_evidence import Seen, Weighed, moment_of
from assistant.clip_gains import ClipGains, Weighing, median_over
from assistant.clip_plan import BUDGET, closer_times, coarse_count, even_times
from assistant.clip_reader import ClipReader, Grab
from assistant.clip_words import checked_rules, reason_words, rules_of
from assistant.errors import MediaError
from assistant.motion import camera_word, motion_between, motion_words
from assistant.reference import residuals
from assistant.regions import find_regions
from assistant.spans import scored
from assistant.types import SUSPICIOUS, ClipFacts, ClipFile, Frame, FrameScore, Look, Media, Span
from assistant.usual import CHANNELS, Usual, cell_looks, learn, summed, unusual, unusual_within

if TYPE_CHECKING:
    from assistant.modeling import LookTwiceForConditionalGeneration
    from assistant.processing import LookTwiceProcessor

SIDE = 640
"""Longest side that frames of a clip are decoded at, pixels."""
LOOK_SIDE = 288
"""Square root of the pixels that frames of a clip are looked at with; key frames are looked at as pictures are."""
STEP = 0.06
"""Seconds at least to the later frame that shows what moves: at ten a second the very next, flow loses long jumps."""
LEAST_GAP = 0.1
"""Seconds between two looks at least."""
THRESHOLD = 0.5
MOST_KEYS = 4
"""Key frames of a clip: the first, the highest peaks, the last."""
MAX_NORMAL = 24
"""Looks at normal clips or frames in all."""
UNMEASURED = "How often this is right of clips has not been measured: take verdict and confidence as a hint."
"""Said of clips where the profile's gains were fitted to nothing."""
HINT = "Clips are judged less reliably than pictures: take the verdict as a hint; the model card has the figures."
"""Said of clips where they were fitted."""
Progress = Callable[[str, int, int], None]
"""Told of each frame before it is looked at: what for ("remembering" a normal clip, "watching" the clip all over it,
looking "closer" where something rises, "keys" for the key frames), its number from 1, and how many there are of these.
What it raises ends the look."""


def _nobody(_what: str, _number: int, _of: int) -> None:
    """Tells nobody."""


@dataclass(frozen=True, eq=False)
class Normality:
    """What a normal clip or normal frames of a scene show, see `LooksAtClips.learn_normal`.

    Attributes:
        usual: place by place.
        anchor: the frame that all others are moved onto, None where the camera stands still.
        size: (width, height) its frames are looked at, pixels.
        evidence: the highest that the model itself finds in it, a logit.
        moves: whether motion was seen, which single frames do not show.
        words: what it is, for people.
        rules: drafted from what was measured.
        notes: what was noticed while reading, one sentence each.
    """

    usual: Usual
    anchor: Keypoints | None
    size: tuple[int, int]
    evidence: float
    moves: bool
    words: str
    rules: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Measured:
    """Of n frames: times in seconds, sums [n, 4] by channel and the look's own, cells [n, 3, h, w]; seconds in all."""

    times: list[float]
    sums: Tensor
    cells: Tensor
    duration: float


class LooksAtClips:
    """What an inspector does with clips; a part of `Inspector`, whose model and looks it uses."""

    model: LookTwiceForConditionalGeneration
    processor: LookTwiceProcessor
    calibration: Calibration
    clip_gains: ClipGains
    look: Callable[..., Look]

    def learn_normal(
        self, sources: Sequence[ClipFile | os.PathLike | bytes | Media], *, progress: Progress = _nobody
    ) -> Normality:
        """What is usual in normal clips or normal frames of one scene, to hold any number of clips against.

        Args:
            sources: at least one clip, or pictures as Media; all are looked at in the size of the first.
            progress: told of each frame, counted source by source.

        Raises:
            MediaError: there is none, or one cannot be used.
        """
        if not len(sources):
            raise MediaError("No normal clip was given.")
        share = max(4, MAX_NORMAL // len(sources))
        seen: list[Seen] = []
        notes: list[str] = []
        length, size, offset = 0.0, None, 0.0
        for source in list(sources)[:MAX_NORMAL]:
            if isinstance(source, Media):
                frames = [Grab(replace(source.frames[0], time=offset))]
                notes += source.notes
            else:
                with _opened(source) as reader:
                    count = min(share, max(8, round(3 * reader.duration)))
                    times = even_times(reader.duration, count)
                    frames = [
                        Grab(_later(grab.frame, offset), grab.later and _later(grab.later, offset))
                        for grab in reader.frames(times, after=STEP, side=SIDE)
                    ]
                    length += reader.duration
                    notes += reader.notes
            for number, grab in enumerate(frames, start=1):
                progress("remembering", number, len(frames))
                size = size or self.processor.fit_size(*grab.frame.size, side=LOOK_SIDE)
                seen.append(self._see(grab, size))
            offset = seen[-1].frame.time + 2.0  # seconds apart: nothing of one clip is near another one
        if not seen:
            raise MediaError("Of the normal clip no frame can be decoded.")
        camera = camera_word([one.motion for one in seen if one.motion])
        anchor = seen[len(seen) // 2].keypoints if camera == "moving" else None
        moments = [moment_of(one, anchor) for one in seen]
        moves = any(one.motion is not None for one in seen)
        words = f"{length:.1f} s of a normal clip" if length else f"{len(seen)} normal frames"
        return Normality(
            learn(moments), anchor, size, max(one.evidence for one in seen), moves, words,
            rules_of(camera, [one.motion for one in seen if one.motion]) if moves else (), tuple(dict.fromkeys(notes)),
        )  # fmt: skip

    def look_clip(
        self,
        source: ClipFile | os.PathLike | bytes,
        normal: Normality | Sequence[ClipFile | os.PathLike | bytes | Media] = (),
        *,
        rules: str = "",
        budget: int = BUDGET,
        most_keys: int = MOST_KEYS,
        progress: Progress = _nobody,
    ) -> Look:
        """Looks at a clip; the cost follows the budget, not the clip's length.

        Args:
            source: an MP4, WebM, MKV, AVI, MOV or GIF: its bytes or a path object. Plain strings are refused.
            normal: normal clips or frames of the same scene, or what `learn_normal` kept of them.
            rules: of normality, in the user's words; left out, those that `learn_normal` drafted are taken.
            budget: frames that are looked at in all, >= 3.
            most_keys: key frames that are looked at as pictures are, >= 1; with 1 the most suspicious one only.
            progress: told of each frame before it is looked at.

        Returns:
            The look at the most suspicious frame, its `clip` holding what was measured over the whole clip; `score`
            and `heatmap` are of the clip's evidence there.

        Raises:
            MediaError: the clip or a normal one cannot be used.
            QuestionError: the rules are too long.
        """
        start = time.perf_counter()
        asked = checked_rules(rules)
        known = normal if isinstance(normal, Normality) else None
        if known is None and len(normal):
            known = self.learn_normal(normal, progress=progress)
        with _opened(source) as reader:
            times = even_times(reader.duration, coarse_count(reader.duration, budget))
            first = list(self._seen(reader, times, known, partial(progress, "watching")))
            if not first:
                raise MediaError(f"Of '{reader.name}' no frame can be decoded.")
            rough = self._weighed(first, known)
            gap = max(LEAST_GAP, 1 / reader.rate if reader.rate else 0.0)
            times = [one.frame.time for one in first]
            more = closer_times(times, rough.logits.tolist(), budget - len(first), gap)
            seen = _in_order([*first, *self._seen(reader, more, known, partial(progress, "closer"))])
            duration, name, notes = reader.duration, reader.name, reader.notes
        weighed = self._weighed(seen, known) if more else rough
        times = [one.frame.time for one in seen]
        values, spans = scored(times, weighed.logits.tolist(), duration)
        scores = values.tolist()
        indices = _key_indices(times, scores, spans, most_keys)
        keys = {}
        for number, index in enumerate(indices, start=1):
            progress("keys", number, len(indices))
            keys[index] = self._key(seen[index], weighed, index, scores[index], name)
        chosen = keys[int(np.argmax(scores))]
        spans = tuple(self._told(span, seen, weighed, keys, known) for span in spans)
        facts = ClipFacts(
            duration=duration,
            camera=weighed.camera,
            frames=tuple(FrameScore(at, score) for at, score in zip(times, scores, strict=True)),
            spans=spans,
            keys=tuple(keys[index] for index in sorted(keys)),
            motion=motion_words([one.motion for one in seen if one.motion]),
            normal=known.words if known else "",
            rules=asked or (known.rules if known else ()),
        )
        doubt = HINT if self.clip_gains.source else UNMEASURED
        warnings = (doubt, *notes, *(known.notes if known else ()), *weighed.notes)
        took = time.perf_counter() - start
        return replace(chosen, clip=facts, warnings=tuple(dict.fromkeys(warnings)), look_s=took)

    def measure_clip(
        self, source: ClipFile | os.PathLike | bytes, known: Sequence[Normality | None], count: int = BUDGET
    ) -> list[Measured]:
        """What is unusual in a clip's evenly spread frames, unweighed: what gains are fitted to.

        Args:
            source: as of `look_clip`.
            known: of the same place, one answer each; None for the clip held against itself.
            count: frames, >= 3.

        Raises:
            MediaError: the clip cannot be used.
        """
        with _opened(source) as reader:
            size = next((one for one in known if one is not None), None)
            seen = list(self._seen(reader, even_times(reader.duration, count), size))
            if not seen:
                raise MediaError(f"Of '{reader.name}' no frame can be decoded.")
            duration = reader.duration
        found = []
        for one in known:
            weighed = self._weighed(seen, one)
            found.append(Measured([moment.frame.time for moment in seen], weighed.sums, weighed.cells, duration))
        return found

    def _seen(
        self,
        reader: ClipReader,
        times: Sequence[float],
        known: Normality | None,
        progress: Callable[[int, int], None] = lambda number, of: None,
    ) -> Iterator[Seen]:
        """The frames at these times as the model sees them; frames that come twice are left out."""
        last = -1.0
        for number, grab in enumerate(reader.frames(times, after=STEP, side=SIDE), start=1):
            progress(number, len(times))
            if grab.frame.time > last:
                last = grab.frame.time
                size = known.size if known else self.processor.fit_size(*grab.frame.size, side=LOOK_SIDE)
                yield self._see(grab, size)

    def _see(self, grab: Grab, size: tuple[int, int]) -> Seen:
        pixels = self.processor.pixels(grab.frame.pixels, size)
        with torch.inference_mode():
            features = self.model.look_model.tower(pixels)
            output = self.model.look_model.single(
                features, residuals(features.levels[1:], [None] * len(features.tokens))
            )
            looks = cell_looks(features)
        grid = (looks.shape[1], looks.shape[2])
        motion = None
        if grab.later is not None and grab.later.time > grab.frame.time:
            motion = motion_between(grab.frame, grab.later, grid)
        evidence = self.calibration.logit(float(output.score_logit[0])) - logit(self.calibration.threshold)
        return Seen(grab.frame, looks, evidence, motion)

    def _weighed(self, seen: Sequence[Seen], known: Normality | None) -> Weighed:
        """Evidence of every frame and cell, held against the normal clip or the clip itself."""
        camera = camera_word([one.motion for one in seen if one.motion])
        anchor = known.anchor if known else None
        notes: list[str] = []
        if known and anchor is None and camera == "moving":
            notes.append(
                "The camera moves, in the normal clip it stands still: places are compared as far as they fit."
            )
        if not known and camera == "moving":
            anchor = seen[len(seen) // 2].keypoints
        ways = [similarity(one.keypoints, anchor) if anchor else None for one in seen]
        if anchor and sum(way is None for way in ways) > len(ways) // 2:
            notes.append("The camera moves too far to compare places: only part of the clip was held against the rest.")
        moments = [moment_of(one, anchor, way) for one, way in zip(seen, ways, strict=True)]
        own, times = torch.tensor([one.evidence for one in seen]), [one.frame.time for one in seen]
        with torch.inference_mode():
            cells = unusual(moments, known.usual) if known else unusual_within(moments)
        if known and not known.moves:
            cells[:, CHANNELS.index("motion")] = 0
        moves = any(one.motion and one.motion.movers for one in seen)
        # a clip in which nothing moves is a picture, on which the model's own threshold holds
        usual = known.evidence if known else median_over(times, own.tolist()) if moves else 0.0
        weighing = self.clip_gains.held if known else self.clip_gains.alone
        sums = torch.cat([summed(cells), (own - usual).clamp(-6, 6)[:, None]], dim=1)  # [n, 4]
        over = torch.from_numpy(weighing.over(times, sums.numpy()))
        parts = over * torch.tensor(weighing.gains)
        return Weighed(weighing.bias + parts.sum(dim=1), sums, parts, cells, ways, weighing, camera, tuple(notes))

    def _key(self, one: Seen, weighed: Weighed, index: int, score: float, name: str) -> Look:
        """The model's look at one frame, with the clip's score and with what is unusual on its heatmap."""
        look = self.look(Media((one.frame,), "clip", name))
        shown = weighed.map_of(index, one.frame.size)
        heat = F.interpolate(shown[None, None], size=look.heatmap.shape, mode="bilinear", align_corners=False)[0, 0]
        heatmap = heat.numpy()
        if float(weighed.parts[index, 3]) >= float(weighed.parts[index, :3].max()):
            heatmap = np.maximum(heatmap, look.heatmap)
        heatmap.flags.writeable = False
        regions = find_regions(heatmap, look.thumbnail, SUSPICIOUS, look.size)
        return replace(
            look, score=float(score), heatmap=heatmap, regions=regions, kinds=look.kinds if regions else (),
            threshold=THRESHOLD, threshold_source=self._gains_source(weighed.weighing), doubt="", warnings=(),
        )  # fmt: skip

    def _gains_source(self, weighing: Weighing) -> str:
        how = "with a normal clip" if weighing is self.clip_gains.held else "without a normal clip"
        return f"{self.clip_gains.source or 'chosen by hand'}, for clips {how}"

    def _told(
        self, span: Span, seen: Sequence[Seen], weighed: Weighed, keys: dict[int, Look], known: Normality | None
    ) -> Span:
        """The span with its place and reason, from the frame at its peak."""
        index = [one.frame.time for one in seen].index(span.peak)
        if index in keys:
            place = keys[index].regions[0].place if keys[index].regions else ""
        else:
            shown = weighed.map_of(index, seen[index].frame.size).numpy()
            blank = np.zeros((*shown.shape, 3), np.uint8)
            found = find_regions(shown, blank, SUSPICIOUS, (shown.shape[1], shown.shape[0]))
            place = found[0].place if found else ""
        channel = int(weighed.parts[index].argmax())
        return replace(span, place=place, reason=reason_words(channel, seen[index].motion, place, known is not None))


def _key_indices(times: Sequence[float], scores: Sequence[float], spans: Sequence[Span], most: int) -> list[int]:
    """Which frames are key frames: the first, the highest peaks, the last, and the highest score of all."""
    peaks = [times.index(span.peak) for span in sorted(spans, key=lambda span: -span.score)]
    wanted = [int(np.argmax(scores)), *peaks[: MOST_KEYS - 2], 0, len(times) - 1]
    return sorted(list(dict.fromkeys(wanted))[:most])


def _opened(source: ClipFile | os.PathLike | bytes) -> ClipReader:
    return ClipReader(source.source, name=source.name) if isinstance(source, ClipFile) else ClipReader(source)


def _later(frame: Frame, by: float) -> Frame:
    return replace(frame, time=frame.time + by)


def _in_order(seen: Sequence[Seen]) -> list[Seen]:
    """By time, each time once."""
    return [by_time[at] for by_time in [{one.frame.time: one for one in seen}] for at in sorted(by_time)]
