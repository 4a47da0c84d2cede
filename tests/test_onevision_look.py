"""Stage 1 on a tiny LLaVA-OneVision: going on from the published expert, and two processes that are one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers.utils import logging

from assistant import load
from assistant.command import run
from assistant.import_expert import import_expert
from assistant.onevision_config import config_for
from assistant.onevision_loading import checkpoint_config, compose_onevision
from assistant.profiles import read_profile
from assistant.weights import LOOK_FILE
from finetune import look
from finetune.dataset import Sample
from finetune.onevision_look import ViewStage, collate
from tests.squares import write_squares
from tests.tiny_onevision import tiny_checkpoint, tiny_expert

ROOT = Path(__file__).parents[1]
logging.disable_progress_bar()
pytestmark = pytest.mark.filterwarnings("ignore:.*pin_memory.*:UserWarning")
QUICK = {
    "steps": 2, "batch": 4, "views": 1, "size": 8, "fine_size": 8, "save_steps": 9, "log_steps": 1, "workers": 0,
    "references": 0.5,
}  # fmt: skip


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    return write_squares(tmp_path_factory.mktemp("set"), 6, "d")


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("bare"))


@pytest.fixture
def checkpoint(bare, tmp_path):
    return shutil.copytree(bare, tmp_path / "checkpoint")


@pytest.fixture
def expert(checkpoint, tmp_path):
    """A checkpoint with an imported expert beside it."""
    file = tiny_expert(checkpoint, tmp_path / "pretrained_expert_05b.pth")
    import_expert(file, checkpoint_config(checkpoint), str(checkpoint), checkpoint / "looktwice")
    return checkpoint


def training(checkpoint: Path, labelled: Path, out: Path, **settings: object) -> list[str]:
    file = out.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(QUICK | settings))
    return [str(word) for word in ("--profile", checkpoint, "--data", labelled, "--out", out, "--recipe", file)]


def command(words: list[str]) -> int:
    with pytest.raises(SystemExit) as left:
        run(look.train, words)
    return left.value.code or 0


def test_a_training_goes_on_from_the_published_expert(expert, labelled, tmp_path):
    before = load_file(expert / "looktwice" / LOOK_FILE)
    assert not any(name.startswith("heatmap.") for name in before)
    assert command([*training(expert, labelled, tmp_path / "run", rate=1e-3), "--go-on"]) == 0
    after = load_file(expert / "looktwice" / LOOK_FILE)
    moved = max(float((after[name] - value).abs().max()) for name, value in before.items())
    assert 0 < moved < 2.1e-3  # two steps of AdamW, each at most its rate
    assert any(name.startswith("heatmap.") for name in after)
    inspector = load(str(expert))
    assert inspector.model.look_model.headed and 0 <= inspector.look(np.full((60, 70, 3), 99, np.uint8)).score <= 1
    # and once more: both are there now
    assert command([*training(expert, labelled, tmp_path / "again", rate=1e-3), "--go-on"]) == 0
    last = load_file(expert / "looktwice" / LOOK_FILE)
    assert max(float((last[name] - value).abs().max()) for name, value in after.items()) < 2.1e-3


def test_what_cannot_be_gone_on_from_is_one_sentence(checkpoint, expert, labelled, tmp_path, capsys):
    shutil.copytree(expert / "looktwice", tmp_path / "kept")
    shutil.rmtree(expert / "looktwice")
    assert command([*training(expert, labelled, tmp_path / "run"), "--go-on"]) == 2
    assert "no look weights in looktwice to go on from" in capsys.readouterr().err
    assert command(training(expert, labelled, tmp_path / "run", steps=1)) == 0
    assert command([*training(expert, labelled, tmp_path / "other", parts=["selector"]), "--go-on"]) == 2
    assert "have a heatmap head" in capsys.readouterr().err


@pytest.mark.parametrize("references", [0, 1])
def test_every_weight_has_a_gradient_in_every_step(bare, references):
    """A process whose pictures have no references would else wait for ever for the gradient of what compares them."""
    config = config_for(checkpoint_config(bare), heatmap_config={"size": 8, "fine_size": 8, "kinds": ["hole"]})
    loaded = compose_onevision(read_profile(str(bare)), stage="new", config=config)
    loaded.model.look_model.thaw()
    stage = ViewStage(loaded.model, loaded.processor)
    pixels = np.full((48, 48, 3), 90, np.uint8)
    blank = np.zeros((48, 48), bool), np.ones((48, 48), np.float32)
    sample = Sample(pixels, *blank, 0, "d", references=(pixels,) * references)
    stage(**collate([sample]))["loss"].backward()
    idle = {name for name, value in stage.named_parameters() if value.grad is None}
    assert idle == {f"look.heatmap.references.{name}" for name in ("score", "drawn", "bias", "lone")}  # chosen later


def test_the_tower_goes_where_the_trainer_puts_the_rest(bare):
    """It is held, not a part of what the trainer moves; "meta" stands for a GPU."""
    loaded = compose_onevision(read_profile(str(bare)), stage="new")
    ViewStage(loaded.model, loaded.processor).follow(torch.device("meta"))
    assert {str(value.device) for value in loaded.model.llava.model.vision_tower.parameters()} == {"meta"}
    assert str(loaded.model.llava.lm_head.weight.device) == "cpu"


def test_two_processes_are_one(bare, labelled, tmp_path):
    """Over gloo: each looks at half of a batch."""
    alone, both = (shutil.copytree(bare, tmp_path / name) for name in ("alone", "both"))
    assert command(training(alone, labelled, tmp_path / "one")) == 0
    words = training(both, labelled, tmp_path / "two", batch=2)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]  # what accelerate starts
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *launch, "-m", "finetune.look", *words], cwd=ROOT, capture_output=True, text=True,
        env=environment, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("wrote") == 1 and "2 updates of 4" in done.stdout
    losses = []
    for name in ("one", "two"):
        history = json.loads((tmp_path / name / "checkpoint-2" / "trainer_state.json").read_text())["log_history"]
        losses.append([row["loss"] for row in history if "loss" in row])
    assert len(losses[0]) == 2 and np.allclose(*losses, atol=1e-5)
    one, two = (load_file(folder / "looktwice" / LOOK_FILE) for folder in (alone, both))
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.allclose(value, two[name], atol=1e-5), (name, float((value - two[name]).abs().max()))
