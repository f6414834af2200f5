"""The material for drills: photos, networks, galleries and crops."""

from __future__ import annotations

import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from drill_list import CannotHold, Outcome, fact
from drill_site import EVALUATE, Ran, Site

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def evaluated_people(model: Path, crops: Path) -> tuple[object, ...]:
    """The command that evaluates ``model`` on all pairs of finished crops."""
    return (*EVALUATE, model, "--protocol", "people", "--data", crops, "--aligned")


def pixels_of(photo: Path) -> Pixels:
    """A photo as OpenCV has it: uint8 BGR [H, W, 3]."""
    import cv2

    found = cv2.imread(str(photo))
    if found is None:
        raise CannotHold(f"{photo} cannot be read")
    return np.asarray(found, np.uint8)


def verify(site: Site, *arguments: object) -> Ran:
    return site.facekd("verify", *arguments, "--model", site.model)


def enroll(site: Site, gallery: Path, *arguments: object, **settings: Any) -> Ran:
    return site.facekd("enroll", *arguments, "--model", site.model, "--gallery", gallery, **settings)


def claim_ann(site: Site, gallery: Path, *more: object) -> Ran:
    return site.facekd(
        "verify", site.ann[2], "--claim", "ann", "--model", site.model, "--gallery", gallery, *more
    )


def people_in(site: Site, gallery: Path) -> dict[str, int]:
    ran = site.facekd("gallery", "list", "--gallery", gallery, "--json")
    return {person["name"]: person["templates"] for person in ran.document().get("people", ())}


def nobody_in(gallery: Path) -> Outcome:
    count = rows_of(gallery, "SELECT count(*) FROM people")[0][0] if gallery.exists() else 0
    return fact(count == 0, "nobody is enrolled" if gallery.exists() else "no gallery is made")


def line_with(ran: Ran, *words: str) -> str:
    """The first line that contains one of ``words``."""
    lines = (ran.out + ran.err).splitlines()
    return next((line.strip() for line in lines if any(word in line for word in words)), "")[:120]


def named_by_call(found: Outcome, call: tuple[object, ...]) -> Outcome:
    """``found`` with the command before it."""
    words = " ".join(Path(str(one)).name if "/" in str(one) else str(one) for one in call)
    return Outcome(f"{words}: {found.found}" if not found.ok else found.found.split(",")[0], found.ok)


def rows_of(gallery: Path, query: str) -> list[tuple[Any, ...]]:
    db = sqlite3.connect(gallery)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def change_rows(gallery: Path, statement: str, values: tuple[Any, ...] = ()) -> None:
    db = sqlite3.connect(gallery)
    db.execute(statement, values)
    db.commit()
    db.close()


def zip_of(path: Path, members: dict[str, Path]) -> Path:
    with zipfile.ZipFile(path, "w") as pack:
        for name, file in members.items():
            pack.write(file, name)
    return path


def cardless(site: Site, work: Path) -> Path:
    """The student without its card."""
    import onnx

    network = onnx.load(site.model)
    del network.metadata_props[:]
    onnx.save(network, work / "bare.onnx")
    return work / "bare.onnx"


def first_card(site: Site, model: Path) -> None:
    """A card by convention, written without the command's test on synthetic faces, which takes seconds and
    which a network that knows only patterns would not pass."""
    ran = site.python(
        "import sys; from facekd.card import card_of, load_onnx, write_card\n"
        "network = load_onnx(sys.argv[1])\n"
        "from pathlib import Path\n"
        "write_card(network, card_of(network, Path(sys.argv[1]).stem)[0], Path(sys.argv[1]))",
        model,
    )
    if ran.code:
        raise CannotHold(f"no card: {ran.err}")


def made_network(
    path: Path,
    *,
    seed: int = 0,
    constant: bool = False,
    noise: bool = False,
    half: bool = False,
    width: int = 112,
    scalar: bool = False,
) -> Path:
    """A network of a few kilobytes: means over blocks, projected at random to 16 numbers. Or one that says
    the same of everything, or what is drawn at random (``noise``), works in float16, wants crops of another
    ``width``, gives one number for all."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kind, number = (TensorProto.FLOAT16, np.float16) if half else (TensorProto.FLOAT, np.float32)
    weights = np.random.default_rng(seed).normal(size=(3 * 14 * (width // 8), 16))
    weights = weights * 0 if constant or noise else weights - weights.mean(axis=0)
    nodes = [
        helper.make_node("AveragePool", ["crops"], ["blocks"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["blocks"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["row" if scalar or noise else "embedding"]),
    ]
    if scalar:
        nodes.append(helper.make_node("ReduceMean", ["row"], ["embedding"], keepdims=0))
    if noise:
        nodes.append(helper.make_node("RandomNormalLike", ["row"], ["drawn"], seed=3.0, dtype=kind))
        nodes.append(helper.make_node("Add", ["row", "drawn"], ["embedding"]))
    graph = helper.make_graph(
        nodes, "made",
        [helper.make_tensor_value_info("crops", kind, ["N", 3, 112, width])],
        [helper.make_tensor_value_info("embedding", kind, [] if scalar else ["N", 16])],
        [numpy_helper.from_array(weights.astype(number), "weights"),
         numpy_helper.from_array((np.arange(16) * constant).astype(number), "bias")],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
