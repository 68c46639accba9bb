"""A net is believed only when it is whole; what it finds comes back in pixels of the picture it was shown."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import numpy as np
import pytest

from agent.core.errors import NetFault, WorldFault
from models import window
from models.training.window import placed
from models.vision import net, shelf
from models.vision.manifest import SHIPPED, Manifest, entries, read
from tests.tools.onnx import blue

cv2 = pytest.importorskip("cv2")
pytest.importorskip("onnxruntime")


def described(weights: bytes, **other) -> Manifest:
    fields = {
        "file": "blue.onnx",
        "task": "test",
        "family": "centre",
        "kinds": ["vehicle"],
        "licence": "CC0-1.0",
        "source": "this test",
        "sha256": hashlib.sha256(weights).hexdigest(),
        "bytes": len(weights),
        "input": [64, 96],
        "stride": 8,
        "pad": 0,
    }
    return msgspec.convert({**fields, **other}, Manifest)


def here(folder: Path, weights: bytes | None = None, **other) -> tuple[Path, ...]:
    """The folder with the blue net and its manifest in it."""
    weights = blue() if weights is None else weights
    (folder / "blue.onnx").write_bytes(weights)
    (folder / "blue.toml").write_text(shelf.toml("blue", described(weights, **other)))
    return (folder,)


def picture(h, w, *boxes):
    """Grey, with blue boxes x1, y1, x2, y2."""
    made = np.full((h, w, 3), 20, np.uint8)
    for x1, y1, x2, y2 in boxes:
        made[y1:y2, x1:x2] = (255, 0, 0)
    return made


def test_what_is_found_is_in_pixels_of_the_picture(tmp_path):
    one = net.load("blue", folders=here(tmp_path))
    small = one.find(picture(64, 96, (32, 16, 40, 24)))
    assert [(f.kind, round(f.score, 2), f.box) for f in small] == [("vehicle", 1.0, pytest.approx((20, 4, 52, 36)))]
    large = one.find(picture(320, 960, (320, 160, 400, 240)))  # a tenth of it, in the upper part of the letter-box
    assert [f.box for f in large] == [pytest.approx((200, 40, 520, 320))]
    assert one.find(picture(64, 96)) == []


def test_what_is_far_is_found_by_a_second_look_at_a_part_and_told_once(tmp_path):
    one = net.load("blue", folders=here(tmp_path))
    seen = picture(320, 960, (320, 160, 400, 240), (608, 128, 624, 144))
    part = (480.0, 0.0, 672.0, 128.0 + 0.5)
    assert [f.box for f in one.find(seen)] == [pytest.approx((200, 40, 520, 320))]
    near, far = sorted(one.find(seen, [(480, 64, 672, 192)]), key=lambda f: f.box[0])
    assert near.box == pytest.approx((200, 40, 520, 320))
    assert far.box == pytest.approx((584, 104, 648, 168))
    assert len(one.find(seen, [part])) == 1  # what the edge of a part cuts is left to the look at the whole


@pytest.mark.parametrize(("sides", "shown"), [((0, 96), (32, 96)), ((64, 0), (64, 192)), ((0, 0), (40, 120))])
def test_a_free_side_follows_the_picture(tmp_path, sides, shown):
    where = here(tmp_path, blue(height="h", width="w"), input=sides)
    one = net.load("blue", folders=where)
    seen = picture(40, 120, (80, 8, 88, 16))
    assert net.shown(one.manifest, seen).size == shown
    (found,) = one.find(seen)
    assert found.box[0] < 82 < 86 < found.box[2]


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize(("colour", "order"), [("bgr", [0, 1, 2]), ("rgb", [2, 1, 0]), ("grey", None)])
def test_pixels_are_ordered_and_normalised_as_the_manifest_says(layout, colour, order):
    mean, std = ([10.0, 20.0, 30.0], [2.0, 4.0, 5.0]) if order else ([10.0], [2.0])
    how = described(b"x", colour=colour, mean=mean, std=std, scale=0.5, pad=100, layout=layout)
    seen = np.random.default_rng(1).integers(0, 255, (32, 96, 3), np.uint8)
    pixels = net.shown(how, seen).pixels[0]
    pixels = pixels if layout == "nchw" else pixels.transpose(2, 0, 1)
    plain = seen[..., order] if order else cv2.cvtColor(seen, cv2.COLOR_BGR2GRAY)[..., None]
    np.testing.assert_allclose(pixels[:, :32], ((0.5 * plain - mean) / std).transpose(2, 0, 1), atol=1e-4)
    np.testing.assert_allclose(pixels[:, 32:], np.tile(((50 - np.array(mean)) / std)[:, None, None], (1, 32, 96)))


def test_a_picture_may_be_a_view_of_another_one_and_nothing_else_is_a_picture(tmp_path):
    one = net.load("blue", folders=here(tmp_path))
    whole = picture(128, 192, (64, 32, 80, 48))
    assert one.find(whole[::-1, ::-1]) == one.find(whole[::-1, ::-1].copy())
    for no in (whole[..., 0], whole.astype(float), whole[:0]):
        with pytest.raises(ValueError, match="a picture is"):
            one.find(no)


def wrong(says, folder, **other):
    with pytest.raises(NetFault, match=says) as told:
        net.load("blue", folders=(folder,), **other)
    assert isinstance(told.value, WorldFault)  # the caller makes an alarm of it
    return str(told.value)


def test_a_file_that_is_not_the_one_of_its_manifest_is_refused_and_what_to_do_is_said(tmp_path):
    here(tmp_path)
    file, whole = tmp_path / "blue.onnx", blue()
    file.write_bytes(whole[:-40])
    assert "vedette models import" in wrong(rf"{len(whole) - 40} of {len(whole)} bytes", tmp_path)
    file.write_bytes(whole + b"x")
    wrong("more than", tmp_path)
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    wrong("sha256 is", tmp_path)
    file.unlink()
    wrong("is not here", tmp_path)
    file.mkdir()
    wrong("net `blue` is not here|Is a directory", tmp_path)
    (tmp_path / "blue.toml").unlink()
    wrong("no net `blue`; there are none", tmp_path)


def test_a_file_that_is_no_net_or_another_kind_of_net_is_refused(tmp_path):
    here(tmp_path, b"this is no net")
    wrong("cannot load it", tmp_path)
    here(tmp_path, input=[64, 64])
    wrong(r"takes tensor\(float\) \[1, 3, 64, 96\]; its manifest says one tensor\(float\) \[1, 3, 64, 64\]", tmp_path)
    here(tmp_path, colour="grey")
    wrong("takes", tmp_path)
    here(tmp_path, layout="nhwc")
    wrong("takes", tmp_path)
    here(tmp_path, family="yolox")
    wrong("does not speak as a yolox", tmp_path)
    here(tmp_path, blue(side=np.inf))
    wrong("no number", tmp_path)


def test_a_provider_that_this_build_lacks_is_named_with_those_it_has(tmp_path):
    here(tmp_path)
    for provider in ("rknpu", "NoSuchExecutionProvider"):
        assert "cpu" in wrong(f"no provider `{provider}`", tmp_path, provider=provider)
    assert net.load("blue", folders=(tmp_path,), provider="CPUExecutionProvider").name == "blue"


def test_a_net_uses_as_many_threads_as_it_is_told_and_they_do_not_spin(tmp_path):
    here(tmp_path)
    options = net.load("blue", folders=(tmp_path,), threads=2).session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ('family = "resnet"', "family `resnet`"),
        ('file = "../../etc/passwd"', "file"),
        ('kinds = [""]', "no kind"),
        ("mean = [1.0, 2.0]", "one number or 3"),
        ('sha256 = "abc"', "sha256"),
        ("score = 0.0", "score"),
        ('colours = "bgr"', "colours"),
    ],
)
def test_a_manifest_that_is_wrong_hides_only_its_own_nets(tmp_path, row, says):
    here(tmp_path)
    bad = tmp_path / "a.toml"
    key = row.split(" ")[0]
    rows = [line for line in (tmp_path / "blue.toml").read_text().splitlines() if not line.startswith(f"{key} ")]
    bad.write_text("\n".join([*rows, row]).replace("blue", "bad", 1))
    with pytest.raises(NetFault, match=says):
        read(bad)
    known, told = entries((tmp_path,))
    assert list(known) == ["blue"]
    assert len(told) == 1
    assert says.strip("`") in told[0] or says in told[0]


def test_a_manifest_is_written_as_it_is_read(tmp_path):
    odd = described(
        blue(),
        about='says "hm" \\ 中文 \x7f\n',
        figures={"ap50, 60 m": 0.89, "of": [1, 2]},
        mean=[1.5],
        url=["http://a/b"],
    )
    (tmp_path / "odd.toml").write_text(shelf.toml("odd.net", odd))
    assert read(tmp_path / "odd.toml") == {"odd.net": odd}


def test_the_manifest_that_ships_is_whole_and_the_window_models_are_read_beside_it():
    nets = read(SHIPPED / "MANIFEST.toml")
    assert {"yolox_nano", "nanodet_m", "fastestdet", "yunet_n_320"} <= set(nets)
    assert all(one.licence and one.source and (one.url or (SHIPPED / one.file).is_file()) for one in nets.values())
    assert not set(window.known()) & {"net", *nets}


def test_a_window_model_that_is_trained_anew_leaves_the_nets_in_the_manifest_alone():
    before = (SHIPPED / "MANIFEST.toml").read_text("utf-8")
    after = tomllib.loads(placed(before, "shape", '[shape]\nfile = "new.onnx"\n'))
    assert after == {**tomllib.loads(before), "shape": {"file": "new.onnx"}}
    assert list(tomllib.loads(placed(before, "next", "[next]\nlooks = 4\n"))) == ["next", "shape", "net"]


def test_a_net_that_is_missing_is_no_reason_to_fail_before_it_is_asked_for():
    code = "import sys; import models.vision.net; print('onnxruntime' in sys.modules or 'cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
