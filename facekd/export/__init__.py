"""From torch to one ONNX file with its card, checked against the network it came from."""

from facekd.export.job import Exported, export
from facekd.export.network import check_parity, export_network, to_onnx

__all__ = ["Exported", "check_parity", "export", "export_network", "to_onnx"]
