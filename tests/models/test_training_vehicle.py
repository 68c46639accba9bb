"""What the vehicle net is taught: targets that decode to their boxes, variation that keeps boxes true."""

from __future__ import annotations

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from models.training import vehicle  # noqa: E402
from models.vision import decode  # noqa: E402

H, W = vehicle.CROP


def test_targets_decode_to_the_boxes_they_were_made_of():
    boxes = np.array([[0, 30.0, 60, 95, 110, 1], [2, 200, 40, 214, 90, 1], [1, 300, 100, 316, 130, 1]], np.float32)
    heat, _, size, _ = vehicle.targets(boxes, H // 8, W // 8)
    raw = decode.centre([np.concatenate([heat, size])[None]], (H, W), 0.9)
    found = {int(k): box for k, box in zip(raw.label, raw.box, strict=True)}
    for kind, *box, _ in boxes:
        assert found[int(kind)] == pytest.approx(box, abs=0.51)  # 0.05 of a cell is the least distance


def test_what_is_to_be_overlooked_is_neither_asked_for_nor_punished():
    boxes = np.array([[0, 100.0, 60, 160, 110, 0]], np.float32)
    heat, matter, _, weight = vehicle.targets(boxes, H // 8, W // 8)
    assert heat.max() == 0
    assert weight.max() == 0
    assert matter[0, 10, 16] == 0
    assert matter[1, 10, 16] == 1
    assert matter[0, 20, 16] == 1


def test_variation_moves_a_box_with_what_is_in_it():
    """A bright block keeps filling its box, however the picture is cut, scaled and mirrored."""
    image = np.full((*vehicle.SIZE, 3), 60, np.uint8)
    image[120:180, 300:400] = 230
    one = vehicle.Labelled(image, np.array([[0, 300, 120, 400, 180, 1]], np.float32))
    rng = np.random.default_rng(2)
    seen = 0
    for _ in range(40):
        out = vehicle.varied(one, rng)
        for _, x1, y1, x2, y2, counts in out.boxes:
            if not counts or x2 - x1 < 24 or y2 - y1 < 16:
                continue
            grey = out.image.mean(-1)
            inside = grey[int(y1) + 4 : int(y2) - 4, int(x1) + 4 : int(x2) - 4].mean()
            around = grey[int(y1) + 4 : int(y2) - 4, max(0, int(x1) - 12) : max(0, int(x1) - 5)]
            if around.size:
                seen += inside > around.mean() + 5
    assert seen > 12


def test_a_world_shows_what_its_boxes_say():
    """25 times the same seed: the same pictures; boxes lie in the picture and things that count are seen."""
    a, b = (vehicle.World(np.random.default_rng(3), {}).picture() for _ in range(2))
    assert (a.image == b.image).all()
    assert a.image.shape == (*vehicle.SIZE, 3)
    assert len(a.boxes)
    assert (a.boxes[:, 1] >= 0).all()
    assert (a.boxes[:, 3] <= vehicle.SIZE[1]).all()
    assert (a.boxes[:, 3] > a.boxes[:, 1]).all()


def test_an_aimed_world_shows_what_it_is_aimed_at_and_an_empty_one_nobody():
    crowded = vehicle.Aim(cars=0, people=9, walk=6)
    kinds = vehicle.World(np.random.default_rng(3), {}, crowded).picture().boxes[:, 0]
    assert (kinds == 2).sum() >= 2
    nobody = vehicle.Aim(empty=1.0)
    assert not len(vehicle.World(np.random.default_rng(3), {}, nobody).picture().boxes)


def test_a_part_about_somebody_shows_them():
    image = np.full((*vehicle.SIZE, 3), 60, np.uint8)
    image[120:180, 640:660] = 230
    one = vehicle.Labelled(image, np.array([[2, 640, 120, 660, 180, 1]], np.float32))
    rng = np.random.default_rng(2)
    for _ in range(20):
        out = vehicle.varied(one, rng, (0.7, 2.2), np.array([650.0, 150.0]))
        assert len(out.boxes) == 1
        assert out.boxes[0, 5]


def test_a_stage_draws_from_what_it_names():
    def scene(*box: float) -> vehicle.Labelled:
        return vehicle.Labelled(np.zeros((*vehicle.SIZE, 3), np.uint8), np.array([box], np.float32))

    lorry, walker = scene(0, 100, 20, 160, 120, 1), scene(2, 100, 80, 112, 120, 1)
    pools = vehicle.chosen([lorry], [walker], [], vehicle.Shares(0.5, 0.1, 0.2, 0.1, 0.1))
    assert [pool.pictures for pool in pools] == [[lorry], [lorry], [walker], [walker]]
    for stage in vehicle.STAGES:
        assert sum(stage.shares) == pytest.approx(1)


def test_of_two_that_overlap_the_surer_stays():
    rows = np.array([[0, 0, 0, 10, 10, 0.5], [0, 1, 0, 11, 10, 0.9], [1, 0, 0, 10, 10, 0.4], [0, 40, 0, 50, 10, 0.3]])
    assert vehicle.nms(rows, 0.5) == [1, 2, 3]
