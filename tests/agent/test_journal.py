"""Recordings are written and read back without loss, and what does not fit is named by its line."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.core import Ack, Action, Core, Kept, Tick
from agent.core.errors import ConfigFault
from agent.core.frame import Instant, Quality, frame, layout
from agent.core.rules import High
from agent.journal import Recorder, Start, decode, encode, read, replay

MADE = layout(["a", "b"], ["%", "m"])
LAYOUTS = {"s": MADE}
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.lists(st.one_of(FINITE, st.just(float("nan"))), min_size=2, max_size=2),
    st.lists(st.sampled_from(list(Quality)), min_size=2, max_size=2),
    st.lists(st.floats(0, 1e6), min_size=2, max_size=2),
    st.tuples(FINITE, FINITE, st.booleans()),
)
def test_a_frame_comes_back_as_it_went(value, quality, age, at):
    quality = [Quality.UNCERTAIN if v != v and q == 0 else q for v, q in zip(value, quality, strict=True)]
    sent = frame("s", Instant(*at), MADE, value, quality, age, raw=[1.0, 2.0])
    back = decode(encode(sent), LAYOUTS)
    assert back.at == sent.at
    for name in ("value", "quality", "age", "raw"):
        np.testing.assert_array_equal(getattr(back, name), getattr(sent, name))


@pytest.mark.parametrize(
    "event",
    [
        Tick(Instant(1, 2, True)),
        Ack("b-1", "李", Instant(1, 2)),
        Kept("b-1", "b-1.gate sha256:00", Instant(1, 2)),
        Start("b", Instant(0, 0)),
        Action("shelve", "gas", "s/x", "李", Instant(1, 2), "标校", 60.0),
    ],
)
def test_other_events_come_back_as_they_went(event):
    assert decode(encode(event), LAYOUTS) == event


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "x:7"),
        ('{"frame": "t", "mono": 1, "value": [1, 2]}', "no source `t`"),
        ('{"frame": "s", "mono": 1, "value": [1]}', "2 channels, the line has 1"),
        ('{"frame": "s", "mono": 1, "value": [1, 2], "quality": [0]}', "as long as value"),
        ('{"frame": "s", "mono": 1, "vlaue": [1, 2]}', "vlaue"),
        ('{"frame": "s", "value": [1, 2]}', "mono"),
        ('{"frame": "s", "mono": 1, "value": [1, 2], "quality": [0, 300]}', "255"),
        (b'{"ack": "\xff", "mono": 1}', "x:7"),
    ],
)
def test_a_line_that_does_not_fit_is_named(line, says):
    with pytest.raises(ConfigFault, match=says):
        decode(line, LAYOUTS, "x:7")


def test_a_recording_replays_to_the_same_alarms_byte_for_byte(tmp_path):
    core = Core(LAYOUTS, [High(name="gas", channel=["s/a"], limit=1.0)])
    recorder = Recorder(tmp_path)
    start = Start("000001-abcd", Instant(0.0, 1.7e9))
    memory = core.start(start.boot, start.at)
    recorder.event(start)
    for second, value in enumerate([0.1, 1.5, 1.5, 0.2, 3.0]):
        event = frame("s", Instant(float(second), 1.7e9 + second), MADE, [value, 0.0])
        recorder.event(event)
        memory, verdict = core.step(memory, event)
        recorder.alarms(verdict.alarms)
    recorder.close()
    again = tmp_path / "again"
    copy = Recorder(again)
    copy.alarms(replay(core, read(tmp_path / "frames.jsonl", LAYOUTS)))
    copy.close()
    assert (again / "alarms.jsonl").read_bytes() == (tmp_path / "alarms.jsonl").read_bytes()
    assert (again / "alarms.jsonl").read_bytes().count(b"\n") == 3
