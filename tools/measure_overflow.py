"""Measure what overflowing sums would do to an int8 model on a processor without VNNI, and what it costs to
avoid them.

    python tools/measure_overflow.py STUDENT.onnx --data PACK --count 500

Such a processor adds pairs of products of unsigned and signed bytes in 16 bits, and cuts off what does not
fit. facekd therefore has ONNX Runtime shift the weights (`facekd.runtime.open_session`). Embeds COUNT evenly
spaced crops of PACK both ways; prints the cosines between both embeddings of a crop, and how far apart the
scores of all pairs of crops are. Then times both ways, by turns, one crop and one thread at a time. On a
processor with VNNI nothing differs.
"""

from __future__ import annotations

import time
from pathlib import Path

import click
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from facekd.card import read_card
from facekd.cli import run
from facekd.cli.options import EXISTING, EXISTING_FILE
from facekd.models import to_planes
from facekd.runtime import open_session, unit_rows
from facekd.training.data import open_crops

_ROUNDS, _CALLS = 20, 20


def plain_session(model: Path) -> onnxruntime.InferenceSession:
    """A session as ONNX Runtime opens it when it is not told to avoid overflows."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def embeddings(session: onnxruntime.InferenceSession, planes: NDArray[np.float32]) -> NDArray[np.float32]:
    given = session.get_inputs()[0].name
    return unit_rows(np.concatenate([session.run(None, {given: one[None]})[0] for one in planes]))


def seconds(session: onnxruntime.InferenceSession, planes: NDArray[np.float32]) -> float:
    """The median time of one crop."""
    given, took = session.get_inputs()[0].name, []
    for one in planes[:_CALLS]:
        began = time.perf_counter()
        session.run(None, {given: one[None]})
        took.append(time.perf_counter() - began)
    return float(np.median(took))


@click.command()
@click.argument("model", type=EXISTING_FILE)
@click.option("--data", type=EXISTING, required=True, help="A pack of aligned crops.")
@click.option("--count", type=click.IntRange(2), default=500, show_default=True)
def main(model: Path, data: Path, count: int) -> None:
    """Compare an int8 MODEL with and without overflowing sums."""
    crops, card = open_crops([data]), read_card(model)[0]
    chosen = np.linspace(0, len(crops) - 1, min(count, len(crops))).astype(int)
    planes = to_planes(np.stack([crops.read(place) for place in chosen]), card.input).numpy()
    plain, exact = plain_session(model), open_session(model, threads=1)
    rows = embeddings(plain, planes), embeddings(exact, planes)
    cosines = (rows[0] * rows[1]).sum(axis=1)
    click.echo(f"{len(planes)} crops: cosine {cosines.mean():.4f} on average, {cosines.min():.4f} at least")
    upper = np.triu_indices(len(planes), 1)
    apart = np.abs((rows[0] @ rows[0].T - rows[1] @ rows[1].T)[upper])
    click.echo(f"scores of pairs: {apart.mean():.4f} apart on average, {apart.max():.4f} at most")
    times = np.array([[seconds(one, planes) for one in (plain, exact)] for _ in range(_ROUNDS)])
    ratios = np.percentile(times[:, 1] / times[:, 0], [50, 5, 95])
    median = 1e3 * np.median(times, axis=0)
    click.echo(f"one crop: {median[0]:.2f} ms, and {median[1]:.2f} ms without overflows")
    click.echo(f"{ratios[0]:.2f} times as long (90 % of the rounds: {ratios[1]:.2f} to {ratios[2]:.2f})")


if __name__ == "__main__":
    raise SystemExit(run(main))
