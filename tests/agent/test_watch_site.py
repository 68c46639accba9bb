"""`vedette watch` on pictures of fixed cameras, after the site file that ships."""

from __future__ import annotations

import csv

import pytest

cv2 = pytest.importorskip("cv2")
from agent.cli import main  # noqa: E402
from simulators.beach import Beach  # noqa: E402
from simulators.yard import Yard  # noqa: E402


def film(folder, scene, many, fps):
    folder.mkdir()
    for i in range(many):
        cv2.imwrite(str(folder / f"{i:04}.png"), scene.at(i / fps))
    return str(folder)


def rows(path):
    with open(path, newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def test_a_film_of_a_beach_that_is_too_short_is_judged(tmp_path):
    """60 m where dams of grade 3 want 70; a row for each measurement."""
    what = film(tmp_path / "film", Beach(lambda t: 60.0, width=320, height=180), 30, 0.6)
    out, events, show = (tmp_path / name for name in ("out.csv", "events.csv", "show.png"))
    asked = ["watch", what, "--role", "beach", "--fps", "0.6", "--out", str(out), "--events", str(events)]
    assert main([*asked, "--show", str(show)]) == 0
    told = rows(out)
    assert list(told[0]) == ["frame", "t_s", "beach", "error", "change", "doubt", "alert"]
    assert [row["doubt"] for row in told] == ["1", "1", "0", "0"]
    assert all(float(row["beach"]) == pytest.approx(60.0, abs=1.5) for row in told)
    assert told[-1]["alert"] == "1"
    assert [row["event"] for row in rows(events)] == ["beach.min"]
    assert cv2.imread(str(show)).shape == (180, 320, 3)


def test_zones_without_their_net_are_blind_and_say_why(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VEDETTE_MODELS", str(tmp_path))
    what, out = film(tmp_path / "film", Yard(), 5, 5.0), tmp_path / "out.csv"
    assert main(["watch", what, "--role", "zones", "--net", "nothing", "--fps", "5", "--out", str(out)]) == 0
    told = rows(out)
    assert len(told) == 5
    assert {row["conveyor.count"] for row in told} == {""}
    assert {row["alert"] for row in told} == {"1"}  # a zone that nobody sees is an alarm
    assert "no net `nothing`" in capsys.readouterr().err


def test_zones_of_somebody_else_are_refused(tmp_path, capsys):
    own = tmp_path / "own.toml"
    own.write_text(
        '[zones]\nnet = "x"\n[[zones.zone]]\nname = "gate"\npolygon = [[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]]\n'
    )
    assert main(["watch", film(tmp_path / "film", Yard(), 1, 5.0), "--role", "zones", "--camera", str(own)]) == 64
    assert "its zones are not those of" in capsys.readouterr().err
