"""The bench measures what there is: its parts run on the real classes, without a bar on the time."""

from __future__ import annotations

from tiny import tiny_model

from assistant.calibration import Calibration
from assistant.inspector import Inspector
from assistant.loading import Loaded
from eval.bench import look_times


def test_every_part_of_a_look_is_timed():
    inspector = Inspector("embedded", Loaded(*tiny_model(), Calibration()))
    times = look_times(inspector, repeats=1)
    assert {name.rsplit(" at ", 1)[0] for name in times} >= {"tower alone", "selector", "look"}
    assert all(seconds > 0 for seconds in times.values())
