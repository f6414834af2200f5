"""Move an encrypted gallery to another space: no new embedding is in the clear in any file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_galleries import CONTRACT, embedding, template

pytest.importorskip("cryptography")

from facekd.errors import NoKey
from facekd.gallery import (
    Contract,
    EmbeddingStore,
    GalleryCheck,
    GalleryRecords,
    as_key,
    move_copy,
    move_gallery,
)

OTHER = Contract("b" * 64, 48, "other", "scrfd", "arcface-5pt/2")
KEY = as_key(bytes(range(32)))
PHOTOS = {f"{seed:064x}": embedding(100 + seed, OTHER.dim) for seed in (1, 2)}


def files_of(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir() if file.is_file())


@pytest.mark.parametrize("is_copy", [False, True])
def test_it_stays_encrypted(tmp_path: Path, is_copy: bool) -> None:
    path, copy = tmp_path / "gallery.db", tmp_path / "copy.db"
    # whether names are encrypted, too, makes no difference
    with GalleryRecords(path, CONTRACT, create=True, key=KEY, encrypt_names=is_copy) as records:
        with records.transaction():
            records.add("Ann", [template(1), template(2)])
        state = records.state()
    assert state is not None
    with EmbeddingStore(path, OTHER, encrypted=True) as store:
        for photo, row in PHOTOS.items():
            store.add(photo, row, 0.25)
        assert not any(row.tobytes()[:16] in files_of(tmp_path) for row in PHOTOS.values())
        with pytest.raises(NoKey):
            move_gallery(path, store, state)
        if is_copy:
            moved = move_copy(path, copy, store, state, replace=False, key=KEY)
        else:
            moved = move_gallery(path, store, state, KEY)
    assert moved is not None
    assert (moved.templates, moved.dropped, moved.pending) == (2, 0, False)
    assert not any(row.tobytes()[:16] in files_of(tmp_path) for row in PHOTOS.values())
    made = copy if is_copy else path
    assert list(GalleryCheck(made, KEY).faults()) == []
    with GalleryRecords(made, OTHER, read_only=True, key=KEY) as records:
        for found in records.templates("Ann"):
            np.testing.assert_array_equal(found.embedding, PHOTOS[found.photo])
