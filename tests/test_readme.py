"""The README is true: its commands exist, its file tree is the tree, its Python runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [body for name, body in BLOCKS if name == language]


def shell_lines() -> list[str]:
    joined = "\n".join(blocks("sh")).replace("\\\n", " ")
    commands = [command for line in joined.splitlines() for command in line.split("#")[0].split("&&")]
    return [command.strip() for command in commands if command.strip()]


def test_every_block_says_its_language():
    assert {name for name, _ in BLOCKS} <= {"sh", "python", "json", "text"}
    assert TEXT.count("```") == 2 * len(BLOCKS)


def test_the_file_tree_is_the_tree():
    (tree,) = [body for body in blocks("text") if "app.py" in body]
    named = {line.split()[0].rstrip("/") for line in tree.splitlines() if line.strip()}
    for name in named:
        assert (ROOT / name).exists(), name
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout: what belongs to the project is not known")
    wanted = {file for file in tracked if file.endswith(".py") and file.split("/")[0] != "tests"}
    wanted = {file for file in wanted if not file.endswith("__init__.py")}
    assert wanted <= named, wanted - named


@pytest.mark.parametrize("line", [line for line in shell_lines() if line.startswith("make ")])
def test_make_targets_exist(line):
    target = next(word for word in line.split()[1:] if "=" not in word)
    assert re.search(rf"^{re.escape(target)}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    "module", sorted({m for line in shell_lines() for m in re.findall(r"-m (\w+(?:\.\w+)*)", line)})
)
def test_commands_take_the_options_that_are_shown(module):
    if module in ("venv", "pip", "pytest"):
        pytest.skip("not ours")
    shown = {
        option
        for line in shell_lines()
        if f"-m {module} " in f"{line} "
        for option in re.findall(r"--[\w-]+", line.split(f"-m {module}", 1)[1])  # what starts it has options of its own
    }
    lines = [line for line in shell_lines() if f"-m {module} " in f"{line} "]
    subcommands = {
        word for line in lines for word in line.split(module, 1)[1].split()[:1]
        if module in ("data.build", "data.synth", "data.feedback") and word.isalpha()
    }  # fmt: skip
    texts = []
    for subcommand in sorted(subcommands) or [""]:
        command = [sys.executable, "-m", module, *filter(None, [subcommand]), "--help"]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, env={**__import__("os").environ, "COLUMNS": "200"}
        )
        assert done.returncode == 0, done.stderr
        texts.append(re.sub(r"\x1b\[[0-9;]*m", "", done.stdout))
    for option in shown:
        assert any(option in text for text in texts), f"{module} has no {option}"


def test_requirement_files_that_are_named_exist():
    for name in set(re.findall(r"requirements[\w-]*\.txt", TEXT)):
        assert (ROOT / name).is_file()


def test_the_python_examples_run(inspector, tmp_path, monkeypatch, capsys, cracked):
    for name in ("part.png", "good1.png"):
        Image.open(cracked).save(tmp_path / name)
    Image.open(cracked).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "good2.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("assistant.load", lambda profile: inspector)
    assert blocks("python")
    for code in blocks("python"):
        exec(compile(code, "README.md", "exec"), {})  # noqa: S102  our own file
        assert capsys.readouterr().out.strip()


def test_the_json_that_is_shown_has_the_keys_of_a_finding(inspector):
    (shown,) = blocks("json")
    real = inspector.inspect(np.full((64, 64, 3), 120, np.uint8)).to_dict()
    example = json.loads(shown)
    assert set(example) == set(real)
    assert set(example["timings"]) == set(real["timings"])
    assert set(example["regions"][0]) == {"box", "place", "area", "peak", "mean", "tone", "shape"}


def test_links_and_pictures_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / target).exists(), target


def test_no_machine_or_registry_is_named():
    for file in ("README.md", "LOG.md", "weights/embedded/README.md"):
        text = (ROOT / file).read_text(encoding="utf-8")
        assert not re.search(r"/home/|/root/|/tmp/|site-packages", text), file
