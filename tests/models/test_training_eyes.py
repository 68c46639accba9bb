"""What the nets for eyes and mouths are taught: drawn eyes as open as they say, and seen as far as they say."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("cv2")

from models.training import eyes

MIDDLE = (np.abs(eyes.X) < 0.35) & (np.abs(eyes.Y) < 0.3)


def drawn(seed: int, opening: float, lens: str = "") -> eyes.Drawn:
    return eyes.eye(np.random.default_rng(seed), opening, lens=lens)


def test_the_same_seed_draws_the_same_crops():
    for crops in (eyes.eye_crops, eyes.mouth_crops):
        a, b = (crops(np.random.default_rng(7), 2) for _ in range(2))
        assert all((one.image == other.image).all() and one[1:] == other[1:] for one, other in zip(a, b, strict=True))
        assert a[0].image.shape == (eyes.SIDE, eyes.SIDE)
        assert a[0].image.dtype == np.uint8


def test_the_more_an_eye_is_open_the_more_of_the_ball_is_seen():
    """Against the same eye shut, of 12 people."""
    areas = []
    for opening in (0.3, 0.6, 1.0):
        changed = [np.abs(drawn(k, opening).image - drawn(k, 0.0).image)[MIDDLE] > 0.02 for k in range(12)]
        areas.append(np.mean([one.mean() for one in changed]))
    assert areas[0] < areas[1] < areas[2], areas


def test_glass_hides_what_it_says_it_hides():
    bare, clear, dark = (np.array([drawn(k, 1.0, lens).seen for k in range(20)]) for lens in ("", "clear", "dark"))
    assert (bare > 0.3).mean() > 0.9  # but for hair
    assert np.median(clear) > 0.6
    assert dark.max() < 0.8
    assert np.median(dark) < 0.3
    assert eyes.hidden(1.0) == 0
    assert eyes.hidden(0.1) == 1


def test_shares_of_the_kinds_leave_none_out():
    """200 crops: shut, half open, open, hidden: each at least one in ten."""
    rng = np.random.default_rng(1)
    told = np.array([crop[1:] for _ in range(200) for crop in eyes.eye_crops(rng, 1)])
    clear = told[told[:, 1] < 0.3]
    assert (told[:, 1] > 0.5).mean() > 0.1
    assert all(((clear[:, 0] >= a) & (clear[:, 0] < b)).mean() > 0.1 for a, b in ((0, 0.2), (0.2, 0.8), (0.8, 1.4)))


def test_figures_of_merit():
    yes = np.array([True, True, False, False])
    assert eyes.auc(yes, np.array([0.9, 0.4, 0.5, 0.1])) == pytest.approx(0.75)
    assert eyes.miss(yes, np.array([1.0, 1.0, 0.0, 0.0])) == 0
    assert eyes.miss(yes, np.array([0.5, 0.5, 0.5, 0.5])) == 0
    assert eyes.miss(~yes, np.array([1.0, 1.0, 0.0, 0.0])) == 1
