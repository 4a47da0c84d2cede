"""Sets of drawn clips with and without events: files, a manifest, a contact sheet.

Three clips a place: one with an event, one without, and a further one without to hold both against. The folds share no
photograph, no drawn family and no chance.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from assistant.errors import RecordError
from data.clips import Clip
from data.events import RATE, Event, draw_clip
from data.places import FOLDS, Place, draw_place

DATASET = "events"
QUALITY = "23"
"""Constant rate factor of H.264, lower is better."""
EQUAL = (192, 144)
"""Pixels of clips made equal: under what any of them has, so that none is recognised by its sharpness."""
SHOWN = 5
"""Frames of a clip on the contact sheet."""

Row = dict[str, Any]


def write_events(out: Path, count: int, seed: int, fold: str) -> list[Row]:
    """Writes `count` clips, half of them with an event, one reference clip a place, manifest and sheet.

    Args:
        out: folder, made when missing; what the other fold has written there is kept.
        fold: "train" or "val".

    Returns:
        The fold's rows: `clip` and `reference` (files), `label`, `event`, `spans` [[start, end]] in seconds, `place`,
        `box` [x1, y1, x2, y2] in pixels in the middle of the span, `words`, `dataset`, `category` (the world),
        `source`, `camera`, `fold`, `license`.
    """
    folder = out / fold
    folder.mkdir(parents=True, exist_ok=True)
    rows, strips = [], []
    for number in tqdm(range((count + 1) // 2), desc=fold, unit="place"):
        place, drawn, event = _place_with_event(seed, number, fold)
        files = {name: folder / f"{number:04d}-{name}.mp4" for name in ("event", "normal", "reference")}
        write_clip(files["event"], drawn)
        for part, name in enumerate(("normal", "reference"), start=1):
            write_clip(files[name], draw_clip(place, np.random.default_rng([seed, number, FOLDS.index(fold), part]))[0])
        shared = {
            "reference": [f"{fold}/{files['reference'].name}"], "dataset": DATASET, "category": place.world,
            "source": place.source.rsplit(".", 1)[0], "camera": place.camera, "fold": fold, "license": "own drawing",
        }  # fmt: skip
        rows.append(
            {
                "clip": f"{fold}/{files['event'].name}", "label": 1, "event": event.kind, "spans": [list(event.span)],
                "place": event.place, "box": list(event.box), "words": event.words, **shared,
            }
        )  # fmt: skip
        if len(rows) < count:
            rows.append({"clip": f"{fold}/{files['normal'].name}", "label": 0, "event": "", "spans": [], **shared})
        if len(strips) < 24:
            strips.append(_strip(drawn, event))
    kept = _of_others(out / "manifest.jsonl", fold)
    text = "".join(json.dumps(row) + "\n" for row in [*kept, *rows])
    (out / "manifest.jsonl").write_text(text, encoding="utf-8")
    sheet = np.vstack(strips)
    Image.fromarray(cv2.resize(sheet, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)).save(out / f"{fold}.png")
    return rows


def write_clip(file: Path, frames: np.ndarray, rate: Fraction | int = RATE) -> None:
    """Writes frames [n, H, W, 3] uint8 RGB, H and W even, as H.264 in MP4."""
    with av.open(str(file), "w") as opened:
        stream = opened.add_stream("libx264", rate=rate, options={"crf": QUALITY, "preset": "veryfast"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1  # the same bytes on every machine
        for pixels in frames:
            opened.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        opened.mux(stream.encode())


def write_equal(out: Path, clips: Sequence[Clip], seconds: float) -> list[Row]:
    """Writes clips of frames in folders as video files of one size, rate and coding, so that only what they show tells.

    Args:
        out: folder, made when missing.
        clips: of `data.clips.read_clips`; frames are cut to EQUAL's aspect in the middle and shrunk to it.
        seconds: that the frames of a clip cover.

    Returns:
        The rows of the manifest: `clip`, `label`, `dataset`, `category`, `fold` "val"; labels are the clips' own.

    Raises:
        RecordError: a clip is no folder of frames, or a frame cannot be read.
    """
    (out / "clips").mkdir(parents=True, exist_ok=True)
    rows = []
    for number, clip in enumerate(tqdm(clips, desc="equal", unit="clip")):
        if clip.is_video:
            raise RecordError(f"{clip.name} is a video file.", "Only frames in folders are made equal.")
        try:
            frames = [ImageOps.fit(Image.open(file).convert("RGB"), EQUAL, Image.Resampling.BOX) for file in clip.files]
        except OSError:
            raise RecordError(f"A frame of {clip.name} cannot be read.") from None
        file = out / "clips" / f"{number:04d}.mp4"
        write_clip(file, np.stack([np.asarray(frame) for frame in frames]), Fraction(len(frames) / seconds))
        rows.append({"clip": f"clips/{file.name}", "label": clip.label, "dataset": clip.dataset,
                     "category": clip.category, "fold": "val"})  # fmt: skip
    (out / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return rows


def _place_with_event(seed: int, number: int, fold: str) -> tuple[Place, np.ndarray, Event]:
    """The place of a number, and a clip of it in which something happens; places where nothing can be seen are left."""
    for attempt in range(8):
        rng = np.random.default_rng([seed, number, FOLDS.index(fold), 0, attempt])
        place = draw_place(rng, fold)
        try:
            frames, event = draw_clip(place, rng, str(rng.choice(place.events)))
        except ValueError:
            continue
        return place, frames, event
    raise ValueError(f"no event could be drawn for place {number}")


def _of_others(manifest: Path, fold: str) -> list[Row]:
    if not manifest.is_file():
        return []
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [row for row in rows if row.get("fold") != fold]


def _strip(frames: np.ndarray, event: Event) -> np.ndarray:
    """The first frame and some of the event, the one in its middle with its box."""
    first, last = (min(len(frames) - 1, int(second * RATE)) for second in event.span)
    cells = [frames[0].copy(), *(frames[at].copy() for at in np.linspace(first, last - 1, SHOWN).astype(int))]
    middle = cells[1 + SHOWN // 2]
    cv2.rectangle(middle, event.box[:2], event.box[2:], (255, 0, 0), 1)
    cv2.putText(cells[0], event.kind, (4, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 0, 0), 2, cv2.LINE_AA)
    return np.hstack(cells)
