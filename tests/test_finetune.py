"""The training side: losses by hand, samples that depend on their number alone, checkpoints that survive a kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Trainer, TrainingArguments
from transformers.utils import logging

from assistant.calibration import Calibration
from assistant.configuration import LookTwiceVisionConfig
from data.schema import Record
from finetune.calibrate import pixel_cut, platt, two_sided
from finetune.chat import ChatTrainer, ConversationDataset, collate, prepare
from finetune.checkpoint import MARKER, MarkComplete, last_complete
from finetune.dataset import LookDataset, Mix, cut_window, shrink_mask
from finetune.look import LookStage
from finetune.looks import make_looks, read_looks
from finetune.losses import dice_loss, focal_loss
from tests.tiny import tiny_config, tiny_model

logging.disable_progress_bar()
SMALL = LookTwiceVisionConfig(image_side=128)


def test_focal_loss_against_hand_values():
    logits, ones = torch.zeros(1, 1, 1, 2), torch.ones(1, 1, 1, 2)
    target = torch.tensor([[[[1.0, 0.0]]]])
    # p = 0.5 on both: alpha 0.75 and 0.25, (1 - 0.5)^2 = 0.25, -log 0.5 = 0.6931; mean of the two
    assert focal_loss(logits, target, ones).item() == pytest.approx((0.75 + 0.25) / 2 * 0.25 * 0.6931, rel=1e-3)
    assert focal_loss(logits, target, torch.zeros_like(ones)).item() == 0


def test_dice_loss_is_small_for_a_match_and_zero_without_a_target():
    target = torch.zeros(2, 1, 4, 4)
    target[0, 0, :2] = 1
    sure = (target * 2 - 1) * 20
    assert dice_loss(sure, target, torch.ones_like(target)).tolist() == pytest.approx([0, 0], abs=1e-4)
    assert dice_loss(-sure, target, torch.ones_like(target))[0].item() > 0.9


def test_a_sample_is_a_function_of_its_number():
    dataset = LookDataset([], SMALL, 64, batch=8, seed=3)
    for index in (0, 9, 40):
        first, second = dataset.sample(index), dataset.sample(index)
        assert np.array_equal(first.pixels, second.pixels) and np.array_equal(first.mask, second.mask)
    assert not np.array_equal(dataset.sample(0).pixels, LookDataset([], SMALL, 64, batch=8, seed=4).sample(0).pixels)


def test_samples_of_a_batch_share_a_size_and_masks_fit_labels():
    dataset = LookDataset([], SMALL, 64, batch=8, seed=0)
    for index in range(64):
        sample = dataset.sample(index)
        assert sample.pixels.shape[:2] == dataset.size(index)[::-1] == sample.mask.shape == sample.weight.shape
        assert sample.mask.any() == bool(sample.label)


def test_shares_of_the_mix_are_kept():
    dataset = LookDataset([], SMALL, 400, batch=8, seed=0, mix=Mix(real=0.0, drawn=0.25, clean=0.75))
    share = np.mean([dataset.sample(index).label for index in range(160)])
    assert 0.14 < share < 0.36


def test_sets_weigh_the_same_whatever_their_size(tmp_path):
    from finetune.dataset import by_set, pick

    big = [Record(tmp_path / f"b{i}.png", 1, "big", "c") for i in range(90)]
    small = [Record(tmp_path / "s.png", 1, "small", "c")]
    rng = np.random.default_rng(0)
    groups = by_set(big + small, 1)
    share = np.mean([pick(groups, rng).dataset == "small" for _ in range(600)])
    assert 0.42 < share < 0.58


@pytest.mark.parametrize("size", [(128, 128), (96, 160), (192, 96)])
def test_a_cut_keeps_the_aspect_and_a_defect_pixel(size):
    mask = np.zeros((300, 100), bool)
    mask[290, 95] = True
    for seed in range(10):
        rows, columns = cut_window((300, 100), size, np.random.default_rng(seed), mask)
        cut = mask[rows, columns]
        assert cut.any()
        assert 0.75 < cut.shape[1] / cut.shape[0] / (size[0] / size[1]) < 1.3


def test_thin_cracks_survive_shrinking():
    mask = np.zeros((400, 400), bool)
    mask[:, 200] = True
    assert shrink_mask(mask, (128, 128)).any(axis=1).all()


def test_torn_checkpoints_are_removed_and_the_last_complete_one_is_found(tmp_path):
    for step, complete in ((5, True), (10, True), (15, False)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if complete:
            (tmp_path / f"checkpoint-{step}" / MARKER).write_text("x")
    assert last_complete(tmp_path) == tmp_path / "checkpoint-10"
    assert not (tmp_path / "checkpoint-15").exists()
    assert last_complete(tmp_path / "nowhere") is None


def look_trainer(folder: Path, steps: int) -> Trainer:
    model, _ = tiny_model()
    torch.manual_seed(0)
    return Trainer(
        model=LookStage(model.look_model),
        args=TrainingArguments(
            output_dir=str(folder), max_steps=4, per_device_train_batch_size=2, learning_rate=1e-2, save_steps=2,
            lr_scheduler_type="constant", use_cpu=True, remove_unused_columns=False, report_to="none", seed=0,
            train_sampling_strategy="sequential", label_names=[], disable_tqdm=True, logging_strategy="no",
            dataloader_pin_memory=False,
        ),
        train_dataset=LookDataset([], tiny_config().vision_config, 8, batch=2, seed=0),
        callbacks=[MarkComplete()],
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_look_stage_learns_and_a_resumed_run_ends_bit_equal(tmp_path):
    whole = look_trainer(tmp_path / "whole", 4)
    before = {name: value.clone() for name, value in whole.model.state_dict().items()}
    whole.train()
    after = whole.model.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before if ".selector." in name)
    assert all(torch.equal(before[name], after[name]) for name in before if ".tower." in name)

    resumed = look_trainer(tmp_path / "whole", 4)
    for torn in (tmp_path / "whole" / "checkpoint-4").glob(MARKER):
        torn.unlink()  # as a kill inside the last save leaves it
    found = last_complete(tmp_path / "whole")
    assert found is not None and found.name == "checkpoint-2"
    resumed.train(resume_from_checkpoint=str(found))
    again = resumed.model.state_dict()
    assert all(torch.equal(after[name], again[name]) for name in after)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_language_stage_trains_its_parts_only_and_resumes(tmp_path):
    model, processor = tiny_model()
    looks = LookDataset([], model.config.vision_config, 24, batch=8, seed=0)
    make_looks(model.look_model, Calibration(), looks, tmp_path / "looks")
    tokens, known = read_looks(tmp_path / "looks")
    assert len(known) == 24 and tokens["visual"].shape == (24, 9, 320)
    prepare(model, rank=2)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[0] for name in trained} == {"projector", "map_tokens", "language_model"}
    assert all("lora_" in name for name in trained if name.startswith("language_model"))
    assert sum("lora_A" in name for name in trained) == 2 * 7  # every linear layer of two blocks
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer = ChatTrainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(tmp_path / "run"), max_steps=2, per_device_train_batch_size=2, learning_rate=1e-2,
            use_cpu=True, remove_unused_columns=False, report_to="none", save_steps=2, label_names=["labels"],
            train_sampling_strategy="sequential", disable_tqdm=True, logging_strategy="no", dataloader_pin_memory=False,
        ),
        train_dataset=ConversationDataset(tokens, known, processor, 4, 0),
        data_collator=collate,
        callbacks=[MarkComplete()],
    )  # fmt: skip
    trainer.train()
    after = {name: value.clone() for name, value in model.state_dict().items()}
    assert {name for name in before if not torch.equal(before[name], after[name])} <= trained
    assert not torch.equal(before["projector.layers.1.weight"], after["projector.layers.1.weight"])

    found = last_complete(tmp_path / "run")
    assert found is not None
    assert sum(file.stat().st_size for file in found.glob("*.safetensors")) < 1e6  # the frozen rest is not in it
    for part in (model.projector, model.map_tokens, model.language_model):
        for parameter in part.parameters():
            if parameter.requires_grad:
                parameter.data.zero_()
    trainer._load_from_checkpoint(str(found))
    assert all(torch.equal(after[name], value) for name, value in model.state_dict().items())


def test_platt_finds_the_balanced_point_whatever_the_counts(tmp_path):
    def record(label):
        return Record(tmp_path / "x.png", label, "set", "c")

    values = [-1.0, -1.2, 0.8] * 30 + [1.0, 3.0, 2.2]
    records = [record(0)] * 90 + [record(1)] * 3
    scale, bias = platt(values, records)
    assert scale > 0
    assert -1 < -bias / scale < 2.2
    assert two_sided([*records, Record(tmp_path / "y.png", 1, "lonely", "c")]) == list(range(93))


def test_the_pixel_cut_keeps_normals_dark():
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 40), bool)
    mask[:10, :10] = True
    normal = [("set", rng.normal(-3, 0.5, (40, 40)))]
    cut = pixel_cut(normal, [("set", np.where(mask, 1.0, -3.0), mask)])
    assert (normal[0][1] >= cut).mean() <= 0.004
    assert -3 < cut <= 1.0


def test_data_build_makes_a_set_that_the_readers_take(tmp_path):
    root = Path(__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(root)}
    for command in (
        ["drawn", str(tmp_path / "set"), "--count", "12", "--side", "96"],
        ["conversations", str(tmp_path / "talk"), "--data", str(tmp_path / "set")],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "data.build", *command], cwd=root, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    from data.readers import read_manifest

    records = list(read_manifest(tmp_path / "set"))
    assert len(records) == 12 and sum(record.label for record in records) == 6
    assert all(record.read_mask().any() for record in records if record.label)
    spoken = json.loads((tmp_path / "talk" / "conversations.json").read_text())
    assert spoken and spoken[0]["conversations"][0]["value"].startswith("<image>\n")
    assert (tmp_path / "talk" / "train.parquet").is_file() and (tmp_path / "talk" / "DATASHEET.md").is_file()
