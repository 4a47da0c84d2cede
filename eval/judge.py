"""A language model that grades answers 0 to 10 against references: this project's own, or any OpenAI-compatible one.

Off unless asked for. The endpoint's address, key and model come from the environment alone; every grade is kept beside
the run, so that nothing is paid for twice, and a cap on tokens ends the judging before the bill does.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from assistant.errors import LookTwiceError
from eval.predictions import complete_lines

PROMPT = Path(__file__).parent / "prompts" / "judge.txt"
CACHE = "judge.jsonl"
URL, KEY, MODEL = "LOOKTWICE_JUDGE_URL", "LOOKTWICE_JUDGE_KEY", "LOOKTWICE_JUDGE_MODEL"
"""Environment: address up to and with /v1, secret key (may be empty), name of the model."""
TRIES = 4
WAIT = 2.0
"""Seconds before the first repeat; doubled each time."""
REPLY = 64
"""Tokens of a reply at most."""
RETRY = (408, 409, 429, 500, 502, 503, 504)

Complete = Callable[[str], tuple[str, int]]
"""A prompt -> (reply, tokens it took)."""
Judge = Callable[[str, str, str], float | None]
"""(question, reference, answer) -> grade 0..10, None where the reply holds none or the cap is reached."""


def grade_in(reply: str) -> float | None:
    """The grade 0..10 in a reply; None when there is none."""
    match = re.search(r"grade(?:\s+is)?\W*(\d+(?:\.\d+)?)", reply, re.IGNORECASE) or re.match(
        r"\W*(\d+(?:\.\d+)?)\s*(?:/\s*10)?\W*$", reply
    )
    if match is None or not 0 <= float(match[1]) <= 10:
        return None
    return float(match[1])


def judge_named(name: str, run: Path, prompt: Path, tokens: int) -> Judge | None:
    """The judge of a name; None for "off".

    Args:
        name: off, local or endpoint.
        run: folder whose CACHE keeps the grades.
        prompt: text file with {question}, {reference} and {answer}.
        tokens: after this many in this call no further one is asked for.

    Raises:
        LookTwiceError: an unknown name, a prompt that cannot be read or lacks a field, no address in the environment.
    """
    if name == "off":
        return None
    makers = {"local": local, "endpoint": endpoint}
    if name not in makers:
        raise LookTwiceError(f"There is no judge {name!r}.", "Use off, local or endpoint.")
    try:
        template = prompt.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise LookTwiceError(f"The judge's prompt {prompt.name} cannot be read.") from None
    missing = [field for field in ("question", "reference", "answer") if f"{{{field}}}" not in template]
    if missing:
        raise LookTwiceError(f"The judge's prompt {prompt.name} has no {{{missing[0]}}}.")
    model = os.environ.get(MODEL, "") if name == "endpoint" else "local"
    return cached(makers[name](), template, run / CACHE, model, tokens)


def cached(complete: Complete, template: str, file: Path, model: str, tokens: int) -> Judge:
    """A judge that asks `complete` once for each text and keeps the reply in `file`."""
    lines = [json.loads(line) for line in complete_lines(file)]
    known = {line["key"]: line["reply"] for line in lines}
    spent = 0

    def judge(question: str, reference: str, answer: str) -> float | None:
        nonlocal spent
        # one replacement pass: a field's text that itself holds "{answer}" stays as it is
        fields = {"question": question, "reference": reference, "answer": answer}
        text = re.sub(r"\{(question|reference|answer)\}", lambda match: fields[match[1]], template)
        key = hashlib.sha256(f"{model}\n{text}".encode()).hexdigest()
        if key not in known:
            if spent >= tokens:
                return None
            reply, used = complete(text)
            spent += used
            known[key] = reply
            with file.open("a", encoding="utf-8") as kept:
                kept.write(json.dumps({"key": key, "model": model, "reply": reply, "tokens": used}) + "\n")
        return grade_in(known[key])

    return judge


def endpoint(client: httpx.Client | None = None, wait: float = WAIT) -> Complete:
    """Replies of the OpenAI-compatible endpoint that the environment names; refusals for load are repeated.

    Raises:
        LookTwiceError: no address or model in the environment; on use, an endpoint that cannot be reached or refuses.
    """
    address, key, model = (os.environ.get(name, "").strip() for name in (URL, KEY, MODEL))
    if not address or not model:
        raise LookTwiceError("The judge has no endpoint.", f"Set {URL} and {MODEL} (and {KEY}) in the environment.")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    client = client or httpx.Client(timeout=120)

    def complete(prompt: str) -> tuple[str, int]:
        body = {
            "model": model, "messages": [{"role": "user", "content": prompt}], "temperature": 0, "max_tokens": REPLY,
        }  # fmt: skip
        failure = ""
        for number in range(TRIES):
            if number:
                time.sleep(wait * 2 ** (number - 1))
            try:
                answer = client.post(f"{address.rstrip('/')}/chat/completions", json=body, headers=headers)
            except httpx.HTTPError as error:
                failure = type(error).__name__
                continue
            if answer.status_code in RETRY:
                failure = f"status {answer.status_code}"
                continue
            if answer.status_code != 200:
                raise LookTwiceError(f"The judge's endpoint refused (status {answer.status_code}).")
            try:
                values = answer.json()
                reply = str(values["choices"][0]["message"]["content"])
                used = int((values.get("usage") or {}).get("total_tokens") or (len(prompt) + len(reply)) // 4)
            except (ValueError, KeyError, IndexError, TypeError):
                raise LookTwiceError("The judge's endpoint sent no chat completion.") from None
            return reply, used
        raise LookTwiceError(f"The judge's endpoint failed {TRIES} times ({failure}).", "Start again later.")

    return complete


def local(profile: str = "embedded") -> Complete:
    """Replies of a profile's own base chat model, without a picture: a check of the path, too small to trust."""
    from assistant import load

    inspector = load(profile)

    def complete(prompt: str) -> tuple[str, int]:
        reply = "".join(inspector.ask(None, prompt[-2000:]))
        return reply, len(inspector.processor.tokenizer(prompt + reply).input_ids)

    return complete
