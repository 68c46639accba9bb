"""Everything that is written on the page, in English and Chinese. Sentences of alarms are those of `core/words.py`."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from ..core.alarm import Level
from ..core.words import LANGUAGES, Language, number
from . import answers

DOUBT = "?"  # behind a time that was taken while the clock was not trusted

TEXTS: Mapping[str, tuple[str, str]] = {  # English, Chinese
    # frame of each page
    "site": ("Site", "现场"),
    "alarms": ("Alarms", "报警"),
    "channels": ("Channels", "测点"),
    "history": ("History", "历史"),
    "lines": ("Lines", "线路"),
    "uplinks": ("Uplinks", "上行"),
    "cameras": ("Cameras", "摄像机"),
    "evidence": ("Evidence", "证据"),
    "commission": ("Commissioning", "调试"),
    "system": ("System", "系统"),
    "more": ("More", "更多"),
    "skip": ("Skip to content", "跳到内容"),
    "menu": ("Pages", "页面"),
    "language": ("中文", "English"),
    "log in": ("Log in", "登录"),
    "log out": ("Log out", "退出"),
    "live": ("live", "实时"),
    "connecting": ("connecting", "连接中"),
    "old": ("Nothing has come for {s} s. What you see is old.", "已 {s} 秒没有收到新数据,当前显示的是旧数据。"),
    "no script": (
        "Without scripts this page shows one moment: load it again for a newer one.",
        "未启用脚本:本页只显示加载时刻的数据,请刷新。",
    ),
    "supplement": (
        "A supplement to certified safety systems, never one of them.",
        "对经认证安全系统的补充,不能替代它们。",
    ),
    "unsure": ("the clock was not trusted then", "当时时钟不可信"),
    "none": ("none", "无"),
    "nothing": ("Nothing here.", "没有内容。"),
    "yes": ("yes", "是"),
    "no": ("no", "否"),
    # levels and shapes
    "red": ("red", "红色"),
    "orange": ("orange", "橙色"),
    "yellow": ("yellow", "黄色"),
    "blue": ("blue", "蓝色"),
    # alarms
    "no alarms": ("No alarms", "无报警"),
    "all quiet": ("All {n} channels are within their limits.", "全部 {n} 个测点均在限值内。"),
    "unseen": ("{n} not acknowledged", "{n} 个未确认"),
    "standing": ("Standing", "持续报警"),
    "state": ("State", "状态"),
    "level": ("Level", "级别"),
    "what": ("What", "内容"),
    "since": ("Since", "开始"),
    "value": ("Value", "数值"),
    "limit": ("Limit", "限值"),
    "where": ("Channel", "测点"),
    "rule": ("Rule", "规则"),
    "basis": ("Basis", "依据"),
    "first": ("first", "首出"),
    "first out": ("First of its group", "本组首出报警"),
    "after": ("after {first}", "在 {first} 之后"),
    "folded": ("{n} more shown under this one", "此报警下另有 {n} 个"),
    "advice": ("What to do", "处置建议"),
    "because": ("Why", "原因"),
    "acknowledge": ("Acknowledge", "确认"),
    "shelve": ("Shelve", "搁置"),
    "shelve hint": (
        "Silences it for a while, at most a shift. Never red, never an interlock.",
        "在一段时间内静默,最长一个班次。红色报警和联锁不得搁置。",
    ),
    "take-out": ("Take out of service", "停用"),
    "take-out hint": (
        "Nothing is annunciated and nothing held until it is restored. Needs a permit, and a measure in its place.",
        "恢复前不报警、不保持输出。须有工作票和替代措施。",
    ),
    "restore": ("Restore", "恢复"),
    "reset": ("Reset", "复位"),
    "withdraw": ("Withdraw", "撤销"),
    "demand": ("Demand", "手动动作"),
    "reason": ("Reason", "原因"),
    "permit": ("Reason, or number of the permit", "原因或工作票编号"),
    "for": ("For", "时长"),
    "hours": ("{n} h", "{n} 小时"),
    "minutes": ("{n} min", "{n} 分钟"),
    "details": ("Details", "详情"),
    "put away": ("Shelved, suppressed, out of service", "已搁置、已抑制、已停用"),
    "until": ("Until", "至"),
    "by": ("By", "操作人"),
    "life": ("What became of it", "经过"),
    "gone": ("This alarm is over, or was never here.", "该报警已结束或不存在。"),
    "log in to act": ("Log in to acknowledge, shelve or reset.", "登录后可确认、搁置或复位。"),
    "done": ("Done: {what}.", "已执行:{what}。"),
    "refused": ("Not done: {why}.", "未执行:{why}。"),
    "drill": ("drill", "演练"),
    # states
    "active-unacked": ("active, unacknowledged", "激活,未确认"),
    "active-acked": ("active, acknowledged", "激活,已确认"),
    "returned-unacked": ("over, unacknowledged", "已恢复,未确认"),
    "latched-unacked": ("over, latched, unacknowledged", "已恢复,自锁,未确认"),
    "latched-acked": ("over, latched until reset", "已恢复,待复位"),
    "shelved": ("shelved", "已搁置"),
    "suppressed": ("suppressed by design", "设计抑制"),
    "out-of-service": ("out of service", "已停用"),
    "normal": ("normal", "正常"),
    # edges
    "raised": ("raised", "触发"),
    "cleared": ("cleared", "解除"),
    "acknowledged": ("acknowledged", "确认"),
    "re-alarmed": ("annunciated again", "再次报警"),
    "taken-out": ("taken out of service", "停用"),
    "restored": ("restored", "恢复"),
    "level-up": ("level up", "升级"),
    "level-down": ("level down", "降级"),
    # quality
    "quality": ("Quality", "质量"),
    "age": ("Age", "数据龄"),
    "q0": ("good", "正常"),
    "q1": ("uncertain", "存疑"),
    "q2": ("over range", "超量程"),
    "q3": ("calibrating", "标校"),
    "q4": ("stale", "过期"),
    "q5": ("faulty", "故障"),
    "q6": ("offline", "离线"),
    # site, channels
    "items": ("Items by colour", "风险分级"),
    "sources": ("Sources", "数据源"),
    "points": ("{n} channels", "{n} 个测点"),
    "blind": ("{n} unseen", "{n} 个无可信数据"),
    "missing": ("For a lower colour", "降级条件"),
    "range": ("Range", "量程"),
    "trend": ("Trend", "趋势"),
    "last hour": ("last hour", "最近一小时"),
    "find": ("Find", "查找"),
    "all": ("all", "全部"),
    "only alarms": ("only what is wrong", "仅异常"),
    "of": ("{a}–{b} of {n}", "{a}–{b} / {n}"),
    "next": ("next", "下一页"),
    "previous": ("previous", "上一页"),
    "no trend": (
        "No trend is kept of this source: [web] trend_mb is used up.",
        "该数据源未保留趋势:[web] trend_mb 已用尽。",
    ),
    "no values": ("No values in this time.", "该时段无数据。"),
    "zoom": ("Drag across to look closer.", "拖动可放大。"),
    "zoom in": ("closer", "放大"),
    "zoom out": ("wider", "缩小"),
    "earlier": ("earlier", "更早"),
    "later": ("later", "更晚"),
    "now": ("now", "现在"),
    "1h": ("1 h", "1 小时"),
    "24h": ("24 h", "24 小时"),
    "7d": ("7 d", "7 天"),
    "every value": ("every value of the ring", "环形存储中的全部数值"),
    "stretches": ("lowest and highest of {s} each", "每 {s} 的最低与最高值"),
    "rules here": ("Watched by", "监测规则"),
    "derived": ("reckoned by a detector", "由检测器计算"),
    "high": ("at or above", "≥"),
    "low": ("at or below", "≤"),
    "lowest": ("Lowest", "最低"),
    "highest": ("Highest", "最高"),
    "driver": ("Driver", "驾驶员"),
    "score": ("Fatigue score", "疲劳评分"),
    "score hint": ("1 awake, 10 not; a warning from 6", "1 清醒,10 最差;6 起提醒"),
    # history
    "when": ("When", "时间"),
    "edge": ("What happened", "事件"),
    "text": ("Text", "内容"),
    "older": ("older", "更早"),
    "looked": ("{n} records looked at; older ones: vedette audit", "已查阅 {n} 条记录;更早的记录请用 vedette audit"),
    "filter": ("Filter", "筛选"),
    "from": ("from", "起"),
    "to": ("to", "止"),
    # lines
    "line": ("Line", "线路"),
    "device": ("Device", "设备"),
    "unit": ("Unit", "地址"),
    "answered": ("Round trip", "往返时间"),
    "worst": ("worst {ms}", "最长 {ms}"),
    "errors": ("Errors", "错误"),
    "time-outs": ("{p} % time-outs", "{p} % 超时"),
    "garbled": ("{p} % garbled", "{p} % 乱码"),
    "refusals": ("{p} % refused", "{p} % 被拒绝"),
    "no errors": ("none", "无"),
    "breaker": ("Breaker", "熔断器"),
    "closed": ("polled", "正常轮询"),
    "open": ("probed only", "仅探测"),
    "hint": ("What to check", "检查建议"),
    "outputs": ("Outputs", "输出"),
    "wanted": ("wanted", "期望"),
    "on": ("on", "开"),
    "off": ("off", "关"),
    "armed": ("armed", "已启用"),
    "not armed": ("not armed", "未启用"),
    "wiring": ("Wiring", "接线"),
    "coach lost": ("check power, address and the wires A and B", "检查电源、地址和 A、B 线"),
    "coach never": (
        "has not answered since the line was opened: check address, baud rate, parity, and whether A and B are swapped",
        "线路打开后从未应答:检查地址、波特率、校验位,以及 A、B 是否接反",
    ),
    "coach all": (
        "nobody on this line answers: check the adapter, A and B swapped, baud rate and parity",
        "整条线路无应答:检查转换器、A/B 是否接反、波特率和校验位",
    ),
    "coach silent": ("check termination, bias and cable length", "检查终端电阻、偏置和线缆长度"),
    "coach garbled": (
        "check shield and termination, and whether two devices have the same address",
        "检查屏蔽与终端电阻,以及是否有两台设备地址相同",
    ),
    "coach garbled all": (
        "all answer damaged: bias and termination at both ends, shield to earth at one end, baud rate, drives nearby",
        "全部设备应答损坏:检查偏置与两端终端电阻、屏蔽单端接地、波特率、附近变频器",
    ),
    "coach noise": (
        "bytes come, but none that fit: check baud rate and parity, and whether two devices have the same address",
        "有字节但不成帧:检查波特率与校验位,以及是否有两台设备地址相同",
    ),
    "coach silent one": (
        "the others answer: check its plug, its stub (short) and its supply",
        "其他设备正常:检查其插头、分支线(应短)与供电",
    ),
    "coach refused": (
        "check the register list: the device does not know some of it",
        "检查寄存器表:设备不认识其中一部分",
    ),
    "coach slow": ("answers late: lengthen timeout", "应答过慢:请加长 timeout"),
    "coach tcp": ("check network, port and unit", "检查网络、端口和单元号"),
    "coach line": ("the line cannot be opened: {why}", "线路无法打开:{why}"),
    # uplinks
    "kind": ("Language", "协议"),
    "up": ("connected", "已连接"),
    "down": ("not connected", "未连接"),
    "unknown": ("not yet", "尚未"),
    "lane": ("Lane", "通道"),
    "waiting": ("Waiting", "待发"),
    "oldest": ("Oldest", "最旧"),
    "dropped": ("Dropped", "丢弃"),
    "alarm": ("alarms", "报警"),
    "event": ("events", "事件"),
    "telemetry": ("telemetry", "遥测"),
    "backfill": ("backlog", "补传"),
    "no uplinks": ("No [[uplink]] in the site file: nobody else is told.", "现场文件中没有 [[uplink]]:不会上报。"),
    # cameras, evidence
    "camera": ("Camera", "摄像机"),
    "still": ("still", "画面"),
    "no still": (
        "No picture is kept of this camera: [bus.evidence] keeps some.",
        "该摄像机未保留画面:可在 [bus.evidence] 中配置。",
    ),
    "fps": ("Pictures", "帧率"),
    "looks for": ("Looks for", "识别任务"),
    "last events": ("Last events", "最近事件"),
    "pictures for": ("Log in to see pictures.", "登录后可查看画面。"),
    "no cameras": ("No camera in the site file.", "现场文件中没有摄像机。"),
    "clip": ("Clip", "录像"),
    "stills": ("Stills", "静态画面"),
    "size": ("Size", "大小"),
    "protected": ("protected by {who}", "由 {who} 保护"),
    "protect": ("Protect", "保护"),
    "release": ("Release", "解除保护"),
    "not complete": ("not complete yet", "尚未完成"),
    "files": ("Files", "文件"),
    "manifest": ("SHA-256 of the manifest", "清单 SHA-256"),
    "its alarm": ("Alarm", "所属报警"),
    "lacks": ("Missing", "缺失"),
    "kept": ("Kept", "范围"),
    # system
    "agent": ("Agent", "代理"),
    "version": ("Version", "版本"),
    "boot": ("Boot", "启动编号"),
    "config": ("Configuration", "配置"),
    "journal": ("Journal of decisions", "决策日志"),
    "head": ("Newest record", "最新记录"),
    "checksum": ("Its checksum", "校验值"),
    "lost": ("Lost", "丢失"),
    "trouble": ("Trouble", "故障"),
    "sound": ("in order", "正常"),
    "store": ("Store", "存储"),
    "segments": ("Segments", "分段"),
    "load": ("Alarm load", "报警负荷"),
    "in 10 min": ("Raised in 10 min", "10 分钟内触发"),
    "stale": ("Standing for more than a day", "持续超过一天"),
    "chattering": ("Chattering points", "抖动测点"),
    "flood": ("Flood", "报警泛滥"),
    "top": ("Most frequent in 24 h", "24 小时内最频繁"),
    "share": ("Share of the ten", "前十占比"),
    "target": ("Target", "目标"),
    "rules off": ("Rules of the agent that are switched off", "已停用的网关自检规则"),
    "vitals": ("Vitals", "运行指标"),
    "events": ("Events", "事件"),
    "hazards": ("Major hazards", "重大危险源"),
    "clock": ("Clock", "时钟"),
    "trusted": ("trusted", "可信"),
    "doubted": ("not trusted", "不可信"),
    # commissioning
    "reference": ("Reference reading", "标准值"),
    "reference hint": ("calibration gas, gauge or simulator", "标准气体、标准表或模拟器"),
    "tolerance": ("Tolerance", "允差"),
    "note": ("Note", "备注"),
    "record": ("Record this reading", "记录此读数"),
    "deviation": ("Deviation", "偏差"),
    "within": ("within", "合格"),
    "beyond": ("beyond", "不合格"),
    "report": ("Report", "报告"),
    "print": ("Print", "打印"),
    "commissioning report": ("Commissioning report", "调试报告"),
    "printed": ("Printed", "打印时间"),
    "signed": ("Signed by the gateway", "网关签名"),
    "unsigned": ("Not signed: the gateway has no key.", "未签名:网关没有密钥。"),
    "signature": ("Signature", "签名"),
    "signature hand": ("Name, date, signature", "姓名、日期、签字"),
    "steady": ("steady", "稳定"),
    "unsteady": ("not steady yet", "尚未稳定"),
    "spread": ("Spread of the last minute", "最近一分钟波动"),
    "gas warning": (
        "Calibration gas raises real alarms and trips: take its rules out of service first, under a permit.",
        "标准气体会触发真实报警和联锁:请先凭工作票停用该测点的规则。",
    ),
    "untested": ("not tested", "未测试"),
    "raw": ("Raw", "原始值"),
    "last test": ("Last test", "最近测试"),
    # login
    "name": ("Name", "姓名"),
    "password": ("Password", "密码"),
    "bad login": ("Name and password do not fit.", "姓名或密码错误。"),
    "too often": ("Too many tries. Wait {s} s.", "尝试次数过多,请等待 {s} 秒。"),
    "no people": (
        "Nobody can log in yet. On the gateway: vedette passwd NAME",
        "尚无可登录人员。请在网关上执行:vedette passwd NAME",
    ),
    "no tls": (
        "Logging in from another machine needs TLS: set certificate and key in [web].",
        "从其他机器登录需要 TLS:请在 [web] 中设置 certificate 和 key。",
    ),
    # vedette passwd
    "nobody may": ("nobody yet: vedette passwd NAME", "尚无人员:vedette passwd 姓名"),
    "may no longer": ("{name} may act no longer", "{name} 不得再操作"),
    "may act": ("{name} may act on the page", "{name} 可在页面上操作"),
    "no web": ("; the site file has no [web] yet", ";现场文件中尚无 [web]"),
    # errors
    "not found": ("There is no such page.", "页面不存在。"),
    "forbidden": ("Not allowed.", "不允许。"),
    "logged out": (
        "Nothing was done: nobody is logged in here (any more). Log in, and do it again.",
        "未执行:尚未登录,或登录已失效。请重新登录后再操作。",
    ),
    "busy": ("Too much at once. Try again in a moment.", "请求过多,请稍后再试。"),
    "broken": ("This page could not be made; the agent goes on. It was noted.", "页面生成失败,代理仍在运行。已记录。"),
}


class Words:
    """The texts of one language."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._i = LANGUAGES.index(language)

    def __call__(self, key: str, /, **facts: object) -> str:
        """The text; a key that is none says itself."""
        pair = TEXTS.get(key)
        text = pair[self._i] if pair is not None else key
        return text.format(**facts) if facts else text

    def answer(self, text: str) -> str:
        """What the agent answers to whoever wants something done; what is not in `ANSWERS` stays as it is.

        >>> Words("zh").answer("it is shelved: there is nothing to shelve")
        '当前状态为“已搁置”,无需搁置'
        """
        row = answers.found(text) if self.language == "zh" else None
        if row is None:
            return text
        chinese, facts = row
        said = {name: self(fact) if name in answers.WORDS else fact for name, fact in facts.items()}
        return chinese.format(**said | ({"why": self.answer(facts["why"])} if "why" in facts else {}))

    def level(self, level: Level) -> str:
        return self(level)

    def quality(self, quality: int) -> str:
        return self(f"q{quality}")

    def span(self, seconds: float) -> str:
        """A stretch of time, as short as it can be said.

        >>> Words("en").span(7), Words("en").span(95), Words("zh").span(7200), Words("en").span(float("nan"))
        ('7 s', '1.6 min', '2 小时', '–')
        """
        if math.isnan(seconds):
            return "–"
        for most, unit, en, zh in ((90, 1, "s", "秒"), (5400, 60, "min", "分钟"), (172800, 3600, "h", "小时")):
            if seconds < most:
                return f"{_short(seconds / unit)} {(en, zh)[self._i]}"
        return f"{_short(seconds / 86400)} {('d', '天')[self._i]}"

    def value(self, value: float) -> str:
        """A number, or a dash."""
        return "–" if math.isnan(value) else number(value)


def _short(x: float) -> str:
    return f"{x:.0f}" if x >= 9.95 or abs(x - round(x)) < 0.05 else f"{x:.1f}"


def full(wall: float) -> str:
    """A moment in full, on this machine's clock."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall))


def clock_text(wall: float, now: float, seconds: bool = True) -> str:
    """A moment on this machine's clock: the date only where it is not today."""
    then, today = time.localtime(wall), time.localtime(now)
    form = "%H:%M:%S" if seconds else "%H:%M"
    return time.strftime(form if then[:3] == today[:3] else f"%m-%d {form}", then)
