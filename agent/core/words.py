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
        "feedback": "{channel} contradicts the order to {output}",
        "escalation": "{channel} and others: {value} of {of} points are {worse} or worse ({basis})",
        "vote": "{channel} and others: {value} of {of} at or beyond {each} ({basis})",
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
        "feedback": "{channel} 与 {output} 的指令不符(馈电异常)",
        "escalation": "{channel} 等 {of} 个测点中 {value} 个达到{worse}及以上({basis})",
        "vote": "{channel} 等 {of} 个测点中 {value} 个达到限值 {each}({basis})",
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
        "feedback": "{channel} agrees with its order again",
        "escalation": "{channel} and others: only {value} points left",
        "vote": "{channel} and others: only {value} still beyond the limit",
        "silence": "{channel} is read again",
        "fault": "{channel} is good again",
        "orphan": "{channel}: its rule is no longer configured",
    },
    "zh": {
        "*": "{channel} 恢复正常,当前 {value} {unit}",
        "deviation": "{channel} 与相邻测点恢复一致",
        "frozen": "{channel} 恢复变化",
        "feedback": "{channel} 与指令恢复一致",
        "escalation": "{channel} 等测点中仅剩 {value} 个",
        "vote": "{channel} 等测点中仅 {value} 个仍超限",
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

# What to do, by what is watched; where a rule names none, by its kind. The site's own plan goes before.
ADVICE: dict[str, dict[str, str]] = {
    "en": {
        "methane": "Stop work, cut power that is not intrinsically safe, withdraw into fresh air, check ventilation.",
        "carbon-monoxide": "Withdraw into fresh air with self-rescuers, look for fire or heating, check ventilation.",
        "toxic": "Withdraw crosswind and upwind, nobody enters without breathing apparatus, isolate the leak.",
        "combustible": "Stop hot work and engines, no switching nearby, withdraw people, isolate the leak, ventilate.",
        "oxygen": "Withdraw, ventilate, nobody enters without breathing apparatus and a second person outside.",
        "heat": "Shorten the shift or stop work, cool and ventilate, look after people at risk.",
        "air-speed": "Check fans, doors and ducts; if the air does not come back, withdraw people and cut the power.",
        "dust": "Wet and extract, wear respirators, stop dry work, check the water and the extraction.",
        "water": "Start the pumps, warn people below, get ready to withdraw along the escape route for water.",
        "aquifer": "Look for new water, measure by hand, ask the hydrogeologist, get ready to withdraw.",
        "spontaneous": "Sample gas, compare with the index of this coal, close air leaks, prepare to inject and seal.",
        "freeboard": "Lower the pond, open the flood outlet, stop discharge, look on the spot, warn people downstream.",
        "dam": "Look for cracks, bulges and seepage, stop discharge, lower the pond, warn people downstream.",
        "rain": "Check the flood outlet and the drains, man the watch, get ready to lower the pond.",
        "slope": "Withdraw people and machines below and above, close the road, measure more often.",
        "tank": "Stop filling or emptying, check the gauge at the tank, close the valves, keep people away.",
        "pressure": "Compare with the gauge on the spot, reduce the pressure, look for a leak, close the line.",
        "structure": "Close it to traffic, send somebody to look, measure again.",
        "lift": "Talk to the people inside, call the rescue service, nobody forces the doors.",
        "exposure": "Take people out or give them respirators, find the source, note the time of exposure.",
        "high": "Check on the spot, follow the site's plan for this point.",
        "low": "Check on the spot, follow the site's plan for this point.",
        "rate": "It changes faster than it should: check on the spot, follow the site's plan for this point.",
        "deviation": "Compare with a second instrument; one of the neighbours is wrong, or the hazard is local.",
        "frozen": "Check the sensor with gas or by hand; until then watch by other means.",
        "feedback": "Cut by hand on the spot; check breaker, relay, wiring and the feed sensor.",
        "escalation": "Several points warn together: look at the whole of it, follow the site's plan for this level.",
        "vote": "Check on the spot, follow the site's plan for this point.",
        "silence": "Check power, line and address; until then watch by other means.",
        "fault": "Repair or replace the sensor; until then watch by other means.",
        "blind": "Treat the place as dangerous until the sensor is repaired.",
    },
    "zh": {
        "methane": "停止作业,切断非本质安全型电气设备电源,人员撤至新鲜风流处,检查通风。",
        "carbon-monoxide": "佩戴自救器撤至新鲜风流处,查找火源或发热点,检查通风。",
        "toxic": "人员向侧风、上风方向撤离,无呼吸防护不得进入,切断泄漏源。",
        "combustible": "停止动火和发动机,附近禁止操作电器开关,人员撤离,切断泄漏源,通风。",
        "oxygen": "人员撤离,通风;无呼吸防护且无人监护不得进入。",
        "heat": "缩短作业时间或停止作业,降温通风,关注体弱人员。",
        "air-speed": "检查风机、风门和风筒;风量不能恢复时撤人并断电。",
        "dust": "洒水除尘,佩戴防尘口罩,停止干式作业,检查供水和除尘设施。",
        "water": "启动水泵,通知下部人员,做好沿避水路线撤离的准备。",
        "aquifer": "查看工作面和钻孔有无新出水,人工复测,报告水文地质人员,做好撤离准备。",
        "spontaneous": "取气样,与本煤种指标对照,封堵漏风,做好注浆注氮和封闭准备。",
        "freeboard": "降低库水位,开启排洪设施,停止排放,派人查看,通知下游人员。",
        "dam": "派人查看裂缝、隆起和渗漏,停止排放,降低库水位,通知下游人员。",
        "rain": "检查排洪设施和排水沟,加强值守,做好降低库水位的准备。",
        "slope": "撤离坡上坡下人员和设备,封闭道路,加密观测。",
        "tank": "停止进出料,现场核对液位,关闭阀门,人员远离。",
        "pressure": "与现场压力表核对,降压,查找泄漏,切断管段。",
        "structure": "封闭交通,派人查看,复测。",
        "lift": "安抚被困人员,通知救援单位,严禁强行扒门。",
        "exposure": "人员撤出该区域或佩戴呼吸防护,查找来源,记录接触时间。",
        "high": "现场核实,按该测点的现场处置方案处理。",
        "low": "现场核实,按该测点的现场处置方案处理。",
        "rate": "变化过快:现场核实,按该测点的现场处置方案处理。",
        "deviation": "用另一台仪器核对:相邻测点之一有误,或危险只在局部。",
        "frozen": "用标准气或人工方法检查传感器;此前用其他方法监视。",
        "feedback": "就地手动断电;检查断路器、继电器、接线和馈电传感器。",
        "escalation": "多个测点同时预警:按整体情况研判,执行该级别的应急预案。",
        "vote": "现场核实,按该测点的现场处置方案处理。",
        "silence": "检查电源、线路和地址;此前用其他方法监视。",
        "fault": "修理或更换传感器;此前用其他方法监视。",
        "blind": "传感器修复之前,该处按危险处理。",
    },
}

LEVEL: dict[str, dict[str, str]] = {
    "en": {"red": "red", "orange": "orange", "yellow": "yellow", "blue": "blue"},
    "zh": {"red": "红色", "orange": "橙色", "yellow": "黄色", "blue": "蓝色"},
}

QUALITY: dict[str, tuple[str, ...]] = {
    "en": ("good", "uncertain", "over range", "calibrating", "stale", "faulty", "offline"),
    "zh": ("正常", "存疑", "超量程", "标校", "过期", "故障", "离线"),
}


def advice(language: str, row: str) -> str:
    """What to do, after the table; a text that is no row of it is the site's own."""
    return ADVICE[language].get(row, row)


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
