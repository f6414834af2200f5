"""A gallery of three people, and its archive."""

from pathlib import Path

import pytest
from made_galleries import CONTRACT, embedding, enroll, template

from facekd.gallery import GalleryRecords, Template
from facekd.workflows import export_gallery


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    path = tmp_path / "gallery.db"
    enroll(path, ("Ann", 1), ("Bo Lee", 2), ("王伟", 3))
    with GalleryRecords(path, CONTRACT) as records, records.transaction():
        records.add(
            "Ann", [template(4), Template(embedding(5), f"{5:064x}", 1.0, "2024-05-06T07:08:09+00:00")]
        )
    return path


@pytest.fixture
def archive(gallery: Path, tmp_path: Path) -> Path:
    export_gallery(gallery, tmp_path / "archive.jsonl")
    return tmp_path / "archive.jsonl"
