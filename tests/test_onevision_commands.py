"""The README's section on LLaVA-OneVision, command by command, on a tiny checkpoint of the real classes."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from contextlib import nullcontext
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from gradio_client import Client, handle_file
from PIL import Image
from transformers.utils import logging

from assistant import load
from assistant.desk import Desk
from assistant.weights import LOOK_FILE
from tests.fake_hub import fake_hub
from tests.test_app import close
from tests.tiny_onevision import tiny_checkpoint, tiny_expert

ROOT = Path(__file__).parents[1]
logging.disable_progress_bar()
pytestmark = pytest.mark.filterwarnings("ignore")  # a warning made an error would end the threads of the page's server


def section() -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"^## On a GPU: LLaVA-OneVision\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    return found


def commands() -> list[str]:
    blocks = "\n".join(re.findall(r"^```sh\n(.*?)^```", section(), re.MULTILINE | re.DOTALL)).replace("\\\n", " ")
    lines = [part.split("#")[0].strip() for line in blocks.splitlines() for part in line.split("&&")]
    return [line for line in lines if line]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder as the README has it: pictures, recipes, the published file; tests run inside."""
    monkeypatch.chdir(tmp_path)
    checkpoint = tiny_checkpoint(tmp_path / "tiny", width=64)
    tiny_expert(checkpoint, tmp_path / "pretrained_expert_7b.pth")
    for number, name in enumerate(("part", "front", "left", "back")):
        pixels = np.random.default_rng(number).integers(0, 255, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    shutil.copytree(tmp_path, tmp_path / "parts", ignore=lambda folder, names: {n for n in names if ".png" not in n})
    shutil.copytree(ROOT / "finetune" / "recipes", tmp_path / "finetune" / "recipes")
    monkeypatch.setattr("finetune.recipe.RECIPES", small(tmp_path / "small"))
    monkeypatch.setattr("finetune.gain_cases.OWN_PRODUCTS", 1)
    monkeypatch.setattr("data.schema.CALIBRATE_SHARE", 0.5)  # of a dozen pictures some of both kinds
    return tmp_path


def small(folder: Path) -> Path:
    """The recipes that ship, with fewer steps and smaller heads."""
    folder.mkdir()
    for file, changes in (
        ("onevision-look.yaml", {"steps": 2, "views": 1, "batch": 2, "size": 8, "fine_size": 8, "workers": 0}),
        ("onevision-chat.yaml", {"accumulate": 2, "steps": 2, "rank": 4, "workers": 0}),
    ):
        settings = yaml.safe_load((ROOT / "finetune" / "recipes" / file).read_text())
        (folder / file).write_text(yaml.safe_dump(settings | changes))
    return folder


def execute(module: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m module words` in this process; it must end well."""
    monkeypatch.setattr(sys, "argv", [module, *words])
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=False)
    except SystemExit as left:
        assert not left.code, (module, words)


def in_place(line: str) -> list[str]:
    """The words of a line, with the tiny checkpoint in the place of the published one."""
    words = shlex.split(line.replace("weights/onevision-7b", "tiny/looktwice").replace("onevision-7b", "tiny"))
    if "drawn" in words:
        words[words.index("--count") + 1 :] = ["12", "--side", "64"]
    if find_spec("bitsandbytes") is None and "--quantization" in words:
        place = words.index("--quantization")
        del words[place : place + 2]
    return words


def test_the_section_is_at_most_a_page():
    assert len(section().splitlines()) <= 60


def test_every_command_of_the_section_runs(place, monkeypatch, capsys, short_answers):
    run = []
    for line in commands():
        words = in_place(line)
        if words[:2] == ["python", "-m"]:
            with fake_hub(monkeypatch, place / "cache") if "--push" in words else nullcontext() as hub:
                execute(words[2], words[3:], monkeypatch)
            run.append(words[2])
            if hub is not None:
                assert LOOK_FILE in hub.repositories["USER/NAME"]
        elif words[:2] == ["python", "app.py"] and "--share-gpu" in words:
            shared(words[2:])
        elif words[:2] == ["python", "app.py"]:
            run.append("app")
            chat(place, words[2:])
        elif words[:2] == ["accelerate", "launch"]:
            launched(place, words[2:])
            run.append("accelerate")
        else:
            assert words[:2] == ["pip", "install"], words
    wanted = {"accelerate", "app", "assistant", "assistant.import_expert", "assistant.export", "data.build",
              "finetune.look", "finetune.fusion", "finetune.calibrate", "finetune.chat", "eval.run",
              "eval.score"}  # fmt: skip
    assert set(run) == wanted and run.count("assistant") == 3
    assert (place / "runs/merged/looktwice" / LOOK_FILE).is_file() and (place / "runs/ov-val/metrics.json").is_file()
    assert "| chat | conversations.json |" in (place / "tiny/looktwice/README.md").read_text()
    said = capsys.readouterr().out
    assert "of view" in said and "all good" in said and "image AUROC with references" in said


def shared(words: list[str]) -> None:
    """Where there is no GPU the page says that there is nothing to share."""
    options = dict(zip(words[::2], words[1::2], strict=True))
    desk = Desk(options["--profile"], partial(load, share_gpu=float(options["--share-gpu"])))
    desk.loaded.result()
    if not torch.cuda.is_available():
        assert "no GPU here that could be shared" in desk.failure


def launched(place: Path, words: list[str]) -> None:
    """The launcher itself, on this CPU in one process; what several do together has tests of its own."""
    at = words.index("-m")
    recipe = ["--recipe", str(place / "small" / "onevision-chat.yaml")]
    here = ["--cpu", "--num_processes", "1", "--mixed_precision", "no"]
    file = ROOT / words[words.index("--config_file") + 1]
    command = ["--config_file", str(file), *here, *words[at:], *recipe]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    launcher = [sys.executable, "-m", "accelerate.commands.launch"]
    done = subprocess.run([*launcher, *command], cwd=place, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "wrote" in done.stdout


def chat(place: Path, words: list[str]) -> None:
    """The page with the profile, asked by a program; its options are those of the command."""
    import app

    options = dict(zip(words[::2], words[1::2], strict=True))
    assert set(options) <= {"--profile", "--quantization", "--device-map"}
    page = app.build(Desk(options["--profile"]))
    url = app.serve(page, "127.0.0.1", None, block=False)
    try:
        found, _ = Client(url, verbose=False).predict(handle_file(place / "part.png"), "", api_name="/inspect")
    finally:
        close(page)
    assert json.loads(json.dumps(found))["profile"] == "tiny"
