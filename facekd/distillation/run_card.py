"""The card of a run, as far as it is known before export."""

from __future__ import annotations

import datetime

from facekd.card import Card, EmbeddingSpec, LandmarkCrop, Origin, Pack, Provenance
from facekd.distillation.recipe import LossTable, Recipe
from facekd.models import FaceNet, Teacher
from facekd.preprocess import source_digest
from facekd.training import RunFolder


def write_card(recipe: Recipe, student: FaceNet, teacher: Teacher | None, run: RunFolder) -> Card:
    """The card of a run, without digest and space, which `facekd export` adds."""
    settings = ", ".join(f"{k}={v}" for k, v in recipe.student.settings.items())
    card = Card(
        name=run.path.name,
        architecture=f"{recipe.student.name}({settings})",
        input=student.input,
        crop=LandmarkCrop(),
        embedding=EmbeddingSpec(dim=student.dim),
        teacher=Origin(name=teacher.name, space=teacher.space) if teacher else None,
        provenance=Provenance(
            data=recipe.data.name,
            packs=tuple(
                Pack(name=path.name, digest=source_digest(path))
                for path in (*recipe.data.labelled, *recipe.data.unlabelled)
            ),
            recipe=", ".join(_said(table) for table in recipe.loss),
            seed=recipe.seed,
            date=datetime.date.today().isoformat(),
            images_seen=recipe.schedule.steps * recipe.schedule.batch,
        ),
        licence=recipe.data.licence,
    )
    (run.path / "card.json").write_text(card.model_dump_json(indent=1), encoding="utf-8")
    return card


def _said(table: LossTable) -> str:
    """A loss with its weight and the part of the run in which it is on, in a few words."""
    last = "" if table.final_weight is None else f" to {table.final_weight:g}"
    when = "" if (table.begin, table.end) == (0, 1) else f" from {table.begin:g} to {table.end:g}"
    return f"{table.weight:g}{last} {table.name}{when}"
