"""The incident bundle, as a stranger gets it: a bare `python3 -I` checks it, and finds whatever was changed."""

from __future__ import annotations

import ast
import base64
import json
import random
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import audit, evidence, keys, stranger
from agent.core.errors import WorldFault
from agent.core.frame import Quality
from agent.core.ports import Event
from agent.core.rules import High, Low, Rate
from agent.traces import AFTER, BEFORE
from tests.tools.mine import CH4, Mine, at

NAN = float("nan")


def ask(place: Path, *words: str) -> tuple[int, str]:
    """What a stranger is told, by the program in the bundle, in a process that knows nothing of us."""
    program = place / "verify.py" if place.is_dir() else place.parent / "verify.py"
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(program), str(place), *words], capture_output=True, text=True, cwd="/"
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> tuple[Path, Mine]:
    folder = tmp_path_factory.mktemp("good")
    mine = Mine(folder / "state", CH4)
    mine.run([0.4] * 40 + [0.6, 0.8, 1.0625] + [1.3] * 50 + [0.5] * 5)
    return mine.export(folder / "bundle"), mine


def test_a_stranger_who_knows_only_the_public_key_comes_to_the_same_alarm(good):
    place, mine = good
    code, said = ask(place, "--key", keys.text(mine.key))
    assert code == 0, said
    assert f"manifest: signed by key {keys.fingerprint(mine.key)}" in said
    assert "judged again: 1043.000 s, the same" in said
    assert "clock: 1700001043.000 s UTC since 1970, trusted" in said
    assert "configuration c0ffee: 1 of 1 files, as they were in force" in said
    assert said.endswith("VERDICT: nothing was changed; the alarm comes at the same time again\n")
    assert "only signed now" not in said  # all of it was signed when it happened
    code, said = ask(place)
    assert (code, "compare it, or give --key" in said) == (0, True)
    code, said = ask(place, "--key", keys.text(Ed25519PrivateKey.generate()))
    assert (code, "of another gateway" in said) == (1, True)
    rows = (place / "frames.csv").read_text().splitlines()
    assert rows[0] == "t_s,mono_s,channel,value,raw,unit,quality"
    assert len([row for row in rows if row.startswith("0.000,1043.0,z/ch4,1.0625,1.0625,%,0")]) == 1
    times = [float(row.split(",")[0]) for row in rows[1:]]
    assert (min(times), max(times)) == (1 - BEFORE, 51.0)  # before the raise, until the alarm was over


def test_a_zip_says_the_same(good, tmp_path: Path):
    _, mine = good
    packed = mine.export(tmp_path / "incident.zip")
    with zipfile.ZipFile(packed) as all_:
        (tmp_path / "verify.py").write_bytes(all_.read("verify.py"))
    assert ask(packed, "--key", keys.text(mine.key))[0] == 0
    with pytest.raises(WorldFault, match="never written over"):
        mine.export(packed)


def reseal(place: Path) -> None:
    """Make the manifest fit the files again, as somebody would who has no key."""
    manifest = json.loads((place / "manifest.json").read_text())
    for file in manifest["files"]:
        if (place / file["name"]).exists():
            file["sha256"] = stranger.sha((place / file["name"]).read_bytes())
    (place / "manifest.json").write_text(json.dumps(manifest))


def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(place: Path) -> None:
        text = (place / name).read_text()
        assert old in text
        (place / name).write_text(text.replace(old, new, 1))

    return change


def rechain(place: Path, own: Ed25519PrivateKey) -> None:
    """Write the excerpts anew with a reading that never was, chained and signed again, with a key of one's own."""
    manifest = json.loads((place / "manifest.json").read_text())
    firsts = {first: chain for first, _, chain in manifest["ranges"]}
    lines, chain = [], ""
    for line in (place / "journal.log").read_bytes().splitlines():
        number, _, body = line.split(b"\t")
        n, body = int(number), body.replace(b"1.0625", b"0.0625")
        chain = firsts.get(n, chain)
        if body.startswith(audit.SIGNED):
            body = audit.signature(own, n - 1, chain)
        chain = audit.seal(chain, n, body)
        lines.append(b"%d\t%s\t%s\n" % (n, chain.encode(), body))
    (place / "journal.log").write_bytes(b"".join(lines))


TAMPERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a reading in the journal": (edit("journal.log", "1.0625", "0.0625"), "journal.log: changed"),
    "the limit in the configuration": (edit("config/site.toml", "pit", "pot"), "config/site.toml: changed"),
    "an edge for people": (edit("alarm.json", "raised", "reised"), "alarm.json: changed"),
    "the program": (edit("verify.py", "Exit: 0", "Exit: 1"), "verify.py: changed"),
    "the manifest": (edit("manifest.json", '"level": "red"', '"level": "blue"'), "manifest.sig: the manifest"),
    "a file is gone": (lambda place: (place / "clock.json").unlink(), "clock.json: missing"),
    "a file too many": (lambda place: (place / "more.txt").write_text("x"), "more.txt: not in the manifest"),
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPERS)
def test_what_was_changed_is_refused_and_named(good, tmp_path: Path, what: str):
    place, mine = good
    bad = Path(shutil.copytree(place, tmp_path / "bad"))
    change, told = TAMPERS[what]
    change(bad)
    code, said = ask(bad, "--key", keys.text(mine.key))
    assert (code, f"VERDICT: NOT as it was: {told}" in said) == (1, True), said


def test_a_forger_without_the_key_is_found_however_much_he_writes_anew(good, tmp_path: Path):
    place, mine = good
    own = Ed25519PrivateKey.generate()
    bad = Path(shutil.copytree(place, tmp_path / "bad"))
    rechain(bad, own)
    reseal(bad)
    (bad / "manifest.sig").write_bytes(b"")
    assert "manifest.sig" in ask(bad)[1]  # the signature of now
    (bad / "manifest.sig").unlink()
    code, said = ask(bad, "--key", keys.text(mine.key))
    assert (code, "the manifest is not signed" in said) == (1, True)
    code, said = ask(bad)
    assert (code, "signed with another key" in said) == (1, True)  # and that of then
    body = json.loads((bad / "manifest.json").read_text()) | {"key": keys.text(own)}
    (bad / "manifest.json").write_text(json.dumps(body))
    sign = own.sign(b"vedette incident\n" + (bad / "manifest.json").read_bytes())
    (bad / "manifest.sig").write_bytes(base64.b64encode(sign))
    code, said = ask(bad)  # all of it is of one piece now: what is left is that it does not come to the alarm
    assert (code, "would not have been raised" in said) == (1, True)
    assert "of another gateway" in ask(bad, "--key", keys.text(mine.key))[1]


def test_delays_conditions_and_doubtful_values_are_judged_as_the_agent_judged_them(tmp_path: Path):
    """Many readings at random; wherever the agent raised, the stranger must come to the same time."""
    rng, judged = random.Random(8), 0
    for n in range(4):
        rule = [
            High(name="gas", channel=["z/ch4"], limit=1.0, restore=0.9, delay=3.0, clear_delay=2.0),
            High(name="gas", channel=["z/ch4"], limit=1.0, start_when=["z/fan >= 1"], fail_safe=True),
            Low(name="gas", channel=["z/ch4"], limit=0.6, delay=2.5),
            High(name="gas", channel=["z/ch4"], limit=1.0, when=["z/fan >= 1"], delay=1.0),
        ][n % 4]
        folder = tmp_path / str(n)
        folder.mkdir()
        mine = Mine(folder / "state", rule)
        for _ in range(20):
            level = rng.choice([0.5, 0.8, 0.95, 1.2, NAN])
            quality = Quality.FAULT if level != level else rng.choice([Quality.GOOD, Quality.GOOD, Quality.UNCERTAIN])
            mine.run([level] * rng.randrange(1, 9), fan=rng.choice([1.0, 1.0, 0.0]), quality=int(quality))
        mine.traces.close()
        raised = [alarm for alarm in mine.alarms if alarm.event == "raised" and alarm.rule == "gas"]
        for alarm in raised[:3]:
            place = mine.export(folder / alarm.id, alarm.id)
            found = stranger.files(place)
            manifest = stranger.check_manifest(found, keys.text(mine.key), str)
            records = stranger.check_journal(manifest, found["journal.log"], str)
            said: list[str] = []
            assert stranger.recompute(manifest, records, said.append) is not False, said
            judged += "the same" in said[-2]
    assert judged >= 8


def test_what_cannot_be_judged_again_is_said(tmp_path: Path):
    rule = Rate(name="gas", channel=["z/ch4"], limit=1.0, window=10.0)
    mine = Mine(tmp_path / "state", rule)
    mine.run([0.1 * k for k in range(60)])
    code, said = ask(mine.export(tmp_path / "bundle"))
    assert (code, "a rule of the kind rate is not repeated here" in said) == (2, True)
    assert said.endswith("not judged again\n")


def test_a_limit_that_somebody_set_goes_along(tmp_path: Path):
    mine = Mine(tmp_path / "state", CH4)
    mine.put(Event("command", "desk", at(1000.5), "set-limit by Li: limit of gas: 1, was 0.8"), True)
    mine.put(Event("command", "desk", at(1000.6), "set-limit by Li: limit of water: 3, was 2"), True)
    mine.run([0.4] * 5 + [1.2] * 3)
    said = (mine.export(tmp_path / "bundle") / "journal.log").read_text()
    assert "limit of gas: 1, was 0.8" in said
    assert ask(tmp_path / "bundle")[0] == 0


def test_an_alarm_that_nobody_knows_and_a_state_without_its_key(tmp_path: Path, capsys):
    from agent.cli import main

    mine = Mine(tmp_path / "state", CH4)
    mine.run([0.4] * 5 + [1.2] * 3)
    with pytest.raises(WorldFault, match="no alarm 7"):
        mine.export(tmp_path / "none", "7")
    (tmp_path / "state" / "gateway.key").unlink()
    state = ["--state", str(tmp_path / "state"), "-c", str(tmp_path / "none.toml")]
    assert main(["audit", "export", mine.alarms[0].id, *state, "--out", str(tmp_path / "bundle")]) == 0
    out = capsys.readouterr().out
    assert "NOT signed: the gateway's private key cannot be read here" in out
    assert "missing: raw rows after the alarm" in out
    code, said = ask(tmp_path / "bundle")
    assert (code, "manifest: NOT SIGNED" in said) == (0, True)
    assert "with 2 signatures of the time" in said


def test_evidence_goes_along_and_is_held_against_the_journal(tmp_path: Path):
    mine = Mine(tmp_path / "state", CH4)
    mine.run([0.4] * 5 + [1.2] * 3)
    alarm = mine.alarms[0]
    folder = tmp_path / "state" / "evidence" / f"{alarm.id}.gate"
    folder.mkdir(parents=True)
    (folder / "still-1.jpg").write_bytes(b"picture")
    kept = evidence.Manifest(
        id=folder.name, alarm=alarm.id, edge=1, rule="gas", channel="z/ch4", level="red", camera="gate", at=alarm.at,
        begin=alarm.at, end=alarm.at, kernel="k", clip=evidence.Clip(why="none"), stills=(), masks=(), missing=(),
        files=(evidence.File("still-1.jpg", 7, evidence.digest(folder / "still-1.jpg")),),
    )  # fmt: skip
    (folder / "manifest.json").write_bytes(msgspec.json.encode(kept))
    told = evidence.facts(kept, evidence.digest(folder / "manifest.json"))
    mine.put(Event("evidence", "gate", alarm.at, "kept", told), True)
    place = mine.export(tmp_path / "bundle")
    code, said = ask(place)
    assert (code, f"evidence {folder.name}: as the journal was told" in said) == (0, True), said
    (place / "evidence" / folder.name / "still-1.jpg").write_bytes(b"other")
    reseal(place)
    (place / "manifest.sig").unlink()
    code, said = ask(place)
    assert (code, "not the one of which the journal was told" in said) == (1, True)


def test_a_flood_costs_the_journal_no_more_than_its_hour_and_says_what_it_left_out(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("agent.traces.HOURLY", 20_000)
    mine = Mine(tmp_path / "state", CH4)
    for _ in range(60):
        mine.run([0.4, 1.2])
    mine.run([0.4] * int(AFTER + 2))
    mine.now += 3600
    mine.run([0.4, 1.2])
    traces = [r for r in audit.records(tmp_path / "state" / "journal") if r.body.startswith(b'{"kind":"trace"')]
    assert 10_000 < sum(len(record.body) for record in traces) < 30_000
    assert len(traces) + mine.traces.left_out >= 121
    assert f'"left_out":{mine.traces.left_out}'.encode() in traces[-1].body


def test_old_pythons_can_read_the_program_and_its_signatures_are_those_of_cryptography():
    ast.parse(Path(stranger.__file__).read_text(), feature_version=(3, 8))
    key = Ed25519PrivateKey.from_private_bytes(b"x" * 32)
    public, signature = base64.b64decode(keys.text(key)), key.sign(b"said")
    assert stranger.holds(public, signature, b"said")
    rng = random.Random(5)
    for _ in range(20):
        bad = bytearray(signature)
        bad[rng.randrange(64)] ^= 1 << rng.randrange(8)
        assert not stranger.holds(public, bytes(bad), b"said")
    assert not stranger.holds(public, signature, b"sayd")
    assert not stranger.holds(public[:31], signature, b"said")
    assert not stranger.holds(public, signature[:32] + (2**255 - 1).to_bytes(32, "little"), b"said")
