"""Data files of mines (感知数据): definitions, real time, statistics and alarms as text files in a folder or by SFTP.

    points, not by time     each day, and when they changed            CDDY
    points, every n s       what stands, or statistics of that time    CDSS, TJSJ
    abnormal, every n s     alarms and odd qualities; a begin or end   YCBJ
                            also at once, in a file of its own

Which files there are and what stands in them is a table (`minefiles_table.py`); this is when they are written and what
is delivered thereby. A batch of telemetry is delivered when the file of every period that it touches is in place, an
alarm edge when a file with its row is. Files of one period have one name: written again after a kill they replace
themselves. What waited while the place could not be reached is written afterwards under the time that it is about.

A row of an alarm is known again by its point, type and start, which never change; its end is empty until it is over.
What people do with an alarm has no words here but who acknowledged it. Events have none.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.util
import math
from collections.abc import Collection
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, unquote, urlsplit

import numpy as np
from msgspec import Meta, Struct, structs

from .. import secret
from ..core.alarm import Alarm
from ..core.errors import LineLost
from ..core.frame import BLIND, OFFLINE_AFTER, Layout, Quality
from ..core.ports import Batch, Brief, Event, Item, Uplink
from .memo import Memo
from .minefiles_places import Account, Folder, Place, Sftp, readable
from .minefiles_table import MEANS, REAL, Kind, Row, Table, Told, column, load, written
from .past import CHUNK, SOME, Archive, Dues, Entry, Life
from .periods import HOLD, Run, Spans, Summary, Value, before, joined, runs, series, touched, value_at

GRACE = 2.5  # s after a period until what was read in it is in the store, at the latest; it gathers for 1 s
UNSET = 1_704_067_200.0  # s UTC, 2024: a clock that shows less was never set, and no file may bear its time
TURN = 256  # items taken before the loop serves others
ROOM = 4096  # batches that wait for their files; beyond, the feed keeps them
PUT = 60.0  # s that one file may take
FIGURES = 86400.0  # s before now that figures of an alarm reach back at most
SETTLED = 60.0  # s after which an alarm that no platform is owed any more and that is not open counts as over
KNOWN = 512  # alarms that are over and remembered, so that their end is told once
ENDS = ("cleared", "shelved", "suppressed", "taken-out", "reset")
PORT = 22


class Gauge(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One measuring point, as the platform knows it. Limits are what is declared there; rules judge by their own."""

    channel: str  # `source/key`
    code: str  # of the point
    type: str  # of the sensor
    title: str = ""  # of the type; empty: as the table says
    value_type: Literal["MN", "KG", "LJ"] = "MN"  # analogue, switch, cumulative
    unit: str = ""  # empty: that of the channel
    digits: Annotated[int, Meta(ge=0, le=9)] = 2  # behind the point
    system: str = ""
    station: str = ""
    place: str = ""
    range_high: float | None = None  # empty: as the channel says
    range_low: float | None = None
    alarm_high: float | None = None
    alarm_high_clear: float | None = None
    alarm_low: float | None = None
    alarm_low_clear: float | None = None
    cut_high: float | None = None
    cut_high_restore: float | None = None
    cut_low: float | None = None
    cut_low_restore: float | None = None
    on: str = ""  # of a switch: what 1 means
    off: str = ""
    x: str = ""
    y: str = ""
    z: str = ""
    related: tuple[str, ...] = ()  # codes of points

    @property
    def source(self) -> str:
        return self.channel.partition("/")[0]

    @property
    def key(self) -> str:
        return self.channel.partition("/")[2]


class Station(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What reads points: a source."""

    code: str
    source: str
    name: str = ""
    place: str = ""


class System(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The monitoring system, as the header of definitions wants it."""

    model: str = ""
    name: str = ""
    maker: str = ""
    mark_expiry: str = ""  # of the safety mark


class Minefiles(Uplink, tag="minefiles", frozen=True, kw_only=True):
    """One collector of files."""

    url: str  # file:///folder, or sftp://user@host[:port]/folder
    mine: Annotated[str, Meta(pattern=r"^[0-9A-Za-z]{1,32}$")]  # code, 12 digits for most
    mine_name: str
    system: System = System()
    table: str = "coal"  # that ships, or the path of one
    change: dict[str, Any] = {}  # noqa: RUF012 laid over the table
    mode: Annotated[int, Meta(ge=0o400, le=0o777)] = 0o644  # of files in a folder
    known_hosts: str = ""  # file with the server's key, of SFTP; a path, or credential:NAME
    fingerprint: Annotated[str, Meta(pattern=r"^(SHA256:[A-Za-z0-9+/]{43})?$")] = ""  # of that key, in its place
    key: str = ""  # file of the private key, the same
    passphrase: str = ""  # of it: env:NAME, file:/path, credential:NAME
    password: str = ""  # the same
    point: tuple[Gauge, ...]
    station: tuple[Station, ...] = ()
    alarm: tuple[Row, ...] = ()  # what alarms are, before the rows of the table
    home: str = ""  # folder of the state; set by the configuration

    def __post_init__(self) -> None:
        super().__post_init__()
        place = _split(self.url)
        faraway = {"known_hosts", "fingerprint", "key", "passphrase", "password"}
        given = {name for name in faraway if getattr(self, name)}
        if place.scheme == "file" and given:
            raise ValueError(f"{', '.join(sorted(given))} go with sftp:// in url")
        if place.scheme == "sftp":
            if len(given & {"known_hosts", "fingerprint"}) != 1:
                raise ValueError(
                    "sftp needs known_hosts or fingerprint, for the server must be known before it is believed"
                )
            if not given & {"key", "password"}:
                raise ValueError("sftp needs key or password")
        for name in ("password", "passphrase"):
            if wrong := secret.fault(getattr(self, name), "user", name):
                raise ValueError(wrong)
        if self.passphrase and not self.key:
            raise ValueError("passphrase goes with key")

    def at_home(self, home: str, shelf: str) -> Minefiles:
        return structs.replace(self, home=home)

    def faults(self, channels: Collection[str]) -> list[str]:
        """Of the table, of points, and of what SFTP needs."""
        told = []
        try:
            table = load(self.table, self.change)
        except ValueError as fault:
            return [str(fault)]
        codes: set[str] = set()
        sources = {name.partition("/")[0] for name in channels}
        for gauge in self.point:
            where = f"point {gauge.code}"
            if not self.wants_source(gauge.source):
                told.append(f"{where}: `sources` leaves out {gauge.source}")
            told += [f"{where}: that code is given twice"] if gauge.code in codes else []
            codes.add(gauge.code)
            if gauge.channel not in channels:
                told.append(f"{where}: no channel is called `{gauge.channel}`")
            if not gauge.title and gauge.type not in table.types:
                told.append(f"{where}: the table has no name for type {gauge.type}; give the point a title")
        for gauge in self.point:
            told += [f"point {gauge.code}: no point has the code {code}" for code in gauge.related if code not in codes]
        told += [
            f"station {one.code}: no source is called `{one.source}`"
            for one in self.station
            if one.source not in sources
        ]
        told += [
            f"alarm of rule `{row.rule}`: no type is called `{row.type}`; known are {', '.join(table.abnormal)}"
            for row in self.alarm
            if row.type and row.type not in table.abnormal
        ]
        if _split(self.url).scheme == "sftp":
            if importlib.util.find_spec("asyncssh") is None:
                told.append("sftp needs asyncssh: install vedette[sftp]")
            told += [
                f"{name}: {path} cannot be read"
                for name, path in (("known_hosts", self.known_hosts), ("key", self.key))
                if path and not readable(path)
            ]
        return told

    async def send(self, brief: Brief) -> None:
        """Reach the place and write until cancelled. Raises `LineLost`."""
        try:
            table = load(self.table, self.change)
        except ValueError as fault:
            raise LineLost(f"uplink {self.name!r}: {fault}") from fault
        wake = asyncio.Event()
        memo = Memo(self.home, "minefiles", self.name, Pages())
        place = self.place(wake)
        session = None
        reason = "stopped"
        try:
            await memo.load()
            if memo.trouble:
                text = (
                    f"uplink {self.name}: what was written is not known any more, some is written again: {memo.trouble}"
                )
                brief.tell(Event("notebook-lost", self.name, brief.clock.now(), text))
            await place.open()
            session = Session(self, table, place, memo, wake, brief)
            brief.feed.watch(wake.set)
            await session.run()
        except LineLost as fault:
            reason = str(fault)
            raise
        finally:
            if session is not None:
                brief.feed.watch(_nothing)
                brief.feed.online(False)
                brief.tell(Event("link-down", self.name, brief.clock.now(), reason))
            place.close()
            memo.close()

    def place(self, wake: asyncio.Event) -> Place:
        """Where files are put."""
        place = _split(self.url)
        if place.scheme == "file":
            return Folder(unquote(place.path), self.mode)
        folder = unquote(place.path)
        folder = folder[3:] if folder.startswith("/~/") else folder
        account = Account(
            place.hostname or "", place.port or PORT, unquote(place.username or ""), folder, self.known_hosts,
            self.fingerprint, self.key, self.passphrase, self.password,
        )  # fmt: skip
        return Sftp(account, wake.set)


def _split(url: str) -> SplitResult:
    place = urlsplit(url)
    if place.scheme == "file" and place.path.startswith("/") and not place.netloc and not place.query:
        return place
    if place.scheme == "sftp" and place.hostname and place.username and not place.query:
        if place.password is not None:
            raise ValueError("no password in url: password = 'credential:NAME', env: or file:")
        _ = place.port  # raises ValueError where it is no port
        return place
    raise ValueError(f"url must be file:///folder or sftp://user@host[:port]/folder, not {secret.masked(url)!r}")


def _nothing() -> None:
    pass


# -- what is known again after a restart ------------------------------------------------------------


class Known(Struct):
    """An alarm, as its rows tell it."""

    type: str  # key of the table's [abnormal]
    channel: str  # `source/key`, or a source: all of its points
    start: float  # s UTC
    end: float | None = None
    value: float | None = None  # when it was decided, where that is a value of the channel
    at: float = 0.0  # s UTC, when that was
    cause: str = ""
    measures: str = ""
    by: str = ""


class Odd(Struct):
    """A quality of a point that was abnormal at the end of the last period told, and goes on."""

    quality: int
    start: float  # s UTC
    until: float
    figures: tuple[float, ...] = ()  # of a `Summary`; empty: none


class Sent(Struct):
    """A file that is not by time, as it was last written."""

    hash: str
    day: str


class Pages(Struct):
    """What stands in the memo."""

    told: dict[str, list[tuple[int, int]]] = {}  # kind -> periods
    last: dict[str, int] = {}  # kind -> s UTC in the name of the last file that is of no period
    writing: str = ""  # such a file, while it is written
    sent: dict[str, Sent] = {}
    known: dict[str, Known] = {}  # by id
    odd: dict[str, Odd] = {}  # by code of the point
    lives: dict[str, Life] = {}  # by boot


NEWS = -1  # in place of a number: told at once, in a file of no period
Period = tuple[str, int]  # kind, number


class Session:
    """One stay at a place."""

    def __init__(
        self,
        settings: Minefiles,
        table: Table,
        place: Place,
        memo: Memo[Pages],
        wake: asyncio.Event,
        brief: Brief,
    ) -> None:
        self.settings, self.table, self.place, self.memo, self.wake = settings, table, place, memo, wake
        self.feed, self.who, self.open_alarms, self.clock, self.tell = brief
        self.pages = memo.pages
        self.kinds = {name: kind for name, kind in table.file.items() if kind.every}
        means = {name for name, kind in self.kinds.items() if {column(one).of for one in kind.columns} & set(MEANS)}
        self.grace = {name: GRACE if name in means else 0.0 for name in self.kinds}  # real time waits for no store
        self.abnormal = {name: kind for name, kind in self.kinds.items() if kind.about == "abnormal"}
        self.told = {name: Spans(self.pages.told.get(name, [])) for name in self.kinds}
        self.by_source: dict[str, list[Gauge]] = {}
        for gauge in settings.point:
            self.by_source.setdefault(gauge.source, []).append(gauge)
        self.channels = {gauge.channel for gauge in settings.point}
        self.odd = table.odd()
        self.was_odd: dict[str, bool] = {}  # source -> whether its newest row was; unknown counts as odd
        self.dues: Dues[Period] = Dues(self.feed)
        self.archive = Archive(self.feed, self.dues, self.pages.lives, self.who.boot, self.by_source)
        self.figures: dict[tuple[str, str], tuple[float, Summary]] = {}  # id, code -> until when, what
        self.mono = self.clock.now().mono
        self.began = self.clock.now().wall
        self.looked = 0.0  # minute in which what is not by time was looked at
        self.trouble = ""

    # -- the whole of it ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver for ever. Raises `LineLost`."""
        if self.pages.writing:
            await self._patiently(self.place.tidy(self.pages.writing))
            self.pages.writing = ""
        self.feed.online(True)
        self._say("link-up", f"files of {self.settings.mine_name} go to {self.settings.url}")
        while True:
            if self.place.lost:
                raise LineLost(f"uplink {self.settings.name!r} at {self.settings.url}: {self.place.lost}")
            if self._wall() < UNSET:
                await self._pause()
                continue
            self.archive.live(self.clock.now())
            more = self._take()
            if await self._write() or more:
                await asyncio.sleep(0)
            else:
                await self._pause()

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await self.wake.wait()
        self.wake.clear()

    async def _patiently(self, job: Any, limit: float = PUT) -> None:
        """Wait for something that may take long, coming round now and then. Raises what it raises, or `LineLost`."""
        task = asyncio.ensure_future(job)
        end = self.clock.now().mono + limit
        try:
            while not task.done():
                await asyncio.wait([task], timeout=1.0)
                if not task.done() and (self.place.lost or self.clock.now().mono > end):
                    why = self.place.lost or f"no answer in {limit:g} s"
                    raise LineLost(f"uplink {self.settings.name!r} at {self.settings.url}: {why}")
            task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=0.2)

    def _wall(self) -> float:
        return self.clock.now().wall

    def _say(self, kind: str, text: str) -> None:
        self.tell(Event(kind, self.settings.name, self.clock.now(), text))

    # -- taking ---------------------------------------------------------------------------------------

    def _take(self) -> bool:
        """Take what there is room for, but let others have their turn. Whether there may be more."""
        for _ in range(TURN):
            one = self.feed.take("event")
            if one is None:
                break
            if isinstance(one.body, Alarm):
                self._take_alarm(one, one.body)
            else:
                self.feed.done(one)  # no words for it
        else:
            return True
        for _ in range(TURN):
            if self.dues.waiting >= ROOM:
                return False
            one = self.feed.take()
            if one is None:
                return False
            if isinstance(one.body, Batch):
                self._take_batch(one, one.body)
            elif isinstance(one.body, Alarm):
                self._take_alarm(one, one.body)
            else:
                self.feed.done(one)
        return True

    def _take_batch(self, one: Item, batch: Batch) -> None:
        if batch.source not in self.by_source or not len(batch.wall):
            self.feed.done(one)
            return
        self.archive.heard(one.boot, batch)
        odd = self._is_odd(batch)
        late = self._wall() - GRACE
        periods = []
        for name, kind in self.kinds.items():
            if kind.about == "abnormal" and not odd:
                continue
            for k in touched(batch, kind.every):
                if k not in self.told[name] and (kind.late or (k + 2) * kind.every > late):
                    periods.append((name, k))
        self.dues.add(one, periods)

    def _is_odd(self, batch: Batch) -> bool:
        """Whether a quality in it, or before it, is abnormal by itself."""
        keys = [i for i, key in enumerate(batch.key) if f"{batch.source}/{key}" in self.channels]
        seen = [[int(q) in self.odd for q in row] for row in batch.quality[:, keys].tolist()]
        before = self.was_odd.get(batch.source, True)
        self.was_odd[batch.source] = any(seen[-1])
        return before or any(map(any, seen))

    def _about(self, channel: str) -> list[Gauge]:
        """The points that an alarm is about: that of its channel, or all of its source."""
        return [gauge for gauge in self.settings.point if channel in (gauge.channel, gauge.source)]

    def _take_alarm(self, one: Item, alarm: Alarm) -> None:
        type = self.table.type_of(alarm, self.settings.alarm)
        known = self.pages.known.get(alarm.id)
        if not type or not self._about(alarm.channel) or not self.abnormal:
            self.feed.done(one)
            return
        if alarm.event == "raised":
            if known is None:
                self.pages.known[alarm.id] = self._known(type, alarm)
        elif alarm.event in ENDS:
            if known is None:
                known = self.pages.known[alarm.id] = self._known(type, alarm)
            if known.end is None:
                end = alarm.since.wall if alarm.event == "cleared" else alarm.at.wall
                known.end = max(known.start, end)
        else:
            if known is not None and alarm.by:
                known.by = alarm.by
            self.feed.done(one)
            return
        at = alarm.at.wall
        periods: list[Period] = []
        for name, kind in self.abnormal.items():
            k = math.floor(at / kind.every)
            urgent = k in self.told[name] or (kind.at_once and self._wall() - at <= kind.every)
            periods.append((name, NEWS if urgent else k))
        self.dues.add(one, periods)

    def _known(self, type: str, alarm: Alarm) -> Known:
        cause = "; ".join(alarm.because) or alarm.text
        own = [gauge for gauge in self.settings.point if gauge.channel == alarm.channel]
        found = self._layout(own[0]) if own else None
        value = (
            alarm.value if found is not None and found[0].unit[found[1]] == alarm.unit else None
        )  # else a rate, an age
        at = alarm.at.wall
        return Known(type, alarm.channel, alarm.since.wall, None, value, at, cause, alarm.advice, alarm.by)

    def _reconcile(self) -> None:
        """What was never told of alarms (the memo or edges were lost) is seen from those that are open."""
        stands = {alarm.id: alarm for alarm in self.open_alarms()}
        for id, alarm in stands.items():
            type = self.table.type_of(alarm, self.settings.alarm)
            if id not in self.pages.known and alarm.state.startswith("active") and type and self._about(alarm.channel):
                self.pages.known[id] = self._known(type, alarm)
        if self.clock.now().mono - self.mono > SETTLED and not any(k == NEWS for _, k in self.dues.due):
            for id, known in self.pages.known.items():
                if known.end is None and id not in stands and self._wall() - known.start > SETTLED:
                    known.end = self._wall()
        over = [id for id, known in self.pages.known.items() if known.end is not None]
        for id in over[: max(0, len(over) - KNOWN)]:
            del self.pages.known[id]

    # -- writing --------------------------------------------------------------------------------------

    async def _write(self) -> bool:
        """The most urgent file that is due. Whether there was one."""
        self.archive.forget()
        now = self._wall()
        if now // 60 != self.looked:
            for name, kind in self.table.file.items():
                if not kind.every and await self._write_daily(name, kind):
                    return True
            self.looked = now // 60
        for name, kind in self.abnormal.items():
            if (name, NEWS) in self.dues.due and await self._write_news(name, kind):
                return True
        fresh: list[Period] = []
        for name, kind in self.kinds.items():
            k = math.floor((now - self.grace[name]) / kind.every) - 1
            if k not in self.told[name] and (k + 1) * kind.every > self.began:
                fresh.append((name, k))
        ended = [(name, k) for name, k in self.dues.due if k != NEWS and self._is_over(k, self.kinds[name].every, now)]
        ready = fresh or ended
        if not ready:
            return False
        name, k = min(ready, key=lambda one: ((one[1] + 1) * self.kinds[one[0]].every, one[0]))
        await self._write_period(name, k)
        return True

    @staticmethod
    def _is_over(k: int, every: float, now: float) -> bool:
        """Whether a period is complete; one that lies far ahead is of a clock that was wrong, and will not grow."""
        return (k + 1) * every + GRACE <= now or k * every > now + every

    async def _put(self, name: str, kind: Kind, wall: float, rows: list[Told]) -> None:
        head = self._head() | {"time": wall}
        data = written(self.table, kind, head, rows)
        await self._patiently(self.place.put(self.table.file_name(self.settings.mine, name, wall), data))

    def _head(self) -> dict[str, Any]:
        system = self.settings.system
        return {
            "mine": self.settings.mine, "mine_name": self.settings.mine_name, "system_model": system.model,
            "system_name": system.name, "maker": system.maker, "mark_expiry": system.mark_expiry,
        }  # fmt: skip

    async def _kept(self) -> None:
        """Have the disk know what was written. Where it cannot, that may be written again some day."""
        await self.memo.keep()
        if self.memo.trouble and not self.trouble:
            self._say("notebook-lost", f"what was written cannot be noted: {self.memo.trouble}")
        self.trouble = self.memo.trouble

    def _free(self, name: str, kind: Kind) -> int | None:
        """The time that a file of no period may bear now: one that no other of its kind has."""
        slot = int(self._wall() // self.table.round) * self.table.round
        if slot <= self.pages.last.get(name, 0) or (kind.every and slot % kind.every == 0):
            return None
        return slot

    async def _write_aside(self, name: str, kind: Kind, slot: int, rows: list[Told]) -> None:
        """A file of no period."""
        self.pages.last[name] = slot
        self.pages.writing = self.table.file_name(self.settings.mine, name, slot)
        await self._kept()
        await self._put(name, kind, slot, rows)
        self.pages.writing = ""

    async def _write_daily(self, name: str, kind: Kind) -> bool:
        """Definitions, when they are due."""
        rows = (
            [self._station(one) for one in self.settings.station] if kind.about == "stations" else self._defined(kind)
        )
        hash = hashlib.sha256(written(self.table, kind, self._head(), rows)).hexdigest()
        sent = self.pages.sent.get(name)
        day, _, clock = self.table.day(self._wall()).partition(" ")
        new_day = bool(kind.daily) and (sent is None or sent.day < day) and clock >= kind.daily
        changed = kind.on_change and (sent is None or sent.hash != hash)
        slot = self._free(name, kind)
        if slot is None or not (new_day or changed):
            return False
        await self._write_aside(name, kind, slot, [{**row, "time": float(slot)} for row in rows])
        self.pages.sent[name] = Sent(hash, day if clock >= kind.daily else (sent.day if sent is not None else ""))
        await self._kept()
        return True

    async def _write_news(self, name: str, kind: Kind) -> bool:
        """What begins or ends, at once; all that stands is in it too."""
        slot = self._free(name, kind)
        if slot is None:
            return False
        entries = self.dues.due[name, NEWS]
        ids = {entry.item.body.id for entry in entries if isinstance(entry.item.body, Alarm)}
        now = self._wall()
        rows = [
            row
            for id, known in sorted(self.pages.known.items(), key=lambda one: one[1].start)
            if id in ids or known.end is None
            for row in await self._rows(id, known, now)
        ]
        await self._write_aside(name, kind, slot, [{**row, "time": float(slot)} for row in rows])
        await self._kept()
        self.dues.told((name, NEWS))
        return True

    async def _write_period(self, name: str, k: int) -> None:
        kind = self.kinds[name]
        end = float((k + 1) * kind.every)
        live = end > self._wall() - kind.every - self.grace[name]
        if kind.about == "abnormal":
            if live:
                self._reconcile()
            rows = await self._abnormal(kind, end)
        elif kind.about == "stations":
            rows = [self._station(one) for one in self.settings.station]
        else:
            rows = await self._points(kind, end, live)
        if rows or kind.empty:
            await self._put(name, kind, end, [{**row, "time": end} for row in rows])
        self.told[name].add(k)
        self.pages.told[name] = self.told[name].spans
        if rows or kind.empty or (name, k) in self.dues.due:  # else nothing was told that could be told twice
            await self._kept()
        self.dues.told((name, k))

    # -- what stands in them --------------------------------------------------------------------------

    def _layout(self, gauge: Gauge) -> tuple[Layout, int] | None:
        layout = self.who.layouts.get(gauge.source)
        return (layout, layout.key.index(gauge.key)) if layout is not None and gauge.key in layout.key else None

    def _defined(self, kind: Kind) -> list[dict[str, Any]]:
        return [
            self._base(gauge) for gauge in self.settings.point if not kind.values or gauge.value_type in kind.values
        ]

    def _base(self, gauge: Gauge) -> dict[str, Any]:
        """What is always true of a point."""
        found = self._layout(gauge)
        unit, low, high = "", math.nan, math.nan
        if found is not None:
            layout, i = found
            unit, low, high = layout.unit[i], float(layout.low[i]), float(layout.high[i])
        row = {name: getattr(gauge, name) for name in GIVEN}
        return row | {
            "type_name": gauge.title or self.table.types.get(gauge.type, ""),
            "unit": gauge.unit or self.table.units.get(unit, unit),
            "range_low": low if gauge.range_low is None else gauge.range_low,
            "range_high": high if gauge.range_high is None else gauge.range_high,
            "related": ",".join(gauge.related),
        }

    def _station(self, one: Station) -> dict[str, Any]:
        latest = self.feed.latest().get(one.source)
        layout = self.who.layouts.get(one.source)
        patience = float(layout.stale.min()) * OFFLINE_AFTER if layout is not None and len(layout) else HOLD
        gone = latest is None or self.clock.now().mono - latest.seen > max(patience, 5.0)
        state = self.table.state_of(int(Quality.OFFLINE if gone else Quality.GOOD), ())
        return {"station": one.code, "station_name": one.name, "place": one.place, "state": state}

    async def _points(self, kind: Kind, end: float, live: bool) -> list[Told]:
        words = {column(one).of for one in kind.columns}
        real, means = bool(words & set(REAL)), bool(words & set(MEANS))
        begin = end - kind.every
        stands = self._stands(end)
        rows: list[Told] = []
        for source, gauges in self.by_source.items():
            wanted = [gauge for gauge in gauges if not kind.values or gauge.value_type in kind.values]
            accounts = await self.archive.account(source, [one.key for one in wanted], begin, end) if means else {}
            blocks = await self.archive.of(source, end, end) if real and not live else []
            for n, gauge in enumerate(wanted, 1):
                row = self._base(gauge)
                if real:
                    value = self._now(gauge, end) if live else value_at(series(blocks, gauge.key), end)
                    types = stands.get(gauge.channel, set()) | stands.get(source, set())
                    row["value"] = _shown(gauge, value.value)
                    row["state"] = self.table.state_of(value.quality, types)
                    row["read"] = value.at if math.isfinite(value.at) else end
                if means:
                    row |= _figures(accounts[gauge.key].fit) | {"begin": begin}
                rows.append(row)
                if n % SOME == 0:
                    await asyncio.sleep(0)
        return rows

    def _stands(self, moment: float) -> dict[str, set[str]]:
        """Types of alarms that stand then, by channel or source."""
        found: dict[str, set[str]] = {}
        for known in self.pages.known.values():
            if known.start <= moment and (known.end is None or known.end > moment):
                found.setdefault(known.channel, set()).add(known.type)
        return found

    def _now(self, gauge: Gauge, end: float) -> Value:
        """The newest value that there is, as old as its channel allows; at most that of the moment which is told."""
        found, latest = self._layout(gauge), self.feed.latest().get(gauge.source)
        if found is None or latest is None or gauge.key not in latest.frame.layout.key:
            return Value(math.nan, int(Quality.OFFLINE), math.nan)
        layout, i = found
        here = latest.frame.layout.key.index(gauge.key)
        now = self.clock.now()
        age = now.mono - latest.seen + float(latest.frame.age[here])
        patience = max(float(layout.stale[i]), 5.0)
        quality = int(latest.frame.quality[here])
        if age > patience:
            quality = int(Quality.OFFLINE if age > patience * OFFLINE_AFTER else max(quality, int(BLIND)))
        value = math.nan if quality >= BLIND else float(latest.frame.value[here])
        return Value(value, quality, min(end, now.wall - age))

    async def _abnormal(self, kind: Kind, end: float) -> list[Told]:
        """Alarms that stand at the end of a period or ended within it, and qualities that are abnormal."""
        begin = end - kind.every
        rows: list[Told] = []
        edges = {entry.item.body.id for entry in self._edges(kind, end) if isinstance(entry.item.body, Alarm)}
        for id, known in sorted(self.pages.known.items(), key=lambda one: one[1].start):
            if id in edges or (known.start < end and (known.end is None or known.end >= begin)):
                rows += await self._rows(id, known, end)
        waits = {entry.item.body.source for entry in self._edges(kind, end) if isinstance(entry.item.body, Batch)}
        for source in self.by_source if self.odd else ():
            if source in waits or self.was_odd.get(source, True):
                rows += await self._odd_rows(source, begin, end)
        return rows

    def _edges(self, kind: Kind, end: float) -> list[Entry]:
        """What waits for a period of this kind."""
        names = [name for name, one in self.abnormal.items() if one is kind]
        return [entry for name in names for entry in self.dues.due.get((name, round(end / kind.every) - 1), ())]

    async def _rows(self, id: str, known: Known, moment: float) -> list[Told]:
        """The rows of one alarm as of a moment: one for each of its points."""
        end = known.end if known.end is not None and known.end <= moment else None
        rows: list[Told] = []
        for gauge in self._about(known.channel):
            figures = await self._since(id, gauge, known.start, moment if end is None else end)
            if known.value is not None:  # it may be newer than what the store has
                figures = _with(figures, known.value, known.at)
            if end is not None:
                self.figures.pop((id, gauge.code), None)
            rows.append(
                self._base(gauge)
                | _figures(figures)
                | {
                    "abnormal": self.table.abnormal[known.type],
                    "start": known.start,
                    "end": math.nan if end is None else end,
                    "cause": known.cause,
                    "measures": known.measures,
                    "recorder": known.by,
                }
            )
        return rows

    async def _since(self, id: str, gauge: Gauge, begin: float, end: float) -> Summary:
        """Figures of a point from the begin of an alarm; what was reckoned before is not asked for again."""
        until, figures = self.figures.get((id, gauge.code), (max(begin, end - FIGURES), Summary()))
        if until > end:
            until, figures = max(begin, end - FIGURES), Summary()
        if end > until:
            more = await self.archive.account(gauge.source, [gauge.key], until, end)
            figures = joined(figures, more[gauge.key].fit)
        self.figures[id, gauge.code] = (end, figures)
        return figures

    async def _odd_rows(self, source: str, begin: float, end: float) -> list[Told]:
        """Times of qualities that reach into a period; of one that goes on the memo knows the begin."""
        rows: list[Told] = []
        for n, gauge in enumerate(self.by_source[source], 1):
            past = before(series(await self.archive.of(source, begin, end), gauge.key), end)
            kept = self.pages.odd.pop(gauge.code, None)
            for run in runs(past, self.odd):
                if run.end < begin:
                    continue
                start, figures, since = run.begin, Summary(), run.begin
                if run.begin == past.wall[0]:  # and perhaps before
                    if kept is None or kept.quality != run.quality or kept.until != begin:
                        start = await self._odd_since(gauge, run)
                    same = kept is not None and kept.quality == run.quality and start <= kept.until
                    if kept is not None and (same or kept.until == begin):
                        start, since = kept.start, kept.until
                        figures = Summary(*kept.figures) if kept.figures else Summary()
                    else:
                        since = start
                stop = min(run.end, end)
                if stop > since:
                    figures = joined(
                        figures, (await self.archive.account(source, [gauge.key], since, stop))[gauge.key].all
                    )
                goes_on = math.isinf(run.end)
                if goes_on:
                    self.pages.odd[gauge.code] = Odd(run.quality, start, end, tuple(figures) if figures.seconds else ())
                told = {
                    "abnormal": self.table.abnormal[self.odd[run.quality]],
                    "start": start,
                    "end": math.nan if goes_on else run.end,
                }
                rows.append(self._base(gauge) | _figures(figures) | told)
            if n % SOME == 0:
                await asyncio.sleep(0)
        return rows

    async def _odd_since(self, gauge: Gauge, run: Run) -> float:
        """When a quality began that stood when `run` does, as far back as figures go."""
        start = run.begin
        while run.begin - start < FIGURES:
            past = before(series(await self.archive.of(gauge.source, start - CHUNK, start), gauge.key), start)
            other = np.flatnonzero(past.quality != run.quality)
            if len(other):
                after = int(other[-1]) + 1
                return float(past.wall[after]) if after < len(past.wall) else start
            if not len(past.wall) or past.wall[0] >= start:
                return start
            start = float(past.wall[0])
        return start


GIVEN = (
    "code", "system", "station", "type", "value_type", "alarm_high", "alarm_high_clear", "alarm_low", "alarm_low_clear",
    "cut_high", "cut_high_restore", "cut_low", "cut_low_restore", "on", "off", "place", "x", "y", "z", "digits",
)  # fmt: skip


def _with(one: Summary, value: float, at: float) -> Summary:
    """Figures that have this value among them; it weighs nothing."""
    low = (value, at) if not one.seconds or value < one.low else (one.low, one.low_at)
    high = (value, at) if not one.seconds or value > one.high else (one.high, one.high_at)
    return Summary(*low, *high, one.mean if one.seconds else value, one.seconds)


def _figures(one: Summary) -> dict[str, float]:
    return {
        "max": one.high, "max_time": one.high_at, "min": one.low, "min_time": one.low_at, "mean": one.mean,
    }  # fmt: skip


def _shown(gauge: Gauge, value: float) -> float | str:
    """A value; of a switch what it means, where that is known."""
    if gauge.value_type != "KG" or math.isnan(value):
        return value
    return (gauge.on or "1") if value >= 0.5 else (gauge.off or "0")
