"""Graph: an ONNX graph that is built by calls, which add nodes and constants under generated names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import InputError

try:
    import onnx
    from onnx import helper, numpy_helper
except ImportError:  # the extra `edge` is not installed; `Graph` raises InputError
    onnx = None

OPSET, IR = 17, 8  # of 2022, which runtimes on small devices support
DOUBLE, FLOAT, INT64 = 11, 1, 7  # element types of TensorProto


class Graph:
    """Each call adds an operator: it takes the names of its input tensors and returns the name of its result."""

    def __init__(self) -> None:
        if onnx is None:
            raise InputError("export needs onnx: install the extra `edge`")
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, array: npt.NDArray) -> str:
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def call(self, operator: str, *inputs: str, to: str | None = None, **attributes: Any) -> str:
        name = to or f"t{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def cast(self, tensor: str, kind: int) -> str:
        name = f"t{len(self._nodes)}"
        self._nodes.append(helper.make_node("Cast", [tensor], [name], to=kind))
        return name

    def columns(self, tensor: str, start: int, stop: int) -> str:
        """Columns start to stop of an (n, width) tensor."""
        bounds = (self.constant(np.array([each], np.int64)) for each in (start, stop, 1))
        return self.call("Slice", tensor, *bounds)

    def model(
        self,
        inputs: Mapping[str, tuple[int, int]],
        outputs: Mapping[str, tuple[int, int]],
        metadata: Mapping[str, str],
    ) -> bytes:
        """The checked model; inputs and outputs are name -> (element type, width), all with n rows."""
        ins, outs = (
            [helper.make_tensor_value_info(name, kind, ["n", width]) for name, (kind, width) in each.items()]
            for each in (inputs, outputs)
        )
        graph = helper.make_graph(self._nodes, "nearfield", ins, outs, self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="nearfield")
        model.ir_version = IR
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())
