"""Writes training sets: `python -m data.build drawn OUT` and `python -m data.build conversations OUT --data DIR`.

`drawn` makes a set of our own from scikit-image's photographs and drawn products, half of it with drawn defects, in
the manifest layout that the trainers and the evaluation read. `conversations` turns the records of any manifest into
instruction data, as parquet (datasets) and as LLaVA conversation JSON. Both come with a datasheet.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from datasets import Dataset
from PIL import Image
from tqdm import tqdm

from assistant.command import run
from assistant.errors import RecordError
from assistant.regions import find_regions
from data.augment import hard_normal
from data.instruct import Facts, conversation, llava
from data.knowledge import kind_of
from data.photos import NORMAL_PHOTOGRAPHS, photograph
from data.products import PRODUCTS, draw_product
from data.readers import read_manifest
from data.schema import Record
from data.synth import draw_defect

app = typer.Typer(no_args_is_help=True, add_completion=False)
VAL_EVERY = 5
"""Every fifth source of normals goes to the validation fold, so that no photograph is on both sides."""


@app.command()
def drawn(
    out: Annotated[Path, typer.Argument(help="New folder of the set.")],
    count: Annotated[int, typer.Option(min=2, help="Pictures, half of them with a defect.")] = 400,
    side: Annotated[int, typer.Option(min=64, max=1024, help="Longest side, pixels.")] = 384,
    seed: int = 0,
) -> None:
    """Makes a set of drawn defects on our own normals; every picture follows from the seed and its number."""
    for folder in ("images", "masks"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    rows = []
    for number in tqdm(range(count), desc="drawn", unit="picture"):
        rng = np.random.default_rng([seed, number])
        source, fold, pixels = _normal(number, side, rng)
        pixels = hard_normal(pixels, rng, 0.3)
        image = f"images/{number:06d}.png"
        row = {
            "image": image, "dataset": "drawn", "category": source, "label": 0, "defect": "good", "fold": fold,
            "license": "own drawing" if source in PRODUCTS else "scikit-image photograph",
        }  # fmt: skip
        if number % 2:
            result = draw_defect(pixels, rng)
            pixels = result.image
            mask = f"masks/{number:06d}.png"
            Image.fromarray(result.mask).save(out / mask)
            row |= {"label": 1, "defect": result.kind, "mask": mask}
        Image.fromarray(pixels).save(out / image)
        rows.append(row)
    (out / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    counts = Counter(row["defect"] for row in rows)
    _datasheet(
        out, "Drawn defects", f"python -m data.build drawn OUT --count {count} --side {side} --seed {seed}",
        "Photographs that come with scikit-image (licences as stated there) and products drawn by this project; "
        "defects drawn by this project with exact masks.", counts,
    )  # fmt: skip
    typer.echo(f"wrote {len(rows)} pictures to {out}")


@app.command()
def conversations(
    out: Annotated[Path, typer.Argument(help="New folder of the set.")],
    data: Annotated[Path, typer.Option(help="Folder with manifest.jsonl.")],
    split: Annotated[str, typer.Option(help="fit, calibrate or val.")] = "fit",
    turns: Annotated[int, typer.Option(min=1, help="Questions of a conversation.")] = 4,
    seed: int = 0,
) -> None:
    """Turns records into conversations whose every clause follows from label, mask, boxes and type."""
    records = [record for record in read_manifest(data) if record.split == split]
    if not records:
        raise RecordError(f"There are no records of the split {split!r} in {data}.")
    out.mkdir(parents=True, exist_ok=True)
    rows, spoken = [], []
    for number, record in enumerate(tqdm(records, desc="conversations", unit="record")):
        rng = np.random.default_rng([seed, number])
        said = conversation(facts_of(record), rng, turns)
        image = record.image.relative_to(data).as_posix()
        spoken.append(llava(f"{record.dataset}-{number:06d}", image, said))
        rows.append(
            {
                "image": image, "label": record.label, "dataset": record.dataset, "category": record.category,
                "defect": record.defect, "licence": record.licence,
                "conversations": [{"question": question, "answer": answer} for question, answer in said],
            }
        )  # fmt: skip
    Dataset.from_list(rows).to_parquet(out / "train.parquet")
    (out / "conversations.json").write_text(json.dumps(spoken, indent=1) + "\n", encoding="utf-8")
    _datasheet(
        out, "Conversations", f"python -m data.build conversations OUT --split {split} --turns {turns} --seed {seed}",
        "Records of " + ", ".join(sorted({f"{r.dataset} ({r.licence or 'no licence stated'})" for r in records})) + ".",
        Counter(record.defect for record in records),
    )  # fmt: skip
    typer.echo(f"wrote {len(rows)} conversations to {out}")


def facts_of(record: Record) -> Facts:
    """What a record says for certain: places and sizes from an exact mask, from each box, or none at all."""
    pixels, mask = record.read_image(), record.read_mask()
    regions = ()
    if mask is not None and mask.any():
        regions = find_regions(mask.astype(np.float32), pixels, 0.5, (pixels.shape[1], pixels.shape[0]))
        regions = tuple(sorted(regions, key=lambda region: -region.area))
    return Facts(record.label, regions, kind_of(record.defect))


def _normal(number: int, side: int, rng: np.random.Generator) -> tuple[str, str, np.ndarray]:
    """Name, fold and pixels of the normal of picture `number`; pictures 2k and 2k+1 share a source."""
    names = (*PRODUCTS, *NORMAL_PHOTOGRAPHS)
    index = (number // 2) % len(names)
    fold = "val" if index % VAL_EVERY == VAL_EVERY - 1 else "train"
    name = names[index]
    if name in PRODUCTS:
        return name, fold, draw_product(rng, (side, side), name=name)
    image = Image.fromarray(photograph(name))
    image.thumbnail((side, side))
    return name.rsplit(".", 1)[0], fold, np.asarray(image)


def _datasheet(out: Path, title: str, command: str, origin: str, counts: Counter[str]) -> None:
    """DATASHEET.md: what is inside, from where, and the command that makes it again (after Gebru et al. 2021)."""
    lines = [f"# {title}", "", f"Made by `{command}`.", "", f"Origin: {origin}", ""]
    lines += ["| defect | pictures |", "| --- | --- |"]
    lines += [f"| {name} | {number} |" for name, number in sorted(counts.items())]
    (out / "DATASHEET.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run(app)
