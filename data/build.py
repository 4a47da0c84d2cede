"""Writes sets: `python -m data.build drawn|events|records|conversations OUT`; `check FILE` reads one critically.

`drawn` makes a set of our own from scikit-image's photographs and drawn products, half of it with drawn defects, in
the manifest layout that the trainers and the evaluation read. `records` packs a set of any layout into parquet
(datasets). `conversations` turns the records of a set into instruction data, as parquet and as LLaVA conversation
JSON. `events` makes clips of drawn events. All come with a datasheet.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from datasets import Dataset
from PIL import Image
from tqdm import tqdm

from assistant.command import run
from assistant.errors import RecordError
from assistant.knowledge import kind_of
from assistant.regions import find_regions
from data.augment import hard_normal
from data.clip_talks import write_talks as write_clip_talks
from data.clips import read_clips
from data.event_sets import write_equal, write_events
from data.exam_sets import write_questions, write_visa_dr
from data.instruct import Facts, conversation
from data.layouts import AUTO, LAYOUTS, read_records, root_of
from data.layouts_talks import llava
from data.parquet import relative, write_records
from data.photos import NORMAL_PHOTOGRAPHS, photograph
from data.places import FOLDS
from data.products import PRODUCTS, draw_product
from data.schema import Record
from data.synth import draw_defect
from data.talks import check as check_talks

LAYOUT_HELP = f"{AUTO}, {', '.join(LAYOUTS)}."
SPLIT_HELP = "fit, calibrate, val or test."
NO_LICENCE = "no licence stated"
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
        _new_folder(out / folder)
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
    _datasheet(
        out, "Drawn defects", f"python -m data.build drawn OUT --count {count} --side {side} --seed {seed}",
        "Photographs that come with scikit-image (licences as stated there) and products drawn by this project; "
        "defects drawn by this project with exact masks.", defect=Counter(row["defect"] for row in rows),
    )  # fmt: skip
    typer.echo(f"wrote {len(rows)} pictures to {out}")


@app.command()
def records(
    out: Annotated[Path, typer.Argument(help="New folder of the set.")],
    data: Annotated[Path, typer.Option(help="Folder of the set, or its list.")],
    layout: Annotated[str, typer.Option(help=LAYOUT_HELP)] = AUTO,
    split: Annotated[str, typer.Option(help=SPLIT_HELP)] = "fit",
    licence: Annotated[str, typer.Option(help="What the source says, for layouts that have no place for it.")] = "",
) -> None:
    """Packs the records of one split, pictures and masks included, into one parquet file."""
    chosen = [replace(record, licence=record.licence or licence) for record in _chosen(data, layout, split)]
    _new_folder(out)
    others = sorted(file.name for file in out.glob("*.parquet") if file.name != f"{split}.parquet")
    if others:
        raise RecordError(f"The folder {out} already holds {others[0]}.", "Give every split a folder of its own.")
    write_records(out / f"{split}.parquet", tqdm(chosen, desc="records", unit="record"), root_of(data))
    _datasheet(
        out, "Records",
        f"python -m data.build records OUT --data DIR --layout {layout} --split {split}"
        + (f' --licence "{licence}"' if licence else ""),
        f"{_sources(chosen)} Pictures are as in the source; a mask is white where anomalous, and none is kept for "
        "normals and where only boxes or a label are known.",
        set=Counter(record.dataset for record in chosen), defect=Counter(record.defect for record in chosen),
        licence=Counter(record.licence or NO_LICENCE for record in chosen),
        supervision=Counter(record.supervision for record in chosen),
    )  # fmt: skip
    typer.echo(f"wrote {len(chosen)} records to {out}")


@app.command()
def conversations(
    out: Annotated[Path, typer.Argument(help="New folder of the set.")],
    data: Annotated[Path, typer.Option(help="Folder of the set, or its list.")],
    layout: Annotated[str, typer.Option(help=LAYOUT_HELP)] = AUTO,
    split: Annotated[str, typer.Option(help=SPLIT_HELP)] = "fit",
    turns: Annotated[int, typer.Option(min=1, help="Questions of a conversation.")] = 4,
    seed: int = 0,
) -> None:
    """Turns records into conversations whose every clause follows from label, mask, boxes and type."""
    chosen, root = _chosen(data, layout, split), root_of(data)
    _new_folder(out)
    rows, spoken = [], []
    for number, record in enumerate(tqdm(chosen, desc="conversations", unit="record")):
        rng = np.random.default_rng([seed, number])
        said = conversation(facts_of(record), rng, turns)
        image = relative(record.image, root)
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
        out, "Conversations",
        f"python -m data.build conversations OUT --data DIR --layout {layout} --split {split} --turns {turns} "
        f"--seed {seed}",
        _sources(chosen), defect=Counter(record.defect for record in chosen),
    )  # fmt: skip
    typer.echo(f"wrote {len(rows)} conversations to {out}")


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="Conversations as LLaVA writes them: JSON or JSONL.")],
    root: Annotated[Path | None, typer.Option(help="Folder of the pictures; by default the file's own.")] = None,
) -> None:
    """Checks conversations before a training: missing files, unbalanced turns, placeholders; names the lines."""
    count, bad, said = check_talks(file, root)
    if bad:
        listed = "".join(f"\n{sentence}" for sentence in said)
        more = f"\nand {bad - len(said)} more." if bad > len(said) else ""
        raise RecordError(f"{bad} of {count} conversations are bad:{listed}{more}")
    typer.echo(f"{count} conversations, all good")


@app.command()
def questions(
    out: Annotated[Path, typer.Argument(help="New folder of the question set.")],
    data: Annotated[Path, typer.Option("--data", "--manifest", help="Folder of the set, or its list.")],
    layout: Annotated[str, typer.Option(help=LAYOUT_HELP)] = AUTO,
    split: Annotated[str, typer.Option(help=SPLIT_HELP)] = "val",
    limit: Annotated[int, typer.Option(min=0, help="At most this many pictures; 0 means all.")] = 0,
    seed: int = 0,
) -> None:
    """Turns masks and types into questions: is it anomalous, where, what kind, how large; normals among them."""
    chosen = _chosen(data, layout, split)
    if limit:
        order = np.random.default_rng(seed).permutation(len(chosen))[:limit]
        chosen = [chosen[index] for index in sorted(order)]
    _new_folder(out)
    count = write_questions(out, chosen, root_of(data))
    _datasheet(
        out, "Questions",
        f"python -m data.build questions OUT --data DIR --layout {layout} --split {split} --limit {limit} "
        f"--seed {seed}",
        _sources(chosen), set=Counter(record.dataset for record in chosen),
        supervision=Counter(record.supervision for record in chosen),
    )  # fmt: skip
    typer.echo(f"wrote {count} questions about {len(chosen)} pictures to {out}")


@app.command("visa-dr")
def visa_dr(
    out: Annotated[Path, typer.Argument(help="New folder of the set.")],
    count: Annotated[int, typer.Option(min=2, help="Pictures of each of three classes, half with a defect.")] = 8,
    side: Annotated[int, typer.Option(min=64, max=1024, help="Side, pixels.")] = 320,
    seed: int = 0,
) -> None:
    """Makes a small look-alike of VisA-D&R from drawn defects, in the same layout."""
    _new_folder(out)
    write_visa_dr(out, count, side, seed)
    typer.echo(f"wrote {3 * count} pictures to {out}: next, python -m eval.run visa_dr --data {out} --out RUN")


@app.command()
def events(
    out: Annotated[Path, typer.Argument(help="Folder of the set; the other fold's clips there are kept.")],
    count: Annotated[int, typer.Option(min=2, help="Clips, half of them with an event.")] = 200,
    seed: int = 0,
    fold: Annotated[str, typer.Option(help="train or val; they share no photograph and no drawn family.")] = "val",
) -> None:
    """Makes clips of drawn events, each beside normal clips of the same place; a contact sheet lies beside them."""
    if fold not in FOLDS:
        raise RecordError(f"There is no fold {fold!r}.", f"Folds: {', '.join(FOLDS)}.")
    _new_folder(out)
    rows = write_events(out, count, seed, fold)
    _datasheet(
        out, "Drawn events", f"python -m data.build events OUT --count {count} --seed {seed} --fold {fold}",
        "Places and movers drawn by this project over its own surfaces and photographs that come with scikit-image "
        "(licences as stated there); spans, places and words are of the drawing itself. The table is of the fold that "
        "was written last.",
        event=Counter(row["event"] or "none" for row in rows), world=Counter(row["category"] for row in rows),
        camera=Counter(row["camera"] for row in rows),
    )  # fmt: skip
    file, said = write_clip_talks(out, fold, seed)
    typer.echo(f"wrote {len(rows)} clips to {out}, and {said} conversations about them to {file.name}")


@app.command("equal-clips")
def equal_clips(
    out: Annotated[Path, typer.Argument(help="New folder of the set.")],
    data: Annotated[Path, typer.Option(help="Folder of a set of clips, each a folder of frames.")],
    split: Annotated[str, typer.Option(help="Fold of a manifest; all when empty.")] = "val",
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds that the frames of a clip cover.")] = 2.0,
) -> None:
    """Brings clips to one size, rate and coding: a label must not be told by how a clip was stored."""
    _new_folder(out)
    rows = write_equal(out, list(read_clips(data, split)), seconds)
    typer.echo(f"wrote {len(rows)} clips to {out}: next, python -m eval.run video --data {out} --out RUN")


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


def _chosen(data: Path, layout: str, split: str) -> list[Record]:
    """The records of one split; a bad row of any split is an error before anything is written."""
    found = list(read_records(data, layout))
    chosen = [record for record in found if record.split == split]
    if not chosen:
        there = ", ".join(sorted({record.split for record in found})) or "none"
        raise RecordError(f"There are no records of the split {split!r} in {data}.", f"Splits with records: {there}.")
    return chosen


def _new_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError:
        raise RecordError(f"The folder {out} cannot be made.", "Name another one.") from None


def _sources(chosen: list[Record]) -> str:
    return "Records of " + ", ".join(sorted({f"{r.dataset} ({r.licence or NO_LICENCE})" for r in chosen})) + "."


def _datasheet(out: Path, title: str, command: str, origin: str, **counts: Counter[str]) -> None:
    """DATASHEET.md: what is inside, from where, and the command that makes it again (after Gebru et al. 2021).

    Args:
        counts: a table each: pictures by the values of what the table is named after.
    """
    lines = [f"# {title}", "", f"Made by `{command}`.", "", f"Origin: {origin}"]
    for name, numbers in counts.items():
        lines += ["", f"| {name} | pictures |", "| --- | --- |"]
        lines += [f"| {value} | {number} |" for value, number in sorted(numbers.items())]
    (out / "DATASHEET.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run(app)
