"""A receiver on a pseudo-terminal: sentences as receivers say them, torn, mixed, without a fix, gone."""

from __future__ import annotations

import asyncio
import os
import random
import tty
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import msgspec
import numpy as np
import pytest

from agent import checks
from agent.clock import SystemClock
from agent.core.errors import LineLost
from agent.core.frame import Frame, Quality
from agent.orders import OrderBox
from drivers import driver, gnss
from drivers.gnss import KEYS, Fix, Gnss, Receiver

pytest.importorskip("pynmeagps")


def sentence(text: str) -> bytes:
    """With its checksum."""
    total = 0
    for byte in text.encode():
        total ^= byte
    return f"${text}*{total:02X}\r\n".encode()


def moment(second: float, north: float = 3000.0, *, fix: bool = True, mode: int = 3) -> list[bytes]:
    """What a receiver of four systems says of one second, at north ddmm.mmmm and 120 degrees 30' east."""
    t = f"1235{second:05.2f}"
    if not fix:
        return [
            sentence(f"GNRMC,{t},V,,,,,,,281126,,,N,V"),
            sentence("GNVTG,,,,,,,,,N"),
            sentence(f"GNGGA,{t},,,,,0,03,99.99,,,,,,"),
            sentence("GNGSA,A,1,,,,,,,,,,,,,99.99,99.99,99.99,1"),
        ]
    return [
        sentence(f"GNRMC,{t},A,{north:09.4f},N,12030.0000,E,032.397,084.40,281126,,,A,V"),
        sentence("GNVTG,084.40,T,,M,032.397,N,060.00,K,A"),
        sentence(f"GNGGA,{t},{north:09.4f},N,12030.0000,E,1,12,0.91,45.4,M,6.9,M,,"),
        sentence(f"GNGSA,A,{mode},04,05,09,12,,,,,,,,,1.5,0.9,1.2,1"),
        sentence(f"GNGSA,A,{mode},65,66,,,,,,,,,,,1.5,0.9,1.2,2"),
        sentence(f"GNGSA,A,{mode},11,,,,,,,,,,,,1.5,0.9,1.2,3"),
        sentence(f"GNGSA,A,{mode},21,22,23,24,25,26,27,,,,,,1.5,0.9,1.2,4"),
        sentence("GPGSV,1,1,01,04,45,120,40"),  # not wanted
    ]


def fixes(data: Iterable[bytes]) -> list[Fix]:
    receiver, found = Receiver(), []
    for piece in data:
        found += receiver.feed(piece)
    last = receiver.flush()
    return found + ([last] if last is not None else [])


def test_sentences_of_one_moment_are_one_fix_of_all_systems():
    (fix,) = fixes(moment(19))
    assert (fix.latitude, fix.longitude, fix.altitude) == (pytest.approx(30.0), pytest.approx(120.5), 45.4)
    assert (fix.speed, fix.course, fix.fix, fix.used, fix.systems) == (60.0, 84.4, 3, 14, 0b1111)
    assert fix.hdop == 0.9


def test_another_time_ends_a_moment_however_the_bytes_are_cut():
    data = b"".join(b"".join(moment(second, 3000 + second)) for second in range(5))
    whole = fixes([data])
    assert [round(fix.latitude, 6) for fix in whole] == [round(30 + second / 60, 6) for second in range(5)]
    chance = random.Random(1)
    for _ in range(20):
        cuts = sorted(chance.sample(range(len(data)), 30))
        assert fixes(data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)) == whole


@pytest.mark.parametrize(("talker", "bit"), [("GP", 1), ("BD", 2), ("GB", 2), ("GL", 4), ("GA", 8)])
def test_a_receiver_of_one_system_says_which_by_its_talker(talker: str, bit: int):
    said = [sentence(f"{talker}RMC,123519,A,3000.00,S,12030.00,W,10.0,90.0,281126,,"),
            sentence(f"{talker}GGA,123519,3000.00,S,12030.00,W,1,07,1.1,45.4,M,6.9,M,,"),
            sentence(f"{talker}GSA,A,2,04,05,09,12,,,,,,,,,1.5,1.1,1.2")]  # fmt: skip
    (fix,) = fixes(said)
    assert (fix.systems, fix.fix, fix.satellites) == (bit, 2, 7)
    assert (fix.latitude, fix.longitude, round(fix.speed, 2)) == (-30.0, -120.5, 18.52)


def test_without_a_fix_there_is_no_place_and_when_sentences_contradict_each_other_there_is_none():
    (fix,) = fixes(moment(1, fix=False))
    assert (fix.fix, fix.satellites) == (0, 3)
    (fix,) = fixes([*moment(1)[2:], sentence("GNRMC,123501.00,V,3000.0,N,12030.0,E,,,281126,,,N,V")])
    assert fix.fix == 0


def test_a_sentence_with_a_wrong_checksum_or_none_counts_for_nothing():
    receiver = Receiver()
    damaged = moment(19)[0].replace(b"3000", b"3100")
    receiver.feed(damaged + b"$GNRMC,123519.00,A,3000.1,N,12030.0,E,1,2,281126,,,A\r\n" + b"\xff\xfe garbage\r\n")
    assert (receiver.flush(), receiver.sentences) == (None, 0)
    assert receiver.bad == 3


def test_twenty_thousand_damaged_sentences_raise_nothing():
    chance = random.Random(7)
    seeds = [line for second in range(3) for line in moment(second)] + moment(1, fix=False)
    receiver = Receiver()
    for _ in range(20_000):
        line = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(4)):
            line[chance.randrange(len(line))] = chance.choice(b"0123456789,.ANSEWV-\xff\x00*$")
        if chance.random() < 0.7 and line.count(b"*") == 1 and line.startswith(b"$"):
            line = bytearray(sentence(bytes(line[1:]).partition(b"*")[0].decode("latin-1")))
        for fix in receiver.feed(bytes(line)):
            assert fix.fix in (0, 2, 3)
    assert receiver.sentences > 1000
    assert len(receiver._rest) <= gnss.LONGEST


# -- on a line ----------------------------------------------------------------------------------------


class Port:
    """Both ends of a pseudo-terminal."""

    def __enter__(self) -> Port:
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        self.path = os.ttyname(self.slave)
        return self

    def __exit__(self, *_: Any) -> None:
        for end in (self.master, self.slave):
            try:
                os.close(end)
            except OSError:
                pass

    def say(self, lines: Iterable[bytes]) -> None:
        os.write(self.master, b"".join(lines))


def settings(url: str, **more: Any) -> Gnss:
    return msgspec.convert({"name": "gnss", "url": url} | more, Gnss)


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 30))


async def frames(one: Gnss, n: int, then: Callable[[int], None]) -> list[Frame]:
    """The first `n` frames; `then` hears the number of each, and before the first of all 0."""
    stream = one.frames(SystemClock(), OrderBox(lambda: None))
    found: list[Frame] = []

    async def begin() -> None:
        await asyncio.sleep(0.1)  # for the port to be opened: what is said before is thrown away
        then(0)

    beginning = asyncio.create_task(begin())
    try:
        async for item in stream:
            assert isinstance(item, Frame)
            found.append(item)
            if len(found) == n:
                return found
            then(len(found))
    finally:
        await beginning
        await stream.aclose()  # type: ignore[attr-defined]
    return found


def value(frame: Frame, key: str) -> float:
    return float(frame.value[KEYS.index(key)])


def quality(frame: Frame, key: str) -> int:
    return int(frame.quality[KEYS.index(key)])


def test_a_receiver_on_a_serial_port_gives_a_frame_a_second_that_ages_without_a_fix():
    async def main() -> None:
        with Port() as port:
            said = [moment(1), moment(2), moment(3, fix=False)]
            one = settings(port.path)
            assert checks.driver(one) == []
            first, second, third = await frames(one, 3, lambda n: port.say(said[n]))
            assert (value(first, "latitude"), value(first, "speed"), value(first, "fix")) == (
                pytest.approx(30.0), 60.0, 3.0)  # fmt: skip
            assert value(first, "systems") == 15
            assert value(first, "satellites") == 14
            assert value(first, "age") == 0
            assert set(first.quality.tolist()) == {Quality.GOOD}
            assert second.at.mono > first.at.mono
            assert np.isnan(third.value[:5]).all()
            assert quality(third, "latitude") == Quality.UNCERTAIN
            assert (value(third, "fix"), quality(third, "fix")) == (0.0, Quality.GOOD)
            assert 0 < value(third, "age") < 5
            assert third.age[KEYS.index("latitude")] == value(third, "age")

    run(main())


def test_a_receiver_behind_a_tcp_address_and_what_vedette_test_reads():
    async def main() -> None:
        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for second in range(2):
                writer.write(b"".join(moment(second)))
                await asyncio.sleep(0.3)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        one = settings(f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(LineLost, match="connection lost"):
            await frames(one, 9, lambda _: None)
        (item,) = await one.once(SystemClock())
        assert isinstance(item, Frame)
        assert value(item, "longitude") == pytest.approx(120.5)
        server.close()

    run(main())


def test_a_receiver_that_says_nothing_or_nonsense_is_a_lost_line_with_a_hint(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gnss, "SILENT", 0.5)

    async def main() -> None:
        with Port() as port:
            with pytest.raises(LineLost, match="check power"):
                await frames(settings(port.path), 1, lambda _: None)
            with pytest.raises(LineLost, match="check baud"):
                await frames(settings(port.path), 1, lambda _: port.say([b"\x80\x81\x80\n" * 5]))
        with pytest.raises(LineLost):
            await frames(settings("/dev/nothing-here"), 1, lambda _: None)

    run(main())


def test_dead_reckoning_is_uncertain():
    async def main() -> None:
        with Port() as port:
            said = [sentence("GPGGA,123519,3000.00,N,12030.00,E,6,07,1.1,45.4,M,6.9,M,,")]
            (frame,) = await frames(settings(port.path), 1, lambda _: port.say(said))
            assert quality(frame, "latitude") == Quality.UNCERTAIN
            assert value(frame, "fix") == 3

    run(main())


def test_it_is_found_by_its_name_and_a_wrong_address_is_refused():
    assert driver("gnss") is Gnss
    for url in ("ttyUSB0", "tcp://host", "udp://host:1"):
        with pytest.raises(msgspec.ValidationError, match="write /dev"):
            settings(url)
