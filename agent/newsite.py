"""A first site file from a dozen answers, or from what answers on a line: `vedette init`.

What is written is a beginning that passes `vedette check` at once, with a comment beside each thing that a person has
to look at: addresses that nobody could know, limits that the law leaves to the site. Nothing is overwritten unasked.
"""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .core.units import convert
from .core.words import Language
from .profiles import SHIPPED, Profile, gases
from .window import NEEDED

NAME = re.compile(r"[\w.-]{1,64}")
HAZARDS = ("gas", "water", "tailings", "slope", "vehicle")
WATCHED = (  # what a channel is called -> the limits that are proposed for it, the first that fits its unit
    (r"ch4.*(t2|return|回风)", "coal/ch4/T2"),
    (r"ch4", "coal/ch4/T1"),
    (r"co(_|\d|$)", "coal/co"),
    (r"h2s", "coal/h2s"),
    (r"so2", "coal/so2"),
    (r"no2", "coal/no2"),
    (r"nh3", "coal/nh3"),
    (r"o2(_|\d|$)", "coal/o2/intake"),
    (r"air_speed", "coal/air-speed/heading"),
    (r"sump|level", "water/sump/level"),
    (r"pond|reservoir", "tailings/pond/level"),
    (r"displacement", "tailings/displacement"),
    (r"crack", "slope/crack"),
    (r"seepage", "tailings/seepage/flow"),
)
BLANK: Mapping[str, tuple[tuple[str, str, str, str], ...]] = {  # hazard -> key, type, unit, more of a first channel
    "gas": (("ch4", "float32", "%", ""), ("co", "uint16", "ppm", "")),
    "water": (("sump", "uint16", "m", "scale = 0.001"),),
    "tailings": (("pond", "uint16", "m", "scale = 0.01"), ("displacement", "int16", "mm", "scale = 0.1")),
    "slope": (("crack", "int16", "mm", "scale = 0.1"),),
}


class Answers(NamedTuple):
    """What is known of the site."""

    language: Language = "en"
    site: str = "site-1"
    node: str = "gw1"
    hazards: tuple[str, ...] = ("gas",)
    line: str = "tcp://192.168.1.10:502"  # URL, or the device of a serial port
    baud: int = 9600
    parity: str = "N"
    unit: int = 1
    device: str = ""  # a device profile; empty: none of those that are known
    broker: str = ""  # host or URL; empty: nobody is told
    tls: bool = True
    user: str = ""
    password: str = "env:MQTT_PASSWORD"  # a reference
    page: bool = True
    state: str = "state"


class Unit(NamedTuple):
    """A device as it is to be written."""

    name: str
    unit: int
    profile: str  # empty: `channels` are written out
    channels: tuple[tuple[str, str, str], ...]  # key, unit, what else stands in its table
    note: str = ""


# -- questions ----------------------------------------------------------------------------------------


class Question(NamedTuple):
    """One question; `wrong` says why an answer will not do, in words."""

    field: str
    text: dict[str, str]
    wrong: Callable[[str], str] = lambda text: ""
    when: Callable[[dict[str, Any]], bool] = lambda known: True


def _name(text: str) -> str:
    return "" if NAME.fullmatch(text) else "letters, digits, . _ and - only / 只能用字母、汉字、数字和 . _ -"


def _known(*words: str) -> Callable[[str], str]:
    return lambda text: "" if set(text.split(",")) <= set(words) else f"{', '.join(words)}"


def _number(low: int, high: int) -> Callable[[str], str]:
    return lambda text: "" if text.isdecimal() and low <= int(text) <= high else f"{low} - {high}"


def _line(text: str) -> str:
    from drivers.link import url_of

    try:
        url_of(url(text))
    except ValueError as error:
        return str(error)
    return ""


def _device(text: str) -> str:
    known = sorted(device_profiles(Path()))
    return "" if not text or text in known else ", ".join(known)


def _reference(text: str) -> str:
    """A secret is never written into the file."""
    fine = text.partition(":")[0] in ("env", "file", "credential") and text.partition(":")[2]
    return "" if fine else "env:NAME, file:/PATH, credential:NAME"


QUESTIONS = (
    Question("language", {"en": "Language of alarms, en or zh", "zh": "报警语言,en 或 zh"}, _known("en", "zh")),
    Question("site", {"en": "Name of the site, part of every topic", "zh": "现场名称(主题的一部分)"}, _name),
    Question("node", {"en": "Name of this gateway", "zh": "本网关名称"}, _name),
    Question(
        "hazards",
        {"en": f"What hazards ({', '.join(HAZARDS)})", "zh": f"灾害类型({', '.join(HAZARDS)})"},
        _known(*HAZARDS),
    ),
    Question(
        "line",
        {
            "en": "Where the sensors are: tcp://HOST:502 or /dev/ttyUSB0",
            "zh": "传感器接在哪里:tcp://地址:502 或 /dev/ttyUSB0",
        },
        _line,
    ),
    Question(
        "baud", {"en": "Baud rate", "zh": "波特率"}, _number(300, 4_000_000), lambda known: is_serial(known["line"])
    ),
    Question(
        "parity",
        {"en": "Parity, N, E or O", "zh": "校验,N、E 或 O"},
        _known("N", "E", "O"),
        lambda known: is_serial(known["line"]),
    ),
    Question("unit", {"en": "Modbus address of the first device", "zh": "第一台设备的 Modbus 地址"}, _number(0, 255)),
    Question("device", {"en": "Device profile (empty: none)", "zh": "设备模板(留空:没有)"}, _device),
    Question("broker", {"en": "MQTT broker of the platform (empty: none yet)", "zh": "平台的 MQTT 服务器(留空:暂无)"}),
    Question(
        "tls",
        {"en": "With TLS, yes or no", "zh": "使用 TLS,yes 或 no"},
        _known("yes", "no"),
        lambda known: bool(known["broker"]),
    ),
    Question(
        "user", {"en": "User there (empty: none)", "zh": "用户名(留空:没有)"}, when=lambda known: bool(known["broker"])
    ),
    Question(
        "password",
        {
            "en": "Where the password is, never itself: env:NAME, file:/PATH, credential:NAME",
            "zh": "密码存放处(不写密码本身):env:NAME、file:/路径、credential:NAME",
        },
        _reference,
        lambda known: bool(known.get("user")),
    ),
    Question(
        "page", {"en": "A local page on this machine, yes or no", "zh": "本机网页,yes 或 no"}, _known("yes", "no")
    ),
    Question("state", {"en": "Folder of the state", "zh": "状态目录"}),
)


def asked(
    given: Mapping[str, Any], ask: Callable[[str], str] | None, say: Callable[[str], None], spoken: Language = "en"
) -> Answers:
    """The answers: those that are `given`, the others asked for, or where `ask` is None as they usually are.

    `spoken`: what whoever is asked reads, until he says. Raises `ValueError` for a given one that will not do.
    """
    usual = (Answers() if ask is None else Answers(language=spoken))._asdict()
    known: dict[str, Any] = {}
    for question in QUESTIONS:
        field, before = question.field, _text(usual[question.field])
        text = _text(given[field]) if given.get(field) is not None else None
        if text is not None and (why := question.wrong(text)):
            raise ValueError(f"--{field} {text}: {why}")
        if text is None and ask is not None and question.when(known):
            language = known.get("language", spoken)
            while True:
                text = ask(f"{question.text[language]} [{before}]: ").strip() or before
                if not (why := question.wrong(text)):
                    break
                say(f"  {_told(why, language)}")
        known[field] = _value(before if text is None else text, usual[field])
    return Answers(**known)


def _told(why: str, language: Language) -> str:
    if language == "en":
        return why
    from .faults_zh import said

    return said(why)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(value) if isinstance(value, tuple | list) else str(value)


def _value(text: str, like: Any) -> Any:
    if isinstance(like, bool):
        return text == "yes"
    if isinstance(like, tuple):
        return tuple(filter(None, text.split(",")))
    return type(like)(text)


def is_serial(line: str) -> bool:
    return url(line).startswith("rtu")


def url(line: str) -> str:
    """A line as a URL: a person may give a port or a host.

    >>> url("/dev/ttyUSB0"), url("10.0.0.5"), url("rtu+tcp://h:4001")
    ('rtu:///dev/ttyUSB0', 'tcp://10.0.0.5', 'rtu+tcp://h:4001')
    """
    return line if "://" in line else f"rtu://{line}" if line.startswith("/") else f"tcp://{line}"


# -- what is proposed ---------------------------------------------------------------------------------


def device_profiles(beside: Path) -> dict[str, dict[str, Any]]:
    """Every device profile that ships, or lies in `devices/` beside the site file; what is broken is left out."""
    found = {}
    for root in (SHIPPED, beside):
        for path in sorted((root / "devices").glob("*.toml")):
            try:
                found[path.stem] = tomllib.loads(path.read_text("utf-8"))
            except (OSError, ValueError):
                continue
    return found


def proposed(key: str, unit: str, known: Mapping[str, Profile]) -> str:
    """The limits that a channel might be watched by; empty where nothing fits its name and unit."""
    for pattern, name in WATCHED:
        profile = known.get(name)
        if profile is None or not re.match(pattern, key.lower()):
            continue
        try:
            convert(1.0, profile.unit, unit, gases().get(profile.gas) if profile.gas else None)
        except ValueError:
            continue
        return name
    return ""


def blank(answers: Answers) -> Unit:
    """A device of which nothing is known but what it should measure."""
    rows, at = [], 0
    for hazard in answers.hazards:
        for key, type_, unit, more in BLANK.get(hazard, ()):
            rows.append((key, unit, f'at = "holding:{at}", type = "{type_}"{f", {more}" if more else ""}'))
            at += 2 if type_ == "float32" else 1
    if not rows:
        rows.append(("value", "", 'at = "holding:0", type = "uint16"'))
    return Unit("station", answers.unit, "", tuple(rows))


def of_profile(name: str, unit: int, table: Mapping[str, Any], note: str = "", called: str = "station") -> Unit:
    """A device of a kind that is known."""
    rows = [(str(row["key"]), str(row.get("unit", "")), "") for row in table.get("channel", ())]
    return Unit(called, unit, name, tuple(rows), note)


# -- the file -----------------------------------------------------------------------------------------

SAID: Mapping[str, dict[str, str]] = {
    "head": {
        "en": "Written by `vedette init`. `vedette check -c {file}` tells every mistake with its line.",
        "zh": "由 `vedette init` 生成。`vedette check -c {file}` 列出全部错误及行号。",
    },
    "site": {"en": "part of every topic", "zh": "主题的一部分"},
    "node": {"en": "two gateways of one site need two names", "zh": "同一现场的网关名称不能重复"},
    "language": {"en": "of alarm texts: en or zh", "zh": "报警文字:en 或 zh"},
    "state": {
        "en": "queue, history, journal; with the systemd unit /var/lib/vedette",
        "zh": "队列、历史与日志;用 systemd 时为 /var/lib/vedette",
    },
    "line": {
        "en": "-- lines: one [[bus]] for each serial port or TCP device",
        "zh": "-- 线路:每个串口或 TCP 设备一个 [[bus]]",
    },
    "source": {"en": "channels are {name}/KEY", "zh": "测点名为 {name}/KEY"},
    "unit": {"en": "Modbus address", "zh": "Modbus 地址"},
    "manual": {
        "en": "LOOK AT THIS: compare addresses, types and units with the manual; `vedette probe {probe}`",
        "zh": "请核对:地址、类型、单位以设备说明书为准;`vedette probe {probe}`",
    },
    "unknown": {
        "en": "LOOK AT THIS: no device profile fits; what stands here only shows whether it lives",
        "zh": "请核对:没有匹配的设备模板,此处仅用于判断设备是否在线",
    },
    "found": {"en": "found by the scan: {note}", "zh": "扫描所得:{note}"},
    "limits": {"en": "`vedette profiles show {name}`", "zh": "见 `vedette profiles show {name}`"},
    "watch": {
        "en": "-- what is watched beside: the law leaves these numbers to the site; fill them in, take the # away",
        "zh": "-- 另需监视:以下限值由现场确定,填好后去掉 #",
    },
    "told": {"en": "-- who is told", "zh": "-- 通知谁"},
    "secret": {"en": "a reference, never the secret itself", "zh": "引用,不写密码本身"},
    "page": {
        "en": "-- the local page: http://127.0.0.1:8080/ ; who may act there: vedette passwd NAME",
        "zh": "-- 本机网页:http://127.0.0.1:8080/ ;操作权限:vedette passwd 姓名",
    },
    "gnss": {
        "en": "position and speed; needs `pip install 'vedette[vehicle]'`; cameras: configs/vehicle.example.toml",
        "zh": "位置与车速;需要 `pip install 'vedette[vehicle]'`;摄像头见 configs/vehicle.example.toml",
    },
}


def written(
    answers: Answers, units: Sequence[Unit], profiles: Mapping[str, Profile], file: str = "site.toml", schema: str = ""
) -> str:
    """The site file."""
    return "\n".join(_lines(answers, units, profiles, file, schema)) + "\n"


def _lines(
    answers: Answers, units: Sequence[Unit], profiles: Mapping[str, Profile], file: str, schema: str
) -> Iterator[str]:
    def said(key: str, **more: str) -> str:
        return SAID[key][answers.language].format(**more)

    if schema:
        yield f"#:schema {schema}"
    yield f"# {said('head', file=file)}"
    yield ""
    yield "[site]"
    for key in ("site", "node", "language"):
        yield _beside(f"{'name' if key == 'site' else key} = {quoted(getattr(answers, key))}", said(key))
    yield ""
    yield "[store]"
    yield _beside(f"path = {quoted(answers.state)}", said("state"))
    yield ""
    yield f"# {said('line')}"
    open_ones: list[tuple[str, str]] = []
    if units:
        yield ""
        yield "[[bus]]"
        yield 'name = "line-1"'
        yield f"url = {quoted(url(answers.line))}"
        if is_serial(answers.line):
            yield f"baud = {answers.baud}"
            yield f"parity = {quoted(answers.parity)}"
    for unit in units:
        yield ""
        if unit.note:
            yield f"# {said('found', note=unit.note)}"
        yield "[[bus.device]]"
        yield _beside(f"name = {quoted(unit.name)}", said("source", name=unit.name))
        yield _beside(f"unit = {unit.unit}", said("unit"))
        if unit.profile:
            yield f"profile = {quoted(unit.profile)}"
        elif unit.note:
            yield f"# {said('unknown')}"
        else:
            probe = f"{url(answers.line)}/{unit.unit}/holding/0:2"
            yield f"# {said('manual', probe=probe)}"
        yield from _channels(unit, profiles, open_ones, said)
    if "vehicle" in answers.hazards:
        yield ""
        yield "[[bus]]"
        yield _beside('driver = "gnss"', said("gnss"))
        yield 'name = "gnss"'
        yield 'url = "/dev/ttyACM0"'
        yield "baud = 9600"
    if open_ones:
        yield ""
        yield f"# {said('watch')}"
        for channel, name in open_ones:
            missing = ", ".join(f"{limit.name} = ..." for limit in profiles[name].limit if limit.value is None)
            yield ""
            yield "#[[rule]]"
            yield f"#name = {quoted(channel.replace('/', '-'))}"
            yield f"#channel = {quoted(channel)}"
            yield _beside(f"#profile = {quoted(name)}", said("limits", name=name))
            yield f"#limits = {{ {missing} }}"
    yield ""
    yield f"# {said('told')}"
    yield ""
    yield from _uplink(answers, said)
    yield ""
    yield f"# {said('page')}"
    yield "[web]" if answers.page and has_page() else "#[web]"


def _channels(
    unit: Unit, profiles: Mapping[str, Profile], open_ones: list[tuple[str, str]], said: Callable[..., str]
) -> Iterator[str]:
    """What is read, with the limits that are proposed; those that the site has to fill in go to `open_ones`."""
    for key, measured, more in unit.channels:
        name = proposed(key, measured, profiles)
        if name and any(limit.value is None for limit in profiles[name].limit):
            open_ones.append((f"{unit.name}/{key}", name))
            name = ""
        if unit.profile and not name:
            continue
        yield "[[bus.device.channel]]"
        yield f"key = {quoted(key)}"
        yield from filter(None, more.split(", "))
        if measured and not unit.profile:
            yield f"unit = {quoted(measured)}"
        if name:
            yield _beside(f"profile = {quoted(name)}", said("limits", name=name))


def _uplink(answers: Answers, said: Callable[..., str]) -> Iterator[str]:
    place = answers.broker or "platform.example"
    scheme, port = ("mqtts", 8883) if answers.tls else ("mqtt", 1883)
    if "://" not in place:
        place = f"{scheme}://{place}" if re.search(r":\d+$", place) else f"{scheme}://{place}:{port}"
    rows = ["[[uplink]]", 'name = "platform"', f"url = {quoted(place)}"]
    if answers.user or not answers.broker:
        rows.append(f"user = {quoted(answers.user or answers.site)}")
        rows.append(_beside(f"password = {quoted(answers.password)}", said("secret")))
    yield from rows if answers.broker else (f"#{row}" for row in rows)


def has_page() -> bool:
    """Whether what the local page needs is installed."""
    return all(importlib.util.find_spec(name) is not None for name in NEEDED)


def quoted(text: str) -> str:
    """A basic string of TOML, which knows the escapes of JSON."""
    return json.dumps(text, ensure_ascii=False)


def _beside(line: str, comment: str) -> str:
    return f"{line:38}  # {comment}"
