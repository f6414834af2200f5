"""Measure the formats of `facekd align`: their size, and how far they move a model's embeddings.

    facekd align lfw.zip crops.zip
    python tools/measure_formats.py edgeface_xs.onnx crops.zip --crops 100

Takes lossless crops (WebP or PNG, as `facekd align` writes them by default), encodes them
in every format and prints kilobytes per crop, the cosine between the embeddings before and after
(mean and lowest), and milliseconds to encode one.
"""

from __future__ import annotations

import time
from pathlib import Path

import click
import numpy as np

from facekd.cli import run
from facekd.preprocess import FORMATS, decode, encode, open_source
from facekd.runtime import load_embedder


@click.command()
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("crops", type=click.Path(exists=True, path_type=Path))
@click.option("--crops", "count", type=click.IntRange(1), default=100, show_default=True)
def main(model: Path, crops: Path, count: int) -> None:
    """Measure the formats with MODEL on CROPS."""
    source = open_source(crops)
    names = source.names()
    chosen = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, count).astype(int))]
    pixels = [decode(source.read(name), name).pixels for name in chosen]
    embedder = load_embedder(model, threads=1)
    before = embedder.embed(np.stack(pixels))
    click.echo(f"{embedder.name}, {len(chosen)} crops")
    click.echo("| format | KB a crop | cosine, mean | least | ms to encode |")
    click.echo("| --- | --- | --- | --- | --- |")
    for format in FORMATS:
        started = time.process_time()
        files = [encode(crop, format) for crop in pixels]
        spent = (time.process_time() - started) / len(files) * 1000
        after = embedder.embed(np.stack([decode(file, format).pixels for file in files]))
        cosines = (before * after).sum(axis=1)
        size = np.mean([len(file) for file in files]) / 1000
        click.echo(f"| {format} | {size:.1f} | {cosines.mean():.4f} | {cosines.min():.4f} | {spent:.1f} |")


if __name__ == "__main__":
    raise SystemExit(run(main))
