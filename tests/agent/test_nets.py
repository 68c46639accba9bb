"""`vedette models`: nets are imported and fetched whole or not at all, and what is wrong with them is told."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import resource
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from agent import cli
from models.vision import shelf
from models.vision.manifest import Manifest, read
from tests.tools.onnx import blue

pytest.importorskip("cv2")
pytest.importorskip("onnxruntime")

KNOWN = ("--family", "centre", "--kinds", "vehicle")


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """An empty folder of this machine's own nets."""
    folder = tmp_path / "own"
    monkeypatch.setenv("VEDETTE_MODELS", str(folder))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return folder


@pytest.fixture
def usb(tmp_path):
    """A folder with the blue net, which no manifest knows."""
    (tmp_path / "usb").mkdir()
    blue(tmp_path / "usb" / "Blue.onnx")
    return tmp_path / "usb"


def models(capsys, *words):
    """Exit code, what was said, and what was complained about."""
    try:
        code = cli.main(["models", *map(str, words)])
    except SystemExit as stop:
        code = stop.code
    said = capsys.readouterr()
    return code, said.out, said.err


def told(capsys, *words):
    code, out, _ = models(capsys, *words, "--json")
    return code, json.loads(out)


def names(folder):
    return sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []


def test_what_can_be_fetched_is_listed_with_its_licence_and_what_is_here(capsys, own, usb):
    code, facts = told(capsys, "list")
    assert code == 0
    assert facts["models"]["shape"]["here"]
    assert not facts["models"]["yolox_nano"]["here"]
    assert facts["models"]["yolox_nano"]["manifest"]["licence"] == "Apache-2.0"
    models(capsys, "import", usb / "Blue.onnx", *KNOWN)
    code, out, _ = models(capsys, "list")
    assert code == 0
    assert any(line.split()[:3] == ["blue", "here", "centre"] for line in out.splitlines())


def test_an_unknown_file_asks_for_its_family_and_then_for_its_classes(capsys, own, usb):
    code, _, err = models(capsys, "import", usb / "Blue.onnx")
    assert code == os.EX_USAGE
    assert "--family" in err
    code, _, err = models(capsys, "import", usb / "Blue.onnx", "--family", "centre")
    assert code == os.EX_USAGE
    assert "--kinds" in err
    code, _, err = models(capsys, "import", usb / "Blue.onnx", "--family", "resnet", "--kinds", "a")
    assert code == os.EX_USAGE
    assert "yunet" in err
    assert names(own) == []
    code, out = told(capsys, "import", usb / "Blue.onnx", *KNOWN, "--licence", "CC0-1.0", "--source", "a stick")
    assert code == 0
    assert out["manifest"] | {"licence": "CC0-1.0", "source": "a stick", "input": [64, 96]} == out["manifest"]
    assert names(own) == ["blue.onnx", "blue.toml"]
    assert (own / "blue.onnx").stat().st_mode & 0o777 == 0o644  # who imports is often not who looks
    assert told(capsys, "verify", "blue")[1]["models"][0]["state"] == "whole"


def test_a_known_file_needs_nothing_but_itself(capsys, own, usb):
    models(capsys, "import", usb / "Blue.onnx", *KNOWN, "--to", usb / "made")
    made = usb / "made"
    (made / "blue.onnx").rename(made / "x.bin")  # a manifest beside it knows it by its hash
    code, out, _ = models(capsys, "import", made / "x.bin")
    assert code == 0
    assert out.startswith("blue: centre")
    assert names(own) == ["blue.onnx", "blue.toml"]
    (own / "blue.onnx").write_bytes(b"half")
    assert models(capsys, "verify", "blue")[0] == 1
    assert models(capsys, "import", usb / "Blue.onnx")[0] == 0  # this machine's own manifest knows it
    assert models(capsys, "verify", "blue")[0] == 0


def test_a_name_means_one_net(capsys, own, usb):
    models(capsys, "import", usb / "Blue.onnx", *KNOWN)
    blue(usb / "other.onnx", side=3.0)
    for name in ("blue", "yolox_nano"):
        code, _, err = models(capsys, "import", usb / "other.onnx", *KNOWN, "--name", name)
        assert code == cli.UNAVAILABLE
        assert "another" in err
    assert models(capsys, "import", usb / "other.onnx", *KNOWN, "--name", "../up")[0] == os.EX_USAGE
    assert names(own) == ["blue.onnx", "blue.toml"]


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty", "gone", "another family", "another shape"])
def test_what_does_not_run_is_not_kept(capsys, own, usb, damage):
    file, words = usb / "Blue.onnx", list(KNOWN)
    if damage == "cut":
        file.write_bytes(blue()[:-200])
    elif damage == "garbage":
        file.write_bytes(os.urandom(5000))
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "gone":
        file.unlink()
    elif damage == "another family":
        words[1] = "yolox"
    else:
        words += ["--input", "32x32"]
    code, out = told(capsys, "import", file, *words)
    assert code == cli.UNAVAILABLE
    assert out["error"]
    assert names(own) == []


def test_a_folder_that_takes_no_more_keeps_what_it_had(capsys, own, usb):
    """A limit on the size of files stands for a full disk: both fail in the middle of writing."""
    models(capsys, "import", usb / "Blue.onnx", *KNOWN)
    blue(usb / "large.onnx", cell=32)
    limit = len(blue()) + 500
    words = [sys.executable, "-m", "agent.cli", "models", "import", str(usb / "large.onnx"), *KNOWN]
    ran = subprocess.run(
        words,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert ran.returncode == cli.UNAVAILABLE
    assert "does not take the net" in ran.stderr
    assert names(own) == ["blue.onnx", "blue.toml"]
    assert models(capsys, "verify", "blue")[0] == 0


def test_verify_names_each_thing_that_is_wrong(capsys, own, usb):
    assert models(capsys, "verify")[0] == 0  # what ships is whole, what can be fetched is absent
    models(capsys, "import", usb / "Blue.onnx", *KNOWN)
    models(capsys, "import", usb / "Blue.onnx", *KNOWN, "--name", "gone")
    (own / "gone.onnx").unlink()
    (own / "stray.onnx").write_bytes(b"?")
    (own / "torn.toml").write_text("[net.")
    code, facts = told(capsys, "verify")
    wrong = {one["name"]: one["says"] for one in facts["models"] if one["state"] == "wrong"}
    assert (code, facts["wrong"]) == (1, 3)
    assert set(wrong) == {"gone", "stray.onnx", "manifest"}
    assert "torn.toml" in wrong["manifest"]
    assert "is not here" in wrong["gone"]
    assert models(capsys, "verify", "nobody")[0] == cli.UNAVAILABLE


def test_bench_tells_ms_and_the_ratio_to_the_bare_net(capsys, own, usb):
    models(capsys, "import", usb / "Blue.onnx", *KNOWN)
    code, facts = told(capsys, "bench", "blue", "--rounds", 5)
    row = facts["nets"]["blue"]
    assert code == 0
    assert min(row["all"], row["shown"], row["run"], row["read"], row["ratio"]) > 0
    assert models(capsys, "bench")[1].splitlines()[1].startswith("blue")
    assert models(capsys, "bench", "yolox_nano")[0] == cli.UNAVAILABLE


# -- mirrors ------------------------------------------------------------------------------------------


class Mirror(http.server.BaseHTTPRequestHandler):
    """Answers after the first part of the path."""

    whole = blue()

    def do_GET(self):
        how = self.path.split("/")[1]
        if how == "moved":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd" if "bad" in self.path else "/whole/blue.onnx")
            self.end_headers()
            return
        if how == "none":
            self.send_error(404)
            return
        body = {
            "garbage": b"<html>log in first</html>",
            "alike": bytes(len(self.whole)),
            "endless": self.whole + bytes(5_000_000),
        }.get(how, self.whole)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body[: len(body) // 2 if how in ("cut", "slow") else len(body)])
            if how == "slow":
                self.server.over.wait(20)
        except OSError:
            pass  # whoever asked has gone

    def log_message(self, *_):
        pass


@pytest.fixture
def mirror():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.over = threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.over.set()
    server.shutdown()
    server.server_close()
    thread.join()


def describe(own, *urls):
    """The blue net is described in the own folder, and absent."""
    one = Manifest(
        file="blue.onnx",
        task="test",
        family="centre",
        kinds=["vehicle"],
        licence="CC0-1.0",
        source="this test",
        sha256=hashlib.sha256(blue()).hexdigest(),
        bytes=len(blue()),
        input=(64, 96),
    )
    own.mkdir()
    (own / "blue.toml").write_text(shelf.toml("blue", msgspec.structs.replace(one, url=list(urls))))


def test_a_net_is_fetched_from_its_address_checked_and_tried(capsys, own, mirror):
    describe(own, f"{mirror}/none/blue.onnx", f"{mirror}/moved/blue.onnx")
    code, out, _ = models(capsys, "fetch", "blue")
    assert code == 0
    assert "it runs and is kept" in out
    assert names(own) == ["blue.onnx", "blue.toml"]
    assert read(own / "blue.toml")["blue"].url
    assert "here already" in models(capsys, "fetch", "blue")[1]


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("garbage", "25 of"),
        ("alike", "sha256"),
        ("cut", "of|incomplete|IncompleteRead"),
        ("endless", "more than"),
        ("none", "404"),
        ("moved/bad", "."),
        ("slow", "timed out|in 0.5 s"),
    ],
)
def test_a_mirror_that_answers_something_else_leaves_nothing(capsys, own, mirror, how, says):
    describe(own)
    code, _, err = models(capsys, "fetch", "blue", "--from", f"{mirror}/{how}", "--timeout", 0.5)
    assert code == cli.UNAVAILABLE
    assert re.search(says, err)
    assert names(own) == ["blue.toml"]


def test_a_mirror_may_be_a_folder_and_no_mirror_is_said(capsys, own, usb, mirror):
    describe(own)
    (usb / "alike.onnx").write_bytes(bytes(len(blue())))
    code, _, err = models(capsys, "fetch", "blue")
    assert (code, "has no address" in err) == (cli.UNAVAILABLE, True)
    for no in (usb / "nowhere", "ftp://127.0.0.1", "http://127.0.0.1:1"):
        assert models(capsys, "fetch", "blue", "--from", no)[0] == cli.UNAVAILABLE
    assert models(capsys, "fetch", "blue", "--from", usb)[0] == 0
    assert Path(own / "blue.onnx").read_bytes() == blue()
