"""The default detector; see `_mtcnn_cascade`, which is imported with the networks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from facekd.preprocess.detectors._making import register

if TYPE_CHECKING:
    from facekd.preprocess.types import Detector


@register("mtcnn", "mtcnn[:DIR]")
def mtcnn(folder: Path | None, device: str, threads: int | None) -> Detector:
    """MTCNN with the converted files in ``folder``, by default those in the user's cache."""
    from facekd.preprocess.detectors._mtcnn_cascade import Mtcnn
    from facekd.preprocess.detectors._mtcnn_files import NETWORKS, mtcnn_networks, read_networks
    from facekd.runtime import open_session

    networks = mtcnn_networks() if folder is None else read_networks(folder)
    return Mtcnn(*(open_session(networks[name], device, threads) for name in NETWORKS))
