"""The digest of a network: of what it computes, whatever names its exporter used."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx
from facekd.card.contract import canonical_json


def network_digest(model: onnx.ModelProto) -> str:
    """SHA-256 of what the network computes, whatever names its exporter used.

    Values are renumbered in the order of their first use; weights are included by content; names of graph,
    nodes and values, doc strings and all metadata are left out. Attributes are sorted by name.
    """
    from onnx import numpy_helper

    graph = model.graph
    sha = hashlib.sha256()
    weights: dict[str, bytes] = {}
    for tensor in graph.initializer:
        array = numpy_helper.to_array(tensor)
        head = f"{array.dtype}{array.shape}".encode()
        weights[tensor.name] = hashlib.sha256(head + array.tobytes()).digest()
    numbers: dict[str, int] = {}

    def number(name: str) -> bytes:
        if name == "":
            return b"-"
        if name in weights:
            return weights[name]
        return str(numbers.setdefault(name, len(numbers))).encode()

    for value in graph.input:
        if value.name not in weights:
            sha.update(b"in" + number(value.name) + str(value.type.tensor_type.elem_type).encode())
    for node in graph.node:
        sha.update(f"|{node.domain}:{node.op_type}".encode())
        for name in node.input:
            sha.update(b"," + number(name))
        for name in node.output:
            sha.update(b";" + number(name))
        for attribute in sorted(node.attribute, key=lambda a: a.name):
            sha.update(_attribute_bytes(attribute))
    for value in graph.output:
        sha.update(b"out" + number(value.name))
    sha.update(canonical_json(sorted((o.domain, o.version) for o in model.opset_import)))
    return sha.hexdigest()


def _attribute_bytes(attribute: onnx.AttributeProto) -> bytes:
    from onnx import AttributeProto, numpy_helper

    head = f"@{attribute.name}:{attribute.type}".encode()
    if attribute.type == AttributeProto.TENSOR:
        array = numpy_helper.to_array(attribute.t)
        return head + f"{array.dtype}{array.shape}".encode() + array.tobytes()
    copy = AttributeProto()
    copy.CopyFrom(attribute)
    copy.doc_string = ""
    return head + copy.SerializeToString(deterministic=True)
