"""A thread for what blocks."""

from __future__ import annotations

import contextlib
import gc
import weakref

from agent.hand import Hand
from tests.tools.station import run, until


class Megabytes:
    """Something that nobody wants to keep."""


def test_an_idle_hand_keeps_nothing_of_its_last_job_be_it_one_that_failed():
    def fail(much: Megabytes) -> None:
        raise OSError(f"no room for {much}")

    async def main() -> None:
        hand = Hand("test")
        much = Megabytes()
        kept = [weakref.ref(much)]
        answer = await hand.do(lambda given: [given, Megabytes()], much)
        kept.append(weakref.ref(answer[1]))
        del answer
        await until(lambda: kept[1]() is None, 5.0)
        with contextlib.suppress(OSError):  # not pytest's: that remembers the error
            await hand.do(fail, much)
        del much
        await until(lambda: kept[0]() is None, 5.0)
        hand.end()

    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()
