"""What a conversation found, as files for programs: JSON, COCO annotations, and masks as MVTec AD lays them out."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from skimage import measure

from assistant.regions import region_masks
from assistant.render import shown_kinds
from assistant.types import Finding, Look

if TYPE_CHECKING:
    from assistant.report import Passage, Report

UNNAMED = "anomaly"
"""Category of a region whose kind of defect is not known."""


def pictures_of(passages: Sequence[Passage]) -> list[tuple[Look, Finding | None]]:
    """Each picture once, in order, with the newest finding on it."""
    order: list[Look] = []
    found: dict[int, Finding | None] = {}
    for passage in passages:
        if passage.look is None:
            continue
        if id(passage.look) not in found:
            order.append(passage.look)
        found[id(passage.look)] = passage.finding or found.get(id(passage.look))
    return [(look, found[id(look)]) for look in order]


def kind_of(finding: Finding | None) -> str:
    """The likeliest kind of defect as the name of a folder or category."""
    kinds = shown_kinds(finding) if finding is not None else ()
    return kinds[0][0].replace(" ", "_").replace("/", "_") if kinds else UNNAMED


def findings_json(report: Report) -> str:
    """Questions, answers and findings with the model that gave them; `mask` names the picture's file in masks.zip."""
    numbers = {id(look): number for number, (look, _) in enumerate(pictures_of(report.passages), start=1)}
    masks = {number: name for number, name, _ in _masks(report.passages)}
    rows = []
    for passage in report.passages:
        row: dict[str, Any] = {"question": passage.question, "answer": passage.answer, "picture": None}
        if passage.look is not None:
            number = numbers[id(passage.look)]
            row["picture"] = {
                "number": number, "name": passage.look.name, "size": list(passage.look.size),
                "mask": masks.get(number),
            }  # fmt: skip
        row["finding"] = passage.finding.to_dict() if passage.finding is not None else None
        rows.append(row)
    values = {"program": report.program, "profile": report.profile, "weights": report.weights, "made": report.made}
    return json.dumps({**values, "passages": rows}, ensure_ascii=False, indent=1)


def coco_json(report: Report) -> str:
    """Regions as COCO object annotations: boxes and polygons in pixels of the pictures as given, scores 0..1.

    Lin et al., "Microsoft COCO", ECCV 2014; the layout of https://cocodataset.org/#format-data.
    """
    images, annotations, categories = [], [], {}
    for number, (look, finding) in enumerate(pictures_of(report.passages), start=1):
        width, height = look.size
        images.append({"id": number, "file_name": look.name, "width": width, "height": height})
        category = categories.setdefault(kind_of(finding), len(categories) + 1)
        for region, mask in zip(look.regions, region_masks(look), strict=True):
            x1, y1, x2, y2 = region.box
            annotations.append({
                "id": len(annotations) + 1, "image_id": number, "category_id": category, "iscrowd": 0,
                "bbox": [x1, y1, x2 - x1, y2 - y1], "area": round(region.area * width * height, 1),
                "segmentation": polygons(mask, look.size), "score": round(region.peak, 4),
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
    """`ground_truth/<kind>/<number>_mask.png` for each picture with regions whose verdict is not normal.

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
    for number, (look, finding) in enumerate(pictures_of(passages), start=1):
        if not look.regions or (finding is not None and finding.verdict == "normal"):
            continue
        lit = np.any(region_masks(look), axis=0)
        mask = Image.fromarray(np.where(lit, np.uint8(255), np.uint8(0))).resize(look.size, Image.Resampling.NEAREST)
        found.append((number, f"ground_truth/{kind_of(finding)}/{number:03d}_mask.png", mask))
    return found
