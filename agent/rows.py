"""What the store writes, as pure functions: checksums, packed batches, and ranges of owed rows.

A packed batch can be read by any language. Little endian, no padding:

    u8   version, 1
    u8   flags: 1 values are float32 (else float64), 2 one quality for all, 4 the rest is zlib
    u32  t, rows in time          u32  n, channels
    f64  mono[t]                  s
    f64  wall[t]                  s, UTC
    f32 or f64  value[t][n], its bytes transposed: all first bytes, all second bytes, ... (packs better)
    u8   quality[t][n], or one byte
"""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_right

import numpy as np

from .core.frame import Array
from .core.ports import Batch

HEAD = struct.Struct("<BBII")
VERSION = 1
SINGLE, UNIFORM, PACKED = 1, 2, 4
PAYS = 0.8  # compressed must be this much smaller; measured: noise packs to 0.73-0.83, scaled integers to 0.58


def check(*columns: int | str | bytes) -> int:
    """CRC-32 over all columns of a row, so that a flipped bit anywhere in it is noticed.

    >>> check(1, "alarm", b"x") == check(1, "alarm", b"y")
    False
    """
    crc = 0
    for column in columns:
        crc = zlib.crc32(column if isinstance(column, bytes) else f"|{column}|".encode(), crc)
    return crc


def pack(batch: Batch, squeeze: bool = True) -> bytes:
    """The batch's columns as bytes. Values that float32 can hold exactly are stored as float32.

    `squeeze`: try zlib, and keep the result if it pays.
    """
    t, n = batch.value.shape
    flags = 0
    with np.errstate(over="ignore"):
        single = batch.value.astype("<f4")
    if ((single == batch.value) | np.isnan(batch.value)).all():
        flags, value = SINGLE, single
    else:
        value = np.ascontiguousarray(batch.value, "<f8")
    quality = np.ascontiguousarray(batch.quality, np.uint8)
    if quality.size and (quality == quality.flat[0]).all():
        flags |= UNIFORM
        quality = quality[:1, :1]
    shuffled = value.view(np.uint8).reshape(-1, value.itemsize).T
    body = b"".join(
        (batch.mono.astype("<f8").tobytes(), batch.wall.astype("<f8").tobytes(), shuffled.tobytes(), quality.tobytes())
    )
    if squeeze:
        small = zlib.compress(body, 1)
        if len(small) < PAYS * len(body):
            flags, body = flags | PACKED, small
    return HEAD.pack(VERSION, flags, t, n) + body


def unpack(packed: bytes, source: str, key: tuple[str, ...], unit: tuple[str, ...], synced: bool) -> Batch:
    """The batch again. Raises `ValueError` where the bytes are not a packed batch of `len(key)` channels."""
    try:
        version, flags, t, n = HEAD.unpack_from(packed)
        body = zlib.decompress(packed[HEAD.size :]) if flags & PACKED else packed[HEAD.size :]
    except (struct.error, zlib.error) as error:
        raise ValueError(f"not a packed batch: {error}") from error
    size = 4 if flags & SINGLE else 8
    end = 16 * t + size * t * n
    if version != VERSION or n != len(key) or len(body) != end + (1 if flags & UNIFORM else t * n):
        raise ValueError(f"packed batch of version {version}, {t} x {n}, does not fit {len(key)} channels")
    shuffled = np.frombuffer(body, np.uint8, size * t * n, 16 * t).reshape(size, -1)
    value = np.ascontiguousarray(shuffled.T).view(f"<f{size}").reshape(t, n).astype(float)
    quality: Array = np.frombuffer(body, np.uint8, offset=end)
    quality = np.full((t, n), quality[0]) if flags & UNIFORM else quality.reshape(t, n)
    mono, wall = np.frombuffer(body, "<f8", t), np.frombuffer(body, "<f8", t, 8 * t)
    return Batch(source, key, unit, mono, wall, synced, value, quality)


Span = tuple[int, int, bool]  # first row, last row, whether its sending may have begun


class Owed:
    """The rows that an uplink still owes, as sorted spans that do not overlap.

    Rows are removed mostly at the front and added at the back, so there are few spans.

    >>> owed = Owed([(1, 9, False)]); owed.remove(4); owed.tried(1, 2); owed.spans
    [(1, 2, True), (3, 3, False), (5, 9, False)]
    """

    def __init__(self, spans: list[Span] | None = None) -> None:
        self.spans: list[Span] = []
        for lo, hi, tried in spans or []:
            self.add(lo, hi, tried)

    def __len__(self) -> int:
        return sum(hi - lo + 1 for lo, hi, _ in self.spans)

    def __contains__(self, row: int) -> bool:
        i = self._at(row)
        return i >= 0 and row <= self.spans[i][1]

    def _at(self, row: int) -> int:
        """Index of the last span that begins at or before `row`, -1 if there is none."""
        return bisect_right(self.spans, row, key=lambda span: span[0]) - 1

    def add(self, lo: int, hi: int, tried: bool) -> None:
        """Owe rows `lo` to `hi`; neighbours that are alike are joined."""
        self.cut(lo, hi)
        i = self._at(lo) + 1
        if i and self.spans[i - 1][1:] == (lo - 1, tried):
            i, lo = i - 1, self.spans.pop(i - 1)[0]
        if i < len(self.spans) and self.spans[i][0] == hi + 1 and self.spans[i][2] == tried:
            hi = self.spans.pop(i)[1]
        self.spans.insert(i, (lo, hi, tried))

    def remove(self, row: int) -> None:
        """Owe `row` no longer."""
        self.cut(row, row)

    def cut(self, lo: int, hi: int) -> list[Span]:
        """Owe none of the rows `lo` to `hi`. Returns what of them was owed."""
        i = max(0, self._at(lo))
        gone: list[Span] = []
        while i < len(self.spans) and self.spans[i][0] <= hi:
            a, b, tried = self.spans[i]
            if b < lo:
                i += 1
                continue
            left = [(a, lo - 1, tried)] if a < lo else []
            right = [(hi + 1, b, tried)] if b > hi else []
            self.spans[i : i + 1] = left + right
            gone.append((max(a, lo), min(b, hi), tried))
            i += len(left)
        return gone

    def tried(self, lo: int, hi: int) -> None:
        """Mark what is owed of rows `lo` to `hi` as possibly sent."""
        for a, b, _ in self.cut(lo, hi):
            self.add(a, b, True)

    def after(self, row: int) -> Span | None:
        """The first span, cut to begin at `row` or later."""
        i = max(0, self._at(row))
        for lo, hi, tried in self.spans[i : i + 2]:
            if hi >= row:
                return max(lo, row), hi, tried
        return None

    def is_tried(self, row: int) -> bool:
        """Whether `row` may have been sent before."""
        i = self._at(row)
        return i >= 0 and row <= self.spans[i][1] and self.spans[i][2]
