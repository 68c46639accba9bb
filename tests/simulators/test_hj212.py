"""The HJ 212 platform as somebody's test server: on the command line, with a device that is not ours."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from agent.cli import main
from simulators.hj212 import crc16

MN = "010000A8900016F000169DC0"


class Program:
    """`vedette simulate hj212` and what it says."""

    def __init__(self, *more: str, **pipes: int) -> None:
        command = [sys.executable, "-m", "agent.cli", "simulate", "hj212", *more]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, **pipes}
        self.process = subprocess.Popen(command, text=True, env=os.environ | {"TZ": "UTC"}, **pipes)
        self.line = socket.create_connection(("127.0.0.1", int(self.until(r"tcp://127.0.0.1:(\d+)"))), 10)
        self.heard = b""

    def until(self, pattern: str) -> str:
        assert self.process.stdout is not None
        end = time.monotonic() + 30
        while time.monotonic() < end:
            line = self.process.stdout.readline()
            if found := re.search(pattern, line):
                return found.group(found.re.groups)
            assert line, f"{pattern}: not said"
        raise AssertionError(pattern)

    def type(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()

    def say(self, text: str, check: int | None = None) -> None:
        data = text.encode()
        self.line.sendall(b"##%04d%s%04X\r\n" % (len(data), data, crc16(data) if check is None else check))

    def hear(self) -> str:
        while b"\r\n" not in self.heard:
            data = self.line.recv(4096)
            assert data, "the platform closed the connection"
            self.heard += data
        one, _, self.heard = self.heard.partition(b"\r\n")
        assert (one[:2], int(one[2:6]), one[-4:]) == (b"##", len(one) - 10, b"%04X" % crc16(one[6:-4]))
        return one[6:-4].decode()

    def end(self) -> str:
        self.process.send_signal(signal.SIGINT)
        said, _ = self.process.communicate(timeout=20)
        assert self.process.returncode == 0
        return said


def test_a_device_is_answered_counted_and_asked_what_is_typed():
    program = Program("--pw", "654321")
    try:
        head = f"ST=32;CN=2011;PW=654321;MN={MN};Flag=5"
        data = f"QN=20160801085857223;{head};CP=&&DataTime=20160801085857;w01018-Rtd=40.1,w01018-Flag=N&&"
        program.say(data)
        assert program.hear() == f"QN=20160801085857223;ST=91;CN=9014;PW=654321;MN={MN};Flag=4;CP=&&&&"
        assert program.until("(w01018-Rtd=40.1,w01018-Flag=N)")
        program.say(data)  # for the answer was lost
        program.hear()
        program.say(data, check=1)
        program.say(data.replace("085857223", "085858000"))  # another number
        program.hear()
        program.say(f"QN=20160801085900000;{head};CP=&&w01018-Rtd=1&&")  # when was that?
        program.hear()
        program.type("interval 60")
        assert re.fullmatch(
            rf"QN=\d{{17}};ST=32;CN=1062;PW=654321;MN={MN};Flag=5;CP=&&RtdInterval=60&&", program.hear()
        )
        program.type("history 2051 20160801080000 20160801090000")
        assert program.hear().endswith(
            "CN=2051;PW=654321;MN=" + MN + ";Flag=5;CP=&&BeginTime=20160801080000,EndTime=20160801090000&&"
        )
        program.type("interval x")
        assert program.until("(not understood: interval x)")
    finally:
        said = program.end()
    assert "2 of 2011, 0 of 2051, 0 of 2061, 0 of 2031; 1 repeated, 1 again, 1 strange" in said
    assert "not as the standard has it: CP w01018-Rtd=1" in said


def test_it_runs_without_a_terminal():
    """As under nohup, or in a unit: nothing is typed then, and nothing said of that."""
    program = Program(stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    program.say(f"QN=20160801085857223;ST=32;CN=2011;PW=123456;MN={MN};Flag=5;CP=&&DataTime=20160801085857&&")
    assert "CN=9014" in program.hear()
    program.process.send_signal(signal.SIGINT)
    assert program.process.stdout is not None
    assert "Traceback" not in program.process.stdout.read()
    assert program.process.wait(20) == 0


def test_words_that_do_not_exist_are_refused(capsys: pytest.CaptureFixture[str]):
    assert main(["simulate", "hj212", "--misbehave", "silnt"]) == 64
    assert "did you mean `silent`" in capsys.readouterr().err
