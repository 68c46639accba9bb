"""Sentences that people read, one table per language, looked up by kind of rule and event."""

from __future__ import annotations

from typing import Literal

Language = Literal["en", "zh"]

RAISED: dict[str, dict[str, str]] = {
    "en": {
        "high": "{channel} at {value} {unit}, limit {limit} {unit} ({basis})",
        "low": "{channel} down to {value} {unit}, limit {limit} {unit} ({basis})",
        "rate": "{channel} moves {value} {unit} in {per} s, limit {limit} {unit} ({basis})",
        "deviation": "{channel} is {value} {unit} away from its neighbours, limit {limit} {unit} ({basis})",
        "frozen": "{channel} has not moved for {value} s: check the sensor",
        "silence": "{channel} has sent nothing for {value} s: check power, line and address",
        "fault": "{channel} is {quality}: the hazard there is not watched",
        "blind": "{channel} is {quality} and counts as exceeded",
    },
    "zh": {
        "high": "{channel} 当前 {value} {unit},达到或超过限值 {limit} {unit}({basis})",
        "low": "{channel} 当前 {value} {unit},达到或低于限值 {limit} {unit}({basis})",
        "rate": "{channel} 在 {per} 秒内变化 {value} {unit},限值 {limit} {unit}({basis})",
        "deviation": "{channel} 与相邻测点相差 {value} {unit},限值 {limit} {unit}({basis})",
        "frozen": "{channel} 已 {value} 秒无变化:请检查传感器",
        "silence": "{channel} 已 {value} 秒无数据:请检查电源、线路和地址",
        "fault": "{channel} 状态为{quality}:该处危险未被监测",
        "blind": "{channel} 状态为{quality},按超限处理",
    },
}

CLEARED: dict[str, dict[str, str]] = {
    "en": {
        "*": "{channel} back to normal at {value} {unit}",
        "deviation": "{channel} agrees with its neighbours again",
        "frozen": "{channel} moves again",
        "silence": "{channel} is read again",
        "fault": "{channel} is good again",
        "orphan": "{channel}: its rule is no longer configured",
    },
    "zh": {
        "*": "{channel} 恢复正常,当前 {value} {unit}",
        "deviation": "{channel} 与相邻测点恢复一致",
        "frozen": "{channel} 恢复变化",
        "silence": "{channel} 恢复数据",
        "fault": "{channel} 质量恢复正常",
        "orphan": "{channel}:对应规则已从配置中移除",
    },
}

MOVED: dict[str, dict[str, str]] = {
    "en": {
        "acknowledged": "{channel} acknowledged by {by}",
        "reset": "{channel}: {rule} reset by {by}",
        "shelved": "{channel}: {rule} shelved by {by}: {reason}",
        "suppressed": "{channel}: {rule} does not apply now",
        "taken-out": "{channel}: {rule} taken out of service by {by}: {reason}",
        "restored": "{channel}: {rule} in force again, {by}",
        "expired": "{channel}: {rule} in force again, the time of shelving is over",
    },
    "zh": {
        "acknowledged": "{channel} 已由 {by} 确认",
        "reset": "{channel}:{rule} 已由 {by} 复位",
        "shelved": "{channel}:{rule} 由 {by} 搁置:{reason}",
        "suppressed": "{channel}:{rule} 当前不适用",
        "taken-out": "{channel}:{rule} 由 {by} 停用:{reason}",
        "restored": "{channel}:{rule} 恢复生效 {by}",
        "expired": "{channel}:{rule} 搁置期满,恢复生效",
    },
}

QUALITY: dict[str, tuple[str, ...]] = {
    "en": ("good", "uncertain", "over range", "calibrating", "stale", "faulty", "offline"),
    "zh": ("正常", "存疑", "超量程", "标校", "过期", "故障", "离线"),
}


def number(value: float | None) -> str:
    """A number as people read it: four significant digits, no trailing zeros.

    >>> number(1.23456), number(1000.0), number(None)
    ('1.235', '1000', '-')
    """
    if value is None or value != value:
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def sentence(table: dict[str, dict[str, str]], language: str, kind: str, **facts: str) -> str:
    """The sentence for `kind` in `language`, or the table's general one; double blanks are closed."""
    templates = table[language]
    return " ".join(templates.get(kind, templates.get("*", "")).format(**facts).split()).replace(" ,", ",")
