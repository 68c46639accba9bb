"""The nets for eyes and mouths that ship, on drawn ones that they have not seen."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("onnxruntime")

from models.training import eyes
from models.vision import net
from models.vision.manifest import SHIPPED


def said(name: str, crops: list[np.ndarray]) -> np.ndarray:
    pixels = np.stack(crops)[:, None].astype(np.float32)
    return net.load(name, folders=(SHIPPED,)).run(pixels)[0]


def seen(image: np.ndarray, rng: np.random.Generator, kind: str = "eye") -> np.ndarray:
    """A plain crop, in no bad light."""
    side, y = (eyes.EYE, 0.0) if kind == "eye" else (eyes.MOUTH, eyes.BELOW)
    frame = eyes.Frame(side, 0.0, y, rng.normal(0, 0.05), 1.0, 0.0)
    bright = np.clip(0.5 + (image - image.mean()) / (4 * image.std() + 1e-6), 0, 1)
    return eyes.shot(rng, bright.astype(np.float32), frame)


@pytest.fixture(scope="module")
def pairs():
    """Forty eyes that nobody trained on, shut and open."""
    shut, wide = [], []
    for k in range(40):
        for crops, opening in ((shut, 0.0), (wide, 1.0)):
            rng = np.random.default_rng((99, k))
            crops.append(seen(eyes.eye(rng, opening, infrared=k % 3 == 0).image, rng))
    return shut, wide


def test_of_forty_eyes_at_least_36_are_told_shut_and_as_many_open(pairs):
    shut, wide = (said("eye", crops) for crops in pairs)
    assert (shut[:, 0] > 0).sum() >= 36
    assert (wide[:, 0] < 0).sum() >= 36
    assert np.median(shut[:, 1]) < 0.15
    assert np.median(wide[:, 1]) > 0.7


def test_neither_brightness_nor_contrast_nor_side_changes_what_is_told(pairs):
    shut, wide = pairs
    crops = [np.clip(crop, 30, 225) for crop in shut + wide]
    plain = said("eye", crops)
    assert said("eye", [crop[:, ::-1] for crop in crops]) == pytest.approx(plain, abs=1e-3)
    assert said("eye", [crop // 2 + 60 for crop in crops])[:, 0] == pytest.approx(plain[:, 0], abs=1.0)


def test_dark_and_mirroring_glasses_hide_an_eye_instead_of_shutting_it():
    crops = []
    for k in range(40):
        rng = np.random.default_rng((98, k))
        crops.append(seen(eyes.eye(rng, 1.0, lens=("dark", "mirror")[k % 2])._replace(seen=0.0).image, rng))
    assert (said("eye", crops)[:, 2] > 0).mean() > 0.7


def test_a_yawn_is_wider_than_talk_and_talk_than_a_mouth_that_is_shut():
    middle = []
    for opening in (0.0, 0.25, 0.9):
        crops = []
        for k in range(30):
            rng = np.random.default_rng((97, k))
            crops.append(seen(eyes.mouth(rng, opening, 0.0).image, rng, "mouth"))
        middle.append(float(np.median(said("mouth", crops)[:, 0])))
    assert middle[0] < 0.06
    assert 0.08 < middle[1] < 0.45
    assert middle[2] > 0.6
