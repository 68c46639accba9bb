"""The vehicle net that ships, on drawn roads that it has not seen."""

import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("onnxruntime")

from models.training.vehicle import overlap
from models.vision import net
from models.vision.manifest import SHIPPED
from simulators import road


@pytest.fixture(scope="module")
def finder():
    return net.load("vehicle", folders=(SHIPPED,))


def test_of_six_cars_ahead_at_least_five_are_found(finder):
    found = {}
    for story, pictures in {"brake": (8, 60), "cut-in": (60, 90), "standing": (50, 90)}.items():
        drive = road.told(story, 77, ("day",), 1280, 20.0)
        for n in pictures:
            image, boxes = drive.look(n)
            ahead = next(b for b in boxes if b.actor == 0)
            seen = [one.box for one in finder.find(image) if one.kind == "vehicle"]
            found[story, n] = bool(seen) and overlap(np.array(seen), np.array([ahead[2:6]])).max() > 0.5
    assert sum(found.values()) >= 5, found


def test_a_plain_picture_shows_nothing(finder):
    assert finder.find(np.full((720, 1280, 3), 120, np.uint8)) == []
