"""What facekd's quality is worth: does leaving out the photos of lowest quality leave out the errors?

    facekd embed lfw.zip --out lfw.npz
    python tools/measure_quality.py lfw.npz --plot discard.png

Error-versus-discard characteristic (Grother and Tabassi, "Performance of biometric quality measures", PAMI
29, 2007; ISO/IEC 29794-1): the quality of a comparison is the lower of its two photos'; the comparisons of
lowest quality are left out, and the false non-match rate (FNMR) of the rest is stated at one threshold, that
of an FMR of 1e-3 between the first photos of all people before any is left out. A person is the folder of a
photo; up to five photos of each are compared. Intervals (95 %) are by the bootstrap over people.

"share of the possible" sets the area between the curve and a flat one, up to the largest share that is left
out, in relation to that of an order that leaves out the errors first: 0 for a random order, 1 for a perfect
one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from facekd.cli.options import EXISTING_FILE

Floats = NDArray[np.float64]

DISCARDED = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
FMR = 1e-3
#: photos of a person that are compared, and repetitions of the bootstrap
_EACH, _REPETITIONS = 5, 1000
_ROWS = 1000


@dataclass(frozen=True)
class Mated:
    """Comparisons within people: ``score``, ``quality`` and number of the person, each [P]."""

    score: Floats
    quality: Floats
    person: NDArray[np.int64]


@dataclass(frozen=True)
class Discard:
    """FNMR and its interval with a share of the comparisons left out; ``possible`` of a perfect order."""

    left_out: float
    fnmr: float
    low: float
    high: float
    possible: float


def people_of(names: list[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        found.setdefault(name.rpartition("/")[0], []).append(place)
    return found


def threshold_at(first: NDArray[np.float32], fmr: float) -> float:
    """The score that a share ``fmr`` of the comparisons between ``first`` [N, D], all of different people,
    reaches."""
    many = len(first) * (len(first) - 1) // 2
    wanted = max(1, round(fmr * many))
    highest = np.empty(0, np.float32)
    for start in range(0, len(first), _ROWS):
        scores = first[start : start + _ROWS] @ first.T
        later = np.arange(len(first)) > np.arange(start, start + len(scores))[:, None]
        highest = np.concatenate([highest, scores[later]])
        if len(highest) > wanted:
            highest = np.partition(highest, len(highest) - wanted)[len(highest) - wanted :]
    return float(highest.min())


def mated_comparisons(embeddings: NDArray[np.float32], quality: Floats, people: list[list[int]]) -> Mated:
    pairs = [(a, b, who) for who, own in enumerate(people) for a, b in combinations(own[:_EACH], 2)]
    a, b, who = np.array(pairs, np.int64).T
    scores = np.einsum("nd,nd->n", embeddings[a].astype(np.float64), embeddings[b])
    return Mated(scores, np.minimum(quality[a], quality[b]), who)


def curve(errors: NDArray[np.bool_], quality: Floats, weights: Floats) -> Floats:
    """FNMR for each share of `DISCARDED`, of comparisons that count ``weights`` times."""
    order = np.argsort(quality, kind="stable")
    errors, weights = errors[order], weights[order]
    passed = np.cumsum(weights) / weights.sum()
    rates = []
    for share in DISCARDED:
        kept = passed > share
        rates.append(float(np.average(errors[kept], weights=weights[kept])) if weights[kept].any() else 0.0)
    return np.array(rates)


def share_of_possible(rates: Floats, possible: Floats) -> float:
    """The area below the flat line that ``rates`` reaches, of that which is ``possible``."""
    gained, could = (np.trapezoid(rates[0] - one, DISCARDED) for one in (rates, possible))
    return float(gained / could) if could > 0 else 0.0


def measure(mated: Mated, threshold: float) -> tuple[list[Discard], dict[str, float]]:
    errors, ones = mated.score < threshold, np.ones(len(mated.score))
    rates, possible = curve(errors, mated.quality, ones), curve(errors, mated.score, ones)
    rng = np.random.default_rng(0)
    people = int(mated.person.max()) + 1
    again, shares = [], []
    for _ in range(_REPETITIONS):
        drawn = np.bincount(rng.integers(people, size=people), minlength=people)[mated.person].astype(float)
        again.append(curve(errors, mated.quality, drawn))
        shares.append(share_of_possible(again[-1], curve(errors, mated.score, drawn)))
    low, high = np.percentile(again, [2.5, 97.5], axis=0)
    rows = [Discard(*map(float, row)) for row in zip(DISCARDED, rates, low, high, possible, strict=True)]
    least, most = np.percentile(shares, [2.5, 97.5])
    found = {"share": share_of_possible(rates, possible), "low": float(least), "high": float(most)}
    return rows, found


def draw(rows: list[Discard], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    shares = [100 * row.left_out for row in rows]
    axes.fill_between(shares, [100 * r.low for r in rows], [100 * r.high for r in rows], alpha=0.25)
    axes.plot(shares, [100 * row.fnmr for row in rows], marker="o", label="lowest quality first")
    axes.axhline(100 * rows[0].fnmr, color="grey", linestyle=":", label="any order")
    axes.plot(shares, [100 * row.possible for row in rows], linestyle="--", label="errors first")
    axes.set(xlabel="comparisons left out (%)", ylabel=f"FNMR at FMR {FMR:g} (%)", ylim=(0, None))
    axes.legend()
    figure.savefig(path, dpi=150)


@click.command()
@click.argument("embeddings", type=EXISTING_FILE)
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the curve.")
@click.option("--json", "as_json", is_flag=True)
def main(embeddings: Path, plot: Path | None, as_json: bool) -> None:
    with np.load(embeddings) as stored:
        names, rows, quality = stored["names"].tolist(), stored["embeddings"], stored["quality"]
    people = people_of(names)
    threshold = threshold_at(rows[[own[0] for own in people.values()]], FMR)
    several = [own for own in people.values() if len(own) > 1]
    mated = mated_comparisons(rows, quality.astype(np.float64), several)
    found, share = measure(mated, threshold)
    if plot is not None:
        draw(found, plot)
    if as_json:
        document = {"mated": len(mated.score), "people": len(several), "threshold": threshold}
        click.echo(
            json.dumps(document | {"share_of_possible": share, "curve": [asdict(row) for row in found]})
        )
        return
    click.echo(
        f"{len(mated.score):,} mated comparisons of {len(several):,} people, threshold {threshold:.4f}"
    )
    click.echo("left out     FNMR  95 % interval     errors first")
    for row in found:
        interval = f"[{row.low:.2%}, {row.high:.2%}]"
        click.echo(f"{row.left_out:8.0%}  {row.fnmr:6.2%}  {interval:16}  {row.possible:6.2%}")
    click.echo("share of the possible: {share:.2f} [{low:.2f}, {high:.2f}]".format(**share))


if __name__ == "__main__":
    main()
