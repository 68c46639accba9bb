"""Exposure: the numbers of a shift, gaps and borders, told honestly."""

from __future__ import annotations

import numpy as np
import pytest

from agent import checks, config
from agent.core.core import Core
from agent.core.errors import ConfigFault
from agent.core.frame import Instant, Quality, frame, layout
from models.exposure import Exposure, Mixture

HOUR = 3600.0
MEANS = Exposure(name="co", channel=["s/*"])


def shift(story, seconds=60.0, means=MEANS):
    """Last answer for `story`: (hours, concentration or None) pieces, a sample every `seconds`."""
    seen = layout(["co"], ["mg/m3"])
    memory, t, out = means.start(seen), 0.0, None
    for hours, value in story:
        end = t + hours * HOUR
        while t < end - 1e-6:
            level = np.nan if value is None else value
            quality = Quality.FAULT if value is None else Quality.GOOD
            memory, *out = means.step(memory, frame("s", Instant(t, 0.0), seen, [level], quality))
            t += seconds
    value, quality = out
    return dict(zip(("twa", "stel", "coverage"), value, strict=True)), dict(
        zip(("twa", "stel", "coverage"), quality, strict=True)
    )


@pytest.mark.parametrize(
    ("story", "twa", "stel"),
    [
        ([(8.2, 20.0)], 20.0, 20.0),
        ([(4.0, 40.0), (4.0, 0.0)], 20.0, 0.0),
        ([(7.75, 10.0), (0.25, 60.0)], 11.6, 60.0),  # (7.75 x 10 + 0.25 x 60) / 8
        ([(8.0, 100.0), (8.2, 5.0)], 5.0, 5.0),  # what is older than a shift counts no longer
    ],
)
def test_means_that_can_be_reckoned_by_hand(story, twa, stel):
    value, quality = shift(story)
    assert value["twa"] == pytest.approx(twa, rel=0.03)
    assert value["stel"] == pytest.approx(stel, rel=0.05, abs=0.5)
    assert quality["twa"] == quality["stel"] == Quality.GOOD


def test_the_rate_of_the_poll_does_not_matter():
    answers = [shift([(6.0, 10.0), (2.0, 30.0)], seconds)[0]["twa"] for seconds in (4.0, 15.0, 60.0)]
    assert max(answers) - min(answers) < 0.2


def test_a_short_gap_is_bridged_and_a_long_one_is_told():
    value, quality = shift([(4.0, 20.0), (0.2, None), (4.0, 20.0)])
    assert value["coverage"] == pytest.approx(100.0, abs=1)
    assert value["twa"] == pytest.approx(20.0)
    value, quality = shift([(3.0, 20.0), (3.0, None), (2.0, 20.0)])
    assert value["coverage"] == pytest.approx(63.0, abs=2)
    assert value["twa"] == pytest.approx(20.0)
    assert quality["twa"] == Quality.UNCERTAIN


def test_what_was_never_measured_has_no_mean():
    value, quality = shift([(1.0, None)])
    assert np.isnan(value["twa"])
    assert quality["twa"] == Quality.UNCERTAIN


@pytest.mark.parametrize("one", [MEANS, Mixture(name="air", channel=["s/*"], limits=[20.0, 10.0, 5.0])])
def test_the_laws_of_detectors(one):
    assert checks.detector(one) == []


def test_a_detector_with_hidden_memory_is_found(monkeypatch):
    seen = []

    def step(self, memory, frame):
        seen.append(frame)
        return memory, np.array([float(len(seen))] * 9), np.zeros(9, np.uint8)

    monkeypatch.setattr(Exposure, "step", step)
    assert "a step leaves the old memory as it was" in checks.detector(MEANS)


SITE = """
[site]
name = "shop"
builtin = false
[[bus]]
name = "net"
url = "tcp://127.0.0.1:502"
[[bus.device]]
name = "hall"
unit = 1
period = 60.0
[[bus.device.channel]]
key = "co"
at = "holding:0"
unit = "mg/m3"
[[bus.device.channel]]
key = "nh3"
at = "holding:1"
unit = "mg/m3"
[[detector]]
name = "shift"
kind = "exposure"
channel = "hall/co"
[[detector]]
name = "air"
kind = "mixture"
channel = ["hall/co", "hall/nh3"]
limits = [20.0, 20.0]
[[rule]]
name = "stel"
profile = "exposure/stel/CO"
channel = "hall/co.stel"
[[rule]]
name = "mix"
profile = "exposure/mixture"
channel = "hall/air.index"
"""


def test_rules_see_what_a_detector_adds_like_any_other_channel(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text(SITE)
    site = config.load(path)
    core = Core(site.layouts, site.rules, "en", site.detectors)
    memory, told = core.start("b", Instant(0.0, 0.0)), []
    for minute in range(40):
        event = frame("hall", Instant(60.0 * minute, 0.0), site.layouts["hall"], [40.0 if minute >= 20 else 5.0, 4.0])
        memory, verdict = core.step(memory, event)
        told += [(minute, a.rule, a.channel, a.unit) for a in verdict.alarms]
        assert verdict.frames[0].layout.key == ("co", "nh3", "co.twa", "co.stel", "co.coverage", "air.index")
    assert told[0] == (20, "mix.index", "hall/air.index", "")  # 40/20 + 4/20, at once
    assert [rule for _, rule, _, _ in told[1:]] == ["stel.pre", "stel.stel"]
    pre, stel = (minute for minute, *_ in told[1:])
    assert 24 <= pre <= 26  # the mean of 15 min passes 15 after 4 min of 40, 30 after 11
    assert 30 <= stel <= 32


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('channel = "hall/co"', 'channel = "hall/c0"', "no channel is called hall/c0"),
        ("limits = [20.0, 20.0]", "limits = [20.0]", "2 channels of one source, 1 limits"),
        ("limits = [20.0, 20.0]", "limits = [20.0, 0.0]", "above 0"),
        ('kind = "exposure"', 'kind = "exposre"', "did you mean `exposure`?"),
        (
            'name = "air"\nkind = "mixture"\nchannel = ["hall/co", "hall/nh3"]\nlimits = [20.0, 20.0]',
            'name = "air"\nkind = "exposure"\nchannel = "hall/co"',
            "a second channel is called `hall/co.twa`",
        ),
    ],
)
def test_a_detector_that_cannot_work_is_refused_in_words(tmp_path, old, new, says):
    path = tmp_path / "site.toml"
    assert old in SITE
    path.write_text(SITE.replace(old, new))
    with pytest.raises(ConfigFault, match=says):
        config.load(path)
