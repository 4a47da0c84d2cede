"""What a conversation found, as files for programs: JSON, COCO annotations, and masks as MVTec AD lays them out."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from skimage import measure

from assistant.exchange import main_picture, pictures_in
from assistant.prompts import is_likely
from assistant.regions import region_masks
from assistant.render import shown_kinds
from assistant.types import Finding, Look

if TYPE_CHECKING:
    from assistant.report import Passage, Report

UNNAMED = "anomaly"
"""Category of a region whose kind of defect is not known."""


@dataclass(frozen=True, eq=False)
class Pictured:
    """One picture of a report: a picture, a key frame of a clip or a view of an object.

    Attributes:
        number: from 1, in the order of the report.
        look: at this picture.
        whole: the look that the passage is about, the same one for a picture.
        finding: the newest on the whole.
        name: for people and as COCO's file name.
    """

    number: int
    look: Look
    whole: Look
    finding: Finding | None
    name: str

    @property
    def masked(self) -> bool:
        """Whether a mask is written: where regions are lit and neither picture nor frame is called normal."""
        calm = self.look is not self.whole and self.look.score < self.look.threshold
        return bool(self.look.regions) and not calm and (self.finding is None or self.finding.verdict != "normal")


def pictures_of(passages: Sequence[Passage]) -> list[Pictured]:
    """Each picture once, in order, with the newest finding on it; of a clip its key frames, of an object its views."""
    order: list[Look] = []
    found: dict[int, Finding | None] = {}
    for passage in passages:
        if passage.look is None:
            continue
        if id(passage.look) not in found:
            order.append(passage.look)
        found[id(passage.look)] = passage.finding or found.get(id(passage.look))
    singles = [(whole, look) for whole in order for look in pictures_in(whole)]
    return [
        Pictured(number, look, whole, found[id(whole)], name_of(look, whole))
        for number, (whole, look) in enumerate(singles, start=1)
    ]


def name_of(look: Look, whole: Look) -> str:
    """The picture's name; of a key frame with its second, of a view with its number."""
    if whole.clip is not None:
        return f"{whole.name}, {look.time:.2f} s"
    return look.name


def kind_of(finding: Finding | None) -> str:
    """The kind of defect as the name of a folder or category; UNNAMED where none is likely."""
    kinds = shown_kinds(finding) if finding is not None else ()
    return kinds[0][0].replace(" ", "_").replace("/", "_") if is_likely(kinds) else UNNAMED


def findings_json(report: Report) -> str:
    """Questions, answers and findings with the model that gave them; `mask` names the picture's file in masks.zip.

    Of a clip "picture" is its most suspicious frame, and "key_frames" has all that are shown.
    """
    pictures = pictures_of(report.passages)
    masks = {number: name for number, name, _ in _masks(report.passages)}
    rows = []
    for passage in report.passages:
        row: dict[str, Any] = {"question": passage.question, "answer": passage.answer, "picture": None}
        if passage.look is not None:
            known = [
                {"number": one.number, "name": one.name, "size": list(one.look.size), "mask": masks.get(one.number)}
                | ({"time": round(one.look.time, 4)} if one.whole.clip is not None else {})
                for one in pictures
                if one.whole is passage.look
            ]
            row["picture"] = known[main_picture(passage.look)]
            if passage.look.clip is not None:
                row["key_frames"] = known
        row["finding"] = passage.finding.to_dict() if passage.finding is not None else None
        rows.append(row)
    values = {"program": report.program, "profile": report.profile, "weights": report.weights, "made": report.made}
    return json.dumps({**values, "passages": rows}, ensure_ascii=False, indent=1)


def coco_json(report: Report) -> str:
    """Regions as COCO object annotations: boxes and polygons in pixels of the pictures as given, scores 0..1.

    Lin et al., "Microsoft COCO", ECCV 2014; the layout of https://cocodataset.org/#format-data.
    """
    images, annotations, categories = [], [], {}
    for one in pictures_of(report.passages):
        width, height = one.look.size
        images.append({"id": one.number, "file_name": one.name, "width": width, "height": height})
        category = categories.setdefault(kind_of(one.finding), len(categories) + 1)
        for region, mask in zip(one.look.regions, region_masks(one.look), strict=True):
            x1, y1, x2, y2 = region.box
            annotations.append({
                "id": len(annotations) + 1, "image_id": one.number, "category_id": category, "iscrowd": 0,
                "bbox": [x1, y1, x2 - x1, y2 - y1], "area": round(region.area * width * height, 1),
                "segmentation": polygons(mask, one.look.size), "score": round(region.peak, 4),
            })  # fmt: skip
    named = [{"id": number, "name": name, "supercategory": "defect"} for name, number in categories.items()]
    info = {"description": f"Regions found by {report.program}, not checked by a person", "date_created": report.made}
    return json.dumps({"info": info, "images": images, "annotations": annotations, "categories": named}, indent=1)


def polygons(mask: np.ndarray, size: tuple[int, int]) -> list[list[float]]:
    """Outlines of a mask [h, w] bool as COCO polygons [x1, y1, x2, y2, ...] in pixels of a picture of `size` (W, H)."""
    scale = np.array([size[0] / mask.shape[1], size[1] / mask.shape[0]])
    outlines = []
    for contour in measure.find_contours(np.pad(mask, 1).astype(np.float32), 0.5):
        simple = measure.approximate_polygon(contour, 0.4)[:-1]  # the last point is the first one again
        if len(simple) >= 3:
            # the padding moved by one, and the edge of pixel n lies half a pixel before its middle
            points = ((simple[:, ::-1] - 0.5) * scale).clip(0, size)
            outlines.append([round(float(value), 2) for value in points.ravel()])
    return outlines


def masks_zip(report: Report) -> bytes:
    """`ground_truth/<kind>/<number>_mask.png` for each picture with regions whose verdict is not normal; of a clip for
    each key frame over the threshold.

    White where the map is lit, black elsewhere, at the size of the picture as given; see Bergmann et al., "MVTec AD",
    CVPR 2019. Numbers are those of findings.json.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for _, name, mask in _masks(report.passages):
            image = io.BytesIO()
            mask.save(image, "PNG", optimize=False)
            archive.writestr(name, image.getvalue())
    return packed.getvalue()


def _masks(passages: Sequence[Passage]) -> list[tuple[int, str, Image.Image]]:
    """(number of the picture, name in the zip, 8-bit mask at the picture's size)."""
    found = []
    for one in pictures_of(passages):
        if not one.masked:
            continue
        lit = np.any(region_masks(one.look), axis=0)
        mask = Image.fromarray(np.where(lit, np.uint8(255), np.uint8(0)))
        mask = mask.resize(one.look.size, Image.Resampling.NEAREST)
        found.append((one.number, f"ground_truth/{kind_of(one.finding)}/{one.number:03d}_mask.png", mask))
    return found
