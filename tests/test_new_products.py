"""What normal pictures of products score that the model has not learned from, and how bright their maps are."""

from dataclasses import replace
from operator import attrgetter

import numpy as np
import pytest
import torch

from assistant.calibration import Calibration
from assistant.memory import judged, see
from assistant.threshold import LIT_RATE, Normals, gaussian_cut
from assistant.types import SUSPICIOUS
from finetune import new_products
from finetune.known_products import OWN_SET
from finetune.new_products import TRUSTS, few, new_prior, own_normals, trust_of
from finetune.references import Held, attained, held_prior
from tests.test_memory import picture
from tests.tiny import one_product, tiny_inspector

BRIGHT = {"pixel_bias": 9.0, "peak_mean": 5.0, "peak_between": 2.0, "peak_within": 0.3, "held_trust": 2.0}
"""Of a calibration with which normal pictures light up."""


def test_of_a_new_product_what_pictures_beside_the_same_references_vary_by_is_its_spread():
    drawn = [
        Held((f"set{n}", "part"), 4, (middle,) * 3, (middle - 1.0, middle + 1.0))
        for n in range(3)
        for middle in (-5.0, 5.0)
    ]
    assert new_prior(drawn, lone=False).within == pytest.approx(2**0.5)
    assert held_prior(drawn, lone=False).within > 4
    assert new_prior(drawn, lone=False, without="set0").within == pytest.approx(2**0.5)


def test_how_far_other_products_are_trusted_is_what_keeps_the_rate_best():
    rng = np.random.default_rng(0)
    held = [
        Held((f"set{n}", "part"), 4, tuple(rng.normal(0, spread, 4)), tuple(rng.normal(0, spread, 40)))
        for n in range(30)
        for spread in (0.3, 3.0)[n % 2 : n % 2 + 1]
    ]
    off = {trust: abs(attained(held, 0.05, new_prior, trust)["gaussian"][4] - 0.05) for trust in TRUSTS}
    assert trust_of(held) == min(off, key=off.get) and max(off.values()) > min(off.values())


def test_beside_several_references_the_spread_is_the_middle_of_the_logarithms():
    calm, wild = ((-spread, spread) for spread in (0.1, 10.0))
    held = [Held((name, "part"), 4, (0.0,) * 3, unseen, (), unseen) for name, unseen in (("a", calm), ("b", wild))]
    assert new_prior(held, lone=False).within == pytest.approx((0.02 * 200) ** 0.25)
    assert new_prior(held, lone=False, of=attrgetter("peaks")) == new_prior(held, lone=False)
    alone = [replace(one, shots=1, known=()) for one in held]
    assert new_prior(alone, lone=True).within == pytest.approx(((0.02 + 200) / 2) ** 0.5)


def test_drawn_products_are_in_the_prior_and_not_in_the_rate():
    rng = np.random.default_rng(0)
    real = [Held((f"set{n}", "part"), 4, tuple(rng.normal(0, 2, 4)), tuple(rng.normal(0, 2, 40))) for n in range(9)]
    drawn = [replace(real[0], product=(OWN_SET, "gear"), unseen=tuple(rng.normal(-9, 0.1, 40)))]
    assert new_prior([*real, *drawn], lone=False).mean < new_prior(real, lone=False).mean
    with_drawn, without = (attained(held, 0.05, new_prior, 2.0)["gaussian"] for held in ([*real, *drawn], real))
    assert set(with_drawn) == set(without) and 0 < with_drawn[4] < 0.2


def test_drawn_products_are_takes_of_one_scene_each_and_of_several_families(monkeypatch):
    monkeypatch.setattr(new_products, "MOST", 2)
    families = [own_normals(number)[0] for number in (0, 4, 8)]
    assert len(set(families)) == 3
    one, other = own_normals(4)[1]
    assert not np.array_equal(one, other) and np.array_equal(one, own_normals(4)[1][0])
    far = np.abs(one.astype(int) - own_normals(5)[1][0]).mean()
    assert np.abs(one.astype(int) - other).mean() < far / 2


def test_of_a_set_the_products_with_most_pictures_are_looked_at(monkeypatch):
    monkeypatch.setattr(new_products, "MOST_PRODUCTS", 2)

    class Row:
        def __init__(self, dataset: str, category: str) -> None:
            self.dataset, self.category = dataset, category

    rows = [Row("a", name) for name in "xyyzzz"] + [Row("b", "x")]
    assert sorted({(row.dataset, row.category) for row in few(rows)}) == [("a", "y"), ("a", "z"), ("b", "x")]


def test_maps_are_dimmed_by_what_keeps_new_normals_dark_and_no_other_ones():
    calibration = Calibration(pixel_bias=0.5, peak_mean=-1.0, peak_between=0.5, peak_within=0.4, held_trust=2.0)
    peaks = (1.0, 1.2, 0.9)
    wanted = gaussian_cut([peak + 0.5 for peak in peaks], LIT_RATE, Normals(-1.0, 0.5, 0.4), 2.0)
    assert calibration.dimming(peaks, 0.0) == pytest.approx(wanted) and wanted > 0
    assert calibration.dimming(peaks, 0.75) == pytest.approx(wanted / 4)
    assert calibration.dimming((-3.0, -3.1, -2.9), 0.0) == 0  # what is dark is not made brighter
    assert calibration.dimming((), 0.0) == 0  # a single reference shows nothing of it
    assert replace(calibration, peak_within=0.0).dimming(peaks, 0.0) == 0  # not measured


def lit_share(look):
    return np.mean(look.heatmap >= SUSPICIOUS)


def test_what_is_no_brighter_than_normal_pictures_is_dark_but_a_called_picture_keeps_half():
    bright = tiny_inspector(**BRIGHT)
    memory = bright.remember([picture(seed) for seed in range(3)])
    assert len(memory.peaks) == len(memory.normals) == 3
    others = bright.remember([picture(1), picture(2)])
    with torch.inference_mode():
        one = see(bright.model.look_model, bright.processor.pixels(picture(0)))
        _, peak = judged(bright.model.look_model, one, others)
    assert min(abs(peak - other) for other in memory.peaks) < 1e-4
    level = bright.calibration.dimming(memory.peaks, 0.0)
    assert level > 0
    plain = replace(memory, peaks=())
    dim, lit = (bright.look(picture(9), held, rate=0.001) for held in (memory, plain))
    assert dim.score == lit.score < dim.threshold
    logit = [np.log(look.heatmap / (1 - look.heatmap)) for look in (dim, lit)]
    assert np.allclose(logit[1] - logit[0], level, atol=1e-3)
    assert (dim.tokens["map"][:, 0] < lit.tokens["map"][:, 0]).all()  # and the words are told so
    assert np.array_equal(dim.tokens["suspicious"], lit.tokens["suspicious"])
    called = tiny_inspector(**BRIGHT, held_mean=-60.0, held_between=0.1, held_within=0.1)
    blinding, faint = replace(memory, peaks=(40.0,) * 3), replace(memory, peaks=(-8.5,) * 3)
    kept, whole, less = (called.look(picture(9), held) for held in (blinding, plain, faint))
    assert kept.score >= kept.threshold and kept.regions and (kept.heatmap < whole.heatmap).all()
    assert lit_share(kept) == pytest.approx(lit_share(whole) / 2, rel=0.1)
    assert less.regions and (less.heatmap < whole.heatmap).all()  # some are left, and those count
    assert not bright.look(picture(9), blinding, rate=0.001).regions
    bright.familiar = one_product(memory.descriptors, 2.0, 2.0, near=1.0, far=2.0)
    known = bright.remember([picture(seed) for seed in range(3)])
    looks = [bright.look(picture(9), held, rate=0.001) for held in (known, replace(known, peaks=()))]
    assert known.known == 1 and np.array_equal(looks[0].heatmap, looks[1].heatmap)
