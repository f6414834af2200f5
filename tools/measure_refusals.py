"""Count the photos that a model's limits refuse, by group: does a limit refuse one group more than another?

    python tools/measure_refusals.py MODEL lfw-crops.zip --aligned
    python tools/measure_refusals.py MODEL crops.zip --aligned --groups groups.csv

A photo is refused if it is darker, more blurred or noisier than the limits in the model's card allow
(docs/calibrate.md). ``--groups`` is the file of `facekd calibrate --groups`: ``photo,group``. Prints a table:
the photos of each group, how many are refused by each limit, the share that is refused by any with its 95 %
interval (Wilson), and how near the poorest hundredth comes to each limit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
from cropped_photos import CroppedPhotos, aligned_option

from facekd.card import ARCFACE_CROP, PhotoLimits, read_card
from facekd.cli import run
from facekd.cli.options import EXISTING, EXISTING_FILE
from facekd.errors import UsageError
from facekd.preprocess import FAULTS, measure_faults, measured_beyond
from facekd.verification import read_groups, wilson

#: the group of all photos where no groups are stated
EVERYBODY = "all"
#: the measures of which high values are poor
RISING = {fault.reason for fault in FAULTS if fault.rises}


def row(group: str, measures: Sequence[Mapping[str, float]], limits: PhotoLimits) -> str:
    """A row of the table, from the measures of each photo of ``group`` by reason."""
    refused = [{error.reason for error in measured_beyond(one, limits)} for one in measures]
    cells = [group, f"{len(measures):,}"]
    for limit in limits.limits:
        values = [one[limit.reason] for one in measures]
        poor = float(np.percentile(values, 99 if limit.reason in RISING else 1))
        cells.append(f"{sum(limit.reason in reasons for reasons in refused):,} ({poor:.3g})")
    any_of_them = sum(bool(reasons) for reasons in refused)
    interval = wilson(any_of_them, len(measures))
    share = f"{100 * any_of_them / len(measures):.2f} % [{100 * interval.low:.2f}, {100 * interval.high:.2f}]"
    return "| " + " | ".join([*cells, share]) + " |"


@click.command()
@click.argument("model", type=EXISTING_FILE)
@click.argument("photos", type=EXISTING)
@click.option("--groups", "groups_file", type=EXISTING_FILE, help="A table photo,group.")
@aligned_option
def main(model: Path, photos: Path, groups_file: Path | None, aligned: bool) -> None:
    limits = read_card(model, need_card=True)[0].photo_limits
    if limits is None:
        raise UsageError(f"{model}: its card has no photo limits", "facekd calibrate measures them.")
    crops = CroppedPhotos(photos, ARCFACE_CROP, aligned)
    names = [name for of_person in crops.by_person().values() for name in of_person]
    groups = read_groups(groups_file) if groups_file else dict.fromkeys(names, EVERYBODY)
    if missing := sorted(groups.keys() - set(names)):
        raise UsageError(f"{groups_file}: {len(missing)} photos are not in {photos}, the first {missing[0]}")
    reasons = [limit.reason for limit in limits.limits]
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    with click.progressbar([name for name in names if name in groups], label="photos") as shown:
        for name in shown:
            crop = crops.crop(name)
            if crop is not None:
                found[groups[name]].append(measure_faults(crop, reasons))
    told = ", ".join(f"{limit.reason}: {limit.limit:.3g}" for limit in limits.limits)
    click.echo(f"limits {told}; in brackets the value of the poorest hundredth of the photos\n")
    click.echo(f"| group | photos | {' | '.join(reasons)} | refused |")
    click.echo("| --- " * (3 + len(reasons)) + "|")
    for group in sorted(found):
        click.echo(row(group, found[group], limits))


if __name__ == "__main__":
    raise SystemExit(run(main))
