"""What people ask of the running daemon, by its socket: alarms, colours, queue, status, drills, who is where."""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from . import registrar, terminal
from .core.alarm import LEVELS
from .core.errors import ConfigFault, WorldFault
from .said import Said, said_to
from .terminal import Ink, Stop, answer

RELOAD = 150.0  # s that the daemon may take to check a file and go on by it
SHADES = (*LEVELS, "none")  # worst first

DEEDS = {  # what people do to one point
    "demand": "switch by hand what a manual rule drives: a remote cut; needs --reason",
    "withdraw": "take that back; refused while anything else demands it",
    "reset": "let go what latched",
    "shelve": "silence for a while: needs --reason and --hours; never red, never an interlock",
    "take-out": "take out of service: --reason is the permit",
    "restore": "back in force",
}


def add(verb: Callable[..., Any]) -> None:
    """The verbs' arguments."""
    alarms = verb("alarms", _alarms, "open alarms of the running daemon; acknowledge, shelve, reset one", site=True)
    alarms.add_argument("--ack", metavar="ID", help="acknowledge: somebody has seen it; needs --by")
    for deed, what in DEEDS.items():
        alarms.add_argument(f"--{deed}", metavar="POINT", help=f"{what}; POINT is an alarm's ID or RULE@CHANNEL")
    alarms.add_argument("--load", action="store_true", help="how many alarms there are, and which come most")
    alarms.add_argument("--by", metavar="NAME", default="", help="who does it")
    alarms.add_argument("--reason", metavar="TEXT", default="", help="why, or the number of the permit")
    alarms.add_argument("--hours", type=float, default=0.0, metavar="H", help="of shelving, at most 8")
    verb("colours", _colours, "colours of site, items and points, and what is missing for a lower one", site=True)
    sub = verb("status", _status, "the gateway as a cockpit: alarms, channels, lines, uplinks; live", site=True)
    sub.add_argument("--once", action="store_true", help="print it once, and leave; as on a pipe")
    sub.add_argument("--every", type=float, default=1.0, metavar="S", help="s between two looks (1)")
    reloads = verb("reload", _reload, "the running daemon goes on by its site file as it is now", site=True)
    reloads.add_argument("--by", metavar="NAME", default="", help="who does it")
    verb("queue", _queue, "what the running daemon still owes its platforms", site=True)
    drills = verb("drill", _drill, "prove a chain from sensor to outputs and platforms; nothing is tripped", site=True)
    drills.add_argument("name", help="an interlock, a rule that drives something, or RULE@CHANNEL")
    drills.add_argument("--by", metavar="NAME", required=True, help="who drills")
    presence = verb("presence", _presence, "say in which zone a person is, or show who is where", site=True)
    presence.add_argument("person", nargs="?", help="an id, never a name")
    presence.add_argument("zone", nargs="?", help="a zone of the site file, or `out`")
    presence.add_argument("--by", metavar="NAME", default="", help="who, or what, says so")


def _ask(args: argparse.Namespace, timeout: float = 5.0, /, **request: Any) -> dict[str, Any]:
    """What the running daemon answers within `timeout` s. Raises `WorldFault`."""
    from . import control

    reply = control.ask(control.home(args.config), request, timeout)
    if "error" in reply:
        raise WorldFault(reply["error"])
    return reply


def _reload(args: argparse.Namespace) -> int:
    """All of it, or nothing: the daemon says which."""
    from .complaints import Places, read_toml

    path = Path(args.config)
    try:
        read_toml(path, Places())  # what is no TOML does not say whom to ask
    except OSError:
        pass  # told below
    except ValueError as error:
        raise ConfigFault([str(error)]) from None
    file = os.path.realpath(path)  # unlike `resolve` no fault where links go round
    reply = _ask(args, RELOAD, verb="reload", by=args.by, file=file)
    if "complaints" in reply:
        raise ConfigFault(reply["complaints"], "nothing was changed")
    return answer(args, reply, _changed(reply, said_to(args)))


def _changed(reply: dict[str, Any], t: Said) -> str:
    """What a reload changed."""
    if t.language == "en" or "changes" not in reply:
        return t.answer(reply["ok"])
    facts = reply["changes"]
    told = [
        t(f"r-{how}", what=t(f"r-{kind}"), n=len(names), names="、".join(names))
        for kind, change in facts.items()
        if isinstance(change, dict)
        for how, names in change.items()
        if how != "kept"
    ]
    told += [f"[{table}]" for table in facts["other"]]
    same = t("r-nothing")
    return t("reloaded", config=facts["config"], former=facts["former"], changes=";".join(told) or same)


def _drill(args: argparse.Namespace) -> int:
    from .drill import PATIENCE, lines

    t = said_to(args)
    with terminal.waiting(f"drill of {args.name}"):
        reply = _ask(args, 4 * PATIENCE, verb="drill", name=args.name, by=args.by)
    verdict = t("proven" if reply["proven"] else "not proven", name=args.name)
    answer(args, reply["drill"], "\n".join([*lines(reply["drill"], t.answer), verdict]))
    return 0 if reply["proven"] else os.EX_UNAVAILABLE


def _presence(args: argparse.Namespace) -> int:
    if args.person is None:
        found = _ask(args, verb="presence")["presence"]
        lines = [f"{zone:20} {person}" for person, zone in sorted(found.items(), key=lambda pair: pair[::-1])]
        return answer(args, found, "\n".join(lines) or said_to(args)("nobody in"))
    if args.zone is None:
        raise Stop(os.EX_USAGE, f"where is {args.person}? give a zone, or `out`")
    reply = _ask(args, verb="presence", person=args.person, zone=args.zone, by=args.by)
    t = said_to(args)
    return answer(args, reply, t("went out" if args.zone == "out" else "went in", person=args.person, zone=args.zone))


def _alarms(args: argparse.Namespace) -> int:
    t = said_to(args)
    if args.ack:
        _named(args, "who acknowledges?")
        reply = _ask(args, verb="ack", id=args.ack, by=args.by)
        return answer(args, reply, t("acked", id=args.ack))
    for verb in DEEDS:
        if point := getattr(args, verb.replace("-", "_")):
            _named(args, "who does it?")
            if not math.isfinite(args.hours):
                raise Stop(os.EX_USAGE, f"--hours {args.hours:g}: a number is expected")
            reply = _ask(args, verb=verb, point=point, by=args.by, reason=args.reason, seconds=3600 * args.hours)
            return answer(args, reply, t.answer(f"{verb}: {reply['ok']}"))
    reply = _ask(args, verb="alarms")
    if args.load:
        return answer(args, reply["load"], "\n".join(_load_lines(reply["load"], t)))
    alarms = sorted(
        reply["alarms"],
        key=lambda a: (not a["channel"].startswith("colour/"), LEVELS.index(a["level"]), -a["since"]["wall"]),
    )
    return answer(args, alarms, "\n".join(_alarm_lines(alarms, t, Ink())) or t("none open now"))


def _named(args: argparse.Namespace, question: str) -> None:
    """Whoever acts says who he is."""
    if not args.by.strip():
        raise Stop(os.EX_USAGE, f"{question} give --by NAME")


def _alarm_lines(alarms: Sequence[dict[str, Any]], t: Said, ink: Ink) -> Iterator[str]:
    """One line for each alarm that stands for itself, those folded under it counted and named."""
    folds: dict[str, list[dict[str, Any]]] = {}
    for alarm in alarms:
        folds.setdefault(alarm.get("fold") or alarm["id"], []).append(alarm)
    for a, *others in folds.values():
        clock = time.strftime("%m-%d %H:%M:%S", time.localtime(a["since"]["wall"]))
        doubt = " " if a["since"]["synced"] else "?"
        first = a.get("first", a["id"])
        after = f"  ({t('after', first=first)})" if first != a["id"] else ""
        state = f"{a['state']:17}" if t.language == "en" else t(f"n-{a['state']}")
        state = ink("bold", state) if "unacked" in a["state"] else state
        yield f"{ink(a['level'], _level(a['level'], t))} {clock}{doubt} {state} {a['id']}  {a['text']}{after}"
        if others:
            yield f"{'':6} {t('under', n=len(others), ids=' '.join(other['id'] for other in others))}"


def _level(level: str, t: Said) -> str:
    """A level or colour, six columns wide."""
    return f"{level:6}" if t.language == "en" else f"{t(level)}  "


def _colours(args: argparse.Namespace) -> int:
    t = said_to(args)
    tree = _ask(args, verb="colours", language=t.language)["colours"]
    text = "\n".join(line for item in tree for line in _branch(item, "", t, Ink()))
    return answer(args, tree, text or t("no items"))


def _branch(item: dict[str, Any], indent: str, t: Said, ink: Ink) -> Iterator[str]:
    """An item and what it is made of, worst first; points without a colour are only counted."""
    since = item["since"]
    clock = time.strftime("%m-%d %H:%M:%S", time.localtime(since["wall"])) if since else ""
    missing = f"; {item['missing']}" if item["missing"] else ""
    shade = ink(item["colour"], _level(item["colour"], t))
    yield f"{indent}{shade} {item['name']}{t('since then', clock=clock) if clock else ''}{missing}"
    indent += "  "
    for part in sorted(item["items"], key=lambda part: SHADES.index(part["colour"])):
        yield from _branch(part, indent, t, ink)
    for channel, colour in sorted(item["points"].items(), key=lambda row: SHADES.index(row[1])):
        if colour != "none" or channel in item["unseen"]:
            unseen = ink("doubt", t("not seen")) if channel in item["unseen"] else ""
            yield f"{indent}{ink(colour, _level(colour, t))} {channel}{unseen}"
    plain = sum(colour == "none" and name not in item["unseen"] for name, colour in item["points"].items())
    if plain:
        yield f"{indent}{_level('none', t)} {t('plain points', n=plain)}"


def _load_lines(load: dict[str, Any], t: Said) -> Iterator[str]:
    """What the alarms of the last minutes and of the last day ask of people."""
    yield t("in 10", n=load["in_10_min"], flood=t("is flood") if load["flood"] else "")
    yield t("standing n", n=load["standing"], stale=load["stale"])
    yield t("chattering n", n=load["chattering"])
    yield t("top n", n=len(load["top"]), share=f"{load['top_share']:.0f}")
    yield from (f"{n:6}  {rule}@{channel}" for (rule, channel), n in load["top"])


def _queue(args: argparse.Namespace) -> int:
    status, t = _ask(args, verb="status"), said_to(args)

    def lane(name: str) -> str:
        return f"{name:10}" if t.language == "en" else t(name)

    text = [f"{lane(name)} {t('n waiting', n=n)}" for name, n in status["waiting"].items()]
    text += [f"{lane(name)} {t('n dropped', n=n)}" for name, n in status["dropped"].items() if n]

    def told(state: str) -> str:
        return t(state) if t.language == "zh" and state in ("up", "down") else state

    text += [t("uplink is", name=name, state=told(state)) for name, state in status["uplinks"].items()]
    text += [registrar.head_line(status["journal"], t)]
    return answer(args, status, "\n".join(text))


def _status(args: argparse.Namespace) -> int:
    from . import cockpit  # rich takes its time

    return cockpit.run(args)
