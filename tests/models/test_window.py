"""The window detector: any model with a manifest, clear words for what cannot run, and a change of shape is told."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from agent import checkpoint, checks, cli, config
from agent.core import words
from agent.core.errors import ConfigFault
from agent.core.frame import Instant, Quality, frame, layout
from models import tail
from models.window import SHIPPED, Window, found

pytest.importorskip("onnxruntime")

TINY = Path(__file__).parent / "data" / "tiny.onnx"
MANIFEST = """
[{name}]
file = "{file}"
sha256 = "{digest}"
looks = {looks}
normal = "{normal}"
output = "{output}"
"""


def manifest(folder, name="tiny", file="tiny.onnx", digest="", looks=8, normal="median", output="reconstruction"):
    """A manifest of the tiny model, beside a copy of it."""
    (folder / "tiny.onnx").write_bytes(TINY.read_bytes())
    digest = digest or hashlib.sha256(TINY.read_bytes()).hexdigest()
    rows = MANIFEST.format(name=name, file=file, digest=digest, looks=looks, normal=normal, output=output)
    (folder / "own.toml").write_text(rows)
    return str(folder / "own.toml")


def run(rows, one, step=60.0, memory=None, begin=0):
    """(t, n) columns over the rows (t, n), and the memory after them."""
    rows = np.asarray(rows, float)
    rows = rows[:, None] if rows.ndim == 1 else rows
    seen = layout([f"c{i}" for i in range(rows.shape[1])], ["mm"] * rows.shape[1], stale=1e12)
    memory, out = memory or one.start(seen), []
    for i, row in enumerate(rows, begin):
        quality = np.where(np.isnan(row), Quality.FAULT, Quality.GOOD)
        memory, value, _ = one.step(memory, frame("s", Instant(i * step, i * step), seen, row, quality))
        out.append(value)
    return np.array(out), memory


def sine(n, seed=1):
    return np.sin(2 * np.pi * np.arange(n) / 24) + np.random.default_rng(seed).normal(0.0, 0.05, n)


def shipped(**settings):
    return Window(name="w", channel=["s/*"], **settings)


def test_the_laws_of_a_detector_hold(tmp_path):
    assert checks.detector(shipped()) == []
    assert checks.detector(shipped(every=30.0)) == []
    assert checks.detector(shipped(model=manifest(tmp_path))) == []


def test_what_ships_is_whole_and_says_where_it_is_from():
    for name in ("shape",):
        model = found(name)
        assert (SHIPPED.parent / model.manifest.file).stat().st_size < 64_000
        assert model.manifest.trained
        assert model.manifest.script
        assert model.manifest.figures


@pytest.mark.parametrize("size", [1e-6, 1e6])
def test_a_change_of_shape_is_told_whatever_the_unit(size):
    """A sine that swings between the same ends as before, only twice as fast: no limit sees that."""
    x = sine(3000)
    x[2500:] = np.sin(2 * np.pi * np.arange(500) / 6) + np.random.default_rng(2).normal(0.0, 0.05, 500)
    out, _ = run(size * (x + 7.0), shipped())
    told = np.flatnonzero(np.diff((out[:, 0] >= 0).astype(int), prepend=0) > 0)
    assert told.size, "never told"
    assert 2500 <= told[0] <= 2548
    assert np.isnan(out[: tail.LEARN, 0]).all()


def test_noise_spends_less_than_its_budget():
    """20 channels for 21 days at 10 min; the budget of a month, and of what was learnt on the way there."""
    x = np.random.default_rng(3).normal(size=(3000, 20))
    out, _ = run(x, shipped(), 600.0)
    assert (np.diff((out >= 0).astype(int), axis=0) > 0).sum() <= 20 * 2


def test_a_channel_alone_gives_what_it_gives_among_others():
    rows = np.column_stack([sine(400, seed) for seed in range(3)])
    rows[100:120, 1] = np.nan
    together, _ = run(rows, shipped())
    for i in range(3):
        alone, _ = run(rows[:, i], shipped())
        np.testing.assert_allclose(alone[:, 0], together[:, i], rtol=1e-4, atol=1e-4)


def test_what_is_missing_is_no_look_and_a_long_pause_begins_anew(tmp_path):
    one = shipped(model=manifest(tmp_path))
    rows = sine(400)
    rows[200:205] = np.nan
    out, memory = run(rows, one)
    assert np.isfinite(out[206:, 0]).all()
    assert memory.held[0] == 8
    after, memory = run(rows[:3], one, memory=memory, begin=1000)
    assert memory.held[0] == 3
    assert np.isnan(after).all()


def test_a_restart_goes_on_as_if_nothing_had_been():
    rows = np.column_stack([sine(400, 1), sine(400, 2)])
    one = shipped()
    whole, _ = run(rows, one)
    first, memory = run(rows[:250], one)
    kept = msgspec.msgpack.encode(memory, enc_hook=checkpoint._plain)
    again = msgspec.msgpack.decode(kept, type=type(memory), dec_hook=checkpoint._array)
    second, _ = run(rows[250:], one, memory=again, begin=250)
    np.testing.assert_array_equal(np.vstack([first, second]), whole)


def test_the_errors_of_another_model_are_forgotten(tmp_path):
    _, memory = run(sine(300), shipped())
    out, memory = run(sine(10), shipped(model=manifest(tmp_path)), memory=memory, begin=300)
    assert memory.ring.shape == (1, 8)
    assert np.isnan(out).all()


def test_the_memory_does_not_grow():
    one = shipped()
    sizes = [len(msgspec.msgpack.encode(run(sine(n), one)[1], enc_hook=checkpoint._plain)) for n in (300, 600)]
    assert sizes[0] == sizes[1]


def test_somebody_elses_model_runs_by_its_own_manifest(tmp_path):
    """Of another type and shape, eight looks long, a reconstruction: here its error is the spread of the window."""
    one = shipped(model=manifest(tmp_path, normal="none"))
    rows = np.random.default_rng(1).normal(size=(300, 2))
    out, memory = run(rows, one)
    np.testing.assert_allclose(memory.error, rows[-8:].std(axis=0))
    assert np.isfinite(out[-1]).all()
    assert found(one.model + "#tiny").name == "tiny"


def test_why_says_it_in_both_languages():
    rows = sine(300)
    one = shipped()
    _, memory = run(rows, one)
    seen = layout(["c0"], ["mm"], stale=1e12)
    for language in ("en", "zh"):
        said = [words.why(language, row, facts) for row, facts in one.why(memory, seen, 0)]
        assert "shape" in said[0]
        assert len(said) == 3


WRONG = {
    "another file": ({"digest": "0" * 64}, "is not the one of its manifest"),
    "no file": ({"file": "gone.onnx"}, "gone.onnx: No such file"),
    "another length": ({"looks": 9}, "wanted is one tensor (batch, 9)"),
    "another output": ({"output": "forecast"}, "gives 8 numbers a window; a forecast of 8 looks has 1"),
    "no such output": ({"output": "guess"}, "Invalid enum value 'guess'"),
}


@pytest.mark.parametrize(("change", "says"), WRONG.values(), ids=WRONG)
def test_what_cannot_run_is_told_in_words(tmp_path, change, says):
    with pytest.raises(ValueError) as told:
        shipped(model=manifest(tmp_path, **change))
    assert says in str(told.value)


def test_a_name_that_is_not_there_is_told_with_those_that_are(tmp_path):
    with pytest.raises(ValueError, match="no window model `waist` that ships"):
        shipped(model="waist")
    with pytest.raises(ValueError, match=r"gone\.toml: No such file"):
        shipped(model=str(tmp_path / "gone.toml"))
    with pytest.raises(ValueError, match="there are tiny"):
        shipped(model=manifest(tmp_path) + "#other")


def test_what_is_no_model_is_told(tmp_path):
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    digest = hashlib.sha256(b"junk").hexdigest()
    with pytest.raises(ValueError, match="cannot load it"):
        shipped(model=manifest(tmp_path, file="junk.onnx", digest=digest))


def test_without_onnxruntime_the_check_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match="onnxruntime: pip install"):
        shipped(model=manifest(tmp_path))


SITE = """
[site]
name = "mine"
[[bus]]
name = "net"
url = "tcp://127.0.0.1:502"
[[bus.device]]
name = "dam"
unit = 1
period = 60.0
channel = [{{ key = "tilt", at = "input:0", unit = "mm", stale = 1e6 }}]
[[detector]]
name = "shape"
kind = "window"
channel = ["dam/tilt"]
model = "{model}"
"""


def test_the_configuration_refuses_what_cannot_run_and_alarms_by_itself(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text(SITE.format(model=manifest(tmp_path, digest="0" * 64)))
    with pytest.raises(ConfigFault) as told:
        config.load(path)
    assert "is not the one of its manifest" in str(told.value)
    path.write_text(SITE.format(model="shape"))
    assert [rule.channel for rule in config.load(path).rules if rule.name == "anomaly"] == [["dam/tilt.shape"]]


def test_detect_runs_it_on_a_file(tmp_path, capsys):
    x = sine(1200)
    x[1000:] = np.sin(2 * np.pi * np.arange(200) / 6)
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["time,tilt", *(f"{60 * i},{v:.4f}" for i, v in enumerate(x))]))
    assert cli.main(["detect", str(path), "--kind", "window", "--out", str(tmp_path / "b.csv")]) == 0
    assert "tilt: the last 48 looks do not run as the model `shape` knows" in capsys.readouterr().err
    assert cli.main(["detect", str(path), "--kind", "window", "--model", "gone"]) == cli.USAGE
    assert "no window model `gone`" in capsys.readouterr().err
    assert cli.main(["detect", str(path), "--model", "shape"]) == cli.USAGE


def test_nothing_asks_for_onnxruntime_before_a_model_does():
    """A box without the extra starts, and loads every other detector."""
    code = "import sys, models; [models.detector(k) for k in models.DETECTORS]; print('onnxruntime' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"
