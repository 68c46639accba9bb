"""`vedette watch` as its users run it: films that a test draws, and everything that may be wrong with them."""

from __future__ import annotations

import csv
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
from agent import cli  # noqa: E402
from agent.watch import Road, settings  # noqa: E402
from tests.tools.ground import FOCAL, HIGH, UP, WIDE, Mark, Wall, X, Y, seen  # noqa: E402

ROOT = Path(__file__).parents[2]
FPS = 20.0
USAGE, CONFIG = 64, 78  # exit codes
CAMERA = f"width = {WIDE}\nfocal = {FOCAL}\nx = {X}\ny = {Y}\nheight = {UP}\n"


def outside(*words):
    """The program as it is started: exit code, standard output, standard error."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "agent.cli", "watch", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def watch(capfd):
    """The same within this process, which is quicker."""

    def run(*words):
        try:
            code = cli.main(["watch", *map(str, words)])
        except SystemExit as stop:
            code = stop.code
        return code, *capfd.readouterr()

    return run


def film(path, pictures, fps=FPS):
    made = None
    for one in pictures:
        one = one if one.ndim == 3 else np.repeat(one[..., None], 3, axis=2)
        fourcc = "mp4v" if path.suffix == ".mp4" else "MJPG"
        made = made or cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*fourcc), fps, (one.shape[1], one.shape[0]))
        assert made.isOpened()
        made.write(one)
    made.release()
    return path


def drive(pictures=30, start=0.0, walls=()):
    """At 15 m/s on a lane, half of the size."""
    marks = [Mark(-1.8), Mark(1.8, on=6, every=12)]
    return [seen(start + 15 * i / FPS, walls=walls, marks=marks, rough=12.0, seed=i) for i in range(pictures)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what is watched: a free road, one with a lorry that stands there, and a camera file."""
    folder = tmp_path_factory.mktemp("watch")
    film(folder / "free.mp4", drive(24))
    film(folder / "lorry.mp4", drive(44, walls=[Wall(-1.25, 1.25, 0.2, 3.6, 56.0, 45, 130)]))
    (folder / "camera.toml").write_text(CAMERA)
    (folder / "speed.csv").write_text("t_s,speed_kmh\n0,54\n10,54\n")
    return folder


def table(path):
    with open(path, newline="") as lines:
        head, *rows = csv.reader(lines)
    return head, rows


@pytest.fixture(scope="module")
def told(place):
    """The film with the lorry, with everything that may be written."""
    out = {name: place / f"{name}.csv" for name in ("out", "events", "detections")}
    words = [word for name, path in out.items() for word in (f"--{name}", path)]
    code, said, complaint = outside(
        place / "lorry.mp4", *words, "--net", "none", "--camera", place / "camera.toml", "--speed", place / "speed.csv",
        "--show", place / "show.mp4",
    )  # fmt: skip
    assert code == 0, complaint
    return {name: table(path) for name, path in out.items()} | {"said": said, "complaint": complaint}


def test_each_picture_has_a_row_in_the_form_that_is_scored(told):
    head, rows = told["out"]
    assert head == ["frame", "t_s", "ttc_s", "range_m", "alert", "x1", "y1", "x2", "y2"]
    assert [int(row[0]) for row in rows] == list(range(44))
    assert [float(row[1]) for row in rows] == pytest.approx(np.arange(44) / FPS, abs=1e-3)
    for row in rows:
        assert len(row) == 9
        assert row[4] in "01"
        assert row[2] in ("", "inf") or float(row[2]) > 0
        assert all(map(math.isfinite, map(float, filter(None, row[5:]))))
        assert len(set(map(bool, row[5:]))) == 1, "a box is whole or not there"


def test_the_lorry_is_told_where_it_is_and_when_it_is_reached(told):
    """It is reached after 3.73 s; the last picture is taken at 2.15 s."""
    _, rows = told["out"]
    _, at, ttc, far, _, x1, _, x2, _ = rows[-1]
    true = 56.0 / 15.0 - float(at)
    assert float(ttc) == pytest.approx(true, rel=0.12)
    assert float(far) == pytest.approx(15.0 * true, rel=0.25)
    assert float(x1) < X < float(x2)


def test_warnings_stand_in_the_events_as_long_as_rows_say_so(told):
    head, events = told["events"]
    assert head == ["event", "t_start", "t_end", "level"]
    (_, start, end, level), *more = [row for row in events if row[0].startswith("obstacle")]
    assert more == []
    assert level == "orange"
    alerts = [float(row[1]) for row in told["out"][1] if row[4] == "1"]
    assert (float(start), float(end)) == pytest.approx((alerts[0], alerts[-1]), abs=1.5 / FPS)
    assert 2.0 < 56.0 / 15.0 - float(start) < 3.2
    assert f"{len(events)} warning" in told["said"]
    assert "raised" in told["complaint"]


def test_what_was_found_stands_in_the_detections(told):
    head, rows = told["detections"]
    assert head == ["file", "class", "score", "x1", "y1", "x2", "y2"]
    assert rows
    assert {row[1] for row in rows} == {"obstacle"}
    assert all(0 <= float(row[2]) <= 1 for row in rows)
    assert all(float(row[3]) < float(row[5]) and float(row[4]) < float(row[6]) for row in rows)


def test_the_film_for_people_is_as_long_and_as_large_as_the_one_watched(told, place):
    shown = cv2.VideoCapture(str(place / "show.mp4"))
    many = 0
    while True:
        ok, image = shown.read()
        if not ok:
            break
        many += 1
        last = image
    assert many == 44
    assert last.shape == (HIGH, WIDE, 3)
    assert (np.abs(last[..., 2].astype(int) - last[..., 0]) > 100).any(), "the lorry has a red box"


def test_a_folder_is_watched_by_name_and_its_last_picture_is_shown(place, tmp_path, watch):
    for i, one in enumerate(drive(6)):
        cv2.imwrite(str(tmp_path / f"{i:03}.png"), one)
    (tmp_path / "notes.txt").write_text("not a picture")
    out, show = tmp_path / "out.csv", tmp_path / "last.png"
    code, _, complaint = watch(tmp_path, "--net", "none", "--out", out, "--show", show, "--fps", "4")
    assert code == 0, complaint
    assert [row[1] for row in table(out)[1]] == [f"{i / 4:.3f}" for i in range(6)]
    assert cv2.imread(str(show)).shape == (HIGH, WIDE, 3)


def test_a_free_road_is_warned_of_nothing(place, watch):
    code, said, complaint = watch(place / "free.mp4", "--net", "none", "--speed", "54")
    assert (code, complaint) == (0, "")
    assert "24 pictures" in said
    assert "0 warnings" in said


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (36, 64)])
def test_tiny_pictures_are_no_reason_to_fall(tmp_path, shape, watch):
    for i in range(8):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.random.default_rng(i).integers(0, 255, (*shape, 3)).astype(np.uint8))
    code, _, complaint = watch(tmp_path, "--net", "none")
    assert code == 0, complaint
    assert "Traceback" not in complaint


def test_grey_pictures_and_such_of_different_sizes(tmp_path, watch):
    for i in range(4):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((90, 160), 60 + i, np.uint8))
    assert watch(tmp_path, "--net", "none")[0] == 0
    cv2.imwrite(str(tmp_path / "9.png"), np.full((45, 80), 60, np.uint8))
    code, _, complaint = watch(tmp_path, "--net", "none")
    assert "Traceback" not in complaint
    assert code in (0, USAGE)


def test_a_film_that_was_cut_off_is_watched_as_far_as_it_goes(place, tmp_path, watch):
    whole = film(tmp_path / "whole.avi", drive(12)).read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: int(0.6 * len(whole))])
    out = tmp_path / "out.csv"
    code, _, complaint = watch(tmp_path / "cut.avi", "--net", "none", "--out", out)
    assert code == 0, complaint
    assert 3 <= len(table(out)[1]) < 12


@pytest.mark.parametrize("head", ["", "[mount]\n", "[road.mount]\n", "[bus.road.mount]\n"])
def test_a_mount_may_stand_below_the_heads_that_it_has_in_a_site(tmp_path, head):
    path = tmp_path / "camera.toml"
    path.write_text(head + CAMERA)
    assert settings(path, Road()).mount.height == UP
    path.write_text('[[bus]]\nname = "front"\n')
    with pytest.raises(ValueError, match="give it as --site"):
        settings(path, Road())


WRONG = {
    "no such film": (["no-such.mp4"], "no such film"),
    "a text that is called a film": (["text.mp4"], "no film that can be read"),
    "an empty file": (["empty.mp4"], "no film that can be read"),
    "a folder without pictures": (["nothing"], "no pictures in this folder"),
    "a damaged picture": (["damaged"], "no picture that can be read"),
    "a wrong key of the camera": (["free.mp4", "--camera", "wrong.toml"], "hight"),
    "no camera file": (["free.mp4", "--camera", "none.toml"], "none.toml"),
    "a camera file that is no TOML": (["free.mp4", "--camera", "text.mp4"], "text.mp4"),
    "no site file": (["free.mp4", "--site", "none.toml"], "none.toml"),
    "a site file that is no TOML": (["free.mp4", "--site", "text.mp4"], "text.mp4"),
    "a speed that is neither": (["free.mp4", "--speed", "fast"], "--speed fast"),
    "a speed with other columns": (["free.mp4", "--speed", "other.csv"], "t_s"),
    "a speed that is no number": (["free.mp4", "--speed", "words.csv"], "words.csv"),
    "a speed without rows": (["free.mp4", "--speed", "head.csv"], "head.csv"),
    "a folder for the rows that is not there": (["free.mp4", "--out", "no/out.csv"], "no/out.csv"),
    "a folder for the events that is not there": (["free.mp4", "--events", "no/out.csv"], "no/out.csv"),
    "a folder for the show that is not there": (["free.mp4", "--show", "no/out.mp4"], "no/out.mp4"),
    "a folder for the picture that is not there": (["free.mp4", "--show", "no/out.png"], "no/out.png"),
    "a picture of an unknown kind": (["free.mp4", "--show", "out.txt"], "out.txt"),
    "an unknown role": (["free.mp4", "--role", "sky"], "sky"),
    "a negative rate": (["free.mp4", "--fps", "-5"], "fps"),
}


@pytest.fixture(scope="module")
def wrong(place):
    (place / "text.mp4").write_text("this is no film [at all\n" * 50)
    (place / "empty.mp4").write_bytes(b"")
    (place / "nothing").mkdir()
    (place / "damaged").mkdir()
    (place / "damaged" / "a.png").write_bytes(b"\x89PNG\r\n and nothing more")
    (place / "wrong.toml").write_text("hight = 1.5\n")
    (place / "other.csv").write_text("time,kmh\n0,50\n")
    (place / "words.csv").write_text("t_s,speed_kmh\n0,quick\n")
    (place / "head.csv").write_text("t_s,speed_kmh\n")
    return place


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_told_in_a_line_and_leaves_nothing_behind(wrong, what, watch, tmp_path):
    words, says = WRONG[what]
    named = [
        str(wrong / word) if ("." in word and not word.startswith("-")) or (wrong / word).is_dir() else word
        for word in words
    ]
    out = tmp_path / "left.csv"
    out.write_text("of yesterday")
    if "--out" not in words:
        named += ["--out", str(out)]
    code, said, complaint = watch(*named, "--net", "none")
    assert "Traceback" not in complaint
    assert code == (CONFIG if "--site" in words else USAGE), complaint
    lines = [line for line in complaint.splitlines() if says in line]
    assert len(lines) == 1, complaint
    assert said == ""
    assert out.read_text() == "of yesterday", "overwritten for nothing"


def test_an_unknown_net_is_told_and_what_looms_is_still_seen(place, watch):
    code, _, complaint = watch(place / "free.mp4", "--net", "no-such-net")
    assert "no-such-net" in complaint
    assert "Traceback" not in complaint
    assert code in (0, USAGE)
