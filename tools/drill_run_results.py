"""Drills of section C: what a run leaves: cards, thresholds, copies of held-out crops, pages."""

from __future__ import annotations

import cv2
import numpy as np
from drill_list import Outcome, drill, fact, together
from drill_material import evaluated_people, pixels_of
from drill_runs import (
    facekd,
    finished_run,
    made_place,
)
from drill_site import EVALUATE, Site

# C6 ------------------------------------------------------------------------------------------------


@drill("C6", "export, calibrate and evaluate a student on the pack that it was trained on",
       "refused (2), refused (2), said")  # fmt: skip
def thresholds_from_people_trained_on(site: Site) -> Outcome:
    place = finished_run(site)
    exported = facekd(site, place, "export", "run", "--data", "crops", "--out", "never.onnx")
    good = facekd(site, place, "export", "run", "--out", "student.onnx")
    calibrated = facekd(
        site, place, "calibrate", "student.onnx", "--data", "crops", "--aligned", "--out", "no.onnx"
    )
    judged = site.facekd(*evaluated_people(place / "student.onnx", place / "crops"), cwd=place)
    return together(
        exported.check(2, "was trained on it"), good.check(0),
        calibrated.check(2, "was trained on it"), judged.check(0, "trained on"),
    )  # fmt: skip


@drill("C6", "copies of held-out crops under other names, encoded again and mirrored",
       "counted and named by 'recipe check --data', counted before a run")  # fmt: skip
def copies_of_held_out_crops(site: Site) -> Outcome:
    place = made_place(site, ("images = 96", "images = 320"))
    held, *_ = (place / "heldout.txt").read_text().split()
    theirs = [pixels_of(one) for one in sorted((place / "crops" / held).iterdir())[:2]]
    mine = place / "crops" / "person-0030"
    cv2.imwrite(str(mine / "again.jpg"), theirs[0], [cv2.IMWRITE_JPEG_QUALITY, 70])
    cv2.imwrite(str(mine / "mirrored.png"), theirs[1][:, ::-1])
    checked = facekd(site, place, "recipe", "check", "recipe.toml", "--data", "--json")
    found = {one["crop"] for one in checked.document().get("heldout_copies", ())}
    ran = facekd(site, place, "distill", "recipe.toml", "--run", "run")
    planted = {"crops/person-0030/again.jpg", "crops/person-0030/mirrored.png"}
    return together(
        checked.check(0), fact(planted <= found, f"listed: {', '.join(sorted(found))}"),
        ran.check(0, "copies of held-out crops"),
    )  # fmt: skip


# C7 ------------------------------------------------------------------------------------------------


@drill("C7", "show and renew the card of a network that changed under it",
       "exit 2 or 5 that says --renew; then it verifies again without thresholds")  # fmt: skip
def a_card_is_renewed(site: Site) -> Outcome:
    import onnx
    from onnx import numpy_helper

    work = site.new()
    network = onnx.load(site.model)
    first = next(one for one in network.graph.initializer if one.data_type == onnx.TensorProto.FLOAT)
    changed = numpy_helper.to_array(first) * np.float32(1.0001)
    first.CopyFrom(numpy_helper.from_array(changed, first.name))
    onnx.save(network, work / "m.onnx")
    a, b = site.ann[:2]
    refused = site.facekd("verify", a, b, "--model", work / "m.onnx")
    renewed = site.facekd("card", work / "m.onnx", "--renew")
    strict = site.facekd("verify", a, b, "--model", work / "m.onnx")
    given = site.facekd("verify", a, b, "--model", work / "m.onnx", "--threshold", "0.3")
    return together(
        refused.check((2, 4, 5), "--renew"), renewed.check(0, "threshold     none measured"),
        strict.check(2, "calibrate"), given.check(0, "same person"),
    )  # fmt: skip


# C11 -----------------------------------------------------------------------------------------------


@drill(
    "C11",
    "what a finished run leaves",
    "a learning curve (PNG, and in its page) beside the teacher's own TAR",
)
def learning_curve(site: Site) -> Outcome:
    run = finished_run(site) / "run"
    curve = run / "learning_curve.png"
    pages = sorted(run.glob("*.html"))
    page = pages[0].read_text(encoding="utf-8") if pages else ""
    return together(
        fact(curve.is_file() and curve.read_bytes()[:4] == b"\x89PNG", "learning_curve.png"),
        fact(
            "data:image/svg+xml" in page,
            f"in {pages[0].name}" if pages else "no page of the run",
        ),
        fact("teacher" in page, "the page names the teacher"),
    )


@drill("C11", "evaluate on a list with three times as many non-mated pairs",
       "called a list that is not balanced, with balanced accuracy")  # fmt: skip
def unbalanced_lists(site: Site) -> Outcome:
    place = made_place(site)
    people = sorted((place / "crops").iterdir())
    rows = ["path1,path2,label"]
    for number, person in enumerate(people):
        mine = [f"{person.name}/{one.name}" for one in sorted(person.iterdir())]
        rows += [f"{mine[0]},{mine[1]},1"]
        for step in (1, 2, 3):
            other = people[(number + step) % len(people)]
            rows.append(f"{mine[0]},{other.name}/{sorted(other.iterdir())[0].name},0")
    (place / "pairs.csv").write_text("\n".join(rows) + "\n")
    ran = site.facekd(*EVALUATE, site.model, "--protocol", "pairs", "--data", place / "crops", "--pairs",
                      place / "pairs.csv", "--aligned")  # fmt: skip
    return ran.check(0, "balanced")
