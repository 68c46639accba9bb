"""The handbook, and what the parsers say, in Chinese: the English text, and what is said instead of it.

Loaded where somebody reads Chinese, and nowhere else. A text that changes in English changes here with it.
"""

from __future__ import annotations

from collections.abc import Mapping

ZH: Mapping[str, str] = {
    # labels of the parser
    "options": "选项",
    "positional arguments": "参数",
    "verbs": "动词",
    "show this help message and exit": "显示本帮助并退出",
    "the version": "版本",
    "answer as JSON for programs": "以 JSON 输出,供程序使用",
    "language for people (as the locale says)": "显示语言(默认按区域设置)",
    "site file ($VEDETTE_CONFIG, else site.toml, else /etc/vedette/site.toml)": (
        "现场文件(依次为 $VEDETTE_CONFIG、site.toml、/etc/vedette/site.toml)"
    ),
    # verbs
    "the gateway as a cockpit: alarms, channels, lines, uplinks; live": "网关总览:报警、测点、线路、上行,实时刷新",
    "open alarms of the running daemon; acknowledge, shelve, reset one": "当前报警;确认、搁置、停用、复位",
    "colours of site, items and points, and what is missing for a lower one": (
        "现场、单元和测点的风险等级,以及降级条件"
    ),
    "what the running daemon still owes its platforms": "尚未送达平台的数据",
    "why an alarm was raised, in words and numbers, what became of it": "报警原因、数值和处理经过",
    "say in which zone a person is, or show who is where": "登记人员所在区域,或查看人员分布",
    "what is wrong with this machine, or with all that a site uses, and what to do": "检查网关常见问题并给出处理建议",
    "a first site file: from a dozen answers, or from what answers on a line": "问答或扫描总线,生成现场文件",
    "every fault of a configuration at once, or the resolved wiring": "一次列出配置的全部错误,或显示解析后的接线",
    "poll once and show every channel": "轮询一次,显示每个测点",
    "read registers ad hoc: tcp://host:502/1/holding/0x1000:4": "临时读取寄存器:tcp://host:502/1/holding/0x1000:4",
    "the JSON schema of the site file, for editors; the first line of an example names it": (
        "现场文件的 JSON Schema,供编辑器使用;示例文件首行即指向它"
    ),
    "limits that ship, with their sources": "内置限值及其标准依据",
    "index R and level of an inventory, term by term; or the table that ships": (
        "重大危险源 R 值与级别,逐项列出;或显示内置临界量表"
    ),
    "ports, cameras and sound that a site names; let systemd allow exactly these": (
        "现场文件所用的端口、摄像机和声卡,并让 systemd 仅放行这些设备"
    ),
    "prove a chain from sensor to outputs and platforms; nothing is tripped": ("从传感器到输出和平台逐环验证,不会跳闸"),
    "give somebody a password for the local page, or take it away": "设置或取消本地页面的操作密码",
    "the daemon": "守护进程",
    "the running daemon goes on by its site file as it is now": "让运行中的守护进程采用修改后的现场文件",
    "a key to sign commands with: new FILE, or show FILE": "用于签署指令的密钥:new FILE 或 show FILE",
    "sign a command and send it; or sign, or send, one that somebody else made": (
        "签署并发送指令,或联签、转发他人的指令"
    ),
    "the journal of decisions: is it whole, whose is it, what proves an alarm": (
        "决策日志:是否完整、由谁签名、报警证据"
    ),
    "a draft of the accident report or hazard ticket of an alarm; a person sends it": (
        "由报警生成事故报告或隐患单草稿,由人员核对后上报"
    ),
    "clips of alarms: list, show, verify, protect, release, export": (
        "报警录像:列表、查看、校验、保护、解除保护、导出"
    ),
    "read the site and write frames and alarms into a folder": "录制现场数据帧和报警到文件夹",
    "run a recording through the same core; print or compare the alarms": "用同一核心回放录制数据,输出或比对报警",
    "judge a CSV file by its own past: time, then channels; score and alarm by row": (
        "按自身历史判断 CSV 数据(首列时间,其后为测点),逐行给出得分和报警"
    ),
    "a film through the eye, detectors and rules of a site; a row for each picture": (
        "用现场的视觉、检测器和规则判断一段视频,每帧一行"
    ),
    "two minutes: plants, agent, broker, platform, verdict": "两分钟演示:模拟现场、代理、服务器、平台和结论",
    "the simulated plants alone, for somebody else's client; a drawn road or driver; a platform": (
        "单独运行模拟装置(供其他客户端读取)、道路、驾驶员、平台或大批网关"
    ),
    "nets that look at pictures: list, verify, import, fetch, bench": (
        "视觉网络与窗口模型:列表、校验、导入、下载、测速"
    ),
    "the manual: shown on a terminal, else roff for man(1)": ("手册页:在终端上直接显示,否则输出供 man(1) 使用的 roff"),
    "a script that completes commands in bash, zsh or fish": "命令补全脚本:bash、zsh、fish",
    # groups of them
    "see what is": "查看现状",
    "set up a site": "现场调试",
    "run it": "运行",
    "prove what was": "取证",
    "try it without a site": "无现场试用",
    "this program": "本程序",
    "more": "其他",
    # check, test, probe
    "the agent's own rules, too, as far as nobody changed them": "同时列出代理自检规则中未经改动的部分",
    "put right what has one meaning; shows it, keeps FILE.bak": ("更正只有一种含义的错误;显示改动,原文件存为 FILE.bak"),
    "of --fix: only show what would be put right": "与 --fix 合用:只显示将要更正的内容",
    "tcp://HOST[:PORT]/UNIT/KIND/ADDRESS[:COUNT], or rtu:///dev/ttyUSB0/UNIT/...": (
        "tcp://HOST[:PORT]/UNIT/KIND/ADDRESS[:COUNT],或 rtu:///dev/ttyUSB0/UNIT/..."
    ),
    "e.g. float32:CDAB": "例如 float32:CDAB",
    "of a serial line (9600)": "串口波特率(9600)",
    "of a serial line (N)": "串口校验位(N)",
    "s for a reply (1)": "等待应答的时间,秒(1)",
    # alarms, status, drill, presence, explain
    "acknowledge: somebody has seen it; needs --by": "确认:已有人看到;须给出 --by",
    "switch by hand what a manual rule drives: a remote cut; needs --reason; POINT is an alarm's ID or RULE@CHANNEL": (
        "手动动作,驱动手动规则的输出(远程断电);须给出 --reason。POINT 为报警 ID 或 RULE@CHANNEL"
    ),
    "take that back; refused while anything else demands it; POINT is an alarm's ID or RULE@CHANNEL": (
        "撤销手动动作;另有动作要求时拒绝;POINT 为报警 ID 或 RULE@CHANNEL"
    ),
    "let go what latched; POINT is an alarm's ID or RULE@CHANNEL": "复位自锁;POINT 为报警 ID 或 RULE@CHANNEL",
    (
        "silence for a while: needs --reason and --hours; never red, never an interlock; POINT is an alarm's ID or "
        "RULE@CHANNEL"
    ): ("搁置,一段时间内静默:须给出 --reason 和 --hours;红色报警和联锁不得搁置;POINT 为报警 ID 或 RULE@CHANNEL"),
    "take out of service: --reason is the permit; POINT is an alarm's ID or RULE@CHANNEL": (
        "停用:--reason 为工作票编号;POINT 为报警 ID 或 RULE@CHANNEL"
    ),
    "back in force; POINT is an alarm's ID or RULE@CHANNEL": "恢复投用;POINT 为报警 ID 或 RULE@CHANNEL",
    "how many alarms there are, and which come most": "报警数量,以及最频繁的测点",
    "who does it": "操作人",
    "why, or the number of the permit": "原因,或工作票编号",
    "of shelving, at most 8": "搁置时长,小时,最长 8",
    "print it once, and leave; as on a pipe": "只打印一次并退出,与接管道时相同",
    "s between two looks (1)": "刷新间隔,秒(1)",
    "an interlock, a rule that drives something, or RULE@CHANNEL": "联锁、带输出的规则,或 RULE@CHANNEL",
    "who drills": "演练人",
    "an id, never a name": "人员编号,不得写姓名",
    "a zone of the site file, or `out`": "现场文件中的区域;`out` 表示离开",
    "who, or what, says so": "登记人,或登记设备",
    "as `vedette alarms` shows it": "报警编号,见 `vedette alarms`",
    "a journal somewhere else: a copy, say": "别处的日志,例如副本",
    # init, doctor, devices, passwd
    "what is written (site.toml)": "要写入的文件(site.toml)",
    "tcp://HOST:502, rtu+tcp://HOST:PORT or /dev/ttyUSB0: who is there": (
        "扫描 tcp://HOST:502、rtu+tcp://HOST:PORT 或 /dev/ttyUSB0 上的设备"
    ),
    "Modbus addresses that are asked by --scan (1-32)": "--scan 询问的 Modbus 地址(1-32)",
    "ask nothing: what is not given is as usual": "不提问:未给出的均取默认值",
    "replace FILE; the old one is kept as FILE.last": "覆盖 FILE;原文件存为 FILE.last",
    "of the site: what people are told in": "现场语言,即报警等文字所用的语言",
    "of the site: a part of every topic": "现场名称,是每个主题的一部分",
    "of this gateway within the site": "本网关在现场中的名称",
    "gas, water, tailings, slope, vehicle": "危险源:gas 瓦斯、water 水害、tailings 尾矿库、slope 边坡、vehicle 车辆",
    "where the sensors are": "传感器所在的总线",
    "of a serial line, in bit/s": "串口波特率,bit/s",
    "of a serial line: none, even, odd": "串口校验位:N 无、E 偶、O 奇",
    "Modbus address of the first device": "第一台设备的 Modbus 地址",
    "its device profile": "该设备的设备描述",
    "of the platform; or mqtts://HOST:PORT": "平台的 MQTT 服务器;也可写 mqtts://HOST:PORT",
    "whether the way to the platform is encrypted": "到平台的连接是否加密",
    "at the broker": "在 MQTT 服务器上的用户名",
    "env:NAME, file:/PATH or credential:NAME; never the secret": (
        "env:NAME、file:/PATH 或 credential:NAME,不得直接写密码"
    ),
    "a local page on this machine": "是否在本机提供本地页面",
    "where queue, journal and memory are kept": "存放队列、日志和状态的文件夹",
    "site file; without one only the machine is looked at": "现场文件;不给出时只检查本机",
    "whose rights are asked for (the agent's user)": "按哪个用户检查权限(代理的用户)",
    "poll the buses for so many s, 6 or more": "轮询各总线的时长,秒,至少 6",
    "leave out what is fine": "不显示正常项",
    "write what systemd is to allow, below /run; as root": "将 systemd 应放行的设备写到 /run 下;须以 root 执行",
    "who; it stands in the journal behind all he does": "姓名;其全部操作均以此记入日志",
    "he may act no longer": "取消其操作权限",
    "read the password from the standard input, one line": "从标准输入读取密码,一行",
    # audit, report, evidence
    "verify, where none is said": "未写时为 verify",
    "of an export: as `vedette alarms` shows it": "导出时的报警编号,见 `vedette alarms`",
    "of an export: incident-ID.zip, if none is said": "导出文件,未写时为 incident-ID.zip",
    "of an export: the state folder, or a copy of it": "导出时的状态文件夹或其副本",
    "show the last N records": "显示最后 N 条记录",
    "public key that must have signed; may be repeated": "必须由其签名的公钥;可重复",
    "what a witness noted; may be repeated": "见证人记下的记录号和校验值;可重复",
    "which paper": "文书种类:accident 事故报告,hazard 隐患单",
    "who has it drafted": "起草人",
    "when the first person knew: YYYY-MM-DD HH:MM, local": "最早有人知悉的当地时间:YYYY-MM-DD HH:MM",
    "fill in a blank; may be repeated": "填写一个空白项;可重复",
    "a copy of the new version": "新版本的副本",
    "the state folder, or a copy of it": "状态文件夹或其副本",
    "what to do with it": "要执行的操作",
    "as `list` shows it, or an alarm's id: the evidence of all cameras": (
        "编号,见 `list`;或报警编号,即全部摄像机的证据"
    ),
    "folder of an export": "导出到的文件夹",
    "who protects or releases it": "保护或解除保护的操作人",
    "why": "原因",
    "evidence somewhere else: a copy, say": "别处的证据,例如副本",
    "a journal somewhere else": "别处的日志",
    # record, replay, detect
    "a new or empty one": "新文件夹或空文件夹",
    "stop by itself after this time": "到时自动停止,秒",
    "folder with site.toml and frames.jsonl": "含 site.toml 和 frames.jsonl 的文件夹",
    "compare with alarms.jsonl; exit 1 on a difference": "与 alarms.jsonl 比对;有差异时退出码为 1",
    "alarms gained and lost by another setting: limit=0.8, or NAME:FIELD=VALUE of one rule or detector": (
        "改用其他设置会多出或减少哪些报警:limit=0.8,或某条规则、某个检测器的 NAME:FIELD=VALUE"
    ),
    "`-` reads standard input": "`-` 表示标准输入",
    "write there, not to standard output": "写入该文件,而非标准输出",
    "tell only of this one": "只报告该测点",
    "the detector (anomaly)": "检测器(anomaly)",
    "of `--kind window`: one that ships, or a manifest FILE.toml": ("`--kind window` 的模型:内置名称,或清单 FILE.toml"),
    "days for one false alarm (30)": "误报预算,多少天一次(30)",
    "s that an alarm stands, at most (300)": "报警最长持续时间,秒(300)",
    "s between looks (every row)": "判断间隔,秒(每行)",
    "draw series, score and alarms with characters": "用字符画出曲线、得分和报警",
    # key, command
    "make one, or show the public one": "new 生成,show 显示公钥",
    "the private key, PEM": "私钥文件,PEM 格式",
    "what is to be done": "要执行的操作",
    "what the deed needs; @FILE reads a file": "操作所需的内容;@FILE 读取文件",
    "who signs, as [[issuer]] calls you": "签名人,即 [[issuer]] 中的名称",
    "your private key": "本人的私钥",
    "whom it is for; else as --config says": "目标节点;未写时按 --config",
    "mqtt://host or mqtts://host; else this machine's daemon": "mqtt://host 或 mqtts://host;未写时为本机的守护进程",
    "env:NAME or file:/path": "env:NAME 或 file:/path",
    "authority of the broker's certificate": "签发服务器证书的 CA",
    "first level of the topics (vedette)": "主题的第一级(vedette)",
    "only in this configuration": "仅在配置与此一致时执行",
    "that the node gave, for its clock is not trusted": "节点时钟不可信时给出的随机数",
    "s until it expires (300)": "有效期,秒(300)",
    "s for its end (60)": "等待结果的时间,秒(60)",
    "print the envelope and send nothing": "只打印签名后的指令,不发送",
    # hazards, profiles, watch
    "hazards.toml of a site": "现场的 hazards.toml",
    "one profile in full, or the first part of some names": "某项限值的全部内容,或若干名称的开头部分",
    "a film, a folder of pictures, or a stream": "视频、图片文件夹或视频流",
    "what is looked for": "识别任务",
    "a row for each picture": "每帧一行",
    "the warnings": "提醒和报警",
    "everything that was found": "识别到的全部目标",
    "a film (.mp4) or the last picture (.png), with what was seen": "标出识别结果的视频(.mp4)或最后一帧(.png)",
    "[bus.road.mount], [bus.zones], ... of its own": "该摄像机自己的 [bus.road.mount]、[bus.zones] 等",
    "site file (configs/vehicle.example.toml, unmounted; camera.example.toml, driver.example.toml)": (
        "现场文件(configs/vehicle.example.toml,未标定;camera.example.toml、driver.example.toml)"
    ),
    "another net than the site's; none: only what looms": "改用其他网络;none 表示只看逼近的物体",
    "of the vehicle; a CSV has t_s and speed_kmh": "车速;CSV 须有 t_s 和 speed_kmh 列",
    "pictures a second, where the film does not tell (10)": "每秒帧数,视频未注明时使用(10)",
    # models
    "nets that are here, and those that can be fetched or imported": "本机已有的网络,以及可下载或导入的网络",
    "of this machine's own nets ($VEDETTE_MODELS)": "本机自有网络的文件夹($VEDETTE_MODELS)",
    "hash, load and run every net that is here; exit 1 where something is wrong": (
        "逐一校验、加载并试运行本机网络;有问题时退出码为 1"
    ),
    "only these": "只处理这些",
    "take a net out of a file: a known one by its hash, any other by its family": (
        "从文件导入网络:已知网络按哈希识别,其余须指明系列"
    ),
    "an ONNX file": "ONNX 文件",
    "what it is called here (the file's name)": "在本机的名称(文件名)",
    "how its output is read: yolox, nanodet, yunet, marks, eye, ...": (
        "输出的解读方式:yolox、nanodet、yunet、marks、eye 等"
    ),
    "of its classes, in its order, empty where not told; or coco": "各类别的名称,按其顺序,不报告的留空;或写 coco",
    "px; 0 is free (as the file has it)": "输入尺寸,像素;0 表示不限(以文件为准)",
    "subtracted, after --scale, in the order of --colour": "减去的均值,在 --scale 之后,按 --colour 的顺序",
    "divided by": "除以的标准差",
    "what it is for": "用途",
    "SPDX": "许可证,SPDX 标识",
    "repository @ commit": "来源:仓库 @ 提交",
    "a sentence on it": "一句说明",
    "order of its channels": "颜色通道的顺序",
    "how a picture is made to fit": "图像适配输入的方式",
    "order of its input": "输入张量的维度顺序",
    "least that is told, 0 to 1": "报告的最低得分,0 到 1",
    "above which two are one thing": "重叠超过此值即视为同一目标",
    "of a pixel of 0 to 255, before --mean": "像素值(0 到 255)的缩放系数,在 --mean 之前",
    "grey beside the picture, 0 to 255": "图像边缘填充的灰度,0 到 255",
    "get a net that a manifest describes, from its address or a mirror": "下载清单所描述的网络,从原地址或镜像",
    "as `vedette models list` shows it": "名称,见 `vedette models list`",
    "http(s)://..., or a folder": "http(s)://... 或文件夹",
    "for all of it (60)": "下载总时限,秒(60)",
    "ms a picture: shown, run, read; and all of it by the bare run of the same net": (
        "每帧毫秒数:预处理、推理、解读;以及总耗时与纯推理之比"
    ),
    "of the runtime (1)": "推理线程数(1)",
    "cpu, xnnpack, openvino, cuda, ... (cpu)": "cpu、xnnpack、openvino、cuda 等(cpu)",
    "of which the median counts (30)": "轮数,取中位数(30)",
    "instead of a drawn one of 1280 x 720": "代替 1280 x 720 的合成图像",
    # simulate, demo, completion
    "scenario TOML; jt808, hj212: a platform for an uplink; fleet: many gateways": (
        "场景 TOML;jt808、hj212:供上行连接的平台;fleet:大批网关"
    ),
    "a drawn road as MJPEG and RTSP, or --out; `list` tells them": (
        "合成道路,以 MJPEG 和 RTSP 输出,或用 --out;`list` 列出全部"
    ),
    "a drawn driver, in the same way; `list` tells them": "合成驾驶员,方式同上;`list` 列出全部",
    "write the story as a film": "将情景写成视频",
    "what is true in each picture": "每帧的真值",
    "of a road: everything that each picture shows": "道路:每帧中的全部目标",
    "of a driver: what somebody should be told": "驾驶员:应当发出的提醒",
    "of a driver: day, dusk, night or infrared": "驾驶员:光照,day、dusk、night 或 infrared",
    "of a driver: flat, a cartoon": "驾驶员:flat 为平面卡通画",
    "of a driver: another length; of fleet: that are measured": "驾驶员:改用此时长;fleet:测量时长,秒",
    "e.g. night,rain; else as the story says": "例如 night,rain;未写时按情景",
    "of place, paint and noise; of the person": "场地、画面、噪声和人物的随机种子",
    "1280 for files, 640 for streams and drivers": "图像宽度;文件 1280,视频流和驾驶员 640",
    "20 for files, 10 for streams, 15 for drivers": "每秒帧数;文件 20,视频流 10,驾驶员 15",
    "of the stream or the platform; else a free one": "视频流或平台的端口;未写时取空闲端口",
    "of a platform: silent, slow, bad-check, closes ...": "平台的异常行为:silent、slow、bad-check、closes 等",
    "of jt808: of T/JSATL12 (jiangsu)": "jt808:T/JSATL12 的方言(jiangsu)",
    "of hj212: the password (123456)": "hj212:密码(123456)",
    "of jt808: where evidence is put at the end": "jt808:结束时存放证据的文件夹",
    "of fleet: of the largest one (1000)": "fleet:最大一批的网关数(1000)",
    "of fleet: mqtt://host:port; else a mosquitto is started": "fleet:mqtt://host:port;未写时启动 mosquitto",
    "of fleet: readings/s of each gateway (0.2)": "fleet:每台网关每秒读数(0.2)",
    "of fleet: alarms/min of each gateway (1)": "fleet:每台网关每分钟报警数(1)",
    "of fleet: s that the broker is away at the end": "fleet:最后服务器离线的时长,秒",
    "of fleet: for the largest one (1 for each 1000)": "fleet:最大一批所用的进程数(每 1000 台 1 个)",
    "of fleet: where states are kept (in memory)": "fleet:存放状态的文件夹(内存中)",
    "of fleet: over which gateways come back": "fleet:网关重连分散在此时长内,秒",
    "of fleet: alarms wait for the platform's receipt": "fleet:报警须等待平台回执",
    "use this broker (mqtt://host:port), not the embedded one": "使用此服务器(mqtt://host:port),不用内置服务器",
    "a shell; else words that one offers": "shell 名称;或补全时提供的词",
    # paragraphs
    (
        "Vedette is one daemon on a gateway beside the hazard. It reads gas, water-level and other sensors over "
        "Modbus, and cameras; judges them on the spot by rules with their standards; switches outputs; and delivers "
        "alarms to platforms, through any outage, in order of importance. `vedette run` is the daemon; the other "
        "verbs set it up, ask it, prove what it did, or try it without a site."
    ): (
        "Vedette 是运行在危险源旁网关上的一个守护进程。它通过 Modbus 读取瓦斯、水位等传感器,并读取摄像机;依据规"
        "则及其标准就地判断;驱动输出;无论网络如何中断,都按重要程度把报警送达平台。`vedette run` 是守护进程本身;"
        "其他动词用于现场调试、查询、取证,或在没有现场时试用。"
    ),
    (
        "Answers go to the standard output; complaints, warnings and progress to the standard error. With --json the "
        'answer is one JSON document; where it could not be had, {"error": "..."} or {"complaints": ["..."]}. Colour '
        "and progress are for terminals only."
    ): (
        '结果写到标准输出;错误、提醒和进度写到标准错误。使用 --json 时结果为一个 JSON 文档;无法给出结果时为 {"e'
        'rror": "..."} 或 {"complaints": ["..."]}。颜色和进度只用于终端。'
    ),
    "A sentry at the edge: reads hazard sensors and cameras, judges on the spot, delivers alarms.": (
        "边缘哨兵:读取危险源传感器和摄像机,就地判断,送达报警。"
    ),
    "A supplement to certified safety systems, never one of them.": "对经认证安全系统的补充,不能替代它们。",
    "`vedette VERB --help` says more, with examples; `vedette man` all of it.": (
        "`vedette VERB --help` 有详细说明和示例;`vedette man` 显示完整手册。"
    ),
    (
        "Reads the site file, then the sensors, until SIGTERM or SIGINT; a second signal hurries. What was accepted "
        "is never lost. Writes a line for each transition to the standard output, key=value. systemd/vedette.service "
        "runs it with a watchdog; a bad configuration ends it with 78, so that systemd does not start into it again "
        "and again."
    ): (
        "先读取现场文件,再读取传感器,直到收到 SIGTERM 或 SIGINT;第二个信号加快退出。已接收的数据绝不丢失。每次"
        "状态变化在标准输出写一行,格式为 key=value。systemd/vedette.service 带看门狗运行它;配置有错时以 78 退出,"
        "因此 systemd 不会反复启动。"
    ),
    (
        "Reads the site file and everything that it names, and starts nothing. Every fault is told at once, with its "
        "line. Without faults: how each bus is wired, which rule watches what by which standard, who may command."
    ): (
        "读取现场文件及其引用的全部文件,不启动任何东西。所有错误一次列出,并给出行号。没有错误时显示:各总线如何"
        "接线,哪条规则依据哪项标准监测什么,谁有权下达指令。"
    ),
    (
        "Asks every device once, itself: stop the daemon first where a line can have one master only. Exit 0 only if "
        "every channel is good."
    ): ("直接询问每台设备一次:线路只允许一个主站时,请先停止守护进程。全部测点正常时退出码才为 0。"),
    "No site file is needed. KIND is holding, input, coil or discrete; counted from 0, as on the wire.": (
        "不需要现场文件。KIND 为 holding、input、coil 或 discrete;地址从 0 起,与报文中一致。"
    ),
    (
        "On a terminal a picture that is drawn anew each second: alarms, channels worst first, devices with round "
        "trip and errors, uplinks with the age of what waits, journal, clock, disk, and the agent itself. On a pipe, "
        "with --once or with --json it is printed once. It asks the daemon's socket, and needs no local page. Where "
        "no agent runs it says so, and what the files say: the last alarms and what is still owed; then it exits with "
        "69."
    ): (
        "在终端上每秒刷新一次画面:报警、测点(最差者在前)、设备往返时间与错误、各上行待发数据的时长、日志、时钟、"
        "磁盘和代理自身。接管道、使用 --once 或 --json 时只打印一次。它询问守护进程的套接字,不需要本地页面。没有"
        "代理运行时会明确说明,并给出文件中的内容:最后的报警和尚未送达的数据;此时退出码为 69。"
    ),
    (
        "Without a deed: what is open, worst colour first. Whoever acts gives --by; it stands in the journal and goes "
        "to every platform. Nothing red and no interlock can be shelved."
    ): (
        "不给出操作时,列出未结束的报警,最严重的在前。操作者须给出 --by,它记入日志并送达每个平台。红色报警和联"
        "锁不得搁置。"
    ),
    "Colours follow the counts of GB 39496-2020. Down it goes slowly; from orange and red only by a named person.": (
        "风险等级按 GB 39496-2020 的计数规则确定。降级较慢;由红色、橙色降级须由具名人员操作。"
    ),
    "Items of each lane that the platform which is furthest behind has not confirmed.": (
        "各通道中,进度最慢的平台尚未确认的条数。"
    ),
    (
        "Proves each link from the sensor to the coil and the platforms on a copy of the memory. Nothing is tripped. "
        "What came of it is told to all platforms, marked as a drill."
    ): ("在内存副本上逐环验证从传感器到继电器线圈和平台的链路,不会跳闸。结果送达全部平台,并标明为演练。"),
    "Where somebody is decides whose account of gas and dust grows. Ids, never names; platforms hear nothing.": (
        "人员所在区域决定瓦斯和粉尘接触量记在谁的账上。只用编号,不用姓名;平台不会收到这些信息。"
    ),
    "Reads the journal; the daemon need not run.": "读取日志;守护进程不必运行。",
    (
        "`verify` names the first record that is not as it was written, and holds the journal against heads that "
        "somebody else noted; exit 1 where anything does not fit. `key` prints the public key. `export` writes a "
        "bundle with a program that checks it and judges the alarm again. The daemon need not run."
    ): (
        "`verify` 指出第一条与写入时不符的记录,并将日志与他人记下的见证记录比对;任何一处不符,退出码为 1。`key`"
        " 打印公钥。`export` 导出证据包,内含校验程序,可校验并重新判断该报警。守护进程不必运行。"
    ),
    "A draft: a person fills in what is blank, and sends it. Each version stays, and the journal has its hash.": (
        "仅为草稿:空白处由人员填写,并由人员上报。每个版本都保留,日志中记有其哈希。"
    ),
    (
        "Clips and pictures of alarms. `protect` and `release` ask the running daemon, everything else reads the "
        "disk. `verify` exits with 1 where a file is not as it was, or the journal does not know it."
    ): (
        "报警的录像和图片。`protect` 和 `release` 由运行中的守护进程执行,其余操作只读磁盘。文件已改变,或日志中"
        "没有该文件时,`verify` 的退出码为 1。"
    ),
    (
        "Watches only: nothing is driven, nobody is told. The folder holds site.toml, frames.jsonl and alarms.jsonl, "
        "and is a test case as it stands. Ends by SIGINT, SIGTERM or --seconds."
    ): (
        "只监测:不驱动输出,不通知任何人。文件夹中有 site.toml、frames.jsonl 和 alarms.jsonl,可直接作为测试用例。"
        "遇 SIGINT、SIGTERM 或到 --seconds 时结束。"
    ),
    (
        "The same frames give the same alarms. Prints each edge as a line of JSON; with --compare it says whether "
        "they are those of alarms.jsonl, and exits with 1 where not."
    ): (
        "相同的数据帧得出相同的报警。每次状态变化打印为一行 JSON;使用 --compare 时说明是否与 alarms.jsonl 一致,"
        "不一致时退出码为 1。"
    ),
    (
        "The answer is CSV with timestamp, score and alarm; why goes to the standard error. With --json what was told "
        "is JSON, and rows are written only to --out."
    ): ("结果为 CSV,含时间戳、得分和报警;原因写到标准错误。使用 --json 时以 JSON 给出报告内容,各行只写入 --out。"),
    "Without a name: who may act. The password is asked for twice, never given on the command line.": (
        "不给出姓名时,列出可操作的人员。密码须输入两次,不得写在命令行中。"
    ),
    "Ed25519. The public key goes into [[issuer]] of a site; the private one never leaves whoever signs.": (
        "Ed25519。公钥写入现场文件的 [[issuer]];私钥始终由签名人保管。"
    ),
    (
        "The node decides: who may, whether it is new, whether a second person is needed. A word for each step; exit "
        "0 only if it was done. `sign` adds a signature to somebody else's envelope, `send` sends one."
    ): (
        "由节点决定:谁有权、是否为新指令、是否需要第二人签名。每一步显示一行;执行成功时退出码才为 0。`sign` 为"
        "他人的指令加签,`send` 发送一条指令。"
    ),
    (
        "Plants of a scenario as Modbus servers, a drawn road or driver as a stream or a film, a platform for an "
        "uplink, or a fleet of gateways against one broker. Runs until SIGINT."
    ): (
        "将场景中的装置模拟为 Modbus 服务器;将合成的道路或驾驶员输出为视频流或视频文件;模拟供上行连接的平台;或"
        "以大批网关连接一台服务器。运行至 SIGINT。"
    ),
    (
        "Everything is simulated; ends with a verdict that counts what was missed, false, lost or told twice. Exit 0 "
        "only if nothing was."
    ): ("全部为模拟;最后给出结论,统计漏报、误报、丢失和重复。全部为零时退出码才为 0。"),
    (
        "Prints a script for the shell. With another word it prints what a shell offers while somebody types: ids of "
        "open alarms, names of profiles, models and evidence."
    ): ("打印 shell 的补全脚本。给出其他词时,打印补全时提供的内容:未结束报警的编号,限值、网络和证据的名称。"),
    "On a terminal the manual is shown by man(1) where there is one; on a pipe it is roff.": (
        "在终端上用 man(1) 显示手册(如已安装);接管道时输出 roff。"
    ),
    # examples
    "until Ctrl-C": "按 Ctrl-C 结束",
    "every fault, or the wiring": "全部错误,或接线",
    "the same for a program": "同上,供程序使用",
    "every channel with value, unit and quality": "每个测点的数值、单位和质量",
    "four registers as they are": "四个寄存器的原始值",
    "as a number": "解析为数值",
    "the cockpit; q leaves": "网关总览;按 q 退出",
    "once, in Chinese": "打印一次,中文",
    "one thing of it": "只取其中一项",
    "what is open": "未结束的报警",
    "seen": "确认",
    "for two hours": "搁置两小时",
    "how many there are, and which come most": "报警数量,以及最频繁的测点",
    "the tree of items": "单元的层次",
    "what is owed": "待发数据",
    "the interlock `heading`": "演练联锁 `heading`",
    "4711 goes in": "4711 进入",
    "who is where": "人员分布",
    "why, and what became of it": "原因和处理经过",
    "what is wrong here, and what to do": "此处有何问题,如何处理",
    "asks, and writes site.toml": "问答后写入 site.toml",
    "for an editor": "供编辑器使用",
    "goes on by the site file as it is now": "采用修改后的现场文件",
    "what the site file names": "现场文件所用的设备",
    "is the journal whole?": "日志是否完整",
    "with what a platform noted": "与平台记下的见证记录比对",
    "what proves an alarm": "导出某个报警的证据",
    "a draft": "生成草稿",
    "what there is": "列出全部",
    "keep it": "保留,不被清理",
    "a copy that was checked": "导出经校验的副本",
    "an hour of this site": "录制本现场一小时",
    "the same alarms?": "报警是否一致",
    "what another limit would have done": "换一个限值会怎样",
    "what is unlike its own past": "与自身历史不同之处",
    "warnings of a drive": "一段行程中的提醒",
    "Li may act on the page": "Li 可在页面上操作",
    "no longer": "取消其权限",
    "prints the line for [[issuer]]": "打印供 [[issuer]] 使用的一行",
    "at this machine": "在本机执行",
    "from afar": "远程执行",
    "R, term by term": "R 值,逐项列出",
    "those of coal mines": "煤矿的限值",
    "one in full": "某项限值的全部内容",
    "which nets are here": "本机有哪些网络",
    "whole, and do they run?": "是否完整,能否运行",
    "three plants": "三个模拟现场",
    "stories of the road": "道路情景一览",
    "a platform": "一个平台",
    "two minutes": "两分钟演示",
    "for a program": "供程序使用",
    "bash": "bash",
    "zsh, where fpath has ~/.zfunc": "zsh,fpath 中须有 ~/.zfunc",
    "fish": "fish",
    "install it": "安装手册页",
    # the manual
    "usage: vedette VERB ...": "用法: vedette VERB ...",
    "examples:": "示例:",
    "a list of objects with {}": "对象列表,各含 {}",
    "an object with {}": "对象,含 {}",
    "User Commands": "用户命令",
    "NAME": "名称",
    "SYNOPSIS": "概要",
    "DESCRIPTION": "说明",
    "OPTIONS OF EVERY VERB": "通用选项",
    "VERBS": "动词",
    "EXIT STATUS": "退出码",
    "FILES": "文件",
    "ENVIRONMENT": "环境变量",
    "EXAMPLES": "示例",
    "SEE ALSO": "参见",
    "A first hour with a new gateway:": "新网关的第一个小时:",
    # exit codes, files, environment
    "done; the answer is yes": "完成;结论为“是”",
    "done; the answer is no: something differs, is broken or was not done": ("完成;结论为“否”:有差异、有损坏或未执行"),
    "wrong words on the command line": "命令行有误",
    "what was given is not what it should be": "给出的内容不合要求",
    "a file that was named is not there": "指定的文件不存在",
    "somebody who is needed does not answer: the daemon, a device, a broker": (
        "所需的一方没有应答:守护进程、设备或服务器"
    ),
    "the output cannot be written": "无法写出结果",
    "the configuration has faults, all of which were told": "配置有错误,已全部列出",
    "ended by Ctrl-C": "被 Ctrl-C 中止",
    "the site file, where none is said and one is in this folder": "现场文件:未指定且当前文件夹中有此文件时",
    "else this one": "否则使用此文件",
    "[store] path of the site file, `state` beside it where none is said: everything that is kept": (
        "现场文件中 [store] path 所指的文件夹,未写时为其旁的 `state`:保存的全部内容"
    ),
    "where the daemon answers its own user, and root": "守护进程在此应答其所属用户和 root",
    "the journal of decisions": "决策日志",
    "the private key that signs it": "签署决策日志的私钥",
    "alarms, events and telemetry that are not delivered yet": "尚未送达的报警、事件和遥测",
    "nets that were imported or fetched": "导入或下载的网络",
    "the site file, where -c names none": "现场文件,未给出 -c 时使用",
    "folder of this machine's own nets": "本机自有网络的文件夹",
    "the language of people, where --lang says none: Chinese for zh; else the site's": (
        "显示语言,未给出 --lang 时使用:zh 为中文;均未设置时按现场的语言"
    ),
    "if it is set to anything, there is no colour": "只要设置了,就不使用颜色",
    "width of `vedette status` on a pipe (120)": "接管道时 `vedette status` 的宽度(120)",
    "secrets that a site file refers to as env:NAME": "现场文件以 env:NAME 引用的密码",
}

# What argparse and `manual.Parser` say of wrong words: patterns, one after the other, and what is said instead.
WRONG: Mapping[str, str] = {
    "^the following arguments are required: (.*?)(;|$)": r"缺少参数 \1\2",
    "^unrecognized arguments: (.*?)(;|$)": r"无法识别的参数 \1\2",
    "^ambiguous option: (.*?) could match ": r"选项 \1 有歧义,可能是 ",
    "^argument (.*?): expected one argument": r"\1 后须有一个值",
    "^argument (.*?): expected at least one argument": r"\1 后至少须有一个值",
    "^argument (.*?): ignored explicit argument '(.*?)'": r"\1 不带值,却给出了 `\2`",
    "^argument (.*?): invalid int value: '(.*?)'": r"\1 须为整数,而非 `\2`",
    "^argument (.*?): invalid float value: '(.*?)'": r"\1 须为数值,而非 `\2`",
    "^argument (.*?): ": r"\1:",
    "^no verb `(.*?)`": r"没有动词 `\1`",
    r"^no (\S+) `(.*?)`": r"\1 不能是 `\2`",
    r"; did you mean (`.*?`)\?( |$)": r";是否指 \1?",
    "; known: ": ";可选:",
    "; `(vedette[^`]*) --help` says more$": r";详见 `\1 --help`",
    "`(vedette[^`]*) --help` says more$": r"详见 `\1 --help`",
}
