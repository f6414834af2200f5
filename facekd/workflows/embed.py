"""Embed photos into a file, for programs that search or group them."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facekd.errors import CannotSay, InputOutput, UsageError
from facekd.files import real_path, write_atomically
from facekd.gallery import Contract
from facekd.workflows.enroll import Failure
from facekd.workflows.named_photos import NamedPhoto
from facekd.workflows.photo_notes import notes_of
from facekd.workflows.recognizer import Recognizer

#: the contents of a file of embeddings; keys are added, not renamed
SCHEMA = "embeddings/1"
#: a template is personal data: only its owner may read it
_OWNERS = 0o600


@dataclass(frozen=True)
class EmbeddedFaces:
    """``embeddings`` float32 [N, D] of unit length of the photos ``names`` [N], with the ``quality`` [N] of
    each crop in [0, 1]; ``contract`` states the model and the preparation. ``failures`` are about photos
    without an embedding, ``notes`` about photos with one."""

    names: tuple[str, ...]
    embeddings: NDArray[np.float32]
    quality: NDArray[np.float32]
    contract: Contract
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()


def embed_faces(
    recognizer: Recognizer,
    photos: Sequence[NamedPhoto],
    on_many: str = "best",
    advance: Callable[[int], object] = lambda done: None,
) -> EmbeddedFaces:
    """Embed one face of every photo; ``on_many`` is the policy of `choose` for several faces. A photo that
    cannot be used is a `Failure` and does not affect the others."""
    names: list[str] = []
    rows: list[NDArray[np.float32]] = []
    quality: list[float] = []
    failures: list[Failure] = []
    notes: list[str] = []
    for named in photos:
        shown = named.photo.shown
        try:
            found = recognizer.recognise(named.photo.read(), shown, on_many)
        except (CannotSay, InputOutput) as error:
            failures.append(Failure(named.name, error.reason, error.cause, error.exit_code))
        else:
            names.append(named.name)
            rows.append(found.embedding)
            quality.append(found.quality)
            notes += notes_of(found, None)
        advance(1)
    contract = recognizer.contract
    embeddings = np.stack(rows) if rows else np.zeros((0, contract.dim), np.float32)
    return EmbeddedFaces(
        tuple(names), embeddings, np.array(quality, np.float32), contract, tuple(failures), tuple(notes)
    )


def check_embeddings_file(path: Path, force: bool) -> None:
    """Raise `UsageError` if embeddings cannot or must not be written to ``path``, before they are made."""
    if path.suffix.lower() not in _WRITERS:
        raise UsageError(f"{path}: embeddings are written as {' or '.join(_WRITERS)}")
    if path.suffix.lower() == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise UsageError(
            f"{path}: Parquet needs pyarrow, which is not installed",
            "Install it with: pip install 'facekd[parquet]'; or name a file that ends in .npz.",
        )
    if path.is_dir():
        raise UsageError(f"{path} is a folder")
    if not real_path(path).parent.is_dir():
        raise UsageError(f"{path}: its folder does not exist")
    if path.exists() and not force:
        raise UsageError(f"{path} exists already", "--force replaces it.")


def write_embeddings(found: EmbeddedFaces, path: Path) -> None:
    """Write ``found`` to ``path``, in the format of its suffix, readable by its owner only (mode 0600).

    Raises `InputOutput` if it cannot be written.
    """
    write_atomically(path, _WRITERS[path.suffix.lower()](found), mode=_OWNERS)


def _npz(found: EmbeddedFaces) -> bytes:
    content = io.BytesIO()
    # arrays of text, not of objects: numpy.load can read them without unpickling
    arrays: dict[str, Any] = {
        "names": np.array(found.names, np.str_),
        "embeddings": found.embeddings,
        "quality": found.quality,
        **{key: np.array(value) for key, value in _made_with(found.contract).items()},
    }
    np.savez(content, **arrays)
    return content.getvalue()


def _parquet(found: EmbeddedFaces) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet

    rows = pa.FixedSizeListArray.from_arrays(pa.array(found.embeddings.ravel()), found.contract.dim)
    columns = [pa.array(found.names, pa.string()), rows, pa.array(found.quality)]
    table = pa.Table.from_arrays(columns, ["name", "embedding", "quality"])
    told = {f"facekd.{key}": value for key, value in _made_with(found.contract).items()}
    content = io.BytesIO()
    pyarrow.parquet.write_table(table.replace_schema_metadata(told), content)
    return content.getvalue()


def _made_with(contract: Contract) -> dict[str, str]:
    return {
        "schema": SCHEMA,
        "model": contract.model,
        "space": contract.space,
        "detector": contract.detector,
        "aligner": contract.aligner,
    }


_WRITERS: dict[str, Callable[[EmbeddedFaces], bytes]] = {".npz": _npz, ".parquet": _parquet}
