"""Laws that every plug-in must satisfy. Run them for each new one: an empty list means that none is broken.

assert checks.driver(Modbus(...)) == []
assert checks.rule(High(...)) == []
"""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np

from .core.core import Core, Tick
from .core.frame import Instant, Layout, Quality, frame, layout
from .core.ports import Detector, Driver, Uplink
from .core.rules import AnyRule


def driver(one: Driver) -> list[str]:
    """Laws of a driver that can be seen without its device."""
    broken = [] if _is_frozen(one) else ["settings are frozen"]
    first, second = one.layouts(), one.layouts()
    if list(first) != list(second) or any(first[s].key != second[s].key for s in first):
        broken.append("layouts() gives the same answer twice")
    for source, columns in first.items():
        n = len(columns.key)
        if len(set(columns.key)) != n:
            broken.append(f"channels of {source} have names of their own")
        if any(
            len(column) != n for column in (columns.unit, columns.low, columns.high, columns.stale, columns.deadband)
        ):
            broken.append(f"columns of {source} are equally long")
        if not (columns.stale > 0).all():
            broken.append(f"every channel of {source} goes stale some day")
    if len(set(one.outputs())) != len(one.outputs()):
        broken.append("outputs have names of their own")
    return broken


def detector(one: Detector, seen: Layout | None = None) -> list[str]:
    """Laws of a detector over 60 samples, on the channels of `seen`, else on `a`, `b`, `c` in mg/m3 and one witness
    where it takes any.

    Its memory is a value; the wall clock decides nothing; what comes out is as wide as it says; NaN in, no error; a
    memory that is moved to another clock goes on as if nothing had been.
    """
    broken = [] if _is_frozen(one) else ["settings are frozen"]
    if seen is None:
        key = ["a", "b", "c", *["w/x"] * one.looks_beside]
        seen = layout(key, ["mg/m3"] * len(key), stale=1e9)
    given = one.columns(seen)
    if len({name for name, _ in given}) != len(given) or {name for name, _ in given} & set(seen.key):
        broken.append("columns have names of their own")
    rng = np.random.default_rng(1)
    rows = np.abs(np.cumsum(rng.normal(0.0, 1.0, (60, len(seen))), axis=0))
    rows[20:25, 1] = np.nan

    def run(jump: float = 0.0, twice: bool = False, moved: float = 0.0) -> list[bytes]:
        memory, out, shift = one.start(seen), [], 0.0
        for i, row in enumerate(rows):
            if moved and i == 30:
                memory, shift = one.moved(memory, moved), moved
            at = Instant(10.0 * i + shift, 10.0 * i + (jump if i > 20 else 0.0))
            quality = np.where(np.isnan(row), Quality.FAULT, Quality.GOOD).astype(np.uint8)
            if twice:
                one.step(memory, frame("s", at, seen, row.copy(), quality))
            memory, value, kind = one.step(memory, frame("s", at, seen, row, quality))
            if value.shape != (len(given),) or kind.shape != (len(given),):
                broken.append("what comes out is as wide as columns() says")
            out.append(value.tobytes() + kind.tobytes())
        return out

    usual = run()
    if usual != run(jump=3e8):
        broken.append("a step of the wall clock changes nothing")
    if usual != run(twice=True):
        broken.append("a step leaves the old memory as it was")
    memory = one.start(seen)  # moved by a whole number of bins of any window that ships
    if (memory is None or one.moved(memory, 0.0) is not None) and usual != run(moved=983_040.0):
        broken.append("a memory on another clock goes on as if nothing had been")
    return list(dict.fromkeys(broken))


def uplink(one: Uplink) -> list[str]:
    """Laws of an uplink that can be seen without its platform."""
    broken = [] if _is_frozen(one) else ["settings are frozen"]
    for field in msgspec.structs.fields(one):
        value = getattr(one, field.name)
        if field.name in ("password", "passphrase", "token") and value and ":" not in str(value):
            broken.append(f"{field.name} is a reference, never the secret itself")
    return broken


def _is_frozen(one: msgspec.Struct) -> bool:
    return type(one).__struct_config__.frozen


def rule(one: AnyRule) -> list[str]:
    """Laws of a rule and of the measure behind it, on three channels named `s/a`, `s/b`, `s/c`.

    The rule's patterns are replaced. What is checked: many channels at once give what each gives alone (not for
    a deviation, which compares); nothing is raised by NaN or by a value that may not raise; nothing is cleared
    by a value that is not GOOD; the wall clock decides nothing; the old memory is left as it was.
    """
    broken = []
    rng = np.random.default_rng(1)
    rows = np.cumsum(rng.normal(0.0, 1.0, (60, 3)), axis=0) * 10
    one = msgspec.structs.replace(one, channel=["s/*"])
    kind = one.__struct_config__.tag
    together = _told(one, rows)
    if kind != "deviation":
        apart = sorted(edge for i in range(3) for edge in _told(one, rows[:, [i]], "abc"[i]))
        if sorted(together) != apart:
            broken.append("one step on n channels equals n steps on one")
    if together != _told(one, rows, jump=3e8):
        broken.append("a step of the wall clock changes no decision")
    if together != _told(one, rows, twice=True):
        broken.append("a step leaves the old memory as it was")
    if kind not in ("silence", "fault") and not one.fail_safe:
        if _told(one, np.full((60, 3), np.nan), quality=Quality.UNCERTAIN):
            broken.append("NaN raises nothing")
        if _told(one, rows, quality=Quality.CALIBRATING):
            broken.append("a calibrating value raises nothing")
    for before, after in pairwise(sorted(together, key=lambda edge: (edge[0], edge[3]))):
        if before[0] == after[0] and before[1] == after[1]:
            broken.append("raised and cleared take turns")
            break
    return broken


def _told(
    one: AnyRule,
    rows: np.typing.NDArray[np.float64],
    keys: str = "abc",
    quality: Quality = Quality.GOOD,
    jump: float = 0.0,
    twice: bool = False,
) -> list[tuple[str, str, str, float]]:
    """(channel, event, id is left out) of every edge that the rule tells for `rows`, a frame each 10 s."""
    made = layout(list(keys)[: rows.shape[1]], stale=1e9)
    core = Core({"s": made}, [one])
    memory = core.start("law", Instant(0.0, 0.0))
    told = []
    for i, row in enumerate(rows):
        at = Instant(10.0 * i, 10.0 * i + (jump if i > 20 else 0.0))
        event = frame("s", at, made, row, quality)
        if twice:
            core.step(memory, event)
        for input_ in (event, Tick(at)):
            memory, verdict = core.step(memory, input_)
            told += [(a.channel, a.event, a.state, a.at.mono) for a in verdict.alarms]
    return told
