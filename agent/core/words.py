"""Sentences that people read, one table per language, looked up by kind of rule and event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")

RAISED: dict[str, dict[str, str]] = {
    "en": {
        "high": "{channel} at {value} {unit}, limit {limit} {unit} ({basis})",
        "low": "{channel} down to {value} {unit}, limit {limit} {unit} ({basis})",
        "rate": "{channel} moves {value} {unit} in {per} s, limit {limit} {unit} ({basis})",
        "deviation": "{channel} is {value} {unit} away from its neighbours, limit {limit} {unit} ({basis})",
        "frozen": "{channel} has not moved for {value} s: check the sensor",
        "feedback": "{channel} contradicts the order to {output}",
        "expect": "{channel} is {reading}, should be {expect} ({basis})",
        "doubt": "{channel} is not to be believed: {lie}",
        "anomaly": "{channel} is not as it used to be: {because}",
        "manual": "{output} on by {by}: {reason}",
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
        "expect": "{channel} 当前 {reading},应为 {expect}({basis})",
        "doubt": "{channel} 数据可疑:{lie}",
        "anomaly": "{channel} 与其历史不符:{because}",
        "manual": "{output} 由 {by} 手动动作:{reason}",
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
        "expect": "{channel} is as it should be again",
        "doubt": "{channel} looks sound again",
        "anomaly": "{channel} is as it used to be, or this is the new normal",
        "vote": "{channel} and others: only {value} still beyond the limit",
        "silence": "{channel} is read again",
        "fault": "{channel} is good again",
        "orphan": "{channel}: its rule is no longer configured",
        "forgotten": "{channel}: what was known of this exposure is lost; it is judged anew",
    },
    "zh": {
        "*": "{channel} 恢复正常,当前 {value} {unit}",
        "deviation": "{channel} 与相邻测点恢复一致",
        "frozen": "{channel} 恢复变化",
        "feedback": "{channel} 与指令恢复一致",
        "expect": "{channel} 恢复正常状态",
        "doubt": "{channel} 数据恢复正常",
        "anomaly": "{channel} 恢复常态,或已成为新的常态",
        "vote": "{channel} 等测点中仅 {value} 个仍超限",
        "silence": "{channel} 恢复数据",
        "fault": "{channel} 质量恢复正常",
        "orphan": "{channel}:对应规则已从配置中移除",
        "forgotten": "{channel}:此前的接触记录已丢失,重新判定",
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
        "withdrawn": "{channel}: {rule} withdrawn by {by}",
        "re-alarmed": "{channel}: {rule} was acknowledged and still stands",
    },
    "zh": {
        "acknowledged": "{channel} 已由 {by} 确认",
        "reset": "{channel}:{rule} 已由 {by} 复位",
        "shelved": "{channel}:{rule} 由 {by} 搁置:{reason}",
        "suppressed": "{channel}:{rule} 当前不适用",
        "taken-out": "{channel}:{rule} 由 {by} 停用:{reason}",
        "restored": "{channel}:{rule} 恢复生效 {by}",
        "expired": "{channel}:{rule} 搁置期满,恢复生效",
        "withdrawn": "{channel}:{rule} 由 {by} 撤销",
        "re-alarmed": "{channel}:{rule} 确认后仍未解除,再次报警",
    },
}

# The colour of an item.
COLOURED: dict[str, dict[str, str]] = {
    "en": {
        "raised": "{channel} is {after}: {counts}{unseen} {basis}",
        "level-up": "{channel} from {before} up to {after}: {counts}{unseen} {basis}",
        "level-down": "{channel} from {before} down to {after}: {counts}{unseen} {basis}",
        "cleared": "{channel} from {before} back to normal{unseen}",
        "released": "{channel} released by {by} from {before} to {after}: {counts}{unseen} {basis}",
    },
    "zh": {
        "raised": "{channel} {after}预警:{counts}{unseen} {basis}",
        "level-up": "{channel} 由{before}预警升为{after}预警:{counts}{unseen} {basis}",
        "level-down": "{channel} 由{before}预警降为{after}预警:{counts}{unseen} {basis}",
        "cleared": "{channel} {before}预警解除{unseen}",
        "released": "{channel} 由 {by} 解除{before}预警,现为{after}:{counts}{unseen} {basis}",
    },
}
NONE = {"en": "none", "zh": "无预警"}
LOWER: dict[str, dict[str, str]] = {  # what is missing for a lower colour
    "en": {
        "person": "a named person resets it, to {after}",
        "parts": "release {parts} first",
        "points": "its points must get better first",
        "wait": "the lower state must hold for {whole} min, {wait} more",
    },
    "zh": {
        "person": "须由具名人员解除,解除后为{after}",
        "parts": "须先解除 {parts}",
        "points": "须待所属测点先好转",
        "wait": "较低状态须保持 {whole} 分钟,还需 {wait} 分钟",
    },
}
UNSEEN = {"en": ", {n} unseen", "zh": ",{n} 个测点无可信数据"}

# What people breathe: alarms by metric, and the record of an account.
BREATHED: dict[str, dict[str, str]] = {
    "en": {
        "twa": "{who}: {substance}, mean over 8 h {value} {unit}, limit {limit} {unit} ({basis})",
        "stel": "{who}: {substance}, mean of 15 min {value} {unit}, limit {limit} {unit} ({basis})",
        "mac": "{who}: {substance} at {value} {unit}, limit {limit} {unit} at any time ({basis})",
        "peak": "{who}: {substance}, mean of 15 min {value} {unit}, peak {count} above {limit} {unit}: too often, "
        "too soon or too long ({basis})",
        "cleared": "{who}: {substance} back below {limit} {unit}, at {value} {unit}",
        "left": "{who}: exposure to {substance} is over",
        "record": "{who}: {substance}, mean over 8 h {value} {unit} (limit {limit}), highest mean of 15 min {stel}, "
        "highest value {peak}; {coverage} % measured{doubt}",
    },
    "zh": {
        "twa": "{who}:{substance} 8 小时时间加权平均浓度 {value} {unit},限值 {limit} {unit}({basis})",
        "stel": "{who}:{substance} 15 分钟短时间接触浓度 {value} {unit},限值 {limit} {unit}({basis})",
        "mac": "{who}:{substance} 当前浓度 {value} {unit},最高容许浓度 {limit} {unit}({basis})",
        "peak": "{who}:{substance} 15 分钟平均浓度 {value} {unit},第 {count} 次超过峰值限 {limit} {unit}:"
        "次数过多、间隔过短或持续过长({basis})",
        "cleared": "{who}:{substance} 降至 {value} {unit},低于 {limit} {unit}",
        "left": "{who}:对{substance}的接触已结束",
        "record": "{who}:{substance} 8 小时时间加权平均浓度 {value} {unit}(限值 {limit}),15 分钟最高 {stel},"
        "峰值 {peak};测量覆盖率 {coverage} %{doubt}",
    },
}
WHO = {
    "en": {"zone": "zone {zone}", "person": "person {person} in {zone}", "out": "person {person}"},
    "zh": {"zone": "区域 {zone}", "person": "人员 {person}(位于 {zone})", "out": "人员 {person}"},
}
INSUFFICIENT = {"en": ": insufficient data", "zh": ":数据不足"}
NO_SHIFT = {
    "en": "the wall clock is not trusted: no shifts yet, so no shift means of zones; everything rolling goes on",
    "zh": "系统时钟不可信:暂无法划分班次,区域的班次平均暂不计算;滚动计算照常进行",
}
SUBSTANCE: dict[str, dict[str, str]] = {
    "en": {
        "mixture": "mixture, share of the limit",
        "dust/coal/total": "coal dust, total",
        "dust/coal/respirable": "coal dust, respirable",
        "dust/silica-10-50/total": "silica dust 10 to 50 %, total",
        "dust/silica-10-50/respirable": "silica dust 10 to 50 %, respirable",
        "dust/silica-50-80/total": "silica dust 50 to 80 %, total",
        "dust/silica-50-80/respirable": "silica dust 50 to 80 %, respirable",
        "dust/silica-80/total": "silica dust above 80 %, total",
        "dust/silica-80/respirable": "silica dust above 80 %, respirable",
        "dust/cement/total": "cement dust, total",
        "dust/cement/respirable": "cement dust, respirable",
        "dust/other": "other dust, total",
    },
    "zh": {
        "mixture": "混合接触指数",
        "dust/coal/total": "煤尘(总尘)",
        "dust/coal/respirable": "煤尘(呼尘)",
        "dust/silica-10-50/total": "矽尘 10-50 %(总尘)",
        "dust/silica-10-50/respirable": "矽尘 10-50 %(呼尘)",
        "dust/silica-50-80/total": "矽尘 50-80 %(总尘)",
        "dust/silica-50-80/respirable": "矽尘 50-80 %(呼尘)",
        "dust/silica-80/total": "矽尘 > 80 %(总尘)",
        "dust/silica-80/respirable": "矽尘 > 80 %(呼尘)",
        "dust/cement/total": "水泥粉尘(总尘)",
        "dust/cement/respirable": "水泥粉尘(呼尘)",
        "dust/other": "其他粉尘(总尘)",
    },
}

# How a sensor lies; see `models/tamper.py`.
LIES: dict[str, dict[str, str]] = {
    "en": {
        "flat": "it does not move while its neighbours do",
        "repeat": "it repeats an earlier stretch exactly",
        "drop": "it fell at once, alone, and nobody calibrated it",
        "deaf": "it did not answer what it must answer",
        "moved": "it no longer follows its neighbours: was it moved?",
        "grain": "it is smoother or coarser than this instrument is",
        "calibrating": "it is said to be calibrated too long or too often",
        "end": "it stands at the end of its range, or has wrapped around",
        "spike": "a spike that its neighbours do not share",
        "detour": "its value does not follow from what the register says",
    },
    "zh": {
        "flat": "相邻测点有变化而该点无变化",
        "repeat": "完全重复此前的一段数据",
        "drop": "单独突降,且无标校状态",
        "deaf": "对已知扰动无响应",
        "moved": "与相邻测点失去相关性,可能被移位",
        "grain": "数据过于平滑或粗糙,与仪器不符",
        "calibrating": "标校时间过长或过于频繁",
        "end": "停留在量程端点或发生回绕",
        "spike": "冒大数,相邻测点未见",
        "detour": "显示值与寄存器原始值不符",
    },
}

# What becomes of an output that an alarm switches.
PROVEN: dict[str, dict[str, str]] = {
    "en": {
        "on-verified": "{output} is on, read back after {seconds} s: {text}",
        "on-written": "{output} is on, confirmed by its device after {seconds} s, not read back: {text}",
        "on-failed": "{output} is NOT known to be on ({trouble}): {text}",
        "off-verified": "{output} is off, read back after {seconds} s: {text}",
        "off-written": "{output} is off, confirmed by its device after {seconds} s, not read back: {text}",
        "off-failed": "{output} is not known to be off ({trouble}): {text}",
    },
    "zh": {
        "on-verified": "{output} 已动作,{seconds} 秒后回读确认:{text}",
        "on-written": "{output} 已动作,{seconds} 秒后设备应答,未回读:{text}",
        "on-failed": "{output} 未能确认动作({trouble}):{text}",
        "off-verified": "{output} 已释放,{seconds} 秒后回读确认:{text}",
        "off-written": "{output} 已释放,{seconds} 秒后设备应答,未回读:{text}",
        "off-failed": "{output} 未能确认释放({trouble}):{text}",
    },
}
NO_ANSWER = {"en": "nothing was heard of it", "zh": "无应答"}

# A drill says so in everything that it sends.
DRILL: dict[str, dict[str, str]] = {
    "en": {
        "alarm": "DRILL by {by}: {text}",
        "advice": "A drill: confirm that it was seen, do nothing else.",
        "proven": "DRILL of {name} by {by}: every link is proven",
        "unproven": "DRILL of {name} by {by}: not proven: {weak}",
    },
    "zh": {
        "alarm": "演练({by}):{text}",
        "advice": "演练:确认已收到即可,无需其他处置。",
        "proven": "演练 {name}({by}):各环节均已验证",
        "unproven": "演练 {name}({by}):未验证环节:{weak}",
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
        "certificate": "Renew the certificate and put it in its place: it is taken at once, without a new start.",
        "gateway": "Look after the gateway itself; what it watches is still watched.",
        "gateway-output": "Go there and switch by hand; then look at relay, supply and line.",
        "gateway-load": "Nothing on site is wrong. Take load off the gateway, or give it a stronger machine.",
        "gateway-link": "Nothing is lost yet. Check modem, cable and broker; tell by phone what cannot wait.",
        "gateway-disk": "The site is still watched. Look at the card or disk, its space and rights; have a spare.",
        "gateway-power": "The site is still watched. Measure the supply under load, check plug, cable and buffer.",
        "gateway-heat": "The site is still watched. Clean the filter, shade the cabinet, check the fan.",
        "gateway-clock": "No alarm depends on the clock, stamps do. Check the time server, or set the clock by hand.",
        "gateway-alarms": "Begin with the first and the worst; have the limits of what comes again and again checked.",
        "spontaneous": "Sample gas, compare with the index of this coal, close air leaks, prepare to inject and seal.",
        "freeboard": "Lower the pond, open the flood outlet, stop discharge, look on the spot, warn people downstream.",
        "dam": "Look for cracks, bulges and seepage, stop discharge, lower the pond, warn people downstream.",
        "rain": "Check the flood outlet and the drains, man the watch, get ready to lower the pond.",
        "slope": "Withdraw people and machines below and above, close the road, measure more often.",
        "tank": "Stop filling or emptying, check the gauge at the tank, close the valves, keep people away.",
        "pressure": "Compare with the gauge on the spot, reduce the pressure, look for a leak, close the line.",
        "structure": "Close it to traffic, send somebody to look, measure again.",
        "brake": "Brake. Then look what it was.",
        "distance": "Let the gap grow: two seconds, more on a wet road.",
        "lane": "Back into the lane; whoever is tired takes a break.",
        "wake": "Open your eyes. Stop at the next safe place and sleep.",
        "call-driver": "Call the driver and have him stop at the next safe place.",
        "rest": "Take a break: stop at the next safe place, rest for 20 minutes at least.",
        "look-ahead": "Look at the road.",
        "seat": "Nobody is seen at the wheel: take the seat; call the vehicle.",
        "lens": "Uncover and clean the camera that looks at the driver; the driver is not watched.",
        "unseen": "The eyes cannot be judged, as behind dark glasses: what depends on them is not told.",
        "phone": "Put the phone away.",
        "smoking": "No smoking at the wheel.",
        "belt": "Fasten your belt.",
        "driver-change": "Check who drives; what was learnt of the driver before is forgotten.",
        "zone": "Call out to whoever is there, stop machines and work near them, bring them out, look on the spot.",
        "lift": "Talk to the people inside, call the rescue service, nobody forces the doors.",
        "exposure": "Take people out or give them respirators, find the source, note the time of exposure.",
        "high": "Check on the spot, follow the site's plan for this point.",
        "low": "Check on the spot, follow the site's plan for this point.",
        "rate": "It changes faster than it should: check on the spot, follow the site's plan for this point.",
        "deviation": "Compare with a second instrument; one of the neighbours is wrong, or the hazard is local.",
        "frozen": "Check the sensor with gas or by hand; until then watch by other means.",
        "fan-lock": "Nobody starts the fan; vent the gas by the special measure, step by step, with a permit.",
        "expect": "Check on the spot, follow the site's plan for this point.",
        "anomaly": "No limit is exceeded by this alone: look what changed there, in the process or in the instrument.",
        "doubt": "Keep what was read, look at the sensor, its wiring and its place; until then watch by other means.",
        "feedback": "Cut by hand on the spot; check breaker, relay, wiring and the feed sensor.",
        "manual": "It stays until it is withdrawn by name, and nothing else demands it.",
        "item": "Look at the whole of it, follow the site's plan for this colour.",
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
        "certificate": "请更新证书并放到原位置:程序立即启用,无需重启。",
        "gateway": "请检查网关自身;现场监测仍在继续。",
        "gateway-output": "到现场手动操作,再检查继电器、电源和线路;引发该输出的报警仍然有效。",
        "gateway-load": "现场本身无异常。请减轻网关负荷,或更换性能更高的设备。",
        "gateway-link": "数据尚未丢失。请检查通信模块、线缆、服务器及其地址;紧急情况电话上报。",
        "gateway-disk": "现场监测仍在继续。请检查存储卡或磁盘的状态、空间和权限,并备好替换件。",
        "gateway-power": "现场监测仍在继续。请带载测量供电电压,检查插头、电缆和后备电源。",
        "gateway-heat": "现场监测仍在继续。请清洁滤网,为机柜遮阳,检查风扇。",
        "gateway-clock": "报警判定不依赖时钟,时间标记依赖。请检查时间服务器,或手动校时。",
        "gateway-alarms": "先处理首发和最高等级报警;将反复报警的测点告知限值管理人员。",
        "spontaneous": "取气样,与本煤种指标对照,封堵漏风,做好注浆注氮和封闭准备。",
        "freeboard": "降低库水位,开启排洪设施,停止排放,派人查看,通知下游人员。",
        "dam": "派人查看裂缝、隆起和渗漏,停止排放,降低库水位,通知下游人员。",
        "rain": "检查排洪设施和排水沟,加强值守,做好降低库水位的准备。",
        "slope": "撤离坡上坡下人员和设备,封闭道路,加密观测。",
        "tank": "停止进出料,现场核对液位,关闭阀门,人员远离。",
        "pressure": "与现场压力表核对,降压,查找泄漏,切断管段。",
        "structure": "封闭交通,派人查看,复测。",
        "brake": "制动,然后查明原因。",
        "distance": "加大车距:至少两秒,湿滑路面更长。",
        "lane": "回到本车道;疲劳时停车休息。",
        "wake": "请睁开眼睛,尽快在安全地点停车休息。",
        "call-driver": "呼叫驾驶员,要求其在最近的安全地点停车。",
        "rest": "请休息:在最近的安全地点停车,至少休息 20 分钟。",
        "look-ahead": "请注视前方道路。",
        "seat": "驾驶位未检测到人员:请回到驾驶位;立即呼叫车辆。",
        "lens": "请移开遮挡并清洁驾驶员摄像头;当前驾驶员未被监测。",
        "unseen": "无法判断眼部状态(如佩戴墨镜),相关报警暂不输出。",
        "phone": "请勿使用手机。",
        "smoking": "驾驶时请勿吸烟。",
        "belt": "请系好安全带。",
        "driver-change": "请核对当前驾驶员;此前学习的个人特征已清除。",
        "zone": "喊话提醒,停止附近设备或作业,将人员带离危险区域,现场核实。",
        "lift": "安抚被困人员,通知救援单位,严禁强行扒门。",
        "exposure": "人员撤出该区域或佩戴呼吸防护,查找来源,记录接触时间。",
        "high": "现场核实,按该测点的现场处置方案处理。",
        "low": "现场核实,按该测点的现场处置方案处理。",
        "rate": "变化过快:现场核实,按该测点的现场处置方案处理。",
        "deviation": "用另一台仪器核对:相邻测点之一有误,或危险只在局部。",
        "frozen": "用标准气或人工方法检查传感器;此前用其他方法监视。",
        "fan-lock": "严禁启动风机;按专项措施分级排放瓦斯,凭许可解锁。",
        "expect": "现场核实,按该测点的现场处置方案处理。",
        "anomaly": "这本身不是超限:查看该处工艺或仪表发生了什么变化。",
        "doubt": "保留原始数据,检查传感器、接线和安装位置;此前用其他方法监视。",
        "feedback": "就地手动断电;检查断路器、继电器、接线和馈电传感器。",
        "manual": "须由署名人员撤销,且无其他联锁条件时方可恢复。",
        "item": "按整体情况研判,执行该预警级别的应急预案。",
        "vote": "现场核实,按该测点的现场处置方案处理。",
        "silence": "检查电源、线路和地址;此前用其他方法监视。",
        "fault": "修理或更换传感器;此前用其他方法监视。",
        "blind": "传感器修复之前,该处按危险处理。",
    },
}

# What a loudspeaker says (`drivers/speaker.py`): short, and what to do comes first.
VOICE: dict[str, dict[str, str]] = {
    "en": {
        "wake": "Wake up! Stop and rest.",
        "rest": "You are tired. Please take a break.",
        "look-ahead": "Look at the road!",
        "seat": "Take the wheel!",
        "lens": "Please clear the camera.",
        "phone": "Put the phone away!",
        "smoking": "Please do not smoke.",
        "belt": "Fasten your belt!",
        "hours": "You have driven for too long. Please rest for 20 minutes.",
        "brake": "Brake!",
        "distance": "Keep your distance!",
        "lane": "Mind the lane!",
        "person": "Mind the pedestrian!",
    },
    "zh": {
        "wake": "请勿睡觉,请停车休息!",
        "rest": "您已疲劳,请休息。",
        "look-ahead": "请注视前方!",
        "seat": "请回到驾驶位!",
        "lens": "请勿遮挡摄像头。",
        "phone": "请勿使用手机!",
        "smoking": "请勿吸烟。",
        "belt": "请系好安全带!",
        "hours": "您已超时驾驶,请停车休息二十分钟。",
        "brake": "请制动!",
        "distance": "请保持车距!",
        "lane": "请注意车道!",
        "person": "请注意行人!",
    },
}

# Why a detector raised an alarm; see `why` of the detectors. The first is part of the alarm's text.
WHY: dict[str, dict[str, str]] = {
    "en": {
        "level": "{now} where {usual} ± {spread} is usual",
        "drift": "{now} and lately {lately}; such a move is usually {spread}",
        "day": "{now}, by {off} off what is usual at this hour; usually {spread} off",
        "unrest": "it moves by {now} from one look to the next, usually by {usual}",
        "together": "the channels do not go together as they used to, most of all {most}",
        "window": "the last {looks} looks do not run as the model `{model}` knows: {now}, usually below {usual}",
        "rarity": "as strange as this is to be expected once in {rare}; told is what is rarer than once in {budget}",
        "past": "judged against {looks} looks in {seen}; {episodes} strange episodes in them",
        "eyes": "an eye counts as shut from {shut} on, of lids that are open by {lid}, as learnt in {seen}",
        "pose": "the head usually points {yaw} deg aside and {pitch} deg down, as learnt in {seen}",
        "tired": "PERCLOS {perclos} %, {dozed} s of shut eyes not yet made up for; in 10 min {episodes} warnings, "
        "{yawns} yawns, {nods} nods; at the wheel for {seen}",
    },
    "zh": {
        "level": "当前 {now},通常为 {usual} ± {spread}",
        "drift": "当前 {now},近期 {lately};此类变动通常为 {spread}",
        "day": "当前 {now},与该时段常值相差 {off},通常相差 {spread}",
        "unrest": "相邻两次变动 {now},通常为 {usual}",
        "together": "各测点之间的关系与以往不同,其中以 {most} 最为明显",
        "window": "最近 {looks} 次观测的走势不同于模型 `{model}` 所知:当前 {now},通常低于 {usual}",
        "rarity": "如此异常预计每 {rare} 出现一次;比每 {budget} 一次更罕见的才报告",
        "past": "依据此前 {seen} 内 {looks} 次观测,其间有 {episodes} 次异常波动",
        "eyes": "闭眼判定阈值 {shut},该驾驶员常态睁眼程度 {lid},学习时长 {seen}",
        "pose": "该驾驶员常态头部朝向:偏转 {yaw} 度、俯仰 {pitch} 度,学习时长 {seen}",
        "tired": "PERCLOS {perclos} %,近期闭眼累计 {dozed} 秒;10 分钟内警示 {episodes} 次、"
        "哈欠 {yawns} 次、点头 {nods} 次;已驾驶 {seen}",
    },
}
SPAN: dict[str, list[tuple[float, str]]] = {
    "en": [(365 * 86400.0, "years"), (86400.0, "days"), (3600.0, "hours"), (60.0, "minutes"), (0.0, "seconds")],
    "zh": [(365 * 86400.0, "年"), (86400.0, "天"), (3600.0, "小时"), (60.0, "分钟"), (0.0, "秒")],
}

LEVEL: dict[str, dict[str, str]] = {
    "en": {"red": "red", "orange": "orange", "yellow": "yellow", "blue": "blue"},
    "zh": {"red": "红色", "orange": "橙色", "yellow": "黄色", "blue": "蓝色"},
}

QUALITY: dict[str, tuple[str, ...]] = {
    "en": ("good", "uncertain", "over range", "calibrating", "stale", "faulty", "offline"),
    "zh": ("正常", "存疑", "超量程", "标校", "过期", "故障", "离线"),
}


# What an interlock is, and is not; see `agent/interlocks.py`.
INTERLOCK: dict[str, dict[str, str]] = {
    "en": {
        "what": "interlock {name}: {causes} causes, may switch {trip}",
        "guarded": "heartbeat {heartbeat}",
        "unguarded": "NO heartbeat ({reason}): it dies with this program",
        "idle": "not armed, only advises: {outputs}",
        "label": "a supplement to the certified trip, never the trip itself",
        "join": "; ",
    },
    "zh": {
        "what": "联锁 {name}:{causes} 个原因测点,可控制 {trip}",
        "guarded": "心跳输出 {heartbeat}",
        "unguarded": "无心跳输出({reason}):本程序停止即失效",
        "idle": "未投用,仅提示:{outputs}",
        "label": "仅为经认证断电装置的补充,不得作为主断电手段",
        "join": ";",
    },
}

# The limits of a rule; see `rules.py`.
BOUNDS: dict[str, dict[str, str]] = {
    "en": {
        "limit": "limit {limit}",
        "restored": "limit {limit} restore {restore}",
        "seconds": "limit {limit} s",
        "vote": "{need} at {each}",
    },
    "zh": {
        "limit": "限值 {limit}",
        "restored": "限值 {limit},恢复 {restore}",
        "seconds": "限值 {limit} 秒",
        "vote": "{need} 个 {each}",
    },
}

# How a line is wired: what `Driver.wiring` says.
WIRING: dict[str, dict[str, str]] = {
    "en": {
        "line": "{url}: {blocks} requests, {healthy} s a round, {worst} s when a device dies, {load} % of the line",
        "serial": "{url} at {baud} {form}",
        "device": "{name}: unit {unit}, every {period} s, {channels} channels in {spans}",
        "more": " and {n} more",
        "output": "output {name}: {at}",
        "heartbeat": "heartbeat {name}: {at}",
        "armed": ", armed",
        "not armed": ", not armed: orders are refused",
        "beats": ", switched over every {every} s",
        "never": ", not armed: never written",
        "receiver": "{name}: NMEA from {url}",
        "bits": " at {baud} bit/s",
        "neighbours": "neighbours at {url}: the broker says who they are, {trust}",
        "proved": "and must not let this node speak for them",
        "believed": "and is believed",
        "neighbour": "{name}: {root}, gone after {silent} s without a word",
        "speaker": "{speak} and {play}, {loud}",
        "loud": "{percent} % from {time}",
        "stream": "{url}: decoded by a process of its own ({password}), killed after {silent} s of silence",
        "password": "password {where}",
        "no password": "no password",
        "camera": "{name}: every {period} s, {channels} channels of the camera's state",
        "task": "{name}: {channels} channels of {of}, {net}, at most {rate} pictures/s",
        "net": "net {net} on {provider}, {threads} thread",
        "no net": "no net",
        "ring": "{name}: {rate} pictures/s of {width} pixels, {masks} masks, in a ring of {mb} MB; a clip of "
        "{before} s before and {after} s after for {alarms}",
        "own alarms": "its own alarms",
    },
    "zh": {
        "line": "{url}:{blocks} 个请求,每轮 {healthy} 秒,有设备失联时 {worst} 秒,占用线路 {load} %",
        "serial": "{url},{baud} {form}",
        "device": "{name}:地址 {unit},每 {period} 秒,{channels} 个测点,读取 {spans}",
        "more": " 及另外 {n} 段",
        "output": "输出 {name}:{at}",
        "heartbeat": "心跳 {name}:{at}",
        "armed": ",已启用",
        "not armed": ",未启用:拒绝动作",
        "beats": ",每 {every} 秒翻转一次",
        "never": ",未启用:从不写入",
        "receiver": "{name}:NMEA,来自 {url}",
        "bits": ",{baud} bit/s",
        "neighbours": "{url} 上的相邻节点:身份由服务器证明,{trust}",
        "proved": "且服务器不得允许本节点代其发布",
        "believed": "直接采信",
        "neighbour": "{name}:{root},{silent} 秒无消息即视为离线",
        "speaker": "{speak} 和 {play},{loud}",
        "loud": "{time} 起音量 {percent} %",
        "stream": "{url}:由独立进程解码({password}),无画面 {silent} 秒即重启该进程",
        "password": "密码 {where}",
        "no password": "无密码",
        "camera": "{name}:每 {period} 秒,{channels} 个摄像机状态测点",
        "task": "{name}:{channels} 个测点,{of},{net},每秒最多 {rate} 帧",
        "net": "网络 {net},{provider},{threads} 线程",
        "no net": "不用网络",
        "ring": "{name}:每秒 {rate} 帧,宽 {width} 像素,{masks} 处遮挡,环形存储 {mb} MB;录像为事前 {before} 秒至事后 "
        "{after} 秒,用于 {alarms}",
        "own alarms": "本机报警",
        "the road": "道路",
        "who is in which zone": "各区域内的人员",
        "how long the beach is": "干滩长度",
        "the driver": "驾驶员",
    },
}

# A unit of the inventory of hazards; see `agent/hazards.py`.
HAZARD: dict[str, dict[str, str]] = {
    "en": {
        "major": "{unit}: major hazard installation of level {level}, R = {index} (S = {total}, alpha {alpha})",
        "none": "{unit}: no major hazard installation, S = {total}",
    },
    "zh": {
        "major": "{unit}:{level}级重大危险源,R = {index}(S = {total},α = {alpha})",
        "none": "{unit}:不构成重大危险源,S = {total}",
    },
}
GRADE = {"en": ("", "1", "2", "3", "4"), "zh": ("", "一", "二", "三", "四")}


def members(language: str, counts: Mapping[str, int]) -> str:
    """How many members have which colour.

    >>> members("en", {"yellow": 3, "blue": 1}), members("zh", {})
    ('3 yellow, 1 blue', '无预警')
    """
    if language == "zh":
        return "、".join(f"{LEVEL[language][level]} {n} 个" for level, n in counts.items()) or NONE[language]
    return ", ".join(f"{n} {LEVEL[language][level]}" for level, n in counts.items()) or NONE[language]


def unseen(language: str, n: int) -> str:
    """How many points nobody sees; nothing where all are seen."""
    return UNSEEN[language].format(n=n) if n else ""


def why(language: str, row: str, facts: Mapping[str, Any]) -> str:
    """A sentence of `WHY`: numbers as people read them; what is called `seen`, `rare` or `budget` is a time in s."""
    said = {
        name: span(language, value)
        if name in ("seen", "rare", "budget")
        else value
        if isinstance(value, str)
        else number(value)
        for name, value in facts.items()
    }
    return WHY[language][row].format(**said)


def span(language: str, seconds: float) -> str:
    """A time as people say it.

    >>> span("en", 5 * 86400.0), span("zh", 90.0)
    ('5 days', '1.5 分钟')
    """
    if not seconds < 1e4 * SPAN[language][0][0]:
        return {"en": "never before", "zh": "从未"}[language]
    size, unit = next((size, unit) for size, unit in SPAN[language] if seconds >= 2 * size or size == 60.0 <= seconds)
    return f"{seconds / (size or 1.0):.2g} {unit}"


def lie(language: str, name: str) -> str:
    """How it lies, in words; of somebody's own detector: the name of its column."""
    return LIES[language].get(name, name)


def substance(language: str, name: str) -> str:
    """What people call it; a name that is in no table stands for itself, like a formula."""
    return SUBSTANCE[language].get(name, name)


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
