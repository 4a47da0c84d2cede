"""Readers of the benchmarks' layouts: MVTec's tree, VisA's csv, and the `meta.json` of the zero-shot field."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from assistant.errors import RecordError
from data.readers import NORMAL_FOLDERS, Row, folder_name, parse_json, split_of
from data.schema import Record, pictures

MVTEC_PARTS: dict[str, Literal["train", "val", "test"]] = {"train": "train", "validation": "val", "test": "test"}
"""Folders of a category (LOCO has all three) and what they are."""
META_PARTS: dict[str, Literal["train", "val", "test"]] = {"train": "train", "val": "val", "test": "test"}
VISA_SPLITS = "split_csv"
VISA_COLUMNS = ("object", "split", "label", "image", "mask")
VISA_LABELS = {"normal": 0, "anomaly": 1}


def read_mvtec(path: Path) -> Iterator[Record]:
    """Records of a tree as MVTec AD, LOCO, MPDD and BTAD have it; `path` is one category or a folder of many.

    A mask is `ground_truth/<defect>/<stem>_mask.*` or `<stem>.*`, or the folder `<stem>/` with several. Once any
    category has `ground_truth`, every anomalous test picture must have one; a tree without it gives labels only.

    Raises:
        RecordError: no category, a picture outside a defect's folder, a picture without its mask, a mask without its
            picture, two masks of one name.
    """
    single = is_category(path)
    categories = [path] if single else [child for child in folders(path) if is_category(child)]
    if not categories:
        raise RecordError(f"The folder {path} has no category with train/good and test/ in it.")
    root = path.absolute().parent if single else path.absolute()
    promised = any((category / "ground_truth").is_dir() for category in categories)
    found = False
    for category in categories:
        for record in _category(category.absolute(), root, promised):
            found = True
            yield record
    if not found:
        raise RecordError(f"The folders train/ and test/ of {path} hold no pictures.")


def is_category(path: Path) -> bool:
    """Whether a folder has `train/` or `test/` with folders in it."""
    return any(folders(path / part) for part in MVTEC_PARTS)


def folders(path: Path) -> list[Path]:
    """Folders right in a folder, sorted by name; none when it does not exist."""
    return sorted(child for child in path.iterdir() if child.is_dir()) if path.is_dir() else []


def _category(category: Path, root: Path, promised: bool) -> Iterator[Record]:
    dataset, name = folder_name(root), folder_name(category)
    truth = category / "ground_truth"
    for folder in folders(truth):
        if _is_defect(folder) and _masks(folder) and not (category / "test" / folder.name).is_dir():
            raise RecordError(
                f"{name}/ground_truth/{folder.name} has masks, but there is no {name}/test/{folder.name}."
            )
    for part, kind in MVTEC_PARTS.items():
        loose = pictures(category / part) if (category / part).is_dir() else []
        if loose:
            raise RecordError(f"{name}/{part}/{loose[0].name}: the picture is not in a folder such as good/.")
        for folder in folders(category / part):
            label = int(_is_defect(folder))
            masks = _masks(truth / folder.name) if label and kind == "test" else {}
            for number, image in enumerate(pictures(folder)):
                where = f"{name}/{part}/{folder.name}/{image.name}"
                mask = masks.pop(image.stem, None)
                if label and kind == "test" and promised and mask is None:
                    raise RecordError(f"{where}: there is no mask in ground_truth/{folder.name}.")
                yield Record(
                    image=image, label=label, dataset=dataset, category=name, mask=mask,
                    defect=folder.name if label else "good",
                    split=split_of(kind, dataset, name, label, image, root, number), part=part,
                )  # fmt: skip
            for mask in masks.values():
                raise RecordError(f"{name}/ground_truth/{folder.name}/{mask.name}: there is no picture to this mask.")


def _is_defect(folder: Path) -> bool:
    return folder.name.lower() not in NORMAL_FOLDERS


def _masks(folder: Path) -> dict[str, Path]:
    """Stem of the picture -> its mask file, or the folder of its mask files."""
    found: dict[str, Path] = {}
    several = [child for child in folders(folder) if pictures(child)]
    for mask in [*several, *(pictures(folder) if folder.is_dir() else [])]:
        stem = mask.name if mask in several else mask.stem.removesuffix("_mask")
        if stem in found:
            raise RecordError(f"ground_truth/{folder.name}: both {found[stem].name} and {mask.name} are for {stem}.")
        found[stem] = mask
    return found


def read_visa(path: Path) -> Iterator[Record]:
    """Records of VisA as it is distributed; `path` is its folder or one csv in its `split_csv/`.

    The folder stands for `split_csv/1cls.csv`. Paths in the csv are relative to VisA's folder.

    Raises:
        RecordError: no such csv, a missing column or value, an unknown split or label, an anomalous row without
            mask, a file that does not exist or lies outside VisA's folder.
    """
    file = path / VISA_SPLITS / "1cls.csv" if path.is_dir() else path
    if not file.is_file():
        raise RecordError(f"There is no {VISA_SPLITS}/1cls.csv in {path}.")
    root = file.absolute().parent.parent
    dataset = folder_name(root)
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.DictReader(lines)
        try:
            missing = [column for column in VISA_COLUMNS if column not in (rows.fieldnames or ())]
            if missing:
                raise Row(f"{file.name} line 1", root).bad(f"the column {missing[0]!r} is missing")
            for row in rows:
                place = Row(f"{file.name} line {rows.line_num}", root)
                yield _visa_row(place, row, dataset, rows.line_num)
        except (csv.Error, UnicodeDecodeError):
            raise RecordError(f"{file.name} line {rows.line_num + 1}: not a csv in UTF-8.") from None


def _visa_row(place: Row, row: dict[str, str | None], dataset: str, number: int) -> Record:
    values = {column: row[column] for column in VISA_COLUMNS}
    if None in values.values() or None in row:
        raise place.bad(f"there are not {len(row) - (None in row)} values")
    if values["label"] not in VISA_LABELS:
        raise place.bad(f"label is {values['label']!r}, not normal or anomaly")
    if values["split"] not in ("train", "test"):
        raise place.bad(f"split is {values['split']!r}, not train or test")
    label, category, image = VISA_LABELS[values["label"]], str(values["object"]), place.picture(values["image"])
    if label and not values["mask"]:
        raise place.bad("an anomalous picture has no mask")
    return Record(
        image=image, label=label, dataset=dataset, category=category, defect="anomaly" if label else "good",
        mask=place.mask(values["mask"]) if label else None,
        split=split_of(values["split"], dataset, category, label, image, place.root, number), part=values["split"],
    )  # fmt: skip


def read_meta(path: Path) -> Iterator[Record]:
    """Records of a `meta.json` {part: {class: [{img_path, mask_path, specie_name, anomaly}]}} or of its folder.

    Parts are train, val and test; paths are relative to the file's folder; an empty `mask_path` of an anomalous
    picture means that only its label is known.

    Raises:
        RecordError: no such file, not JSON, another shape, an unknown part, a missing key, an `anomaly` that is not
            0 or 1, a file that does not exist or lies outside the folder; it names the key path.
    """
    file = path / "meta.json" if path.is_dir() else path
    if not file.is_file():
        raise RecordError(f"There is no meta.json at {path}.")
    root = file.absolute().parent
    parts = parse_json(file.read_bytes(), file.name)
    if not isinstance(parts, dict):
        raise RecordError(f"{file.name}: not an object with the parts train and test.")
    for part, classes in parts.items():
        if part not in META_PARTS:
            raise RecordError(f"{file.name}: the part {part!r} is not train, val or test.")
        if not isinstance(classes, dict):
            raise RecordError(f"{file.name} {part}: not an object with one list a class.")
        for category, rows in classes.items():
            if not isinstance(rows, list):
                raise RecordError(f"{file.name} {part}.{category}: not a list.")
            for number, row in enumerate(rows):
                yield _meta_row(Row(f"{file.name} {part}.{category}[{number}]", root), row, part, category, number)


def _meta_row(place: Row, row: object, part: str, category: str, number: int) -> Record:
    if not isinstance(row, dict):
        raise place.bad("not a JSON object")
    for key in ("img_path", "mask_path", "anomaly"):
        if key not in row:
            raise place.bad(f"the key {key!r} is missing")
    label = row["anomaly"]
    if label not in (0, 1):
        raise place.bad(f"anomaly is {label!r}, not 0 or 1")
    image, dataset = place.picture(row["img_path"]), folder_name(place.root)
    return Record(
        image=image, label=int(label), dataset=dataset, category=category,
        defect=str(row.get("specie_name") or "anomaly") if label else "good",
        mask=place.mask(row["mask_path"]) if label and row["mask_path"] else None,
        split=split_of(META_PARTS[part], dataset, category, label, image, place.root, number), part=part,
    )  # fmt: skip
