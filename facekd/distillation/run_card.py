"""The card of a run, as far as it is known before export."""

from __future__ import annotations

import datetime
from pathlib import Path

from facekd.card import Card, EmbeddingSpec, LandmarkCrop, Origin, Pack, Provenance, Start
from facekd.distillation.recipe import LossTable, Recipe
from facekd.models import FaceNet, Teacher, provenance_of, run_of, weights_file
from facekd.preprocess import source_digest
from facekd.training import RunFolder


def write_card(recipe: Recipe, student: FaceNet, teacher: Teacher | None, run: RunFolder) -> Card:
    """The card of a run, without digest and space, which `facekd export` adds."""
    settings = ", ".join(f"{k}={v}" for k, v in recipe.student.settings.items())
    start, before = _start(recipe)
    packs = tuple(
        Pack(name=path.name, digest=source_digest(path))
        for path in (*recipe.data.labelled, *recipe.data.unlabelled)
    )
    planned = recipe.schedule.steps * recipe.schedule.batch
    card = Card(
        name=run.path.name,
        architecture=f"{recipe.student.name}({settings})",
        input=student.input,
        crop=LandmarkCrop(),
        embedding=EmbeddingSpec(dim=student.dim),
        teacher=Origin(name=teacher.name, space=teacher.space) if teacher else None,
        provenance=Provenance(
            data=recipe.data.name,
            packs=tuple(dict.fromkeys((*packs, *before))),
            recipe=", ".join(_said(table) for table in recipe.loss),
            seed=recipe.seed,
            date=datetime.date.today().isoformat(),
            images_seen=planned + ((start.images_seen or 0) if start else 0),
            start=start,
        ),
        licence=recipe.data.licence,
    )
    (run.path / "card.json").write_text(card.model_dump_json(indent=1), encoding="utf-8")
    return card


def _start(recipe: Recipe) -> tuple[Start | None, tuple[Pack, ...]]:
    """The network that the student begins with, and the packs that it was trained on."""
    path = recipe.student.start
    if path is None:
        return None, ()
    known = provenance_of(path)
    if known is None:
        return Start(name=path.name), ()
    return Start(name=_run_name(path), images_seen=known.images_seen), known.packs


def _run_name(path: Path) -> str:
    """The name of the run that the weights at ``path`` are of; of the file if they are in none."""
    if path.is_file() and path.suffix == ".safetensors" and path.name != "model.safetensors":
        return path.name
    return run_of(weights_file(path)).name


def _said(table: LossTable) -> str:
    """A loss with its weight and the part of the run in which it is on, in a few words."""
    last = "" if table.final_weight is None else f" to {table.final_weight:g}"
    when = "" if (table.begin, table.end) == (0, 1) else f" from {table.begin:g} to {table.end:g}"
    return f"{table.weight:g}{last} {table.name}{when}"
