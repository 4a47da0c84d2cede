"""Frozen values that cross layers. No torch here: everything below is plain Python and numpy."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Verdict = Literal["normal", "anomalous", "unsure"]
MAX_MAP_SIDE = 1280
"""Longest side of a kept heatmap, pixels: a 40-megapixel map of floats would hold 160 MB and show no more."""
SUSPICIOUS = 0.5
"""Value of a heatmap from which a pixel is suspicious."""
MAX_REFERENCES = 64
"""Pictures that one memory of references is made from at most."""

VERDICTS: tuple[Verdict, ...] = ("normal", "anomalous", "unsure")

PLACES: tuple[str, ...] = (
    "top left", "top centre", "top right",
    "centre left", "centre", "centre right",
    "bottom left", "bottom centre", "bottom right",
)  # fmt: skip
"""The nine cells of a 3x3 grid in reading order; the only place words of the project."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture.

    Attributes:
        pixels: [H, W, 3] uint8 RGB, upright (EXIF orientation applied), read-only.
        time: seconds from the start of the clip; 0.0 for a still picture.
    """

    pixels: np.ndarray
    time: float = 0.0

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]


@dataclass(frozen=True, eq=False)
class Media:
    """A checked picture or clip.

    Attributes:
        frames: one frame for a picture, several in time order for a clip, one a view for several views.
        kind: "image", "clip", or "views" of one object.
        name: a display name without folders; never opened as a path.
        notes: sentences about what was done while reading (for example "16-bit picture scaled to 8 bits").
    """

    frames: tuple[Frame, ...]
    kind: Literal["image", "clip", "views"] = "image"
    name: str = "picture"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ClipFile:
    """A clip that nothing has been read of yet.

    Attributes:
        source: the bytes of a file, or a path object that the program's owner vouches for.
        name: display name, None for the file's own.
    """

    source: bytes | os.PathLike
    name: str | None = None


@dataclass(frozen=True)
class Region:
    """One connected suspicious region of a heatmap.

    Attributes:
        box: (x1, y1, x2, y2) pixels of the picture as given; x2 and y2 exclusive.
        place: one of PLACES: the 3x3 cell that holds the region's centre of mass.
        area: share of the picture, 0..1.
        peak: highest heatmap value inside, 0..1.
        mean: mean heatmap value inside, 0..1.
        tone: "darker", "brighter", "differently coloured" or "similar in tone", against the surroundings.
        shape: "compact", "elongated" or "spread out", measured from the region's pixels.
    """

    box: tuple[int, int, int, int]
    place: str
    area: float
    peak: float
    mean: float
    tone: str
    shape: str


@dataclass(frozen=True)
class Span:
    """A stretch of a clip that is called anomalous.

    Attributes:
        start, end: seconds from the clip's first frame, start <= end.
        peak: seconds at which the score is highest.
        score: that score, 0..1.
        place: one of PLACES, where it is at the peak; "" where the map shows no single place.
        reason: what was measured there, in words.
    """

    start: float
    end: float
    peak: float
    score: float = 0.0
    place: str = ""
    reason: str = ""


@dataclass(frozen=True)
class FrameScore:
    """The score of one moment of a clip: seconds from its first frame, and 0..1 with 0.5 as threshold."""

    time: float
    score: float


@dataclass(frozen=True, eq=False)
class ClipFacts:
    """What was measured over a whole clip.

    Attributes:
        duration: seconds.
        camera: "still" or "moving".
        frames: the score over time, smoothed, in order of time.
        spans: stretches called anomalous, in order.
        keys: looks at the frames that matter, in order of time: the first, the spans' peaks, the last.
        motion: what moves, in words.
        normal: what it was held against, in words; "" for nothing but itself.
        rules: rules of normality, one sentence each, as the user wrote them or as drafted.
    """

    duration: float
    camera: str
    frames: tuple[FrameScore, ...]
    spans: tuple[Span, ...] = ()
    keys: tuple[Look, ...] = ()
    motion: str = ""
    normal: str = ""
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Look:
    """What the model saw; computed from pixels alone, so no word of a user can change it.

    Attributes:
        size: (width, height) of the picture as given, pixels.
        score: the selector's calibrated probability that something is wrong, 0..1.
        heatmap: [H, W] float32 in 0..1 on one absolute scale for all pictures: 0.5 and above is suspicious. In the
            coordinates of the picture as given, at its own size unless its longer side is over `MAX_MAP_SIDE`.
        regions: suspicious regions, highest peak first.
        thumbnail: [H, W, 3] uint8, the picture at the heatmap's size, for rendering.
        tokens: {"visual" | "suspicious" | "map" | "comparison": [n, D] float32} for the language model, see
            `look_model.LookTokens`; comparison only with references.
        kinds: (name, probability 0..1) of the kinds of defect it could be, likeliest first; () when nothing is
            suspicious.
        picture: what the whole picture is like, in words.
        references: how many normal references it was held against.
        threshold: score from which a picture like this one is called anomalous, 0..1; `threshold_source` is a sentence
            saying where it comes from.
        weight: how much a logit between score and threshold says, 1 without references, see `Calibration.weight`.
        known: how far it, or its references, are of a product that the model has learned from, 0..1.
        doubt: a sentence saying why nothing can be decided here, "" when it can.
        name: display name of the picture.
        warnings: what was noticed while reading and looking, one sentence each.
        look_s: seconds the look took.
        time: seconds into the clip, 0.0 for a picture.
        clip: what was measured over the whole clip, whose most suspicious frame this is; None for a picture.
        views: the looks at each view where there are several; this one is then the most suspicious, under a threshold
            for the highest of them, and `view` is its number from 1; 0 for a single picture.
    """

    size: tuple[int, int]
    score: float
    heatmap: np.ndarray
    regions: tuple[Region, ...]
    thumbnail: np.ndarray
    tokens: dict[str, np.ndarray]
    kinds: tuple[tuple[str, float], ...] = ()
    picture: str = ""
    references: int = 0
    time: float = 0.0
    name: str = "picture"
    warnings: tuple[str, ...] = ()
    look_s: float = 0.0
    threshold: float = 0.5
    threshold_source: str = ""
    weight: float = 1.0
    known: float = 0.0
    doubt: str = ""
    clip: ClipFacts | None = None
    views: tuple[Look, ...] = ()
    view: int = 0

    @property
    def evidence(self) -> float:
        """How far the score lies over its threshold, in logits times `weight`: over 0 speaks for an anomaly."""
        score, threshold = (min(max(share, 1e-9), 1 - 1e-9) for share in (self.score, self.threshold))
        return self.weight * (math.log(score / (1 - score)) - math.log(threshold / (1 - threshold)))

    @property
    def relative(self) -> float:
        """The score on a scale where its threshold lies at 0.5: sigmoid(`evidence`), 0..1."""
        return 0.5 * (1 + math.tanh(self.evidence / 2))


@dataclass(frozen=True)
class Timings:
    """Seconds: loading the profile, the look, question to first word, question to last word."""

    load_s: float = 0.0
    look_s: float = 0.0
    first_word_s: float = 0.0
    answer_s: float = 0.0


@dataclass(frozen=True)
class Finding:
    """The answer for one picture; the one schema for command line, HTTP and evaluation.

    Attributes:
        verdict: the answer of words and look together, or "unsure" in the undecided band and where a place differs
            from all references although the score says normal; never on the other side of the threshold than the score.
        confidence: calibrated probability that the verdict is right, 0..1.
        verdict_probability: calibrated probability that something is wrong, from the language model's "Yes" against
            "No" as first word and from how far the score lies over its threshold, 0..1.
        score: the selector's calibrated score, 0..1, and `threshold`, the score from which it calls a picture
            anomalous; `threshold_source` says where the threshold comes from.
        kinds: (name, probability 0..1) of the kinds of defect it could be, likeliest first.
        explanation: the words.
        warnings: disagreements and doubts, one sentence each.
        references: how many normal references the picture was held against.
        view: number from 1 of the view that regions and score are of, 0 for a single picture.
    """

    verdict: Verdict
    confidence: float
    verdict_probability: float
    score: float
    threshold: float
    threshold_source: str
    regions: tuple[Region, ...]
    explanation: str
    warnings: tuple[str, ...] = ()
    timings: Timings = field(default_factory=Timings)
    profile: str = "embedded"
    kinds: tuple[tuple[str, float], ...] = ()
    references: int = 0
    clip: ClipFacts | None = None
    view: int = 0

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict with the public names; floats rounded to 4 places.

        Of a clip it has "spans" [{"start", "end", "peak", "place", "reason"}], "frames" [{"time", "score"}], "camera",
        "normal" (what it was held against) and "rules" as well.
        """

        def rounded(value: float) -> float:
            return round(float(value), 4)

        found = {
            "verdict": self.verdict,
            "confidence": rounded(self.confidence),
            "verdict_probability": rounded(self.verdict_probability),
            "score": rounded(self.score),
            "threshold": rounded(self.threshold),
            "threshold_source": self.threshold_source,
            "references": self.references,
            **({"view": self.view} if self.view else {}),
            "regions": [
                {
                    "box": list(region.box),
                    "place": region.place,
                    "area": rounded(region.area),
                    "peak": rounded(region.peak),
                    "mean": rounded(region.mean),
                    "tone": region.tone,
                    "shape": region.shape,
                }
                for region in self.regions
            ],
            "kinds": [{"name": name, "probability": rounded(share)} for name, share in self.kinds],
            "explanation": self.explanation,
            "warnings": list(self.warnings),
            "timings": {name: rounded(value) for name, value in vars(self.timings).items()},
            "profile": self.profile,
        }
        if self.clip is not None:
            found["spans"] = [
                {"start": rounded(one.start), "end": rounded(one.end), "peak": rounded(one.peak)}
                | {"place": one.place, "reason": one.reason}
                for one in self.clip.spans
            ]
            found["frames"] = [{"time": rounded(one.time), "score": rounded(one.score)} for one in self.clip.frames]
            found |= {"camera": self.clip.camera, "normal": self.clip.normal, "rules": list(self.clip.rules)}
        return found
