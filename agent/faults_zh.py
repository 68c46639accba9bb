"""What is wrong, in Chinese: the faults of a site file, and of the world where the command line meets it.

A fault is a line of clauses: `site.toml:12: rule `gas`: no channel is called `a/b``. It is told in English, once, where
it is found, and stays so in JSON, in logs and in events; here it is said again for people, clause by clause. `{}`
stands for what is carried over: in backticks as it is (names), elsewhere said again in turn (`a whole number`). What
has no text here stays English. Loaded where somebody reads Chinese, and nowhere else; a text that changes in English
changes here with it, or a test fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache

ZH: Mapping[str, str] = {
    # hints at the end
    "{}; did you mean `{}`?": "{};是否指 `{}`?",
    # shape of a file, and what a value should be
    "unknown key `{}`": "未知的键 `{}`",
    "unknown table `{}`": "未知的表 `{}`",
    "`{}` is missing": "缺少 `{}`",
    "`{}` = (not shown)": "`{}` = (不显示)",
    "should be {}, is {}": "应为{},实为{}",
    "must be >= {}": "须 >= {}",
    "must be <= {}": "须 <= {}",
    "must be > {}": "须 > {}",
    "must be < {}": "须 < {}",
    "must look like {}": "格式须为 {}",
    "may only have letters, digits, . _ and -": "只能含文字、数字和 . _ -",
    "should have {} entries, has {}": "应有 {} 项,实有 {} 项",
    "should have {} entries": "应有 {} 项",
    "{} is not one of the choices": "{} 不在可选范围内",
    "text": "文本",
    "a whole number": "整数",
    "a number": "数值",
    "a number is expected": "须为数值",
    "true or false": "布尔值",
    "a list": "列表",
    "a table": "表",
    "null": "空",
    "{} | {}": "{}或{}",
    "Expected `{}` of length {}": "`{}` 的长度须 {}",
    "Expected `{}`, got `{}`": "应为 `{}`,实为 `{}`",
    "Expected `{}` >= {}": "`{}` 须 >= {}",
    "Expected `{}` <= {}": "`{}` 须 <= {}",
    "Object contains unknown field `{}`": "未知的键 `{}`",
    "Object missing required field `{}`": "缺少 `{}`",
    "Invalid enum value {}": "{} 不在可选范围内",
    "{} - at `{}`": "{}(位于 `{}`)",
    "Input data was truncated": "数据不完整",
    "{} codec can't decode byte {} in position {}": "按 {0} 编码,位置 {2} 的字节 {1} 无法解码",
    "invalid start byte": "起始字节无效",
    "invalid continuation byte": "后续字节无效",
    "unexpected end of data": "数据中断",
    "not UTF-8 text (byte {}); save the file as UTF-8": "不是 UTF-8 文本(第 {} 字节);请将文件另存为 UTF-8",
    "not TOML": "不符合 TOML 格式",
    "neither UTF-8 nor GBK text": "既不是 UTF-8 也不是 GBK 文本",
    "{} cells under {} column names": "有 {} 个单元格,而列名只有 {} 个",
    "the first line must name the columns, `key` among them": "首行须为列名,其中须有 `key`",
    "cannot be read": "无法读取",
    "cannot be written": "无法写入",
    "`format` is a whole number, 1 to {}": "`format` 须为整数,1 至 {}",
    "format {} is of a newer program; this one knows formats up to {}": (
        "格式 {} 属于更新版本的程序;本程序最高支持格式 {}"
    ),
    "[site] is missing; it needs at least `name`": "缺少 [site];其中至少须有 `name`",
    "`{}` should be a table": "`{}` 应为表",
    "`{}` should be a list of tables": "`{}` 应为表的列表",
    # TOML
    "Cannot overwrite a value": "不能覆盖已有的值",
    "Cannot declare {} twice": "{} 重复定义",
    "Cannot mutate immutable namespace {}": "{} 已定义完毕,不能再添加",
    "Cannot redefine namespace {}": "{} 不能重新定义",
    "Duplicate inline table key {}": "内联表中键 {} 重复",
    "Expected '=' after a key in a key/value pair": "键之后须有 '='",
    "Expected ']' at the end of a table declaration": "表名末尾须有 ']'",
    "Expected ']]' at the end of an array declaration": "表名末尾须有 ']]'",
    "Expected newline or end of document after a statement": "一条语句之后须换行或结束",
    "Found invalid character {}": "出现无效字符 {}",
    "Illegal character {}": "非法字符 {}",
    "Escaped character is not a Unicode scalar value": "转义字符不是有效的 Unicode 字符",
    "Invalid date or datetime": "日期或时间无效",
    "Invalid hex value": "十六进制值无效",
    "Invalid initial character for a key part": "键的首字符无效",
    "Invalid statement": "语句无效",
    "Invalid value": "值无效",
    "Unclosed array": "列表未闭合",
    "Unclosed inline table": "内联表未闭合",
    "Unescaped '\\' in a string": "字符串中的 '\\' 未转义",
    "Unterminated string": "字符串未结束",
    "Expected {}": "应为 {}",
    "{} (at line {}, column {})": "{}(第 {} 行,第 {} 列)",
    "{} (at end of document)": "{}(文件末尾)",
    # site, buses, devices, channels
    "no [[bus]]": "没有 [[bus]]",
    "no [[bus.device]]": "没有 [[bus.device]]",
    "there is nothing to read": "无可读取",
    "bus `{}`": "总线 `{}`",
    "bus {}": "总线 {}",
    "device `{}`": "设备 `{}`",
    "device {}": "设备 {}",
    "channel `{}`": "测点 `{}`",
    "output `{}`": "输出 `{}`",
    "output {}": "输出 {}",
    "uplink `{}`": "上行 `{}`",
    "uplink {}": "上行 {}",
    "rule `{}`": "规则 `{}`",
    "detector `{}`": "检测器 `{}`",
    "interlock `{}`": "联锁 `{}`",
    "item `{}`": "单元 `{}`",
    "items {}": "单元 {}",
    "zone `{}`": "区域 `{}`",
    "unit `{}`": "单元 `{}`",
    "substance `{}`": "物质 `{}`",
    "issuer `{}`": "签发人 `{}`",
    "profile `{}`": "限值 `{}`",
    "limit `{}`": "限值 `{}`",
    "this node cannot be a neighbour of itself": "本节点不能是自己的相邻节点",
    "inventory {} cannot be read": "清单 {} 无法读取",
    "no {} is called `{}`": "没有名为 `{1}` 的 {0}",
    "no device profile `{}`": "没有设备模板 `{}`",
    "point list {} has no points": "点表 {} 中没有测点",
    "point list {} cannot be read": "点表 {} 无法读取",
    "channel `{}` is listed twice": "测点 `{}` 重复列出",
    "`anomaly` is true or false": "`anomaly` 须为 true 或 false",
    "a source is called `{}`, like that of certificates": "数据源名 `{}` 与证书的数据源同名",
    "a second bus is called `{}`": "总线名 `{}` 重复",
    "a second source is called `{}`": "数据源名 `{}` 重复",
    "a second output is called `{}`": "输出名 `{}` 重复",
    "a second channel is called `{}/{}`": "测点名 `{}/{}` 重复",
    "a second rule is called `{}`": "规则名 `{}` 重复",
    "a second uplink is called `{}`": "上行名 `{}` 重复",
    "a second issuer is called `{}`": "签发人 `{}` 重复",
    "a second detector is called `{}`": "检测器名 `{}` 重复",
    "a second zone is called `{}`": "区域名 `{}` 重复",
    "a second neighbour is called `{}`": "相邻节点名 `{}` 重复",
    "the source `{}` is that of the items": "数据源名 `{}` 已用于单元",
    "no source is called `{}`": "没有数据源 `{}`",
    "no channel is called `{}`": "没有测点 `{}`",
    "no channel is called {}": "没有测点 {}",
    "no output is called `{}`": "没有输出 `{}`",
    "no rule is called `{}`": "没有规则 `{}`",
    "no item is called `{}`": "没有单元 `{}`",
    # Modbus
    "the port must be 1 to 65535": "端口须为 1 至 65535",
    "write {}://host:port": "请写 {}://host:port",
    "write rtu:///dev/ttyUSB0, with three slashes": "请写 rtu:///dev/ttyUSB0,含三个斜杠",
    "write tcp://host:502, rtu:///dev/ttyUSB0 or rtu+tcp://host:port": (
        "请写 tcp://host:502、rtu:///dev/ttyUSB0 或 rtu+tcp://host:port"
    ),
    "write /dev/ttyUSB0 or tcp://host:port": "请写 /dev/ttyUSB0 或 tcp://host:port",
    "address {}": "地址 {}",
    "beyond 65535": "超出 65535",
    "a {} is one bit; it has no bit {}": "{} 只有一位,没有位 {}",
    "bits go from 0 (least significant) to 15, low-high": "位号为 0(最低位)至 15,写作 低-高",
    (
        'address {} is not understood; write kind:number counted from 0, for example "holding:0x1000" or "coil:5", '
        'or the classic notation 40001, 30001, 10001, "00001"'
    ): (
        '无法识别地址 {};请写 类型:编号(从 0 起),如 "holding:0x1000" 或 "coil:5",或传统写法 40001、30001、10001、'
        '"00001"'
    ),
    "the {}xxxx notation counts from 1": "{}xxxx 写法从 1 起",
    "{} registers at {} do not fit into one read of {}": "{1} 处的 {0} 个寄存器超出一次读取的 {2} 个",
    "key {} is used twice": "键 {} 重复使用",
    "channel {} needs {} registers, max_registers is {}": "测点 {} 需要 {} 个寄存器,而 max_registers 为 {}",
    "channel {} would be stale between two polls": "测点 {} 在两次轮询之间就会过期",
    "stale is {} s, period {} s": "stale 为 {} 秒,period 为 {} 秒",
    (
        "device {} has no channel, so nobody would see it die; read something of it, for a relay the coil that it "
        "switches"
    ): ("设备 {} 没有测点,失联时无人知晓;请读取它的某个量,继电器可读它所控制的线圈"),
    "only coils and whole holding registers can be written": "只能写线圈和整个保持寄存器",
    "on and off are the same value": "on 与 off 的值相同",
    "device {} is there twice": "设备 {} 重复",
    "output {} is there twice": "输出 {} 重复",
    "no device {} here": "此处没有设备 {}",
    "a {} holds one bit": "{} 只存一位",
    "type must be bool, not {}": "type 须为 bool,而非 {}",
    "a bit field cannot be {}": "位段不能是 {}",
    "leave type out, or write bool or bits": "请去掉 type,或写 bool 或 bits",
    "{} bits are not a bool": "{} 位不是 bool",
    "write type = bits": "请写 type = bits",
    "count is for strings only": "count 仅用于字符串",
    "the value reaches beyond register 65535": "该值超出寄存器 65535",
    "raw needs range": "有 raw 就须有 range",
    "the values at those two numbers": "即这两个数对应的值",
    "range needs raw": "有 range 就须有 raw",
    "the numbers in the device at those two values": "即这两个值在设备中的数",
    "raw and range already fix the line": "raw 和 range 已确定换算直线",
    "leave scale and offset out": "请去掉 scale 和 offset",
    "raw needs two different numbers": "raw 须为两个不同的数",
    "signal needs range": "有 signal 就须有 range",
    "the values at 4 and 20 mA": "即 4 和 20 mA 对应的值",
    "scale 0 would make every reading the same": "scale 为 0 会使所有读数相同",
    "low must be below high": "low 须小于 high",
    "signal {}": "信号 {}",
    (
        "a {} cannot show less than {} mA here, so a broken wire would pass for a measurement. raw must be the counts "
        "for 4 and 20 mA of an input with live zero ([819, 4095] for 0 to 20 mA over 12 bit), or the number a signed "
        "one; an input that spreads 4 to 20 mA over all its counts cannot show a broken wire"
    ): (
        "{} 在此不能表示小于 {} mA 的电流,断线会被当作测量值。raw 须为活零点输入在 4 和 20 mA 时的计数(12 位、0 至 "
        "20 mA 时为 [819, 4095]),或采用有符号数;将 4 至 20 mA 铺满全部计数的输入无法显示断线"
    ),
    "only finite numbers mean something here": "此处只能是有限数值",
    "output {} switches the same {} as output {}": "输出 {0} 与输出 {2} 控制同一个 {1}",
    "on an RTU line unit goes from 1 to 247, is {}": "RTU 线路上 unit 为 1 至 247,现为 {}",
    "pipeline is for tcp only": "pipeline 仅用于 tcp",
    "an RTU line has one request at a time": "RTU 线路一次只有一个请求",
    "one poll takes {} s ({} requests), its period is {} s": "轮询一次需 {} 秒({} 个请求),而周期为 {} 秒",
    "the devices need {} % of the line's time; lengthen periods, raise the baud rate or split the bus": (
        "各设备共需线路时间的 {} %;请延长周期、提高波特率或拆分总线"
    ),
    (
        "when {} dies, its values grow {} s old (period {} s, {} s behind the dead device, {} s a round) and are stale "
        "after {} s"
    ): "{} 失联时,本设备的数据会旧至 {} 秒(周期 {} 秒,等待失联设备 {} 秒,一轮 {} 秒),而 {} 秒即过期",
    "choose a shorter timeout (now {} s) or a longer stale (3 periods where not set), or split the bus": (
        "请缩短 timeout(现为 {} 秒)、加长 stale(未设时为 3 个周期)或拆分总线"
    ),
    # other lines
    "`{}` is a channel already": "`{}` 已是测点",
    "{} must not contain + or #": "{} 不得含 + 或 #",
    "each neighbour is named by itself": "相邻节点须逐个写明",
    "who speaks at a broker far away is only known by TLS": "远处服务器上的发言者只有经 TLS 才能确认",
    "use mqtts://": "请用 mqtts://",
    'in MQTT 3.1.1 a broker cannot say no; use version 5, or trust = "given"': (
        'MQTT 3.1.1 中服务器无法拒绝;请用版本 5,或 trust = "given"'
    ),
    "pynmeagps is not installed; install vedette[vehicle]": "未安装 pynmeagps;请安装 vedette[vehicle]",
    "{}; install vedette[vehicle]": "{};请安装 vedette[vehicle]",
    "give it words with `say`, or a sound with `file`": "请用 `say` 给出语句,或用 `file` 给出声音文件",
    "{}:// is not known; known are {}, a device or a file": "不支持 {}://;可用 {}、设备或文件",
    "user and password do not belong into url; use user and password": (
        "用户名和密码不应写在 url 中;请用 user 和 password"
    ),
    "a device or file has no user": "设备或文件没有用户",
    "loop is for files": "loop 仅用于文件",
    "corners are shares of width and height, from 0 to 1": "顶点为宽和高的比例,0 至 1",
    "before and after are from 0 to 30 s": "before 和 after 为 0 至 30 秒",
    "give the whole path of the folder, from / on": "请写文件夹的完整路径,以 / 开头",
    "{} MB are needed for {} s at this rate and width": "按此帧率和宽度,{1} 秒需要 {0} MB",
    "a camera needs OpenCV, which is not installed": "摄像机需要 OpenCV,但未安装",
    "a net needs ONNX Runtime, which is not installed": "视觉网络需要 ONNX Runtime,但未安装",
    "its corners span nothing; give them in order, round the zone": "各顶点围不成区域;请绕区域一周依次给出",
    "each has a name of its own": "名称不得重复",
    (
        "nobody is seen without a net; name one that knows people, like yolox_nano (`vedette models fetch yolox_nano`, "
        "or import)"
    ): "没有视觉网络就看不到人;请指定能识别人的网络,如 yolox_nano(`vedette models fetch yolox_nano`,或导入)",
    "it asks no net": "它不用视觉网络",
    "crest and far are one place": "crest 与 far 是同一位置",
    "`far` is not in the picture; take a place in the water that is": "`far` 不在画面内;请取画面内水中的一点",
    "{} points or more are needed, not {}": "至少需要 {} 个点,现有 {} 个",
    "they tell no plane; take points that are well apart in both directions": (
        "它们定不出平面;请取在两个方向上都相距较远的点"
    ),
    "some lie beyond the horizon that the others tell": "有的点越过了其余各点确定的地平线",
    "check their order": "请检查顺序",
    "number {} does not go with the others": "第 {} 点与其余各点不符",
    "they would have it {} m elsewhere": "按其余各点,它偏差 {} 米",
    "they see it in the sky": "按其余各点,它在天空中",
    # rules and limits
    "`{}` is the name of a built-in rule; choose another": "`{}` 是内置规则的名称;请另取",
    "`channel` is empty": "`channel` 为空",
    "nothing is watched": "没有监视任何测点",
    "nothing is seen": "没有可看的测点",
    "{} channels cannot give {} votes": "{} 个测点不可能有 {} 票",
    "no detector gives `{}` of {}": "没有检测器给出 {1} 的 `{0}`",
    "`{}` is a heartbeat, which no rule drives": "`{}` 是心跳输出,规则不能驱动",
    "a deviation needs at least two channels": "偏差至少需要两个测点",
    "{} = {} s is too short for channels that are read so seldom; at least {} s": (
        "{} = {} 秒,相对于测点的读取间隔过短;至少 {} 秒"
    ),
    "`kind` is missing (or a `profile`); kinds": "缺少 `kind`(或 `profile`);可选",
    "`limits` should be a table, like { {} = 1.0 }": "`limits` 应为表,如 { {} = 1.0 }",
    "profile `{}` has no limit `{}`": "限值 `{}` 中没有 `{}`",
    "profile `{}` leaves `{}` to the site; add limits = { {} = ... }": (
        "限值 `{}` 的 `{}` 由现场规定;请加上 limits = { {} = ... }"
    ),
    "`{}` comes from profile `{}`; set `limits` to change numbers": (
        "`{}` 由限值 `{}` 给出;如需改动数值,请设 `limits`"
    ),
    "`{}` should be a number, is {}": "`{}` 应为数值,实为 {}",
    "`{}` is in {}, profile `{}` in {}": "`{}` 的单位为 {},限值 `{}` 的单位为 {}",
    "no unit": "(无)",
    "no profile `{}`": "没有限值 `{}`",
    "{} cannot be told in {}": "{} 不能换算为 {}",
    "{} is {} only for a known gas": "只有已知气体才能由 {} 换算为 {}",
    "{} is {} only for a gas whose lower explosive limit is known": "只有已知爆炸下限的气体才能由 {} 换算为 {}",
    "window and per go with rises, falls and moves, and with nothing else": (
        "window 和 per 只与 rises、falls、moves 合用"
    ),
    "`{}` is no condition; it should read like `fan/running >= 1`": "`{}` 不是条件;应写作 `fan/running >= 1`",
    "{} must be a finite number, is {}": "{} 须为有限数值,实为 {}",
    "{} has no `{}`": "{} 没有 `{}`",
    "what latches is over when it is reset; it cannot be a lock as well": "自锁须经复位才结束;不能同时为 lock",
    "restore {} lies beyond limit {}": "恢复值 {} 越过限值 {}",
    "the alarm would clear while it is true": "条件仍成立时报警就会解除",
    "a vote would be withdrawn while it is true": "条件仍成立时表决就会撤回",
    "fail_safe has no meaning here": "fail_safe 在此无意义",
    "this kind watches blind channels itself": "此类规则本身就监视失效测点",
    "low {} and high {} leave no number between them": "low {} 与 high {} 之间没有可取的值",
    "rule `{}` is named twice": "规则 `{}` 重复出现",
    "`{}` has no limit of its own": "`{}` 没有自己的限值",
    "`{}` is no rule": "没有规则 `{}`",
    "[[self]] changes built-in rules, and `builtin = false` leaves none": (
        "[[self]] 用于修改内置规则,而 `builtin = false` 已全部停用"
    ),
    "the agent has no rule `{}` of its own": "代理没有自检规则 `{}`",
    "the agent has no channel `{}`": "代理没有测点 `{}`",
    "a rule that is off has no {}": "已停用的规则不能有 {}",
    "nothing is changed": "未作任何修改",
    "give `off` a reason, or set {}": "请在 `off` 中写明理由,或设置 {}",
    "profile `self/{}`": "限值 `self/{}`",
    "{} has no value": "{} 没有数值",
    # interlocks
    "to lock the fan, `fan` must say when it runs": "要闭锁风机,`fan` 须能说明它何时运转",
    (
        "when this program dies, it trips nothing. Name a `heartbeat`, an output of the same line whose relay trips "
        "when it stands still; or say in `unguarded` why not"
    ): (
        "本程序中断后,该联锁不再跳闸。请写明 `heartbeat`,即同一线路上的一个输出,其继电器在心跳停止时跳闸;或在 "
        "`unguarded` 中说明为何不设"
    ),
    "bus `{}` of its trip has no heartbeat `{}`": "其跳闸输出所在的总线 `{}` 没有心跳输出 `{}`",
    "bus `{}` of its trip has no heartbeat `{}`; it is on another line": (
        "其跳闸输出所在的总线 `{}` 没有心跳输出 `{}`;它在另一条线路上"
    ),
    # items, zones, hazards
    "an item is part of itself": "单元包含自身",
    "a source is called `{}`, like those of exposure; choose another name": (
        "数据源名 `{}` 与接触量的数据源同名;请另取"
    ),
    "a zone cannot be called `out`": "区域不能名为 `out`",
    "that is where people are who are in none": "它表示人员不在任何区域内",
    "profiles/{} knows no `{}`": "profiles/{} 中没有 `{}`",
    "{} {} has no value to use": "{} {} 没有可用的数值",
    "`{}` has two {} limits `{}`": "`{}` 有两个 {} 限值 `{}`",
    "an inventory is a list of tables": "清单应为表的列表",
    "no class is called `{}`": "没有类别 `{}`",
    "`{}` is not in the table; give its class, or critical (t) and beta, after {}": (
        "表中没有 `{}`;请按 {} 给出 class,或 critical(t)和 beta"
    ),
    # detectors
    "it has no use for channels beside; leave `beside` out": "它不需要旁证测点;请去掉 `beside`",
    "detector `{}` would give {}, but waits itself": "检测器 `{}` 可给出 {},但它自己也在等待",
    "collision `{}`": "检测器 `{}`",
    "fatigue `{}`": "检测器 `{}`",
    "dam `{}`": "检测器 `{}`",
    "lag `{}`": "检测器 `{}`",
    "mixture `{}`": "检测器 `{}`",
    "gas `{}`": "检测器 `{}`",
    "graham `{}`": "检测器 `{}`",
    "reach `{}`": "检测器 `{}`",
    "slope `{}`": "检测器 `{}`",
    "barometric `{}`": "检测器 `{}`",
    "it wants all channels of a camera that looks at the road; {} is not among them": (
        "须给出前视摄像机的全部测点;{} 不在其中"
    ),
    "it wants all channels of a camera that looks at the driver; {} is not among them": (
        "须给出驾驶员摄像机的全部测点;{} 不在其中"
    ),
    "speed should be in km/h or m/s, {} is in {}": "车速单位应为 km/h 或 m/s,{} 的单位为 {}",
    "measured must name one channel that is no level": "measured 须为一个测点,且不是水位",
    "cause must name one channel that is not its own effect": "cause 须为一个测点,且不是其自身的结果",
    "limits must be numbers above 0, one for each channel": "limits 须为大于 0 的数值,每个测点一个",
    "{} channels of one source, {} limits": "同一数据源 {} 个测点,却有 {} 个限值",
    "at most {} switches; {} states are never seen often enough": "开关至多 {} 个;{} 种状态无法各自观察足够多次",
    "at most {} switches, here {}": "开关至多 {} 个,此处 {} 个",
    "CO in ppm or %, O2 in %, N2 in %, of one source; here": "须为同一数据源的 CO(ppm 或 %)、O2(%)、N2(%);此处为",
    "limit must be a finite number, is {}": "limit 须为有限数值,实为 {}",
    "one limit is for channels of one unit; here": "一个限值只能用于单位相同的测点;此处为",
    "long must be 3 to {} times short, is {} times": "long 须为 short 的 3 至 {} 倍,现为 {} 倍",
    "channels of one unit; here": "测点单位须相同;此处为",
    "barometer must name one channel that is no level": "barometer 须为一个测点,且不是水位",
    "levels in m, a barometer in hPa": "水位单位为 m,气压单位为 hPa",
    "give `pump` or `flow`": "请给出 `pump` 或 `flow`",
    "a known flow makes the state of the pumps needless": "已知流量时不需要水泵状态",
    # uplinks
    "backfill is telemetry that came too late; name both": "backfill 是迟到的 telemetry;两者须同时写明",
    "what becomes of them is told as events; lanes must name these": "其结果以事件上报;lanes 须含 event",
    "url must be mqtt://host:port or mqtts://host:port, not {}": (
        "url 须为 mqtt://host:port 或 mqtts://host:port,而非 {}"
    ),
    "url must be tcp://host:port or tls://host:port, not {}": "url 须为 tcp://host:port 或 tls://host:port,而非 {}",
    "url must be file:///folder or sftp://user@host[:port]/folder, not {}": (
        "url 须为 file:///folder 或 sftp://user@host[:port]/folder,而非 {}"
    ),
    "no password in url": "url 中不得含密码",
    "or file:": "或 file:",
    "{} must say where it is kept": "{} 须写明存放位置",
    "password must say where PW is kept": "password 须写明 PW 的存放位置",
    "env:NAME, file:/path or credential:NAME": "env:NAME、file:/path 或 credential:NAME",
    "{} without user": "有 {} 却没有 user",
    "{} without key or pkcs12": "有 {} 却没有 key 或 pkcs12",
    "ca, cert, key, pkcs12 and crl need {}:// in url": "ca、cert、key、pkcs12 和 crl 须与 url 中的 {}:// 合用",
    "cert and key go together": "cert 和 key 须同时给出",
    "pkcs12 stands for cert and key": "pkcs12 可代替 cert 和 key",
    "it is one or the other": "二者只取其一",
    "prefix must not be empty nor contain # or +": "prefix 不得为空,也不得含 # 或 +",
    "{} must not contain +, / or #": "{} 不得含 +、/ 或 #",
    "uplink `{}` hears commands, but no [[issuer]] may give any": ("上行 `{}` 接收指令,但没有 [[issuer]] 可以下达"),
    "factor {}": "因子 {}",
    "point {}": "测点 {}",
    "station {}": "站点 {}",
    "`sources` leaves out {}": "`sources` 未包含 {}",
    "that code is given twice": "该编码重复",
    "that code is given twice for {}": "该编码在 {} 中重复",
    "no point has the code {}": "没有编码为 {} 的测点",
    "the table has no name for type {}; give the point a title": "表中没有类型 {} 的名称;请给该测点加 title",
    "alarm of rule `{}`": "规则 `{}` 的报警",
    "no type is called `{}`; known are {}": "没有类型 `{}`;可选 {}",
    "{} go with sftp:// in url": "{} 须与 url 中的 sftp:// 合用",
    "passphrase goes with key": "passphrase 须与 key 合用",
    "sftp needs known_hosts or fingerprint, for the server must be known before it is believed": (
        "sftp 须有 known_hosts 或 fingerprint,先确认服务器才能信任"
    ),
    "sftp needs key or password": "sftp 须有 key 或 password",
    "sftp needs asyncssh": "sftp 需要 asyncssh",
    "install vedette[sftp]": "请安装 vedette[sftp]",
    "{} cannot be read": "{} 无法读取",
    "table {}": "表 {}",
    "no table is called `{}`; {} ship, or give the path of your own": "没有表 `{}`;内置 {},或给出自备文件的路径",
    "base = {} is not a table below it": "base = {} 不是它的下级表",
    "a file is due every so many seconds, or daily and on_change": "文件按 every 定时,或按 daily、on_change,二者取一",
    "at_once goes with about = 'abnormal'": "at_once 须与 about = 'abnormal' 合用",
    "about = 'abnormal' needs every": "about = 'abnormal' 须有 every",
    "no word `{}` here; known are {}": "此处没有字段 `{}`;可选 {}",
    "[abnormal] has no `{}`": "[abnormal] 中没有 `{}`",
    "[state] has no `{}`": "[state] 中没有 `{}`",
    "[abnormal] has no `{}`, or [state] no `{}`": "[abnormal] 中没有 `{}`,或 [state] 中没有 `{}`",
    "Python knows no `{}`": "Python 不支持 `{}`",
    "it is a name, without a folder": "只写名称,不含文件夹",
    "only {mine}, {kind}, {time} and {extension} may stand in it": "其中只能有 {mine}、{kind}、{time} 和 {extension}",
    "every = {} is no multiple of round = {}": "every = {} 不是 round = {} 的整数倍",
    "every must be more than round": "every 须大于 round",
    "what is told at once has a time in between": "即时上报的时间在两者之间",
    "every = {} does not divide a day": "every = {} 不能整除一天",
    "that is no name of a kind": "这不是有效的文件类名",
    "phone has {} digits at most in {}": "phone 在 {1} 版中至多 {0} 位",
    "no parameter is called {}; known are {}": "没有参数 {};可选 {}",
    "parameter {} is from {} to {}": "参数 {} 须为 {} 至 {}",
    "no channel is called `{}`; see `channels` and `alarm`": "没有测点 `{}`;见 `channels` 和 `alarm`",
    "no alarm bit is called {}; known are {}": "没有报警位 {};可选 {}",
    "no bit is called {}; known are {}": "没有状态位 {};可选 {}",
    "item and type go together": "item 和 type 须同时给出",
    "bit or item must say what it is": "须用 bit 或 item 说明报警类别",
    "{} of {} has no type {}; known are {}, or a number": "{1} 的 {0} 没有类型 {2};可选 {3},或数字",
    # commands, the page
    "{} takes two people, and only one issuer may do it": "{} 须两人签署,而只有一个签发人有此权限",
    "issuers `{}` and `{}` have the same key": "签发人 `{}` 和 `{}` 的密钥相同",
    "`{}` is no public key": "`{}` 不是公钥",
    "44 characters of base64 are expected": "应为 44 个 base64 字符",
    "`{}` is no place to listen at; 127.0.0.1:8080 or [::]:8080 is": (
        "`{}` 不是可监听的地址;应如 127.0.0.1:8080 或 [::]:8080"
    ),
    "a port is a number up to 65535": "端口为不大于 65535 的数字",
    "certificate and key belong together": "certificate 和 key 须成对",
    "give both, or none": "同时给出,或都不给",
    "the page needs {}, not installed": "本地页面需要 {},但未安装",
    # modules, models
    "{} {} is not known; known are {}, or module:Class": "没有 {} {};可选 {},或 module:Class",
    "{} {} is not a {}": "{} {} 不是 {}",
    "No module named {}": "没有模块 {}",
    "no window model `{}` in {}, write {}#NAME; there are {}": ("{1} 中没有窗口模型 `{0}`,请写 {2}#NAME;现有 {3}"),
    "no window model `{}` that ships; a manifest of your own ends in .toml; there are {}": (
        "没有内置的窗口模型 `{}`;自备的清单以 .toml 结尾;现有 {}"
    ),
    "manifest of window models {}": "窗口模型清单 {}",
    "window model {}": "窗口模型 {}",
    "window model {} is not the one of its manifest": "窗口模型 {} 与其清单不符",
    "window models need onnxruntime": "窗口模型需要 onnxruntime",
    "onnxruntime cannot load it": "onnxruntime 无法载入",
    (
        "window model {} takes {}; wanted is one tensor (batch, {}), or with a 1 beside {}, the batch free"
    ): "窗口模型 {} 的输入为 {};应为一个张量(batch, {}),或在 {} 旁加一维 1,batch 不定",
    "window model {} gives {} numbers a window; a {} of {} looks has {}": (
        "窗口模型 {0} 每个窗口给出 {1} 个数;{2} 的 {3} 次观察应为 {4} 个"
    ),
    "window model {} does not run on {} windows of {} looks": "窗口模型 {} 不能处理 {} 个窗口、每个 {} 次观察",
    "sha256 is {}": "sha256 为 {}",
    # state, start, reload
    "{} is in format {}, of a newer program; this one ({}) knows formats up to {}": (
        "{} 的格式为 {},属于更新版本的程序;本程序({})最高支持格式 {}"
    ),
    "start the newer one, or name another folder in [store] path": "请启动新版本,或在 [store] path 中另指文件夹",
    "that needs a restart": "须重新启动",
    "the site file is {}, not {}": "现场文件是 {},而非 {}",
    "[web] comes": "新增 [web]",
    "[web] goes": "去掉 [web]",
    "[{}] {} is {}, not {}": "[{}] {} 为 {},而非 {}",
    "a recording goes on as it began": "录制须按开始时的配置进行",
    "a configuration that came by a command is on trial": "经指令下发的配置正在试运行",
    "a drill is under way": "演练正在进行",
    "{}; try again later": "{};请稍后再试",
    "the check did not end in {} s": "检查未能在 {} 秒内结束",
    "the check ended with {}": "检查以 {} 结束",
    # check --fix
    "it was GBK; it is UTF-8": "原为 GBK;已改为 UTF-8",
    "it was UTF-16; it is UTF-8": "原为 UTF-16;已改为 UTF-8",
    "Chinese punctuation is that of TOML now": "中文标点已改为 TOML 标点",
    "`{}` is `{}`": "`{}` 改为 `{}`",
    "{} `{}` is `{}`": "{} `{}` 改为 `{}`",
    "`{}` = {} is {}": "`{}` = {} 改为 {}",
    "'{}' is '{}'": "'{}' 改为 '{}'",
    "a number beside a profile is `limits = { {} = {} }`": "与 profile 合用的数值改为 `limits = { {} = {} }`",
    "`{}` stood here for everybody to read; it is in {} now. Change it": ("`{}` 曾写在此处,人人可读;已移至 {}。请更换"),
    "files are copied": "文件可能已被复制",
    "everybody could read it, mode {}; it has {}": "原先人人可读,权限 {};已改为 {}",
    "(not shown)": "(不显示)",
    # init, record, replay
    "{} is there already; --force replaces it, -c names another": "{} 已存在;--force 可覆盖,-c 可另指文件",
    "this is no terminal": "这不是终端",
    "give --yes, and the answers as options": "请给出 --yes,并以选项给出答案",
    "nothing was written": "未写入任何内容",
    "nothing was changed": "未作任何改动",
    "nothing was put right": "未作任何更正",
    "nothing was started": "未启动",
    "{} was not written; this is a mistake of ours": "{} 未写入;这是本程序的错误",
    "nobody answers on {}; other addresses": "{} 上无应答;其他地址",
    "--units 1-247; check power, A and B, baud rate": "--units 1-247;请检查电源、A/B 线和波特率",
    "write one address, or the first and the last": "请写一个地址,或首末地址",
    "is not empty; a recording wants a folder of its own": "不是空文件夹;录制须用单独的文件夹",
    "lies outside {}; a recording can only take what is beside the site file": (
        "在 {} 之外;录制只能带走现场文件旁的文件"
    ),
    "the site has no source `{}`": "现场没有数据源 `{}`",
    "`{}` has {} channels, the line has {}": "`{}` 有 {} 个测点,该行有 {} 个",
    "quality, age and raw must be as long as value ({})": "quality、age 和 raw 须与 value 等长({})",
    "where is {}? give a zone, or `out`": "{} 在哪里?请给出区域或 `out`",
    "{} give --by NAME": "{}请给出 --by NAME",
    "who acknowledges?": "由谁确认?",
    "who does it?": "由谁操作?",
    # watch, detect, keys, passwords
    "it should have the columns t_s and speed_kmh (or ego_mps)": "须有 t_s 和 speed_kmh(或 ego_mps)两列",
    "neither km/h nor a file": "既不是 km/h 数值也不是文件",
    "in t_s and {} there should be numbers": "t_s 和 {} 列须为数值",
    "no such film or folder": "没有该视频或文件夹",
    "is no film that can be read": "不是可读取的视频",
    "no pictures in this folder ({})": "该文件夹中没有图像({})",
    "is no picture that can be read": "不是可读取的图像",
    "is a site file": "是现场文件",
    "give it as --site": "请用 --site 给出",
    'no camera looks for {}; a [[bus]] with driver = "video" wants a table [bus.{}]': (
        '没有摄像机监视 {};driver = "video" 的 [[bus]] 须有表 [bus.{}]'
    ),
    "its zones are not those of {}": "其区域与 {} 的不同",
    "rules speak of these": "规则所指的是后者",
    "it should be above 0 and at most {} pictures a second": "须大于 0,至多每秒 {} 帧",
    "it should end in {}": "须以 {} 结尾",
    "cannot be written, for there is no such folder": "无法写入,没有该文件夹",
    "pictures of a driver that are no film (--fps) have --out only": "驾驶员图像不成视频(--fps)时只能用 --out",
    "cannot be written; .mp4 or .png are wanted, in a folder that exists": (
        "无法写入;须为 .mp4 或 .png,且文件夹须已存在"
    ),
    "OpenCV is not there ({})": "没有 OpenCV({})",
    "{} is what is read; write somewhere else": "{} 正是要读的文件;请写到别处",
    "no channel `{}`; there are {}": "没有测点 `{}`;现有 {}",
    "no text in UTF-8": "不是 UTF-8 文本",
    "write FIELD=VALUE or NAME:FIELD=VALUE, like limit=0.8 or face:delay=5": (
        "请写 字段=值 或 名称:字段=值,如 limit=0.8 或 face:delay=5"
    ),
    "no rule or detector `{}` has `{}`; there are {}": "没有含 `{1}` 的规则或检测器 `{0}`;现有 {2}",
    "no rule or detector has `{}`; there are {}": "没有规则或检测器含 `{}`;现有 {}",
    "this is no envelope": "这不是指令",
    "a key of another kind; an Ed25519 key is expected": "密钥类型不符;应为 Ed25519 密钥",
    "others may read this private key; chmod 600 {}": "其他用户可读该私钥;请执行 chmod 600 {}",
    "{}; a private key is expected there": "{};此处应有私钥",
    "this key is encrypted or of an unknown kind; an Ed25519 key is expected": (
        "该密钥已加密或类型不明;应为 Ed25519 密钥"
    ),
    "this is no private key in PEM": "不是 PEM 格式的私钥",
    "`--stdin` reads the password from the standard input": "`--stdin` 从标准输入读取密码",
    "the two are not the same; nothing was changed": "两次输入不同;未作任何改动",
    "others may read it; chmod 600 {}": "其他用户可读;请执行 chmod 600 {}",
    "{}; delete it and give the passwords anew": "{};请删除并重新设置密码",
    "a name has 1 to {} characters that can be printed": "姓名须为 1 至 {} 个可显示的字符",
    "a password has {} characters at least; three words that do not belong together are good": (
        "密码至少 {} 个字符;可用三个互不相关的词"
    ),
    "a password has {} characters at most": "密码至多 {} 个字符",
    "this one would be guessed first": "这是最先会被猜到的密码",
    "there is no {}": "没有 {}",
    "{}; run it as the user of the daemon": "{};请以守护进程的用户执行",
    # what the world did
    "ask the daemon at {}": "询问守护进程 {}",
    "no answer in {} s; it is very busy, or hangs": "{} 秒内无应答;可能很忙或已停滞",
    "{}; is `vedette run` running with this site?": "{};`vedette run` 是否正以本现场文件运行?",
    "connect {}": "连接 {}",
    "no answer in {} s; check address and cable": "{} 秒内无应答;请检查地址和线缆",
    "refused; check the port, and whether somebody else has the only connection that it allows": (
        "被拒绝;请检查端口,以及唯一的连接是否已被占用"
    ),
    "{}; check address, port and cable": "{};请检查地址、端口和线缆",
    "open serial port {}": "打开串口 {}",
    "serial port {}": "串口 {}",
    "{}; check the path, the rights and who else uses it": "{};请检查路径、权限和占用者",
    "{}; check the adapter and its plug": "{};请检查转换器及其插头",
    "another program has it": "已被其他程序占用",
    "permission denied": "权限不足",
    "permission denied: it belongs to {}; try": "权限不足:它属于 {};请试",
    "read {} {} from unit {}": "读取 {} {},地址 {}",
    "no reply in {} s; check power, termination and address": "{} 秒内无应答;请检查电源、终端电阻和地址",
    "no reply in {} s; check unit number, power and the gateway's own time-out": (
        "{} 秒内无应答;请检查单元号、电源和串口网关自身的超时"
    ),
    (
        "{} bytes came that do not fit ({}); check baud rate, parity, termination and for a second unit with this "
        "address"
    ): ("收到 {} 个字节但不成帧({});请检查波特率、校验位、终端电阻,以及是否有两台设备地址相同"),
    "the reply {} ({} bytes) does not fit; check for a second unit": "应答 {}({} 字节)不符;请检查是否有第二台设备",
    "two replies to one request; both dropped": "一次请求收到两个应答,均已丢弃",
    "bytes {} are not a Modbus/TCP header; is this another protocol?": (
        "字节 {} 不是 Modbus/TCP 报文头;是否为其他协议?"
    ),
    "connection lost ({})": "连接中断({})",
    "closed by the other side": "对方关闭",
    "refused, code {}, {}": "被拒绝,异常码 {},{}",
    "illegal function": "非法功能",
    "the device does not know this kind of register": "设备不支持此类寄存器",
    "illegal data address": "非法地址",
    "some of these registers do not exist; compare with the manual (counted from 0 or 1?)": (
        "其中有的寄存器不存在;请对照手册(从 0 还是从 1 起?)"
    ),
    "illegal data value": "非法数据",
    "too many registers at once, or a value that the device does not take": "一次读取过多,或设备不接受该值",
    "device failure": "设备故障",
    "the device could not do it": "设备无法执行",
    "busy": "设备忙",
    "ask again later": "请稍后再试",
    "gateway path unavailable": "网关路径不可用",
    "the gateway knows no way to this unit": "串口网关找不到该地址",
    "gateway target did not respond": "串口网关后的设备无应答",
    "check the unit's power, wiring and address behind the gateway": "请检查其电源、接线和地址",
    # what the system says
    "[Errno {}] {}": "{1}",
    "connection refused": "连接被拒绝",
    "no such file or directory": "没有该文件或目录",
    "operation not permitted": "不允许此操作",
    "is a directory": "是目录",
    "not a directory": "不是目录",
    "no space left on device": "磁盘已满",
    "read-only file system": "文件系统只读",
    "no route to host": "没有到该主机的路由",
    "network is unreachable": "网络不可达",
}


HINT = re.compile(r"; known: (.*)$", re.DOTALL)  # of `complaints.nearest`: the choices, which are names
LONGEST = 4000  # signs of a fault; beyond, patterns would take seconds
HOLE = re.compile(r"\{(\d*)\}")


def said(text: str) -> str:
    """A fault, said in Chinese as far as there are words for it.

    >>> said("site.toml:12: rule `gas`: no channel is called `head/ch`; did you mean `head/ch4`?")
    'site.toml:12: 规则 `gas`:没有测点 `head/ch`;是否指 `head/ch4`?'
    """
    if len(text) > LONGEST:
        return text
    known = HINT.search(text)
    *above, last = _parts(text[: known.start()] if known else text, ": ")
    told = [f"{clause}:" if clause != part else f"{part}: " for part in above for clause in [_clause(part)]]
    return "".join([*told, _clause(last), f";可选:{known[1]}" if known else ""])


def _clause(text: str) -> str:
    """One clause by the template that has most words of its own; else part by part."""
    for pattern, names, template in _templates():
        if (found := pattern.fullmatch(text)) is not None:
            words = [word if name else _clause(word) for word, name in zip(found.groups(), names, strict=True)]
            return _filled(template, words)
    for mark in ("; ", ", "):
        parts = _parts(text, mark)
        if len(parts) > 1 and (told := [_clause(part) for part in parts]) != parts:
            return mark.strip().join(told)
    return text


def _filled(template: str, words: list[str]) -> str:
    """The words in the holes, in their order, or in that which the holes name."""
    turns = iter(words)
    return HOLE.sub(lambda hole: words[int(hole[1])] if hole[1] else next(turns), template)


def _parts(text: str, mark: str) -> list[str]:
    """The text without the marks that stand outside of backticks."""
    return re.split(rf"{mark}(?=(?:[^`]*`[^`]*`)*[^`]*$)", text)


@cache
def _templates() -> list[tuple[re.Pattern[str], list[bool], str]]:
    """What a clause looks like, which of its holes are names, and what is said instead."""
    return [
        (re.compile("".join(_pattern(english)), re.DOTALL | re.IGNORECASE), _names(english), chinese)
        for english, chinese in sorted(ZH.items(), key=lambda pair: -len(HOLE.sub("", pair[0])))
    ]


def _pattern(english: str) -> Iterator[str]:
    names = iter(_names(english))
    for i, words in enumerate(english.split("{}")):
        if i:
            yield "([^`]*)" if next(names) else "(.+?)"
        yield re.escape(words)


def _names(english: str) -> list[bool]:
    """Of each hole whether it stands in backticks."""
    return [english[: hole.start()].count("`") % 2 == 1 for hole in HOLE.finditer(english)]
