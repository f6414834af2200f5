"""Write the embeddings of photos to a file, for use in other programs.

The file holds biometric data: only its owner may read it, and it is written only after confirmation.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facekd.cli.options import (
    ANY_PATH,
    any_quality_option,
    detector_option,
    device_option,
    json_option,
    operators_model_option,
)
from facekd.cli.output import answer, answer_json, progress, say, say_failure
from facekd.preprocess import ONE_FACE

if TYPE_CHECKING:
    from facekd.workflows import EmbeddedFaces


@click.command("embed")
@click.argument("photos", nargs=-1, required=True, type=ANY_PATH, metavar="PHOTO|FOLDER...")
@click.option(
    "--out",
    type=ANY_PATH,
    required=True,
    metavar="FILE",
    help="Write to this .npz, or .parquet (needs pyarrow).",
)
@click.option(
    "--on-many", type=click.Choice(ONE_FACE),
    default="best", show_default=True,
    help="Which face to keep when several are detected; dominant refuses photos where no face dominates, "
    "skip refuses them all.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace FILE.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@operators_model_option
@any_quality_option
@detector_option
@device_option
@json_option
def command(
    photos: tuple[Path, ...],
    out: Path,
    on_many: str,
    force: bool,
    yes: bool,
    model: Path,
    any_quality: bool,
    detector: str,
    device: str,
    as_json: bool,
) -> int:
    """Embed one face of every PHOTO, or of every image in a FOLDER or zip, and write them to a file.

    The file holds names, embeddings, the quality of each crop, the model and its space. Embeddings are
    biometric data, like the templates of a gallery: the command asks for confirmation before writing
    them; without a terminal, --yes is required. Photos that cannot be used are listed with the reason;
    the exit code is then 3, or 5 if a file cannot be read.

    \b
    Example: facekd embed photos/ --out photos.npz
             facekd embed a.jpg b.jpg --out two.parquet --yes
    """
    from facekd.workflows import (
        Recognizer,
        check_embeddings_file,
        embed_faces,
        overall,
        photos_to_embed,
        write_embeddings,
    )

    check_embeddings_file(out, force)
    wanted = photos_to_embed(photos)
    if not yes:
        _ask(len(wanted), out)
    recognizer = Recognizer(model, detector=detector, any_quality=any_quality, device=device)
    with progress("embed", len(wanted)) as advance:
        found = embed_faces(recognizer, wanted, on_many, advance)
    for note in found.notes:
        say(f"note: {note}")
    for failure in found.failures:
        say_failure(f"not embedded ({failure.reason}): {failure.message}")
    if found.names:
        write_embeddings(found, out)
    if as_json:
        answer_json(_document(found, out))
    elif found.names:
        answer(str(out))
    _summarise(found, out)
    return overall([failure.exit_code for failure in found.failures])


def _ask(count: int, out: Path) -> None:
    if not sys.stdin or not sys.stdin.isatty():
        raise click.UsageError(
            "Embeddings are biometric data, and there is no terminal to ask for confirmation on: add --yes."
        )
    photos = "1 photo" if count == 1 else f"{count:,} photos"
    click.confirm(
        f"Write the embeddings of {photos}, which are biometric data, to {out}?", abort=True, err=True
    )


def _summarise(found: EmbeddedFaces, out: Path) -> None:
    reasons = Counter(failure.reason for failure in found.failures)
    told = "".join(f", {count} {reason}" for reason, count in reasons.most_common())
    total = len(found.names) + len(found.failures)
    written = f"{len(found.names)} of {total} photos embedded by {found.contract.model}{told}"
    say(written if found.names else f"{written}; nothing was written to {out}")


def _document(found: EmbeddedFaces, out: Path) -> dict[str, Any]:
    contract = found.contract
    return {
        "out": str(out) if found.names else None,
        "embedded": len(found.names),
        "dim": contract.dim,
        "model": {"name": contract.model, "space": contract.space},
        "detector": contract.detector,
        "aligner": contract.aligner,
        "failures": [{"photo": f.photo, "reason": f.reason, "message": f.message} for f in found.failures],
        "notes": list(found.notes),
    }
