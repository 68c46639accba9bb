"""Commands for tests: who signs, a desk in a folder, and two scenes that may be killed at any moment.

    update_scene    one life of an agent that is asked to replace its site file
    desk_scene      one life in which a command comes

`updates` and `commands` kill such lives at every moment, and say which ends there were.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import desk, keys, ledger, update
from agent.cli import main
from agent.clock import ManualClock
from agent.commands import SCHEMA, Acknowledge, AnyDeed, Command, Issuer, Rules, signed, written
from agent.core.frame import Instant
from agent.core.ports import Event
from agent.desk import Desk, Result
from agent.ledger import Entry, Ledger
from tests.tools.guillotine import Guillotine

ANNA, BO, EVE = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2, 3))
NOW = 1_764_300_000.0  # s UTC
ACK = Acknowledge(alarm="000001-ab12-7")
MAY = ("ack", "set-limit", "drill", "report", "shelve")
PEOPLE = [Issuer(name="anna", key=keys.text(ANNA), may=MAY), Issuer(name="bo", key=keys.text(BO), may=MAY)]


def order(counter: int, do: AnyDeed = ACK, signer: Ed25519PrivateKey = ANNA, **other: Any) -> bytes:
    """A command of anna's that somebody signed in her name."""
    stamps = {"issued": round(1000 * NOW), "expires": round(1000 * NOW) + 60_000}
    usual = {"device": "mine/gw1", "issuer": "anna", "counter": counter, "do": do, **stamps}
    return signed(written(Command(schema=SCHEMA, **{**usual, **other})), {"anna": signer})


def vedette(*words: object, ok: bool = True) -> str:
    """What a verb prints. One at a time."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = main([str(word) for word in words])
    assert (code == 0) == ok, out.getvalue()
    return out.getvalue()


def people(folder: Path, **may: str) -> str:
    """[[issuer]] tables for people whose keys openssl makes in `folder`."""
    tables = []
    for name, verbs in may.items():
        key = folder / f"{name}.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True, capture_output=True)
        key.chmod(0o600)
        public = json.loads(vedette("key", "show", key, "--json"))["key"]
        allowed = ", ".join(f'"{verb}"' for verb in verbs.split())
        tables.append(f'[[issuer]]\nname = "{name}"\nkey = "{public}"\nmay = [{allowed}]\n')
    return "".join(tables)


class Room:
    """A desk in a folder, and everything that it did and said."""

    def __init__(self, folder: Path, synced: bool = True) -> None:
        self.folder = folder
        self.clock = ManualClock(wall=NOW - 1.0, synced=synced)
        self.done: list[str] = []
        self.told: list[Event] = []
        self.more: list[dict[str, Any]] = []
        self.replies: list[dict[str, Any]] = []
        self.kept = True
        self.hold = asyncio.Event()
        self.hold.set()
        self.result = Result("successful", "done")
        args = (Rules(), PEOPLE, "mine/gw1", "cafe", self.clock)
        self.desk = Desk(folder, ledger.read(folder), *args, self.note, self.safe, self.do)

    def note(self, event: Event, more: dict[str, Any]) -> None:
        self.told.append(event)
        self.more.append(more)

    async def safe(self) -> bool:
        return self.kept

    async def do(self, command: Command, entry: Entry) -> Result:
        self.done.append(command.id)
        await self.hold.wait()
        return self.result

    async def __aenter__(self) -> Room:
        self.serving = asyncio.create_task(self.desk.serve())
        await asyncio.sleep(0)
        self.clock.advance(2.0)
        return self

    async def __aexit__(self, *error: object) -> None:
        self.serving.cancel()
        await asyncio.gather(self.serving, return_exceptions=True)
        await self.desk.close()

    async def ask(self, *envelopes: bytes) -> list[dict[str, Any]]:
        """What is said until the last of them is over."""
        self.replies = []
        ended = asyncio.Event()
        left = len(envelopes)

        def reply(said: dict[str, Any]) -> None:
            nonlocal left
            self.replies.append(said)
            left -= said["state"] in desk.FINAL
            if not left:
                ended.set()

        for one in envelopes:
            self.desk.heard(one, "platform", "x", reply)
        async with asyncio.timeout(20):
            await ended.wait()
        return self.replies

    def states(self) -> list[tuple[str, str, str]]:
        return [(e.facts["id"], e.facts["state"], e.facts["reason"]) for e in self.told]


# -- a site file is replaced --------------------------------------------------------------------------

OLD, NEW, BAD = "# the old one\n", "# the new one\n", "# a bad one\n"
ID = "anna-1"


def update_scene(folder: Path) -> None:
    """One life of an agent that is asked, once, to replace its site file by what lies in `wanted`."""
    site, text = folder / "site.toml", (folder / "wanted").read_text()
    trial = update.begin(site)
    book = ledger.read(folder)
    entry = book.entries.get(ID)
    if trial is not None and trial.phase == "trial":
        if site.read_text() == BAD:
            update.back(site, trial, "it does not get ready")
            return
        trial = update.ready(site, trial)
    if trial is not None:
        state = "successful" if trial.phase == "ready" else "failed"
        ledger.write(folder, book.ended(ID, state, trial.reason, "", {}))
        update.forget(site)
    elif entry is None:
        first = Entry(ID, "configure", "anna", ("anna",), "", Instant(0.0, 0.0, True))
        ledger.write(folder, Ledger().spent("k", 1).put(first))
        digest = update.digest(site)
        update.offer(site, text.encode())
        update.switch(site, digest, ID, "platform")
    elif not entry.is_over:
        ledger.write(folder, book.ended(ID, "failed", "unknown", "", {}))


def begin(folder: Path, wanted: str) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "site.toml").write_text(OLD)
    (folder / "wanted").write_text(wanted)
    return folder


def settle(knife: Guillotine, folder: Path) -> tuple[str, str]:
    """Lives until nothing is under way: what is in force then, and what was told."""
    for _ in range(5):
        assert not knife.life(folder)
        book = ledger.read(folder)
        if ID in book.entries and book.entries[ID].is_over and update.read(folder / "site.toml") is None:
            break
    names = {path.name for path in folder.iterdir()}
    assert not names & {"site.toml.next", "site.toml.trial"}
    return (folder / "site.toml").read_text(), book.entries[ID].state


def updates(folder: Path, *files: str) -> dict[str, set[tuple[str, str]]]:
    """All the ends that there are, by wanted file, when one of the lives is killed, each at each moment."""
    ends: dict[str, set[tuple[str, str]]] = {NEW: set(), BAD: set()}
    with Guillotine("tests.tools.orders:update_scene", *files) as knife:
        for wanted, lives in ((NEW, 0), (NEW, 1), (NEW, 2), (BAD, 1)):  # so many are let go before one is killed
            for k in range(1, 1000):
                begin(folder, wanted)
                for _ in range(lives):
                    knife.life(folder)
                killed = knife.life(folder, k)
                assert (folder / "site.toml").read_text() in (OLD, wanted)
                ends[wanted].add(settle(knife, folder))
                if not killed:
                    break
    return ends


# -- a command comes ----------------------------------------------------------------------------------


def desk_scene(folder: Path) -> None:
    """One life in which a command comes. What it does and says is on the disk at once: the ledger of this test."""

    def line(name: str, text: str) -> None:
        hand = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(hand, f"{text}\n".encode())
        os.close(hand)

    async def story() -> None:
        room = Room(folder / "state")

        async def do(command: Command, entry: Entry) -> Result:
            line("done", command.id)
            return Result("successful", "")

        def note(event: Event, more: dict[str, Any]) -> None:
            line("told", f"{event.facts['id']} {event.facts['state']} {event.facts['reason']}")

        room.desk.do, room.desk.note = do, note
        async with room:
            await room.ask(order(1))
            while room.desk._keeping:
                await asyncio.sleep(0)

    asyncio.run(story())


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def check(folder: Path) -> tuple[int, tuple[str, ...]]:
    """How often it was done, and which ends were told; what does not fit is an error."""
    done, told = Counter(lines(folder / "done")), lines(folder / "told")
    ends = tuple(dict.fromkeys(w for w in told if w.startswith(("anna-1 successful", "anna-1 failed"))))
    assert done["anna-1"] <= 1
    assert len(ends) == 1, told  # one end, however often it is told
    if "anna-1 successful " in ends:
        assert done["anna-1"] == 1
    return done["anna-1"], ends


def commands(folder: Path, *files: str) -> set[tuple[int, tuple[str, ...]]]:
    """All ends that there are when a life is killed, each time at another moment, and the command comes again."""
    ends = set()
    with Guillotine("tests.tools.orders:desk_scene", *files) as knife:
        for k in range(1, 5000):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            killed = knife.life(folder, k)
            assert not knife.life(folder)
            ends.add(check(folder))
            if not killed:
                return ends
    return ends
