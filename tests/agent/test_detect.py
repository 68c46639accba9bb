"""`vedette detect`, `anomaly = true`, `vedette explain` and `replay --what-if`, as a person uses them."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from agent import cli, config, detect, journal, whatif
from agent.audit import Chain
from agent.core.core import Tick
from agent.core.errors import ConfigFault
from agent.core.frame import Instant, frame
from models.anomaly import Anomaly

SITE = """
[site]
name = "mine"
{language}
[[bus]]
name = "net"
url = "tcp://127.0.0.1:502"
[[bus.device]]
name = "dam"
unit = 1
period = 60.0
channel = [
  {{ key = "tilt", at = "input:0", unit = "mm", stale = 1e6, anomaly = true }},
  {{ key = "level", at = "input:1", unit = "m", stale = 1e6, anomaly = true }},
  {{ key = "door", at = "discrete:0", stale = 1e6 }},
]
"""


def series(n=1100, jump=1000):
    """Minutes, and two quiet channels; one of them jumps."""
    rng = np.random.default_rng(2)
    a, b = rng.normal(20, 1, n), rng.normal(3, 0.1, n)
    a[jump:] += 9
    return np.arange(n) * 60.0, a, b


def table(stamp="{:.0f}", **more):
    time, a, b = series(**more)
    rows = (f"{stamp.format(t)},{x:.4f},{y:.4f}" for t, x, y in zip(time, a, b, strict=True))
    return "\n".join(["time,tilt,level", *rows]) + "\n"


def load(tmp_path, text):
    path = tmp_path / "site.toml"
    path.write_text(text)
    return config.load(path)


def told(site, rows=1100):
    """Alarms of the series on this site."""
    core, (time, a, b) = site.core(), series()
    layout = site.layouts["dam"]
    memory, alarms = core.start("boot", Instant(0.0, 1e9)), []
    for i in range(rows):
        at = Instant(float(time[i]), 1e9 + float(time[i]), True)
        for event in (frame("dam", at, layout, [a[i], b[i], 0.0]), Tick(at)):
            memory, verdict = core.step(memory, event)
            alarms += verdict.alarms
    return alarms


# -- files ------------------------------------------------------------------------------------------


def test_a_file_is_judged_row_by_row_and_the_answer_has_a_row_for_each(tmp_path, capsys):
    (tmp_path / "in.csv").write_text(table())
    assert cli.main(["detect", str(tmp_path / "in.csv"), "--out", str(tmp_path / "out.csv"), "--plot"]) == 0
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [row["timestamp"] for row in rows] == [f"{t:.0f}" for t in series()[0]]
    alarms = [i for i, row in enumerate(rows) if row["alarm"] == "1"]
    assert 1000 <= alarms[0] <= 1010
    assert all((float(row["score"]) >= 0) == (row["alarm"] == "1") for row in rows if row["score"])
    assert rows[0]["score"] == "", "it learns"
    said = capsys.readouterr().err
    assert "tilt: " in said
    assert "is to be expected once in" in said
    drawn = [line for line in said.splitlines() if line.startswith(("tilt ", "level ", "score ", "alarm "))]
    assert len(drawn) >= 4
    assert "^" in drawn[-1]


def test_nothing_that_comes_later_changes_what_was_said():
    """No look ahead: the first rows alone give the same answer."""
    one, whole = Anomaly(name="a", channel=["*"]), table()
    short = "\n".join(whole.splitlines()[:1050])

    def said(text):
        return [(j.row.stamp, j.score, j.told) for j in detect.judged(one, *detect.rows("x", io.StringIO(text)))]

    some, all_ = said(short), said(whole)
    assert str(some) == str(all_[: len(some)])


def test_it_reads_standard_input_and_writes_standard_output_while_it_reads():
    command = [str(Path(sys.executable).with_name("vedette")), "detect", "-"]
    done = subprocess.run(command, input=table(n=300, jump=250), capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 301


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        ("2020-03-09 11:14:34", 1583752474.0),
        ("2020-03-09T11:14:34Z", 1583752474.0),
        ("2020-03-09T12:14:34+01:00", 1583752474.0),
        ("2020-03-09 11:14", 1583752440.0),
        ("2020-03-09", 1583712000.0),
        ("2020/03/09 11:14:34", 1583752474.0),
        ("09.03.2020 11:14", 1583752440.0),
        ("1583752474.5", 1583752474.5),
    ],
)
def test_times_are_read_as_people_write_them(stamp, seconds):
    assert detect.seconds(stamp) == seconds


def test_gaps_empty_cells_and_codes_of_loggers_are_no_values_and_a_clock_set_back_is_taken(tmp_path):
    lines = table().splitlines()
    lines[200] = lines[200].split(",")[0] + ",,-9999"
    lines[201] = lines[201].split(",")[0] + ",NaN,7999"
    lines[300] = lines[100].split(",")[0] + ",20,3"
    del lines[400:420]
    one = Anomaly(name="a", channel=["*"])
    found = list(detect.judged(one, *detect.rows("x", io.StringIO("\n".join(lines)))))
    assert len(found) == len(lines) - 1
    assert [j for j in found[:950] if j.told] == []
    assert any(j.told for j in found)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "standard input:1: a header with a time and at least one channel"),
        ("time\n1\n", "standard input:1: a header"),
        ("time,a,a\n1,2,3\n", "standard input:1: two channels have one name"),
        ("time,a,b\n1,2,3\n2,3\n", "standard input:3: 2 cells where the header has 3"),
        ("time,a\nyesterday,2\n", "standard input:2: `yesterday` is no time; write it like"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_line(text, says, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    assert cli.main(["detect"]) != 0
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--channel", "nope"], "no channel `nope`; there are tilt, level"),
        (["--budget", "0"], "budget"),
        (["--out", "/nowhere/x.csv"], "/nowhere/x.csv: No such file"),
    ],
)
def test_what_cannot_be_done_is_said(words, says, tmp_path, capsys):
    (tmp_path / "in.csv").write_text(table(n=20, jump=10))
    assert cli.main(["detect", str(tmp_path / "in.csv"), *words]) != 0
    assert says in capsys.readouterr().err


def test_what_is_read_is_not_written_over_and_a_reader_may_leave(tmp_path, capsys):
    (tmp_path / "in.csv").write_text(text := table(n=20, jump=10))
    assert cli.main(["detect", str(tmp_path / "in.csv"), "--out", str(tmp_path / "in.csv")]) == cli.USAGE
    assert (tmp_path / "in.csv").read_text() == text
    assert "is what is read" in capsys.readouterr().err
    (tmp_path / "no.csv").write_bytes(b"time,a\n\x82\xff,1\n")
    assert cli.main(["detect", str(tmp_path / "no.csv")]) != 0
    assert "no.csv: no text in UTF-8" in capsys.readouterr().err
    (tmp_path / "in.csv").write_text(table())
    vedette = Path(sys.executable).with_name("vedette")
    line = f"set -o pipefail; {vedette} detect {tmp_path / 'in.csv'} 2> {tmp_path / 'said'} | head -1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == "timestamp,score,alarm\n"
    assert (tmp_path / "said").read_text() == ""


def test_of_one_channel_only_is_told_where_that_is_asked_for(tmp_path):
    (tmp_path / "in.csv").write_text(table())
    assert cli.main(["detect", str(tmp_path / "in.csv"), "--channel", "level", "--out", str(tmp_path / "o.csv")]) == 0
    assert all(row["alarm"] == "0" for row in csv.DictReader((tmp_path / "o.csv").open()))


# -- a site -----------------------------------------------------------------------------------------


def test_a_word_on_a_channel_is_all_that_a_user_writes(tmp_path):
    site = load(tmp_path, SITE.format(language=""))
    asked = ["dam/tilt", "dam/level"]
    assert [(one.name, one.channel, one.every) for one in site.detectors] == [
        ("anomaly", asked, 10.0),
        ("slow", asked, 900.0),
    ]
    [rule] = [rule for rule in site.rules if rule.name == "anomaly"]
    assert rule.channel == [f"dam/{key}.{one.name}" for one in site.detectors for key in ("tilt", "level", "together")]
    [raised, cleared, *_] = [alarm for alarm in told(site) if alarm.channel == "dam/tilt.anomaly"]
    assert (raised.channel, raised.level, raised.event) == ("dam/tilt.anomaly", "yellow", "raised")
    assert 1000 * 60 <= raised.at.mono <= 1010 * 60
    assert "is not as it used to be: " in raised.text
    assert raised.because[0] in raised.text
    assert " mm" in raised.because[0]
    assert cleared.event == "cleared"
    assert 300.0 <= cleared.at.mono - raised.at.mono <= 420.0


def test_in_chinese_it_says_the_same(tmp_path):
    raised = next(alarm for alarm in told(load(tmp_path, SITE.format(language='language = "zh"'))) if alarm.because)
    assert "与其历史不符" in raised.text
    assert raised.because[1].startswith("如此异常预计每 ")
    assert raised.advice == "这本身不是超限:查看该处工艺或仪表发生了什么变化。"


def test_a_rule_of_the_site_takes_the_place_of_the_built_in_one(tmp_path):
    mine = '[[rule]]\nname = "mine"\nkind = "anomaly"\nlimit = 1.0\nlevel = "orange"\nchannel = "dam/*.*"\n'
    site = load(tmp_path, SITE.format(language="") + mine)
    assert [rule.name for rule in site.rules if rule.__struct_config__.tag == "anomaly"] == ["mine"]
    assert {alarm.rule for alarm in told(site)} == {"mine"}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('anomaly = true }},\n  {{ key = "level"', 'anomaly = 3 }},\n  {{ key = "level"', "`anomaly` is true or false"),
        ('key = "door"', 'key = "tilt.anomaly"', "a second channel is called `dam/tilt.anomaly`"),
    ],
)
def test_what_it_cannot_be_is_refused(tmp_path, old, new, says):
    assert old in SITE
    with pytest.raises(ConfigFault, match=says):
        load(tmp_path, SITE.replace(old, new).format(language=""))


def test_an_alarm_is_explained_from_the_journal(tmp_path, capsys):
    alarms = [alarm for alarm in told(load(tmp_path, SITE.format(language=""))) if alarm.rule == "anomaly"]
    folder = tmp_path / "journal"
    folder.mkdir()
    chain = Chain(folder, 1 << 20)
    chain.open()
    chain.append([msgspec.json.encode({"kind": "alarm", "alarm": alarm}) for alarm in alarms])
    chain.close()
    assert cli.main(["explain", alarms[0].id, "--folder", str(folder)]) == 0
    said = capsys.readouterr().out
    assert alarms[0].text in said
    assert all(sentence in said for sentence in alarms[0].because)
    assert " raised\n" in said
    assert " cleared" in said
    assert "No limit is exceeded by this alone" in said
    assert cli.main(["explain", alarms[0].id, "--folder", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["because"] == list(alarms[0].because)
    assert cli.main(["explain", "x-1", "--folder", str(folder)]) == cli.UNAVAILABLE
    assert "no alarm x-1" in capsys.readouterr().err
    assert cli.main(["explain", "x-1", "--folder", str(tmp_path / "none")]) != 0


# -- another limit ----------------------------------------------------------------------------------

RULE = '[[rule]]\nname = "tilt"\nkind = "high"\nchannel = "dam/tilt"\nlimit = 31.0\nlevel = "red"\n'


@pytest.fixture
def recording(tmp_path):
    site = load(tmp_path, SITE.replace(", anomaly = true", "").format(language="") + RULE)
    recorder = journal.Recorder(tmp_path)
    recorder.event(journal.Start("boot", Instant(0.0, 0.0)))
    for i, x in enumerate([20, 25, 28, 32, 33, 20, 20, 29, 20]):
        at = Instant(60.0 * i, 60.0 * i)
        recorder.event(frame("dam", at, site.layouts["dam"], [x, 1.0, 0.0]))
    recorder.close()
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (["limit=27"], ["sooner", "gained", "1 gained, 0 lost, 1 sooner"]),
        (["tilt:limit=50"], ["lost", "0 gained, 1 lost"]),
        (["tilt:delay=60"], ["later", "by 60 s", "1 later"]),
        (["tilt:restore=30", "tilt:limit=27"], ["1 gained, 0 lost, 1 sooner"]),
        (["tilt:limit=27", "tilt:delay=90"], ["0 gained, 0 lost, 0 sooner, 1 later"]),
        (['tilt:level="blue"'], ["0 gained, 0 lost, 0 sooner, 0 later, 1 the same"]),
    ],
)
def test_another_limit_on_the_same_recording(recording, changes, says, capsys):
    words = [word for change in changes for word in ("--what-if", change)]
    assert cli.main(["replay", str(recording), *words]) == 0
    out = capsys.readouterr().out
    assert all(text in out for text in says), out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("limit", "write FIELD=VALUE"),
        ("nothing=1", "no rule or detector has `nothing`; there are tilt"),
        ("tlt:limit=1", "no rule or detector `tlt` has `limit`"),
        ("limit=high", "tilt: limit = 'high': Expected `float`"),
        ("tilt:restore=40", "restore 40 lies beyond limit 31"),
    ],
)
def test_a_change_that_is_none_is_refused(recording, change, says, capsys):
    assert cli.main(["replay", str(recording), "--what-if", change]) != 0
    assert says in capsys.readouterr().err


def test_occurrences_are_compared_by_whether_they_stood_at_one_time(recording):
    site = config.load(recording / "site.toml")

    def alarms(limit):
        core = whatif.changed(site, f"tilt:limit={limit}").core()
        return list(journal.replay(core, journal.read(recording / "frames.jsonl", site.layouts)))

    assert whatif.compare(alarms(31), alarms(31)) == whatif.compare(alarms(31), alarms(31))
    back = whatif.compare(alarms(27), alarms(31))
    assert [(c.before is None, c.after is None) for c in back] == [(False, False), (False, True)]
