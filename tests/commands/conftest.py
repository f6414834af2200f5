"""A tiny model and a few photos for the commands that operators run."""

from pathlib import Path

import pytest
from small_photos import need_mtcnn, write_photos
from tiny_model import write_tiny_model


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `small_photos.write_photos` fills; skips where MTCNN is not to be had."""
    need_mtcnn()
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without calibration."""
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture
def operator(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Model and gallery set as an operator sets them, by environment; the gallery's path."""
    monkeypatch.setenv("FACEKD_MODEL", str(tiny))
    monkeypatch.setenv("FACEKD_GALLERY", str(tmp_path / "gallery.db"))
    return tmp_path / "gallery.db"
