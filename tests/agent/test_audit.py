"""The journal: every record is found again, and no change to the files goes unseen."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import audit
from agent.audit import AHEAD, GENESIS, Audit, Chain, records, segments, verify
from agent.core.errors import StoreFault
from agent.core.frame import Instant
from agent.core.ports import Event

AT = Instant(1.0, 1.7e9, True)
QUOTA = 1 << 20


def body(n: int, size: int = 40) -> bytes:
    return b'{"kind":"test","n":%d,"x":"%s"}' % (n, b"x" * size)


def written(folder: Path, n: int, size: int = 40, quota: int = QUOTA) -> Chain:
    chain = Chain(folder, quota)
    for i in range(n):
        chain.append([body(i, size)])
    chain.close()
    return chain


def bodies(folder: Path) -> list[bytes]:
    return [record.body for record in records(folder) if b'"segment"' not in record.body]


def test_a_stranger_can_check_the_chain_with_sha256_alone(tmp_path: Path):
    written(tmp_path, 5)
    previous = GENESIS
    for n, line in enumerate(segments(tmp_path)[0].read_bytes().rstrip(b"\0").splitlines(), 1):
        number, chain, text = line.split(b"\t")
        assert int(number) == n
        assert chain.decode() == hashlib.sha256(previous.encode() + b"\t" + number + b"\t" + text).hexdigest()
        previous = chain.decode()
    verdict = verify(tmp_path)
    assert (verdict.records, verdict.first, verdict.last, verdict.head, verdict.faults) == (6, 1, 6, previous, [])


def test_it_goes_on_where_it_ended_and_an_empty_one_is_sound(tmp_path: Path):
    assert verify(tmp_path).records == 0
    written(tmp_path, 3)
    chain = written(tmp_path, 3)
    assert verify(tmp_path) == (7, 1, 7, chain.head, [])
    assert bodies(tmp_path) == [body(i) for i in (0, 1, 2, 0, 1, 2)]


def test_every_changed_bit_is_found(tmp_path: Path):
    written(tmp_path, 6)
    path = segments(tmp_path)[0]
    good = audit.text(path)
    for at in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[at] ^= 1 << bit
            path.write_bytes(bad)
            assert verify(tmp_path).faults, f"byte {at} bit {bit}"


@pytest.mark.parametrize("change", ["remove", "swap", "repeat", "tail of another"])
def test_a_record_that_is_removed_moved_or_put_in_is_found(tmp_path: Path, change: str):
    written(tmp_path, 6)
    path = segments(tmp_path)[0]
    lines = audit.text(path).splitlines(keepends=True)
    match change:
        case "remove":
            del lines[3]
        case "swap":
            lines[3], lines[4] = lines[4], lines[3]
        case "repeat":
            lines.insert(3, lines[3])
        case _:
            other = tmp_path.with_name("other")
            written(other, 6, size=41)
            lines[4:] = audit.text(segments(other)[0]).splitlines(keepends=True)[4:]
    path.write_bytes(b"".join(lines))
    assert verify(tmp_path).faults


def test_the_oldest_segment_makes_room_and_the_rest_can_still_be_checked(tmp_path: Path):
    chain = written(tmp_path, 1500, size=500, quota=4 * AHEAD)
    assert 2 <= len(segments(tmp_path)) <= 4
    verdict = verify(tmp_path)
    assert verdict.faults == []
    assert verdict.first > 1
    assert (verdict.last, verdict.head) == (chain.n, chain.head)
    assert sum(path.stat().st_size for path in segments(tmp_path)) <= 4 * AHEAD + 4 * (AHEAD + 1000)
    middle = segments(tmp_path)[1]
    middle.unlink()
    assert any("follows" in fault for fault in verify(tmp_path).faults) or len(segments(tmp_path)) == 1


@given(cut=st.integers(0, 5000), sectors=st.sets(st.integers(0, 9)), more=st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_a_torn_write_costs_what_was_not_acknowledged_and_nothing_else(tmp_path_factory, cut, sectors, more):
    """The last append of 5 kB reaches the disk in part: some sectors stay as they were, all behind `cut` too."""
    folder = tmp_path_factory.mktemp("torn")
    written(folder, 20)
    path = segments(folder)[0]
    before = path.read_bytes()
    Chain(folder, QUOTA).append([body(i, 60) for i in range(50)])
    after = bytearray(path.read_bytes().ljust(len(before), b"\0"))
    start = len(audit.text(path)) - 50 * 170
    old = before.ljust(len(after), b"\0")
    for k in range(len(after) // 512):
        lo = 512 * k
        if lo > start + cut or (k - start // 512) in sectors:
            after[lo : lo + 512] = old[lo : lo + 512]
    path.write_bytes(after)
    written(folder, more)
    verdict = verify(folder)
    assert verdict.faults == []
    assert bodies(folder)[:20] == [body(i) for i in range(20)]
    assert bodies(folder)[-more:] == [body(i) for i in range(more)]


def test_damage_in_the_middle_costs_nobody_his_records(tmp_path: Path):
    written(tmp_path, 20)
    path = segments(tmp_path)[0]
    content = bytearray(path.read_bytes())
    at = content.index(b'"n":5')
    content[at] = 0
    path.write_bytes(content)
    chain = written(tmp_path, 2)
    assert chain.n == 23
    assert len(verify(tmp_path).faults) == 1
    assert len(bodies(tmp_path)) == 22  # the damaged one can still be read: its text is another question


def test_a_segment_that_was_being_made_when_the_power_went_is_made_again(tmp_path: Path):
    written(tmp_path, 3)
    (tmp_path / "000002.log").write_bytes(b"\0" * 4096)
    written(tmp_path, 1)
    assert verify(tmp_path).faults == []
    assert len(bodies(tmp_path)) == 4


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreFault, match="journal"):
        Chain(tmp_path / "file" / "journal", QUOTA).append([body(1)])


def test_kills_at_any_moment_lose_no_acknowledged_record(tmp_path: Path):
    program = (
        "import sys; from pathlib import Path; from agent.audit import Chain\n"
        "chain = Chain(Path(sys.argv[1]), 4 << 16)\n"
        "while True:\n"
        '    chain.append([b\'{"kind":"test","x":"\' + b\'y\' * 900 + b\'"}\'] * 3)\n'
        "    print(chain.n, flush=True)\n"
    )
    rng, last = random.Random(1), 0
    for _ in range(8):
        writer = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(rng.randrange(1, 60)):
            last = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        last = int((writer.stdout.read().split("\n")[-2:-1] or [str(last)])[0])
        writer.stdout.close()
        writer.wait()
        verdict = verify(tmp_path)
        assert verdict.last >= last
        assert [fault for fault in verdict.faults if "unfinished" not in fault] == []
    written(tmp_path, 1)
    assert verify(tmp_path).faults == []


# -- in the loop --------------------------------------------------------------------------------------


def event(n: int) -> Event:
    return Event("test", "here", AT, f"number {n}")


@contextlib.asynccontextmanager
async def serving(folder: Path, said: list[str]):
    journal = Audit(folder, QUOTA, lambda kind, whose, text: said.append(kind))
    task = asyncio.create_task(journal.serve())
    try:
        yield journal
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await journal.close()


async def until(true, seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)


def test_what_is_put_is_written_soon_and_the_rest_when_it_closes(tmp_path: Path):
    async def main() -> None:
        async with serving(tmp_path, []) as journal:
            journal.put(event(1))
            await until(lambda: journal.head[0] == 2)  # at once; the segment's own record is the first
            for n in range(2, 40):
                journal.put(event(n))
        assert journal.head == (verify(tmp_path).last, verify(tmp_path).head)

    asyncio.run(main())
    assert [f"number {n}".encode() in b for n, b in enumerate(bodies(tmp_path), 1)] == [True] * 39


def test_whoever_waits_for_the_disk_hears_when_it_has_what_was_put(tmp_path: Path):
    async def main() -> None:
        async with serving(tmp_path, []) as journal:
            await journal.written()
            for n in range(1, 40):
                journal.put(event(n))
            await asyncio.wait_for(journal.written(), 10)
            assert b"number 39" in b"".join(bodies(tmp_path))
            journal.put(event(40))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(journal.written(), 0.001)

    asyncio.run(main())


def test_a_disk_that_comes_back_gets_what_memory_held_and_how_much_it_did_not(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(audit, "RETRY", 0.05)
    monkeypatch.setattr(audit, "WAITING", 10)
    said: list[str] = []

    async def main() -> None:
        (tmp_path / "journal").write_text("in the way")
        async with serving(tmp_path / "journal", said) as journal:
            for n in range(25):
                journal.put(event(n))
            await until(lambda: journal.trouble)
            assert journal.lost == 15
            (tmp_path / "journal").unlink()
            await until(lambda: not journal.trouble)
        assert said == ["store-down", "store-recovered"]

    asyncio.run(main())
    first, *rest = bodies(tmp_path / "journal")
    assert first == b'{"kind":"lost","records":15}'
    assert [f"number {n}".encode() in b for n, b in zip(range(15, 25), rest, strict=True)] == [True] * 10
    assert verify(tmp_path / "journal").faults == []


def test_the_command_says_whether_the_journal_is_whole(tmp_path: Path, capsys):
    from agent.cli import main

    written(tmp_path / "journal", 3)
    folder = ["--folder", str(tmp_path / "journal")]
    assert main(["audit", *folder]) == 0
    assert capsys.readouterr().out.endswith("whole\n")
    assert main(["audit", *folder, "--last", "2"]) == 0
    assert capsys.readouterr().out == (body(1) + b"\n" + body(2) + b"\n").decode()
    path = segments(tmp_path / "journal")[0]
    path.write_bytes(path.read_bytes().replace(b'"n":1', b'"n":7'))
    assert main(["audit", *folder, "--json"]) == 1
    assert "record 3 does not fit its checksum" in capsys.readouterr().out
    assert main(["audit", "--folder", str(tmp_path / "nowhere")]) == 69
