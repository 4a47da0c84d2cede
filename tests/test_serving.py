"""How the page is served to others: passwords, old files, the line of questions, container and Space."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from assistant.desk import MAX_WAITING, Desk
from assistant.errors import LookTwiceError, QueueFullError, SettingError, WeightsError
from assistant.render import status_html
from assistant.session import Done, Stage
from panels.address import checked_address
from panels.auth import VARIABLE, read_auth
from panels.sweep import sweep

ROOT = Path(__file__).parents[1]
WAIT = 60


def test_names_and_passwords_come_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert read_auth(None) is None
    monkeypatch.setenv(VARIABLE, "ann:a:b")
    check = read_auth(None)
    assert check("ann", "a:b") and not check("ann", "a") and not check("bob", "") and not check("", "")
    file = tmp_path / "users.txt"
    file.write_text("# people\n\nbob:x y\nеве:ключ\n", encoding="utf-8")
    check = read_auth(file)
    assert check("bob", "x y") and check("еве", "ключ") and not check("ann", "a:b")


@pytest.mark.parametrize("text", ["bob\n", ":x\n", "bob:\n", "", "# nobody\n"])
def test_a_file_without_names_is_a_sentence_and_never_an_open_door(text: str, tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_text(text)
    with pytest.raises(SettingError):
        read_auth(tmp_path / "users.txt")
    with pytest.raises(SettingError, match="cannot be read"):
        read_auth(tmp_path / "none.txt")


def test_old_files_go_and_new_ones_stay(tmp_path: Path) -> None:
    old, new, outside = tmp_path / "up" / "a" / "old.png", tmp_path / "up" / "b" / "new.png", tmp_path / "outside.png"
    for file in (old, new, outside):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    (tmp_path / "up" / "a" / "link.png").symlink_to(outside)
    past = time.time() - 4000
    os.utime(old, (past, past))
    os.utime(tmp_path / "up" / "a" / "link.png", (past, past), follow_symlinks=False)
    os.utime(old.parent, (past, past))
    assert sweep(tmp_path / "up") == 2 and outside.exists() and new.exists() and not old.exists()
    os.utime(old.parent, (past, past))  # emptying it had made it young again
    sweep(tmp_path / "up")
    assert not old.parent.exists()


class Slow:
    """A conversation whose answer lasts until the gate opens."""

    def __init__(self, gate: threading.Event, order: list[str]) -> None:
        self.gate, self.order = gate, order

    def ask(self, question: str, media: object = None, **options: object) -> object:
        self.gate.wait(WAIT)
        self.order.append(question)
        yield Done(None, f"for {question}")


def desk_without_model() -> Desk:
    def loader(profile: str) -> None:
        raise WeightsError("There is none.")

    return Desk("embedded", loader)


def test_sixteen_visitors_get_their_own_answers_in_order_and_the_next_one_a_sentence() -> None:
    desk, gate, order = desk_without_model(), threading.Event(), []
    events: dict[int, list[object]] = {number: [] for number in range(MAX_WAITING)}
    threads = []
    for number in range(MAX_WAITING):

        def visit(number: int = number) -> None:
            for event in desk.answer(lambda: Slow(gate, order), str(number), None, threading.Event()):
                events[number].append(event)

        threads.append(threading.Thread(target=visit))
        threads[-1].start()
        deadline = time.monotonic() + WAIT
        while len(desk._line) <= number:  # in a known order
            assert time.monotonic() < deadline
            time.sleep(0.01)
    with pytest.raises(QueueFullError, match=f"{MAX_WAITING} questions are ahead.*number {MAX_WAITING + 1}"):
        next(iter(desk.answer(lambda: Slow(gate, order), "late", None, threading.Event())))
    with pytest.raises(QueueFullError):
        desk.run(lambda: None)
    gate.set()
    for thread in threads:
        thread.join(WAIT)
    assert order == [str(number) for number in range(MAX_WAITING)]
    for number, seen in events.items():
        assert seen[-1].text == f"for {number}"
        waiting = [event.ahead for event in seen if isinstance(event, Stage)]
        assert waiting == sorted(waiting, reverse=True) and (waiting[:1] == [number] or number == 0)
    assert desk.run(lambda: "free") == "free" and desk._line == []


def test_who_goes_away_while_waiting_gives_the_place_free() -> None:
    desk, gate, order = desk_without_model(), threading.Event(), []
    first = threading.Thread(target=lambda: list(desk.answer(lambda: Slow(gate, order), "1", None, threading.Event())))
    first.start()
    while not desk._line:
        time.sleep(0.01)
    gone = desk.answer(lambda: Slow(gate, order), "2", None, threading.Event())
    assert next(gone) == Stage("waiting", 1)
    gone.close()
    assert len(desk._line) == 1
    gate.set()
    first.join(WAIT)
    assert order == ["1"] and desk.run(lambda: "free") == "free"


def test_the_line_on_the_page_says_how_many_are_ahead() -> None:
    assert "3 questions are ahead of yours" in status_html("waiting", ahead=3)
    assert "1 question is ahead of yours" in status_html("waiting", ahead=1)


def test_the_container_runs_as_nobody_special_on_a_read_only_root() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    user = next(number for number, line in enumerate(lines) if line.startswith("USER "))
    assert lines[user] == "USER 1000" and any(line.startswith("CMD ") for line in lines[user:])
    assert not any(line.startswith(("COPY", "RUN", "ADD")) for line in lines[user:])
    assert any(line.startswith("HEALTHCHECK") for line in lines)
    service = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["looktwice"]
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"] and service["mem_limit"]
    assert service["ports"] == ["127.0.0.1:7860:7860"] and "kept:/data" in service["volumes"]
    served = next(line.removeprefix("CMD ") for line in reversed(lines) if line.startswith("CMD "))
    assert service["command"] == [*json.loads(served), "--learn"]  # the volume is there for corrections


def test_the_readme_begins_with_what_a_space_needs() -> None:
    _, head, _ = (ROOT / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    values = yaml.safe_load(head)
    assert values["sdk"] == "docker" and values["app_port"] == 7860 and values["title"] == "LookTwice"
    assert len(values["short_description"]) <= 60 and values["colorFrom"] in ("green", "blue")


def test_an_address_that_is_taken_or_is_not_there_is_one_sentence_before_a_model_is_loaded():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        began = subprocess.run(
            [sys.executable, "app.py", "--port", str(port)], cwd=ROOT, capture_output=True, text=True, timeout=300
        )
        assert (began.returncode, began.stderr.splitlines()) == (
            2, [f"Port {port} is in use, perhaps by another chat. Name another one with --port."],
        )  # fmt: skip
    assert checked_address("127.0.0.1", port) == ("127.0.0.1", port)
    for host, number in (("192.0.2.1", port), ("no such name", port)):
        with pytest.raises(LookTwiceError, match=f"^The page cannot be opened at {host}, port {number} "):
            checked_address(host, number)
