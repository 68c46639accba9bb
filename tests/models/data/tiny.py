"""What made `tiny.onnx`, somebody else's model as it may come: double, (batch, 8, 1), the mean of the window as a
reconstruction of all of it. Needs onnx.

    python tests/models/data/tiny.py
"""

from __future__ import annotations

from pathlib import Path

from onnx import TensorProto, checker, helper

LOOKS = 8

nodes = [
    helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=1),
    helper.make_node("Sub", ["x", "x"], ["zero"]),
    helper.make_node("Add", ["zero", "mean"], ["y"]),
]
given, told = (helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["batch", LOOKS, 1]) for name in "xy")
graph = helper.make_graph(nodes, "tiny", [given], [told])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
checker.check_model(model)
Path(__file__).with_name("tiny.onnx").write_bytes(model.SerializeToString())
