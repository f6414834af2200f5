"""Open ONNX Runtime sessions with a given number of threads and a required device."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from facekd.errors import DeviceError, InputOutput, Unreadable
from facekd.files import is_utf8, open_regular, read_bounded

if TYPE_CHECKING:
    import onnxruntime


#: bytes of the largest model that is read: the limit of a protobuf message
_MAX_BYTES = 2**31 - 1


def threads_available() -> int:
    """The processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_session(
    model: str | os.PathLike[str] | bytes,
    device: str = "cpu",
    threads: int | None = None,
    sums_fit: bool = False,
    shown: str | None = None,
) -> onnxruntime.InferenceSession:
    """An inference session on ``device`` with at most ``threads`` threads. ``sums_fit``: the model is known
    to have no quantised weights whose sums may overflow (`facekd.runtime.all_sums_fit`). ``shown`` names it
    in errors, instead of its path.

    Raises `DeviceError` if the device is absent (ONNX Runtime would silently fall back to the
    CPU), `InputOutput` or `Unreadable` if the file is.
    """
    import onnxruntime

    providers = _providers(device, onnxruntime.get_available_providers())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or threads_available()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # spinning threads would take the cores from decoding and alignment, which run beside the network
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not sums_fit:
        # an int8 network gives the same answers on every processor: without VNNI, sums of products of
        # unsigned and signed bytes could overflow; its weights are shifted to unsigned ones there, which
        # takes longer
        options.add_session_config_entry("session.x64quantprecision", "1")
    shown = shown or ("the model" if isinstance(model, bytes) else os.fspath(model))
    if not isinstance(model, bytes):
        if not Path(model).exists():
            raise InputOutput(f"{model}: no such model file")
        open_regular(model).close()
        # ONNX Runtime cannot open a file whose name is not UTF-8
        path = os.fspath(model)
        model = path if is_utf8(path) else read_bounded(path, _MAX_BYTES)
    try:
        return onnxruntime.InferenceSession(model, options, providers=providers)
    except Exception as error:
        raise Unreadable(f"{shown}: ONNX Runtime cannot load it ({error})") from error


def _providers(device: str, available: list[str]) -> list[str]:
    kind = device.partition(":")[0]
    if kind == "cpu":
        return ["CPUExecutionProvider"]
    if kind == "cuda":
        if "CUDAExecutionProvider" in available:
            return ["CUDAExecutionProvider", "CPUExecutionProvider"]
        raise DeviceError(
            "--device cuda: this ONNX Runtime has no CUDA provider",
            "Use --device cpu, or install onnxruntime-gpu instead of onnxruntime.",
        )
    raise DeviceError(f"--device {device}: unknown device", "Use cpu or cuda.")
