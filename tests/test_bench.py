"""The bench measures what there is: its parts run on the real classes, without a bar on the time."""

from __future__ import annotations

from tiny import tiny_model

from assistant.calibration import Calibration
from assistant.inspector import Inspector
from assistant.loading import Loaded
from eval.bench import BARS, _measured, clip_times, look_times, scoring_run, write_predictions
from eval.score import score_run
from tests.tiny import tiny_inspector


def test_every_part_of_a_look_is_timed():
    inspector = Inspector("embedded", Loaded(*tiny_model(), Calibration()))
    times = look_times(inspector, repeats=1)
    assert {name.rsplit(" at ", 1)[0] for name in times} >= {"tower alone", "selector", "look"}
    assert all(seconds > 0 for seconds in times.values())


def test_scoring_is_timed_on_predictions_that_have_every_figure(tmp_path):
    write_predictions(tmp_path, 24, 96)
    result = score_run(tmp_path)
    assert [row["dataset"] for row in result["rows"]] == ["drawn0", "drawn1"]
    assert {row["n_normal"] + row["n_anomalous"] for row in result["rows"]} == {12}
    for name in ("image_auroc", "pixel_auroc", "aupro", "pointing", "box_rate", "ece", "faithfulness", "kind_accuracy"):
        assert result["mean"][name] is not None, name
    found = scoring_run(8, 48)
    assert found["seconds"] > 0 and 50 < found["peak_mb"] < 2000


def test_the_memory_of_who_measures_is_not_that_of_what_is_measured():
    ballast = bytearray(600_000_000)
    ballast[::4096] = b"x" * len(ballast[::4096])  # in memory, page by page
    assert _measured(["-c", "pass"])["peak_mb"] < 100
    assert len(ballast) == 600_000_000  # held until here


def test_clips_are_timed_under_the_names_of_their_bars():
    times = clip_times(tiny_inspector(), (2, 4))
    assert len(times) == 3 and all(seconds > 0 for seconds in times.values())
    assert {name.replace(" 2 s", " 10 s") for name in times} & set(BARS)
