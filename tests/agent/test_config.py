"""Every mistake in a site file is told at once, with its line and what to do."""

import re
from pathlib import Path

import msgspec
import pytest

from agent import config
from agent.cli import main
from agent.complaints import Places, key_lines, read_points
from agent.core.errors import ConfigFault
from agent.core.rules import KINDS, AnyRule
from agent.core.words import ADVICE, CLEARED, MOVED, RAISED
from agent.profiles import gases, profiles, rule
from tests.tools import guide

ROOT = Path(__file__).parents[2]

SITE = """\
[site]
name = "north"
node = "gw1"

[store]
path = "state"

[[bus]]
name = "net"
url = "tcp://127.0.0.1:502"

[[bus.device]]
name = "heading"
unit = 1
period = 1.0

[[bus.device.channel]]
key = "ch4"
at = "holding:0"
type = "float32"
unit = "%"

[[bus.device.channel]]
key = "co"
at = "holding:2"
type = "uint16"
unit = "ppm"

[[bus.output]]
name = "siren"
device = "heading"
at = "coil:0"

[[rule]]
name = "gas"
kind = "high"
channel = "heading/ch4"
limit = 1.0
drive = ["siren"]

[[rule]]
name = "co"
profile = "coal/co"
channel = ["heading/co"]

[[uplink]]
name = "platform"
url = "mqtt://127.0.0.1:1883"
"""

RTU = """\
[site]
name = "north"
[[bus]]
name = "shaft"
url = "rtu:///dev/ttyUSB0"
baud = 1200
[[bus.device]]
name = "d"
unit = 1
period = 0.2
[[bus.device.channel]]
key = "x"
at = "holding:0"
[[bus.device.channel]]
key = "y"
at = "holding:100"
"""


def complaints(tmp_path, text):
    path = tmp_path / "site.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigFault) as caught:
        config.load(path)
    return caught.value.complaints


def line_of(text, part):
    return next(i for i, line in enumerate(text.splitlines(), 1) if part in line)


def test_a_sound_site_is_resolved(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text(SITE)
    site = config.load(path)
    assert site.site.name == "north"
    assert list(site.layouts) == ["agent", "heading"]
    assert [rule.name for rule in site.rules][:2] == ["gas", "co.alarm"]
    assert {"silent", "unfit"} <= {rule.name for rule in site.rules}
    co = site.rules[1]
    assert (co.limit, co.restore, co.level, co.basis.verify) == (24.0, 24.0, "orange", True)
    assert site.store.path == str(tmp_path / "state")
    assert config.load(path).hash == site.hash
    path.write_text(SITE.replace("limit = 1.0", "limit = 1.1"))
    assert config.load(path).hash != site.hash


# what is changed (old, new), on which line the complaint must stand, what it must say
MISTAKES = [
    ('name = "north"', 'nmae = "north"', "nmae", "unknown key `nmae`; did you mean `name`?"),
    ('name = "north"', 'name = "no/rth"', "no/rth", "may only have letters"),
    ('node = "gw1"', "node = 7", "node = 7", "should be text, is a whole number"),
    ('[store]\npath = "state"', '[sotre]\npath = "state"', "[sotre]", "unknown table `sotre`; did you mean `store`?"),
    ('[site]\nname = "north"\nnode = "gw1"\n', "", None, "[site] is missing"),
    ('path = "state"', 'path = ["state"]', "path =", "should be text"),
    ('name = "net"\n', "", "[[bus]]", "`name` is missing"),
    ('url = "tcp://127.0.0.1:502"', 'url = "tpc://127.0.0.1:502"', "tpc://", "tpc"),
    ('url = "tcp://127.0.0.1:502"', 'url = "tcp://127.0.0.1:99999"', "99999", "port"),
    ('name = "net"\n', 'name = "net"\ndriver = "modbsu"\n', "modbsu", "did you mean `modbus`?"),
    ('name = "net"\n', 'name = "net"\ndriver = "nowhere:Thing"\n', "nowhere:Thing", "nowhere:Thing"),
    ("unit = 1\n", "unit = 256\n", "unit = 256", "must be"),
    ('at = "holding:0"\n', "", "[[bus.device.channel]]", "`at` is missing"),
    ("period = 1.0", "period = 0", "period = 0", "must be"),
    ("period = 1.0", "perod = 1.0", "perod", "did you mean `period`?"),
    ("period = 1.0", 'period = 1.0\nprofile = "generic-flaot32"', "flaot32", "no device profile `generic-flaot32`"),
    ("period = 1.0", 'period = 1.0\npoints = "missing.csv"', "missing.csv", "cannot be read"),
    ('at = "holding:0"', 'at = "holdnig:0"', "holdnig", "holdnig"),
    ('at = "holding:0"', 'at = "holding:70000"', "70000", "70000"),
    ('type = "float32"', 'type = "flaot32"', "flaot32", "flaot32"),
    ('type = "float32"', 'type = "float"', '"float"', "'float' is not one of the choices: bool, bits,"),
    ('type = "uint16"', 'type = "uint16"\norder = "ACBD"', "ACBD", "ACBD"),
    ('key = "co"', 'key = "ch4"', 'key = "ch4"', "listed twice"),
    ('type = "uint16"', 'type = "uint16"\nscale = "big"', 'scale = "big"', "should be a number"),
    ('at = "coil:0"', 'at = "input:0"', "input:0", "only coils"),
    ('device = "heading"', 'device = "haeding"', "haeding", "haeding"),
    ('type = "uint16"', 'type = "uint16"\nscale = nan', "scale = nan", "only finite numbers"),
    (
        'type = "uint16"',
        'type = "uint16"\nsignal = "4-20mA"\nraw = [0, 4095]\nrange = [0, 500]',
        'type = "uint16"',
        "a broken wire would pass for a measurement",
    ),
    ('type = "uint16"', 'type = "uint16"\nstale = 1.0', 'key = "co"', "would be stale between two polls"),
    (
        'at = "coil:0"\n',
        'at = "coil:0"\n[[bus.output]]\nname = "horn"\ndevice = "heading"\nat = "00001"\n',
        'name = "horn"',
        "switches the same coil as output siren",
    ),
    ('kind = "high"', 'kind = "hihg"', "hihg", "did you mean `high`?"),
    ('kind = "high"\n', "", "[[rule]]", "`kind` is missing"),
    ('channel = "heading/ch4"', 'channel = "heading/ch5"', "heading/ch5", "did you mean `heading/ch4`?"),
    ('channel = "heading/ch4"', 'channel = "sump/*"', "sump/*", "no channel is called `sump/*`"),
    ("limit = 1.0\n", "", "[[rule]]", "`limit` is missing"),
    ("limit = 1.0", 'limit = "high"', 'limit = "high"', "should be a number"),
    ("limit = 1.0", 'limit = 1.0\nlevel = "purple"', "purple", "purple"),
    ("limit = 1.0", "limit = 1.0\ndelay = -5", "delay = -5", "must be"),
    ("limit = 1.0", "limit = 1.0\nresotre = 0.8", "resotre", "did you mean `restore`?"),
    ('drive = ["siren"]', 'drive = ["sirne"]', "sirne", "did you mean `siren`?"),
    ('name = "co"\nprofile', 'name = "gas"\nkind = "high"\nlimit = 1\n#', None, "a second rule is called `gas`"),
    ('profile = "coal/co"', 'profile = "coal/c0"', "coal/c0", "did you mean `coal/co`?"),
    (
        'profile = "coal/co"',
        'profile = "coal/air-speed/main"',
        "coal/air-speed/main",
        "`heading/co` is in ppm, profile `coal/air-speed/main` in m/s: m/s cannot be told in ppm",
    ),
    ('profile = "coal/co"', 'profile = "coal/co"\nlimit = 30', "limit = 30", "set `limits` to change numbers"),
    ('profile = "coal/co"', 'profile = "coal/co"\nlimits = { alarm = "x" }', "limits", "should be a number"),
    ('profile = "coal/co"', 'profile = "coal/co"\nlimits = { alram = 20 }', "alram", "did you mean `alarm`?"),
    ('url = "mqtt://127.0.0.1:1883"', 'url = "http://127.0.0.1:1883"', "http://", "mqtt"),
    ('url = "mqtt://127.0.0.1:1883"', 'url = "mqtt://h:1883"\npassword = "secret"', "password", "env:"),
    ('url = "mqtt://127.0.0.1:1883"', 'url = "mqtt://h:1883"\nwindow = 0', "window = 0", "must be"),
    ('url = "mqtt://127.0.0.1:1883"', 'url = "mqtt://h:1883"\nkind = "mqqt"', "mqqt", "did you mean `mqtt`?"),
    ("[[uplink]]", "[[uplink]\n", "[[uplink]", "not TOML"),
    ("limit = 1.0", "limit = nan", "limit = nan", "must be a finite number"),
    ("limit = 1.0", "limit = 1.0\ndelay = inf", "delay = inf", "must be a finite number"),
    ("limit = 1.0", "limit = 1.0\nrestore = 1.5", "restore = 1.5", "beyond limit"),
    ('channel = "heading/ch4"', "channel = []", "channel = []", "nothing is watched"),
    ('name = "gas"', 'name = "unfit"', 'name = "unfit"', "built-in rule"),
    ('kind = "high"', 'kind = "rate"\nwindow = 1.0', "window = 1.0", "too short"),
    ('kind = "high"\n', 'kind = "frozen"\n', "limit = 1.0", "too short"),
    ('profile = "coal/co"', 'profile = "coal/co"\nlimits = 3', "limits = 3", "should be a table"),
    ('type = "float32"', 'type = "float"', 'type = "float"', "float32, float64"),
]


@pytest.mark.parametrize(("old", "new", "where", "says"), MISTAKES, ids=[m[3][:40] for m in MISTAKES])
def test_a_mistake_is_told_with_its_line(tmp_path, old, new, where, says):
    assert old in SITE
    text = SITE.replace(old, new, 1)
    told = complaints(tmp_path, text)
    matching = [line for line in told if says in line]
    assert matching, told
    assert len(told) == 1, told  # one mistake, one complaint
    assert "secret" not in told[0]
    if where is not None:
        lines = [i for i, line in enumerate(text.splitlines(), 1) if where in line]
        place = int(re.match(r"[^:]*:(\d+):", matching[0])[1])
        assert place in lines, (matching[0], lines)


def test_all_faults_are_told_at_once(tmp_path):
    text = SITE
    for old, new in [("unit = 1\n", "unit = 0.5\n"), ("period = 1.0", "perod = 1.0"), ("limit = 1.0", "limit = true")]:
        text = text.replace(old, new, 1)
    told = complaints(tmp_path, text)
    assert len(told) == 3
    assert [int(line.split(":")[1]) for line in told] == sorted(int(line.split(":")[1]) for line in told)


def test_a_bus_that_cannot_meet_its_period_is_refused(tmp_path):
    told = complaints(tmp_path, RTU)
    assert len(told) == 1
    assert "shaft" in told[0]
    assert "0.2" in told[0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk"])
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_point_list_may_come_from_a_spreadsheet(tmp_path, encoding, delimiter):
    rows = ["key,at,type,unit,scale", "ch4,40001,uint16,%,0.01", "水位,holding:0x10,float32,m,", "", "# spare"]
    (tmp_path / "points.csv").write_text("\r\n".join(rows).replace(",", delimiter), encoding=encoding)
    path = tmp_path / "site.toml"
    head = SITE.split("[[bus.device.channel]]", maxsplit=1)[0]
    path.write_text(head + 'points = "points.csv"\n', encoding="utf-8")
    assert config.load(path).layouts["heading"].key == ("ch4", "水位")


def test_two_buses_of_one_name_are_refused(tmp_path):
    second = '[[bus]]\nname = "net"\nurl = "tcp://127.0.0.1:503"\n[[bus.device]]\nname = "d2"\n'
    second += '[[bus.device.channel]]\nkey = "x"\nat = 40001\n'
    told = complaints(tmp_path, SITE + second)
    assert [line for line in told if "a second bus is called `net`" in line] == told


def test_a_point_list_with_a_key_twice_or_nothing_is_refused(tmp_path):
    head = SITE.split("[[bus.device.channel]]", maxsplit=1)[0]
    (tmp_path / "points.csv").write_text("key,at\na,1\na,2\n")
    assert any(
        line.startswith("points.csv:3:") and "twice" in line
        for line in complaints(tmp_path, head + 'points = "points.csv"\n')
    )
    (tmp_path / "points.csv").write_text("key,at\n")
    assert any("has no points" in line for line in complaints(tmp_path, head + 'points = "points.csv"\n'))


def test_a_file_from_a_windows_editor_is_read(tmp_path):
    path = tmp_path / "site.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SITE.replace("\n", "\r\n").encode())
    assert config.load(path).site.name == "north"


def test_a_point_list_with_the_line_ends_of_an_old_mac_is_read_and_a_broken_one_is_named(tmp_path):
    path = tmp_path / "points.csv"
    path.write_bytes(b"key,at\rch4,holding:0\rco,holding:2\r")
    assert [row["key"] for row in read_points(path, Places())] == ["ch4", "co"]
    path.write_bytes(b"key,at\nch4," + b"x" * 200_000 + b"\n")
    with pytest.raises(ValueError, match=r"points.csv:2: field larger"):
        read_points(path, Places())


def test_a_mistake_in_a_point_list_names_its_row(tmp_path):
    (tmp_path / "points.csv").write_text("key,at,type\nch4,40001,uint16\nco,4x001,uint16\n")
    head = SITE.split("[[bus.device.channel]]", maxsplit=1)[0]
    told = complaints(tmp_path, head + 'points = "points.csv"\n')
    assert len(told) == 1
    assert told[0].startswith("points.csv:3:")


def test_a_site_that_is_not_there_or_not_text_is_told(tmp_path):
    with pytest.raises(ConfigFault, match="cannot be read"):
        config.load(tmp_path / "nothing.toml")
    (tmp_path / "site.toml").write_bytes(b'[site]\nname = "\xff\xfe"\n')
    with pytest.raises(ConfigFault, match="UTF-8"):
        config.load(tmp_path / "site.toml")


def test_a_wrong_configuration_exits_78_and_starts_nothing(tmp_path, capsys):
    path = tmp_path / "site.toml"
    path.write_text(SITE.replace("period = 1.0", "period = 0"))
    for verb in ("run", "check", "test"):
        assert main([verb, "-c", str(path)]) == 78
    assert "nothing was started" in capsys.readouterr().err
    assert not (tmp_path / "state").exists()


def test_check_shows_the_wiring(tmp_path, capsys):
    path = tmp_path / "site.toml"
    path.write_text(SITE)
    assert main(["check", "-c", str(path)]) == 0
    shown = capsys.readouterr().out
    for part in ("bus net", "heading", "gas: high limit 1", "drives siren", "uplinks: platform", "verify"):
        assert part in shown


SITES = ("site", "demo", "jt808", "minefiles", "hj212", "commands", "region")
EXAMPLES = [ROOT / "configs" / (f"{name}.toml" if name == "demo" else f"{name}.example.toml") for name in SITES]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_the_sites_that_ship_load(path):
    if path.name == "jt808.example.toml":
        pytest.importorskip("pynmeagps")
    assert config.load(path).rules


def _channels(rows):
    """Channels of a device, to be laid behind it."""
    return "".join(
        f'[[bus.device.channel]]\nkey = "{key}"\nat = "holding:{at}"\nunit = "{unit}"\n'
        for at, (key, unit) in enumerate(rows.items())
    )


@pytest.mark.parametrize("language", guide.LANGUAGES)
def test_the_sites_of_the_guide_load_with_their_rules(tmp_path, language):
    """The README's blocks as they stand, one behind the other; then those of the chapters, with what these take for
    granted of channels and outputs."""
    readme, *chapters = map(guide.toml, guide.pages(language))
    path = tmp_path / "site.toml"
    path.write_text("\n".join(readme), encoding="utf-8")
    assert {rule.name for rule in config.load(path).rules} >= {"coal.ch4.T1.alarm", "coal.ch4.T1.cut", "flood"}

    outputs = {"power-cut": "", "fan-lock": "", "alive": "heartbeat = 1.0\n"}
    heading = {"ch4_t1": "%", "ch4_t2": "%", "fan": "", "air_speed": "m/s", "feed": "", "ups": ""}
    others = {
        "dam": {"displacement_1": "mm", "level": "m", "p1": "m"},
        "hall": {"co": "ppm"},
        "slope": {"d1": "mm"},
        "camera": {"beach": "m"},
        "met": {"rain": "mm", "air": "hPa"},
        "well": {"head": "m"},
        "face": {"ch4": "%", "cutter": "", "fan": ""},
        "pump": {"vibration": ""},
        "vehicle": {"speed": "km/h"},
    }
    site, sump, *more = readme
    lines = [site, _channels(heading)]
    lines += [
        f'[[bus.output]]\nname = "{name}"\ndevice = "heading"\nat = "coil:{n}"\n{beat}'
        for n, (name, beat) in enumerate(outputs.items(), 1)
    ]
    lines += [
        sump,
        _channels({"pump_1": "", "pump_2": ""}),
        *more,
        '[[bus]]\nname = "net"\nurl = "tcp://127.0.0.1:502"',
    ]
    for unit, (device, rows) in enumerate(others.items(), 1):
        lines += [f'[[bus.device]]\nname = "{device}"\nunit = {unit}', _channels(rows)]
    path.write_text("\n".join([*lines, *(block for chapter in chapters for block in chapter)]), encoding="utf-8")
    loaded = config.load(path)
    assert [one.name for one in loaded.interlocks] == ["face"]
    assert loaded.air is not None
    assert {one.name for one in loaded.detectors} >= {
        "lies",
        "creep",
        "pond",
        "rain",
        "seepage",
        "sump",
        "odd",
        "shape",
        "collision",
        "driver",
    }


def test_every_profile_that_ships_is_sound():
    """Each gives rules that the judge takes, says where its numbers come from, and speaks both languages."""
    found = profiles()
    assert {"coal/ch4/T1", "coal/co", "water/sump/level", "tailings/freeboard/3", "exposure/twa/CO"} <= found.keys()
    for name, profile in found.items():
        assert profile.title.keys() == {"en", "zh"}, name
        assert len({limit.name for limit in profile.limit}) == len(profile.limit), name
        assert profile.advice in ADVICE["en"], name
        assert not profile.gas or profile.gas in gases(), name
        for limit in profile.limit:
            assert limit.standard, name
            assert limit.value is not None or limit.note, f"{name}: who gives the number?"
            value = 1.0 if limit.value is None else limit.value
            settings = {"name": "r", "channel": ["s/c"], **rule(profile, limit, value, False, profile.unit)}
            made = msgspec.convert(settings, AnyRule)
            if limit.restore is not None:
                assert made.sign * limit.restore <= made.sign * value, name


def test_both_languages_say_the_same_things():
    for table in (RAISED, CLEARED, MOVED, ADVICE):
        assert table["en"].keys() == table["zh"].keys()
    assert ADVICE["en"].keys() >= KINDS.keys()


def test_the_whole_list_is_shown_and_each_with_its_source(capsys):
    assert main(["profiles", "list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == len(profiles())
    assert main(["profiles", "show", "coal/ch4/T1"]) == 0
    assert "restores beyond 1 (AQ 1029-2019 6 2019" in capsys.readouterr().out
    assert main(["profiles", "coal/ch4"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == sum(name.startswith("coal/ch4") for name in profiles())
    assert main(["profiles", "coal/ch5"]) == 64
    assert "did you mean" in capsys.readouterr().err


def rules_of(tmp_path, text):
    path = tmp_path / "site.toml"
    path.write_text(text, encoding="utf-8")
    site = config.load(path)
    return {rule.name: rule for rule in site.rules}, site


def test_a_limit_is_told_in_the_unit_of_each_channel(tmp_path):
    """H2S: 10 mg/m3 = 7.05 ppm at 20 degC; a sensor in mg/m3 and one in ppm name the same profile."""
    text = SITE.replace('key = "co"', 'key = "h2s"').replace("heading/co", "heading/h2s")
    text = text.replace('profile = "coal/co"', 'profile = "chemical/toxic/H2S"').replace(
        'channel = ["heading/h2s"]', 'channel = ["heading/h2s", "heading/mass"]'
    )
    more = '[[bus.device.channel]]\nkey = "mass"\nat = "holding:9"\ntype = "uint16"\nunit = "mg/m³"\n\n[[bus.output]]'
    rules, _ = rules_of(tmp_path, text.replace("[[bus.output]]", more))
    ppm, mass = rules["co.level1.ppm"], rules["co.level1"]
    assert (ppm.channel, mass.channel) == (["heading/h2s"], ["heading/mass"])
    assert ppm.limit == pytest.approx(10 * 24.04 / 34.08)
    assert (mass.limit, mass.restore) == (10.0, 10.0)
    assert ppm.basis == mass.basis


def test_a_profile_may_limit_a_change(tmp_path):
    text = SITE.replace('unit = "ppm"', 'unit = "cm"').replace("coal/co", "water/head/karst")
    rules, _ = rules_of(tmp_path, text)
    rule = rules["co.change.cm"]
    assert (rule.limit, rule.per, rule.window, rule.direction) == (5.0, 21600.0, 21600.0, "both")


def test_an_override_is_explicit_and_told(tmp_path):
    rules, site = rules_of(tmp_path, SITE)
    assert site.overrides == ()
    rules, site = rules_of(
        tmp_path, SITE.replace('profile = "coal/co"', 'profile = "coal/co"\nlimits = { alarm = 20 }\ndelay = 5')
    )
    assert rules["co.alarm"].limit == 20
    assert rules["co.alarm"].basis.standard == "site, for Coal Mine Safety Regulation"
    assert site.overrides == (
        "rule `co`: alarm is 20 ppm, not 24 ppm of Coal Mine Safety Regulation 2022, verify",
        "rule `co`: delay of alarm is 5, not 0.0 of `coal/co`",
    )


def test_a_file_of_limits_of_the_sites_own_is_told(tmp_path):
    (tmp_path / "profiles").mkdir()
    own = (ROOT / "configs/profiles/coal.toml").read_text(encoding="utf-8").replace("value = 24", "value = 30")
    (tmp_path / "profiles" / "coal.toml").write_text(own, encoding="utf-8")
    (tmp_path / "profiles" / "ours.toml").write_text("", encoding="utf-8")
    rules, site = rules_of(tmp_path, SITE)
    assert rules["co.alarm"].limit == 30
    assert site.overrides == ("profiles/coal.toml of the site stands for the one that ships",)


def test_lines_are_found_through_strings_arrays_and_comments():
    text = '''a = """
[not.a.table]
b = 1
"""  # [[nor this]]
c = [
  "]", # ]
  { d = 1 },
]
[[e]]
"f g" = 1
[[e]]
[e.h]
i.j = 1
'''
    assert key_lines(text) == {
        ("a",): 1,
        ("c",): 5,
        ("e",): 9,
        ("e", 0): 9,
        ("e", 0, "f g"): 10,
        ("e", 1): 11,
        ("e", 1, "h"): 12,
        ("e", 1, "h", "i", "j"): 13,
    }


def test_record_takes_a_folder_of_its_own_and_touches_nothing_else(tmp_path, capsys):
    path = tmp_path / "site.toml"
    path.write_text(SITE.replace("127.0.0.1:502", "127.0.0.1:1"))
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "precious").touch()
    assert main(["record", "-c", str(path), str(tmp_path), "--seconds", "0.1"]) == 78
    assert "not empty" in capsys.readouterr().err
    folder = tmp_path / "recording"
    assert main(["record", "-c", str(path), str(folder), "--seconds", "0.3"]) == 0
    assert {p.name for p in folder.iterdir()} == {"site.toml", "frames.jsonl", "alarms.jsonl"}
    assert (tmp_path / "state" / "precious").exists()
    assert main(["replay", str(folder), "--compare"]) == 0


def test_record_does_not_write_beside_its_folder(tmp_path, capsys):
    (tmp_path / "points.csv").write_text("key,at\na,40001\n")
    sub = tmp_path / "sub"
    sub.mkdir()
    head = SITE.split("[[bus.device.channel]]", maxsplit=1)[0]
    (sub / "site.toml").write_text(head + 'points = "../points.csv"\n')
    assert main(["record", "-c", str(sub / "site.toml"), str(tmp_path / "out"), "--seconds", "0.1"]) == 78
    assert "lies outside" in capsys.readouterr().err


def test_evidence_has_a_home_wherever_the_site_file_is_named_from(tmp_path, monkeypatch):
    """`-c site.toml` beside the file: the camera's child is told the whole path."""
    pytest.importorskip("cv2")
    (tmp_path / "site.toml").write_text(
        '[site]\nname = "x"\n[[bus]]\nname = "gate"\ndriver = "video"\nurl = "/dev/video9"\n[bus.evidence]\n'
    )
    monkeypatch.chdir(tmp_path)
    site = config.load("site.toml")
    assert site.evidence.path == str(tmp_path / "state" / "evidence")
    assert site.drivers[0].evidence.ring.startswith(str(tmp_path))
