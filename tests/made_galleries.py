"""Galleries of made-up people, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from facekd.gallery import Contract, GalleryRecords, Template

DIM = 64
CONTRACT = Contract("a" * 64, DIM, "small", "mtcnn", "arcface-5pt/1")


def embedding(seed: int, dim: int = DIM) -> np.ndarray:
    row = np.random.default_rng(seed).normal(size=dim)
    return (row / np.linalg.norm(row)).astype(np.float32)


def template(seed: int) -> Template:
    return Template(embedding(seed), f"{seed:064x}", 0.5)


def enroll(path: Path, *people: tuple[str, int]) -> None:
    with GalleryRecords(path, CONTRACT, create=True) as records:
        for name, seed in people:
            with records.transaction():
                records.add(name, [template(seed)])
