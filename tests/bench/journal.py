"""What the journal costs: time to verify it, beside a bare loop of hashlib over the same bytes; and its bytes."""

from __future__ import annotations

import hashlib
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import audit, keys
from agent.audit import Chain, verify
from agent.core.core import Core
from agent.core.frame import Instant, frame, layout
from agent.core.rules import High
from agent.traces import Traces

RECORDS = 1_000_000
BODY = 300  # bytes of an order or an event, about
EACH = 100  # channels of a source
HOUR = 3600


def verification(records: int = RECORDS) -> dict[str, Any]:
    """Seconds to verify a signed journal of so many records."""
    key = Ed25519PrivateKey.generate()
    with tempfile.TemporaryDirectory(prefix="vedette-journal-") as folder:
        chain = Chain(Path(folder) / "journal", 1 << 40, key)
        for k in range(0, records, 1000):
            chain.append([b'{"kind":"event","n":%d,"x":"%s"}' % (n, b"x" * (BODY - 40)) for n in range(k, k + 1000)])
        chain.end()
        begin, cpu = time.perf_counter(), time.process_time()
        verdict = verify(chain.folder, [keys.text(key)])
        took, cpu = time.perf_counter() - begin, time.process_time() - cpu
        assert not verdict.faults
        assert verdict.signed == verdict.last
        begin = time.perf_counter()
        head = b""
        for path in audit.segments(chain.folder):
            for line in path.read_bytes().split(b"\n"):
                head = hashlib.sha256(head + line).digest()
        bare = time.perf_counter() - begin
        size = sum(path.stat().st_size for path in audit.segments(chain.folder))
    return {
        "records": verdict.records,
        "MB": size / 1e6,
        "signatures": len(list(range(0, size, audit.SEGMENT))),
        "verified s": took,
        "of it CPU s": cpu,
        "bare hashlib s": bare,
        "x bare": took / bare,
    }


def growth(channels: int, alarms: int) -> dict[str, Any]:
    """Bytes of the journal in an hour of so many channels a second, with so many alarms, each over after a minute."""
    shape = layout([f"c{k}" for k in range(EACH)], ["%"] * EACH)
    sources = [f"d{k}" for k in range(channels // EACH)]
    core = Core(dict.fromkeys(sources, shape), [High(name="gas", channel=["*/c*"], limit=2.0, level="red")])
    memory = core.start("000001-abcd", Instant(0.0, 1.7e9, True))
    rng = np.random.default_rng(1)
    noise = (rng.integers(0, 2**14, (HOUR, EACH)) / 2**14).astype(np.float32).astype(float)
    moments = {int((k + 0.5) * HOUR / alarms): k for k in range(alarms)}
    lasting: dict[tuple[str, int], int] = {}
    with tempfile.TemporaryDirectory(prefix="vedette-journal-") as folder:
        chain = Chain(Path(folder) / "journal", 1 << 30, Ed25519PrivateKey.generate())
        chain.open()

        def put(what: object, sign: bool = False) -> None:
            kind = type(what).__name__.lower()
            chain.append([msgspec.json.encode({"kind": kind, kind: what}, enc_hook=str)], sign)

        traces = Traces(core, "000001-abcd", "c0ffee", lambda trace: put(trace, True))
        for second in range(HOUR):
            at = Instant(float(second), 1.7e9 + second, True)
            if second in moments:
                k = moments[second]
                lasting[sources[k % len(sources)], k % EACH] = second + 60
            for source in sources:
                value = noise[(second + hash(source)) % HOUR]
                for (whose, c), end in lasting.items():
                    if whose == source and second < end:
                        value = value.copy()
                        value[c] = 3.0
                memory, verdict = core.step(memory, frame(source, at, shape, value))
                for seen in verdict.frames:
                    traces.frame(seen)
                for alarm in verdict.alarms:
                    put(alarm)
                    traces.alarm(alarm)
            traces.look(float(second))
        traces.close()
        chain.end()
        size = sum(len(audit.text(path)) for path in audit.segments(chain.folder))
    hours = {"channels": channels, "alarms in the hour": alarms, "journal kB": size / 1000}
    return hours | {"B per channel-hour": size / channels, "kB per alarm": size / 1000 / max(alarms, 1)}


def measure() -> list[dict[str, Any]]:
    """Both."""
    rows: list[dict[str, Any]] = [verification()]
    for channels in (100, 300, 1000):
        rows.append(growth(channels, channels // 100))
    rows.append(growth(300, 0))
    return rows
