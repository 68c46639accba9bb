"""Small nets for tests, written as ONNX byte by byte: a clean clone has no `onnx`.

Field numbers after onnx.proto (IR version 8, opset 17).
"""

from __future__ import annotations

import struct

import numpy as np

FLOAT, INTS = 1, 7  # of TensorProto.DataType, AttributeProto.AttributeType


def blue(path=None, cell: int = 8, side: float = 2.0, height=64, width=96, extra: int = 0) -> bytes:
    """A net of the family `centre` with one kind: where a cell is blue, there is a thing of 2 x `side` cells.

    Its score is the mean of the cell's first channel by 255. height, width: "h", "w" are free sides; extra: more
    channels than the family has with one kind, all of them zero scores.
    """
    channels = 5 + extra
    weight = np.zeros((channels, 3, cell, cell), np.float32)
    weight[0, 0] = 1 / (255 * cell * cell)
    bias = np.zeros(channels, np.float32)
    bias[-4:] = np.log(side)
    node = _text(1, "picture") + _text(1, "w") + _text(1, "b") + _text(2, "out") + _text(4, "Conv")
    node += _bytes(5, _ints("kernel_shape", [cell, cell])) + _bytes(5, _ints("strides", [cell, cell]))
    free = not isinstance(height, int) or not isinstance(width, int)
    shape = [1, channels, "a", "b"] if free else [1, channels, height // cell, width // cell]
    graph = _bytes(1, node) + _text(2, "blue") + _bytes(5, _tensor("w", weight)) + _bytes(5, _tensor("b", bias))
    graph += _bytes(11, _value("picture", [1, 3, height, width])) + _bytes(12, _value("out", shape))
    model = _number(1, 8) + _bytes(7, graph) + _bytes(8, _text(1, "") + _number(2, 17))
    if path is not None:
        path.write_bytes(model)
    return model


def _varint(n: int) -> bytes:
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def _number(field: int, n: int) -> bytes:
    return _varint(field << 3) + _varint(n)


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _bytes(field, text.encode())


def _ints(name: str, numbers: list[int]) -> bytes:
    return _text(1, name) + b"".join(_number(8, n) for n in numbers) + _number(20, INTS)


def _tensor(name: str, values) -> bytes:
    raw = struct.pack(f"<{values.size}f", *values.ravel().tolist())
    return b"".join(_number(1, n) for n in values.shape) + _number(2, FLOAT) + _text(8, name) + _bytes(9, raw)


def _value(name: str, shape: list) -> bytes:
    sides = b"".join(_bytes(1, _number(1, n) if isinstance(n, int) else _text(2, n)) for n in shape)
    return _text(1, name) + _bytes(2, _bytes(1, _number(1, FLOAT) + _bytes(2, sides)))
