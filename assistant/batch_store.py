"""What a run over many pictures keeps on disk: one file a picture and step, so that a killed run goes on.

A file is written aside and renamed, so it is whole or not there; a damaged one counts as not there. Files are named by
the picture's content and the model's weights: renamed pictures, other folders and other weights never mix.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from scipy import ndimage

from assistant.errors import LookTwiceError
from assistant.profiles import Profile
from assistant.regions import MAX_REGIONS, MIN_AREA, find_regions
from assistant.tiling import Tiles
from assistant.types import Look, Region
from assistant.weights import CALIBRATION_FILE, FAMILIAR_FILE, LOOK_FILE

KEPT_SIDE = 480
"""Longest side of a kept picture and heatmap, pixels."""
VERSION = 4
"""Of the files: another one makes every picture be looked at anew."""


@dataclass(frozen=True, eq=False)
class Kept:
    """What is kept of one look.

    Attributes:
        levels: one [C_l, h_l, w_l] float16 a level, for mutual scoring.
        descriptor: [C] float32 unit vector of the whole picture.
        heatmap: [h, w] float16 0..1, at most KEPT_SIDE long.
        picture: WebP bytes of the picture at the heatmap's size.
        facts: JSON values: size, score, threshold and its source, warnings, kinds, regions, picture (words), how far
            its product is known.
    """

    levels: tuple[np.ndarray, ...]
    descriptor: np.ndarray
    heatmap: np.ndarray
    picture: bytes
    facts: dict[str, Any]

    @classmethod
    def of(cls, look: Look, levels: tuple[np.ndarray, ...], descriptor: np.ndarray, *, spots: bool = False) -> Kept:
        """Shrinks a look to what is kept; with `spots` the heatmap so that what is lit in one pixel stays lit."""
        shrink = min(1.0, KEPT_SIDE / max(look.heatmap.shape))
        size = tuple(max(1, round(side * shrink)) for side in look.heatmap.shape[::-1])
        image = Image.fromarray(look.thumbnail).resize(size, Image.Resampling.BOX)
        packed = io.BytesIO()
        image.save(packed, "WEBP", quality=88)
        if spots and shrink < 1:
            highest = ndimage.maximum_filter(look.heatmap, size=math.ceil(1 / shrink))
            heatmap = np.asarray(Image.fromarray(highest).resize(size, Image.Resampling.NEAREST))
        else:
            heatmap = np.asarray(Image.fromarray(look.heatmap).resize(size, Image.Resampling.BOX))
        facts = {
            "size": list(look.size), "score": look.score, "threshold": look.threshold,
            "threshold_source": look.threshold_source,
            "warnings": list(look.warnings), "kinds": list(look.kinds),
            "picture": look.picture, "regions": [asdict(region) for region in look.regions], "look_s": look.look_s,
            "known": look.known,
        }  # fmt: skip
        return cls(levels, descriptor, heatmap.astype(np.float16), packed.getvalue(), facts)

    def look(self, name: str) -> Look:
        """The look for rendering; without tokens, it cannot be asked about."""
        facts = self.facts
        with Image.open(io.BytesIO(self.picture), formats=("WEBP",)) as image:
            thumbnail = np.asarray(image.convert("RGB"))
        regions = tuple(Region(**{**region, "box": tuple(region["box"])}) for region in facts["regions"])
        return Look(
            size=tuple(facts["size"]),
            score=facts["score"],
            threshold=facts["threshold"],
            threshold_source=facts["threshold_source"],
            heatmap=self.heatmap.astype(np.float32),
            regions=regions,
            thumbnail=thumbnail,
            tokens={},
            kinds=tuple((kind, share) for kind, share in facts["kinds"]),
            picture=facts["picture"],
            name=name,
            warnings=tuple(facts["warnings"]),
            look_s=facts["look_s"],
            known=facts["known"],
        )


def with_heatmap(look: Look, heatmap: np.ndarray, threshold: float) -> Look:
    """The look with another heatmap [h, w] of the same size, and the regions found in it.

    Regions that are too small for a map of this size stay as they were.
    """
    regions = find_regions(heatmap, look.thumbnail, threshold, look.size)
    small = [region for region in look.regions if region.area < MIN_AREA]
    return Look(**{**vars(look), "heatmap": heatmap, "regions": (*small, *regions)[:MAX_REGIONS]})


def weights_id(profile: Profile, tiles: Tiles = None) -> str:
    """A short name of a profile's weights, by their content, and of its tiles; missing files count as empty."""
    digest = hashlib.sha256(f"{VERSION} {profile.name} {profile.tower_package} {tiles}".encode())
    for name in ("config.json", LOOK_FILE, CALIBRATION_FILE, FAMILIAR_FILE):
        file = profile.weights / name
        digest.update(hashlib.sha256(file.read_bytes() if file.is_file() else b"").digest())
    return digest.hexdigest()[:12]


def content_key(data: bytes) -> str:
    """A name of a picture by its bytes."""
    return hashlib.sha256(data).hexdigest()[:32]


class Store:
    """The folder of a run, for one model. Cheap to make and to send to another process.

    Attributes:
        run: the folder.
        model: of `weights_id`.
    """

    def __init__(self, run: Path, model: str) -> None:
        self.run, self.model = run, model

    def prepare(self) -> None:
        """Makes the folder.

        Raises:
            LookTwiceError: it cannot be written.
        """
        try:
            self._looks.mkdir(parents=True, exist_ok=True)
            for aside in self.run.rglob("*.partial"):  # of a killed run
                aside.unlink(missing_ok=True)
        except OSError:
            raise _unwritable(self.run) from None

    @property
    def _looks(self) -> Path:
        return self.run / f"looks-{self.model}"

    def has_look(self, key: str) -> bool:
        """Whether a whole look of this picture is kept."""
        return _opened(self._looks / f"{key}.safetensors", ()) is not None

    def save_look(self, key: str, kept: Kept) -> None:
        """Keeps a look; raises LookTwiceError when the disk refuses."""
        tensors = {f"level{number}": level for number, level in enumerate(kept.levels)}
        tensors |= {"descriptor": kept.descriptor, "heatmap": kept.heatmap}
        tensors["picture"] = np.frombuffer(kept.picture, np.uint8)
        self._write(self._looks / f"{key}.safetensors", tensors, kept.facts)

    def load_look(self, key: str) -> Kept:
        """What was kept; raises LookTwiceError when it has gone."""
        tensors, facts = self._read(self._looks / f"{key}.safetensors", None)
        levels = tuple(tensors[f"level{number}"] for number in range(sum(name[:5] == "level" for name in tensors)))
        return Kept(levels, tensors["descriptor"], tensors["heatmap"], tensors["picture"].tobytes(), facts)

    def load_levels(self, key: str) -> tuple[np.ndarray, ...]:
        """The features of a kept look alone, finest first."""
        return self.load_look(key).levels

    def load_facts(self, key: str) -> tuple[np.ndarray, dict[str, Any]]:
        """Descriptor and facts of a kept look alone."""
        tensors, facts = self._read(self._looks / f"{key}.safetensors", ("descriptor",))
        return tensors["descriptor"], facts

    def mutual_score(self, batch: str, key: str) -> float | None:
        """The mutual score of a picture in a batch, None when it is not kept."""
        found = _opened(self.run / f"mutual-{batch}" / f"{key}.safetensors", ())
        return None if found is None else float(found[1]["score"])

    def save_mutual(self, batch: str, key: str, mutual: np.ndarray, score: float) -> None:
        """Keeps a mutual map [h, w] and its score."""
        file = self.run / f"mutual-{batch}" / f"{key}.safetensors"
        self._write(file, {"map": mutual.astype(np.float16)}, {"score": score})

    def load_mutual(self, batch: str, key: str) -> np.ndarray:
        """The mutual map [h, w] float32 of a picture in a batch."""
        tensors, _ = self._read(self.run / f"mutual-{batch}" / f"{key}.safetensors", None)
        return tensors["map"].astype(np.float32)

    def batch_id(self, keys: list[str], settings: str) -> str:
        """A short name of these pictures under these settings: what was kept of other pictures does not count."""
        text = "\n".join([self.model, settings, *sorted(set(keys))])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def _write(self, file: Path, tensors: dict[str, np.ndarray], values: dict[str, Any]) -> None:
        contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
        write_whole(file, save(contiguous, {"values": json.dumps(values)}))

    def _read(self, file: Path, names: tuple[str, ...] | None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        found = _opened(file, names)
        if found is None:
            raise LookTwiceError(f"{file.name} has gone from the run folder.", "Start the run again.")
        return found


def write_whole(file: Path, data: bytes) -> None:
    """Writes a file that is whole or not there; raises LookTwiceError when the disk refuses."""
    aside = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(data)
        aside.replace(file)
    except OSError:
        raise _unwritable(file.parent) from None


def _opened(file: Path, names: tuple[str, ...] | None) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """Tensors (all of them for None) and values of a kept file, None when it is missing or damaged."""
    try:
        with safe_open(file, "np") as kept:
            tensors = {name: kept.get_tensor(name) for name in (kept.keys() if names is None else names)}
            return tensors, json.loads(kept.metadata()["values"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None


def _unwritable(folder: Path) -> LookTwiceError:
    return LookTwiceError(f"The run folder {folder.name} cannot be written.", "Check --out and the space on the disk.")
