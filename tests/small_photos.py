"""Photos that every clone can make: one public-domain portrait that scikit-image carries (Eileen
Collins, NASA), cut and changed. ``from small_photos import write_photos``."""

from pathlib import Path

import numpy as np
import pytest


def portrait() -> np.ndarray:
    """uint8 RGB [200, 200, 3] with one face."""
    from skimage.data import astronaut

    return np.ascontiguousarray(astronaut()[20:220, 120:320])


def save(pixels: np.ndarray, path: Path) -> Path:
    from PIL import Image

    Image.fromarray(pixels).save(path, quality=92)
    return path


def shade(pixels: np.ndarray, step: int) -> np.ndarray:
    """A slightly darker copy: another file of the same face."""
    return (pixels.astype(np.int16) - step).clip(0, 255).astype(np.uint8)


def write_photos(folder: Path) -> Path:
    """a.jpg, b.jpg and c.jpg (one face, nearly the same), mirrored.jpg, two.jpg (two faces),
    blank.jpg (none), cut.jpg (truncated), text.jpg (no image), empty.jpg."""
    face = portrait()
    for step, name in enumerate("abc"):
        save(shade(face, 3 * step), folder / f"{name}.jpg")
    save(face[:, ::-1], folder / "mirrored.jpg")
    save(np.concatenate([face, shade(face[:, ::-1], 5)], axis=1), folder / "two.jpg")
    save(np.full((200, 200, 3), 120, np.uint8), folder / "blank.jpg")
    (folder / "cut.jpg").write_bytes((folder / "a.jpg").read_bytes()[:3000])
    (folder / "text.jpg").write_text("not an image")
    (folder / "empty.jpg").touch()
    return folder


def album_of_three(folder: Path) -> Path:
    """A folder with one for each of three people: Ann's two photos, Bo's one, Cy's one."""
    for number, name in enumerate(("Ann/1.jpg", "Ann/2.jpg", "Bo/1.jpg", "Cy/1.jpg")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        save(shade(portrait(), 2 * number), folder / name)
    return folder


def need_mtcnn() -> None:
    """Skip where MTCNN was never converted and cannot be."""
    from facekd.errors import FacekdError
    from facekd.preprocess.detectors import make_detector

    try:
        make_detector("mtcnn")
    except FacekdError as error:
        pytest.skip(f"no MTCNN here: {error.cause}")
