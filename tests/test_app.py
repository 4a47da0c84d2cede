"""The real page over HTTP with the real model: conversations, refusals, equality with the API, and the stop signal."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.client import Job
from gradio_client.exceptions import AppError
from PIL import Image

import app as page_module
from app import Desk, Limits, Page, build, serve
from assistant.errors import WeightsError
from data.photos import photograph

if TYPE_CHECKING:
    from assistant.inspector import Inspector

ROOT = Path(__file__).parent.parent
WAIT = 120  # seconds; generous, since a test says what happens and not how fast
pytestmark = [
    pytest.mark.usefixtures("short_answers"),
    pytest.mark.filterwarnings("ignore"),  # a warning made an error would end the server's own threads
]
TAG = {"_type": "gradio.FileData"}


class Counting:
    """An inspector that counts its looks; everything else is the real one's."""

    def __init__(self, inspector: Inspector) -> None:
        self._inspector = inspector
        self.looks = self.memories = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inspector, name)

    def look(self, source: Any, *terms: Any, **more: Any) -> Any:
        """The real look, counted."""
        self.looks += 1
        return self._inspector.look(source, *terms, **more)

    def remember(self, sources: Any) -> Any:
        """The real memory, counted."""
        self.memories += 1
        return self._inspector.remember(sources)


class Served:
    """The address of a running page, its desk and its model."""

    def __init__(self, url: str, desk: Desk, counting: Counting) -> None:
        self.url, self.desk, self.counting = url, desk, counting

    def client(self) -> Client:
        """A new visitor."""
        return Client(self.url, verbose=False)


@pytest.fixture(scope="module")
def served(inspector: Inspector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page, served once for the module on a free port."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        counting = Counting(inspector)
        desk = Desk("embedded", lambda profile: counting)
        page = build(desk)
        url = serve(page, "127.0.0.1", None, Limits("1mb"), block=False)
        desk.loaded.result(WAIT)
        yield Served(url, desk, counting)
        close(page)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two normal takes of the wall that `cracked` shows."""
    files = [tmp_path_factory.mktemp("good") / f"{number}.png" for number in range(2)]
    for number, file in enumerate(files):
        Image.fromarray(np.roll(photograph("brick.png"), 16 * number, axis=0)).save(file)
    return files


def close(page: Page) -> None:
    """Stop serving, and collect at once what the server's libraries leave open, so that no later test is blamed."""
    with warnings.catch_warnings(action="ignore"):
        page.close()
        gc.collect()


def chat(client: Client, text: str, *files: Path) -> list[dict[str, Any]]:
    """The conversation after one message."""
    return end(client.submit({"text": text, "files": [handle_file(file) for file in files]}, None, api_name="/chat"))[0]


def end(job: Job) -> list[Any]:
    """What each part of the page shows when the turn is over: its newest value."""
    job.result(WAIT)
    nothing = {"__type__": "update"}  # of a part that a step leaves as it is
    columns = zip(*job.outputs(), strict=True)
    return [[None, *(v for v in each if v not in (nothing, nothing | {"props": nothing}))][-1] for each in columns]


def words(message: dict[str, Any]) -> str:
    """The text of one message as the page gets it."""
    return " ".join(part["text"] for part in message["content"] if part["type"] == "text")


def raw(url: str, name: str, *data: Any) -> str:
    """What the server answers to a hand-made payload: its last event as text."""
    base = f"{url.rstrip('/')}/gradio_api/call/{name}"
    event = httpx.post(base, json={"data": list(data)}, timeout=WAIT)
    event.raise_for_status()
    return httpx.get(f"{base}/{event.json()['event_id']}", timeout=WAIT).text


def test_a_picture_is_answered_and_a_follow_up_does_not_look_again(served: Served, cracked: Path) -> None:
    client, before = served.client(), served.counting.looks
    conversation = chat(client, "Is there anything wrong?", cracked)
    assert [message["role"] for message in conversation] == ["user", "user", "assistant"]
    assert words(conversation[-1])
    conversation = chat(client, "Where is it?")
    assert [message["role"] for message in conversation] == ["user", "user", "assistant", "user", "assistant"]
    assert served.counting.looks == before + 1


def test_the_evidence_comes_before_the_words_and_the_verdict_with_the_end(served: Served, cracked: Path) -> None:
    job = served.client().submit({"text": "", "files": [handle_file(cracked)]}, None, api_name="/chat")
    shown = json.dumps(end(job))
    assert "% sure" in shown or "Unsure, " in shown
    assert "threshold" in shown and ("Nothing stands out" in shown or "Place" in shown)
    steps = [json.dumps(step) for step in job.outputs()]
    with_images = next(number for number, step in enumerate(steps) if step.count("image.webp") >= 2)
    assert not any('"assistant"' in step for step in steps[:with_images])


def test_visitors_keep_their_own_conversation(served: Served, cracked: Path) -> None:
    one, other = served.client(), served.client()
    chat(one, "Is there anything wrong?", cracked)
    looks = served.counting.looks
    conversation = chat(other, "My secret word is walnut.")
    assert len(conversation) == 2 and served.counting.looks == looks
    assert "walnut" not in json.dumps(chat(one, "Where is it?"))


def test_a_new_conversation_is_empty(served: Served, cracked: Path) -> None:
    client = served.client()
    chat(client, "Is there anything wrong?", cracked)
    client.predict(api_name="/new")
    assert len(chat(client, "Hello.")) == 2


def test_inspect_gives_the_numbers_of_the_api(served: Served, inspector: Inspector, cracked: Path) -> None:
    found, overlay = served.client().predict(handle_file(cracked), "", api_name="/inspect")
    assert Image.open(overlay).format == "PNG" and Image.open(overlay).size == (512, 512)
    expected = inspector.inspect(cracked).to_dict()
    del found["timings"], expected["timings"]
    assert found == json.loads(json.dumps(expected))


def test_references_stay_for_the_conversation_and_are_remembered_once(
    served: Served, cracked: Path, good: list[Path]
) -> None:
    client, memories = served.client(), served.counting.memories
    _, strip, line = client.predict([handle_file(file) for file in good], api_name="/references")
    assert len(strip["value"] if isinstance(strip, dict) else strip) == 2 and "these 2 pictures" in line
    client.predict(10, api_name="/rate")
    job = client.submit({"text": "", "files": [handle_file(cracked)]}, None, api_name="/chat")
    assert "10 % false alarms, from 2 normal references" in json.dumps(end(job))
    chat(client, "Where is it?")
    chat(client, "And here?", cracked)
    assert served.counting.memories == memories + 1
    client.predict(api_name="/clear_references")
    job = client.submit({"text": "And now?", "files": []}, None, api_name="/chat")
    assert "normal references" not in json.dumps(end(job)[3:])
    assert served.counting.memories == memories + 1


def test_more_than_eight_references_are_refused(served: Served, good: list[Path]) -> None:
    client = served.client()
    _, strip, line = client.predict([handle_file(good[0])] * 9, api_name="/references")
    assert "one to eight" in line


def test_inspect_takes_references_and_a_rate(
    served: Served, inspector: Inspector, cracked: Path, good: list[Path]
) -> None:
    files = [handle_file(file) for file in good]
    found, _ = served.client().predict(handle_file(cracked), "", files, 0.1, api_name="/inspect")
    expected = inspector.inspect(cracked, references=good, rate=0.1).to_dict()
    del found["timings"], expected["timings"]
    assert found == json.loads(json.dumps(expected)) and found["references"] == 2
    with pytest.raises(AppError, match="false-alarm rate must be"):
        served.client().predict(handle_file(cracked), "", [], 7, api_name="/inspect")
    foreign = [{"path": str(cracked), "meta": TAG}]
    payload = {"path": upload(served.url, cracked), "meta": TAG}
    assert page_module.REFUSED in raw(served.url, "inspect", payload, "", foreign, None)
    assert page_module.REFUSED in raw(served.url, "references", foreign)


@pytest.mark.parametrize("kind", ["path", "tagged path", "url", "tagged url", "upload with url", "climbing", "text"])
def test_foreign_paths_and_addresses_are_refused(served: Served, cracked: Path, kind: str) -> None:
    address = "http://127.0.0.1:9/wall.png"
    uploaded = upload(served.url, cracked)
    payload: Any = {
        "path": {"path": str(cracked)},
        "tagged path": {"path": str(cracked), "meta": TAG},
        "url": {"url": address},
        "tagged url": {"path": "https://example.org/wall.png", "url": "https://example.org/wall.png", "meta": TAG},
        "upload with url": {"path": uploaded, "url": address, "meta": TAG},
        "climbing": {"path": f"{Path(uploaded).parent}/../../../../../../..{cracked}", "meta": TAG},
        "text": str(cracked),
    }[kind]
    looks = served.counting.looks
    answer = raw(served.url, "inspect", payload, "")
    assert page_module.REFUSED in answer and "Traceback" not in answer
    if kind != "text":
        assert page_module.REFUSED in raw(served.url, "chat", {"text": "look", "files": [payload]})
    assert served.counting.looks == looks


def upload(url: str, file: Path) -> str:
    """The server's path of an uploaded file."""
    answer = httpx.post(f"{url.rstrip('/')}/gradio_api/upload", files={"files": (file.name, file.read_bytes())})
    return answer.raise_for_status().json()[0]


def test_a_path_in_the_text_is_only_text(served: Served, cracked: Path) -> None:
    looks = served.counting.looks
    assert len(chat(served.client(), f"{cracked} file://{cracked}")) == 2
    assert served.counting.looks == looks


def test_a_broken_picture_is_a_sentence_and_the_conversation_goes_on(
    served: Served, cracked: Path, broken: Path
) -> None:
    client = served.client()
    chat(client, "Is there anything wrong?", cracked)
    looks = served.counting.looks
    conversation = chat(client, "And here?", broken)
    assert "is cut off" in words(conversation[-1]) and conversation[-1]["role"] == "assistant"
    conversation = chat(client, "Where is it?")
    assert len(conversation) == 7 and served.counting.looks == looks
    with pytest.raises(AppError, match="is cut off"):
        client.predict(handle_file(broken), "", api_name="/inspect")


def test_an_empty_message_and_two_pictures_are_sentences(served: Served, cracked: Path) -> None:
    assert "question is empty" in words(chat(served.client(), "  ")[-1])
    assert "One picture or clip at a time" in words(chat(served.client(), "compare", cracked, cracked)[-1])


def test_markup_is_shown_as_text(served: Served) -> None:
    message = words(chat(served.client(), "<img src=x onerror=alert(1)> ![p](https://evil.example/p.png)")[0])
    assert "<img" not in message and "![p]" not in message and "https://" not in message


def test_large_uploads_are_refused(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "large.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(1_200_000))
    with pytest.raises(httpx.HTTPStatusError, match="413"):
        upload(served.url, file)


def test_stop_ends_the_answer_and_frees_the_model(
    served: Served, cracked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assistant.inspector.MAX_WORDS", 120)
    client = served.client()
    job = client.submit({"text": "Tell me a very long story about a lighthouse.", "files": []}, None, api_name="/chat")
    deadline = time.monotonic() + WAIT
    while len(job.outputs()) < 4:  # question, state, and then words
        assert time.monotonic() < deadline and not job.done()
        time.sleep(0.05)
    client.predict(api_name="/stop")
    assert words(end(job)[0][-1]).endswith("*(stopped)*")
    assert served.desk.submit(lambda: "free").result(WAIT) == "free"
    assert len(chat(client, "Is there anything wrong?", cracked)) == 5


def test_a_reader_that_goes_away_frees_the_model(served: Served) -> None:
    stop = threading.Event()
    events = served.desk.answer(served.desk.session, "Tell me a very long story about a lighthouse.", None, stop)
    next(events)
    events.close()
    assert stop.is_set() and served.desk.submit(lambda: "free").result(WAIT) == "free"


def test_a_stopped_question_leaves_the_queue(served: Served) -> None:
    gate, stop = threading.Event(), threading.Event()
    busy = served.desk.submit(gate.wait)
    stop.set()
    assert list(served.desk.answer(served.desk.session, "Hello.", None, stop)) == []
    gate.set()
    assert busy.result(WAIT)


def test_a_model_that_cannot_be_loaded_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def loader(profile: str) -> Inspector:
        raise WeightsError("The weights are missing.", "Train them.")

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    page = build(Desk("embedded", loader))
    url = serve(page, "127.0.0.1", None, Limits("1mb"), block=False)
    try:
        assert words(chat(Client(url, verbose=False), "Hello.")[-1]) == "The weights are missing. Train them."
    finally:
        close(page)


def test_the_page_asks_no_other_site_for_anything(served: Served) -> None:
    page = httpx.get(served.url).text + httpx.get(f"{served.url.rstrip('/')}/theme.css").text
    assert "fonts.googleapis" not in page and "fonts.gstatic" not in page
    config = httpx.get(f"{served.url.rstrip('/')}/config").json()
    assert config["analytics_enabled"] is False and config["show_error"] is False


def test_the_page_imports_no_torch() -> None:
    code = "import sys, app; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


def test_one_click_makes_the_report_of_the_conversation(served: Served, cracked: Path) -> None:
    client = served.client()
    with pytest.raises(AppError, match="nothing to report"):
        client.predict(api_name="/report")
    chat(client, "Is there <b>anything</b> wrong?", cracked)
    chat(client, "Where is it?")
    files = client.predict(api_name="/report")
    files = [Path(file) for file in (files["value"] if isinstance(files, dict) else files)]
    assert [file.suffix for file in files] == [".html", ".pdf", ".json", ".json", ".zip"]
    page = files[0].read_text(encoding="utf-8")
    assert "anything&lt;/b&gt; wrong" in page and page.count("data:image/jpeg") == 2
