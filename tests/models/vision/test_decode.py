"""Each family of nets: what is written into its output is read from it again, and what does not fit is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.vision.decode import BINS, FAMILIES, Raw, best, grid, strides

SIZE = (192, 256)  # h, w
CLASSES = 7


@st.composite
def things(draw):
    """Up to six things, each in a cell of its own: (stride's cell, score, class, middle within the cell, sides)."""
    n = draw(st.integers(0, 6))
    seed = draw(st.integers(0, 2**32 - 1))
    return n, np.random.default_rng(seed)


def logit(p):
    return np.log(p / (1 - p))


def cells(steps, n, rng):
    """n different cells of the grid: their numbers, columns, rows and strides."""
    x, y, stride = grid(SIZE, steps)
    pick = rng.permutation(len(x))[:n]
    return pick, x[pick], y[pick], stride[pick]


def cornered(x, y, stride, rng):
    """Boxes around a spot of each cell, and what yolox and yunet write for them."""
    off, side = rng.uniform(0, 1, (len(x), 2)), rng.uniform(8, 90, (len(x), 2))
    middle = (off + np.stack([x, y], 1)) * stride[:, None]
    return np.hstack([middle - side / 2, middle + side / 2]), np.hstack([off, np.log(side / stride[:, None])])


def ordered(raw):
    by = np.argsort(raw.score)
    return Raw(raw.score[by], raw.label[by], raw.box[by], raw.points[by])


def same(raw: Raw, score, label, box, points=None):
    by = np.argsort(score)
    raw = ordered(raw)
    np.testing.assert_allclose(raw.score, score[by], rtol=1e-5)
    np.testing.assert_array_equal(raw.label, label[by])
    np.testing.assert_allclose(raw.box, box[by], atol=1e-2)
    if points is not None:
        np.testing.assert_allclose(raw.points, points[by], atol=1e-2)


@given(things(), st.sampled_from([(8, 16, 32), (8, 16, 32, 64)]))
def test_yolox_is_read_as_it_was_written(made, steps):
    n, rng = made
    pick, x, y, stride = cells(steps, n, rng)
    box, written = cornered(x, y, stride, rng)
    label, sure, thing = rng.integers(0, CLASSES, n), rng.uniform(0.7, 1, n), rng.uniform(0.7, 1, n)
    out = np.zeros((1, len(grid(SIZE, steps)[0]), 5 + CLASSES), np.float32)
    out[0, :, 4:] = rng.uniform(0, 0.4, out[0, :, 4:].shape)
    out[0, pick, :4], out[0, pick, 4] = written, thing
    out[0, pick, 5:] *= 0.5
    out[0, pick, 5 + label] = sure
    same(FAMILIES["yolox"]([out], SIZE, 0.3), sure * thing, label, box)


@pytest.mark.parametrize("alone", [False, True])
@given(things(), st.sampled_from([(8, 16, 32), (8, 16, 32, 64)]), st.sampled_from([CLASSES, 4 * BINS]))
def test_nanodet_is_read_as_it_was_written(alone, made, steps, classes):
    n, rng = made
    pick, x, y, stride = cells(steps, n, rng)
    middle = 0.5 if len(steps) == 3 else 0.0
    away = rng.uniform(0.5, 6.5, (n, 4))
    sides = np.stack([x + middle, y + middle, x + middle, y + middle], 1) + away * [-1, -1, 1, 1]
    low = away.astype(int)
    share = away - low  # between two bins
    odds = np.full((n, 4, BINS), -30.0)
    np.put_along_axis(odds, low[..., None], np.log(1 - share + 1e-9)[..., None], 2)
    np.put_along_axis(odds, low[..., None] + 1, np.log(share + 1e-9)[..., None], 2)
    label, score = rng.integers(0, classes, n), rng.uniform(0.5, 1, n)
    rows = len(grid(SIZE, steps)[0])
    seen, bins = rng.uniform(0, 0.25, (rows, classes)), rng.normal(0, 1, (rows, 4 * BINS))
    seen[pick, label], bins[pick] = score, odds.reshape(n, 4 * BINS)
    if alone:
        outputs = [np.hstack([seen, bins])[None]]
    else:
        ends = np.cumsum([-(-SIZE[0] // s) * -(-SIZE[1] // s) for s in steps])[:-1]
        outputs = [part[None] for whole in (seen, bins) for part in np.split(whole, ends)]
    same(FAMILIES["nanodet"](outputs, SIZE, 0.3), score, label, sides * stride[:, None])


@given(things(), st.booleans())
def test_yunet_is_read_as_it_was_written(made, turned):
    n, rng = made
    steps = (8, 16, 32)
    pick, x, y, stride = cells(steps, n, rng)
    box, written = cornered(x, y, stride, rng)
    points = rng.uniform(0, 200, (n, 5, 2))
    sure, thing = rng.uniform(0.5, 1, n), rng.uniform(0.5, 1, n)
    rows = len(grid(SIZE, steps)[0])
    made = [rng.uniform(0, 0.2, (rows, 1)), rng.uniform(0, 0.2, (rows, 1)), np.zeros((rows, 4)), np.zeros((rows, 10))]
    made[0][pick, 0], made[1][pick, 0], made[2][pick] = sure, thing, written
    made[3][pick] = (points / stride[:, None, None] - np.stack([x, y], 1)[:, None]).reshape(n, 10)
    ends = np.cumsum([SIZE[0] // s * (SIZE[1] // s) for s in steps])[:-1]
    outputs = [part[None] for whole in made for part in np.split(whole, ends)]
    outputs = outputs[::-1] if turned else outputs  # their order does not matter
    same(FAMILIES["yunet"](outputs, SIZE, 0.3), np.sqrt(sure * thing), np.zeros(n, int), box, points)


@given(things())
def test_fastestdet_is_read_as_it_was_written(made):
    n, rng = made
    h, w = 12, 16
    pick = rng.permutation(h * w)[:n]
    off, side = rng.uniform(-0.9, 0.9, (2, n)), rng.uniform(0.05, 0.9, (2, n))
    label, sure, thing = rng.integers(0, CLASSES, n), rng.uniform(0.6, 1, n), rng.uniform(0.6, 1, n)
    out = np.zeros((5 + CLASSES, h * w))
    out[0], out[5:] = rng.uniform(0, 0.2, h * w), rng.uniform(0, 0.2, (CLASSES, h * w))
    out[0, pick], out[5 + label, pick], out[1:3, pick], out[3:5, pick] = thing, sure, np.arctanh(off), logit(side)
    x, y = (pick % w + off[0]) / w * SIZE[1], (pick // w + off[1]) / h * SIZE[0]
    half = np.stack([side[0] * SIZE[1], side[1] * SIZE[0]]) / 2
    box = np.stack([x - half[0], y - half[1], x + half[0], y + half[1]], 1)
    raw = FAMILIES["fastestdet"]([out.reshape(1, -1, h, w)], SIZE, 0.5)
    same(raw, thing**0.6 * sure**0.4, label, box)


@given(things(), st.sampled_from([4, 8]))
def test_centre_is_read_as_it_was_written_and_only_its_peaks_are(made, s):
    n, rng = made
    h, w = SIZE[0] // s, SIZE[1] // s
    spots = rng.permutation((h // 3) * (w // 3))[:n]
    x, y = spots % (w // 3) * 3 + 1, spots // (w // 3) * 3 + 1  # no two are neighbours
    px = rng.uniform(2, 90, (n, 4))
    label, score = rng.integers(0, CLASSES, n), rng.uniform(0.5, 1, n)
    out = np.zeros((CLASSES + 4, h, w))
    for i in range(n):  # a hill around each peak
        out[label[i], y[i] - 1 : y[i] + 2, x[i] - 1 : x[i] + 2] = 0.9 * score[i]
        out[label[i], y[i], x[i]] = score[i]
    out[-4:, y, x] = np.log(px / s).T
    middle = np.stack([x + 0.5, y + 0.5, x + 0.5, y + 0.5], 1) * s
    same(FAMILIES["centre"]([out[None]], SIZE, 0.3), score, label, middle + px * [-1, -1, 1, 1])


@given(things())
def test_a_face_is_read_as_it_was_written(made):
    n, rng = made
    h, w = SIZE[0] // 8, SIZE[1] // 8
    spots = rng.permutation((h // 3) * (w // 3))[:n]
    x, y = spots % (w // 3) * 3 + 1, spots // (w // 3) * 3 + 1  # no two are neighbours
    side, score, points = rng.uniform(10, 120, n), rng.uniform(0.5, 1, n), rng.uniform(0, 200, (n, 5, 2))
    out = np.zeros((13, h, w))
    for i in range(n):
        out[0, y[i] - 1 : y[i] + 2, x[i] - 1 : x[i] + 2] = 0.9 * score[i]
    out[0, y, x], out[1, y, x] = score, np.log(side / 40)
    cell = (np.stack([x, y], 1) + 0.5) * 8 + 0.5  # edges lie between pixels, there 0 is in the middle of the first
    out[2:12, y, x] = ((points - cell[:, None]) / 40).reshape(n, 10).T
    middle = (points[:, :2].mean(1) + points[:, 3:].mean(1)) / 2
    box = np.hstack([middle - side[:, None] / 2, middle + side[:, None] / 2])
    same(FAMILIES["face"]([out[None]], SIZE, 0.3), score, np.zeros(n, int), box, points)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "shapes", [[(1, 10)], [(1, 10, 3)], [(2, 1008, 85)], [(1, 3, 24, 32)], [(1, 77, 85)], [(1, 64, 1)] * 2, []]
)
def test_what_does_not_fit_is_refused_in_words(family, shapes):
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        FAMILIES[family]([np.zeros(shape, np.float32) for shape in shapes], SIZE, 0.3)


@pytest.mark.parametrize("family", FAMILIES)
def test_numbers_that_are_none_find_nothing(family):
    rows = len(grid(SIZE, (8, 16, 32))[0])
    each = [SIZE[0] // s * (SIZE[1] // s) for s in (8, 16, 32)]
    shapes = {
        "yolox": [(1, rows, 12)],
        "nanodet": [(1, rows, 39)],
        "yunet": [(1, n, k) for k in (1, 1, 4, 10) for n in each],
        "fastestdet": [(1, 12, 12, 16)],
        "centre": [(1, 11, 24, 32)],
        "face": [(1, 13, 24, 32)],
    }
    for value in (np.nan, np.inf, -np.inf, 1e30):
        with np.errstate(all="ignore"):
            raw = FAMILIES[family]([np.full(shape, value, np.float32) for shape in shapes[family]], SIZE, 0.3)
            assert np.isfinite(raw.box[best(raw, ["car"], 0.5)]).all()


def raw(*rows):
    score, label, box = zip(*rows, strict=True)
    return Raw(np.array(score), np.array(label), np.array(box, float), np.empty((len(rows), 0, 2)))


def test_of_two_that_overlap_the_better_one_is_told_unless_they_are_of_two_kinds():
    car, lorry, beside, man = (0, 0, 10, 10), (1, 0, 11, 10), (20, 0, 30, 10), (1, 0, 10, 10)
    found = raw((0.5, 2, car), (0.9, 7, lorry), (0.6, 2, beside), (0.4, 0, man), (0.95, 4, car), (0.8, 60, car))
    kinds = ["person", "two-wheeler", "vehicle", "", "", "", "", "vehicle"]  # 2 and 7 are one kind; 4 and 60 are none
    assert best(found, kinds, 0.45).tolist() == [1, 2, 3]
    assert best(found, kinds, 1.0).tolist() == [1, 2, 0, 3]


def test_a_grid_that_fits_no_strides_is_refused():
    assert strides(3549, (416, 416)) == (8, 16, 32)
    assert strides(3598, (416, 416)) == (8, 16, 32, 64)
    with pytest.raises(ValueError, match="3550 rows"):
        strides(3550, (416, 416))
