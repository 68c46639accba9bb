"""What a host makes of what it hears, whatever the language: the same plain bodies, so that one ledger judges all.

A body is a dict as the native language says it: `schema`, the platform's key `boot`, `stream`, `seq`, the mark
`resent`, and what an alarm, an event or telemetry is about. `native` reads the native language, `sparkplug` Sparkplug
B. JT/T 808 has no keys; of it `Terminals` keeps what can be told apart: an alarm by its number, a location by its time.
`Outlets` is the same of HJ 212, where an alarm is a factor, a time and a flag; `collected` reads the files of a mine.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from agent.core.alarm import Alarm
from agent.uplink.jt808_alarms import flag_of, number_of
from agent.uplink.sparkplug_wire import Metric, Payload, decode
from simulators.hj212 import Hj212Platform, Link
from simulators.jt808 import Jt808Platform, Terminal

Body = dict[str, Any]


def native(topic: str, payload: bytes) -> list[Body]:
    """One body for a message with any."""
    return [msgspec.json.decode(payload)] if payload else []


def sparkplug(topic: str, payload: bytes) -> list[Body]:
    """The bodies of one message: births and deaths are the node's `state`."""
    _, _, verb, _, *rest = topic.split("/")
    told = decode(payload)
    if verb == "NBIRTH":
        boot = next(m.value for m in told.metrics if m.name == "Properties/Boot")
        alarms = [_alarm(m) for m in told.metrics if m.name.startswith("Alarms/") and "id" in m.properties]
        return [{"schema": "vedette.state/1", "state": "online", "boot": boot, "alarms": alarms}]
    if verb == "NDEATH":
        return [{"schema": "vedette.state/1", "state": "offline"}]
    if verb == "NDATA":
        return [_item(m) for m in told.metrics if "key" in m.properties]
    if verb == "DDATA" and told.uuid:
        return [_telemetry(rest[0], told)]
    return []


def _key(text: str) -> Body:
    boot, _, more = text.partition("/")
    stream, _, seq = more.rpartition("/")
    return {"boot": boot, "stream": stream, "seq": int(seq)}


def _item(one: Metric) -> Body:
    plain = {name: value for name, (_, value) in one.properties.items()}
    body = {**_key(plain["key"]), "resent": bool(plain.get("resent"))}
    if one.name == "Event":
        facts = msgspec.json.decode(plain["facts"]) if plain.get("facts") else {}
        return body | {"schema": "vedette.event/1", "kind": plain["kind"], "facts": facts, "resent": one.historical}
    return body | _alarm(one)


def _alarm(one: Metric) -> Body:
    """An edge of an alarm, whose metric is Alarms/<source>/<key>/<rule>."""
    plain: Body = {name: value for name, (_, value) in one.properties.items()}
    channel, _, rule = one.name.removeprefix("Alarms/").rpartition("/")
    return {
        "schema": "vedette.alarm/1", "rule": rule, "channel": channel, "state": one.value, "value": plain.get("value"),
        **{name: plain.get(name, "") for name in ("id", "edge", "event", "level", "by")},
    }  # fmt: skip


def _telemetry(source: str, told: Payload) -> Body:
    """A part of a batch: `part` is 0 of the first. It is marked where it is said to be of another time."""
    key, _, part = told.uuid.partition("#")
    marked = any(m.historical for m in told.metrics)
    return {
        "schema": "vedette.telemetry/1", "source": source, **_key(key), "part": int(part or 0), "resent": marked,
        "value": [[m.value for m in told.metrics]],
    }  # fmt: skip


class Keys:
    """The bookkeeping of keys: which came, how often unmarked."""

    def __init__(self) -> None:
        self.seen: dict[tuple[str, str], set[int]] = {}  # (boot, stream) -> numbers
        self.edges: dict[tuple[str, int], Body] = {}  # alarms by (id, edge)
        self.values: set[float] = set()  # of telemetry
        self.unmarked: list[tuple[Any, ...]] = []
        self._parts: Counter[tuple[Any, ...]] = Counter()

    def hear(self, body: Body) -> None:
        if "seq" not in body:
            return
        boot, stream, seq = body["boot"], body["stream"], body["seq"]
        self.seen.setdefault((boot, stream), set()).add(seq)
        key = (boot, stream, seq, body.get("part", 0))
        if self._parts[key] and not body.get("resent"):
            self.unmarked.append(key)
        self._parts[key] += 1
        if "edge" in body:
            self.edges[body["id"], body["edge"]] = body
        for row in body.get("value") or () if "source" in body and "edge" not in body else ():
            self.values.update(value for value in row if value is not None)

    def holes(self) -> list[tuple[str, str, int]]:
        """What is missing below the last that came."""
        lost = [(*key, set(range(1, max(seqs))) - seqs) for key, seqs in self.seen.items()]
        return [(boot, stream, seq) for boot, stream, missing in lost for seq in sorted(missing)]


class Edge(NamedTuple):
    """What JT/T 808 says of an edge."""

    number: int
    flag: int  # 1 begins, 2 ends


def told_as(alarm: Alarm) -> Edge | None:
    """None: it has no words there."""
    flag = flag_of(alarm)
    return Edge(number_of(alarm.id), flag) if flag is not None else None


class Plugs:
    """The ends of cables of a virtual network at a platform that has no socket."""

    connections: int
    ends: dict[int, Any]  # of each cable, by its identity

    def end(self, cable: Any) -> Any:
        """What the platform holds at its end of a new cable."""
        raise NotImplementedError

    def plug(self, cable: Any) -> None:
        self.connections += 1
        self.ends[id(cable)] = self.end(cable)

    def unplug(self, cable: Any) -> None:
        self.ends.pop(id(cable), None)

    def brought(self, cable: Any, data: bytes) -> bool:
        """Bytes arrive. Whether the connection stays."""
        end = self.ends.get(id(cable))
        if end is None:
            return True
        try:
            end.feed(data).send(None)  # it never waits where nobody is slow
        except StopIteration as done:
            return bool(done.value)
        raise AssertionError("a slow platform needs a loop")


class Terminals(Plugs, Jt808Platform):
    """The platform of JT/T 808."""

    def __init__(self) -> None:
        super().__init__(ask_files=False)
        self.ends = {}

    def end(self, cable: Any) -> Terminal:
        return Terminal(self, Mouth(cable), self.connections)  # type: ignore[arg-type]

    def unplug(self, cable: Any) -> None:
        if (end := self.ends.pop(id(cable), None)) is not None:
            end.close()

    def edges(self) -> set[Edge]:
        return {Edge(value.alarm, value.flag) for _, value in self.alarms()}

    def fork(self) -> Terminals:
        """The same platform in another world; its connections go on there."""
        new = Terminals()
        new.codes, new.terminals, new.got = dict(self.codes), dict(self.terminals), list(self.got)
        new._known = set(self._known)
        new.repeated, new.twice, new.strange = self.repeated, self.twice, self.strange
        new.said, new.connections = list(self.said), self.connections
        for key, end in self.ends.items():
            copy = new.ends[key] = Terminal(new, Mouth(None), end.number)  # type: ignore[arg-type]
            copy.phone, copy.layout, copy.known, copy._seen = end.phone, end.layout, end.known, dict(end._seen)
        return new


class Sign(NamedTuple):
    """What HJ 212 says of an edge."""

    code: str  # of the factor
    time: str  # DataTime
    begins: bool  # the flag is T


class Outlets(Plugs, Hj212Platform):
    """The platform of HJ 212."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = {}

    def end(self, cable: Any) -> Link:
        return Link(self, Mouth(cable), self.connections)  # type: ignore[arg-type]

    def signs(self, factors: int) -> list[tuple[Sign, float]]:
        """Edges of alarms, each message of one once, with the value that it says (NaN: none). Real time has all
        `factors`, an alarm its own."""
        found = []
        for one in self.of("2011"):
            flags = {name.removesuffix("-Flag"): flag for name, flag in one.values.items() if name.endswith("-Flag")}
            if len(flags) < factors:
                value = {code: float(one.values.get(f"{code}-Rtd", "nan")) for code in flags}
                found += [(Sign(code, one.time, flag == "T"), value[code]) for code, flag in flags.items()]
        return found

    def fork(self) -> Outlets:
        """The same platform in another world; its connections go on there."""
        new = Outlets()
        new.got, new.said, new._keys, new.wrong = list(self.got), list(self.said), set(self._keys), list(self.wrong)
        new.repeated, new.again, new.strange = self.repeated, self.again, self.strange
        new.messages, new.connections = self.messages, self.connections
        for key, end in self.ends.items():
            copy = new.ends[key] = Link(new, Mouth(None), end.number)  # type: ignore[arg-type]
            copy.mn, copy.st, copy.rest, copy.lost = end.mn, end.st, end.rest, end.lost
            copy._parts = {qn: dict(parts) for qn, parts in end._parts.items()}
            copy._seen = set(end._seen)
        return new


def collected(folder: Path) -> tuple[dict[str, list[list[str]]], list[str]]:
    """Rows of the files of a mine by kind, and what is wrong with files that are there."""
    rows: dict[str, list[list[str]]] = {}
    wrong = []
    for path in sorted(folder.glob("*.txt")):
        text = path.read_text("utf-8")
        if not text.endswith("~||") or text.count("||") != 1:
            wrong.append(f"{path.name} is there in part: {text[-40:]!r}")
            continue
        _, *records = text.removesuffix("~||").split("~")
        rows.setdefault(path.name.split("_")[1], []).extend(record.split(";") for record in records)
    return rows, wrong


class Mouth:
    """The platform's end of a cable, as much of a `StreamWriter` as it needs; it may lead nowhere."""

    def __init__(self, cable: Any) -> None:
        self.cable = cable

    def write(self, data: bytes) -> None:
        if self.cable is not None:
            self.cable.answer(data)

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass
