"""The command line end to end with the real model; input that cannot be used ends with 2 and one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from assistant.__main__ import app
from data.photos import photograph

if TYPE_CHECKING:
    from assistant.inspector import Inspector

ROOT = Path(__file__).parent.parent
KEYS = {
    "verdict", "confidence", "verdict_probability", "score", "threshold", "threshold_source", "regions", "kinds",
    "explanation", "warnings", "timings", "profile", "references",
}  # fmt: skip


@pytest.fixture
def loaded(inspector: Inspector, short_answers: None, monkeypatch: pytest.MonkeyPatch) -> Inspector:
    """The command line uses the model that is loaded already."""
    monkeypatch.setattr("assistant.load", lambda profile: inspector)
    return inspector


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading the model is an error: the input must have been refused before."""

    def load(profile: str) -> None:
        raise AssertionError("the model was loaded for input that cannot be used")

    monkeypatch.setattr("assistant.load", load)


def run(*arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the command line."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_json_is_one_object_equal_to_the_api(loaded: Inspector, cracked: Path, tmp_path: Path) -> None:
    heatmap = tmp_path / "heat.png"
    code, out, _ = run(cracked, "--json", "--heatmap", heatmap)
    assert code == 0
    found = json.loads(out)
    assert set(found) == KEYS and set(found["timings"]) == {"load_s", "look_s", "first_word_s", "answer_s"}
    assert found["explanation"] and found["profile"] == "embedded"
    with Image.open(heatmap) as image, Image.open(cracked) as picture:
        assert image.format == "PNG" and image.size == picture.size
    expected = loaded.inspect(cracked).to_dict()
    del found["timings"], expected["timings"]
    assert found == expected


def test_text_has_the_words_the_verdict_and_the_score(loaded: Inspector, cracked: Path) -> None:
    code, out, _ = run(cracked, "--ask", "Where is it?")
    assert code == 0
    words = "".join(loaded.ask(loaded.look(cracked), "Where is it?")).strip()
    assert " ".join(words.split())[:40] in " ".join(out.split())
    assert "sure" in out.lower() and "Score 0." in out or "Score 1." in out
    assert "Looked in" in out


def test_references_are_compared_with_remembered_and_used_again(
    loaded: Inspector, cracked: Path, tmp_path: Path
) -> None:
    good, kept = tmp_path / "good", tmp_path / "kept.safetensors"
    good.mkdir()
    (good / "notes.txt").write_text("no picture")
    wall = photograph("brick.png")
    for number in range(2):
        Image.fromarray(np.roll(wall, 16 * number, axis=0)).save(good / f"{number}.png")
    code, out, _ = run(cracked, "--references-dir", good, "--rate", "0.1", "--remember", kept, "--json")
    first = json.loads(out)
    assert code == 0 and first["references"] == 2 and kept.is_file()
    assert first["threshold_source"].startswith("10 % false alarms, from 2 normal references")
    code, out, _ = run(cracked, "--memory", kept, "--rate", "0.1", "--json")
    again = json.loads(out)
    del first["timings"], again["timings"]
    assert code == 0 and again == first
    code, out, _ = run(cracked, "--reference", good / "0.png", "--reference", good / "1.png", "--rate", "0.1", "--json")
    assert json.loads(out)["score"] == first["score"]
    kept.write_bytes(kept.read_bytes()[:999])
    code, out, err = run(cracked, "--memory", kept, "--json")
    assert (code, out) == (2, "") and "is damaged" in err.strip().splitlines()[-1]


@pytest.mark.usefixtures("unloaded")
def test_what_cannot_be_used_is_refused_before_the_model_is_loaded(cracked: Path, broken: Path, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not a picture")
    (empty := tmp_path / "empty").mkdir()
    cases: list[tuple[tuple[str | Path, ...], str]] = [
        ((tmp_path / "none.png",), "There is no file 'none.png'."),
        ((tmp_path,), "is a folder"),
        ((broken,), "is cut off"),
        ((tmp_path / "text.jpg",), "is text, not a picture"),
        ((cracked, "--ask", "  "), "The question is empty."),
        ((cracked, "--ask", "why " * 1000), "The question has more than"),
        ((cracked, "--profile", "nobody"), "There is no profile 'nobody'."),
        ((cracked, "--heatmap", tmp_path / "no" / "heat.png"), "--heatmap cannot be written"),
        ((cracked, "--heatmap", tmp_path), "--heatmap cannot be written"),
        ((cracked, "--heatmap", cracked), "is the input itself"),
        ((cracked, "--reference", tmp_path / "none.png"), "There is no file 'none.png'."),
        ((cracked, "--references-dir", tmp_path / "nowhere"), "There is no folder 'nowhere'."),
        ((cracked, "--references-dir", empty), "holds no picture"),
        ((cracked, "--rate", "7"), "A false-alarm rate must be from"),
        ((cracked, "--memory", tmp_path / "none.safetensors"), "There is no memory 'none.safetensors'."),
        ((cracked, "--memory", cracked, "--reference", cracked), "References are given twice."),
        ((cracked, "--remember", tmp_path / "kept.safetensors"), "There are no references to remember."),
        ((cracked, "--reference", cracked, "--remember", tmp_path), "--remember cannot be written"),
    ]
    for arguments, sentence in cases:
        code, out, err = run(*arguments, "--json")
        assert (code, out) == (2, ""), arguments
        assert sentence in err and len(err.strip().splitlines()) == 1 and "Traceback" not in err, arguments


def test_a_model_that_cannot_be_loaded_is_one_sentence(cracked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from assistant.errors import WeightsError

    def load(profile: str) -> None:
        print("a library talks")
        raise WeightsError("The weights are missing.")

    monkeypatch.setattr("assistant.load", load)
    code, out, err = run(cracked, "--json")
    assert (code, out) == (2, "") and err.strip().splitlines()[-1] == "The weights are missing."


def test_words_cannot_steer_the_terminal(cracked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.test_session import Scripted

    class Rude(Scripted):
        def ask(self, look: object, question: str, *args: object, **kwargs: object):  # noqa: ANN202
            yield "\x1b]0;title\x07[bold]plain[/bold]\u202e"

    monkeypatch.setattr("assistant.load", lambda profile: Rude())
    code, out, _ = run(cracked)
    assert code == 0 and "[bold]plain[/bold]" in out and not {"\x1b", "\x07", "\u202e"} & set(out)


def test_a_broken_file_ends_a_real_process_with_2(broken: Path) -> None:
    command = [sys.executable, "-m", "assistant", str(broken), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("'half.png' is cut off") and len(done.stderr.splitlines()) == 1


def test_help_and_a_refusal_import_no_torch(broken: Path) -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom assistant.__main__ import app\n"
        "assert '--heatmap' in CliRunner().invoke(app, ['--help']).stdout\n"
        f"assert CliRunner().invoke(app, [{str(broken)!r}]).exit_code == 2\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_pictures_of_every_mode_are_taken(loaded: Inspector, tmp_path: Path) -> None:
    file = tmp_path / "deep.png"
    Image.fromarray(np.full((40, 50), 900, np.uint16)).save(file)
    code, out, _ = run(file, "--json")
    assert code == 0 and any("16-bit" in warning for warning in json.loads(out)["warnings"])


def test_a_report_is_written_beside_the_answer(loaded: Inspector, cracked: Path, tmp_path: Path) -> None:
    code, _, _ = run(cracked, "--report", tmp_path / "out")
    assert code == 0
    found = json.loads((tmp_path / "out" / "findings.json").read_text(encoding="utf-8"))
    assert found["passages"][0]["finding"]["score"] == round(loaded.look(cracked).score, 4)
    assert (tmp_path / "out" / "report.pdf").read_bytes().startswith(b"%PDF-")


def test_a_report_that_cannot_be_written_is_refused_before_loading(
    unloaded: None, cracked: Path, tmp_path: Path
) -> None:
    code, _, error = run(cracked, "--report", tmp_path / "none" / "out")
    assert code == 2 and "--report cannot be written" in error
