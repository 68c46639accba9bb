"""Brokers: is the name known, does somebody listen, is he believed, do they let us in, what may we say and hear.

The connection has the settings of the site and a name of its own, so that a running agent keeps its session; no will,
nothing retained. What may be said is tried with an empty message on the topic `doctor` of each branch that the agent
uses (`<root>/telemetry/doctor`), where nothing ever stands: to whoever hears it, it says just that. In MQTT 5 the
PUBACK says whether it was taken. In 3.1.1 a refusal looks like a delivery: there only what comes back by our own
subscription is known to have been taken, and of everything else this says that it cannot be told.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from .. import tls
from ..core.errors import LineLost, Refused
from ..hand import Hand
from ..wire import V5, VERSIONS, Broker, Message, Unsupported, Wire
from .finding import Finding, found
from .papers import ends

LEAF = "doctor"
ANSWER = 3.0  # s for the answers of a broker
REFUSED = 0x80  # reason codes from here on
KNOCK = 3.0  # s for a TCP connection


class Rights(NamedTuple):
    """What an agent says and hears at a broker."""

    tried: tuple[tuple[str, str], ...] = ()  # where it publishes, and a topic there on which a marker does no harm
    exact: tuple[str, ...] = ()  # topics of which each message means something: they cannot be tried
    whole: str = ""  # what all topics begin with: who may say anything below it may say these, too
    heard: tuple[str, ...] = ()  # filters that it subscribes to, and cannot do without


def native(root: str, settings: Broker, evidence: bool) -> Rights:
    """Of the native language. `evidence`: it has cameras that keep some."""
    said: list[str] = []
    for lane, branch in (("alarm", "alarm"), ("telemetry", "telemetry"), ("backfill", "backfill")):
        said += [branch] if settings.wants_lane(lane) else []  # type: ignore[arg-type]
    said += ["evidence"] if evidence and settings.wants_lane("event") else []
    tried = [(f"{root}/{branch}/...", f"{root}/{branch}/{LEAF}") for branch in said]
    tried += [(f"{root}/cmd/.../ack", f"{root}/cmd/{LEAF}/ack")] if settings.commands else []
    heard = [f"{root}/alarm/#"] if settings.wants_lane("alarm") else []
    heard += [f"{root}/{word}" for word in ("receipt", "range") if getattr(settings, f"{word}s")]
    heard += [f"{root}/cmd/+"] if settings.commands else []
    exact = [f"{root}/state", *([f"{root}/event"] if settings.wants_lane("event") else [])]
    return Rights(tuple(tried), tuple(exact), root, tuple(heard))


def sparkplug(group: str, node: str) -> Rights:
    """Of an edge node. Whatever is published below its names means something to a host: nothing is tried."""
    said = [f"spBv1.0/{group}/{verb}/{node}" for verb in ("NBIRTH", "NDATA", "NDEATH")]
    return Rights(exact=tuple(said), heard=(f"spBv1.0/{group}/NCMD/{node}", f"spBv1.0/{group}/DCMD/{node}/+"))


async def broker(settings: Broker, rights: Rights, clock: float) -> AsyncIterator[Finding]:
    """Everything about one broker, as far as the way to it is open. `clock`: s UTC, of this machine."""
    host, port = settings.place()
    what = f"{settings.name} {host}:{port}"
    hand = Hand("doctor")
    try:
        async for one in _way(what, host, port, hand):
            yield one
            if one.level == "fault":
                return
        try:
            keyring = await hand.do(tls.papers, settings, what) if settings.secured else None
        except LineLost as fault:
            yield found("broker tls", what, why=str(fault))
            return
    finally:
        hand.end()
    try:
        _ = settings.password and settings.secret()
    except LineLost as fault:
        yield found("broker secret", what, why=_short(fault))
        return
    wake = asyncio.Event()
    wire, fell = None, False
    for version in VERSIONS[settings.version]:
        wire = Wire(settings, version, f"vedette-doctor-{secrets.token_hex(4)}", None, wake)
        try:
            await wire.open(None if keyring is None else keyring.context)
            break
        except Unsupported as fault:
            if version == VERSIONS[settings.version][-1]:
                yield found("broker closed", what, why=_short(fault))
                return
            fell = True
        except Refused as fault:
            key = {0x85: "broker name", 0x86: "broker password", 0x87: "broker denied"}
            yield found(key.get(fault.code, "broker refused"), what, why=_short(fault), user=settings.user or "-")
            return
        except LineLost as fault:
            yield found("broker tls" if settings.secured else "broker closed", what, why=_short(fault))
            return
    assert wire is not None
    five = wire.version == V5
    try:
        if fell:
            yield found("broker old", what)
        yield found("broker connected", what, version="5" if five else "3.1.1", user=settings.user or "-")
        if keyring is not None:
            for whose, when in tls.peer_expires(wire.socket).items():
                yield ends(f"{what} {whose}", when, clock)
        for one in limits(wire, what):
            yield one
        async for one in _rights(wire, what, rights, five):
            yield one
    finally:
        wire.close(politely=True)


async def _way(what: str, host: str, port: int, hand: Hand) -> AsyncIterator[Finding]:
    """Name and TCP."""
    try:
        addresses = await hand.do(socket.getaddrinfo, host, port, 0, socket.SOCK_STREAM)
    except OSError as error:
        yield found("broker nameless", what, host=host, why=error.strerror or str(error))
        return
    began = time.monotonic()
    try:
        line = await hand.do(socket.create_connection, (host, port), KNOCK)
        line.close()
    except OSError as error:
        address = addresses[0][4][0]
        key = "broker shut" if isinstance(error, ConnectionRefusedError) else "broker away"
        yield found(key, what, address=address, why=error.strerror or str(error) or "no answer")
        return
    yield found("broker reached", what, ms=f"{1000 * (time.monotonic() - began):.0f}", address=addresses[0][4][0])


def limits(wire: Wire, what: str) -> Iterator[Finding]:
    """What the broker said in its CONNACK that does not go with what the agent does. MQTT 5, 3.2.2.3."""
    if wire.limit("MaximumQoS", 2) < 1:
        yield found("broker qos", what)
    if wire.limit("RetainAvailable", 1) < 1:
        yield found("broker retain", what)
    if (most := wire.limit("MaximumPacketSize", 1 << 28)) < 64 * 1024:
        yield found("broker small", what, most=most)


async def _rights(wire: Wire, what: str, rights: Rights, five: bool) -> AsyncIterator[Finding]:
    topics = dict(rights.tried)
    whole = f"{rights.whole}/..."
    if rights.whole:
        topics[whole] = f"{rights.whole}/{LEAF}"
    for filter_ in (*rights.heard, *([] if five else topics.values())):
        wire.hear(filter_)
    await _until(wire, lambda: not wire.asked)
    if wire.lost:
        yield found("broker dropped", what, why=wire.lost)
        return
    denied = set(wire.denied)
    for filter_ in rights.heard:
        yield found("broker deaf" if filter_ in denied else "broker hears", what, topic=filter_)
    asked = {wire.publish(Message(topic, b"", False)): branch for branch, topic in topics.items()}
    back: set[str] = set()

    def over() -> bool:
        back.update(one.topic for one in wire.said if not one.retained)
        answered = {mid for mid, _ in wire.acks}
        if not asked.keys() <= answered:
            return False
        return five or back >= set(topics.values()) - denied

    await _until(wire, over)
    if wire.lost:
        yield found("broker dropped", what, why=wire.lost)
        return
    wide = False
    for one in judged(topics, {asked[mid]: code for mid, code in wire.acks if mid in asked}, back, denied, five):
        if one.facts["topic"] == whole and one.level != "ok":
            continue  # nobody needs that right
        yield one._replace(what=what)
        wide = wide or one.facts["topic"] == whole
    if rights.exact and not wide:
        yield found("broker untried", what, topics=", ".join(rights.exact))


def judged(
    topics: dict[str, str], codes: dict[str, int], back: set[str], denied: set[str], five: bool
) -> Iterator[Finding]:
    """What is known of each branch. `codes`: of the PUBACK; `back`: topics whose marker came back; `denied`: those that
    we may not hear. Pure."""
    for branch, topic in topics.items():
        facts = {"topic": branch, "code": f"0x{codes.get(branch, 0):02x}"}
        if branch not in codes:
            yield found("broker silent", "", **facts)
        elif codes[branch] >= REFUSED:
            yield found("broker mute", "", **facts)
        elif five or topic in back:
            yield found("broker speaks", "", **facts)
        elif topic in denied:
            yield found("broker blind", "", **facts)
        else:
            yield found("broker swallowed", "", **facts)


async def _until(wire: Wire, over: Callable[[], bool]) -> None:
    """Let the wire work until `over()`, its end, or for as long as an answer may take."""
    loop = asyncio.get_running_loop()
    end = loop.time() + ANSWER
    wire.pump()
    while not over() and not wire.lost and (left := end - loop.time()) > 0:
        with suppress(TimeoutError):
            async with asyncio.timeout(left):
                await wire.wake.wait()
        wire.wake.clear()
        wire.pump()


def _short(fault: Exception) -> str:
    """Without what was tried: that stands in front of it."""
    return str(fault).partition(": ")[2].partition("; check ca")[0] or str(fault)
