"""Reels: whatever is torn or killed, what was complete is read; the ring keeps to its budget."""

from __future__ import annotations

import doctest
import errno
import os
import signal
import subprocess
import sys

import pytest

from agent import reels
from agent.reels import Head, Ring, Shot

HEAD = Head("gate", "kernel", (((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)),))


def shot(t: float, size: int = 1000) -> Shot:
    return Shot(t, 1.7e9 + t, bytes([int(t) % 251]) * size)


def written(folder, times, span=2.0, budget=1 << 20, **more) -> Ring:
    ring = Ring(folder, HEAD, budget, span, **more)
    for t in times:
        ring.put(shot(t))
    return ring


def test_what_the_page_says_is_so():
    assert doctest.testmod(reels).failed == 0


def test_pictures_come_back_as_they_were_in_reels_of_a_few_seconds(tmp_path):
    times = [100 + i / 2 for i in range(20)]
    written(tmp_path, times).close()
    found = reels.found(tmp_path)
    assert [(reel.number, reel.begin) for reel in found] == [(i + 1, 100 + 2.0 * i) for i in range(5)]
    heads, shots = zip(*(reels.shots(reel.path) for reel in found), strict=True)
    assert set(heads) == {HEAD}
    assert [one for some in shots for one in some] == [shot(t) for t in times]
    assert [reel.number for reel in reels.within(found, 103.5, 104.2)] == [2, 3]


def test_a_reel_that_is_cut_anywhere_shows_what_was_complete(tmp_path):
    written(tmp_path, [1.0, 1.5, 2.0], span=9.0).close()
    (reel,) = reels.found(tmp_path)
    whole = reel.path.read_bytes()
    size = len(whole) // 3
    seen = set()
    for end in range(0, len(whole), 7):
        reel.path.write_bytes(whole[:end])
        n = len(list(reels.shots(reel.path)[1]))
        assert n == max(0, (end - (len(whole) - 3 * 1024)) // 1024)
        seen.add(n)
    assert seen == {0, 1, 2}
    for at in range(0, len(whole), 61):  # and damage is never shown
        reel.path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert set(reels.shots(reel.path)[1]) <= {shot(t) for t in (1.0, 1.5, 2.0)}
        assert len(list(reels.shots(reel.path)[1])) < 3
    assert size > 900


def test_a_writer_that_is_killed_leaves_all_but_the_last_picture(tmp_path):
    """By SIGKILL, twenty times, while it writes as fast as it can."""
    program = """
import sys, time
from pathlib import Path
from agent.reels import Head, Ring, Shot
ring = Ring(Path(sys.argv[1]), Head("gate", "k"), 4 << 20, 50.0)
for t in range(190):  # more than is waited for, and less than would push out the first
    ring.put(Shot(float(t), float(t), b"x" * 20000))
    print(t, flush=True)
time.sleep(60)
"""
    for turn in range(20):
        child = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(20 + 7 * turn):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        said = [line for line in child.stdout.read().splitlines() if line]
        child.wait()
        last = int(said[-1]) if said else 20 + 7 * turn - 1
        times = [one.mono for reel in reels.found(tmp_path) for one in reels.shots(reel.path)[1]]
        newest = times[len(times) - times[::-1].index(0.0) - 1 :]
        assert newest == [float(i) for i in range(int(newest[-1]) + 1)]
        assert last <= newest[-1] <= last + 1
    numbers = [reel.number for reel in reels.found(tmp_path)]
    assert numbers == sorted(set(numbers))


def test_the_oldest_go_for_the_budget_but_not_what_somebody_holds(tmp_path):
    ring, held = tmp_path / "ring", tmp_path / "held"
    held.mkdir()
    one = Ring(ring, HEAD, 20_000, 2.0)
    for t in range(100):
        one.put(shot(float(t)))
        if t == 10:
            for reel in reels.within(reels.found(ring), 5.0, 9.0):
                reels.take(reel.path, held)
        assert sum(reel.path.stat().st_size for reel in reels.found(ring)) <= 20_000
    one.close()
    assert len(reels.found(ring)) >= 8
    kept = [s.mono for reel in reels.found(held) for s in reels.shots(reel.path)[1]]
    assert kept == [4.0, 5.0, 6.0, 7.0, 8.0, 9.0]


def test_a_reel_that_is_held_while_it_is_written_is_whole_in_the_end(tmp_path, monkeypatch):
    """By a second name; or where there are no second names, by copying it again."""
    for how in ("link", "copy"):
        ring, held = tmp_path / how, tmp_path / f"held-{how}"
        held.mkdir()
        if how == "copy":

            def refuse(*names):
                if os.path.exists(names[1]):
                    raise FileExistsError
                raise OSError(errno.EXDEV, "another disk")

            monkeypatch.setattr(os, "link", refuse)
        one = Ring(ring, HEAD, 1 << 20, 9.0)
        for t in range(6):
            one.put(shot(float(t)))
            reels.take(reels.found(ring)[0].path, held)
        one.close()
        assert len(list(reels.shots(reels.found(held)[0].path)[1])) == 6


def test_a_disk_with_too_little_left_gets_the_oldest_back_and_then_nothing(tmp_path):
    written(tmp_path, [float(t) for t in range(10)]).close()
    stat = os.statvfs(tmp_path)
    beyond = stat.f_blocks * stat.f_frsize
    with pytest.raises(OSError, match="are free"):
        written(tmp_path, [50.0], floor=beyond)
    assert len(reels.found(tmp_path)) == reels.LEAST - 1


def test_times_are_compared_within_one_run_of_the_kernel_or_of_the_process():
    assert reels.run_of("boot-7") == "boot-7"
    assert reels.run_of("") == reels.run_of("") != ""
    other = subprocess.check_output(
        [sys.executable, "-c", "from agent import reels; print(reels.run_of(''))"], text=True
    )
    assert other.strip() != reels.run_of("")


def test_a_new_writer_begins_a_new_reel_behind_the_others(tmp_path):
    written(tmp_path, [5.0, 6.0])  # never closed
    written(tmp_path, [1.0, 2.0]).close()  # the machine was started again: its clock begins anew
    found = reels.found(tmp_path)
    assert [reel.number for reel in found] == [1, 2]
    assert [reel.number for reel in reels.within(found, 0.0, 3.0)] == [2]
