"""Export torch networks: one ONNX file with its card, checked against the network it came from."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
