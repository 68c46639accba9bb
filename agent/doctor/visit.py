"""One visit: everything that is looked at, as a table; what was found, for people and for programs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from msgspec import structs

from drivers import tally
from drivers.gnss import Gnss
from drivers.link import url_of
from drivers.modbus import Modbus
from drivers.neighbour import Neighbour
from drivers.video import Video
from drivers.video_child import is_device

from ..clock import discipline
from ..config import Config
from ..core.errors import WorldFault
from ..secret import read as secret_of
from ..tls import Secured
from ..uplink import tcp
from ..uplink.hj212 import PORTS as HJ212_PORTS
from ..uplink.hj212 import Hj212
from ..uplink.jt808 import SCHEMES as JT808_PORTS
from ..uplink.jt808 import Jt808
from ..uplink.minefiles import Minefiles
from ..uplink.minefiles_places import Sftp
from ..uplink.mqtt import Mqtt
from ..uplink.sparkplug import Sparkplug, identifier
from ..wire import Broker
from . import board, brokers, cameras, disk, hours, lines, net, papers, past, platforms, ports, service
from .finding import LEVELS, WRONG, Finding, found
from .machine import Machine, Person, holders, kernel_log

TOGETHER = 8  # connections that are tried at a time


class Visit(NamedTuple):
    """What is known before anything is looked at."""

    machine: Machine
    site: Config | None
    who: Person
    running: service.Running
    unit: service.Unit | None
    now: float  # s UTC, as this machine believes
    ask: float = 0.0  # s for which devices are polled; 0: they are not

    @property
    def state(self) -> Path:
        """Where the agent keeps, or would keep, what it must not forget."""
        return Path(self.site.store.path if self.site else "/var/lib/vedette").absolute()

    @property
    def asleep(self) -> bool:
        """Whether no agent runs here, for all that we see."""
        return not self.running.pid and not self.running.deaf

    @property
    def cameras(self) -> list[Video]:
        return [one for one in self.site.drivers if isinstance(one, Video)] if self.site else []


def begin(machine: Machine, site: Config | None, user: str, ask: float = 0.0) -> Visit:
    """Ask who runs here. Raises `LookupError` where no user is called so."""
    state = Path(site.store.path).absolute() if site else None
    now = service.running(machine, state) if state is not None else service.Running()
    unit = service.unit(machine)
    os.environ |= papers.borrowed(machine, _secrets(site), now.pid) if now.pid else {}
    return Visit(machine, site, service.whose(machine, user, state, now, unit), now, unit, time.time(), ask)


def _secrets(site: Config | None) -> list[str]:
    return papers.references(*site.uplinks, *site.drivers) if site is not None else []


# -- what is looked at: each gives rows -----------------------------------------------------------------


def _service(v: Visit) -> Iterator[Finding]:
    devices = [one.path for one in _ports(v)] + [one.url for one in v.cameras if is_device(one.url)]
    yield from service.units(v.unit, devices)


def _state(v: Visit) -> Iterator[Finding]:
    if v.site is not None:
        yield from service.state(v.machine, v.who, v.state, v.running)


def _clock(v: Visit) -> Iterator[Finding]:
    offset = v.site.air.shifts.offset if v.site is not None and v.site.air is not None else None
    yield from hours.clock(v.machine, discipline(), v.now, hours.newest(v.state), offset)


def _board(v: Visit) -> Iterator[Finding]:
    yield from board.power(v.machine)
    yield from board.heat(v.machine)
    yield from board.complaints(kernel_log(v.machine))


def _memory(v: Visit) -> Iterator[Finding]:
    nets = sum(any(task.net for task in one.tasks.values()) or bool(one.blur) for one in v.cameras)
    keeps = any(one.evidence is not None for one in v.cameras)
    wants = board.Appetite(len(v.cameras), nets, keeps)
    yield from board.memory(v.machine, wants, v.unit.memory if v.unit else 0.0, v.running.pid)


def _disk(v: Visit) -> Iterator[Finding]:
    mounts = v.machine.text("/proc/self/mountinfo") or ""
    seen: dict[disk.Mount | None, list[_Folder]] = {}
    for one in _folders(v):
        seen.setdefault(disk.mount(mounts, v.machine.real(one.there)), []).append(one)
    for here, folders in seen.items():
        what = str(folders[0].there)
        if any(one.lasts for one in folders):
            yield from disk.kind(what, here)
        if (there := disk.room(what)) is not None:
            outer = [
                one for one in folders if not any(one.path.is_relative_to(o.path) for o in folders if o is not one)
            ]
            has = sum(disk.used(str(one.path)) for one in outer)
            yield from disk.space(what, there, 1e6 * sum(one.mb for one in folders), has)
        if here is None:
            continue
        yield from disk.errors(v.machine, what, here)
        if name := disk.device(v.machine, here):
            yield from disk.wear(v.machine, what, name)
            yield from disk.writes(v.machine, what, name, v.running.pid)
    if v.site is not None:
        yield from disk.whole(v.state, not v.asleep)


class _Folder(NamedTuple):
    """Where something is kept, or will be."""

    path: Path
    mb: float  # that it may come to
    lasts: bool  # it must outlive a restart

    @property
    def there(self) -> Path:
        """The nearest that there is."""
        return next(one for one in (self.path, *self.path.parents) if one.exists())


def _folders(v: Visit) -> Iterator[_Folder]:
    store = v.site.store if v.site else None
    mb = store.alarms_mb + store.history_mb + store.journal_mb + store.ballast_mb if store else 0.0
    yield _Folder(v.state, mb, True)
    kept = [one.evidence for one in v.cameras if one.evidence is not None]
    if v.site is not None and kept:
        yield _Folder(Path(v.site.evidence.path), v.site.evidence.mb + v.site.evidence.protected_mb, True)
    for one in kept:
        yield _Folder(Path(one.ring), one.ring_mb, False)


def _ports(v: Visit) -> list[ports.Port]:
    used = []
    for one in v.site.drivers if v.site else ():
        if isinstance(one, Modbus) and (url := url_of(one.url)).path:
            used.append(ports.Port(url.path, one.name))
        elif isinstance(one, Gnss) and one.url.startswith("/"):
            used.append(ports.Port(one.url, one.name, False))
    return used


def _serial(v: Visit) -> Iterator[Finding]:
    if v.site is None or _ports(v):
        yield from ports.ports(v.machine, v.who, _ports(v), v.running.family)


def _buses(v: Visit) -> Iterator[Finding]:
    yield from lines.closed(v.running.lost)
    for told in v.running.tallies:
        yield from lines.bus(tally.heard(told))
    places = [
        (one.name, url.host, url.port)
        for one in (v.site.drivers if v.site else ())
        if isinstance(one, Modbus) and (url := url_of(one.url)).host
    ]
    places += [
        (one.name, place.hostname, place.port or 0)
        for one in (v.site.drivers if v.site else ())
        if isinstance(one, Gnss) and (place := urlsplit(one.url)).hostname
    ]
    if not v.running.tallies and not (v.ask and v.asleep):
        yield from lines.reach(places, v.asleep)
    if v.ask and not v.asleep:
        yield found("bus busy", "--ask")


def _past(v: Visit) -> Iterator[Finding]:
    if v.site is not None:
        yield from past.past(v.state / "journal", v.now)


def _cameras(v: Visit) -> Iterator[Finding]:
    plugged = [(one.camera, one.url) for one in v.cameras if is_device(one.url)]
    for one in v.cameras:
        if is_device(one.url):
            rate = one.evidence.rate if one.evidence is not None else 1.0 / one.period
            yield from cameras.device(
                v.machine, v.who, one.camera, one.url, (one.width, one.height, rate), v.running.family
            )
        elif urlsplit(one.url).scheme in cameras.PORTS:
            try:
                word = secret_of(one.password, one.camera) if one.password else ""
            except WorldFault as fault:
                yield found("camera secret", one.camera, why=str(fault))
                continue
            yield from cameras.stream(one.camera, one.url, one.user, word)
        else:
            yield from cameras.film(one.camera, one.url, one.shown)
    yield from cameras.crowded(v.machine, plugged)


def _papers(v: Visit) -> Iterator[Finding]:
    if v.site is None:
        return
    for name, settings in _secured(v):
        yield from papers.secured(v.machine, v.who, name, settings, v.now)
    if v.site.web is not None and v.site.web.certificate:
        web, host = v.site.web, os.uname().nodename
        names = [*web.hosts, host, f"{host}.local", web.address[0]]
        yield from papers.page(v.machine, v.who, web.certificate, web.key, names, v.now)


def _secured(v: Visit) -> Iterator[tuple[str, Secured]]:
    neighbours = [one.broker() for one in v.site.drivers if isinstance(one, Neighbour)] if v.site else []
    for settings in (*(v.site.uplinks if v.site else ()), *neighbours):
        if isinstance(settings, Secured) and settings.secured:
            yield settings.name, settings


def _kept(v: Visit) -> Iterator[Finding]:
    yield from papers.kept(v.machine, v.who, _secrets(v.site))


def _net(v: Visit) -> Iterator[Finding]:
    hosts = [urlsplit(getattr(one, "url", "")).hostname for one in (v.site.uplinks if v.site else ())]
    yield from net.net(v.machine, any(host not in (None, "localhost", "127.0.0.1", "::1") for host in hosts))


def _links(v: Visit) -> Iterator[Finding]:
    yield from service.links(v.running)


def _listens(v: Visit) -> Iterator[Finding]:
    if v.site is not None and v.site.web is not None:
        yield from service.taken(v.machine, v.site.web.address[1], "web", v.running)


CHECKS: tuple[Callable[[Visit], Iterator[Finding]], ...] = (
    _service,
    _state,
    _clock,
    _board,
    _memory,
    _disk,
    _serial,
    _buses,
    _past,
    _cameras,
    _papers,
    _kept,
    _listens,
    _net,
    _links,
)


# -- what is asked over the network: all at once --------------------------------------------------------


def _asked(v: Visit) -> Iterator[AsyncIterator[Finding]]:
    """What is to be tried at platforms."""
    if v.site is None:
        return
    site = v.site.site
    keeps = any(one.evidence is not None for one in v.cameras)
    for one in v.site.uplinks:
        if isinstance(one, Mqtt):
            yield brokers.broker(one, brokers.native(one.root(site.name, site.node), one, keeps), v.now)
        elif isinstance(one, Sparkplug):
            names = identifier(one.group or site.name), identifier(one.node or site.node)
            for url in (one.url, *one.servers):
                yield brokers.broker(_at(one, url), brokers.sparkplug(*names), v.now)
        elif isinstance(one, Jt808 | Hj212):
            kinds = JT808_PORTS if isinstance(one, Jt808) else HJ212_PORTS
            yield platforms.line(one.name, tcp.endpoint(one.url, kinds), one)
        elif isinstance(one, Minefiles) and isinstance(place := one.place(asyncio.Event()), Sftp):
            yield platforms.sftp(one.name, place)
        elif isinstance(one, Minefiles):
            yield _at_once(platforms.folder(v.machine, v.who, one.name, one.url))
    for driver in v.site.drivers:
        if isinstance(driver, Modbus) and v.ask and v.asleep:
            path = url_of(driver.url).path
            if not path or not holders(v.machine, path).held:
                yield lines.ask(driver, v.ask)
        elif isinstance(driver, Neighbour):
            heard = [
                f"{one.root}/{what}" for one in driver.neighbour for what in ("state", "alarm/#", "telemetry/agent")
            ]
            yield brokers.broker(driver.broker(), brokers.Rights(heard=tuple(heard)), v.now)


def _at(one: Sparkplug, url: str) -> Broker:
    return structs.replace(one, url=url)


async def _at_once(rows: Iterator[Finding]) -> AsyncIterator[Finding]:
    for row in rows:
        yield row


async def _all(v: Visit) -> list[Finding]:
    gate = asyncio.Semaphore(TOGETHER)

    async def one(rows: AsyncIterator[Finding]) -> list[Finding]:
        said = []
        async with gate, contextlib.aclosing(rows):  # type: ignore[type-var]
            try:
                async for row in rows:
                    said.append(row)
            except (OSError, ValueError, WorldFault) as error:
                said.append(found("doctor stopped", "network", why=str(error)))
        return said

    return [row for rows in await asyncio.gather(*map(one, _asked(v))) for row in rows]


# -- all of it ------------------------------------------------------------------------------------------


def findings(v: Visit) -> Iterator[Finding]:
    """Everything, in the order of the table. What cannot be looked at is told, and the rest goes on."""
    told = set()
    for row in _each(v):
        if (key := (row.key, row.what, str(row.facts))) not in told:  # two uplinks may share a file
            told.add(key)
            yield row


def _each(v: Visit) -> Iterator[Finding]:
    for check in CHECKS:
        try:
            yield from check(v)
        except (OSError, ValueError, WorldFault) as error:  # a file of this machine may hold anything
            yield found("doctor stopped", check.__name__.strip("_"), why=str(error))
    yield from asyncio.run(_all(v))


def worst(rows: list[Finding]) -> str:
    """The level of the worst; `ok` where there is none."""
    return max((row.level for row in rows), key=LEVELS.index, default="ok")


def is_wrong(rows: list[Finding]) -> bool:
    return any(row.level in WRONG for row in rows)


def about(v: Visit) -> dict[str, str]:
    """Whom and what the findings are about."""
    return {
        "board": board.model(v.machine),
        "host": os.uname().nodename,
        "kernel": os.uname().release,
        "user": v.who.name,
        "site": f"{v.site.site.name}/{v.site.site.node}" if v.site else "",
        "agent": str(v.running.pid or ""),
    }
