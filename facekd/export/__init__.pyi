from .onnx_graph import export_network as export_network
from .onnx_graph import to_onnx as to_onnx
from .run_export import export as export
