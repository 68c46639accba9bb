"""`vedette status`: the gateway as a cockpit. Live on a terminal, once for everybody else; `--json` for programs.

What is shown is a `Status` (`status.py`), asked for each second through the daemon's socket; where nobody answers, what
the files say. Drawing is a function of it: `drawn(status, ...)` gives lines, which rich measures and colours.
Grey until something is wrong, as on the local page: each level has a shape and a digit beside its colour.

Keys: q leaves; a c l u e show alarms, channels, lines, uplinks or events alone, s the site again; arrows, PgUp, PgDn.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import sys
import termios
import threading
import time
import tty
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec
from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from . import config, control, status, terminal
from .core.alarm import LEVELS
from .core.errors import ConfigFault, WorldFault
from .core.frame import Quality
from .said import Said
from .status import Channel, Device, Line, Link, Point, Status
from .web.coach import share
from .web.texts import full

PERIOD = 1.0  # s between two looks
ASK = 3.0  # s that the daemon may take to answer
DISK = 10.0  # s between two looks at the files of an agent that does not run
OLD = 3.0  # s after which it is said that what is shown is old
ROWS = 200  # channels that are asked for: more than fit on any screen
PIPE = 120  # columns where there is no terminal
TWO = 136  # columns from which there are two halves
SOON = 168.0  # h in which the disk would be full, from which on it is said
TROUBLES = (
    "degraded",
    "orders_unmet",
    "store_quarantined",
    "evidence_trouble",
    "write_errors",
    "crashes",
    "under_voltage",
    "throttled",
    "children_died",
    "restarts",
)
REMARKS = ("throttled", "children_died", "restarts")  # of these, what may pass
VIEWS = {"s": "", "\x1b": "", "a": "alarms", "c": "channels", "l": "lines", "u": "uplinks", "e": "events"}
SHAPES = {"red": "◆1", "orange": "▲2", "yellow": "■3", "blue": "●4"}  # as `web/figures.py`
PLAIN = {"red": "*1", "orange": "^2", "yellow": "#3", "blue": "o4"}  # where the terminal has no such letters
STYLES = {
    "red": "bold white on red3",
    "orange": "bold black on dark_orange",
    "yellow": "bold black on yellow3",
    "blue": "bold white on dodger_blue3",
    "bad": "bold red",
    "doubt": "yellow",
    "dim": "dim",
    "title": "bold",
}


class Block(NamedTuple):
    """One part of the picture."""

    key: str  # that shows it alone; empty: none does
    title: str
    rows: Sequence[Text | Callable[[], Text]]  # or what makes one: most are never shown
    least: int  # rows that it should have, if there are so many
    total: int = 0  # of which `rows` are the first; 0: these are all


# -- drawing ------------------------------------------------------------------------------------------


class Pen:
    """How one screen draws: its language, whether it knows shapes."""

    def __init__(self, t: Said, shapes: bool = True) -> None:
        self.t, self.marks = t, SHAPES if shapes else PLAIN
        self.bar = "─" if shapes else "-"

    def mark(self, level: str | None) -> Text:
        """The chip of a level, four columns wide."""
        if level not in self.marks:
            return Text("    ")
        return Text.assemble((f" {self.marks[level]} "[:4], STYLES[level]))

    def span(self, seconds: float | None) -> str:
        return self.t.span(float("nan") if seconds is None else seconds)


def row(*cells: tuple[str | Text, int] | str | Text, style: str = "") -> Text:
    """Cells side by side; `(cell, n)` is n columns wide, for letters of any width; negative: to the right."""
    line = Text(style=style, no_wrap=True, overflow="ellipsis")
    for i, cell in enumerate(cells):
        text, wide = cell if isinstance(cell, tuple) else (cell, 0)
        one = Text(text) if isinstance(text, str) else text.copy()
        if wide:
            one.truncate(abs(wide), overflow="ellipsis")
            pad = " " * (abs(wide) - cell_len(one.plain))
            one = Text.assemble(pad, one) if wide < 0 else Text.assemble(one, pad)
        line.append_text(one)
        if i + 1 < len(cells):
            line.append(" ")
    return line


def drawn(
    s: Status, pen: Pen, wide: int, tall: int | None = None, view: str = "", top: int = 0, silent: float = 0.0
) -> list[Text]:
    """The picture in lines, `wide` columns and at most `tall` lines; None: as many as it takes. `view`: one block
    alone, from its row `top` on. `silent`: s since the agent answered, where it does not."""
    head = _head(s, pen, silent)
    if view:
        block = next(block for block in _blocks(s, pen, wide, True) if block.key == view[:1])
        return [_cut(line, wide) for line in [*head, *_alone(block, pen, wide, tall, top, len(head))]]
    foot = [Text(pen.t("keys"), style="dim")] if tall is not None else []
    room = None if tall is None else max(0, tall - len(head) - len(foot))
    if tall is not None and wide >= TWO:
        half = (wide - 3) // 2
        blocks = _blocks(s, pen, half, False)
        sides = [[b for b in blocks if (b.key in "ac" and b.key != "") == left] for left in (True, False)]
        left, right = (_fitted(side, pen, half, room) for side in sides)
        body = [
            row((left[i] if i < len(left) else "", half), " ", (right[i] if i < len(right) else "", half))
            for i in range(max(len(left), len(right)))
        ]
    else:
        body = _fitted(_blocks(s, pen, wide, False), pen, wide, room)
    lines = [*head, *body]
    if room is not None:
        lines = [*lines[: len(head) + room], *[Text()] * (len(head) + room - len(lines)), *foot]
    return [_cut(line, wide) for line in lines]


def _cut(line: Text, wide: int) -> Text:
    line.truncate(wide, overflow="ellipsis")
    return line


def _fitted(blocks: Sequence[Block], pen: Pen, wide: int, room: int | None) -> list[Text]:
    """Blocks below each other: each has its least number of rows, the first take what is left."""
    full_ = [len(block.rows) for block in blocks]
    if room is None:
        take = full_
    else:
        take = [min(n, block.least) for n, block in zip(full_, blocks, strict=True)]
        left = room - sum(take) - len(blocks)
        for i in range(len(blocks)):
            more = max(0, min(full_[i] - take[i], left))
            take[i], left = take[i] + more, left - more
        for i in reversed(range(len(blocks))):  # too small a screen: the last give way
            less = max(0, min(take[i], -left))
            take[i], left = take[i] - less, left + less
    lines = []
    for block, n in zip(blocks, take, strict=True):
        hidden = max(block.total, len(block.rows)) - n
        note = pen.t("hidden n", n=hidden, press=block.key) if hidden > 0 and block.key and room is not None else ""
        lines += [_rule(block.title, note, pen, wide), *_made(block.rows[:n])]
    return lines


def _made(rows: Sequence[Text | Callable[[], Text]]) -> list[Text]:
    return [one if isinstance(one, Text) else one() for one in rows]


def _rule(title: str, note: str, pen: Pen, wide: int) -> Text:
    rest = wide - cell_len(title) - cell_len(note) - 4 - bool(note)
    line = Text.assemble((f"{pen.bar}{pen.bar} ", "dim"), (title, STYLES["title"]), " ")
    return line.append(pen.bar * max(0, rest), "dim").append(f" {note}" if note else "", "dim")


def _alone(block: Block, pen: Pen, wide: int, tall: int | None, top: int, above: int) -> list[Text]:
    n = len(block.rows)
    if tall is None:
        return [_rule(block.title, "", pen, wide), *_made(block.rows)]
    room = max(1, tall - above - 2)
    top = max(0, min(top, n - room))
    rows = _made(block.rows[top : top + room])
    note = pen.t("scroll", a=min(n, top + 1), b=min(n, top + room), n=n) if n > room else ""
    rows += [Text()] * (room - len(rows))
    return [_rule(block.title, note, pen, wide), *rows, Text(pen.t("keys"), style="dim")]


def _head(s: Status, pen: Pen, silent: float) -> list[Text]:
    """Who it is, how it is in one look, and, where that is so, that nobody answers."""
    t, lines = pen.t, []
    if not s.running:
        seen = t("last sign", span=pen.span(s.seen)) if s.seen is not None else t("never ran")
        lines.append(row(Text(f"{t('not running')} {seen}", style=STYLES["bad"])))
    elif silent >= OLD:
        lines.append(row(Text(t("is old", span=pen.span(silent)), style=STYLES["bad"])))
    words = [f"{s.site}/{s.node}", full(s.at)]
    words += [t("up since", span=pen.span(s.up))] if s.up is not None else []
    words += [t("of version", version=s.version)]
    who = row(pen.mark(s.colour) if s.colour != "none" else "", Text(words[0], style="bold"), "  ".join(words[1:]))
    clock = {True: "clock ok", False: "clock doubt"}.get(s.clock_synced, "")  # type: ignore[arg-type]
    if clock:
        who.append("  ").append(t(clock), "dim" if s.clock_synced else STYLES["doubt"])
    lines.append(who)
    counted = Text()
    for level in LEVELS:
        n, _ = s.counts.get(level, (0, 0))
        chip = f"{pen.marks[level]}: {n}"
        counted.append(f" {chip} ", STYLES[level] if n else "dim").append(" ")
    unseen = sum(k for _, k in s.counts.values())
    if not any(n for n, _ in s.counts.values()):
        counted.append(t("quiet") if s.running else t("unwatched"), "dim" if s.running else STYLES["bad"])
    elif unseen:
        counted.append(t("unseen", n=unseen), "bold")
    if s.away:
        counted.append("  " + t("put away n", n=len(s.away)), STYLES["doubt"])
    for item in s.items[:6]:
        counted.append("  " + ("" if item.depth == 0 else "› " if pen.marks is SHAPES else "> "), "dim")
        if item.colour == "none":
            counted.append(item.name, "dim")
        else:
            counted.append(f"{item.name} {pen.marks[item.colour]}", STYLES[item.colour])
    lines.append(counted)
    return lines


def _blocks(s: Status, pen: Pen, wide: int, whole: bool) -> list[Block]:
    """All parts, the most urgent first. `whole`: as they are shown alone."""
    t = pen.t
    ids = {alarm.id for alarm in s.alarms}
    under = Counter(alarm.fold for alarm in s.alarms if alarm.fold in ids - {alarm.id})
    alone = [alarm for alarm in s.alarms if whole or alarm.fold not in ids - {alarm.id}]
    alone += s.away if whole or not s.alarms else []
    alarms: list[Text | Callable[[], Text]] = []
    for alarm in alone:
        alarms.append(partial(_alarm, alarm, pen, wide, whole, under[alarm.id]))
        alarms += [partial(_more, alarm, pen)] if whole else []
    title = t("alarms") if not whole else f"{t('alarms')}  {t('ack hint')}"
    measured = max(s.channels_measured, s.channels_unwell)
    well = t("unwell", k=s.channels_unwell, n=measured) if s.channels_unwell else t("well", n=measured)
    channels = [partial(_channel, one, pen, wide) for one in s.channels]
    lines = [line for one in s.lines for line in _line(one, pen, wide, whole)]
    uplinks = [line for one in s.uplinks for line in _link(one, pen, wide)] or [Text(t("no uplinks"), style="dim")]
    agent = list(_agent(s, pen, wide))
    events = [
        row((pen.span(one.age), -7), (one.source, 14), (one.kind, 16 if wide < 100 else 22), one.text)
        for one in s.events
    ]
    return [
        Block("a", title, alarms or [Text(t("quiet" if s.running else "none open"), style="dim")], 3),
        Block("c", f"{t('channels')}: {well}" if s.running else t("channels"), channels, 4, s.channels_measured),
        Block("l", t("lines"), lines, 3),
        Block("u", t("uplinks"), uplinks, 2),
        Block("", t("agent"), agent, len(agent)),
        Block("e", t("events"), events, 1),
    ]


def _alarm(one: Point, pen: Pen, wide: int, whole: bool, under: int) -> Text:
    t = pen.t
    word = t(f"n-{one.state}")
    style = (
        "bold" if "unacked" in one.state else "dim" if one.state in ("shelved", "suppressed", "out-of-service") else ""
    )
    doubt = "" if one.synced else "?"
    cells: list[Any] = [pen.mark(one.level), (Text(word, style=style), 7), (f"{pen.span(one.age)}{doubt}", -9)]
    more = f" {t('folded n', n=under)}" if under and not whole else ""
    return row(*cells, more.lstrip() + " " * bool(more) + one.text + ("" if whole or wide < 130 else f"  {one.id}"))


def _more(one: Point, pen: Pen) -> Text:
    """The second line of an alarm."""
    t = pen.t
    by = f"  {t('by')} {one.by}{': ' + one.reason if one.reason else ''}" if one.by else ""
    after = f"  {t('after', first=one.first)}" if one.first not in ("", one.id) else ""
    text = f"{one.id}  {one.rule}  {t('since at')} {full(one.since)}{after}{by}"
    return row(("", 4), ("", 7), Text(text, style="dim"))


def _channel(one: Channel, pen: Pen, wide: int) -> Text:
    t = pen.t
    good = one.quality == "GOOD"
    value = t.value(float("nan") if one.value is None else one.value)
    limit = "" if one.limit is None else t("limit at", limit=t.value(one.limit))
    name = max(16, min(40, wide - 52))
    word = t(f"n-{one.away}") if one.away else t.quality(int(Quality[one.quality]))
    calm = good and not one.away
    return row(
        pen.mark(one.level),
        (one.channel, name),
        (Text(value, style="bold" if one.level else ""), -10),
        (one.unit, 6),
        (Text(word, style="dim" if calm else STYLES["doubt"]), 10),
        (Text(pen.span(one.age), style="dim"), -6),
        Text(limit, style="dim"),
    )


def _line(one: Line, pen: Pen, wide: int, whole: bool) -> Iterator[Text]:
    t = pen.t
    if one.lost:
        yield row((Text(one.name, style=STYLES["bad"]), 16), Text(one.lost, style=STYLES["bad"]))
    elif not one.devices:
        yield row((one.name, 16), Text(one.kind, style="dim"))
    for device in one.devices:
        yield row((one.name, 16), *_device(device, pen))
        if whole:
            for hint in device.hints:
                yield row(("", 16), Text(t(hint), style=STYLES["doubt"]))


def _device(one: Device, pen: Pen) -> list[tuple[Text | str, int] | Text | str]:
    t = pen.t
    wrong = one.silent + one.garbled + one.refused
    state = Text(t("closed"), style="dim") if one.up else Text(t("open"), style=STYLES["bad"])
    time_ = t("ms", ms=f"{1e3 * one.mean:.0f}") if one.mean is not None else "–"
    kinds = (("time-outs", one.silent), ("garbled", one.garbled), ("refusals", one.refused))
    told = [t(key, p=share(n, one.asked)) for key, n in kinds if n and one.asked]
    text = ", ".join(told) or t("errors of", p="0")
    style = STYLES["doubt"] if one.hints else "dim"
    hint = f"  {t(one.hints[0])}" if one.hints else ""
    return [
        (f"{one.device} ({one.unit})", 18),
        (time_, -8),
        (state, 11),
        Text(text + hint, style=style if wrong else "dim"),
    ]


def _link(one: Link, pen: Pen, wide: int) -> Iterator[Text]:
    t = pen.t
    word, style = {"up": ("up", "dim"), "down": ("down", STYLES["bad"])}.get(one.state, ("unknown", STYLES["doubt"]))
    owed = []
    for lane, owing in one.lanes.items():
        if owing.waiting:
            age = f" ({pen.span(owing.oldest)})" if owing.oldest is not None else ""
            owed.append(f"{t(lane)} {owing.waiting}{age}")
    lost = sum(owing.dropped for owing in one.lanes.values())
    text = Text("  ".join(owed) or t("nothing waits"), style="" if owed else "dim")
    if lost:
        text.append("  " + t("dropped n", n=lost), STYLES["bad"])
    yield row((one.name, 16), (Text(one.kind, style="dim"), 9), (Text(t(word), style=style), 13), text)
    if one.lost and one.state != "up":
        yield row(("", 16), Text(one.lost, style=STYLES["doubt"]))


def _packed(words: Sequence[str], wide: int) -> Iterator[Text]:
    """Words in as few lines as they fit in."""
    line = ""
    for word in words:
        if line and cell_len(line) + 2 + cell_len(word) > wide:
            yield row(Text(line, style="dim"))
            line = ""
        line += ("  " if line else "") + word
    if line:
        yield row(Text(line, style="dim"))


def _agent(s: Status, pen: Pen, wide: int) -> Iterator[Text]:
    """The agent and its machine in few lines, and one for everything that is wrong."""
    t, v, machine, words = pen.t, s.vitals, s.machine, list[str]()
    if s.journal is not None:
        words.append(f"{t('journal')}: {t('record n', n=s.journal.record)}")
        words.append(t("signed by", who=s.journal.fingerprint) if s.journal.fingerprint else t("not signed"))
        words += [t("written", span=pen.span(s.journal.age))] if s.journal.age is not None else []
    words += [t("config is", config=s.config[:8])] if s.config else []
    if machine.disk_free is not None and machine.disk_bytes is not None:
        free = t("disk", share=f"{100 * machine.disk_free:.0f}")
        words.append(f"{free} ({machine.disk_bytes / 1e9:.1f} GB)")
    if (memory := v.get("memory")) is not None:
        words.append(t("memory", mb=f"{memory:.0f}"))
    if machine.memory_free is not None:
        words.append(t("machine memory", share=f"{100 * machine.memory_free:.0f}"))
    if (files := v.get("descriptors")) is not None:
        words.append(t("descriptors", n=f"{files:.0f}"))
    if (lag := v.get("loop_lag")) is not None:
        words.append(t("lag", ms=f"{1e3 * lag:.0f}"))
    if (heat := v.get("temperature")) is not None:
        words.append(t("temperature", n=f"{heat:.0f}"))
    words.append(t("load is", load=f"{machine.load:.2f}"))
    yield from _packed(words, wide)
    if s.clock_back:
        yield row(Text(t("clock back", span=pen.span(s.clock_back)), style=STYLES["doubt"]))
    if (hours := v.get("disk_full_in")) is not None and hours < SOON:
        yield row(Text(t("disk_full_in", span=pen.span(3600 * hours)), style=STYLES["doubt"]))
    for key in TROUBLES:
        if n := v.get(key):
            yield row(Text(t(key, n=f"{n:.0f}"), style=STYLES["doubt" if key in REMARKS else "bad"]))
    if n := sum(s.dropped.values()):
        yield row(Text(t("dropped n", n=n), style=STYLES["bad"]))
    for file, why in s.store.items():
        yield row(Text(t("trouble with", file=file, why=why), style=STYLES["bad"]))
    if s.journal is not None and s.journal.trouble:
        yield row(Text(t("trouble with", file=t("journal"), why=s.journal.trouble), style=STYLES["bad"]))
    for rule, to in s.limits.items():
        usual = "?" if to.get("usual") is None else f"{to['usual']:g}"
        yield row(t("limit set", rule=rule, limit=f"{to['limit']:g}", usual=usual, by=to["by"]))
    for id, state in s.commands.items():
        yield row(t("command", id=id, state=state))
    for fault in s.faults:
        yield row(Text(fault, style=STYLES["doubt"]))


# -- looking ------------------------------------------------------------------------------------------


def run(args: argparse.Namespace) -> int:
    """The verb. On a terminal until somebody leaves; else once."""
    if not args.every > 0:
        raise terminal.Stop(os.EX_USAGE, f"--every {args.every:g}: more than 0 s is expected")
    if args.json:
        found, why = look(Path(args.config), 0)
        terminal.answer(args, found, "")
        return _told(found, why)
    if args.once or not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        found, why = look(Path(args.config), ROWS)
        sys.stdout.flush()
        console = _console(sys.stdout)
        wide = console.width if sys.stdout.isatty() else int(os.environ.get("COLUMNS") or PIPE)
        for line in drawn(found, _pen(args, found, sys.stdout), wide):
            console.print(line, width=wide, no_wrap=True, crop=False, soft_wrap=True)
        return _told(found, why)
    return Cockpit(args).fly()


def look(site: Path, channels: int) -> tuple[Status, str]:
    """What the running agent says; of one that does not run, what its files say, and why. Raises `ConfigFault`, and
    `WorldFault` where it runs but does not answer, or must not be asked."""
    home = control.home(site)
    try:
        return asked(home, channels), ""
    except control.Absent as fault:
        return status.remains(config.load(site)), str(fault)


def asked(home: Path, channels: int) -> Status:
    """Raises `WorldFault`."""
    reply = control.ask(home, {"verb": "look", "channels": channels}, ASK)
    try:
        return msgspec.convert(reply["status"], Status)
    except (KeyError, msgspec.ValidationError) as error:
        why = reply.get("error", error)
        raise WorldFault(f"the agent that runs is of another version than this program ({why}); restart it") from None


def _told(found: Status, why: str) -> int:
    if found.running:
        return 0
    print(f"vedette: {why}", file=sys.stderr)
    return os.EX_UNAVAILABLE


def _console(stream: IO[str]) -> Console:
    """What draws on the stream, as wide as the terminal is at any time.

    rich takes COLUMNS and LINES for the size, and for ever: a shell that exports them would freeze the picture. They
    are believed where the terminal itself does not know, as on a serial line.
    """
    try:
        wide, _ = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):  # no terminal
        wide = 0
    environment = {name: word for name, word in os.environ.items() if not wide or name not in ("COLUMNS", "LINES")}
    return Console(file=stream, highlight=False, markup=False, emoji=False, _environ=environment)


def _pen(args: argparse.Namespace, s: Status, stream: Any) -> Pen:
    shapes = (stream.encoding or "").lower().replace("-", "") == "utf8"
    return Pen(Said(terminal.language(args, s.language)), shapes)


class Cockpit:
    """A screen that is drawn anew each second, until somebody leaves."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.site = Path(args.config)
        self.console = _console(sys.stdout)
        self.view, self.top = "", 0
        self.status, self.why = look(
            self.site, self._rows()
        )  # a broken configuration is told before the screen changes
        self.answered = time.monotonic()
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_in, False)
        self._left, self._asking = threading.Event(), threading.Event()  # the latter: ask again, at once

    def fly(self) -> int:
        """Show it. 0 where the agent answered to the last."""
        before = {number: signal.signal(number, self._leave) for number in (signal.SIGTERM, signal.SIGHUP)}
        before[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, lambda *_: self._wake())
        watch = threading.Thread(target=self._watch, name="look", daemon=True)
        try:
            with _keys() as keys, self._live() as live:
                watch.start()
                while not self._left.is_set():
                    live.update(self._screen(), refresh=True)
                    self._wait(keys)
        except KeyboardInterrupt:
            pass  # as good as q
        finally:
            self._left.set()
            self._asking.set()
            for number, handler in before.items():
                signal.signal(number, handler)
        return 0 if self.status.running and self._silent() < OLD + ASK else os.EX_UNAVAILABLE

    def _live(self) -> Live:
        return Live(console=self.console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)

    def _screen(self) -> Group:
        wide, tall = self.console.size
        silent = self._silent() if self.status.running else 0.0
        pen = _pen(self.args, self.status, sys.stdout)
        lines = drawn(self.status, pen, wide, tall, self.view, self.top, silent)
        return Group(*lines)

    def _rows(self) -> int:
        """Channels to ask for: as many as can be seen, and a page more."""
        return int(self.top + 2 * self.console.size.height)

    def _silent(self) -> float:
        return time.monotonic() - self.answered

    def _wait(self, keys: int | None) -> None:
        """Until there is something new, a key, or a second is over: ages grow."""
        ready, _, _ = select.select([self._wake_out, *([keys] if keys is not None else [])], [], [], PERIOD)
        if self._wake_out in ready:
            os.read(self._wake_out, 4096)
        if keys is not None and keys in ready:
            self._key(os.read(keys, 64).decode("ascii", "ignore"))

    def _key(self, text: str) -> None:
        """One key, or several that came at once."""
        page = max(1, self.console.size.height - 6)
        moves = {"\x1b[A": -1, "\x1b[B": 1, "\x1b[5~": -page, "\x1b[6~": page, "k": -1, "j": 1, " ": page}
        moves |= {"\x1bOA": -1, "\x1bOB": 1, "\x1b[H": -1 << 20, "\x1b[F": 1 << 20}
        if not text or text[0] in "qQ\x03\x04":
            self._left.set()
        elif text in moves:
            most = max(self.status.channels_measured, 2 * len(self.status.alarms + self.status.away), 200)
            self.top = max(0, min(self.top + moves[text], most))
            self._asking.set()
        elif text in VIEWS:
            self.view, self.top = VIEWS[text], 0
        elif len(text) > 1 and text[0] != "\x1b":
            for one in text:
                self._key(one)

    def _watch(self) -> None:
        """Look again and again, in a thread: a daemon that hangs must not hold the keys."""
        home, next_disk = control.home(self.site), 0.0
        while not self._left.is_set():
            try:
                self.status, self.why = asked(home, self._rows()), ""
                self.answered = time.monotonic()
            except WorldFault as fault:
                self.why = str(fault)
                gone = isinstance(fault, control.Absent) and not self.status.running
                if gone and time.monotonic() >= next_disk:
                    next_disk = time.monotonic() + DISK
                    with contextlib.suppress(ConfigFault, OSError):
                        self.status = status.remains(config.load(self.site))
            self._wake()
            self._asking.wait(self.args.every)
            self._asking.clear()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_in, b".")

    def _leave(self, number: int, _: object) -> None:
        self._left.set()
        self._wake()


@contextlib.contextmanager
def _keys() -> Iterator[int | None]:
    """The keyboard, key by key and without echo; None where there is none."""
    if not sys.stdin.isatty():
        yield None
        return
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    try:
        tty.setcbreak(keyboard)
        yield keyboard
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
