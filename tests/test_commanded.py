"""Commands, whole: signed by openssl or `vedette command`, through mosquitto, done by an agent in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import subprocess
from pathlib import Path
from typing import Any

from agent.cli import main
from tests.rigs.stage import heard, running, stage, told
from tests.tools.mosquitto import needs_mosquitto
from tests.tools.subscriber import Heard, Subscriber

pytestmark = needs_mosquitto


def vedette(*words: object, ok: bool = True) -> str:
    """What a verb prints. One at a time."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = main([str(word) for word in words])
    assert (code == 0) == ok, out.getvalue()
    return out.getvalue()


def people(folder: Path, **may: str) -> str:
    """[[issuer]] tables for people whose keys are made in `folder`."""
    tables = []
    for name, verbs in may.items():
        key = folder / f"{name}.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True, capture_output=True)
        key.chmod(0o600)
        public = json.loads(vedette("key", "show", key, "--json"))["key"]
        allowed = ", ".join(f'"{verb}"' for verb in verbs.split())
        tables.append(f'[[issuer]]\nname = "{name}"\nkey = "{public}"\nmay = [{allowed}]\n')
    return "".join(tables)


def words(messages: list[Heard]) -> list[tuple[str, str, str]]:
    """(id, state, reason) of every word about a command."""
    found = [m.body["facts"] for m in messages if m.topic.endswith("/ack")]
    return [(f["id"], f["state"], f["reason"]) for f in found]


async def asked(*arguments: object, ok: bool = True) -> Any:
    return json.loads(await asyncio.to_thread(vedette, "command", *arguments, "--json", ok=ok))


def test_a_person_far_away_acknowledges_sets_a_limit_and_is_answered(tmp_path):
    async def story() -> None:
        issuers = people(tmp_path, anna="ack set-limit report shelve", eve="report")
        more = f'commands = true\n{issuers}[[settable]]\nrule = "gas"\nlow = 0.5\nhigh = 2.0\n'
        level = 1.5
        async with stage(tmp_path, 1, 0.2, lambda: [level], uplink=more) as (_, _, broker, path):
            anna = ("--as", "anna", "--key", tmp_path / "anna.pem", "--broker", broker.url, "--to", "spine/gw1")
            with Subscriber(broker.port, "vedette/#") as ear:
                async with running(path):
                    messages = await heard(ear, lambda ms: told(ms, "alarm/"))
                    id = told(messages, "alarm/")[0]["id"]
                    got = await asked("ack", f"alarm={id}", *anna)
                    assert got["state"] == "successful"
                    await heard(ear, lambda ms: told(ms, "alarm/")[-1]["by"] == "anna")
                    low = await asked("set-limit", "rule=gas", "limit=1.8", "was=1.0", "reason=test", *anna)
                    assert (low["old"], low["new"]) == (1.0, 1.8)
                    await heard(ear, lambda ms: told(ms, "alarm/")[-1]["event"] == "cleared")
                    no = await asked("set-limit", "rule=gas", "limit=2.5", *anna, ok=False)
                    assert no["state"] == "failed"
                    status = json.loads(await asyncio.to_thread(vedette, "status", "-c", path, "--json"))
                    assert status["limits"]["gas"]["limit"] == 1.8
                    eve = ("--as", "eve", "--key", tmp_path / "eve.pem", "-c", path)
                    assert (await asked("ack", f"alarm={id}", *eve, ok=False))["reason"] == "role"
                    report = await asked("report", *eve)
                    assert report["state"] == "successful"
                    await heard(ear, lambda ms: len(words(ms)) >= 12)
                async with running(path):  # what was set, stays
                    level = 1.9
                    messages = await heard(ear, lambda ms: told(ms, "alarm/")[-1]["event"] == "raised")
        last = told(messages, "alarm/")[-1]
        assert (last["limit"], last["basis"]["standard"]) == (1.8, "set by anna")

    asyncio.run(story())
