"""Conversations about drawn events: whether, when, where and what, each answer true of the record. Pure text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from data.layouts_talks import ROLES
from data.phrases import say
from data.talks import CLIP_MARK

Turn = tuple[str, str]
WHETHER = ("Is anything wrong in this clip?", "Does something unusual happen here?", "Is this clip normal?")
WHEN = ("When does it happen?", "At what time?", "From when to when?")
WHERE = ("Where in the picture is it?", "Where does it happen?", "Which part of the picture should I look at?")
WHAT = ("What happens?", "Describe the clip.", "Why is it unusual?")
NOTHING = ("Nothing unusual happens.", "Everything goes as it usually does here.", "Nothing stands out in this clip.")


def talk(row: dict[str, Any], rng: np.random.Generator) -> list[Turn]:
    """Questions and answers about one row of a set of drawn events; the first question is whether anything is wrong.

    Args:
        row: of `data.event_sets.write_events`.
    """
    later = [topic for topic in ("when", "where", "what") if rng.random() < 0.7]
    rng.shuffle(later)
    question = say(WHETHER, rng)
    normal = question == WHETHER[2]
    if not row["label"]:
        turns = [(question, f"{'Yes' if normal else 'No'}. {say(NOTHING, rng)}")]
        asked = {"when": WHEN, "where": WHERE, "what": WHAT}
        return turns + [(say(asked[topic], rng), say(NOTHING, rng)) for topic in later]
    (start, end), place = row["spans"][0], row["place"]
    turns = [(question, f"{'No' if normal else 'Yes'}. {row['words']}")]
    answers = {
        "when": (WHEN, f"From {start:.1f} s to {end:.1f} s."),
        "where": (WHERE, f"In the {place} of the picture, from {start:.1f} s on."),
        "what": (WHAT, row["words"]),
    }
    return turns + [(say(answers[topic][0], rng), answers[topic][1]) for topic in later]


def write_talks(data: Path, fold: str, seed: int) -> tuple[Path, int]:
    """Writes `conversations-<fold>.json` beside a set's manifest, as `data.talks` reads it.

    Returns:
        (the file, how many conversations it has).
    """
    rows = [json.loads(line) for line in (data / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    said = []
    for number, row in enumerate(row for row in rows if row.get("fold") == fold and "clip" in row):
        values = []
        for index, turn in enumerate(talk(row, np.random.default_rng([seed, number]))):
            texts = (f"{CLIP_MARK}\n{turn[0]}" if index == 0 else turn[0], turn[1])
            values += [{"from": role, "value": text} for role, text in zip(ROLES, texts, strict=True)]
        said.append({"id": f"events-{fold}-{number:05d}", "video": row["clip"], "conversations": values})
    file = data / f"conversations-{fold}.json"
    file.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    return file, len(said)
