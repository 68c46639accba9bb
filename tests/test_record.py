"""The record, whole: an alarm at a register, the agent killed, and a stranger who judges it again from the disk."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from agent.cli import main as cli
from tests.rigs.stage import heard, running, stage, told
from tests.tools.mosquitto import needs_mosquitto
from tests.tools.subscriber import Subscriber

pytestmark = needs_mosquitto


def test_an_alarm_is_proven_by_what_the_agent_left_on_the_disk(tmp_path: Path, capsys):
    """While it runs the bundle holds what led to the alarm; after a SIGKILL the journal is whole."""
    level = 0.5

    async def main() -> dict:
        nonlocal level
        async with stage(tmp_path, 3, 0.1, lambda: [level], stale=60.0) as (_, _, broker, path):
            with Subscriber(broker.port, "vedette/#") as ear:
                async with running(path) as agent:
                    await heard(ear, lambda ms: told(ms, "telemetry/plant"))
                    await asyncio.to_thread(ask, path, "key")
                    level = 1.5
                    messages = await heard(ear, lambda ms: any(a["event"] == "raised" for a in told(ms, "alarm/")))
                    journal = tmp_path / "state" / "journal"
                    await asyncio.to_thread(
                        waiting, lambda: b'"part":"before"' in b"".join(map(bytes_of, journal.iterdir()))
                    )
                    alarm = next(a for a in told(messages, "alarm/") if a["event"] == "raised")
                    await asyncio.to_thread(ask, path, "export", alarm["id"], "--out", str(tmp_path / "alive"))
                    agent.send_signal(signal.SIGKILL)
                    await agent.wait()
                return alarm

    def ask(path: Path, *words: str) -> None:
        assert cli(["audit", *words, "-c", str(path)]) == 0

    alarm = asyncio.run(main())
    out = capsys.readouterr().out
    public = out.split("public key ")[1].split("\n")[0]
    assert oct((tmp_path / "state" / "gateway.key").stat().st_mode)[-3:] == "600"
    for name in ("alive", "dead"):
        if name == "dead":
            assert (
                cli(["audit", "export", alarm["id"], "-c", str(tmp_path / "site.toml"), "--out", str(tmp_path / name)])
                == 0
            )
            assert "the agent was ended within it" in capsys.readouterr().out
        words = [sys.executable, "-I", "-S", str(tmp_path / name / "verify.py"), "--key", public]
        done = subprocess.run(words, capture_output=True, text=True, cwd="/")
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        assert "3 of 3 files, as they were in force" in done.stdout
        mono = json.loads((tmp_path / name / "alarm.json").read_text())[0]["at"]["mono"]
        assert f"judged again: {mono:.3f} s, the same" in done.stdout
    assert cli(["audit", "verify", "-c", str(tmp_path / "site.toml"), "--json"]) == 0
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["whole"]
    assert 0 < verdict["signed"] <= verdict["last"]


def bytes_of(path: Path) -> bytes:
    return path.read_bytes()


def waiting(true, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
