"""`make train-embedded` names commands that exist, and no stage starts before what it is made from."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest
import typer

from assistant.profiles import read_profile
from assistant.weights import LOOK_FILE
from finetune.leave_out import main as leave_out
from finetune.look import train
from tests.squares import write_squares

ROOT = Path(__file__).parents[1]
MODULE = re.compile(r"-m (\S+)(.*)")
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def commands(target: str) -> list[tuple[str, list[str]]]:
    """(module, arguments) of what `make target` would run where nothing is done yet."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", "-n", "E=runs/nothing-here", target], cwd=ROOT, capture_output=True, text=True, env=env
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.replace("\\\n", " ").splitlines()
    return [
        (found[1], shlex.split(found[2]))
        for found in map(MODULE.search, lines)
        if found and found[1] not in ("venv", "pip")
    ]


@needs_make
@pytest.mark.parametrize("target", ["train-embedded", "train-open", "leave-out", "eval-val"])
def test_the_commands_of_a_target_take_their_options(target):
    found = commands(target)
    assert found
    for name, words in found:
        module = importlib.import_module(name)
        started = getattr(
            module, re.search(r"^    (?:command\.)?run\((\w+)\)", Path(module.__file__).read_text(), re.MULTILINE)[1]
        )
        app = started if isinstance(started, typer.Typer) else typer.Typer()
        if app is not started:
            app.command()(started)
        command = typer.main.get_command(app)
        if isinstance(command, click.Group):
            command, words = command.commands[words[0]], words[1:]
        command.make_context(name, list(words))  # raises where an option or an argument is not known


def named(target: str) -> list[str]:
    """Modules that a target runs, those of looks with their run folder."""
    names = []
    for module, words in commands(target):
        if module == "finetune.look":
            module = f"{Path(words[words.index('--out') + 1]).name}{' seen' if '--features-only' in words else ''}"
        names.append(module)
    return names


@needs_make
def test_no_stage_starts_before_what_it_is_made_from():
    assert named("runs/nothing-here/look1.done") == ["look1"]
    assert named("runs/nothing-here/look2.seen") == ["look2 seen"]  # ahead, while the first trains
    assert named("runs/nothing-here/left-out.done") == ["look seen", "finetune.leave_out"]
    looks = named("runs/nothing-here/look4.done")
    assert [name for name in looks if "seen" not in name] == ["look1", "look2", "look", "look4"]
    assert all(looks.index(f"{name} seen") < looks.index(name) for name in ("look2", "look", "look4"))
    whole = named("train-embedded")
    order = [
        "finetune.average", "finetune.kinds", "finetune.image_score", "finetune.fusion", "finetune.registered",
        "finetune.misplaced", "finetune.calibrate", "finetune.new_kinds", "finetune.clips", "finetune.chat",
        "finetune.calibrate", "finetune.calibrate",
    ]  # fmt: skip
    assert [name for name in whole if name in order] == order
    assert whole.index("finetune.leave_out") < whole.index("finetune.image_score")
    assert whole.index("data.build") < whole.index("finetune.clips")
    parts = [words[0] for module, words in commands("train-embedded") if module == "finetune.calibrate"]
    assert parts == ["look", "references", "words"]


def test_features_are_made_ahead_and_weights_without_a_verdict_on_them(tmp_path, monkeypatch, capsys):
    shapes = write_squares(tmp_path, 12, "ksdd")
    weights = read_profile("embedded").weights / LOOK_FILE
    before = weights.read_bytes()
    monkeypatch.setattr("finetune.look.HELD_BATCHES", 1)
    train(shapes, tmp_path / "run", samples=16, steps=1, features_only=True)
    files = list((tmp_path / "run" / "features").glob("*.safetensors"))
    assert len(files) == 1 and "features" in capsys.readouterr().out
    assert not list((tmp_path / "run").glob("checkpoint-*")) and weights.read_bytes() == before
    leave_out(shapes, tmp_path / "run" / "features", tmp_path / "left", steps=1, weights_only=True)
    assert [file.name for file in (tmp_path / "left").glob("*.safetensors")] == ["base-0.safetensors"]
    assert not list((tmp_path / "left").glob("*.json"))
