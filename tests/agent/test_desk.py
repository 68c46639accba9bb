"""The desk: at most once, whatever comes in whatever order, and whatever is killed meanwhile."""

from __future__ import annotations

import asyncio

from agent import desk, ledger
from agent.commands import Drill, Report, SetLimit
from agent.desk import Result
from agent.ledger import Ledger, SetTo
from tests.tools.orders import NOW, Room, commands, order


def test_a_command_is_told_at_each_step_and_the_journal_has_who_can_prove_it(tmp_path):
    async def story() -> None:
        async with Room(tmp_path) as room:
            said = await room.ask(order(1))
        assert [one["state"] for one in said] == ["accepted", "executing", "successful"]
        assert room.states() == [("anna-1", s, "") for s in ("accepted", "executing", "successful")]
        assert {event.facts["topic"] for event in room.told} == {"x"}
        assert room.more[0]["envelope"].encode() == order(1)
        assert room.more[0]["do"] == {"verb": "ack", "alarm": "000001-ab12-7"}
        assert ledger.read(tmp_path).entries["anna-1"].state == "successful"

    asyncio.run(story())


def test_a_copy_is_refused_in_this_life_and_the_next_and_hears_what_became_of_the_first(tmp_path):
    async def story() -> None:
        async with Room(tmp_path) as room:
            await room.ask(order(5))
            again = await room.ask(order(5))
            assert (again[0]["state"], again[0]["reason"], again[0]["was"]) == ("rejected", "counter", "successful")
            assert [one["reason"] for one in await room.ask(order(4))] == ["counter"]
        async with Room(tmp_path) as later:
            again = await later.ask(order(5))
            assert (again[0]["reason"], again[0]["was"]) == ("counter", "successful")
        assert (room.done, later.done) == (["anna-5"], [])

    asyncio.run(story())


def test_what_was_under_way_when_a_life_ended_is_unknown_and_not_tried_again(tmp_path):
    async def story() -> None:
        async with Room(tmp_path) as room:
            room.hold.clear()
            room.desk.heard(order(1, Drill(name="x")), "platform", "x", room.replies.append)
            while not room.done:
                await asyncio.sleep(0.01)
        async with Room(tmp_path) as later:
            while not later.told:
                await asyncio.sleep(0.01)
            assert later.states() == [("anna-1", "failed", "unknown")]
            assert (await later.ask(order(1, Drill(name="x"))))[0]["was"] == "failed"
        assert later.done == []

    asyncio.run(story())


def test_what_the_disks_did_not_have_is_told_again_by_the_next_life(tmp_path):
    async def story() -> None:
        async with Room(tmp_path) as room:
            room.kept = False
            await room.ask(order(1))
        async with Room(tmp_path) as later:
            while not later.told:
                await asyncio.sleep(0.01)
            assert (later.states(), later.told[0].facts["again"]) == ([("anna-1", "successful", "")], True)
            await asyncio.sleep(0.05)
        async with Room(tmp_path) as last:
            await last.ask(order(2))
            assert {id for id, _, _ in last.states()} == {"anna-2"}

    asyncio.run(story())


def test_a_disk_that_takes_nothing_has_nothing_done(tmp_path, monkeypatch):
    async def story() -> None:
        async with Room(tmp_path) as room:

            def full(*_: object) -> None:
                raise OSError(28, "No space left on device")

            with monkeypatch.context() as now:
                now.setattr(ledger, "write", full)
                said = await room.ask(order(1))
                assert (said[-1]["state"], said[-1]["reason"]) == ("rejected", "store")
            assert [one["reason"] for one in await room.ask(order(1))] == ["counter"]  # nor later
            room.result = Result("successful", "", limit=("gas", SetTo(1.0, None, "anna", room.clock.now(), "", "x")))
            room.hold.clear()
            asking = asyncio.create_task(room.ask(order(2, SetLimit(rule="gas", limit=1.0))))
            while not room.done:
                await asyncio.sleep(0.01)
            with monkeypatch.context() as now:
                now.setattr(ledger, "write", full)
                room.hold.set()
                said = await asking
            assert (said[-1]["state"], said[-1]["reason"]) == ("failed", "store")
            assert room.desk.ledger.limits == {}
        assert room.done == ["anna-2"]

    asyncio.run(story())


def test_without_a_trusted_clock_a_challenge_is_asked_for_and_serves_once(tmp_path):
    async def story() -> None:
        async with Room(tmp_path, synced=False) as room:
            first = (await room.ask(order(1)))[0]
            assert (first["state"], first["reason"]) == ("rejected", "clock")
            said = await room.ask(order(2, challenge=first["challenge"]))
            assert said[-1]["state"] == "successful"
            assert (await room.ask(order(3, challenge=first["challenge"])))[0]["reason"] == "clock"
            other = (await room.ask(order(4)))[0]["challenge"]
            room.clock.advance(desk.CHALLENGE + 1)
            assert (await room.ask(order(5, challenge=other)))[0]["reason"] == "clock"
        assert room.done == ["anna-2"]

    asyncio.run(story())


def test_a_ledger_that_is_gone_or_damaged_does_not_bring_old_commands_back(tmp_path):
    async def story() -> None:
        async with Room(tmp_path) as room:
            await room.ask(order(7))
            await room.desk._write()
        (tmp_path / ledger.NAME).unlink()
        async with Room(tmp_path) as later:
            later.clock.advance(30.0)
            later.desk.ledger = Ledger()
            later.desk._begin_to_remember(later.clock.now())
            assert [one["reason"] for one in await later.ask(order(7))] == ["forgotten"]
        assert later.done == []

    asyncio.run(story())


def test_what_costs_nobody_a_counter_is_told_so_often_and_counted_beyond(tmp_path):
    async def story() -> None:
        async with Room(tmp_path) as room:
            await room.ask(order(1))
            room.told.clear()
            for one in (b"nonsense", order(1), order(2, device="mine/gw2")):
                assert not any(said["spent"] for said in await room.ask(*[one] * 10))
            assert len(room.told) == desk.FREE
            room.clock.advance(desk.MINUTE + 1)
            await room.desk._tidy()
            assert room.told[-1].facts["count"] == 30 - desk.FREE
            later = order(3, Report(), expires=round(1000 * NOW) + 600_000)
            assert (await room.ask(later))[-1]["state"] == "successful"

    asyncio.run(story())


# -- killed at any moment -----------------------------------------------------------------------------


def test_killed_at_any_moment_a_command_is_done_at_most_once_and_has_one_end(memory):
    ends = commands(memory / "site")
    assert ends == {(1, ("anna-1 successful ",)), (1, ("anna-1 failed unknown",)), (0, ("anna-1 failed unknown",))}
