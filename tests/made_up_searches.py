"""Galleries of made-up people and a recogniser for them. A photo is bytes "PERSON SEED"; its embedding is the
person's direction with noise of the seed's."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from scipy.stats import norm

from facekd.card import Calibration, Card, Counts, EmbeddingSpec, InputSpec, LandmarkCrop, TailThreshold
from facekd.errors import NoFace
from facekd.gallery import Contract, GalleryRecords, Template
from facekd.workflows.thresholds import Threshold

DIM = 64
CONTRACT = Contract("a" * 64, DIM, "made-up", "none", "none")
SPREAD = 1 / np.sqrt(DIM)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def direction(name: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    return unit(np.random.default_rng(seed).normal(size=DIM))


def embedding(content: bytes) -> np.ndarray:
    name = content.decode().split()[0]
    return unit(direction(name) + 0.5 * direction(f"noise of {content.decode()}"))


def made_card(*fmrs: float, tail: tuple[float, ...] = ()) -> Card:
    counts = Counts(mated=10, non_mated=10_000, false_matches=10, false_non_matches=1)
    entries = [
        Calibration(
            fmr=fmr, threshold=float(norm.isf(fmr) * SPREAD), low=fmr / 2, high=fmr * 2, data="made up",
            counts=counts, detector="none", aligner="none",
        )
        for fmr in fmrs
    ]  # fmt: skip
    upper = [
        TailThreshold(fmr=fmr, threshold=float(norm.isf(fmr) * SPREAD), low=fmr / 2, high=fmr * 2)
        for fmr in tail
    ]
    return Card(
        name="made-up", input=InputSpec(), crop=LandmarkCrop(), embedding=EmbeddingSpec(dim=DIM),
        calibration=tuple(entries), upper_tail=tuple(upper),
    )  # fmt: skip


class MadeUp:
    """A recognizer of such photos."""

    def __init__(self, card: Card) -> None:
        self.embedder = SimpleNamespace(card=card, name="made-up", space=CONTRACT.space)
        self.detector = SimpleNamespace(name="none")

    def recognise(self, data: bytes, name: str = "") -> SimpleNamespace:
        if data == b"wall":
            raise NoFace("no face in it")
        face = SimpleNamespace(box=np.array([1.0, 2.0, 3.0, 4.0]))
        return SimpleNamespace(
            photo=name or "photo", face=face, faces=1, quality=0.5, embedding=embedding(data), faults=()
        )

    def recognise_all(self, data: bytes, name: str = "") -> tuple[SimpleNamespace, ...]:
        return tuple(self.recognise(part, name) for part in data.split(b"+"))

    def shares_space(self, other: Contract) -> bool:
        return other.space == CONTRACT.space

    def differences(self, other: Contract) -> list[str]:
        return []

    def doubts(self, threshold: Threshold | None = None) -> list[str]:
        return []


def enroll(path: Path, photos: dict[str, int]) -> None:
    with GalleryRecords(path, CONTRACT, create=True) as records, records.transaction():
        for name, count in photos.items():
            rows = [embedding(f"{name} {number}".encode()) for number in range(count)]
            records.add(name, [Template(row, hashlib.sha256(row).hexdigest(), 0.5) for row in rows])


def opened(path: Path) -> GalleryRecords:
    return GalleryRecords(path, CONTRACT, read_only=True)
