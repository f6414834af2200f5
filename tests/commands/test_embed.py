"""Embeddings of photos in a file."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from facekd.preprocess import ALIGNER
from facekd.workflows import Recognizer

needs_pyarrow = pytest.mark.skipif(
    importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed"
)


@pytest.fixture
def folder(tmp_path: Path, photos: Path) -> Path:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("a.jpg", "deep/mirrored.jpg", "two.jpg", "blank.jpg", "cut.jpg"):
        shutil.copy(photos / Path(name).name, tmp_path / "in" / name)
    return tmp_path / "in"


def test_a_folder_in_a_file(facekd, operator: Path, folder: Path, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    ran = facekd("embed", folder, "--out", out, "--yes")
    assert (ran.code, ran.out) == (5, f"{out}\n")  # the gravest: cut.jpg is no image
    assert "not embedded (no_face)" in ran.err
    assert "not embedded (unreadable)" in ran.err
    assert "two.jpg: 2 faces, took the one at" in ran.err
    assert ran.err.splitlines()[-1] == "3 of 5 photos embedded by tiny, 1 no_face, 1 unreadable"
    recognizer = Recognizer(tiny)
    with np.load(out, allow_pickle=False) as held:
        assert held["names"].tolist() == ["a.jpg", "deep/mirrored.jpg", "two.jpg"]
        assert (held["embeddings"].dtype, held["embeddings"].shape) == (np.float32, (3, 32))
        assert held["quality"].shape == (3,)
        told = {key: str(held[key]) for key in ("schema", "model", "space", "detector", "aligner")}
        assert told == {
            "schema": "embeddings/1", "model": "tiny", "space": recognizer.embedder.space,
            "detector": "mtcnn", "aligner": ALIGNER,
        }  # fmt: skip
        expected = recognizer.recognise(folder / "a.jpg")
        np.testing.assert_allclose(held["embeddings"][0], expected.embedding, atol=1e-5)
        assert held["quality"][0] == pytest.approx(expected.quality, abs=1e-5)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_photos_by_name_and_a_pack(facekd, operator: Path, folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as pack:
        pack.write("deep/mirrored.jpg", "m.jpg")
    ran = facekd("embed", "a.jpg", tmp_path / "pack.zip", "--out", tmp_path / "out.npz", "--yes", "--json")
    told = json.loads(ran.out)
    assert (ran.code, told["schema"], told["embedded"], told["dim"]) == (0, "embed/1", 2, 32)
    assert (told["failures"], told["notes"]) == ([], [])
    assert "embeddings" not in told
    assert np.load(tmp_path / "out.npz")["names"].tolist() == ["a.jpg", "m.jpg"]


def test_nothing_to_write(facekd, operator: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    ran = facekd("embed", folder / "blank.jpg", folder / "absent.jpg", "--out", out, "--yes", "--json")
    told = json.loads(ran.out)
    assert (ran.code, told["out"], told["embedded"]) == (5, None, 0)
    assert [failure["reason"] for failure in told["failures"]] == ["no_face", "io"]
    assert "nothing was written" in ran.err
    assert not out.exists()
    assert facekd("embed", folder / "blank.jpg", "--out", out, "--yes").code == 3


def test_several_faces_by_policy(facekd, operator: Path, folder: Path, tmp_path: Path) -> None:
    ran = facekd("embed", folder / "two.jpg", "--out", tmp_path / "out.npz", "--yes", "--on-many", "skip")
    assert (ran.code, "not embedded (several_faces)" in ran.err) == (3, True)


def test_what_is_there_is_kept(facekd, operator: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    out.write_bytes(b"old")
    out.chmod(0o644)
    ran = facekd("embed", folder / "a.jpg", "--out", out, "--yes")
    assert (ran.code, out.read_bytes()) == (2, b"old")
    assert "--force replaces it" in ran.err
    assert facekd("embed", folder / "a.jpg", "--out", out, "--yes", "--force").code == 0
    assert np.load(out)["names"].tolist() == [str(folder / "a.jpg")]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_without_a_terminal_it_must_be_said(facekd, operator: Path, folder: Path, tmp_path: Path) -> None:
    ran = facekd("embed", folder / "a.jpg", "--out", tmp_path / "out.npz")
    assert (ran.code, ran.out) == (2, "")
    assert "add --yes" in ran.err
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.parametrize(("said", "code"), [("y", 0), ("n", 130)])
def test_a_terminal_is_asked(operator: Path, folder: Path, tmp_path: Path, said: str, code: int) -> None:
    pty = pytest.importorskip("pty")
    out = tmp_path / "out.npz"
    keyboard, terminal = pty.openpty()
    command = [sys.executable, "-m", "facekd", "embed", str(folder / "a.jpg"), "--out", str(out)]
    running = subprocess.Popen(command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    os.write(keyboard, f"{said}\n".encode())
    _, err = running.communicate(timeout=120)
    os.close(keyboard)
    os.close(terminal)
    assert (running.returncode, out.exists()) == (code, said == "y"), err
    assert b"Write the embeddings of 1 photo, which are biometric data, to" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("a.jpg",),
        ("--out", "out.npz"),
        ("a.jpg", "--out", "out.txt", "--yes"),
        ("a.jpg", "--out", "nowhere/out.npz", "--yes"),
        ("a.jpg", "--out", "deep.npz", "--yes"),
        ("a.jpg", "a.jpg", "--out", "out.npz", "--yes"),
        (".", "deep/../a.jpg", ".", "--out", "out.npz", "--yes"),
    ],
)
def test_calls_that_make_no_sense(facekd, operator: Path, folder: Path, arguments, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    Path("deep.npz").mkdir()
    ran = facekd("embed", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert "Traceback" not in ran.err


def test_a_folder_without_images(facekd, operator: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    assert facekd("embed", tmp_path / "none", "--out", tmp_path / "out.npz", "--yes").code == 5
    assert facekd("embed", tmp_path / "no.zip", "--out", tmp_path / "out.npz", "--yes").code == 5


def test_parquet_without_pyarrow(
    facekd, operator: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None)
    ran = facekd("embed", folder / "a.jpg", "--out", tmp_path / "out.parquet", "--yes")
    assert (ran.code, ran.out) == (2, "")
    assert "pip install 'facekd[parquet]'" in ran.err


@needs_pyarrow
def test_parquet(facekd, operator: Path, folder: Path, tmp_path: Path) -> None:
    import pyarrow.parquet

    out = tmp_path / "out.parquet"
    assert facekd("embed", folder, "--out", out, "--yes").code == 5
    assert facekd("embed", folder, "--out", tmp_path / "out.npz", "--yes").code == 5
    table = pyarrow.parquet.read_table(out)
    with np.load(tmp_path / "out.npz") as held:
        assert table["name"].to_pylist() == held["names"].tolist()
        np.testing.assert_array_equal(
            np.array(table["embedding"].to_pylist(), np.float32), held["embeddings"]
        )
        np.testing.assert_array_equal(table["quality"].to_numpy(), held["quality"])
        assert table.schema.metadata[b"facekd.space"].decode() == str(held["space"])
    assert str(table.schema.field("embedding").type) == "fixed_size_list<element: float>[32]"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
