"""The training side: losses by hand, samples that depend on their number alone, checkpoints that survive a kill."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import TrainingArguments
from transformers.utils import logging

from assistant.calibration import Calibration
from assistant.configuration import LookTwiceVisionConfig
from assistant.errors import RecordError
from assistant.knowledge import KINDS, UNKNOWN
from assistant.picture import picture_facts
from assistant.processing import normalise
from assistant.profiles import read_profile
from data.schema import Record
from finetune.calibrate import agreement, pixel_cut, platt
from finetune.chat import PRODUCTS, ChatTrainer, ConversationDataset, collate, facts_of, prepare, supervised
from finetune.checkpoint import MARKER, MarkComplete, last_complete
from finetune.dataset import LookDataset, Mix, cut_window, shrink_mask
from finetune.features import choose, feature_files, make_features, read_batch
from finetune.gain_cases import PlainSight
from finetune.kinds import facts_of as facts_of_kinds
from finetune.kinds import fit_kinds
from finetune.leave_out import GROUPS, judge, table_of
from finetune.look import cached, fit
from finetune.looks import KnownLook, make_looks, read_looks
from finetune.losses import dice_loss, focal_loss
from finetune.records import TEXTILE, training_records, two_sided
from finetune.stage import BatchDataset, mix_styles
from tests.tiny import tiny_model

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


@pytest.fixture(scope="module")
def features(tmp_path_factory) -> list[Path]:
    """Cached batches of drawn samples, some of them with references, at the precision of an inspector's look."""
    model, _ = tiny_model()
    dataset = LookDataset([], model.config.vision_config, 24, batch=4, seed=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("finetune.features.native_bfloat16", lambda: False)
        return make_features(model.look_model, dataset, tmp_path_factory.mktemp("features"))


def test_cached_features_are_what_the_model_sees(features):
    model, _ = tiny_model()
    model.config.mirrors = 1  # pictures are kept without their mirror images
    dataset = LookDataset([], model.config.vision_config, 24, batch=4, seed=0)
    batch = read_batch(features[1], pixels=True)
    samples = [dataset.sample(index) for index in range(4, 8)]
    assert [origin.references for origin in batch.origins] == [len(sample.references) for sample in samples]
    for row, sample in enumerate(samples):
        pixels = normalise(sample.pixels, model.config.vision_config)[None]
        memory = None
        if sample.references:
            known = [normalise(picture, model.config.vision_config) for picture in sample.references]
            memory = model.look_model.remember(torch.stack(known))
        with torch.inference_mode():
            direct = model.look(pixels, memory)
            cached = model.look_model.single(*(getattr(choose(batch, [row], []), n) for n in ("features", "residuals")))
        assert torch.allclose(direct.heatmap_logits, cached.heatmap_logits, atol=0.05)  # files hold half precision
        assert float(cached.score_logit[0]) == pytest.approx(float(direct.score_logit[0]), abs=0.05)
        assert batch.origins[row].label == sample.label and batch.pixels[row].shape[0] == sample.pixels.shape[0] // 2


def test_a_stopped_cache_goes_on_and_keeps_what_is_there(features, tmp_path):
    model, _ = tiny_model()
    dataset = LookDataset([], model.config.vision_config, 24, batch=4, seed=0)
    first = make_features(model.look_model, dataset, tmp_path)  # at this machine's own precision
    kept, lost = first[0].stat().st_mtime_ns, read_batch(first[3])
    first[3].unlink()
    assert make_features(model.look_model, dataset, tmp_path) == first
    assert first[0].stat().st_mtime_ns == kept
    again = read_batch(first[3])
    assert torch.equal(again.features.levels[0], lost.features.levels[0]) and again.origins == lost.origins


def test_styles_are_mixed_and_what_stands_out_stays():
    torch.manual_seed(0)
    level = torch.randn(4, 5, 8, 8) * torch.tensor([1.0, 2, 3, 4]).view(-1, 1, 1, 1)
    level[:, :, 2, 3] += 40
    mixed = mix_styles({"level0": level, "residual0": level[:, :3], "given": torch.zeros(4)})
    assert torch.equal(mixed["residual0"], level[:, :3]) and not torch.allclose(mixed["level0"], level)
    means, spreads = level.mean((2, 3)), level.std((2, 3))
    for found, given in ((mixed["level0"].mean((2, 3)), means), (mixed["level0"].std((2, 3)), spreads)):
        assert (found <= given.amax(0) + 1e-3).all() and (found >= given.amin(0) - 1e-3).all()
    assert (mixed["level0"].flatten(2).argmax(dim=2) == 2 * 8 + 3).all()


def test_features_of_other_pictures_are_not_taken_for_these(tmp_path):
    model, _ = tiny_model()
    model = model.look_model
    first = cached(model, [], 16, 0, tmp_path / "features")
    assert cached(model, [], 16, 0, tmp_path / "features") == first
    with pytest.raises(RecordError, match="other pictures"):
        cached(model, [], 16, 1, tmp_path / "features")


def test_forgotten_references_leave_the_own_residual(features):
    whole = next(batch for batch in map(read_batch, features) if batch.residuals.given.any())
    row = int(whole.residuals.given.argmax())
    gone = choose(whole, [row], [row])
    assert gone.residuals.given.tolist() == [0] and gone.origins[0].references == 0
    for before, after in zip(whole.residuals.maps, gone.residuals.maps, strict=True):
        assert torch.equal(after[0, 0], before[row, 0]) and not after[0, 1:].any() and before[row, 1:].any()
    assert not gone.residuals.difference.any()


def test_sets_that_are_left_out_are_not_seen(features):
    dataset = BatchDataset(features, 12, ["crack"], without=["own"])
    assert all(len(dataset[step]["labels"]) == 1 for step in range(3))  # one row stands for an empty batch
    assert len(BatchDataset(features, 12, ["crack"])[0]["labels"]) == 4


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_look_stage_learns_and_a_resumed_run_ends_bit_equal(features, tmp_path):
    def run(out: Path) -> dict[str, torch.Tensor]:
        model, _ = tiny_model()
        torch.manual_seed(0)
        fitted = fit(model.look_model, features, features[:1], out, steps=4, rate=1e-2, save_steps=2, evaluate_steps=2)
        return {name: value.clone() for name, value in fitted.state_dict().items()}

    before = tiny_model()[0].look_model.state_dict()
    after = run(tmp_path / "whole")
    assert not any(name.startswith("tower") for name in after)
    for part in ("selector.", "heatmap.", "kinds.", "fusion."):
        assert any(name.startswith(part) and not torch.equal(before[name], value) for name, value in after.items())
    for torn in (tmp_path / "whole" / "checkpoint-4").glob(MARKER):
        torn.unlink()  # as a kill inside the last save leaves it
    again = run(tmp_path / "whole")
    assert all(torch.equal(after[name], again[name]) for name in after)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_language_stage_trains_its_parts_only_and_resumes(features, tmp_path):
    model, processor = tiny_model()
    make_looks(model.look_model, Calibration(), features, tmp_path / "looks")
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
    sample = collate([trainer.train_dataset[0], trainer.train_dataset[1]])
    with torch.no_grad():  # the loss at the supervised tokens alone is the library's own loss
        mine = trainer.compute_loss(model, dict(sample))
        assert torch.allclose(mine, model(**sample).loss, atol=1e-5)
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


def test_half_of_the_conversations_are_about_normals(features, tmp_path):
    model, processor = tiny_model()
    make_looks(model.look_model, Calibration(), features, tmp_path / "looks")
    tokens, known = read_looks(tmp_path / "looks")
    dataset = ConversationDataset(
        tokens, [replace(look, label=int(n < 4)) for n, look in enumerate(known)], processor, 99, 0
    )
    anomalous = tokens["visual"][:4].float()  # 4 of 24
    share = np.mean([any(torch.equal(dataset[n]["visual"], look) for look in anomalous) for n in range(60)])
    assert 0.3 < share < 0.7


def test_a_verdict_is_told_where_it_is_right_and_not_asked_for():
    _, processor = tiny_model()
    picture = picture_facts(np.full((64, 64, 3), 120, np.uint8))
    right = KnownLook(0.9, (), (), picture, 0, 1, "scratch", "set")
    sizes = processor.counts()
    tokens = {name: torch.zeros(count, 4) for name, count in sizes.items()}

    def prompt(look: KnownLook, question: str) -> str:
        ids = supervised(processor, look, [("Is it bad?", "Yes."), (question, "Somewhere.")], tokens)["input_ids"]
        return processor.tokenizer.decode(ids).replace(" ", "")  # a tiny tokenizer knows letters only

    assert "Verdict:anomalous." in prompt(right, "Can I ship it?")
    assert "Verdict:" not in prompt(right, "Is there anything wrong?")
    assert "Verdict:" not in prompt(replace(right, label=0), "Can I ship it?")  # the look is wrong: nothing to learn
    assert "Verdict:normal." in prompt(replace(right, score=0.2, label=0), "Can I ship it?")

    def learned(look: KnownLook, *turns: tuple[str, str]) -> str:
        sample = supervised(processor, look, turns, tokens)
        words = processor.tokenizer.decode(sample["input_ids"][sample["labels"] != -100])
        return words.replace(" ", "").replace("\n", "").replace("<|im_end|>", ".")

    asked, where = ("Is there anything wrong?", "Yes"), ("Where?", "Here")
    assert learned(right, asked) == "Yes."
    assert learned(right, asked, where) == "Here."  # with the verdict told, "Yes" would be learned from it
    assert learned(replace(right, label=0), asked, where) == "Yes.Here."
    assert learned(right, where, asked) == "Here.Yes."  # not told, for the last question asks for it


def test_many_conversations_are_about_the_verdict_alone(features, tmp_path):
    model, processor = tiny_model()
    make_looks(model.look_model, Calibration(), features, tmp_path / "looks")
    tokens, known = read_looks(tmp_path / "looks")
    dataset = ConversationDataset(tokens, known, processor, 99, 0)
    start = processor.tokenizer.convert_tokens_to_ids("<|im_start|>")
    alone = np.mean([int((dataset[n]["input_ids"] == start).sum()) == 3 for n in range(60)])  # system, user, assistant
    assert 0.25 < alone < 0.6


def test_a_kind_that_the_look_does_not_hold_for_possible_is_not_taught():
    picture = picture_facts(np.full((64, 64, 3), 120, np.uint8))
    look = KnownLook(0.9, (), (("crack", 0.7), ("hole", 0.2)), picture, 0, 1, "scratch", "set")
    assert facts_of(look).kind is UNKNOWN
    assert facts_of(replace(look, defect="blowhole")).kind is KINDS["hole"]
    assert facts_of(replace(look, label=0, defect="good")).kind is UNKNOWN
    unlikely = replace(look, kinds=(("crack", 0.4), ("scratch", 0.3)))  # of which the prompt tells nothing
    assert facts_of(unlikely).kind is UNKNOWN


def test_a_profile_with_named_sets_learns_from_no_other(tmp_path):
    rows = [
        {"image": f"{name}.png", "dataset": name, "category": "c", "label": 0, "defect": "good", "fold": "train"}
        for name in ("piped_paper", "secret")
    ]
    for row in rows:
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / row["image"])
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    everything = read_profile("embedded")
    named = replace(everything, training_sets=("piped_paper",))
    assert {record.dataset for record in training_records(tmp_path, everything)} == {"piped_paper", "secret"}
    assert {record.dataset for record in training_records(tmp_path, named)} == {"piped_paper"}


def test_kinds_are_fitted_on_the_finished_map_alone(features):
    model, _ = tiny_model()
    before = {name: value.clone() for name, value in model.look_model.state_dict().items()}
    facts, kinds, sources = facts_of_kinds(model.look_model, features)
    assert len(facts) == len(kinds) == len(sources) and set(kinds.tolist()) <= {0, 1, 2}
    fit_kinds(model.look_model, features)
    after = model.look_model.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"kinds"}
    with torch.no_grad():
        named = model.look_model.kinds.name(facts).argmax(dim=1)
    assert (named == kinds).float().mean() > 0.8  # it can at least learn what it was shown


def test_features_without_a_known_kind_are_refused(features, tmp_path):
    model, _ = tiny_model()
    model.config.heatmap_config.kinds = ["none of them"]
    with pytest.raises(RecordError, match="known kind"):
        fit_kinds(model.look_model, features)


def test_a_folder_without_features_is_one_sentence(tmp_path, features):
    with pytest.raises(RecordError, match="no cached features"):
        feature_files(tmp_path)
    assert feature_files(features[0].parent) == features and feature_files(features[0].parent, 2) == features[:2]


def test_every_set_is_left_out_once():
    left = [name for group in GROUPS for name in group]
    assert len(left) == len(set(left)) and set(left) == {*PRODUCTS, TEXTILE}
    assert not any(name.startswith("mvtec") for name in left)


def test_judging_looks_at_pictures_and_ranks_them_by_set(tmp_path):
    model, _ = tiny_model()
    records = []
    for name, label in (("a", 0), ("a", 1), ("b", 1)):
        file = tmp_path / f"{name}{label}.png"
        Image.fromarray(np.random.default_rng(label).integers(0, 255, (96, 128, 3), dtype=np.uint8)).save(file)
        records.append(Record(file, label, name, "c"))
    rows = judge(model.look_model, records)
    with torch.inference_mode():
        seen = model.look(PlainSight(model.config.vision_config).pixels(records[1].read_image()))
    assert rows[1]["fused"] == pytest.approx(float(seen.score_logit), abs=1e-5)  # as in use
    assert judge(model.look_model, records[:1], True)[0]["fused"] != rows[0]["fused"]
    assert [(row["dataset"], row["label"]) for row in rows] == [("a", 0), ("a", 1), ("b", 1)]
    table = table_of(rows)
    assert table["a"]["fused"] in (0.0, 1.0) and table["b"]["fused"] is None and table["a"]["pixel"] is None


def test_a_profile_may_learn_from_the_packaged_weave(tmp_path):
    if importlib.util.find_spec("conformal_clip_data") is None:
        pytest.skip("the package of requirements-open.txt is not installed")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    row = {"image": "a.png", "dataset": "secret", "category": "c", "label": 0, "defect": "good", "fold": "train"}
    (tmp_path / "manifest.jsonl").write_text(json.dumps(row) + "\n")
    records = training_records(tmp_path, replace(read_profile("embedded"), training_sets=("textile",)))
    assert {record.dataset for record in records} == {"textile"}
    assert {record.defect for record in records} == {"good", "local"}  # nothing to see in a global one


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


def test_score_and_words_are_held_against_the_truth(tmp_path):
    records = [Record(tmp_path / f"{n}.png", label, "set", "c") for n, label in enumerate((1, 0, 0, 1))]
    calibration = Calibration(word_scale=1.0, word_bias=0.0, look_scale=1.0)
    # the words outvote the score on the third, where the score is right, and on the fourth, where it is wrong
    found = agreement(calibration, [2.0, -2.0, 3.0, 3.0], [1.0, -1.0, -1.0, -1.0], records)
    assert found["balanced accuracy of the score"] == pytest.approx((0.5 + 1.0) / 2)
    assert found["balanced accuracy of the words"] == found["balanced accuracy of both"] == pytest.approx((1 + 0.5) / 2)
    assert found["share where the words outvote the score"] == 0.5
    assert found["share of those where the score is right"] == 0.5
