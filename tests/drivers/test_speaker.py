"""What is said in the cab: real programs, which write down what they were asked to say."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
import wave

import msgspec
import pytest

from agent import checks
from agent.clock import ManualClock, SystemClock
from agent.core import words
from agent.core.alarm import Order
from agent.core.frame import Instant
from agent.core.ports import Event, Touch
from agent.orders import OrderBox
from drivers import speaker
from drivers.speaker import Speaker

NOTE = "import os, sys; open(sys.argv[1], 'a').write('|'.join(sys.argv[2:]) + '|' + str(os.getpid()) + chr(10))"
LATEST = 0.3  # s from the decision to the begin of the program


def made(folder, then="", **more):
    """A speaker whose program notes its words in `folder`/said, and does `then`."""
    row = {"say": "wake", "armed": True}
    raw = {
        "name": "voice",
        "speak": [sys.executable, "-c", f"{NOTE}\n{then}", str(folder / "said"), "{text}", "{volume}", "{voice}"],
        "output": [{"name": "wake", **row}, {"name": "look", "say": "look-ahead", "armed": True}],
    }
    return msgspec.convert(raw | more, Speaker)


def said(folder):
    path = folder / "said"
    return [line.split("|") for line in path.read_text().splitlines()] if path.exists() else []


class Cab:
    """A speaker that runs, and what it told."""

    def __init__(self, settings, clock=None):
        self.box, self.told = OrderBox(), []
        self.clock = clock or SystemClock()
        self.task = asyncio.create_task(self._run(settings))

    async def _run(self, settings):
        async for event in settings.frames(self.clock, self.box):
            assert isinstance(event, Event)
            self.told.append(event)
            self.box.settle(event)

    def order(self, output, on, reason="a-1"):
        self.box.put(Order(output, on, reason, self.clock.now()))

    async def until(self, true, seconds=10.0):
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, [event.text for event in self.told]
            assert not self.task.done() or self.task.result() is None
            await asyncio.sleep(0.01)

    async def end(self):
        self.task.cancel()
        await asyncio.wait([self.task])


def cab(story):
    """Run a story with loop and cab."""
    asyncio.run(story())


# -- settings ---------------------------------------------------------------------------------------


def test_the_laws_of_a_driver_hold(tmp_path):
    assert checks.driver(made(tmp_path)) == []


@pytest.mark.parametrize(
    ("output", "why"),
    [
        ([{"name": "a", "say": "wake"}, {"name": "a", "say": "rest"}], "is there twice"),
        ([{"name": "a"}], "give it words"),
        ([{"name": "a", "say": "wake", "file": "x.wav"}], "give it words"),
        ([], "length"),
    ],
)
def test_wrong_settings_are_told_in_words(output, why):
    with pytest.raises((ValueError, msgspec.ValidationError), match=why):
        msgspec.convert({"name": "voice", "output": output}, Speaker)


def test_each_text_is_there_in_both_languages():
    assert words.VOICE["en"].keys() == words.VOICE["zh"].keys()
    assert all(text.isascii() for text in words.VOICE["en"].values())
    assert not any(text.isascii() for text in words.VOICE["zh"].values())


@pytest.mark.parametrize(
    ("hour", "synced", "percent"),
    [(5.99, True, 60), (6.0, True, 100), (21.9, True, 100), (22.0, True, 60), (0.0, True, 60), (3.0, False, 100)],
)
def test_it_is_as_loud_as_the_hour_wants_and_loudest_where_nobody_knows_it(tmp_path, hour, synced, percent):
    at = Instant(1.0, 86400.0 * 20000 + (hour - 8.0) * 3600.0, synced)
    assert speaker.loudness(made(tmp_path), at) == percent


def test_a_sound_is_played_by_the_other_program(tmp_path):
    one = made(tmp_path, output=[{"name": "beep", "file": "/srv/beep.wav"}])
    assert speaker.command(one, one.output[0], Instant(0.0, 0.0)) == ["aplay", "-q", "/srv/beep.wav"]


# -- what is said -----------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_is_ordered_is_said_within_300_ms(tmp_path, language):
    async def story():
        one = Cab(made(tmp_path, language=language))
        one.order("wake", True)
        await one.until(lambda: said(tmp_path) and one.told)
        event = one.told[0]
        assert (event.kind, event.facts["on"]) == ("order-done", True)
        assert event.facts["ms_since_decided"] <= 1000 * LATEST
        assert said(tmp_path)[0][0] == words.VOICE[language]["wake"]
        await one.end()

    cab(story)


def test_it_is_said_again_while_it_stays_on_and_not_after(tmp_path):
    """Orders of outputs that are held on come again and again; here sooner than the shell sends them."""

    async def story():
        settings = made(tmp_path, output=[{"name": "wake", "say": "wake", "armed": True, "every": 0.2}])
        one = Cab(settings)
        for n in (1, 2):
            one.order("wake", True)
            await one.until(lambda n=n: len(said(tmp_path)) == n)
            one.order("wake", True)  # too early
            await one.until(lambda n=n: sum(event.facts["on"] for event in one.told) == 2 * n)
            await asyncio.sleep(0.25)
        assert len(said(tmp_path)) == 2
        one.order("wake", False)
        await one.until(lambda: one.told[-1].facts["on"] is False)
        assert one.box.unmet() == 0
        await one.end()

    cab(story)


def test_what_is_more_urgent_interrupts_and_nothing_goes_on_after_the_end(tmp_path):
    async def story():
        one = Cab(made(tmp_path, then="import time; time.sleep(30)"))
        one.order("wake", True)
        await one.until(lambda: len(said(tmp_path)) == 1)
        one.order("look", True)
        await one.until(lambda: len(said(tmp_path)) == 2)
        first, second = (int(row[-1]) for row in said(tmp_path))
        assert not alive(first)
        await one.end()
        assert not alive(second)

    cab(story)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# -- what goes wrong --------------------------------------------------------------------------------


def test_a_program_that_is_not_there_is_an_order_that_failed(tmp_path):
    async def story():
        one = Cab(made(tmp_path, speak=["no-such-program", "{text}"]))
        one.order("wake", True)
        await one.until(lambda: one.told)
        assert one.told[0].kind == "order-failed"
        assert "no-such-program" in one.told[0].text
        assert one.box.unmet() == 1, "that is an alarm of the agent itself"
        await one.end()

    cab(story)


def test_a_program_that_fails_is_told_with_what_it_complained_of(tmp_path):
    async def story():
        one = Cab(made(tmp_path, then="sys.exit('no sound card')"))
        one.order("wake", True)
        await one.until(lambda: len(one.told) >= 2)
        assert [event.kind for event in one.told[:2]] == ["order-done", "order-failed"]
        assert "ended with 1: no sound card" in one.told[1].text
        await one.end()

    cab(story)


def test_a_program_that_hangs_is_killed(tmp_path):
    async def story():
        one = Cab(made(tmp_path, then="import time; time.sleep(30)", longest=0.3))
        one.order("wake", True)
        await one.until(lambda: len(one.told) >= 2)
        assert "killed after 0.3 s" in one.told[1].text
        assert not alive(int(said(tmp_path)[0][-1]))
        await one.end()

    cab(story)


def test_what_is_not_armed_or_only_to_be_proven_says_nothing(tmp_path):
    async def story():
        clock = ManualClock()
        settings = made(
            tmp_path, output=[{"name": "wake", "say": "wake"}, {"name": "look", "say": "rest", "armed": True}]
        )
        voice = speaker.Voice(settings, clock)
        at = clock.now()
        for order, why in (
            (Order("wake", True, "a-1", at), "not armed"),
            (Order("horn", True, "a-1", at), "no such output"),
            (Touch("look", True, "drill", at), "cannot be read back"),
        ):
            event = await voice.obey(order)
            assert event.kind == "order-refused"
            assert why in event.text
        assert said(tmp_path) == []

    cab(story)


# -- a program of others ----------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
@pytest.mark.parametrize("language", ["en", "zh"])
def test_espeak_ng_knows_both_voices(tmp_path, language):
    """Into a file, for a machine without a sound card."""
    one = msgspec.convert({"name": "v", "language": language, "output": [{"name": "a", "say": "wake"}]}, Speaker)
    path = tmp_path / "said.wav"
    subprocess.run([*speaker.command(one, one.output[0], Instant(0.0, 0.0)), "-w", str(path)], check=True, timeout=20)
    with wave.open(str(path)) as sound:
        assert 0.8 < sound.getnframes() / sound.getframerate() < 5.0
