"""Looks at drawn clips of the training fold, made once and kept: what the language stage learns to speak of clips from.

    python -m finetune.clip_looks --data DIR [--out RUN] [--profile NAME]

Each clip is looked at with the normal clip of its place and without. What is kept is what a prompt is made from: the
measured facts, the key frames with their tokens, and the row of the manifest, which is the truth. A place in a mode is
two files, and a second start goes on where the first stopped; first each place is looked at in one mode, then in the
other. `python -m data.build events DIR --fold train` makes the clips.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from tqdm import tqdm

from assistant.command import run
from assistant.errors import RecordError
from assistant.inspector import Inspector
from assistant.loading import compose
from assistant.profiles import read_profile
from assistant.types import ClipFacts, ClipFile, FrameScore, Look, Region, Span
from data.clips import Clip, read_clips
from finetune.kept import keep_arrays, kept_arrays

MODES = ("alone", "held")
"""Without and with a normal clip of the place."""
UNKEPT = ("heatmap", "thumbnail", "tokens", "clip", "views")
"""Fields of a look that are no plain values, or that no prompt is made from."""


@dataclass(frozen=True, eq=False)
class KnownClip:
    """A look at a clip and the truth about it.

    Attributes:
        look: as `Inspector.look_clip` gives it, its tokens rounded to half, without pictures: heatmaps and thumbnails
            are empty.
        row: of the set's manifest, see `data.event_sets.write_events`.
        mode: of MODES.
    """

    look: Look
    row: dict[str, Any]
    mode: str

    @property
    def is_right(self) -> bool:
        """Whether the verdict is the truth and, of a clip with an event, what is called is in its time."""
        if self.row["label"] == 0:
            return not self.look.clip.spans
        (start, end), called = self.row["spans"][0], self.look.clip.spans
        return bool(called) and any(span.start < end and start < span.end for span in called)


def make_clip_looks(inspector: Inspector, data: Path, fold: str, out: Path) -> None:
    """Writes `looks-<n>-<mode>.safetensors` and `.jsonl` for every place and mode; what is there already is kept.

    Args:
        inspector: it looks.
        data: folder of a set of drawn events.
        fold: "train" or "val".
        out: folder of the looks.

    Raises:
        RecordError: the fold has no clips with a reference, or files of `out` are of other clips or other weights.
    """
    clips = [clip for clip in read_clips(data, fold) if clip.seconds is not None and clip.reference]
    if not clips:
        raise RecordError(f"There are no clips with a reference in the fold {fold!r} of {data}.")
    lines = (data / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    rows = {row["clip"]: row for row in map(json.loads, lines) if row.get("fold") == fold and "clip" in row}
    out.mkdir(parents=True, exist_ok=True)
    jobs = _jobs(clips)
    with tqdm(total=sum(len(here) for _, _, here in jobs), desc="clip looks", unit="look") as bar:
        for number, mode, here in jobs:
            origin = " ".join([inspector.fingerprint, *(clip.name for clip in here)])
            tensors, facts = _files(out, number, mode)
            if facts.is_file():
                kept_arrays(tensors, origin)
            else:
                _keep(tensors, facts, _looked(inspector, here, rows, mode), origin)
            bar.update(len(here))


def _jobs(clips: Sequence[Clip]) -> list[tuple[int, str, list[Clip]]]:
    """(number, mode, clips) of each place, which stand together; modes alternate, so that half a run has both."""
    places = [list(group) for _, group in groupby(clips, key=lambda clip: clip.reference)]
    return [
        (number, MODES[(number + turn) % len(MODES)], here)
        for turn in range(len(MODES))
        for number, here in enumerate(places)
    ]


def read_clip_looks(out: Path) -> list[KnownClip]:
    """All looks of a folder, in order.

    Raises:
        RecordError: there is none, or a file is damaged.
    """
    found = []
    for facts in sorted(out.glob("looks-*.jsonl")):
        arrays = kept_arrays(facts.with_suffix(".safetensors"))
        try:
            for number, line in enumerate(facts.read_text(encoding="utf-8").splitlines()):
                kept = json.loads(line)
                keys = tuple(
                    _look(one, {kind: arrays[f"{number}.{index}.{kind}"].astype(np.float32) for kind in one["kept"]})
                    for index, one in enumerate(kept["keys"])
                )
                look = replace(keys[kept["chosen"]], clip=_facts(kept["clip"], keys))
                found.append(KnownClip(look, kept["row"], kept["mode"]))
        except (ValueError, KeyError, TypeError, IndexError):
            raise RecordError(f"{facts.name} is damaged.", "Remove it: the clips are looked at again.") from None
    if not found:
        raise RecordError(f"There are no looks at clips in {out}.", "python -m finetune.clip_looks makes them.")
    return found


def _looked(inspector: Inspector, clips: Sequence[Clip], rows: dict[str, Any], mode: str) -> list[KnownClip]:
    """Clips of one place in a mode; they share what was learned of its normal."""
    normal = inspector.learn_normal([ClipFile(file) for file in clips[0].reference]) if mode == "held" else ()
    looks = [inspector.look_clip(ClipFile(clip.files[0]), normal) for clip in clips]
    return [KnownClip(look, rows[clip.name], mode) for look, clip in zip(looks, clips, strict=True)]


def _keep(tensors: Path, facts: Path, found: Sequence[KnownClip], origin: str) -> None:
    """Writes looks whole or not at all: the file of facts, which counts, comes last."""
    arrays, lines = {}, []
    for number, one in enumerate(found):
        clip, keys = one.look.clip, []
        for index, key in enumerate(clip.keys):
            arrays |= {f"{number}.{index}.{kind}": value.astype(np.float16) for kind, value in key.tokens.items()}
            plain = {name: value for name, value in vars(key).items() if name not in UNKEPT}
            plain["regions"] = [asdict(region) for region in key.regions]
            keys.append(plain | {"kept": sorted(key.tokens)})
        shown = {name: value for name, value in vars(clip).items() if name != "keys"}
        shown |= {"spans": [asdict(span) for span in clip.spans], "frames": [asdict(frame) for frame in clip.frames]}
        chosen = next(index for index, key in enumerate(clip.keys) if key.time == one.look.time)
        lines.append(json.dumps({"mode": one.mode, "row": one.row, "clip": shown, "keys": keys, "chosen": chosen}))
    keep_arrays(tensors, arrays, origin)
    aside = facts.with_suffix(".partial")
    aside.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    aside.replace(facts)


def _look(kept: dict[str, Any], tokens: dict[str, np.ndarray]) -> Look:
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()}
    del values["kept"]
    values["regions"] = tuple(Region(**{**region, "box": tuple(region["box"])}) for region in kept["regions"])
    values["kinds"] = tuple((name, share) for name, share in kept["kinds"])
    return Look(heatmap=np.zeros((0, 0), np.float32), thumbnail=np.zeros((0, 0, 3), np.uint8), tokens=tokens, **values)


def _facts(kept: dict[str, Any], keys: tuple[Look, ...]) -> ClipFacts:
    spans, frames = (Span(**one) for one in kept["spans"]), (FrameScore(**one) for one in kept["frames"])
    values = {"spans": tuple(spans), "frames": tuple(frames), "rules": tuple(kept["rules"])}
    return ClipFacts(**(kept | values), keys=keys)


def _files(out: Path, number: int, mode: str) -> tuple[Path, Path]:
    return out / f"looks-{number:05d}-{mode}.safetensors", out / f"looks-{number:05d}-{mode}.jsonl"


def main(
    data: Annotated[Path, typer.Option(help="Folder of a set of drawn events.")],
    fold: Annotated[str, typer.Option(help="Fold that is looked at.")] = "train",
    out: Annotated[Path, typer.Option(help="Folder of the looks; a second start goes on.")] = Path("runs/clip-looks"),
    profile: Annotated[str, typer.Option(help="Whose look it is.")] = "embedded",
) -> None:
    """Looks at every clip of a fold, with the normal clip of its place and without."""
    chosen = read_profile(profile)
    make_clip_looks(Inspector(chosen.name, compose(chosen, stage="look")), data, fold, out)
    known = read_clip_looks(out)
    for mode in MODES:
        mine = [one for one in known if one.mode == mode]
        typer.echo(f"{mode}: {len(mine)} clips, of {sum(one.is_right for one in mine)} the look is right")


if __name__ == "__main__":
    run(main)
