"""Clips at the page over HTTP: the chat, normal clips and rules, /inspect, the report; the same numbers everywhere."""

from __future__ import annotations

import base64
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from app import Limits, build, serve
from assistant.clip_words import MAX_RULES
from assistant.desk import Desk
from assistant.inspector import Inspector
from assistant.session import ALONE
from panels.clip import NOT_PLAYED
from panels.several import ONE_AT_A_TIME
from tests.clipmaker import moving_square, write_clip, write_sound
from tests.spotted import DRAFT, Spotted
from tests.test_app import Served, chat, close, end, raw, words
from tests.test_cli import run
from tests.tiny import tiny_inspector

pytestmark = pytest.mark.filterwarnings("ignore")


class Page(Served):
    """A served page; of what a call gives, the parts that show a clip."""

    def turn(self, client: Client, text: str, *files: Path) -> dict[str, Any]:
        """Conversation and evidence after one message."""
        files_ = [handle_file(file) for file in files]
        return self.parts(end(client.submit({"text": text, "files": files_}, None, api_name="/chat")))

    def parts(self, shown: list[Any]) -> dict[str, Any]:
        player, timeline, keys, rules = (value_of(one) for one in shown[-4:])
        return {
            "chat": shown[0],
            "evidence": shown[7],
            "player": player,
            "timeline": timeline,
            "keys": keys,
            "rules": rules,
        }


def value_of(shown: Any) -> Any:
    """What a component holds, be it given whole or as a change of it."""
    return shown.get("value") if isinstance(shown, dict) and "__type__" in shown else shown


def serve_with(inspector: Any, folder: Path, patch: pytest.MonkeyPatch) -> tuple[Page, Any]:
    patch.setenv("GRADIO_TEMP_DIR", str(folder))
    desk = Desk("embedded", lambda profile: inspector)
    page = build(desk)
    url = serve(page, "127.0.0.1", None, Limits("5mb"), block=False)
    desk.loaded.result(60)
    return Page(url, desk, inspector), page


@pytest.fixture(scope="module")
def spotted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page over a model that finds two stretches in every clip."""
    with pytest.MonkeyPatch.context() as patch:
        served, page = serve_with(Spotted(), tmp_path_factory.mktemp("uploads"), patch)
        yield served
        close(page)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A clip in every container, a normal one, one with sound only and one cut off."""
    folder = tmp_path_factory.mktemp("clips")
    made = {e: write_clip(folder / f"clip.{e}", moving_square()) for e in ("mp4", "webm", "mkv", "avi", "mov", "gif")}
    made["normal"] = write_clip(folder / "normal.mp4", moving_square(36))
    made["sound"] = write_sound(folder / "sound.mp4")
    made["broken"] = folder / "broken.mp4"
    made["broken"].write_bytes(made["mp4"].read_bytes()[:600])
    return made


def curve(timeline: str) -> list[tuple[float, float]]:
    """(share of the duration, score) of the drawn curve without its two ends."""
    (line,) = re.findall(r'<polyline class="curve" points="([^"]+)"', timeline)
    found = [tuple(map(float, point.split(","))) for point in line.split()]
    return [(x / 1000, 1 - y / 100) for x, y in found][1:-1]


@pytest.mark.parametrize("ending", ["mp4", "webm", "mkv", "avi", "mov", "gif"])
def test_a_clip_is_answered_with_a_player_a_chart_and_key_frames(
    spotted: Page, clips: dict[str, Path], ending: str
) -> None:
    shown = spotted.turn(spotted.client(), "", clips[ending])
    said = words(shown["chat"][-1])
    for part in ("When:", "Where:", "Why:", "Camera:", "Note:"):
        assert part in said, part
    assert said.count("](#span-1-") == 2 and "something moves left" in said and "Take it as a hint." in said
    assert shown["timeline"].count('class="jump"') == 2 and shown["timeline"].count("<li>") == 2
    assert 'role="img" aria-label="Score over 0:02.0' in shown["timeline"]
    captions = [one["caption"] for one in shown["keys"]]
    assert captions == ["0.0 s, score 0.20", "0.6 s, score 0.81", "1.6 s, score 0.66", "1.9 s, score 0.30"]
    played = Path(shown["player"]["video"] if isinstance(shown["player"], dict) else shown["player"])
    assert played.suffix == (".webm" if ending == "webm" else ".mp4") and NOT_PLAYED not in shown["timeline"]
    assert (played.read_bytes() == clips[ending].read_bytes()) == (ending in ("mp4", "webm"))


def test_follow_ups_are_about_the_clip_and_a_picture_hides_it_again(
    spotted: Page, clips: dict[str, Path], cracked: Path
) -> None:
    client = spotted.client()
    first = words(spotted.turn(client, "Is there anything wrong?", clips["mp4"])["chat"][-1])
    when = words(spotted.turn(client, "When is it?")["chat"][-1])
    assert when.startswith("Yes, from 0.4 s to 0.8 s") and when[:60] in first.replace("\\", "")
    shown = spotted.turn(client, "And here?", cracked)
    assert shown["player"] is None and not shown["timeline"] and not shown["keys"]


@pytest.mark.parametrize(("name", "sentence"), [("sound", "holds sound only"), ("broken", "is damaged or cut off")])
def test_a_clip_that_cannot_be_used_is_one_sentence_and_the_page_goes_on(
    spotted: Page, clips: dict[str, Path], name: str, sentence: str
) -> None:
    client = spotted.client()
    said = words(spotted.turn(client, "What is it?", clips[name])["chat"][-1])
    assert sentence in said and "\n" not in said and "Traceback" not in said
    assert "When:" in words(spotted.turn(client, "", clips["mp4"])["chat"][-1])
    with pytest.raises(AppError, match=sentence):
        client.predict(handle_file(clips[name]), "", api_name="/inspect")


def test_a_clip_that_cannot_be_copied_is_shown_without_a_player(
    spotted: Page, clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from assistant.clip_reader import Limits as ClipLimits

    monkeypatch.setattr("assistant.clip_preview.LIMITS", ClipLimits(frames=2))
    shown = spotted.turn(spotted.client(), "", clips["avi"])
    assert shown["player"] is None and NOT_PLAYED in shown["timeline"] and len(shown["keys"]) == 4


def test_a_normal_clip_gives_rules_and_own_rules_take_their_place(
    spotted: Page, clips: dict[str, Path], cracked: Path
) -> None:
    client = spotted.client()
    _, strip, line = client.predict([handle_file(clips["normal"])], api_name="/references")
    assert (
        len(value_of(strip) if isinstance(strip, dict) else strip) == 1
        and "at a clip is held against this clip, a picture is looked at by itself" in line
    )
    shown = spotted.turn(client, "", clips["mp4"])
    assert shown["rules"] == "\n".join(DRAFT)
    assert "Held against 6.0 s of a normal clip." in words(shown["chat"][-1])
    assert f"Rules of normality:** {' '.join(DRAFT)}" in words(shown["chat"][-1])
    client.predict("\n".join(DRAFT), api_name="/rules")  # drafted ones that stay as they are do not count as own
    looks = spotted.turn(client, "When?")["chat"]
    assert "Rules of normality" not in words(looks[-1])  # nothing was looked at again
    client.predict("Only squares; nothing goes left", api_name="/rules")
    shown = spotted.turn(client, "And now?")
    assert "Rules of normality:** Only squares. nothing goes left." in words(shown["chat"][-1])
    assert shown["rules"] == "Only squares; nothing goes left"
    with pytest.raises(AppError, match="characters"):
        client.predict("x" * (MAX_RULES + 1), api_name="/rules")
    # what the box holds comes with the question, whether or not its own event has arrived
    job = client.submit({"text": "And then?", "files": []}, "Only discs", api_name="/chat")
    assert "Rules of normality:** Only discs." in words(spotted.parts(end(job))["chat"][-1])
    shown = spotted.turn(client, "", cracked)  # looked at by itself, and that is said
    assert "sure" in words(shown["chat"][-1]) and ALONE in shown["evidence"]


def test_several_pictures_are_views_of_one_object_where_that_was_said(
    spotted: Page, clips: dict[str, Path], cracked: Path
) -> None:
    client = spotted.client()
    assert words(chat(client, "compare", cracked, cracked)[-1]) == ONE_AT_A_TIME
    client.predict(True, api_name="/several")
    assert "View 2 is no picture" in words(chat(client, "", cracked, clips["mp4"])[-1])
    shown = spotted.turn(client, "", cracked, cracked, cracked)
    assert [one["caption"][:6] for one in shown["keys"]] == ["View 1", "View 2", "View 3"]
    assert [message["role"] for message in shown["chat"][-4:]] == ["user", "user", "user", "assistant"]


def test_the_report_has_chart_spans_and_key_frames(spotted: Page, clips: dict[str, Path]) -> None:
    client = spotted.client()
    spotted.turn(client, "Is <b>anything</b> wrong?", clips["mp4"])
    spotted.turn(client, "When?")
    files = value_of(client.predict(api_name="/report"))
    files = {Path(file).name: Path(file) for file in files}
    page = files["report.html"].read_text(encoding="utf-8")
    assert page.count("<svg") == 1 and page.count("data:image/jpeg") == 4 and "<script" not in page
    assert "From 0.4 s to 0.8 s in the centre left: something moves left" in page and "#span-" not in page
    assert files["report.pdf"].read_bytes().count(b"/Subtype /Image") == 4
    first, second = json.loads(files["findings.json"].read_text())["passages"]
    assert [one["time"] for one in first["key_frames"]] == pytest.approx([0, 0.6, 1.6, 1.9], abs=0.01)
    assert first["picture"]["number"] == second["picture"]["number"] == 2
    assert len(first["finding"]["spans"]) == 2 and len(first["finding"]["frames"]) == 21
    coco = json.loads(files["coco.json"].read_text())
    assert [image["file_name"][:9] for image in coco["images"]] == ["clip.mp4,"] * 4
    with zipfile.ZipFile(files["masks.zip"]) as archive:  # frames under the threshold have none
        names = [name[-12:] for name in archive.namelist()]
        assert names == ["002_mask.png", "003_mask.png"]
        mask = np.asarray(Image.open(archive.open(archive.namelist()[0])))
    assert mask.shape == (64, 96) and 0 < (mask > 0).mean() < 0.2


def test_page_client_and_command_line_give_the_same_numbers(
    clips: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspector: Inspector = tiny_inspector()
    monkeypatch.setattr("assistant.load", lambda profile: inspector)
    served, page = serve_with(inspector, tmp_path, monkeypatch)
    try:
        client, rules = served.client(), "Nothing moves left."
        told = client.predict(
            handle_file(clips["mp4"]), "", [handle_file(clips["normal"])], None, rules, api_name="/inspect"
        )
        found = told[0]
        assert Image.open(told[1]).size == (96, 64)
        code, out, _ = run(clips["mp4"], "--reference", clips["normal"], "--rules", rules, "--json")
        expected = json.loads(out)
        del found["timings"], expected["timings"]
        assert code == 0 and found == expected and len(found["frames"]) > 8 and found["rules"] == [rules]
        assert set(found) >= {"spans", "frames", "camera", "normal"}
        packed = f"data:video/mp4;base64,{base64.b64encode(clips['mp4'].read_bytes()).decode()}"
        assert json.loads(raw_result(served.url, packed))["frames"] == without(clips["mp4"])["frames"]
        client.predict([handle_file(clips["normal"])], api_name="/references")
        client.predict(rules, api_name="/rules")
        shown = served.turn(client, "", clips["mp4"])
        scores = [frame["score"] for frame in found["frames"]]
        assert [score for _, score in curve(shown["timeline"])] == pytest.approx(scores, abs=2e-3)
        with pytest.raises(AppError, match="rate is for pictures"):
            client.predict(handle_file(clips["mp4"]), "", [], 0.05, api_name="/inspect")
    finally:
        close(page)


def raw_result(url: str, packed: str) -> str:
    """The finding as the server sends it to a plain HTTP call."""
    line = next(line for line in raw(url, "inspect", packed).splitlines() if line.startswith("data: ["))
    return json.dumps(json.loads(line.removeprefix("data: "))[0])


def without(clip: Path) -> dict[str, Any]:
    """What the command line says of the clip alone."""
    return json.loads(run(clip, "--json")[1])
