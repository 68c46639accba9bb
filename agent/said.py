"""What the command line says to people, in English and Chinese; what it shares with the page is `web/texts.py`."""

from __future__ import annotations

from collections.abc import Mapping

from .web.texts import Words

MORE: Mapping[str, tuple[str, str]] = {  # English, Chinese
    # vedette status
    "up since": ("up {span}", "已运行 {span}"),
    "is old": ("NO ANSWER for {span}: what you see is old", "已 {span} 无应答:显示的是旧数据"),
    "not running": ("NO AGENT RUNS HERE. What its files say:", "此处没有代理在运行。以下内容来自其文件:"),
    "last sign": ("last sign of life {span} ago", "最后活动于 {span} 前"),
    "never ran": ("no sign of life", "从未运行"),
    "unwatched": ("nobody watches", "无人监测"),
    "none open": ("none was open", "当时无未结束的报警"),
    "quiet": ("no alarms", "无报警"),
    "put away n": ("{n} put away", "{n} 个已搁置/抑制/停用"),
    "well": ("all {n} channels are well", "全部 {n} 个测点正常"),
    "unwell": ("{k} of {n} channels are not well", "{n} 个测点中 {k} 个异常"),
    "hidden n": ("{n} more: {press}", "还有 {n} 个:{press}"),
    "folded n": ("[+{n}]", "[另 {n}]"),
    "limit at": ("limit {limit}", "限值 {limit}"),
    "of version": ("version {version}", "版本 {version}"),
    "config is": ("configuration {config}", "配置 {config}"),
    "since at": ("since", "始于"),
    "written": ("written {span} ago", "写于 {span} 前"),
    "n-active-unacked": ("NEW", "未确认"),
    "n-active-acked": ("seen", "已确认"),
    "n-returned-unacked": ("over", "已恢复"),
    "n-latched-unacked": ("LATCH", "自锁"),
    "n-latched-acked": ("latch", "待复位"),
    "n-shelved": ("shelved", "搁置"),
    "n-suppressed": ("suppr.", "抑制"),
    "n-out-of-service": ("out", "停用"),
    "record n": ("record {n}", "记录 {n}"),
    "signed by": ("signed {who}", "签名 {who}"),
    "not signed": ("NOT signed", "未签名"),
    "clock ok": ("clock trusted", "时钟可信"),
    "clock doubt": ("clock NOT trusted", "时钟不可信"),
    "clock back": ("clock set back by {span}", "时钟曾回拨 {span}"),
    "disk": ("disk {share} % free", "磁盘剩余 {share} %"),
    "memory": ("memory {mb} MB", "内存 {mb} MB"),
    "machine memory": ("{share} % of the machine's free", "本机可用 {share} %"),
    "descriptors": ("{n} descriptors", "{n} 个文件描述符"),
    "lag": ("late {ms} ms", "延迟 {ms} ms"),
    "load is": ("load {load}", "负载 {load}"),
    "trouble with": ("{file}: {why}", "{file}:{why}"),
    "temperature": ("{n} °C", "{n} °C"),
    "disk_full_in": ("disk full in {span}", "磁盘约 {span} 后写满"),
    "under_voltage": ("the supply is too weak", "供电电压过低"),
    "throttled": ("the processor is slowed by heat or a weak supply", "处理器因过热或欠压降频"),
    "write_errors": ("{n} writes failed within the last hour", "最近一小时 {n} 次写入失败"),
    "children_died": ("{n} processes for cameras or clips died", "{n} 个摄像机或录像进程异常结束"),
    "restarts": ("{n} restarts of parts", "部件重启 {n} 次"),
    "crashes": ("{n} crashes", "崩溃 {n} 次"),
    "degraded": ("{n} parts fail again and again", "{n} 个部件反复失败"),
    "orders_unmet": ("{n} outputs not as wanted", "{n} 个输出未到位"),
    "dropped n": ("{n} dropped", "丢弃 {n}"),
    "evidence_trouble": ("evidence is not kept", "证据未能保存"),
    "store_quarantined": ("{n} files quarantined", "{n} 个文件已隔离"),
    "limit set": (
        "limit of {rule} is {limit}, not {usual}; set by {by}",
        "{rule} 限值为 {limit},原为 {usual},由 {by} 设定",
    ),
    "command": ("command {id}: {state}", "命令 {id}:{state}"),
    "ms": ("{ms} ms", "{ms} ms"),
    "nothing waits": ("nothing waits", "无待发"),
    "errors of": ("{p} % errors", "{p} % 错误"),
    "keys": (
        "q quit   a alarms  c channels  l lines  u uplinks  e events  s site",
        "q 退出   a 报警  c 测点  l 线路  u 上行  e 事件  s 现场",
    ),
    "scroll": ("arrows, PgUp, PgDn: {a} to {b} of {n}", "方向键、PgUp、PgDn:{a} 至 {b},共 {n}"),
    "ack hint": ("vedette alarms --ack ID --by NAME", "vedette alarms --ack ID --by NAME"),
    # vedette alarms
    "none open now": ("no open alarms", "没有未结束的报警"),
    "under": ("+{n} folded: {ids}", "另有 {n} 个归并:{ids}"),
    "acked": ("acknowledged {id}", "已确认 {id}"),
    "in 10": ("raised in 10 min  {n}{flood}", "10 分钟内触发    {n}{flood}"),
    "is flood": ("  FLOOD", "  报警泛滥"),
    "standing n": (
        "standing          {n}, {stale} of them for more than a day",
        "持续中            {n},其中 {stale} 个超过一天",
    ),
    "chattering n": ("chattering        {n}", "抖动测点          {n}"),
    "top n": (
        "most in 24 h      {n} points with {share} % of all",
        "24 小时内最频繁   {n} 个测点,占全部的 {share} %",
    ),
    # vedette colours
    "no items": (
        "no [[item]] in the site file; `vedette alarms` shows the points",
        "现场文件中没有 [[item]];各测点请用 `vedette alarms` 查看",
    ),
    "since then": (" since {clock}", " 自 {clock}"),
    "not seen": ("  unseen", "  无可信数据"),
    "plain points": ("{n} points", "{n} 个测点"),
    # vedette queue, presence, drill
    "n waiting": ("{n} waiting", "{n} 待发"),
    "n dropped": ("{n} dropped", "{n} 已丢弃"),
    "uplink is": ("uplink {name} {state}", "上行 {name} {state}"),
    "nobody in": ("nobody is in a zone", "区域内无人"),
    "proven": ("drill of {name}: every link is proven", "演练 {name}:各环节均已验证"),
    "not proven": ("drill of {name}: NOT proven", "演练 {name}:未通过验证"),
    # vedette explain
    "no alarm": (
        "no alarm {id} in {folder}; `vedette alarms` shows those that stand",
        "{folder} 中没有报警 {id};当前报警请用 `vedette alarms` 查看",
    ),
    "value and limit": ("value {value} {unit}, limit {limit} {unit}", "数值 {value} {unit},限值 {limit} {unit}"),
    "by rule": ("rule {rule}, after {clause}", "规则 {rule},依据 {clause}"),
    "verify it": (" (to be verified)", "(待核实)"),
    "by whom": (" by {who}", " 操作人 {who}"),
    # vedette audit
    "n records": (
        "{n} records, {first} to {last}, newest checksum {head}",
        "{n} 条记录,{first} 至 {last},最新校验值 {head}",
    ),
    "nothing signed": ("nothing is signed", "无任何签名"),
    "signed to": ("signed up to record {n} by {who}", "签名至记录 {n},密钥 {who}"),
    "no key of yours": (
        ", which was compared with no key of yours: give --key",
        ",未与您的公钥比对:请给出 --key",
    ),
    "not yet signed": ("; the last {n} not yet", ";最后 {n} 条尚未签名"),
    "head older": (
        "head {n} is older than the oldest record, and was not compared",
        "见证记录 {n} 早于现存最旧记录,未比对",
    ),
    "head met": ("record {n} is there as a witness noted it", "记录 {n} 与见证一致"),
    "first fault": ("FIRST {fault}", "首处 {fault}"),
    "and n more": ("and {n} more", "另有 {n} 处"),
    "broken journal": ("broken", "已损坏"),
    "whole journal": ("whole", "完整"),
}


class Said(Words):
    """The texts of one language: those of the page, and those of the command line."""

    def __call__(self, key: str, **facts: object) -> str:
        pair = MORE.get(key)
        return super().__call__(key, **facts) if pair is None else pair[self._i].format(**facts)
