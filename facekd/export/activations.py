"""What passes between the layers of a graph."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import onnx
from numpy.typing import NDArray


def activations(
    model: onnx.ModelProto, names: Collection[str], planes: NDArray[np.float32], batch: int
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """The activations ``names`` of ``model``, by name, for each ``batch`` of ``planes`` float32
    [N, 3, S, S]."""
    from facekd.runtime import open_session

    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    asked = sorted(set(names))
    shown.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in asked)
    session = open_session(shown.SerializeToString())
    for start in range(0, len(planes), batch):
        found = session.run(asked, {"planes": planes[start : start + batch]})
        yield dict(zip(asked, found, strict=True))
