"""From which logit on a picture is called anomalous, so that normals raise a requested share of false alarms.

Pure arithmetic on the image logits of normal pictures, few or none. Two ways: a Gaussian whose mean and spread are
shrunk to what normals of other products have, and the conformal quantile, which assumes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from assistant.errors import RateError

DEFAULT_RATE = 0.05
"""False-alarm rate that is asked for when references are given and no rate is, 0..1."""
LOWEST_RATE, HIGHEST_RATE = 0.001, 0.5
"""Rates that can be asked for: what lies beyond cannot be told from a handful of pictures."""
LIT_RATE = 0.1
"""Share of the normal pictures of a new product whose maps may be lit: twice DEFAULT_RATE, for light is a hint only."""
PRIOR_WEIGHT = 8.0
"""How many normal pictures the stored spread within a product counts for."""


@dataclass(frozen=True)
class Normals:
    """Image logits of normal pictures of a product that nothing is known about yet.

    Attributes:
        mean: over products.
        between: standard deviation of the products' own means, > 0.
        within: standard deviation of the pictures of one product, > 0.
    """

    mean: float
    between: float
    within: float


def gaussian_cut(values: Sequence[float], rate: float, prior: Normals, weight: float = PRIOR_WEIGHT) -> float:
    """The logit that a normal picture exceeds with probability `rate`, in closed form.

    The predictive distribution of a normal model with a normal prior on the mean and a scaled inverse chi-squared
    prior on the variance (Gelman et al., Bayesian Data Analysis, 3rd ed., sections 2.5, 2.6 and 3.2), the variance of
    the mean taken at the shrunk variance. With n values of mean x and sum of squared deviations S:

        s^2 = (weight within^2 + S) / (weight + max(n - 1, 0))
        p   = 1 / between^2 + n / s^2
        m   = (mean / between^2 + n x / s^2) / p
        cut = m + t(1 - rate; weight + max(n - 1, 0)) sqrt(s^2 + 1 / p)

    Args:
        values: logits of normal pictures of the product, any number; without any the prior alone decides.
        rate: share of false alarms, over 0 and under 1.
        prior: of products in general.
        weight: pictures that the prior's spread within a product counts for, > 0.
    """
    known = np.asarray(values, dtype=np.float64)
    freedom = weight + max(known.size - 1, 0)
    middle = float(known.mean()) if known.size else 0.0
    variance = (weight * prior.within**2 + float(((known - middle) ** 2).sum())) / freedom
    precision = 1 / prior.between**2 + known.size / variance
    mean = (prior.mean / prior.between**2 + known.size * middle / variance) / precision
    return float(mean - stdtrit(freedom, rate) * math.sqrt(variance + 1 / precision))


def conformal_cut(values: Sequence[float], rate: float) -> float:
    """The split-conformal quantile: the k-th smallest of n values, k = ceil((n + 1) (1 - rate)).

    A further normal picture exceeds it with probability at most `rate` whatever the distribution (Vovk et al. 2005),
    as long as k <= n. With fewer values no quantile can promise that; the highest is returned, which is exceeded with
    probability 1 / (n + 1).

    Raises:
        ValueError: there are no values.
    """
    known = np.sort(np.asarray(values, dtype=np.float64))
    if not known.size:
        raise ValueError("a quantile needs values")
    place = math.ceil(round((known.size + 1) * (1 - rate), 9))  # 20 * (1 - 0.05) is 19, whatever floats say
    return float(known[min(place, known.size) - 1])


def checked_rate(rate: float | None) -> float | None:
    """The rate as it is; None, which leaves the choice to the looker, as well.

    Raises:
        RateError: not a number from LOWEST_RATE to HIGHEST_RATE.
    """
    if rate is not None and not (isinstance(rate, int | float) and LOWEST_RATE <= rate <= HIGHEST_RATE):
        raise RateError(f"A false-alarm rate must be from {LOWEST_RATE} to {HIGHEST_RATE}, for example 0.05.")
    return rate
