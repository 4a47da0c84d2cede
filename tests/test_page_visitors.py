"""Many visitors at one page over HTTP: everybody gets the own answer, in order, or is told how long the line is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client

from app import Limits, build, serve
from assistant.desk import MAX_WAITING, Desk
from tests.spotted import Spotted
from tests.test_app import ROOT, WAIT, close, end, words

pytestmark = pytest.mark.filterwarnings("ignore")


class Echo(Spotted):
    """Says what it was asked once the gate is open."""

    def ask(self, look: Any, question: str, history: Any = (), *, stop: threading.Event | None = None) -> Iterator[str]:
        self.asked.append(question)
        self.gate.wait(WAIT)
        yield f"You asked: {question}"


def test_sixteen_visitors_get_their_own_answers_in_order_and_the_next_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    echo = Echo()
    desk = Desk("embedded", lambda profile: echo)
    page = build(desk)
    url = serve(page, "127.0.0.1", None, Limits("1mb"), block=False)
    try:
        desk.loaded.result(WAIT)
        echo.gate.clear()
        visitors = [Client(url, verbose=False) for _ in range(MAX_WAITING + 1)]
        jobs, deadline = [], time.monotonic() + WAIT
        for number, visitor in enumerate(visitors[:-1]):
            jobs.append(visitor.submit({"text": f"Question {number}", "files": []}, None, api_name="/chat"))
            while len(desk._line) <= number:  # in a known order
                assert time.monotonic() < deadline
                time.sleep(0.02)
        late = end(visitors[-1].submit({"text": "Too late", "files": []}, None, api_name="/chat"))
        assert f"yours would have been number {MAX_WAITING + 1}" in words(late[0][-1])
        echo.gate.set()
        for number, job in enumerate(jobs):
            conversation = end(job)[0]
            assert [words(message) for message in conversation] == [
                f"Question {number}",
                f"You asked: Question {number}",
            ]
            if number > 1:
                assert f"Waiting: {number} questions are ahead of yours" in json.dumps(job.outputs()), number
        assert echo.asked == [f"Question {number}" for number in range(MAX_WAITING)]
    finally:
        echo.gate.set()
        close(page)
    assert page.ended.is_set()
    assert "looktwice-sweep" not in [thread.name for thread in threading.enumerate() if wait_for(thread)]


def wait_for(thread: threading.Thread) -> bool:
    """Whether a thread is still there after it had the time to end."""
    if thread.name == "looktwice-sweep":
        thread.join(10)
    return thread.is_alive()


NEVER_LOADED = """
import sys, threading
import app
app.load = lambda *_, **__: threading.Event().wait()
sys.argv = ["app.py", "--port", sys.argv[1]]
app.run(app.main)
"""


@pytest.mark.parametrize("loading", [False, True])
def test_uploads_are_gone_when_the_server_is_told_to_end(tmp_path: Path, loading: bool) -> None:
    port = "17863"
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    script = ["-c", NEVER_LOADED, port] if loading else ["app.py", "--port", port]
    server = subprocess.Popen([sys.executable, *script], cwd=ROOT, env=environment)
    try:
        deadline = time.monotonic() + WAIT
        while True:
            try:
                upload = httpx.post(f"http://127.0.0.1:{port}/gradio_api/upload", files={"files": ("a.png", b"mine")})
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline and server.poll() is None
                time.sleep(0.2)
        (folder,) = tmp_path.glob("looktwice-*")
        assert Path(upload.json()[0]).is_relative_to(folder) and list(folder.rglob("a.png"))
        server.send_signal(signal.SIGTERM)
        assert server.wait(WAIT) == 0
        assert not folder.exists()
    finally:
        server.kill()
        server.wait()
