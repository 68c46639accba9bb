"""T2: the power goes. Nothing that was acknowledged is lost, no file is torn, whatever instant it was.

Two devices: a real ext4 whose power is cut under a writer that uses the product's outbox, and a model of sectors under
the product's own SQL, where thousands of cuts fall into the middle of transactions. The ledger is what the writer said
before a cut, set against what the product hands to an uplink after it.
"""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import os
import random
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from select import select
from typing import Any, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct

from agent import keys, store
from agent.audit import Chain, records, verify
from agent.clock import SystemClock
from agent.core.alarm import Alarm
from agent.core.frame import Instant
from agent.core.ports import Batch, Event, Item
from agent.gather import Gather
from agent.hand import Hand
from agent.outbox import Outbox, Store
from agent.store import Alarms, AlarmWork, History, Kept, Standing
from tests.rigs import cargo
from tests.rigs.disk import Disk, ram
from tests.rigs.trial import Case, Skip, Trial

BATCH = 0.1  # s of readings in one batch: the product's second, shortened so that every writer writes a few
COMMIT = 0.05  # s that a commit may take, for which the readings of the batch after it wait
WAITS = "what was read since the last commit that ended; one took seconds in 1000 cuts, beside other work on the disk"
SHAPE = cargo.channels(20)
PIPE, SET_PIPE = 1 << 20, 1031  # bytes that a writer may say between two looks of ours; F_SETPIPE_SZ

JOURNAL = 20 << 20  # bytes; so much that nothing has to go
SIGNER = Ed25519PrivateKey.from_private_bytes(b"s" * 32)

Say = Callable[..., None]


# -- (a) a real file system ---------------------------------------------------------------------------


async def write(home: Path, first: int, say: Say) -> None:
    """One boot: hand out all that is owed, then put edges and readings, numbered from `first` if that is one."""
    told: list[Event] = []
    outbox = await Outbox.open(Store(path=str(home), batch=BATCH, ballast_mb=1), ["p"], SystemClock(), told.append)
    say("boot", outbox.boot)
    up = {alarm.channel: alarm.id for alarm in outbox.recall()}
    say("recalled", *(f"{point}={id}" for point, id in up.items()))
    chain, hand = Chain(home / "journal", JOURNAL, SIGNER), Hand("journal")
    await hand.do(chain.open)
    newest = [msgspec.json.decode(record.body).get("number", 0) for record in list(records(chain.folder))[-2:]]
    say("journal", *([max(newest)] if newest else []))  # one of them may be a signature
    await hand_out(outbox, say)
    for event in told:
        say("told", event.kind)
    History.commit = telling(History.commit, say)  # type: ignore[method-assign]
    for number in itertools.count(first) if first else ():
        at = outbox.clock.now()
        point = cargo.point(number)
        alarm = cargo.edge(number, point not in up, at)
        up.pop(point) if point in up else up.setdefault(point, alarm.id)
        say("put", number, cargo.digest(alarm), point, up.get(point, "normal"), at.mono)
        outbox.put_alarms([alarm]).add_done_callback(
            lambda future, number=number: say("had", number) if future.result() else None  # type: ignore[misc]
        )
        outbox.put_frame(cargo.reading(number, at, SHAPE))
        hand.do(chain.append, [msgspec.json.encode({"number": number})], number % 5 == 0).add_done_callback(
            lambda future, number=number: say("noted", number) if not future.exception() else None  # type: ignore[misc]
        )
        await asyncio.sleep(0.004)


async def hand_out(outbox: Outbox, say: Say) -> None:
    """Everything that is owed goes to an uplink, which says what it got."""
    feed = outbox.feed("p")
    feed.online(True)
    while any(feed.waiting().values()):
        while (item := feed.take()) is not None:
            if isinstance(item.body, Batch):
                say("readings", *cargo.numbers(item.body))
            elif isinstance(item.body, Alarm):
                say("alarm", item.body.id[1:], cargo.digest(item.body))
            feed.done(item)
        await asyncio.sleep(0.001)
    feed.online(False)
    say("drained")


def telling(commit: Any, say: Say) -> Any:
    """The same commit of telemetry, and word of what it held when it has returned."""

    def told(history: History, items: list[Item], *more: Any) -> Any:
        done = commit(history, items, *more)
        say("kept", *(number for item in items if isinstance(item.body, Batch) for number in cargo.numbers(item.body)))
        return done

    return told


class Ledger:
    """What the writers said, over all boots."""

    def __init__(self) -> None:
        self.put: dict[int, int] = {}  # number -> digest of the edge
        self.when: dict[int, float] = {}  # number -> monotonic s
        self.had: set[int] = set()  # edges of which the product said that they are on the disk
        self.kept: set[int] = set()  # readings whose commit returned
        self.alarms: set[int] = set()  # edges that came back
        self.readings: set[int] = set()  # readings that came back
        self.noted = 0  # last record of which the journal said that it is on the disk
        self.forgotten = 0  # records of the journal that were so and are not there
        self.edges: dict[str, list[tuple[int, str]]] = {}  # point -> number of the edge, what stands after it
        self.boots: list[str] = []
        self.troubles: list[str] = []
        self.wrong = 0  # came back and is not what was put
        self.misrecalled = 0  # open alarms that are neither as acknowledged nor as put later
        self.behind: list[float] = []  # of each cut that lost readings: how far back they go, in batches
        self._settled = 0  # readings up to here have been judged
        self.drained = False

    def hear(self, line: str) -> None:
        verb, *words = line.split()
        match verb, words:
            case "boot", [boot]:
                self.boots.append(boot)
            case "recalled", points:
                self._recalled(dict(point.split("=") for point in points))
            case "journal", []:
                self.forgotten += self.noted > 0
            case "alarm", [number, digest]:
                self.alarms.add(int(number))
                self.wrong += self.put.get(int(number)) != int(digest)
            case "readings", numbers:
                self.readings.update(map(int, numbers))
                self.wrong += "-1" in numbers
            case "noted", [number]:
                self.noted = int(number)
            case "journal", [number]:  # that of the newest record; 0 for the head of a segment
                self.forgotten += 0 < int(number) < self.noted
            case "drained", []:
                self._drained()
            case "told", [kind]:
                self.troubles += [kind] if kind.startswith("store-") else []
            case "put", [number, digest, point, after, mono]:
                self.put[int(number)], self.when[int(number)] = int(digest), float(mono)
                self.edges.setdefault(point, [(0, "normal")]).append((int(number), after))
            case "had", [number]:
                self.had.add(int(number))
            case "kept", numbers:
                self.kept.update(map(int, numbers))
            case _:
                raise AssertionError(line)

    def _recalled(self, found: dict[str, str]) -> None:
        """An alarm stands as its last acknowledged edge left it, or one put after that."""
        for point, edges in self.edges.items():
            sure = max((n for n, (number, _) in enumerate(edges) if number in self.had), default=0)
            stands = found.get(point, "normal")
            self.misrecalled += stands not in [after for _, after in edges[sure:]]
            self.edges[point] = [(edges[sure][0], stands)]  # what was put later is over

    def _drained(self) -> None:
        """Readings that are not back by now are lost."""
        lost = [number for number in self.put if number > self._settled and number not in self.readings]
        last = max((number for number in self.put), default=0)
        if lost:
            self.behind.append((self.when[last] - self.when[lost[0]]) / BATCH)
        self._settled, self.drained = last, True


def fork(home: Path, first: int) -> tuple[int, int]:
    """A writer as a process: its id, and the pipe on which it speaks."""
    ear, mouth = os.pipe()
    fcntl.fcntl(ear, SET_PIPE, PIPE)
    pid = os.fork()
    if pid == 0:
        try:
            os.close(ear)
            asyncio.run(write(home, first, lambda *words: os.write(mouth, (" ".join(map(str, words)) + "\n").encode())))
        finally:
            os._exit(1)
    os.close(mouth)
    return pid, ear


def hear(ledger: Ledger, pid: int, ear: int, cut: Callable[[], None] | None = None) -> None:
    """Take down what the writer said, and end it. Once the power is gone it can know and promise nothing."""
    os.set_blocking(ear, False)
    said = os.read(ear, PIPE) if select([ear], [], [], 0)[0] else b""
    if cut is not None:
        cut()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    late = os.read(ear, PIPE)
    os.close(ear)
    sure = said.count(b"\n")
    for n, line in enumerate((said + late).decode().splitlines()):
        if n < sure or line.split()[0] in ("put", "alarm", "readings"):
            ledger.hear(line)


def cut_disk(case: Case) -> None:
    rng = case.rng()
    cuts = case.n(15, 1000)
    ledger = Ledger()
    with Disk(case.folder, 64) as disk:
        home = disk.home / "state"
        for n in range(cuts):
            pid, ear = fork(home, 1000 * n + 1)
            time.sleep(rng.uniform(0.02, 0.3))
            hear(ledger, pid, ear, disk.cut)
            disk.remount()
        ledger.drained = False
        while not ledger.drained:  # the last boot is left in peace
            pid, ear = fork(home, 0)
            time.sleep(0.5)
            hear(ledger, pid, ear)
            disk.remount()
        journal = verify(home / "journal", [keys.text(SIGNER)])
        damaged = len(list(home.glob("*.bad-*"))) + sum(
            not is_whole(home / name) for name in ("alarms.db", "history.db")
        )
    case.figure("cuts of a disk", cuts)
    case.figure("alarms acknowledged", len(ledger.had))
    case.exactly("alarms lost", len(ledger.had - ledger.alarms), 0)
    case.exactly("open alarms recalled wrongly", ledger.misrecalled, 0)
    case.exactly("committed readings lost", len(ledger.kept - ledger.readings), 0)
    worst, limit = max(ledger.behind, default=0.0), 1 + COMMIT / BATCH
    case.at_most("readings lost at one cut, worst", worst, limit, "batches", short=WAITS)
    case.exactly("wrong rows", ledger.wrong, 0)
    case.exactly("corrupt files", damaged + len(ledger.troubles), 0)
    case.exactly("journal records lost", ledger.forgotten, 0)
    case.exactly("faults of the journal's chain and signatures", len(journal.faults), 0)
    numbers = [int(boot.split("-")[0]) for boot in ledger.boots]
    backwards = sum(b < a for a, b in itertools.pairwise(numbers))
    case.exactly("boots counted backwards or twice", backwards + len(ledger.boots) - len(set(ledger.boots)), 0)


def is_whole(path: Path) -> bool:
    db = sqlite3.connect(path)
    try:
        return bool(db.execute("PRAGMA integrity_check").fetchone() == ("ok",))
    finally:
        db.close()


# -- (b) a model of sectors ---------------------------------------------------------------------------

AT = Instant(1.0, 1.7e9, True)
SMALL = cargo.channels(8)
LIFE = 250  # cuts, then new files: some fall into their making
GAP = 60  # writes and syncs from one cut to the next, at most


class Held(NamedTuple):
    """What both files have to hold."""

    rows: dict[int, bytes]  # of alarms.db
    open: dict[str, str]  # point -> alarm that stands
    batches: dict[int, bytes]  # row of history.db -> its values
    owed: bytes


class Harm(Struct):
    """What was found after the cuts, over all of them."""

    lost: int = 0  # acknowledged alarms
    batches: int = 0  # acknowledged batches
    corrupt: int = 0  # files that the product or SQLite says are damaged
    torn: int = 0  # files that hold neither what was acknowledged nor what was being committed


def cut_card(folder: Path, cuts: int, heeds_sync: bool) -> Harm:
    """Random work on the product's two files, and a look at what each of `cuts` cuts would have left of them."""
    from tests.rigs.crashfs import Card

    rng, harm = random.Random(2), Harm()
    card = Card("card" if heeds_sync else "heedless", heeds_sync)
    numbers = itertools.count(1)
    plain = store.connect
    for life in range(-(-cuts // LIFE)):
        todo = min(LIFE, cuts - life * LIFE)
        home, shots = folder / f"life-{life}", []
        home.mkdir()
        left = rng.randrange(GAP)

        def event(home: Path = home, shots: list[Path] = shots) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                left = rng.randrange(GAP)
                shots.append(folder / f"shot-{len(shots)}")
                card.cut(home, shots[-1], rng)

        card.event = event
        alarms, history = Alarms(home / "alarms.db", 2**18), History(home / "history.db", 2**21, 0)
        held = Held({}, {}, {}, b"")
        while todo > 0:
            after, commit = task(rng, next(numbers), held, alarms, history)
            store.connect = card.connect  # type: ignore[assignment]
            commit()
            store.connect = plain
            for shot in shots[:todo]:
                judge(shot, held, after, harm)
            for shot in shots:
                shutil.rmtree(shot)
            todo -= len(shots)
            shots.clear()
            held = after
        card.event = lambda: None
        alarms.close()
        history.close()
        card.forget()
        shutil.rmtree(home)
    return harm


def task(
    rng: random.Random, number: int, held: Held, alarms: Alarms, history: History
) -> tuple[Held, Callable[[], object]]:
    """What the files hold after the next commit, and the commit."""
    if rng.random() < 0.3:
        frames = [cargo.reading(10 * number + i, AT, SMALL) for i in range(rng.randint(1, 9))]
        gather = Gather("s", SMALL, 1.0, 60.0)
        for frame in frames:
            gather.add(frame)
        batch = gather.flush()
        assert batch is not None
        owed = msgspec.json.encode([(1, number, False)])
        item = Item("telemetry", number, "000001-abcd", "telemetry/s", number, batch)
        after = held._replace(batches=held.batches | {number: batch.value.tobytes()}, owed=owed)
        return after, lambda: history.commit([item], {"p": owed}, 1)
    alarm = cargo.edge(number, cargo.point(number) not in held.open, AT)
    body = msgspec.json.encode(alarm)
    gone = [row for row in held.rows if rng.random() < 0.1]
    stand = [Standing(number, alarm)] if alarm.event == "raised" else []
    fall = [] if stand else [("gas", alarm.channel)]
    others = {point: id for point, id in held.open.items() if point != alarm.channel}
    rows = {row: text for row, text in held.rows.items() if row not in gone} | {number: body}
    work = AlarmWork([Kept(number, "alarm", "000001-abcd", number, "p", body)], [], gone, [], stand, fall)
    return held._replace(rows=rows, open=others | {a.channel: a.id for _, a in stand}), lambda: alarms.commit(work)


def judge(shot: Path, before: Held, after: Held, harm: Harm) -> None:
    """Open what the cut left, with the product. It holds what was acknowledged, or that and the commit on its way."""
    alarms, history = Alarms(shot / "alarms.db", 2**18), History(shot / "history.db", 2**21, 0)
    found, kept = alarms.load(), history.load(["p"])
    items, _, bad = history.read(0, 2**62, 2**40)
    harm.corrupt += (found.damage is not None) + (kept.damage is not None) + (found.bad + bad > 0)
    rows = {pair[0].row: pair[0].body for pair in found.rows}
    stand = {alarm.channel: alarm.id for _, alarm in found.open}
    harm.lost += len([row for row in before.rows if row in after.rows and row not in rows])
    harm.torn += (rows, stand) not in [(h.rows, h.open) for h in (before, after)]
    batches = {item.row: item.body.value.tobytes() for item in items if isinstance(item.body, Batch)}
    owed = msgspec.json.encode(kept.owed["p"]) if "p" in kept.owed else b""
    harm.batches += len([row for row in before.batches if row not in batches])
    harm.torn += (batches, owed) not in [(h.batches, h.owed) for h in (before, after)]
    for file in (alarms, history):
        file.close()
        harm.corrupt += not is_whole(file.path)


def cut_model(case: Case) -> None:
    try:
        import apsw  # noqa: F401
    except ImportError as error:
        raise Skip("the model of sectors needs apsw") from error
    with ram(case.folder / "ram") as folder:
        cuts = case.n(100 if case.sabotage else 150, 10_000)
        harm = cut_card(folder, cuts, True)
        heedless = cut_card(folder, cuts // 4, False) if case.sabotage else Harm()
    case.figure("cuts of a card", cuts)
    case.exactly("alarms lost in the model", harm.lost, 0)
    case.exactly("batches lost in the model", harm.batches, 0)
    case.exactly("torn in the model", harm.torn, 0)
    case.exactly("corrupt in the model", harm.corrupt, 0)
    if case.sabotage:
        case.exactly("corrupt in the model, fsync removed", heedless.corrupt, 0)


def run(case: Case) -> None:
    cut_disk(case)
    cut_model(case)


TRIAL = Trial(
    id="T2",
    title="power cut: a real disk, a model of sectors",
    run=run,
    sabotage="sync-normal",
    red=("alarms lost", "committed readings lost", "alarms lost in the model"),
)
