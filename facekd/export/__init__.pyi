from .onnx_graph import export_network as export_network
from .onnx_graph import to_onnx as to_onnx
from .quantise import RANGE_CROPS as RANGE_CROPS
from .quantise import Int8Cost as Int8Cost
from .quantise import roundings as roundings
from .run_export import Exported as Exported
from .run_export import export as export
from .trained_metric import MetricGain as MetricGain
