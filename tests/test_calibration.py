"""Scores to probabilities and verdicts, and the file they come from."""

from __future__ import annotations

import math

import pytest

from assistant.calibration import Calibration, sigmoid
from assistant.errors import WeightsError


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
