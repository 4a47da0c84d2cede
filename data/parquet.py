"""Records packed into one parquet file that `datasets` opens with its pictures decoded."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Features, List, Value
from datasets import Image as Picture
from PIL import Image

from assistant.errors import RecordError
from data.schema import Record

FEATURES = Features(
    {
        "image": Picture(),
        "mask": Picture(),
        "label": ClassLabel(names=["normal", "anomalous"]),
        "boxes": List({**{side: Value("int32") for side in ("x1", "y1", "x2", "y2")}, "type": Value("string")}),
        **{name: Value("string") for name in ("defect", "dataset", "category", "split", "licence")},
    }
)
GROUP_BYTES = 64_000_000
"""Pictures of a row group, bytes: what writer and reader hold in memory at once."""
GROUP_ROWS = 1000


def write_records(file: Path, records: Iterable[Record], root: Path) -> None:
    """Writes records with the bytes of picture and mask; no more than a row group is in memory.

    Args:
        file: the parquet file; it appears when it is whole.
        records: of any layout; pictures are kept byte for byte, masks as 1-bit PNG at the picture's size.
        root: folder that the kept names of pictures are relative to.

    Raises:
        RecordError: a picture or mask that cannot be decoded or differs in size, or a disk that takes no more.
    """
    aside = file.with_name(f"{file.name}.partial")
    try:
        with pq.ParquetWriter(aside, FEATURES.arrow_schema) as writer:
            rows, held = [], 0
            for record in records:
                rows.append(_row(record, root))
                held += sum(len(rows[-1][name]["bytes"]) for name in ("image", "mask") if rows[-1][name])
                if held >= GROUP_BYTES or len(rows) >= GROUP_ROWS:
                    _flush(writer, rows)
                    rows, held = [], 0
            if rows:
                _flush(writer, rows)
        aside.replace(file)
    except OSError as error:
        raise RecordError(f"{file} cannot be written ({error.strerror or error}).") from None
    finally:
        aside.unlink(missing_ok=True)


def relative(image: Path, root: Path) -> str:
    """The picture's name as lists write it: from the set's folder, with slashes."""
    return image.absolute().relative_to(root.absolute()).as_posix()


def _flush(writer: pq.ParquetWriter, rows: list[dict]) -> None:
    writer.write_table(pa.Table.from_pylist(rows, schema=FEATURES.arrow_schema))


def _row(record: Record, root: Path) -> dict:
    record.read_image()  # a damaged picture is found here, not by whoever trains on the file
    name, mask = relative(record.image, root), None
    if record.mask is not None:
        packed = io.BytesIO()
        Image.fromarray(record.read_mask()).save(packed, "PNG")
        mask = {"bytes": packed.getvalue(), "path": f"{Path(name).with_suffix('')}_mask.png"}
    return {
        "image": {"bytes": record.image.read_bytes(), "path": name}, "mask": mask, "label": record.label,
        "boxes": [dict(zip(("x1", "y1", "x2", "y2", "type"), box, strict=True)) for box in record.boxes],
        "defect": record.defect, "dataset": record.dataset, "category": record.category, "split": record.split,
        "licence": record.licence,
    }  # fmt: skip
