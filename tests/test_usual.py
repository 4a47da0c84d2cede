"""What is usual, on synthetic cells: what stays is found, what passes is not; motion against the others is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from assistant.usual import NEAR, OWN_MOST, THING, Moment, confirmed, learn, opened, summed, unusual, unusual_within

GRID = (10, 14)


def scene(rng: np.random.Generator, count: int, change=None, velocity=None) -> list[Moment]:
    """Moments 0.25 s apart of a fixed random scene; `change` (first, last) puts something at row 2, column 3."""
    torch.manual_seed(5)
    ground = F.normalize(torch.randn(24, *GRID), dim=0)
    other = F.normalize(torch.randn(24), dim=0)
    found = []
    for number in range(count):
        looks = ground.clone()
        if change is not None and change[0] <= number <= change[1]:
            looks[:, 2:5, 3:6] = other[:, None, None]
        looks = F.normalize(looks + 0.02 * torch.tensor(rng.normal(size=looks.shape), dtype=torch.float32), dim=0)
        flow = torch.zeros(2, *GRID)
        if velocity is not None:
            x = velocity(number)
            flow[0, 6:8, number % 10 : number % 10 + 3] = x
        found.append(Moment(looks, flow, torch.ones(GRID, dtype=torch.bool), number * 0.25))
    return found


@pytest.mark.parametrize("held", [True, False])
def test_what_stays_is_found_when_it_is_there_and_only_then(held):
    rng = np.random.default_rng(0)
    clip = scene(rng, 24, change=(9, 17))
    cells = unusual(clip, learn(scene(rng, 20))) if held else unusual_within(clip)
    stays = summed(cells)[:, 0]
    inside = torch.zeros(24, dtype=torch.bool)
    inside[9:18] = True
    assert stays[inside].min() > 2 * stays[~inside].max().clamp_min(0.1)
    assert cells[12, 0].argmax() // GRID[1] in (2, 3, 4)


@pytest.mark.parametrize("seed", range(10))
def test_a_frame_is_summed_up_from_the_place_where_a_square_of_cells_is_highest(seed):
    rng = np.random.default_rng(seed)
    cells = rng.random((4, 3, *rng.integers(1, 9, 2)))
    height, width = cells.shape[-2:]
    squares = [
        cells[..., row : row + min(THING, height), column : column + min(THING, width)].mean(axis=(-2, -1))
        for row in range(max(1, height - THING + 1))
        for column in range(max(1, width - THING + 1))
    ]
    found = summed(torch.from_numpy(cells))
    assert found.shape == (4, 3) and np.allclose(found, np.max(squares, axis=0))
    assert torch.equal(summed(torch.from_numpy(cells[:, 1])), found[:, 1])  # frames of one channel as well


def test_what_is_odd_in_one_place_counts_more_than_as_much_scattered():
    thing, noise = torch.zeros(2, 1, 9, 9)
    thing[0, 3:5, 3:5] = 1.0
    noise[0, ::4, ::4] = 1.0  # nine cells, no two side by side
    assert summed(thing[None]).item() == 1.0 and summed(noise[None]).item() == pytest.approx(0.25)


def test_what_only_passes_does_not_stay():
    rng = np.random.default_rng(1)
    usual = learn(scene(rng, 20))
    for last, dwells in ((10, False), (14, False), (17, True)):  # there for 0.25, 1.25 and 2 s
        clip = scene(rng, 24, change=(9, last))
        assert (summed(unusual(clip, usual))[:, 0].max() > 0.5) == dwells
        assert (summed(unusual_within(clip))[:, 0].max() > 0.5) == dwells
    shorter = scene(rng, 24, change=(9, 15))  # 1.5 s: enough for a clip on its own
    assert summed(unusual_within(shorter))[9:16, 0].min() > 0.5 > summed(unusual(shorter, usual))[:, 0].max()


def test_what_a_place_has_all_along_is_taken_off_of_what_stays_in_it_but_not_what_is_odd_from_end_to_end():
    rng = np.random.default_rng(4)
    usual, clip = learn(scene(rng, 20)), scene(rng, 24, change=(9, 17))
    before = unusual(clip, usual)[:, 0]
    other = F.normalize(torch.randn(24), dim=0)
    lit = []
    for one in clip:
        looks = one.looks.clone()
        looks[:, 6:8, 8:11] += 0.2 * other[:, None, None]  # a lamp over a part of the scene
        lit.append(replace(one, looks=F.normalize(looks, dim=0)))
    raw = (2 - 2 * (torch.stack([one.looks for one in lit]) * usual.background).sum(dim=1)).clamp_min(0).sqrt()
    assert raw[:, 6:8, 8:11].median() > raw[:, :2, 8:11].median() + 0.05  # it is farther from the usual than elsewhere
    after = unusual(lit, usual)[:, 0]
    assert after[:, 6:8, 8:11].max() < 0.05
    assert torch.allclose(after[:, 2:5, 3:6], before[:, 2:5, 3:6], atol=0.05)  # what came and went is as odd as it was
    whole = unusual(scene(rng, 24, change=(0, 23)), usual)[:, 0]
    assert whole[:, 3, 4].min() > before[10:17, 3, 4].max() - OWN_MOST - 0.05 > 0.5


def test_a_change_that_lasts_to_the_end_is_the_anomaly_and_not_the_beginning():
    rng = np.random.default_rng(2)
    stays = summed(unusual_within(scene(rng, 24, change=(9, 23))))[:, 0]
    assert stays[10:].min() > 2 * stays[:9].max()


def test_motion_against_what_is_usual_is_found_with_and_without_a_normal_clip():
    rng = np.random.default_rng(3)
    usual = learn(scene(rng, 20, velocity=lambda n: 0.2))
    clip = scene(rng, 24, velocity=lambda n: -0.2 if 14 <= n < 18 else 0.2)
    held, alone = summed(unusual(clip, usual))[:, 2], summed(unusual_within(clip))[:, 2]
    for motion in (held, alone):
        assert motion[14:18].min() > motion[:14].max() + 0.1 and motion[14:18].min() > motion[18:].max() + 0.1


def going(*cells: tuple[int, int, float, float]) -> Moment:
    """A moment at 0 s in which cells (row, column, right, down) move."""
    velocity = torch.zeros(2, *GRID)
    for row, column, right, down in cells:
        velocity[:, row, column] = torch.tensor([right, down])
    return Moment(F.normalize(torch.ones(24, *GRID), dim=0), velocity, torch.ones(GRID, dtype=torch.bool), 0.0)


def test_velocity_is_held_against_the_lane_that_a_thing_moves_in_and_against_the_scene():
    usual = learn([going((5, 2, 0.2, 0.0))])
    clip = [
        going(
            (5, 11, 0.2, 0.0),  # as usual, far along the lane
            (4, 8, 0.5, 0.0),  # too fast, beside the lane's middle: 0.3 away
            (6, 5, -0.2, 0.0),  # against it: rest is nearer than the usual
            (9, 5, 0.2, 0.0),  # as fast, where nothing moves: odd for its lane and not for the scene
            (5, 9, 0.0, 0.2),  # across: its path meets nothing that moves
        )
    ]
    found = unusual(clip, usual)[0, 2]
    assert found[5, 11] == 0 and found[4, 8] == pytest.approx(0.3 / 0.52)
    for row, column in ((6, 5), (5, 9)):
        assert found[row, column] == pytest.approx(0.2 / 0.22)
    assert found[9, 5] == pytest.approx(0.2 / 0.22 / 2)
    assert found.count_nonzero() == 4


def test_motion_is_rare_by_what_else_its_lane_and_the_scene_show_at_other_times():
    clip = [replace(going((5, 3 + n, 0.2, 0.0)), time=float(n)) for n in range(4)]
    clip += [replace(going((5, 3, -0.2, 0.0), (0, 3, 0.2, 0.0)), time=4.0)]
    found = unusual_within(clip)[:, 2]
    # three of four others in its lane are alike, of the scene four of five
    assert found[0, 5, 3] == pytest.approx(1 - (4 / 8 + 5 / 9) / 2)
    assert found[4, 5, 3] == pytest.approx(1 - 1 / 8)  # none of four, who are all in its lane
    assert found[4, 0, 3] == pytest.approx(
        1 - (1 / 4 + 5 / 8) / 2
    )  # there are no others in its lane, four alike beside


def test_who_goes_against_the_lane_is_odd_where_another_lane_goes_that_way():
    usual = learn([going((2, 2, 0.2, 0.0), (7, 2, -0.2, 0.0))])
    found = unusual([going((2, 9, 0.2, 0.0), (7, 9, 0.2, 0.0))], usual)[0, 2]
    assert found[2, 9] == 0 and found[7, 9] == pytest.approx(0.2 / 0.22 / 2)
    clip = [replace(going((2, n, 0.2, 0.0), (7, n, -0.2, 0.0)), time=float(n)) for n in range(8)]
    clip[4] = replace(going((2, 4, 0.2, 0.0), (7, 4, 0.2, 0.0)), time=4.0)
    rare = unusual_within(clip)[4, 2]
    assert rare[7, 4] > rare[2, 4] + 0.2


def moved(count: int, gap: float, cells: dict[int, tuple[int, int]], speed: float) -> tuple[torch.Tensor, ...]:
    """Values, velocity, times and seen of looks, 1 at one cell of some of them, which all move right at this speed."""
    values, velocity = torch.zeros(count, *GRID), torch.zeros(count, 2, *GRID)
    for number, (row, column) in cells.items():
        values[number, row, column], velocity[number, 0, row, column] = 1.0, speed
    times = torch.arange(count, dtype=torch.float64) * gap
    return values, velocity, times, torch.ones(count, *GRID, dtype=torch.bool)


def test_odd_motion_counts_where_the_next_look_or_the_last_one_finds_it_farther_along():
    speed = 3 / GRID[1] / 0.25  # three cells from look to look
    values, velocity, times, seen = moved(5, 0.25, {1: (5, 2), 2: (4, 5), 3: (5, 8)}, speed)
    assert torch.equal(confirmed(values, velocity, times, seen), values)  # it goes on, one cell aside or not
    once = moved(5, 0.25, {2: (5, 5)}, speed)
    assert not confirmed(*once).any()
    stuck = moved(5, 0.25, {1: (5, 5), 2: (5, 5), 3: (5, 5)}, speed)
    assert not confirmed(*stuck).any()  # a cell that says it moves and does not
    weaker = values.clone()
    weaker[1] /= 4
    found = confirmed(weaker, velocity, times, seen)
    assert found[1].max() == 0.25 and found[2].max() == found[3].max() == 1.0


def test_what_no_look_could_have_found_stays_as_it_is():
    speed = 3 / GRID[1] / 0.25
    apart = moved(3, NEAR + 0.01, {1: (5, 5)}, speed)
    assert torch.equal(confirmed(*apart), apart[0])
    one = moved(1, 0.25, {0: (5, 5)}, speed)
    assert torch.equal(confirmed(*one), one[0])
    leaves = moved(3, 0.25, {1: (5, 5)}, 2 / 0.25)  # two pictures from look to look
    assert torch.equal(confirmed(*leaves), leaves[0])
    values, velocity, times, seen = moved(3, 0.25, {1: (5, 5)}, speed)
    seen[0, :, :4] = seen[2, :, 7:] = False  # the camera does not show where it was or will be
    assert torch.equal(confirmed(values, velocity, times, seen), values)


def closer(clip: list[Moment], first: int, last: int) -> list[Moment]:
    """The clip with four more looks after each of the moments first..last, as a score that rises brings them."""
    return [
        replace(one, time=one.time + 0.05 * part)
        for number, one in enumerate(clip)
        for part in range(5 if first <= number <= last else 1)
    ]


def test_looking_closely_at_an_event_does_not_make_it_usual():
    even = scene(np.random.default_rng(6), 24, change=(9, 16))
    close = closer(even, 9, 16)
    inside = torch.tensor([9 * 0.25 <= one.time < 17 * 0.25 for one in close])
    assert inside.sum() > 2 * (~inside).sum()  # most looks are at the event, most of the time is not
    stays = summed(unusual_within(close))[:, 0]
    assert stays[inside].min() > 2 * stays[~inside].max().clamp_min(0.1)
    shared = torch.tensor([one.time % 0.25 == 0 for one in close])
    assert torch.allclose(stays[shared], summed(unusual_within(even))[:, 0], atol=0.02)


def test_looking_closely_at_motion_does_not_make_it_common():
    even = [replace(going((5, 3 + n, 0.2, 0.0)), time=float(n)) for n in range(4)]
    even += [replace(going((5, 3, -0.2, 0.0)), time=4.0), replace(going((5, 8, 0.2, 0.0)), time=5.0)]
    close = closer(even, 4, 4)
    rare = [unusual_within(clip)[:, 2].amax(dim=(1, 2)) for clip in (even, close)]
    # counted by looks, the other way would be more than half of what moves, and the usual 0.17 rarer
    assert torch.allclose(rare[1][[0, 1, 2, 3, 4, 9]], rare[0], atol=0.06)
    assert rare[1][4:9].min() > rare[1][:4].max() + 0.3


def test_what_lifts_a_whole_frame_is_light():
    rng = np.random.default_rng(4)
    usual = learn(scene(rng, 20))
    clip = scene(rng, 16)
    tint = F.normalize(torch.randn(24), dim=0)[:, None, None]
    lit = [
        replace(one, looks=F.normalize(one.looks + 0.5 * tint, dim=0)) if 4 <= n < 13 else one
        for n, one in enumerate(clip)
    ]
    away = torch.stack([(one.looks - usual.background).norm(dim=0) for one in lit])
    assert away[4:13].median() > 3 * away[:4].median()
    sums = summed(unusual(lit, usual))[:, :2]
    changed = summed(unusual(scene(rng, 16, change=(4, 12)), usual))[:, :2]
    assert sums[4:13].max() < 0.5 * changed[4:13].min()


def test_what_covers_the_whole_picture_is_no_light():
    rng = np.random.default_rng(5)
    usual = learn(scene(rng, 20))
    black = F.normalize(torch.ones(24, *GRID), dim=0)
    clip = [replace(one, looks=black) if 4 <= n < 13 else one for n, one in enumerate(scene(rng, 16))]
    sums = summed(unusual(clip, usual))[:, :2]
    assert sums[4:13].min() > 0.5 and sums[:4].max() < 0.1


@pytest.mark.parametrize("seed", range(30))
def test_opening_never_raises_and_keeps_what_lasts(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 40))
    times = torch.tensor(np.sort(rng.uniform(0, 10, count)))
    values = torch.tensor(rng.uniform(0, 1, (count, 3)))
    result = opened(values, times)
    assert (result <= values + 1e-12).all() and (result >= values.amin(dim=0) - 1e-12).all()
    assert torch.allclose(opened(torch.full((count, 2), 0.4), times), torch.full((count, 2), 0.4))
    lasting = ((times >= 3) & (times <= 7)).double()[:, None]
    if int(lasting.sum()) >= 3 and float(times[lasting[:, 0] > 0].max() - times[lasting[:, 0] > 0].min()) > 2:
        kept = opened(lasting, times)[:, 0]
        assert kept.sum() >= lasting.sum() - 2  # all but what is cut off at its ends
