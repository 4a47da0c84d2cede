"""Scores to probabilities and verdicts, and the file they come from."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from assistant.calibration import Calibration, logit, sigmoid
from assistant.errors import WeightsError
from assistant.threshold import Normals, gaussian_cut
from assistant.types import VERDICTS, Look


def test_sigmoid_against_hand_values_and_at_the_ends():
    assert sigmoid(0) == 0.5
    assert sigmoid(math.log(3)) == pytest.approx(0.75)
    assert sigmoid(-800) == 0.0 and sigmoid(800) == 1.0


def test_scale_and_bias_are_applied():
    calibration = Calibration(score_scale=2, score_bias=-1, word_scale=0.5, word_bias=3)
    assert calibration.score(0.5) == 0.5
    assert calibration.yes_probability(-3) == 0.5
    assert calibration.yes_probability(1) == pytest.approx(sigmoid(2))


@pytest.mark.parametrize(
    ("yes", "verdict", "confidence"),
    [
        (0.9, "anomalous", 0.9),
        (0.2, "normal", 0.8),
        (0.52, "unsure", 0.52),
        (0.46, "unsure", 0.54),
        (0.56, "anomalous", 0.56),
    ],
)
def test_verdict_has_three_values(yes, verdict, confidence):
    assert Calibration(unsure=0.05).verdict(yes) == (verdict, pytest.approx(confidence))


def look_of(score: float, threshold: float) -> Look:
    blank = np.zeros((2, 2), np.float32)
    return Look((2, 2), score, blank, (), np.zeros((2, 2, 3), np.uint8), {}, threshold=threshold)


def test_evidence_is_the_distance_to_the_threshold_in_logits():
    look = look_of(0.6, 0.2)
    assert look.evidence == pytest.approx(logit(0.6) - logit(0.2))
    assert look.relative == pytest.approx(sigmoid(look.evidence))
    assert look_of(0.37, 0.5).relative == pytest.approx(0.37) and look_of(0.2, 0.2).relative == 0.5
    assert look_of(1.0, 0.5).relative <= 1 and math.isfinite(look_of(0.0, 0.5).evidence)


def test_with_references_of_a_known_product_the_same_distance_says_more():
    calibration = Calibration(held_weight=1.2, lone_weight=1.5)
    assert calibration.weight(None, 1.0) == 1 == calibration.weight((), 0.0)
    assert calibration.weight((), 1.0) == 1.5 and calibration.weight((0.1, 0.2), 0.5) == pytest.approx(1.1)
    look = look_of(0.6, 0.2)
    assert replace(look, weight=1.5).evidence == pytest.approx(1.5 * look.evidence)


@pytest.mark.parametrize("look_scale", [0.0, 0.4, 3.0])
@pytest.mark.parametrize("word_scale", [0.001, 0.7])
def test_verdict_words_score_and_threshold_never_contradict(word_scale, look_scale):
    calibration = Calibration(word_scale=word_scale, word_bias=-0.4, look_scale=look_scale)
    rng = np.random.default_rng(0)
    verdicts = set()
    for _ in range(500):
        look, difference = look_of(rng.uniform(), rng.uniform(0.05, 0.95)), float(rng.normal(0, 5))
        yes = calibration.yes_probability(difference, look.evidence)
        verdict, confidence = calibration.verdict(yes)
        spoken = difference + calibration.first_word_bias(look.evidence) > 0
        verdicts.add(verdict)
        if verdict != "unsure":
            anomalous = verdict == "anomalous"
            assert anomalous == (look.score >= look.threshold) == (look.relative >= 0.5) == spoken == (yes >= 0.5)
            assert confidence == max(yes, 1 - yes)
        if yes != 0.5:
            assert spoken == (yes > 0.5) == (look.score > look.threshold)
    assert "unsure" in verdicts and (word_scale < 0.1 and not look_scale or verdicts == set(VERDICTS))


def test_the_look_weighs_in_the_probability():
    calibration = Calibration(word_scale=0.5, word_bias=1.0, look_scale=2.0)
    assert calibration.yes_probability(1.0, 0.75) == pytest.approx(sigmoid(0.5 * 2 + 1.5))
    assert calibration.yes_probability(1.0, -3.0) < 0.05
    # the words say yes louder than the look says no: the look decides, with less certainty
    assert calibration.contradicts(1.0, -0.1) and not calibration.contradicts(1.0, 0.1)
    assert calibration.yes_probability(1.0, -0.1) == pytest.approx(sigmoid(-0.1))
    assert Calibration(word_scale=0.5).yes_probability(1.0, 3.0) == sigmoid(0.5)  # files from before


def test_thresholds_come_from_the_right_normals():
    calibration = Calibration(
        score_scale=2, score_bias=1, normal_mean=-3, normal_between=1, normal_within=0.5, held_mean=-1,
        held_between=0.5, held_within=0.4, lone_mean=-2, lone_between=0.8, lone_within=0.9,
    )  # fmt: skip
    alone, held, lone = Normals(-3, 1, 0.5), Normals(-1, 0.5, 0.4), Normals(-2, 0.8, 0.9)
    assert calibration.threshold_at(0.05) == sigmoid(gaussian_cut((), 0.05, alone))
    assert calibration.threshold_at(0.05, ()) == sigmoid(gaussian_cut((), 0.05, lone))
    assert calibration.threshold_at(0.02, [0.5, -0.5]) == sigmoid(gaussian_cut([2, 0], 0.02, held))


def test_before_rates_are_measured_the_default_rate_is_the_balanced_point():
    calibration = Calibration(threshold=0.3)
    assert calibration.threshold_at(0.05) == pytest.approx(0.3)
    assert calibration.threshold_at(0.01) > 0.3 > calibration.threshold_at(0.2)


@pytest.mark.parametrize("text", ['{"word_scale": 0}', '{"word_scale": -1}', '{"look_scale": -0.1}'])
def test_a_calibration_that_would_turn_yes_into_no_is_refused(tmp_path, text):
    file = tmp_path / "calibration.json"
    file.write_text(text)
    with pytest.raises(WeightsError, match="turns yes into no"):
        Calibration.load(file)


def test_the_file_keeps_every_number(tmp_path):
    calibration = Calibration(score_scale=1.25, threshold=0.4, pixel_bias=-0.5, source="a test")
    calibration.save(tmp_path / "calibration.json")
    assert Calibration.load(tmp_path / "calibration.json") == calibration


@pytest.mark.parametrize("text", ["", "[]", '{"score_scale": NaN}', '{"unknown": 1}', '{"threshold": "high"}', "\x00"])
def test_a_bad_file_is_one_sentence(tmp_path, text):
    file = tmp_path / "calibration.json"
    file.write_text(text)
    with pytest.raises(WeightsError, match="calibration.json"):
        Calibration.load(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match="missing"):
        Calibration.load(tmp_path / "calibration.json")


def test_a_score_held_against_references_is_scaled_and_so_is_its_threshold():
    calibration = Calibration(
        score_scale=2, score_bias=1, held_mean=-1, held_between=0.5, held_within=0.4, held_scale=0.5, lone_scale=0.25
    )
    assert calibration.logit(3.0) == 7 and calibration.logit(3.0, ()) == 1.75 and calibration.logit(3.0, (0.1,)) == 3.5
    cut = gaussian_cut([0.5 * (2 * 0.1 + 1)], 0.05, Normals(-1, 0.5, 0.4))
    assert calibration.threshold_at(0.05, (0.1,)) == sigmoid(cut)


@pytest.mark.parametrize("name", ["lone_scale", "held_weight"])
def test_a_calibration_that_would_turn_scores_round_is_refused(tmp_path, name):
    file = tmp_path / "calibration.json"
    file.write_text(f'{{"{name}": 0}}')
    with pytest.raises(WeightsError, match="turns scores round"):
        Calibration.load(file)


def test_the_less_other_products_are_trusted_the_more_a_new_ones_own_normals_decide(tmp_path):
    calibration = Calibration(held_mean=0.0, held_between=2.0, held_within=2.5, held_trust=1.0)
    normals = (-4.0, -4.1, -3.9, -4.0)
    other = replace(calibration, held_trust=8.0)
    assert calibration.threshold_at(0.05, normals) < other.threshold_at(0.05, normals)
    own = Normals(-4.0, 1.0, 1.0)  # of a known product what it scores itself decides
    assert calibration.threshold_at(0.05, normals, own, 20) == other.threshold_at(0.05, normals, own, 20)
    assert calibration.threshold_at(0.05, ()) == other.threshold_at(0.05, ())  # of a single reference there are none
    replace(calibration, held_trust=0.0).save(tmp_path / "calibration.json")
    with pytest.raises(WeightsError, match="held_trust"):
        Calibration.load(tmp_path / "calibration.json")
