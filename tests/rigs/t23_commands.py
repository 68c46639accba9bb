"""T23: commands of everybody, good ones among them: forged, turned, copied, late, for others, out of order; and kills.

The ledger is this trial's: it knows which commands were good when they were sent, and the deed of each writes a line
that the desk knows nothing of. Signatures that are not checked at all are a second sabotage, run in small beside.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agent import ledger
from agent.commands import Acknowledge, Here, Report, judge, known
from agent.core.frame import Instant
from tests.rigs.sabotage import sabotaged
from tests.rigs.stage import heard, running, stage, told, until
from tests.rigs.systemd import Service
from tests.rigs.trial import Case, Trial
from tests.tools.mosquitto import Mosquitto, free_port
from tests.tools.orders import EVE, NOW, PEOPLE, Room, commands, order, people, updates, vedette
from tests.tools.subscriber import Heard, Subscriber

GROUP = 8  # commands that come at once
LINES = ("agent/desk.py", "agent/ledger.py", "agent/durable.py", "agent/update.py")


class Tally(NamedTuple):
    """What the ledger makes of it."""

    sent: int
    good: int
    undone: int  # good, and not done
    bad: int  # not good, and done
    twice: int


def turned(one: bytes, bit: int) -> bytes:
    """The same with another bit."""
    return one[: bit // 8] + bytes([one[bit // 8] ^ 1 << bit % 8]) + one[bit // 8 + 1 :]


class Sender:
    """Everybody who publishes on the topic; knows what is good."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.counter = 0
        self.good: list[bytes] = []  # that were sent
        self.ids: list[str] = []

    def group(self) -> Iterator[bytes]:
        """A few commands that come together."""
        for _ in range(GROUP):
            yield self._one()

    def _one(self) -> bytes:
        self.counter += 2  # between two there is one that nobody used
        rng, n = self.rng, self.counter
        match rng.choice(["good", "copy", "old", "turned", "late", "early", "elsewhere", "role", "forged", "junk"]):
            case "good":
                self.good.append(order(n))
                self.ids.append(f"anna-{n}")
                return self.good[-1]
            case "copy" if self.good:
                return rng.choice(self.good)
            case "old" if self.good:
                return order(int(rng.choice(self.ids).partition("-")[2]) - 1)
            case "turned":
                one = order(n)
                return turned(one, rng.randrange(8 * len(one)))
            case "late":
                return order(n, issued=round(1000 * NOW) - 60_000, expires=round(1000 * NOW) - 1)
            case "early":
                return order(n, issued=round(1000 * NOW) + 3_000_000, expires=round(1000 * NOW) + 3_100_000)
            case "elsewhere":
                return order(n, device="mine/gw2")
            case "role":
                return order(n, Acknowledge(alarm="x"), issuer="bo")  # whom anna signs for
            case "forged":
                return order(n, signer=EVE)
        return rng.randbytes(rng.randrange(400))


async def volume(folder: Path, n: int, rng: random.Random) -> Tally:
    """About `n` commands, with a new life now and then."""
    sender, done, sent = Sender(rng), Counter[str](), 0
    while sent < n:
        async with Room(folder) as room:
            for _ in range(max(1, min(n // (10 * GROUP), 500))):
                group = list(sender.group())
                await room.ask(*group)
                sent += len(group)
        done.update(room.done)
    good = set(sender.ids)
    undone = sum(done[id] == 0 for id in good)
    bad = sum(n for id, n in done.items() if id not in good)
    return Tally(sent, len(good), undone, bad, sum(n > 1 for n in done.values()))


def every_bit() -> tuple[int, int]:
    """How many bits an envelope has, and how many of them may be turned."""
    one, by = order(7, Report()), Here("mine/gw1", "cafe", known(PEOPLE), (), 3600.0, {}, 0.0, ())
    at = Instant(0.0, NOW, True)
    assert judge(one, by, at).state == "accepted"
    bits = range(8 * len(one))
    return len(bits), sum(judge(turned(one, bit), by, at).state == "accepted" for bit in bits)


def verification(n: int) -> list[float]:
    """ms that each of `n` judgements took."""
    one, by = order(7), Here("mine/gw1", "cafe", known(PEOPLE), (), 3600.0, {}, 0.0, ())
    at, took = Instant(0.0, NOW, True), []
    for _ in range(n):
        began = time.perf_counter()
        judge(one, by, at)
        took.append(1000 * (time.perf_counter() - began))
    return took


def run(case: Case) -> None:
    tally = asyncio.run(volume(case.folder / "volume", case.n(240, 100_000), case.rng(3)))
    case.figure("commands", tally.sent)
    case.figure("good ones", tally.good)
    case.exactly("good ones not done", tally.undone, 0)
    case.exactly("others done", tally.bad, 0)
    case.exactly("done twice", tally.twice, 0)
    bits, taken = every_bit()
    case.figure("bits of an envelope", bits)
    case.exactly("bits that may be turned", taken, 0)
    took = verification(case.n(100, 5000))
    case.figure("judged in, p50 ms", float(np.percentile(took, 50)))
    case.figure("judged in, p99 ms", float(np.percentile(took, 99)))
    if case.sabotage:
        return
    with sabotaged("signature-unchecked"):
        trusting = asyncio.run(volume(case.folder / "trusting", 160, case.rng(4)))
    case.at_least("control, signatures unchecked: others done", trusting.bad, 1)
    if case.size == "full":
        lives(case)
        asyncio.run(agents(case, 25))
        for how in ("crash", "kill", "hang", "are deaf"):
            asyncio.run(bomb(case, how))


def lives(case: Case) -> None:
    """Desk and update, killed before every statement."""
    contradictions = 0
    for name, kill in (
        ("desk", lambda: commands(case.folder / "killed", *LINES)),
        ("update", lambda: set().union(*updates(case.folder / "killed", *LINES).values())),
    ):
        try:
            case.figure(f"ends of a {name} killed before any statement", len(kill()))
        except AssertionError as error:
            contradictions += 1
            case.note(f"{name}: {error}")
    case.exactly("lives that contradict themselves", contradictions, 0)


async def agents(case: Case, kills: int) -> None:
    """The whole agent: limits are set, and it is killed somewhere between the command and its end."""
    rng, folder = case.rng(5), case.folder / "agent"
    folder.mkdir()
    settable = '[[settable]]\nrule = "gas"\nlow = 0.5\nhigh = 9.0\n'
    more = f"commands = true\n{people(folder, anna='set-limit')}{settable}"
    ends: dict[str, set[str]] = {}
    wanted: dict[str, float] = {}
    wrong = again = 0
    broker = Mosquitto(case.folder / "broker")
    async with stage(folder, 1, 0.5, broker=broker, uplink=more) as (_, _, broker, path):
        anna = ("--as", "anna", "--key", folder / "anna.pem", "--broker", broker.url, "--to", "spine/gw1")
        with Subscriber(broker.port, "vedette/#") as ear:
            for k in range(kills):
                limit = round(rng.uniform(1.0, 9.0), 6)
                births = len(told(ear.messages, "state"))
                async with running(path) as agent:
                    await heard(ear, born, 30, births)
                    words = ("command", "set-limit", "rule=gas", f"limit={limit}", *anna, "--wait", 2, "--json")
                    asking = asyncio.create_task(asyncio.to_thread(attempt, *words))
                    before = len(of(ear))
                    if k % 5:
                        with contextlib.suppress(AssertionError):
                            await until(lambda: any(s == "accepted" for _, s in of(ear)[before:]), 5)  # noqa: B023
                        await asyncio.sleep(rng.uniform(0.0, 0.03))
                    else:
                        await asyncio.sleep(rng.uniform(0.0, 0.5))
                    agent.kill()
                    await agent.wait()
                    await asking
                accepted = [id for id, state in of(ear)[before:] if state == "accepted"]
                births = len(told(ear.messages, "state"))
                async with running(path):
                    await heard(ear, born, 30, births)
                    for id in accepted:
                        await until(lambda: any(i == id and s in ("successful", "failed") for i, s in of(ear)), 20)  # noqa: B023
                        wanted[id] = limit
                book = ledger.read(folder / "state")
                stands = book.limits["gas"].limit if "gas" in book.limits else 1.0
                for id, state in of(ear)[before:]:
                    if state in ("successful", "failed"):
                        ends.setdefault(id, set()).add(state)
                wrong += any("successful" in ends.get(id, ()) and stands != limit for id in accepted)
    again = sum(len(states) > 1 for states in ends.values())
    case.figure("agents killed", kills)
    case.figure("of their commands: accepted", len(wanted))
    case.exactly("accepted commands without an end", sum(id not in ends for id in wanted), 0)
    case.exactly("commands with two ends", again, 0)
    case.exactly("limits that are not as they were told", wrong, 0)


async def bomb(case: Case, how: str) -> None:
    """A new site file with which the agent crashes, dies, hangs or hears nobody: the old one is in force again, and it
    is told."""
    folder = case.folder / how.partition(" ")[0]
    folder.mkdir()
    more = f"commands = true\n{people(folder, anna='configure')}[commands]\nconfirm = 5\n"
    async with stage(folder, 1, 0.5, uplink=more) as (_, _, broker, path):
        first, wanted, notes = path.read_text(), folder / "wanted.toml", folder / "notes"
        notes.mkdir()
        if how == "are deaf":
            wanted.write_text(first.replace(broker.url, f"mqtt://127.0.0.1:{free_port()}"))
        else:
            wanted.write_text(f'{first}\n[[bus]]\nname = "bomb"\ndriver = "tests.tools.bomb:Bomb"\nhow = "{how}"\n')
        anna = ("--as", "anna", "--key", folder / "anna.pem", "--broker", broker.url, "--to", "spine/gw1")
        command = [sys.executable, "-m", "agent.cli", "run", "-c", str(path)]
        # who is killed needs somebody to start it again; the others see to it themselves
        alive = Service(command, notes, {}, folder / "agent.log") if how == "kill" else running(path)
        with Subscriber(broker.port, "vedette/#") as ear:
            async with alive:
                await heard(ear, born, 30, 0)
                words = ("command", "configure", f"toml=@{wanted}", *anna, "--wait", 120, "--json")
                if how == "are deaf":  # whoever came out of one trial is in another
                    bad = wanted.read_text()
                    wanted.write_text(first := f"# a good one\n{first}")
                    await asyncio.to_thread(vedette, *words)
                    wanted.write_text(bad)
                end = json.loads(await asyncio.to_thread(vedette, *words, ok=False))
        case.note(f"{how}: {end.get('text')}")
        good = (end["state"], end["reason"], path.read_text()) == ("failed", "rolled-back", first)
        case.exactly(f"new site files that {how} and stay", int(not good), 0)


def born(messages: list[Heard], before: int) -> bool:
    """Whether the node said that it is there, after so many words on its state."""
    return any(word["state"] == "online" for word in told(messages, "state")[before:])


def of(ear: Subscriber) -> list[tuple[str, str]]:
    """Id and state of every word about a command."""
    return [(m.body["facts"]["id"], m.body["facts"]["state"]) for m in list(ear.messages) if m.topic.endswith("/ack")]


def attempt(*words: object) -> None:
    with contextlib.suppress(Exception):  # the agent dies meanwhile
        vedette(*words)


TRIAL = Trial(
    id="T23",
    title="commands: forged, copied, late, killed",
    run=run,
    sabotage="counter-in-ram",
    red=("done twice",),
    alone=False,
    memory=True,
)
