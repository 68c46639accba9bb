"""T22: who may not speak is not heard, who may not listen hears nothing, a new key costs no alarm, and no secret leaks.

Four parts. Impostors: brokers with something wrong in their certificate, and behind each an ear that must hear nothing
of the agent. Thieves: clients without the right, at the broker that ships as an example; what counts is what arrives at
the platform and at the victim, never what the broker answers. Renewal: certificates and a revocation under a pulse of
alarms, with renewals that are broken between. Canaries: twelve secrets, and a search of all that it leaves.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from agent import tls
from agent.control import ask
from agent.core.errors import LineLost
from simulators.hj212 import Hj212Platform
from simulators.jt808 import Jt808Platform
from simulators.video import CameraServer
from tests.rigs.pulse import Pulse, patient
from tests.rigs.stage import Streams, owing, readings, running, stage, until
from tests.rigs.trial import Case, Trial
from tests.tools.authority import Authority, Files, Issued, replace
from tests.tools.mosquitto import Guarded, Mosquitto, free_port
from tests.tools.station import alarm, station
from tests.tools.subscriber import Subscriber

HERE = Path(__file__).parent.parent.parent
MARK = b"forged"  # what thieves say
PATIENCE = 20.0  # s


# -- impostors: a broker that is not what it says it is ---------------------------------------------------


class Impostor:
    """A broker with a certificate that must not be believed, and an ear behind it."""

    def __init__(self, folder: Path, files: Files | None) -> None:
        self.open = free_port()
        more = f"listener {self.open} 127.0.0.1"
        self.broker = Mosquitto(folder, tls=files, more=more) if files else Mosquitto(folder, more=more)

    @property
    def url(self) -> str:
        return f"mqtts://127.0.0.1:{self.broker.port}"

    @contextlib.contextmanager
    def heard(self) -> Iterator[Callable[[], int]]:
        """How many messages of the agent came through."""
        with self.broker:
            end = time.monotonic() + 5
            while True:
                try:
                    ear = Subscriber(self.open, "vedette/#")
                    break
                except OSError:
                    assert time.monotonic() < end, "the impostor's other port"
                    time.sleep(0.02)
            with ear:
                yield lambda: len(ear.messages)


class OldServer:
    """`openssl s_server` that speaks TLS 1.1 and no newer."""

    def __init__(self, folder: Path, files: Files) -> None:
        self.port, self.folder, self.files = free_port(), folder, files

    @property
    def url(self) -> str:
        return f"mqtts://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def heard(self) -> Iterator[Callable[[], int]]:
        self.folder.mkdir()
        log = self.folder / "said"
        command = ["openssl", "s_server", "-accept", f"127.0.0.1:{self.port}", "-tls1_1", "-quiet"]
        command += ["-cipher", "DEFAULT@SECLEVEL=0", "-cert", str(self.files.cert), "-key", str(self.files.key)]
        with log.open("wb") as out:
            server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.DEVNULL)
        try:
            yield lambda: log.stat().st_size
        finally:
            server.kill()
            server.wait()


def impostors(folder: Path, authority: Authority, stranger: Authority) -> dict[str, Impostor | OldServer]:
    """By what is wrong with each."""
    here = ["127.0.0.1", "localhost"]
    revoked = authority.issue("broker", here)
    authority.revoke(revoked)
    made = {
        "another authority": stranger.issue("broker", here),
        "another name": authority.issue("broker", ["broker.example", "10.1.2.3"]),
        "a name that is not its address": authority.issue("broker", ["127.0.0.1.example"]),
        "its name in the subject only": authority.issue("127.0.0.1"),
        "expired": authority.issue("broker", here, days=-0.01),
        "not valid yet": authority.issue("broker", here, begun=-1),
        "signed by itself": authority.issue("broker", here, self_signed=True),
        "for clients only": authority.issue("broker", here, use="client"),
        "revoked": revoked,
    }
    found: dict[str, Impostor | OldServer] = {
        what: Impostor(folder / f"impostor-{i}", authority.files(f"impostor-{i}", issued))
        for i, (what, issued) in enumerate(made.items())
    }
    found["without TLS"] = Impostor(folder / "impostor-plain", None)
    found["TLS 1.1"] = OldServer(folder / "impostor-old", authority.server("old"))
    return found


async def face_impostors(case: Case) -> tuple[int, dict[str, int]]:
    """How many there were; those that were told something, and how much."""
    folder = case.folder / "impostors"
    folder.mkdir()
    authority, stranger = Authority(folder / "authority"), Authority(folder / "stranger", "test authority")
    settings = {"ca": str(authority.ca), "crl": str(authority.crl)}
    found: dict[str, int] = {}
    every = impostors(folder, authority, stranger)
    for i, (what, one) in enumerate(every.items()):
        with one.heard() as heard:
            async with station(folder / f"agent-{i}", one.url, **settings) as here:
                here.raised(alarm())
                here.put(1)
                await until(lambda here=here, heard=heard: len(here.faults) >= 2 or heard(), PATIENCE, what)
            if told := heard():
                found[what] = told
    # and the same station, with the same settings, speaks to the right one
    right = Impostor(folder / "right", authority.server("right"))
    with right.heard() as heard:
        async with station(folder / "agent-right", right.url, **settings) as here:
            here.raised(alarm())
            await until(here.delivered, PATIENCE, "the right broker is told")
            assert heard()
    return len(every), found


# -- thieves: a client without the right -------------------------------------------------------------------


class Client:
    """Somebody at the broker, with what he shows; what he hears is in `heard`. Nothing here raises."""

    def __init__(self, port: int, context: ssl.SSLContext | None, user: str = "", topic: str = "") -> None:
        self.heard: list[tuple[str, bytes]] = []
        client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        if context is not None:
            client.tls_set_context(context)
        if user:
            client.username_pw_set(user, "password")
        client.on_message = lambda *got: self.heard.append((got[2].topic, bytes(got[2].payload)))
        client.on_connect = lambda *_: topic and client.subscribe(topic, 1)
        self.client, self.up = client, False
        with contextlib.suppress(OSError, ValueError):
            client.connect("127.0.0.1", port)
            client.loop_start()
            self.up = True
        end = time.monotonic() + 1.0
        while self.up and not client.is_connected() and time.monotonic() < end:
            time.sleep(0.01)

    def say(self, topic: str, payload: bytes = MARK, retain: bool = False) -> None:
        """Publish, and wait until the broker has answered in some way."""
        if self.client.is_connected():
            with contextlib.suppress(RuntimeError, ValueError):
                self.client.publish(topic, payload, 1, retain).wait_for_publish(1.0)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Square:
    """The guarded broker with its rightful people: the platform, gw1, who is robbed, and a thief who is gw2."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "authority")
        self.stranger = Authority(folder / "stranger", "test authority")
        self.gone = self.authority.issue("gw1")
        self.authority.revoke(self.gone)
        self.broker = Guarded(folder / "broker", self.authority.server(), self.authority.crl)

    def shown(self, issued: Issued) -> ssl.SSLContext:
        """What somebody shows who believes the broker; whoever signed it."""
        return self.authority.context(issued)

    def __enter__(self) -> Square:
        self.broker.start()
        port, issue = self.broker.port, self.authority.issue
        self.platform = Client(port, self.shown(issue("platform")), topic="#")
        self.victim = Client(port, self.shown(issue("gw1")), topic="#")
        for topic in ("receipt", "range", "cmd/+"):
            self.victim.client.subscribe(f"vedette/mine/gw1/{topic}", 1)
        self.victim.client.subscribe("spBv1.0/mine/NCMD/gw1", 1)
        return self

    def __exit__(self, *error: object) -> None:
        self.platform.close()
        self.victim.close()
        self.broker.stop()

    def fence(self, thief: Client | None = None) -> None:
        """Whatever was said before this has arrived."""
        word = os.urandom(8).hex().encode()
        self.victim.say("vedette/mine/gw1/event", word)
        self.platform.say("vedette/mine/gw1/receipt", word)
        self.platform.say("vedette/mine/gw2/receipt", word)
        ears = [self.platform, self.victim, *([thief] if thief is not None else [])]
        end = time.monotonic() + 5
        while not all(any(payload == word for _, payload in ear.heard) for ear in ears):
            assert time.monotonic() < end, "the square stands still"
            time.sleep(0.01)


def strangers(square: Square) -> dict[str, tuple[ssl.SSLContext | None, str]]:
    """Whoever must not even come in: what he shows, and as whom he speaks."""
    authority = square.authority
    old = authority.context(authority.issue("gw1"))
    old.set_ciphers("DEFAULT@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    return {
        "without a certificate": (authority.context(), ""),
        "without a certificate, by name": (authority.context(), "gw1"),
        "of another authority": (square.shown(square.stranger.issue("gw1")), ""),
        "signed by itself": (square.shown(authority.issue("gw1", self_signed=True)), ""),
        "expired": (square.shown(authority.issue("gw1", days=-0.01)), ""),
        "not valid yet": (square.shown(authority.issue("gw1", begun=-1)), ""),
        "revoked": (square.shown(square.gone), ""),
        "for servers only": (square.shown(authority.issue("gw1", use="server")), ""),
        "TLS 1.1": (old, ""),
        "without TLS": (None, "gw1"),
    }


FOREIGN = (  # what gw2 must not say: of gw1, to gw1, for the platform
    "vedette/mine/gw1/state",
    "vedette/mine/gw1/alarm/red/s/a/high",
    "vedette/mine/gw1/event",
    "vedette/mine/gw1/telemetry/agent",
    "vedette/mine/gw1/receipt",
    "vedette/mine/gw1/range",
    "vedette/mine/gw1/cmd/1",
    "vedette/mine/gw1/cmd/1/ack",
    "vedette/mine/gw2/receipt",
    "spBv1.0/mine/NBIRTH/gw1",
    "spBv1.0/mine/NDEATH/gw1",
    "spBv1.0/mine/DDATA/gw1/plant",
    "spBv1.0/mine/NCMD/gw1",
    "spBv1.0/STATE/platform",
    "$SYS/broker/uptime",
    "anything",
)
FILTERS = (  # what gw2 must not hear
    "#",
    "vedette/#",
    "vedette/mine/gw1/#",
    "vedette/+/+/alarm/#",
    "$share/thieves/vedette/#",
    "spBv1.0/#",
)


def face_thieves(case: Case) -> tuple[int, list[str]]:
    """How many tries there were; those that succeeded."""
    found: list[str] = []
    with Square(case.folder / "square") as square:
        port, authority = square.broker.port, square.authority
        square.fence()
        for what, (context, user) in strangers(square).items():
            thief = Client(port, context, user)
            thief.say("vedette/mine/gw1/event")
            thief.close()
            square.fence()
            found += stolen(square, f"came in {what}")
        for user in ("", "gw1", "platform"):  # the name that he says does not matter
            thief = Client(port, square.shown(authority.issue("gw2")), user, "vedette/mine/gw2/receipt")
            for topic in FOREIGN:
                thief.say(topic, retain=topic.endswith("high"))
                if not thief.client.is_connected():
                    thief.close()
                    thief = Client(port, square.shown(authority.issue("gw2")), user, "vedette/mine/gw2/receipt")
                square.fence()
                found += stolen(square, f"said {topic} as {user or 'itself'}", thief)
            thief.close()
        for topic in FILTERS:
            thief = Client(port, square.shown(authority.issue("gw2")), "", topic)
            thief.client.subscribe("vedette/mine/gw2/receipt", 1)
            square.victim.say("vedette/mine/gw1/alarm/red/s/a/high", b"secret", retain=True)
            square.victim.say("spBv1.0/mine/NDATA/gw1", b"secret")
            square.fence(thief)
            found += [f"heard {topic}"] * any(payload == b"secret" for _, payload in thief.heard)
            thief.close()
        tries = len(strangers(square)) + 3 * len(FOREIGN) + len(FILTERS)
        assert any(payload == b"secret" for _, payload in square.platform.heard)  # whoever may, hears it
    return tries, found


def stolen(square: Square, what: str, thief: Client | None = None) -> list[str]:
    """`what`, if it succeeded: somebody heard what was forged."""
    ears = [square.platform, square.victim, *([thief] if thief is not None else [])]
    arrived = any(payload == MARK for ear in ears for _, payload in ear.heard)
    for ear in ears:
        ear.heard.clear()
    return [what] * arrived


# -- renewal: other certificates under a pulse of alarms -----------------------------------------------------


class Renewed:
    """What the renewals cost."""

    def __init__(self) -> None:
        self.lost = self.readings = self.holes = self.unmarked = 0
        self.gaps: list[float] = []  # s without a word of the agent, around each renewal
        self.broken_links = 0  # connections that a broken renewal cost
        self.back = float("nan")  # s from the revocation of the old ones, with a restart of the broker
        self.revoked_in = 0  # connections that a revoked certificate got


async def renewals(case: Case) -> Renewed:
    found, pulse, rng = Renewed(), Pulse(), case.rng()
    folder = case.folder / "renewal"
    folder.mkdir()
    authority, stranger = Authority(folder / "authority"), Authority(folder / "stranger", "test authority")
    cert, key, p12, word = (folder / name for name in ("gw.pem", "gw.key", "gw.p12", "word"))
    word.write_text("open sesame")
    old = authority.issue("gw1")
    old.put(cert, key)
    p12.write_bytes(old.p12("open sesame"))
    shown = (
        f'cert = "{cert}"\nkey = "{key}"' if case.size == "quick" else f'pkcs12 = "{p12}"\npassphrase = "file:{word}"'
    )
    broker = Guarded(folder / "broker", authority.server(), authority.crl)
    uplink = f'ca = "{authority.ca}"\n{shown}\nwindow = 100'

    def put(issued: Issued) -> None:
        issued.put(cert, key)
        replace(p12, issued.p12("open sesame"))

    async with stage(folder, 5, 0.1, pulse.levels, broker, uplink=uplink, store="batch = 0.2", name="mine") as set_up:
        device, _, _, path = set_up
        shows = authority.context(authority.issue("platform"))
        with Subscriber(broker.port, "vedette/#", tls=shows, session="platform") as ear:

            def kinds(kind: str) -> int:
                return sum(message.body.get("kind") == kind for message in ear.on("event"))

            async with running(patient(path)):
                await until(lambda: ear.on("telemetry/plant"), PATIENCE, "first telemetry")
                enough = asyncio.Event()
                beating = asyncio.create_task(beat(pulse, rng, enough))
                for n in range(case.n(1, 12)):
                    links = kinds("link-up")
                    stranger.issue("gw1").put(cert, key)
                    replace(p12, stranger.issue("gw1").p12("open sesame" if n % 2 else "another"))
                    await until(lambda n=n: kinds("certificate-refused") > n, PATIENCE, "the broken one is told")
                    found.broken_links += kinds("link-up") - links
                    before = old
                    old = authority.issue("gw1")
                    put(old)
                    await until(lambda n=n: kinds("certificate-renewed") > n, PATIENCE, "the new one is used")
                    await until(lambda links=links: kinds("link-up") > links, PATIENCE, "it is back")
                    authority.revoke(before)
                # everybody who had an older one is thrown out; the agent's is the newest
                began = time.monotonic()
                broker.stop()
                broker.start()
                found.revoked_in += await asyncio.to_thread(gets_in, broker.port, authority.context(before))
                came = len(ear.messages)
                await until(lambda: len(ear.messages) > came + 2, 40, "the agent is back")
                found.back = time.monotonic() - began
                enough.set()
                await beating
                await until(lambda: owing(path) <= 1, 40, "all is delivered")
                with contextlib.suppress(AssertionError):
                    await until(lambda: not pulse.lost(ear.messages), 10)
                with contextlib.suppress(AssertionError):
                    await until(lambda: not Streams(ear.messages).holes(), 10)
            found.gaps = gaps(ear)
            came_in = readings(ear.messages)
            found.readings = len(set(range(min(came_in), max(came_in) + 1)) & set(device.served) - came_in)
            found.lost = pulse.lost(ear.messages)
            streams = Streams([message for message in ear.messages if not message.topic.endswith("/receipt")])
            found.holes, found.unmarked = len(streams.holes()), streams.unmarked
    return found


def gets_in(port: int, context: ssl.SSLContext) -> bool:
    client = Client(port, context)
    up = client.client.is_connected()
    client.close()
    return bool(up)


async def beat(pulse: Pulse, rng: Any, enough: asyncio.Event) -> None:
    """A hazard that comes and goes until it is enough; ends low, and no turn is too short to be polled."""
    while not enough.is_set():
        await pulse.beat(1.0, 0.5, rng)


def gaps(ear: Subscriber) -> list[float]:
    """The longest silence of the agent within 10 s of each renewal, s."""
    at = [m.mono for m in ear.messages if m.payload]
    renewed = [m.mono for m in ear.on("event") if m.body.get("kind") == "certificate-renewed"]
    found = []
    for moment in renewed:
        near = [t for t in at if moment - 10 < t < moment + 5]
        found.append(max((b - a for a, b in zip(near, near[1:], strict=False)), default=999.0))
    return found


# -- canaries: ten secrets ------------------------------------------------------------------------------------


CANARY = "canary-{n}-{word}"

SITE = """
[site]
name = "aviary"
[store]
path = "state"
[[bus]]
name = "gate"
driver = "video"
url = "http://127.0.0.1:{camera}/stream"
user = "guard"
password = "env:CANARY_0"
[[bus]]
name = "yard"
driver = "video"
url = "rtsp://127.0.0.1:{closed}/main"
user = "guard"
password = "credential:yard"
[[bus]]
name = "region"
driver = "neighbour"
url = "mqtt://127.0.0.1:{plain}"
user = "ear"
password = "file:{folder}/ear"
trust = "given"
[[bus.neighbour]]
name = "next"
site = "next"
[[uplink]]
name = "wrong"
url = "mqtt://127.0.0.1:{plain}"
user = "nobody"
password = "env:CANARY_3"
[[uplink]]
name = "right"
url = "mqtt://127.0.0.1:{plain}"
user = "agent"
password = "credential:agent"
[[uplink]]
name = "scada"
kind = "sparkplug"
url = "mqtt://127.0.0.1:{plain}"
user = "scada"
password = "file:{folder}/scada"
[[uplink]]
name = "sealed"
url = "mqtts://127.0.0.1:{tls}"
ca = "{ca}"
pkcs12 = "{folder}/gw.p12"
passphrase = "file:{folder}/word"
[[uplink]]
name = "locked"
url = "mqtts://127.0.0.1:{tls}"
ca = "{ca}"
cert = "{folder}/gw.pem"
key = "{folder}/gw.key"
passphrase = "env:CANARY_7"
[[uplink]]
name = "coach"
kind = "jt808"
url = "tcp://127.0.0.1:{coach}"
phone = "13800138000"
terminal = "T000001"
code = "credential:coach"
channels = {{ gnss = "" }}
[[uplink]]
name = "bureau"
kind = "hj212"
url = "tcp://127.0.0.1:{bureau}"
mn = "010000A8900016F000169DC0"
password = "file:{folder}/bureau"
[[uplink.factor]]
channel = "agent/memory"
code = "w01001"
[[uplink]]
name = "files"
kind = "minefiles"
url = "sftp://files@127.0.0.1:{closed}/in"
mine = "140100000001"
mine_name = "aviary"
fingerprint = "SHA256:{print}"
password = "env:CANARY_10"
[[uplink.point]]
channel = "agent/memory"
code = "140100000001010001A01"
type = "0001"
title = "memory"
"""


async def canaries(case: Case) -> tuple[int, list[str]]:
    """How many secrets there were; where one was found."""
    folder = case.folder / "aviary"
    store = case.folder / "credentials"
    folder.mkdir()
    store.mkdir(mode=0o700)
    words = [CANARY.format(n=n, word=os.urandom(6).hex()) for n in range(11)]
    authority = Authority(store / "authority")
    issued = authority.issue("gw1")
    (store / "gw.p12").write_bytes(issued.p12(words[6]))
    issued.put(store / "gw.pem", store / "gw.key", words[7])
    for name, n in (("yard", 1), ("ear", 2), ("agent", 4), ("scada", 5), ("word", 6), ("coach", 8), ("bureau", 9)):
        (store / name).write_text(words[n] + "\n")
    secrets = [word.encode() for word in words]
    secrets.append(issued.key_pem().splitlines()[2])  # the middle of the private key, as it would stand in a file
    env = os.environ | {f"CANARY_{n}": words[n] for n in (0, 3, 7, 10)}
    env |= {"CREDENTIALS_DIRECTORY": str(store), "PYTHONPATH": str(HERE)}
    camera, coach, bureau = CameraServer("guard", words[0]), Jt808Platform(), Hj212Platform()
    for one in (camera, coach, bureau):
        await one.start()
    coach.codes["13800138000".zfill(20)] = words[8]
    users = {"ear": words[2], "agent": words[4], "scada": words[5]}
    plain = Mosquitto(case.folder / "plain", users=users | {"listener": "x"})
    sealed = Mosquitto(case.folder / "sealed", tls=authority.server())
    places = {"camera": camera.port, "closed": free_port(), "plain": plain.port, "tls": sealed.port}
    path = folder / "site.toml"
    places |= {"coach": coach.port, "bureau": bureau.port, "print": "A" * 43}
    path.write_text(SITE.format(folder=store, ca=authority.ca, **places))
    found: list[str] = []

    def look(data: bytes, where: str) -> None:
        found.extend(f"{n} in {where}" for n, word in enumerate(secrets) if any(one in data for one in forms(word)))

    with plain, sealed, Subscriber(plain.port, "#", "listener", "x") as ear:
        async with started(folder, path, env) as agent:

            def state() -> Any:
                try:
                    return ask(folder / "state", {"verb": "status"})
                except LineLost:
                    return {}

            up = ("right", "scada", "sealed", "locked", "coach", "bureau")
            await until(lambda: all(state().get("uplinks", {}).get(name) == "up" for name in up), 40, "all are up")
            await until(lambda: camera.sent, 40, "the camera is seen")
            await until(
                lambda: b"not authorised: check user, password" in (folder / "agent.log").read_bytes(),
                40,
                "one is refused",
            )
            await until(lambda: b"yard" in (folder / "agent.log").read_bytes(), 20, "the other camera is told")
            look(str(state()).encode(), "status")

            def alarms() -> Any:
                return ask(folder / "state", {"verb": "alarms"})["alarms"]

            await until(alarms, 30, "a camera and a neighbour are not what they should be")
            standing = alarms()
            look(str(standing).encode(), "alarms")
            noted = standing[0]["id"].encode()
            kept = (folder / "state" / "journal").glob
            await until(lambda: any(noted in one.read_bytes() for one in kept("*")), 20, "it is in the journal")
            children = descendants(agent.pid)
            assert children, "a camera has a child"
            for pid in (agent.pid, *children):
                look(Path(f"/proc/{pid}/cmdline").read_bytes(), f"arguments of {pid}")
            for pid in children:
                look(Path(f"/proc/{pid}/environ").read_bytes(), f"environment of {pid}")
            for message in ear.messages:
                look(message.payload + message.topic.encode(), f"message {message.topic}")
            agent.send_signal(signal.SIGABRT)
            await agent.wait()
        for verb in (["check"], ["audit", "--last", "200"]):
            command = [sys.executable, "-m", "agent.cli", *verb, "-c", str(path)]
            done = await asyncio.to_thread(
                subprocess.run, command, env=env, cwd=folder, capture_output=True, check=False
            )
            look(done.stdout + done.stderr, " ".join(verb))
        literal = folder / "literal.toml"  # a secret where none belongs is refused, and not repeated
        literal.write_text(path.read_text().replace("credential:agent", words[4]).replace("credential:coach", words[8]))
        code, said = await asyncio.to_thread(asked, ["check", "-c", str(literal)], folder, env)
        assert code == 78, said
        look(said, "what is said of a literal secret")
        literal.unlink()
        for one in sorted(folder.rglob("*")):
            if one.is_file() and not one.is_socket():
                look(one.read_bytes(), str(one.relative_to(folder)))
    for one in (camera, coach, bureau):
        await one.stop()
    return len(secrets), found


def asked(arguments: list[str], folder: Path, env: dict[str, str]) -> tuple[int, bytes]:
    """Exit status and words of `vedette`."""
    command = [sys.executable, "-m", "agent.cli", *arguments]
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, check=False)
    return done.returncode, done.stdout + done.stderr


def forms(word: bytes) -> list[bytes]:
    """How a secret may stand somewhere; in base64 wherever it begins, without its ends."""
    shifted = [base64.b64encode(bytes(n) + word)[(0, 2, 3)[n] : -4] for n in range(3)]
    return [word, word.hex().encode(), quote(word).encode(), word.decode().encode("utf-16-le"), *shifted]


def descendants(pid: int) -> list[int]:
    """All processes below one."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


@contextlib.asynccontextmanager
async def started(folder: Path, path: Path, env: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """The agent in its own folder, where a core file of it would lie if the system allows one."""
    command = ["sh", "-c", 'ulimit -c unlimited 2>/dev/null; exec "$0" "$@"', sys.executable, "-m", "agent.cli"]
    with (folder / "agent.log").open("ab") as log:
        agent = await asyncio.create_subprocess_exec(
            *command, "run", "-c", str(path), stdout=log, stderr=log, env=env, cwd=folder
        )
    try:
        yield agent
    finally:
        if agent.returncode is None:
            agent.kill()
            await agent.wait()


# -- the trial ------------------------------------------------------------------------------------------------


def run(case: Case) -> None:
    tls.LOOK, tls.ALERT = (0.2, 0.5) if case.size == "quick" else (tls.LOOK, tls.ALERT)
    brokers, believed = asyncio.run(face_impostors(case))
    case.figure("impostors", brokers)
    case.exactly("impostors believed", len(believed), 0)
    case.notes += [f"believed: {what}" for what in believed]
    if case.sabotage:
        return
    tries, found = face_thieves(case)
    case.figure("thefts tried", tries)
    case.exactly("thefts that succeeded", len(found), 0)
    case.notes += found
    renewed = asyncio.run(renewals(case))
    case.figure("renewals", len(renewed.gaps))
    case.at_most("gap of a renewal", max(renewed.gaps, default=999.0), 5.0, "s")
    case.exactly("connections that a broken renewal cost", renewed.broken_links, 0)
    case.exactly("alarms lost", renewed.lost, 0)
    case.exactly("readings lost", renewed.readings, 0)
    case.exactly("holes", renewed.holes, 0)
    case.exactly("unmarked repetitions", renewed.unmarked, 0)
    case.exactly("let in with what was revoked", renewed.revoked_in, 0)
    case.figure("back after a revocation and a restart of the broker, s", round(renewed.back, 1))
    secrets, places = asyncio.run(canaries(case))
    case.figure("secrets", secrets)
    case.exactly("secrets found", len(places), 0)
    case.notes += places


TRIAL = Trial("T22", "TLS, rights, renewal, secrets", run, "name-check-off", red=("impostors believed",), quick=False)
