"""The journal: every record is found again, and no change to the files goes unseen."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import audit, keys
from agent.audit import AHEAD, GENESIS, Audit, Chain, Pace, parse, records, segments, verify
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
    assert verify(tmp_path)[:5] == (7, 1, 7, chain.head, [])
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
            faults = verify(tmp_path).faults
            assert faults, f"byte {at} bit {bit}"
            assert faults[0].record == 1 + good[:at].count(b"\n"), f"byte {at} bit {bit}"


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
    assert any("are missing" in str(fault) for fault in verify(tmp_path).faults) or len(segments(tmp_path)) == 1


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
        assert [fault for fault in verdict.faults if "unfinished" not in fault.why] == []
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
    assert '"record": 3' in capsys.readouterr().out
    assert main(["audit", "--folder", str(tmp_path / "nowhere")]) == 69


# -- signatures, witnesses, tampering -----------------------------------------------------------------


KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PUBLIC = keys.text(KEY)


def signed(folder: Path, n: int = 60, size: int = 400, every: int = 7, key: Ed25519PrivateKey = KEY) -> Chain:
    """A journal of several segments, signed now and then."""
    chain = Chain(folder, 1 << 30, key)
    chain.segment = 6000
    for i in range(n):
        chain.append([body(i, size)], sign=i % every == 0)
    return chain


def test_a_stranger_can_check_a_signature_with_openssl(tmp_path: Path):
    signed(tmp_path / "journal", 3).end()
    record = list(records(tmp_path / "journal"))[-1]
    told = msgspec.json.decode(record.body)
    assert (told["kind"], told["of"]) == ("signature", record.n - 1)
    before = list(records(tmp_path / "journal"))[-2]
    (tmp_path / "said").write_bytes(b"vedette journal\t%d\t%s" % (before.n, before.chain.encode()))
    (tmp_path / "signature").write_bytes(base64.b64decode(told["signature"]))
    (tmp_path / "key.pem").write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    words = ["pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-rawin", "-in", "said", "-sigfile", "signature"]
    assert subprocess.run(["openssl", *words], cwd=tmp_path, capture_output=True).returncode == 0


def test_every_closed_segment_ends_with_a_signature_and_the_open_end_is_said_not_to(tmp_path: Path):
    chain = signed(tmp_path)
    assert len(segments(tmp_path)) > 3
    for path in segments(tmp_path)[:-1]:
        assert parse(audit.text(path).splitlines()[-1]).body.startswith(audit.SIGNED)
    verdict = verify(tmp_path, [PUBLIC])
    assert (verdict.faults, verdict.keys) == ([], (PUBLIC,))
    assert chain.n - 7 <= verdict.signed < chain.n
    chain.end()
    assert verify(tmp_path, [PUBLIC]).signed == verify(tmp_path).last == chain.n
    Chain(tmp_path, QUOTA, KEY).open()  # what is signed is not signed again
    assert verify(tmp_path).last == chain.n


def test_another_key_is_not_believed_nor_is_a_journal_that_nobody_signed(tmp_path: Path):
    signed(tmp_path / "other", key=Ed25519PrivateKey.generate()).end()
    (fault, *_) = verify(tmp_path / "other", [PUBLIC]).faults
    assert "another key" in fault.why
    assert verify(tmp_path / "other").faults == []
    chain = Chain(tmp_path / "bare", 1 << 30)
    chain.append([body(1)])
    assert "nothing is signed" in verify(tmp_path / "bare", [PUBLIC]).faults[-1].why
    assert verify(tmp_path / "bare").faults == []


def test_a_witness_finds_what_the_chain_cannot_show(tmp_path: Path):
    chain = signed(tmp_path)
    early = (chain.n, chain.head)
    image = {path.name: path.read_bytes() for path in segments(tmp_path)}
    chain.append([body(i, 400) for i in range(30)])
    chain.end()
    late = (chain.n, chain.head)
    assert verify(tmp_path, [PUBLIC], [early, late]).met == (early[0], late[0])
    whole = {path.name: path.read_bytes() for path in segments(tmp_path)}

    def restore(files: dict[str, bytes]) -> None:
        for path in segments(tmp_path):
            path.unlink()
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)

    def seen() -> audit.Fault:
        assert verify(tmp_path, [PUBLIC]).faults == []  # nobody without a witness can know
        return verify(tmp_path, [PUBLIC], [early, late]).faults[0]

    restore(image)  # an older copy of the card
    assert seen().record == early[0] + 1
    segments(tmp_path)[-1].unlink()  # its end is cut off; the witness knows more of it, too
    assert len(verify(tmp_path, [PUBLIC], [early, late]).faults) == 2
    restore({name: whole[name] for name in sorted(whole)[:-1]})
    assert "ends here" in seen().why
    restore({})
    chain = signed(tmp_path, 200)  # written anew with the stolen key, and longer
    chain.end()
    assert [fault.record for fault in verify(tmp_path, [PUBLIC], [late]).faults] == [late[0]]
    assert verify(tmp_path, [PUBLIC], [late]).faults[0].segment


def test_an_old_head_says_that_it_cannot_be_compared(tmp_path: Path):
    chain = Chain(tmp_path, 4 * AHEAD)
    chain.append([body(0)])
    first = (chain.n, chain.head)
    while len(segments(tmp_path)) < 4 or segments(tmp_path)[0].name == "000001.log":
        chain.append([body(1, 5000)])
    verdict = verify(tmp_path, heads=[first])
    assert (verdict.faults, verdict.unseen) == ([], (2,))
    begin = next(iter(records(tmp_path)))
    previous = msgspec.json.decode(begin.body)["previous"]
    assert verify(tmp_path, heads=[(begin.n - 1, previous)]).met == (begin.n - 1,)  # the first names what it continues
    assert verify(tmp_path, heads=[(begin.n - 1, "0" * 64)]).faults


def test_a_hundred_tampers_at_random_are_found_and_the_first_bad_record_is_named(tmp_path: Path):
    folder, other = tmp_path / "journal", tmp_path / "other"
    signed(folder).end()
    signed(other, size=401).end()
    good = {path.name: path.read_bytes().rstrip(b"\0") for path in segments(folder)}
    strange = {path.name: path.read_bytes().rstrip(b"\0") for path in segments(other)}
    head = (verify(folder).last, verify(folder).head)
    rng = random.Random(24)
    done: Counter[str] = Counter()
    for _ in range(100):
        what = rng.choice(["flip", "delete", "swap", "splice", "truncate", "lose a segment", "swap segments", "insert"])
        files = {name: content.splitlines(keepends=True) for name, content in good.items()}
        name = rng.choice(sorted(files))
        lines = files[name]
        first = int(lines[0].split(b"\t")[0])
        k = rng.randrange(len(lines) - 1)
        expected = first + k
        match what:
            case "flip":
                line = bytearray(lines[k])
                line[rng.randrange(len(line))] ^= 1 << rng.randrange(8)
                lines[k] = bytes(line)
            case "delete":
                del lines[k]
            case "swap":
                lines[k], lines[k + 1] = lines[k + 1], lines[k]
            case "insert":
                lines.insert(k, strange[name].splitlines(keepends=True)[k])
            case "splice":
                k = max(k, 2)  # the first of all is the same in both, and the second of the other follows it
                expected = first + k
                lines[k:] = strange[name].splitlines(keepends=True)[k:]
            case "truncate":
                at = rng.randrange(len(lines[k]))
                lines[k:] = [lines[k][:at]]
            case "lose a segment":
                expected = first
                del files[name]
            case "swap segments":
                a, b = rng.sample(sorted(files), 2)
                files[a], files[b] = files[b], files[a]
                expected = min(int(files[n][0].split(b"\t")[0]) for n in (a, b))
        for path in segments(folder):
            path.unlink()
        for n, content in files.items():
            (folder / n).write_bytes(b"".join(content))
        verdict = verify(folder, [PUBLIC], [head])
        assert verdict.faults, what
        if what == "lose a segment" and name == min(good):
            assert "000001 to 000001 are missing" in verdict.faults[0].why
        else:
            assert verdict.faults[0].record == expected, (what, verdict.faults[0])
        done[what] += 1
    assert len(done) == 8


def test_a_key_that_cannot_be_had_is_said_and_the_journal_goes_on_without(tmp_path: Path):
    key, why = keys.gateway(tmp_path / "state" / "gateway.key", make=True)
    assert (key is not None, why) == (True, "")
    again, _ = keys.gateway(tmp_path / "state" / "gateway.key", make=True)
    assert keys.text(again) == keys.text(key)
    assert keys.gateway(tmp_path / "named.key", make=False)[0] is None
    (tmp_path / "state" / "gateway.key").chmod(0o644)
    assert "chmod 600" in keys.gateway(tmp_path / "state" / "gateway.key", make=True)[1]


def test_the_command_names_the_first_bad_record_and_shows_the_key(tmp_path: Path, capsys):
    from agent.cli import main

    signed(tmp_path / "journal").end()
    verdict = verify(tmp_path / "journal")
    ask = ["audit", "verify", "--folder", str(tmp_path / "journal"), "--key", PUBLIC]
    assert main([*ask, "--head", f"{verdict.last}:{verdict.head}"]) == 0
    out = capsys.readouterr().out
    assert f"signed up to record {verdict.last} by {keys.fingerprint(KEY)}\n" in out
    assert f"record {verdict.last} is there as a witness noted it\n" in out
    assert main([*ask, "--head", f"{verdict.last + 1}:{verdict.head}"]) == 1
    assert "its end is gone" in capsys.readouterr().out
    assert main([*ask, "--head", "7"]) == 64
    other = keys.text(Ed25519PrivateKey.generate())
    assert main(["audit", "--folder", str(tmp_path / "journal"), "--key", other]) == 1
    assert "FIRST 000001.log, record 3" in capsys.readouterr().out


def test_what_is_put_to_be_signed_is_signed_with_its_write_and_the_rest_at_the_end(tmp_path: Path):
    async def main() -> None:
        journal = Audit(tmp_path, QUOTA, lambda *_: None, KEY)
        task = asyncio.create_task(journal.serve())
        journal.put(event(1))
        await journal.written()
        assert verify(tmp_path).signed == 0
        journal.put(event(2), sign=True)
        await journal.written()
        assert verify(tmp_path, [PUBLIC]).signed == verify(tmp_path).last == journal.head[0] == 4
        told = journal.witnessed()
        said = audit.statement(told["record"], told["checksum"])
        assert keys.holds(keys.public(told["key"]), base64.b64decode(told["signature"]), said)
        journal.put(event(3))
        await journal.written()
        assert verify(tmp_path).signed == 4
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await journal.close()
        assert verify(tmp_path, [PUBLIC], [(told["record"], told["checksum"])]).signed == verify(tmp_path).last == 6

    asyncio.run(main())


def test_a_witness_hears_soon_after_a_start_and_an_alarm_and_now_and_then_otherwise():
    pace = Pace(1000.0)
    due = [t for t in range(1000, 1200) if pace.is_due(float(t), 5)]
    assert due == [1060]
    assert [t for t in range(1200, 2400) if pace.is_due(float(t), 6 if t > 1300 else 5)] == [1660]
    pace.hurry()
    assert not pace.is_due(1700.0, 7)
    assert pace.is_due(1720.0, 7)
    assert [t for t in range(1721, 40_000) if pace.is_due(float(t), 7)] == [1720 + 21_600]
    assert not Pace(0.0).is_due(1e6, 0)  # nothing is on the disk


def test_an_agent_without_its_key_says_so_and_one_with_a_named_key_signs_with_it(tmp_path: Path):
    from agent.config import load
    from agent.daemon import Agent

    site = tmp_path / "site.toml"
    site.write_text(
        '[site]\nname = "pit"\n[store]\npath = "state"\njournal_key = "my.pem"\n[[bus]]\nname = "b"\n'
        'url = "tcp://127.0.0.1:9"\n[[bus.device]]\nname = "z"\nunit = 1\nperiod = 1.0\n'
        '[[bus.device.channel]]\nkey = "ch4"\nat = "holding:0"\ntype = "float32"\nunit = "%"\n'
    )

    async def once() -> bytes:
        agent = Agent(load(site))
        running = asyncio.create_task(agent.run())
        async with asyncio.timeout(20):
            while not hasattr(agent, "audit") or not agent.audit.head[0]:
                await asyncio.sleep(0.02)
        agent.stop()
        await running
        return b"".join(record.body for record in records(tmp_path / "state" / "journal"))

    assert b"a private key is expected there" in asyncio.run(once())
    assert verify(tmp_path / "state" / "journal").signed == 0
    assert not (tmp_path / "my.pem").exists()  # who named one wants that one
    key = keys.new(tmp_path / "my.pem")
    asyncio.run(once())
    verdict = verify(tmp_path / "state" / "journal", [keys.text(key)])
    assert (verdict.faults, verdict.signed) == ([], verdict.last)
    assert not (tmp_path / "state" / "gateway.key").exists()


def test_an_agent_that_starts_on_a_changed_journal_tells_everybody(tmp_path: Path, monkeypatch):
    from agent import daemon
    from agent.config import load

    monkeypatch.setattr(daemon, "READ_BACK", 0.1)
    chain = Chain(tmp_path / "state" / "journal", QUOTA)
    chain.append([body(n) for n in range(5)])
    chain.close()
    (path,) = segments(tmp_path / "state" / "journal")
    path.write_bytes(path.read_bytes().replace(b'"n":1', b'"n":7'))
    site = tmp_path / "site.toml"
    site.write_text(
        '[site]\nname = "pit"\n[[bus]]\nname = "b"\nurl = "tcp://127.0.0.1:9"\n[[bus.device]]\nname = "z"\nunit = 1\n'
        'period = 1.0\n[[bus.device.channel]]\nkey = "ch4"\nat = "holding:0"\ntype = "float32"\nunit = "%"\n'
    )

    async def main() -> str:
        agent = daemon.Agent(load(site))
        running = asyncio.create_task(agent.run())

        def told() -> list[str]:
            return [r.body.decode() for r in records(tmp_path / "state" / "journal") if b'"journal-broken"' in r.body]

        await until(told, 20)
        agent.stop()
        await running
        return told()[0]

    assert "000001.log, record 3, byte" in asyncio.run(main())
