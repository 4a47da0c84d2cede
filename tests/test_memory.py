"""References as a user's object: any order, bounded, kept in a file, and honest about what does not fit together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from assistant import memory as memory_module
from assistant.calibration import Calibration
from assistant.errors import MediaError, MemoryFileError, RateError
from assistant.inspector import Inspector
from assistant.memory import NEW_TO_ME, _odd, _strangers, distance_to
from assistant.memory_file import FORMAT, KIND
from assistant.mirrors import VARIANTS
from assistant.prompts import says_yes, words_match_map
from assistant.reference import residuals
from assistant.types import MAX_REFERENCES, Region
from assistant.verdict import FEW
from tests.tiny import one_product, tiny_inspector

SPOT = Region((0, 0, 9, 9), "top left", 0.02, 0.9, 0.7, "darker", "compact")


def picture(seed: int, height: int = 96, width: int = 96) -> np.ndarray:
    """Stripes with noise, [H, W, 3] uint8; seeds change the noise only."""
    rng = np.random.default_rng(seed)
    stripes = 90 + 80 * (np.arange(width) // 8 % 2)[None, :, None] + np.zeros((height, 1, 3))
    return np.clip(stripes + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def tiny() -> Inspector:
    return tiny_inspector(word_bias=0.2, look_scale=0.7)


def same(one, other) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.levels, other.levels, strict=True))


def test_the_order_of_references_changes_nothing(tiny):
    pictures = [picture(0), picture(1), picture(2, 64, 128), picture(3)]
    forward, backward = tiny.remember(pictures), tiny.remember(pictures[::-1])
    assert same(forward, backward) and forward.normals == backward.normals
    assert torch.equal(forward.descriptors, backward.descriptors)
    looks = [tiny.look(picture(9), held) for held in (forward, backward)]
    assert looks[0].score == looks[1].score and looks[0].threshold == looks[1].threshold
    assert np.array_equal(looks[0].heatmap, looks[1].heatmap)
    assert forward.levels[0].shape[-2] == forward.levels[0].shape[-1]  # seen at the size that most of them have


def test_each_reference_is_judged_by_the_others(tiny):
    pictures = [picture(seed) for seed in range(3)]
    held = tiny.remember(pictures)
    assert held.count == 3 and len(held.normals) == 3 and held.descriptors.shape == (3, 320)
    assert tiny.remember(pictures[:1]).normals == ()
    alone = tiny.look(pictures[0], tiny.remember(pictures[1:]))
    logits = [tiny.calibration.score(value) for value in held.normals]
    assert min(abs(score - alone.score) for score in logits) < 1e-4


def test_a_picture_given_twice_is_said_and_not_held_against_itself(tiny):
    held = tiny.remember([picture(0), picture(1), picture(0)])
    assert held.notes == ("Reference 3 is the same picture as reference 1.",)
    assert len(held.normals) == 2 and held.count == 2
    assert held.notes[0] in tiny.look(picture(5), held).warnings


def test_too_many_or_none_are_refused(tiny):
    with pytest.raises(MediaError, match="No reference"):
        tiny.remember([])
    with pytest.raises(MediaError, match=f"{MAX_REFERENCES} are allowed"):
        tiny.remember([picture(0)] * (MAX_REFERENCES + 1))


def test_a_memory_is_bounded_and_still_judges_what_it_left_out(tiny, monkeypatch):
    monkeypatch.setattr(memory_module, "MAX_ROWS", 4 * VARIANTS)
    pictures = [picture(seed) for seed in range(7)]
    held = tiny.remember(pictures)
    assert len(held.levels[0]) <= 4 * VARIANTS and held.count == 7 and len(held.normals) + len(held.notes) >= 7
    assert same(held, tiny.remember(pictures[::-1]))


def test_what_is_usual_is_how_far_each_reference_is_from_the_others(tiny):
    pictures = [picture(0), picture(1), picture(2)]
    memory = tiny.remember(pictures)
    tops = []
    for index, one in enumerate(pictures):
        others = tiny.remember([other for number, other in enumerate(pictures) if number != index])
        features = tiny.model.look_model.see(tiny.processor.pixels(one))
        mirrors = len(features.tokens)
        tops.append(float(residuals(features.levels[1:], [others] * mirrors, mirrors).top.mean()))
    assert memory.usual == pytest.approx(np.mean(tops), abs=1e-4) and memory.usual > 0
    assert tiny.remember(pictures[:1]).usual is None and memory.known == 0


def test_how_far_a_product_is_known_comes_from_what_the_model_knows():
    model = tiny_inspector()
    pictures = [picture(0), picture(1)]
    centres = model.remember(pictures).descriptors
    model.familiar = one_product(centres, 0.5, 0.3, near=0.1, far=0.3)
    assert model.remember(pictures).known == 1


def test_a_kept_memory_gives_the_same_look(tiny, tmp_path):
    held = replace(tiny.remember([picture(0), picture(1)]), notes=("A note.",), known=0.25)
    tiny.save_references(held, tmp_path / "good.safetensors")
    assert [file.name for file in tmp_path.iterdir()] == ["good.safetensors"]
    read = tiny.load_references(tmp_path / "good.safetensors")
    assert same(held, read) and (held.count, held.normals, held.notes) == (read.count, read.normals, read.notes)
    assert (held.usual, held.known, held.peaks) == (read.usual, read.known, read.peaks) and held.usual > 0
    assert len(held.peaks) == 2
    one, other = tiny.look(picture(4), held), tiny.look(picture(4), read)
    assert (one.score, one.threshold, one.warnings) == (other.score, other.threshold, other.warnings)


def test_files_that_are_no_memory_of_this_model_are_one_sentence(tiny, tmp_path):
    file = tmp_path / "good.safetensors"
    tiny.save_references(tiny.remember([picture(0), picture(1)]), file)
    whole = file.read_bytes()
    broken = {
        "no memory": lambda: file.unlink(),
        "is damaged": lambda: file.write_bytes(whole[: len(whole) // 2]),
        "is damaged, or": lambda: file.write_text("hello"),
        "is no memory of references": lambda: save_file({"level0": torch.zeros(1)}, file),
        "other weights": lambda: save_file(load_file(file), file, {"format": FORMAT}),
        "another model": lambda: save_file(
            load_file(file), file, {"format": f"{KIND}2", "fingerprint": tiny.fingerprint}
        ),
        "does not hold": lambda: save_file(
            {"level0": torch.zeros(1, 4, 2, 2)}, file,
            {"format": FORMAT, "fingerprint": tiny.fingerprint},
        ),
    }  # fmt: skip
    for sentence, breaking in broken.items():
        file.write_bytes(whole)
        breaking()
        with pytest.raises(MemoryFileError, match=sentence) as caught:
            tiny.load_references(file)
        assert "\n" not in str(caught.value)
    file.write_bytes(whole)
    tensors = load_file(file) | {"level1": torch.full((2, 112, 8, 8), float("nan"))}
    with pytest.raises(MemoryFileError, match="does not hold"):
        save_file(tensors, file, metadata_of(whole, tmp_path))
        tiny.load_references(file)
    with pytest.raises(MemoryFileError, match="could not be written"):
        tiny.save_references(tiny.remember([picture(0)]), tmp_path / "none" / "good.safetensors")


def metadata_of(data: bytes, folder: Path) -> dict[str, str]:
    from safetensors import safe_open

    file = folder / "again"
    file.write_bytes(data)
    with safe_open(file, framework="pt") as opened:
        return opened.metadata()


def test_other_weights_have_another_fingerprint(tiny):
    other = tiny_inspector()
    assert other.fingerprint == tiny.fingerprint
    del other.fingerprint
    other.model.look_model.fusion.bias.data += 0.1
    assert other.fingerprint != tiny.fingerprint


def test_references_of_another_product_are_noticed_and_nothing_is_decided(tiny):
    careful = tiny_inspector(match_cut=0.01)
    pictures = [picture(0), picture(1)]
    held = careful.remember(pictures)
    other = np.random.default_rng(0).integers(0, 255, (96, 96, 3)).astype(np.uint8)
    look = careful.look(other, held)
    assert "do not match" in look.doubt and look.doubt in look.warnings
    finding = careful.finding(look, "Yes.")
    assert finding.verdict == "unsure" and look.doubt in finding.warnings and finding.references == 2
    assert not careful.look(picture(7), held).doubt
    assert not tiny.look(other, tiny.remember(pictures)).doubt  # no cut has been measured there


def test_a_picture_unlike_anything_known_is_left_undecided(tiny):
    model = tiny_inspector()
    known = model.remember([picture(0), picture(1)])
    model.familiar = one_product(known.descriptors, 0.01, 0.1, near=0.0, far=0.1)
    strange = np.random.default_rng(0).integers(0, 255, (96, 96, 3)).astype(np.uint8)
    assert "unlike anything" in model.look(strange).doubt
    look = model.look(strange)
    finding = model.answer(look)
    assert finding.verdict == "unsure" and 0.5 <= finding.confidence <= 0.55
    assert (finding.verdict_probability - 0.5) * (model.yes_probability(look) - 0.5) > 0  # the side is kept
    for score, regions, named in ((0.9, (SPOT,), True), (0.9, (), False), (0.1, (SPOT,), False), (0.1, (), False)):
        said = "".join(model.ask(replace(look, score=score, regions=regions), "Is anything wrong?"))
        assert says_yes(said) is (score > 0.5) and "I cannot be sure" in said
        assert ("in the top left, 2.0 % of the picture" in said) is named and words_match_map(
            said, regions
        ) is not False
    assert "I cannot be sure" in finding.explanation
    assert "".join(model.ask(look, "How sure are you?")) == f"Not sure either way. {look.doubt}"
    assert "the score is" in "".join(model.ask(replace(look, doubt=""), "How sure are you?"))
    assert "I cannot be sure" not in "".join(model.ask(look, "Who made it?"))
    assert not model.look(picture(3)).doubt
    assert not model.look(strange, [strange]).doubt  # with references they are what decides


def test_where_the_verdict_is_unsure_the_words_are_too():
    torn = tiny_inspector(unsure=0.49)  # no probability is far enough from one half
    look = replace(torn.look(picture(0)), regions=(SPOT,), kinds=(("crack", 0.7), ("hole", 0.2)))
    for score, beginning in ((0.9, "Yes, perhaps: what stands out most is in the top left"), (0.1, "No, as far as")):
        said = "".join(torn.ask(replace(look, score=score), "Is anything wrong?"))
        assert said.startswith(beginning) and said.endswith("I cannot be sure: a person should look at it.")
        assert (", crack if anything." in said) is (score > 0.5)
    assert ", crack" not in "".join(torn.ask(replace(look, score=0.9, kinds=(("crack", 0.4),)), "Is anything wrong?"))
    assert "cannot be sure" not in "".join(torn.ask(look, "Who made it?"))
    for question in ("Where should I look?", "Where is the defect?", "Show me where it is."):
        said = "".join(torn.ask(look, question))
        assert (
            said
            == "What stands out most is in the top left, 2.0 % of the picture. The verdict is unsure: it may be usual."
        )
        assert "no place to point to" in "".join(torn.ask(replace(look, regions=()), question))
    sure = tiny_inspector(unsure=0.0, look_scale=9.0)
    assert "cannot be sure" not in "".join(sure.ask(replace(look, score=0.9), "Is anything wrong?"))
    assert "unsure" not in "".join(sure.ask(replace(look, score=0.9), "Where is it?"))  # the language model's


def test_a_picture_as_far_from_all_known_ones_as_a_new_product_is_judged_and_that_is_said():
    model = tiny_inspector()
    known = model.remember([picture(0), picture(1)])
    model.familiar = one_product(known.descriptors, 2.0, 0.01, near=0.0, far=0.01)
    strange = np.random.default_rng(0).integers(0, 255, (96, 96, 3)).astype(np.uint8)
    look = model.look(strange)
    assert not look.doubt and NEW_TO_ME in model.finding(look, "No.").warnings
    assert NEW_TO_ME not in model.finding(model.look(picture(0)), "No.").warnings
    assert NEW_TO_ME not in model.finding(model.look(strange, [strange]), "No.").warnings  # they are what it knows


def test_the_reference_that_shows_something_else_is_found():
    rows = F.normalize(torch.tensor([[1.0, 0.05], [1.0, 0.0], [0.0, 1.0], [1.0, 0.1]]), dim=1)
    assert _strangers(rows, 0.5) == [2]
    assert _strangers(rows, 0.0) == [] and _strangers(rows[:1], 0.5) == []
    assert _strangers(rows[1:3], 0.5) == [0, 1]  # of two nobody knows which


def test_the_anomalous_reference_is_named_and_no_normal_one():
    calibration = Calibration(held_mean=-2.0, held_between=0.8, held_within=0.5)
    assert _odd({0: -1.0, 1: -1.2, 2: 3.0, 3: -0.9, 4: -1.1}, calibration) == [2]
    assert _odd({0: 4.0, 1: -1.2}, calibration) == [0]
    assert _odd({0: -1.0, 1: -1.2, 2: -0.7, 3: -0.9}, calibration) == []
    assert _odd({}, calibration) == _odd({0: 5.0}, calibration) == []


def test_notes_name_references_as_they_were_given(tiny, monkeypatch):
    monkeypatch.setattr(memory_module, "_odd", lambda logits, calibration: [0])
    pictures = [picture(seed) for seed in range(3)]
    names = set()
    for turned in (pictures, pictures[1:] + pictures[:1]):
        (note,) = tiny.remember(turned).notes
        number = int(note.split()[1])
        names.add(turned[number - 1].tobytes())
    assert len(names) == 1  # the same picture, whatever its place


def test_distance_is_to_the_nearest_reference(tiny):
    held = tiny.remember([picture(0), picture(1)])
    assert distance_to(held, held.descriptors[1:2]) == pytest.approx(0, abs=1e-5)
    assert distance_to(replace(held, descriptors=torch.zeros(0, 0)), held.descriptors[:1]) == 0


def test_a_rate_sets_the_threshold_and_says_where_it_comes_from(tiny):
    balanced = tiny.look(picture(0))
    assert (balanced.threshold, balanced.threshold_source) == (0.5, "uncalibrated")
    held = tiny.remember([picture(seed) for seed in range(4)])
    default, strict = tiny.look(picture(0), held), tiny.look(picture(0), held, rate=0.01)
    assert default.threshold == tiny.look(picture(0), held, rate=0.05).threshold < strict.threshold
    assert "5 % false alarms, from 4 normal references" in default.threshold_source
    assert "1 % false alarms" in strict.threshold_source
    assert default.score == strict.score  # a rate moves the threshold and nothing else
    alone = tiny.look(picture(0), rate=0.2)
    assert "20 % false alarms on normal pictures of other products" in alone.threshold_source
    with pytest.raises(RateError):
        tiny.look(picture(0), rate=2)


def test_the_prompt_speaks_of_the_score_relative_to_its_threshold(tiny):
    look = tiny.look(picture(0))
    for threshold, words in ((look.score / 50, "highly"), (1 - (1 - look.score) / 50, "slightly")):
        ids, _ = tiny.prompt(replace(look, threshold=threshold), "Is it bad?", ())
        said = tiny.processor.tokenizer.decode(ids[0]).replace(" ", "")  # a token a letter
        assert f"Firstlook:{words}suspicious." in said


def test_inspect_takes_references_and_a_rate(tiny):
    finding = tiny.inspect(picture(8), references=[picture(0), picture(1)], rate=0.1)
    assert finding.references == 2 and "10 % false alarms" in finding.threshold_source
    assert finding.to_dict()["references"] == 2


def test_a_high_score_under_the_threshold_of_few_references_is_said():
    model = tiny_inspector()
    look = replace(model.look(picture(0), [picture(1)]), score=0.93, threshold=0.99, known=0.0)
    told = [one for one in model.finding(look, "No.").warnings if "vary much" in one]
    assert len(told) == 1 and "0.93" in told[0] and "0.99" in told[0]
    for other in ({"score": 0.2}, {"score": 0.995}, {"known": 1.0}, {"references": FEW}, {"references": 0}):
        warnings = model.finding(replace(look, **other), "No.").warnings
        assert not any("vary much" in one for one in warnings), other
