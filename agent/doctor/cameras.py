"""Cameras: is the device there, may it be used, who has it, what does it offer; does a stream's server answer.

A device is opened to be asked what it offers (VIDIOC_ENUM_FMT and the like), which a camera that is filming allows.
No picture is taken, no stream is begun: RTSP is asked DESCRIBE, HTTP for its first line.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import re
import secrets
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from .finding import Finding, found
from .machine import READ, WRITE, Machine, Person, group, holders, mode

# linux/videodev2.h
QUERYCAP, ENUM_FMT, ENUM_SIZES, ENUM_RATES = 0x80685600, 0xC0405602, 0xC02C564A, 0xC034564B
CAPTURE = 0x1  # V4L2_CAP_VIDEO_CAPTURE
DEVICE_CAPS = 0x80000000
DISCRETE = 1  # V4L2_FRMSIZE_TYPE_DISCRETE
MOST = 64  # answers of one kind
USB2 = 480  # Mbit/s of a bus
KNOCK = 3.0  # s for a connection, and for an answer
LONGEST = 16 * 1024  # bytes of an answer
PORTS = {"rtsp": 554, "http": 80, "rtsps": 322, "https": 443}

Ioctl = Callable[[int, int, bytearray], None]


class Offer(NamedTuple):
    """One kind of picture that a camera gives."""

    format: str  # four letters: YUYV, MJPG
    width: int
    height: int
    fps: float  # the most; NaN where it does not say

    def __str__(self) -> str:
        rate = f"@{self.fps:g}" if self.fps == self.fps else ""
        return f"{self.format} {self.width}x{self.height}{rate}"


def _ask(hand: int, what: int, data: bytearray) -> None:
    fcntl.ioctl(hand, what, data, True)


def offers(hand: int, ask: Ioctl = _ask) -> list[Offer] | None:
    """What a camera gives, the largest first; None where the device is no camera. Raises `OSError`."""
    about = bytearray(104)
    ask(hand, QUERYCAP, about)
    whole, own = struct.unpack_from("=II", about, 84)
    if not (own if whole & DEVICE_CAPS else whole) & CAPTURE:
        return None
    told = []
    for code in _formats(hand, ask):
        name = struct.pack("=I", code).decode("ascii", "replace")

        for i in range(MOST):
            data = bytearray(44)
            struct.pack_into("=II", data, 0, i, code)
            try:
                ask(hand, ENUM_SIZES, data)
            except OSError:
                break
            kind, width, height = struct.unpack_from("=III", data, 8)
            if kind != DISCRETE:  # from the least to the most, in steps
                width, height = struct.unpack_from("=I8xI", data, 16)
            told.append(Offer(name, width, height, _rate(hand, ask, code, width, height)))
            if kind != DISCRETE:
                break
    return sorted(told, key=lambda one: (one.width * one.height, one.fps == one.fps and one.fps), reverse=True)


def _formats(hand: int, ask: Ioctl) -> Iterator[int]:
    """The code of each format."""
    for i in range(MOST):
        data = bytearray(64)
        struct.pack_into("=II", data, 0, i, 1)  # 1: V4L2_BUF_TYPE_VIDEO_CAPTURE
        try:
            ask(hand, ENUM_FMT, data)
        except OSError:
            return
        yield struct.unpack_from("=I", data, 44)[0]


def _rate(hand: int, ask: Ioctl, code: int, width: int, height: int) -> float:
    """The most pictures a second at this size; NaN where it does not say."""
    best = float("nan")
    for i in range(MOST):
        data = bytearray(52)
        struct.pack_into("=IIII", data, 0, i, code, width, height)
        try:
            ask(hand, ENUM_RATES, data)
        except OSError:
            break
        kind, above, below = struct.unpack_from("=III", data, 16)
        if above:
            best = max(below / above, best) if best == best else below / above
        if kind != DISCRETE:
            break  # the first of a range is the shortest time
    return best


# -- devices ------------------------------------------------------------------------------------------


def device(
    machine: Machine, who: Person, name: str, path: str, wanted: tuple[int, int, float], ours: frozenset[int]
) -> Iterator[Finding]:
    """One camera at USB. `wanted`: width and height at most, pictures/s."""
    what = f"{name} {path}"
    there = machine.stat(path)
    if there is None:
        yield found("camera missing", what, there=", ".join(machine.glob("/dev/video*")) or "-")
        return
    if not stat.S_ISCHR(there.st_mode):
        yield found("camera odd", what, mode=mode(there))
        return
    if not who.may(there, READ | WRITE):
        yield found("camera rights", what, user=who.name, mode=mode(there), group=group(there.st_gid))
    by = holders(machine, path)
    if others := [one for one in by.held if one.pid not in ours]:
        yield found("camera held", what, who=", ".join(f"{one.name} ({one.pid})" for one in others))
    try:
        hand = os.open(machine.at(path), os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        yield found("camera unasked", what, why=error.strerror or str(error))
        return
    try:
        given = offers(hand)
    except OSError as error:
        yield found("camera unasked", what, why=error.strerror or str(error))
        return
    finally:
        os.close(hand)
    yield from fits(what, given, wanted)


def fits(what: str, given: list[Offer] | None, wanted: tuple[int, int, float]) -> Iterator[Finding]:
    """Whether a camera offers what the site wants of it."""
    if given is None:
        yield found("camera none", what)
        return
    if not given:
        yield found("camera mute", what)
        return
    width, height, fps = wanted
    known = ", ".join(str(one) for one in given[:6]) + (" ..." if len(given) > 6 else "")
    facts = {"known": known, "wanted": f"{width}x{height}", "fps": f"{fps:g}"}
    same = [one for one in given if (one.width, one.height) == (width, height)]
    if not same:
        yield found("camera size", what, **facts)
        same = [one for one in given if (one.width, one.height) == (given[0].width, given[0].height)]
    best = max((one.fps for one in same if one.fps == one.fps), default=float("nan"))
    if best == best and best < fps:
        yield found("camera rate", what, best=f"{best:g}", size=f"{same[0].width}x{same[0].height}", **facts)
    else:
        yield found("camera fine", what, **facts)


OBSTACLE = "import sys, cv2; from drivers.video_child import obstacle; print(obstacle(cv2, sys.argv[1]))"
LOADING = 30.0  # s until OpenCV is loaded, from a cold card


def film(name: str, url: str, shown: str) -> Iterator[Finding]:
    """A file, or a pipeline of GStreamer, as far as it can be told without opening it. OpenCV is loaded by a child."""
    what = f"{name} {shown}"
    try:
        told = subprocess.run(
            [sys.executable, "-c", OBSTACLE, url], capture_output=True, text=True, timeout=LOADING, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        yield found("camera unasked", what, why=str(error))
        return
    why = told.stdout.strip() if told.returncode == 0 else told.stderr.strip().rpartition("\n")[2]
    yield found("camera hindered" if why else "camera untried", what, why=why)


def crowded(machine: Machine, cameras: list[tuple[str, str]]) -> Iterator[Finding]:
    """Cameras (name, path) that share one USB 2 bus. Raw pictures of 640 x 480, 30 a second, take 147 Mbit/s of it."""
    buses: dict[str, list[str]] = {}
    for name, path in cameras:
        real = machine.real(f"/sys/class/video4linux/{os.path.basename(machine.real(path))}/device")
        usb = os.path.dirname(real)
        speed, bus = machine.number(f"{usb}/speed"), machine.text(f"{usb}/busnum")
        if speed is not None and speed <= USB2 and bus is not None:
            buses.setdefault(bus, []).append(name)
    for bus, names in buses.items():
        if len(names) > 1:
            yield found("camera crowded", ", ".join(names), bus=bus, n=len(names))


# -- streams ------------------------------------------------------------------------------------------


def stream(name: str, url: str, user: str, password: str) -> Iterator[Finding]:
    """One camera in the network: what it answers to a first word. The password is said to nobody else."""
    place = urlsplit(url)
    host, port = place.hostname or "", place.port or PORTS[place.scheme]
    what = f"{name} {host}:{port}"
    try:
        with socket.create_connection((host, port), KNOCK) as line:
            line.settimeout(KNOCK)
            if place.scheme not in ("rtsp", "http"):
                yield found("camera reached", what)
                return
            code = asked(line, place.scheme, url.partition("#")[0], user, password)
    except socket.gaierror as error:
        yield found("camera nameless", what, why=error.strerror or str(error))
        return
    except ValueError:
        yield found("camera foreign", what, scheme=place.scheme.upper())
        return
    except OSError as error:
        yield found("camera away", what, why=error.strerror or str(error) or "no answer")
        return
    rows = {401: "camera login", 403: "camera forbidden", 404: "camera path", 200: "camera answers"}
    key = rows.get(code, "camera refuses")
    yield found("camera password" if code == 401 and user else key, what, code=code)


def asked(line: socket.socket, scheme: str, url: str, user: str, password: str) -> int:
    """The status code of a stream, after a login where one is asked for. Raises `OSError`; `ValueError` where what
    answers speaks another language."""
    verb, version = ("DESCRIBE", "RTSP/1.0") if scheme == "rtsp" else ("GET", "HTTP/1.0")
    place = urlsplit(url)
    target = url if scheme == "rtsp" else (place.path or "/") + (f"?{place.query}" if place.query else "")
    more = ""
    code = 0
    for number in (1, 2):
        host = f"Host: {place.netloc}\r\n" if scheme == "http" else "Accept: application/sdp\r\n"
        line.sendall(f"{verb} {target} {version}\r\nCSeq: {number}\r\n{host}{more}User-Agent: vedette\r\n\r\n".encode())
        head = _head(line)
        first = re.match(rf"{version[:4]}/\d\.\d (\d\d\d)", head)
        if first is None:
            raise ValueError(head[:40])
        code = int(first[1])
        if code != 401 or not user or number == 2 or scheme == "http":
            break
        more = login(head, verb, target, user, password)
        if not more:
            break
    if code == 401 and user and scheme == "http" and (more := login(head, verb, target, user, password)):
        with socket.create_connection(line.getpeername()[:2], KNOCK) as again:
            again.settimeout(KNOCK)
            again.sendall(f"{verb} {target} {version}\r\n{host}{more}User-Agent: vedette\r\n\r\n".encode())
            first = re.match(r"HTTP/\d\.\d (\d\d\d)", _head(again))
            code = int(first[1]) if first else code
    return code


def _head(line: socket.socket) -> str:
    """An answer as far as the empty line."""
    data = b""
    while b"\r\n\r\n" not in data and len(data) < LONGEST:
        piece = line.recv(4096)
        if not piece:
            break
        data += piece
    return data.decode("latin-1")


def login(head: str, verb: str, target: str, user: str, password: str) -> str:
    """The header that answers a 401: Digest where it is offered, else Basic. RFC 2617; RTSP takes it as HTTP does."""
    digest = re.search(r"(?im)^WWW-Authenticate:\s*Digest\s+(.*)$", head)
    if digest is None:
        if re.search(r"(?im)^WWW-Authenticate:\s*Basic", head) is None:
            return ""
        word = base64.b64encode(f"{user}:{password}".encode()).decode()
        return f"Authorization: Basic {word}\r\n"
    asked_ = {key: quoted or bare for key, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', digest[1])}
    name = asked_.get("algorithm", "MD5").upper()
    if name not in ("MD5", "SHA-256"):
        return ""

    def digested(text: str) -> str:
        return hashlib.new("md5" if name == "MD5" else "sha256", text.encode(), usedforsecurity=False).hexdigest()

    realm, nonce = asked_.get("realm", ""), asked_.get("nonce", "")
    first, second = digested(f"{user}:{realm}:{password}"), digested(f"{verb}:{target}")
    parts = f'username="{user}", realm="{realm}", nonce="{nonce}", uri="{target}"'
    if "auth" in asked_.get("qop", "").split(","):
        mine = secrets.token_hex(8)
        answer = digested(f"{first}:{nonce}:00000001:{mine}:auth:{second}")
        parts += f', qop=auth, nc=00000001, cnonce="{mine}"'
    else:
        answer = digested(f"{first}:{nonce}:{second}")
    if "algorithm" in asked_:
        parts += f", algorithm={asked_['algorithm']}"
    if "opaque" in asked_:
        parts += f', opaque="{asked_["opaque"]}"'
    return f'Authorization: Digest {parts}, response="{answer}"\r\n'
