"""Commands, whole: keys of openssl, `vedette command`, mosquitto, and an agent in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent import audit
from tests.rigs.stage import Streams, heard, running, stage, told, until
from tests.tools.mosquitto import needs_mosquitto
from tests.tools.orders import people, vedette
from tests.tools.subscriber import Subscriber

pytestmark = needs_mosquitto


ROOT = "vedette/spine/gw1"


@contextlib.contextmanager
def systemd(path: Path) -> Iterator[list[str]]:
    """What systemd is told."""
    states: list[str] = []
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.setblocking(False)
        loop.add_reader(sock, lambda: states.append(sock.recv(100).decode()))
        yield states
        loop.remove_reader(sock)


async def asked(*arguments: object, ok: bool = True) -> Any:
    return json.loads(await asyncio.to_thread(vedette, "command", *arguments, "--json", ok=ok))


def test_people_far_away_command_are_answered_and_leave_what_they_did_in_the_journal(tmp_path):
    async def story() -> None:
        issuers = people(tmp_path, anna="ack set-limit configure", eve="report")
        settable = '[[settable]]\nrule = "gas"\nlow = 0.5\nhigh = 2.0\n'
        more = f"commands = true\n{issuers}{settable}[commands]\nconfirm = 5\n"
        level = 1.5
        async with stage(tmp_path, 1, 0.2, lambda: [level], uplink=more) as (_, _, broker, path):
            anna = ("--as", "anna", "--key", tmp_path / "anna.pem", "--broker", broker.url, "--to", "spine/gw1")
            eve = ("--as", "eve", "--key", tmp_path / "eve.pem", "-c", path)
            first, wanted = path.read_text(), tmp_path / "wanted.toml"

            async def configure(text: str, ok: bool) -> Any:
                wanted.write_text(text)
                return await asked("configure", f"toml=@{wanted}", *anna, ok=ok)

            with Subscriber(broker.port, "vedette/#") as ear, systemd(tmp_path / "notify") as states:
                async with running(path, env={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as agent:
                    messages = await heard(ear, lambda ms: told(ms, "alarm/"))
                    id = told(messages, "alarm/")[0]["id"]
                    assert (await asked("ack", f"alarm={id}", *anna))["state"] == "successful"
                    await heard(ear, lambda ms: told(ms, "alarm/")[-1]["by"] == "anna")

                    low = await asked("set-limit", "rule=gas", "limit=1.8", "was=1.0", "reason=test", *anna)
                    assert (low["old"], low["new"]) == (1.0, 1.8)
                    await heard(ear, lambda ms: told(ms, "alarm/")[-1]["event"] == "cleared")
                    no = await asked("set-limit", "rule=gas", "limit=2.5", *anna, ok=False)
                    assert no["state"] == "failed"
                    status = json.loads(await asyncio.to_thread(vedette, "status", "-c", path, "--json"))
                    assert status["limits"]["gas"]["limit"] == 1.8

                    assert (await asked("ack", f"alarm={id}", *eve, ok=False))["reason"] == "role"  # by the socket
                    assert (await asked("report", *eve))["state"] == "successful"
                    envelope = await asyncio.to_thread(vedette, "command", "report", *eve, "--print")
                    where = ("-h", "127.0.0.1", "-p", str(broker.port), "-t", f"{ROOT}/cmd/7", "-e", "answers/7")
                    answer = subprocess.run(
                        ["mosquitto_rr", *where, "-V", "5", "-q", "1", "-m", envelope.strip(), "-W", "9"],
                        check=True,
                        capture_output=True,
                    ).stdout
                    assert json.loads(answer)["by"] == ["eve"]
                    await heard(ear, lambda ms: told(ms, "cmd/7/ack"))

                    no = await configure(first.replace("limit = 1.0", "limit = 'x'"), ok=False)
                    assert (no["state"], no["reason"]) == ("failed", "check")
                    assert "site.toml.next:" in no["complaints"][0]
                    yes = await configure(first.replace("timeout = 0.3", "timeout = 0.4"), ok=True)
                    second = path.read_text()
                    assert "timeout = 0.4" in second
                    assert (tmp_path / "site.toml.last").read_text() == first
                    level = 1.9  # the limit that was set is still in force
                    await heard(ear, lambda ms: told(ms, "alarm/")[-1]["event"] == "raised")
                    assert agent.returncode is None  # the same process all along
                    await until(lambda: states.count("READY=1") == 2, what="ready again")
                    assert "STOPPING=1" not in states
                    messages = await heard(ear, lambda ms: told(ms, "state")[-1]["state"] == "online")
        last = told(messages, "alarm/")[-1]
        assert (last["limit"], last["basis"]["standard"]) == (1.8, "set by anna")
        births = [body for body in told(messages, "state") if body["state"] == "online"]
        assert births[-1]["config"] == yes["config"] != births[0]["config"]
        kinds = [body["kind"] for body in told(messages, "event")]
        assert kinds.count("configuration-replaced") == 1
        assert not list(tmp_path.glob("site.toml.trial")) + list(tmp_path.glob("site.toml.next"))
        records = [json.loads(record.body).get("event", {}) for record in audit.records(tmp_path / "state" / "journal")]
        facts = [event["facts"] for event in records if event.get("kind") == "command"]
        acked = [one["state"] for one in facts if one["verb"] == "ack" and one["issuer"] == "anna"]
        assert acked[-3:] == ["accepted", "executing", "successful"]
        assert all("envelope" in one for one in facts if one["state"] in ("accepted", "rejected"))
        streams = Streams([m for m in messages if m.topic.startswith(ROOT) and b'"boot"' in m.payload])
        assert (streams.holes(), streams.unmarked) == ([], 0)  # words of commands are of the stream of events

    asyncio.run(story())
