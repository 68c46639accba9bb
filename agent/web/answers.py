"""What the agent answers to whoever wants something done, in Chinese: English text, Chinese text.

Logs, JSON, journal and platforms have the one English text; where people read it, `Words.answer` says it in theirs.
A blank that is called `state`, `verb` or `level` is a word of ours, `why` another answer, and what stands in any other
is left as it is. The first row that fits says it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from ..core.words import LOWER

HAN = re.compile("[一-鿿]")
LONGEST = 500  # signs of an answer; beyond, patterns would take their time, and the gas waits
WORDS = ("state", "verb", "level")  # as `texts.py` has them

ANSWERS: Mapping[str, str] = {
    # whoever acts has a name
    "{why} give --by NAME": "{why}请给出 --by 姓名",
    "who acknowledges?": "由谁确认?",
    "who does it?": "由谁操作?",
    "who drills?": "由谁演练?",
    # alarms and points
    "no open alarm has the id {id}": "没有编号为 {id} 的未结束报警",
    "{id} was acknowledged already, by {who}": "{id} 已由 {who} 确认",
    "who does it? a name is needed": "由谁操作?须给出姓名",
    "no rule {rule} watches {channel}": "没有规则 {rule} 监测 {channel}",
    "{rule} is not manual: {verb} does not apply": "{rule} 不是手动规则,不能{verb}",
    "{rule} is manual: {verb} does not apply": "{rule} 是手动规则,不能{verb}",
    "why? a reason is needed, or the number of the permit": "须说明原因,或给出工作票编号",
    "a red alarm or an interlock is never shelved; take it out of service, under a permit": (
        "红色报警和联锁不得搁置;请凭工作票停用"
    ),
    "shelving ends within a shift: more than 0, at most {hours} h": ("搁置不得超过一个班次:须大于 0,最长 {hours} 小时"),
    "it is suppressed by design, while one of these fails: {conditions}": (
        "按设计抑制,直至下列条件均满足:{conditions}"
    ),
    "it is {state}: there is nothing to {verb}": "当前状态为“{state}”,无需{verb}",
    "{output} is demanded by others: {alarms}": "{output} 仍由其他报警保持:{alarms}",
    "an item is neither shelved nor taken out: {verb} what it is made of": ("单元不能搁置或停用;请对其所属测点{verb}"),
    "it has no colour: there is nothing to reset": "该单元无预警,无需复位",
    "it is {level}, and falls by itself once the lower state has held": (
        "当前为{level},较低状态保持足够时间后自行降级"
    ),
    "it is still {level}: {why}": "当前仍为{level}:{why}",
    **{LOWER["en"][row]: LOWER["zh"][row] for row in ("parts", "points", "wait")},
    "--hours {n}: a number is expected": "--hours {n}:须为数字",
    # persons and zones
    "{person} is no id of a person; letters, digits, . _ - and at most 64 of them": (
        "{person} 不是人员编号;只能用字母、数字、. _ -,最多 64 个字符"
    ),
    "no zone is called {zone}; zones: {zones}": "没有名为 {zone} 的区域;现有:{zones}",
    "{person} is in no zone": "{person} 不在任何区域内",
    "{n} persons are in; no more can be followed": "区域内已有 {n} 人,不能再跟踪更多人员",
    "no [[zone]] in the site file: nobody can be in one": "现场文件中没有 [[zone]],没有可进入的区域",
    "where is {person}? give a zone, or `out`": "{person} 在何处?请给出区域,或 `out`",
    # commissioning, evidence
    "no channel is called {channel}": "没有名为 {channel} 的测点",
    "who compares? a name is needed": "由谁比对?须给出姓名",
    "reference and tolerance are numbers, the tolerance not below 0": "标准值和允差须为数字,允差不得小于 0",
    "{channel} shows nothing: there is nothing to compare": "{channel} 无读数,无法比对",
    "{channel} shows {value}, reference {reference}: {state} {tolerance}": (
        "{channel} 示值 {value},标准值 {reference}:{state},允差 {tolerance}"
    ),
    "no camera of this site keeps evidence": "本现场没有保留证据的摄像机",
    "no evidence {id}; `vedette evidence list` shows what there is": ("没有证据 {id};`vedette evidence list` 列出全部"),
    "{n} MB of protected evidence are full: export and release some, or give it more": (
        "受保护证据的 {n} MB 已用满:请导出并解除一部分,或加大配额"
    ),
    # drills
    "a drill is under way; wait for it": "演练正在进行,请等待其结束",
    "no rule watches {name}: give RULE@CHANNEL, or the name of a rule or group that drives something": (
        "没有规则监测 {name}:请给出 RULE@CHANNEL,或有驱动输出的规则或组的名称"
    ),
    "{point} stands now: the chain is being proven for real": "{point} 正在报警:该链路正在真实动作中得到验证",
    "sensor": "传感器",
    "judgement": "判断",
    "output": "输出",
    "delivery": "送达",
    "heartbeat": "心跳",
    "ok": "正常",
    "failed": "失败",
    "not proven": "未验证",
    "stale": "过期",
    "uncertain": "存疑",
    "over range": "超量程",
    "calibrating": "标校",
    "faulty": "故障",
    "offline": "离线",
    "{rule} is no rule that a made-up reading can raise": "{rule} 不是可用模拟读数触发的规则",
    "{rule} waits for {seconds} s, too long beside its window to be rehearsed": (
        "{rule} 延时 {seconds} 秒,相对其窗口过长,无法演练"
    ),
    "not raised": "未触发",
    "not held: {outputs}": "未保持:{outputs}",
    "not armed, or nobody knows yet what it should be": "未启用,或尚不知其应有状态",
    "its line does not answer": "所在线路无应答",
    "refused": "被拒绝",
    "not acknowledged; it goes on being tried": "未得到确认,仍在重试",
    "no platform is configured": "未配置上级平台",
    "not armed": "未启用",
    "nothing was written": "未写入",
    # reload
    "this agent runs by {mine}, not by {file}": "本代理按 {mine} 运行,而不是 {file}",
    "another reload is under way": "另一次重新加载正在进行",
    "nothing done yet by {duties}; try again in a moment": "{duties} 尚未开始工作;请稍后再试",
    "{file}: {why}; try again later": "{file}:{why};请稍后再试",
    "a recording goes on as it began": "录制期间配置保持不变",
    "a configuration that came by a command is on trial": "由指令下达的配置正在试运行",
    "a drill is under way": "演练正在进行",
    "{file}: {why}: that needs a restart": "{file}:{why}:须重新启动",
    "{why}: that needs a restart": "{why}:须重新启动",
    "the site file is {new}, not {old}": "现场文件为 {new},不是 {old}",
    "[web] comes": "新增了 [web]",
    "[web] goes": "删除了 [web]",
    "[{table}] {name} is {now}, not {was}": "[{table}] {name} 由 {was} 改为 {now}",
    "{duties} does not end: the agent begins again, by the new file": "{duties} 不结束:代理按新文件重新启动",
    # commands: how they are judged
    "a recording obeys nobody": "录制期间不接受指令",
    "no command {id} is remembered": "没有指令 {id} 的记录",
    "{n} commands wait; send it again": "已有 {n} 条指令等待;请重新发送",
    "{n} commands are under way": "已有 {n} 条指令正在执行",
    "{n} bytes; at most {most}": "{n} 字节;最多 {most}",
    "this is no envelope: {error}": "不是有效的指令信封:{error}",
    "not signed by whom it names": "签名与署名人不符",
    "signed, but not understood: {error}": "签名有效,但内容无法理解:{error}",
    "issuer {name} did not sign it": "签发人 {name} 未签名",
    "for {device}, this is {here}": "该指令发给 {device},本节点是 {here}",
    "{name} may not {deed}": "{name} 无权下达 {deed}",
    "{deed} takes the signatures of two people": "{deed} 须有两人签名",
    "counter {n} of {name} was used, or a later one": "{name} 的计数 {n} 已用过,或已用过更大的计数",
    "it must expire within {seconds} s of being issued": "有效期不得超过签发后 {seconds} 秒",
    "this node's clock cannot be trusted: sign it again with the challenge": "本节点时钟不可信:请附质询码重新签名",
    "{seconds} s too late": "已过期 {seconds} 秒",
    "issued {seconds} s from now: one clock is wrong": "签发时间在 {seconds} 秒之后:有一方时钟有误",
    "issued before this node began to remember commands": "签发时间早于本节点开始记录指令之时",
    "it must say which configuration it replaces": "须说明所替换的配置",
    "for configuration {wanted}; in force is {now}": "该指令针对配置 {wanted},当前生效的是 {now}",
    "it cannot be written down, so it is not done: {why}": "无法写入磁盘,故未执行:{why}",
    "the agent ended while it was under way; nobody knows whether it was done: look before asking again": (
        "执行期间代理曾退出,不知是否已执行:再次下达前请先查看"
    ),
    # commands: what became of them
    "{why}; not on the disk yet": "{why};尚未写入磁盘",
    "acknowledged {id}": "已确认 {id}",
    "{verb}: {rule}@{channel}": "{verb}:{rule}@{channel}",
    "drill of {name}: {why}": "演练 {name}:{why}",
    "every link is proven": "各环节均已验证",
    "NOT proven": "未通过验证",
    "every source is told whole at its next poll": "各数据源将在下次采集时全部上报",
    "{rule} has the limit of the configuration": "{rule} 的限值即为配置值",
    "there is no such rule": "没有该规则",
    "the limit of {rule} cannot be set: no [[settable]] names it": "{rule} 的限值不可调整:[[settable]] 中没有该规则",
    "the limit of {rule} may be set from {low} to {high}, not to {limit}": (
        "{rule} 的限值可在 {low} 至 {high} 之间调整,不能设为 {limit}"
    ),
    "{limit} is looser than {legal}, which is in the profile of {rule}": (
        "{limit} 比 {rule} 所依据规范中的 {legal} 宽松"
    ),
    "the limit of {rule} is {old}, not {was}": "{rule} 的限值为 {old},不是 {was}",
    "limit of {rule}: {new}, was {old}": "{rule} 的限值:{new},原为 {old}",
    "to which uplink? {uplinks}": "发往哪个上行?{uplinks}",
    "`to` comes before `from`": "`to` 早于 `from`",
    "an event `range` says what comes to {uplink}, and what does not": (
        "将发往 {uplink} 以及无法发送的内容见事件 `range`"
    ),
    "no camera {camera} keeps pictures; there are: none": "摄像机 {camera} 不保留画面;没有保留画面的摄像机",
    "no camera {camera} keeps pictures; there are: {cameras}": "摄像机 {camera} 不保留画面;可用:{cameras}",
    "a clip is longer than 0 and at most {seconds} s": "录像时长须大于 0,最长 {seconds} 秒",
    "a clip may end {seconds} s from now at most": "录像结束时间最多在 {seconds} 秒之后",
    "no manifest of {id} in time; an event `evidence-left-out` may say why": (
        "{id} 的清单未按时生成;原因可见事件 `evidence-left-out`"
    ),
    "evidence {id}": "证据 {id}",
    "another configuration is on its way": "另一份配置正在下发",
    "{folder} cannot be written: {why}; see ReadWritePaths in systemd/vedette.service": (
        "{folder} 不可写:{why};见 systemd/vedette.service 中的 ReadWritePaths"
    ),
    "{file} is a symbolic link: whoever made it replaces what it points to": (
        "{file} 是符号链接:须由建立者替换其所指文件"
    ),
    "{n} faults; nothing was replaced: {why}": "{n} 处错误;未替换:{why}",
    "nothing was replaced: {why}": "未替换:{why}",
    "{key} is {new}, not {old}: that is changed on the machine itself": "{key} 为 {new},不是 {old}:只能在本机上更改",
    "{file} was changed on this machine since the agent read it; `vedette reload` first": (
        "代理读取后 {file} 在本机上被改动;请先执行 `vedette reload`"
    ),
    "the check did not end in {seconds} s": "检查未在 {seconds} 秒内结束",
    "the check ended with {code}": "检查以退出码 {code} 结束",
    "configuration {config} is in force as before: {why}": "仍按原配置 {config} 运行:{why}",
    "configuration {config} is in force": "配置 {config} 已生效",
    "not ready in {seconds} s: {why}": "{seconds} 秒内未就绪:{why}",
    "nothing done yet by {duties}": "{duties} 尚未开始工作",
    "uplink {name}, by which it came, is not connected": "下达所经上行 {name} 未连接",
    # logging in
    "{file}: others may read it; chmod 600 {same}": "{file}:他人可读;请执行 chmod 600 {same}",
    "{file}: {error}; delete it and give the passwords anew": "{file}:{error};请删除后重新设置密码",
    # whatever was asked
    "unknown verb {verb}; known: {verbs}": "未知请求 {verb};已知:{verbs}",
    "not understood: {error}": "无法理解:{error}",
    # the machine
    "No space left on device": "磁盘空间已满",
    "Read-only file system": "文件系统只读",
    "Input/output error": "磁盘读写错误",
    "Disk quota exceeded": "磁盘配额已用尽",
    "Permission denied": "权限不足",
    "No such file or directory": "没有该文件或目录",
    "[Errno {n}] {why}: {file}": "{file}:{why}",
    "[Errno {n}] {why}": "{why}",
    "{output} on: {why}": "{output} 开:{why}",
    "{output} off: {why}": "{output} 关:{why}",
    "no such output here": "此处没有该输出",
    "not armed; set armed = true to allow it": "未启用;须设置 armed = true",
    "verify = false: what stands there cannot be read": "verify = false:无法回读其状态",
    "too late": "已过时",
    "decided without a poll of {sources}": "决定时尚未采集 {sources}",
    "{what}: {why}": "{what}:{why}",
}


def _blank(name: str) -> str:
    return rf"(?P<{name}>[\w-]+)" if name in WORDS else f"(?P<{name}>.*?)"


def _pattern(english: str) -> re.Pattern[str]:
    pieces = re.split(r"\{(\w+)\}", english)
    return re.compile("".join(_blank(p) if i % 2 else re.escape(p) for i, p in enumerate(pieces)), re.DOTALL)


@cache
def _patterns() -> dict[re.Pattern[str], str]:
    """Made when somebody reads Chinese: twenty ms of a PC."""
    return {_pattern(english): chinese for english, chinese in ANSWERS.items()}


def found(text: str) -> tuple[str, dict[str, str]] | None:
    """The Chinese text with its blanks, and what belongs into them; None where nobody knows this answer.

    >>> found("no open alarm has the id 7-1")
    ('没有编号为 {id} 的未结束报警', {'id': '7-1'})
    """
    for pattern, chinese in _patterns().items() if len(text) <= LONGEST else ():
        if (fits := pattern.fullmatch(text)) is not None:
            facts = fits.groupdict()
            if "why" not in facts or HAN.search(chinese) or found(facts["why"]) is not None:
                return chinese, facts
    return None
