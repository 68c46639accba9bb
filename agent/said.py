"""What the command line says to people, in English and Chinese; what it shares with the page is `web/texts.py`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from . import terminal
from .core.alarm import Level
from .web import answers
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
    # vedette check
    "site is": ("site {site}, configuration {config}", "现场 {site},配置 {config}"),
    "bus is": ("bus {name}", "总线 {name}"),
    "rules are": ("rules", "规则"),
    "rule is": ("{level} {name}: {kind} {says}", "{level} {name}:{kind} {says}"),
    "rule by": (" ({basis}) on {channels}", "({basis}),测点 {channels}"),
    "rule drives": (" drives {outputs}", ",驱动 {outputs}"),
    "unverified": (", verify", ",待核实"),
    "and n": (" and {n} more", " 及另外 {n} 个"),
    "own rules": (
        "and {n} by which the agent watches itself, as they ship; --all shows them",
        "另有 {n} 条网关自检规则,均为内置设置;--all 列出",
    ),
    "interlocks are": ("interlocks", "联锁"),
    "items are": ("items", "单元"),
    "item of": ("item {name}", "单元 {name}"),
    "item counts": ("{counts} make the next colour ({basis})", "{counts}即升一级({basis})"),
    "item count": ("{n} {shade}", "{n} 个{shade}"),
    "item join": (", ", "、"),
    "item worst": ("as bad as its worst", "取其中最高等级"),
    "item is": (
        "{name}: {members}; {counted}; falls after {minutes} min",
        "{name}:{members};{counted};持续 {minutes} 分钟后降级",
    ),
    "uplinks are": ("uplinks: {names}", "上行:{names}"),
    "no uplink": ("none; alarms stay here", "无;报警只留在本机"),
    "issuer may": ("issuer {name} may {what}", "签发人 {name} 可下达 {what}"),
    "may nothing": ("nothing", "(无)"),
    "with another": (" with another", "(须两人)"),
    "may be set": (
        "limit of {name} may be set from {low} to {high}",
        "{name} 的限值可在 {low} 至 {high} 之间调整",
    ),
    "is off": ("off: {name}: {why}", "已停用:{name}:{why}"),
    "no faults": ("no faults", "没有错误"),
    "one fault": ("1 fault in the configuration; {outcome}", "配置中有 1 处错误;{outcome}"),
    "n faults": ("{n} faults in the configuration; {outcome}", "配置中有 {n} 处错误;{outcome}"),
    "kind high": ("high", "上限"),
    "kind low": ("low", "下限"),
    "kind rate": ("rate", "变化率"),
    "kind deviation": ("deviation", "偏差"),
    "kind frozen": ("frozen", "数据不变"),
    "kind silence": ("silence", "无数据"),
    "kind fault": ("fault", "故障"),
    "kind vote": ("vote", "表决"),
    "kind manual": ("manual", "手动"),
    "kind feedback": ("feedback", "馈电"),
    "kind expect": ("expect", "应为"),
    "kind doubt": ("doubt", "数据可疑"),
    "kind anomaly": ("anomaly", "异常"),
    "nothing to fix": ("nothing to put right", "没有需要更正之处"),
    "only shown": ("nothing was written: --dry-run", "未写入:--dry-run"),
    "put right": ("{path} is put right", "{path} 已更正"),
    "kept as": ("; as it was: {kept}", ";原文件:{kept}"),
    # vedette test, probe, record, replay
    "raw is": ("  raw {value}", "  原始值 {value}"),
    "recorded": (
        "{folder}: {frames} lines of frames, {alarms} alarm edges",
        "{folder}:{frames} 行数据帧,{alarms} 条报警记录",
    ),
    "replayed same": ("{folder}: the same, {n} alarms", "{folder}:一致,{n} 条报警记录"),
    "replayed other": ("{folder}: differs, {n} alarms", "{folder}:不一致,{n} 条报警记录"),
    "what if": ("{folder} with {changes}", "{folder},改用 {changes}"),
    "what if and": (" and ", "、"),
    "what if row": (
        "{word:7} {level:6} {at:12.1f} s  {rule} on {channel}{by}",
        "{word} {level} {at:12.1f} 秒  {rule},测点 {channel}{by}",
    ),
    "what if by": (" by {n} s", ",相差 {n} 秒"),
    "what if n": ("{n} {word}", "{word} {n} 个"),
    "w gained": ("gained", "多出"),
    "w lost": ("lost", "减少"),
    "w sooner": ("sooner", "提前"),
    "w later": ("later", "推迟"),
    "w the same": ("the same", "相同"),
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
    "went in": ("{person} {zone}", "{person} 在 {zone}"),
    "went out": ("{person} out", "{person} 已离开"),
    "nobody in": ("nobody is in a zone", "区域内无人"),
    "proven": ("drill of {name}: every link is proven", "演练 {name}:各环节均已验证"),
    "not proven": ("drill of {name}: NOT proven", "演练 {name}:未通过验证"),
    # vedette reload
    "reloaded": ("configuration {config} in place of {former}: {changes}", "配置 {config} 取代 {former}:{changes}"),
    "r-nothing": ("nothing is different", "没有不同"),
    "r-changed": ("{n} {what} changed ({names})", "{what}变更 {n} 项({names})"),
    "r-gone": ("{n} {what} gone ({names})", "{what}移除 {n} 项({names})"),
    "r-new": ("{n} {what} new ({names})", "{what}新增 {n} 项({names})"),
    "r-lines": ("lines", "线路"),
    "r-uplinks": ("uplinks", "上行"),
    "r-rules": ("rules", "规则"),
    "r-detectors": ("detectors", "检测器"),
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
    "journal head": ("journal    record {n}, {checksum}{whose}", "日志 记录 {n},{checksum}{whose}"),
    "head signed": (", key {who}", ",密钥 {who}"),
    "head unsigned": (", NOT signed", ",未签名"),
    "public key": ("public key {key}\nfingerprint {fingerprint}\n{path}", "公钥 {key}\n指纹 {fingerprint}\n{path}"),
    "bundle is": (
        "{out}: {files} files, {ranges} excerpts of the journal",
        "{out}:{files} 个文件,{ranges} 段日志摘录",
    ),
    "bundle lacks": ("missing: {what}", "缺失:{what}"),
    "bundle unsigned": (
        "NOT signed: the gateway's private key cannot be read here",
        "未签名:此处无法读取网关的私钥",
    ),
    # vedette profiles, hazards
    "by site": ("set by the site", "由现场设定"),
    "per s": (" per {per} s, seen over {window} s", " 每 {per} 秒,观察 {window} 秒"),
    "restores at": (", restores beyond {value}", ",越过 {value} 后恢复"),
    "after s": (", after {seconds} s", ",延时 {seconds} 秒"),
    "alpha is": ("alpha {alpha} for {people} people ({source})", "alpha {alpha},{people} 人({source})"),
    # vedette report
    "draft is": ("{path}, version {n}, sha256 {sha256}", "{path},第 {n} 版,sha256 {sha256}"),
    "draft copied": ("{out} is a copy of it", "副本:{out}"),
    "draft told": ("the journal has its hash", "哈希已记入日志"),
    "draft not told": (
        "the agent does not run: the journal is told of it when it starts",
        "代理未运行:启动时记入日志",
    ),
    "draft due": ("the county authority has to know by {due}", "须在 {due} 前报县级监管部门"),
    "draft blank": ("blank, for a person: {fields}", "空白待填:{fields}"),
    "draft full": ("nothing is blank", "没有空白"),
    # vedette evidence
    "piece protected": ("  protected by {who}", "  由 {who} 保护"),
    "piece lacks": ("  missing: {what}", "  缺失:{what}"),
    "piece of": ("{level} {rule} on {channel}", "{level} {rule},测点 {channel}"),
    "piece begun": ("not complete  ", "尚未完成      "),
    "pieces are": ("{n} pieces, {mb} MB in {shelf}", "{shelf} 中共 {n} 份,{mb} MB"),
    "piece is": (
        "{id}: {level} alarm {alarm}, rule {rule} on {channel}",
        "{id}:{level}报警 {alarm},规则 {rule},测点 {channel}",
    ),
    "piece kept": (
        "camera {camera}, decided {when}, kept from {begin} to {end} s; {masks} masks",
        "摄像机 {camera},判断于 {when},保留 {begin} 至 {end} 秒;{masks} 处遮挡",
    ),
    "clip is": (
        "clip {codec} {width} x {height}, {fps}/s, from {begin} s, of {pictures} pictures",
        "录像 {codec} {width} x {height},每秒 {fps} 帧,自 {begin} 秒起,共 {pictures} 帧",
    ),
    "clip not": ("no clip: {why}", "无录像:{why}"),
    "guarded by": ("protected by {who}{why}", "由 {who} 保护{why}"),
    "guarded for": (": {reason}", ":{reason}"),
    "piece changed": ("{id}: NOT as it was", "{id}:与原先不一致"),
    "piece whole": ("{id}: {n} files as they were, manifest {sha256}", "{id}:{n} 个文件均与原先一致,清单 {sha256}"),
    "piece not copied": ("{id}: NOT as it was; nothing was exported", "{id}:与原先不一致;未导出"),
    "piece copied": ("{id} is in {to}", "{id} 已导出到 {to}"),
    "piece guarded": ("{id} protected", "{id} 已保护"),
    "piece released": ("{id} released", "{id} 已解除保护"),
    "which piece": (
        "{deed} which? `vedette evidence list` shows them",
        "{deed} 哪一份?`vedette evidence list` 列出全部",
    ),
    "no piece": (
        "no evidence {id} in {shelf}; `vedette evidence list` shows what there is",
        "{shelf} 中没有证据 {id};`vedette evidence list` 列出全部",
    ),
    "no shelf": ("no evidence in {folder}", "{folder} 中没有证据"),
    "no journal": ("no journal in {folder}", "{folder} 中没有日志"),
    # vedette key, command
    "key is": ('key = "{key}"   # fingerprint {fingerprint}', 'key = "{key}"   # 指纹 {fingerprint}'),
    "key is there": (
        "{file} is there already; nothing was overwritten",
        "{file} 已存在;未覆盖",
    ),
    "c-accepted": ("accepted", "已接受"),
    "c-executing": ("executing", "执行中"),
    "c-successful": ("successful", "执行成功"),
    "c-failed": ("failed", "执行失败"),
    "c-rejected": ("rejected", "已拒绝"),
    "c-expired": ("expired", "已过期"),
    "command because": (" ({reason})", "({reason})"),
    "command says": (": {text}", ":{text}"),
    "command anew": (
        "make it anew, for all to sign, with --challenge={challenge}",
        "须以 --challenge={challenge} 重新生成,并由全部人员签名",
    ),
    "no end": (
        "command {id}: no end of it in {seconds} s; ask the node before sending another",
        "指令 {id}:{seconds} 秒内没有结果;再次发送前请先查询节点",
    ),
    "who signs": ("who signs? give --as NAME and --key FILE", "由谁签名?请给出 --as NAME 和 --key FILE"),
    "whom for": ("whom is it for? give --to SITE/NODE", "发给哪个节点?请给出 --to SITE/NODE"),
    "which envelope": ("{deed} which envelope? give its file, or -", "{deed} 哪条指令?请给出文件,或 -"),
    "first fault": ("FIRST {fault}", "首处 {fault}"),
    "and n more": ("and {n} more", "另有 {n} 处"),
    "broken journal": ("broken", "已损坏"),
    "whole journal": ("whole", "完整"),
}


class Said(Words):
    """The texts of one language: those of the page, and those of the command line."""

    def __call__(self, key: str, /, **facts: object) -> str:
        pair = MORE.get(key)
        return super().__call__(key, **facts) if pair is None else pair[self._i].format(**facts)

    def column(self, level: Level) -> str:
        """A level, as wide as any other."""
        return f"{level:6}" if self.language == "en" else self.level(level)

    def fault(self, text: str) -> str:
        """What is wrong with a site file, the world, or what was asked for. English says it as it was told."""
        if self.language == "en":
            return text
        row = answers.found(text)
        if row is not None and answers.HAN.search(row[0]):
            return self.answer(text)
        from .faults_zh import said

        return told if (told := said(text)) != text else self.answer(text)


def said_to(args: argparse.Namespace) -> Said:
    """The texts in the language of whoever asks; a program is answered in English."""
    return Said("en") if args.json else told_to(args)


def told_to(args: argparse.Namespace) -> Said:
    """The texts in the language of people, be it that a program asks as well."""
    return Said(terminal.language(args, terminal.of_site(args)))
