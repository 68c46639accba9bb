"""The JT/T 808 platform as somebody's test server: on the command line, with a terminal that is not ours."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.cli import main
from agent.uplink import jt808_wire as wire
from agent.uplink import jt808_words as words
from agent.uplink.jt808_words import Answer, Authentication, Location, Parameter, Parameters, Registered, Registration


class Terminal:
    """A few bytes on a socket."""

    def __init__(self, port: int) -> None:
        self.line = socket.create_connection(("127.0.0.1", port), 10)
        self.stream, self.serial = wire.Stream(), 0
        self.heard: list[wire.Packet] = []

    def say(self, id: int, body: words.Body) -> int:
        serial, self.serial = self.serial, self.serial + 1
        self.line.sendall(wire.pack(wire.Packet(id, "13800138000", serial, words.encode(body))))
        return serial

    def hear(self) -> words.Body:
        while not self.heard:
            data = self.line.recv(4096)
            assert data, "the platform closed the connection"
            self.heard += self.stream.feed(data)
        return words.read(self.heard.pop(0))

    def enter(self) -> None:
        self.say(0x0100, Registration(44, 300, "OTHER", "model", "T000001", 1, "粤B00001"))
        told = self.hear()
        assert isinstance(told, Registered)
        serial = self.say(0x0102, Authentication(told.code))
        assert self.hear() == Answer(serial, 0x0102, words.OK)


class Program:
    """`vedette simulate jt808` and what it says."""

    def __init__(self, *more: str) -> None:
        command = [sys.executable, "-m", "agent.cli", "simulate", "jt808", *more]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
            env=os.environ | {"PYTHONIOENCODING": "utf-8"},
        )  # fmt: skip
        self.port = int(self.until(r"tcp://127.0.0.1:(\d+)"))

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

    def end(self) -> str:
        self.process.send_signal(signal.SIGINT)
        said, _ = self.process.communicate(timeout=20)
        assert self.process.returncode == 0
        return said


def test_a_terminal_registers_reports_and_gets_what_is_typed(tmp_path: Path):
    program = Program("--files", str(tmp_path / "files"))
    try:
        terminal = Terminal(program.port)
        terminal.enter()
        here = Location(1, 3, 30_000_000, 120_000_000, 0, 615, 90, "261128120000")
        serial = terminal.say(0x0200, here)
        assert terminal.hear() == Answer(serial, 0x0200, words.OK)
        assert program.until("(30.000000 120.000000 61.5 km/h 90 deg emergency)")
        program.type("set period 10")
        assert terminal.hear() == Parameters((Parameter(0x0029, (10).to_bytes(4, "big")),))
        program.type("text 减速")
        assert terminal.hear() == words.Text(1, "减速")
        program.type("nonsense 1")
        assert program.until("(not understood: nonsense 1)")
        terminal.say(0x0200, here)  # the same once more, and nothing says that it is
    finally:
        said = program.end()
    assert "1 locations, 0 alarms, 0 files; 0 repeated and marked, 1 twice, 0 strange" in said


def test_who_is_not_authenticated_is_refused_and_a_silent_platform_says_nothing():
    program = Program("--misbehave", "garbage")
    try:
        terminal = Terminal(program.port)
        serial = terminal.say(0x0200, Location(0, 0, 0, 0, 0, 0, 0, "261128120000"))
        assert terminal.hear() == Answer(serial, 0x0200, words.FAILED)
        terminal.enter()
    finally:
        program.end()


def test_words_that_do_not_exist_are_refused(capsys: pytest.CaptureFixture[str]):
    assert main(["simulate", "jt808", "--misbehave", "silnt", "--dialect", "sichuan"]) == 64
    assert "silent" in capsys.readouterr().err
