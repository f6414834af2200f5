"""The thresholds of two models side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facekd.verification.results import PairResult

if TYPE_CHECKING:
    from rich.table import Table


def threshold_table(results: dict[str, PairResult]) -> Table:
    """The thresholds of each column; every column has its own."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("threshold")
    for name in results:
        table.add_column(name, overflow="fold")
    rows: dict[str, list[str]] = {}
    for result in results.values():
        mean = sum(fold.threshold for fold in result.folds) / len(result.folds)
        cells = {"of accuracy, mean of folds": f"{mean:.4f}"}
        for kind, points in (
            ("listed pairs", result.rates.points),
            ("all pairs", result.everyone_points),
        ):
            for point in points:
                known = "-" if point.threshold is None else f"{point.threshold:.4f}"
                cells[f"at FMR {point.fmr:g}, {kind}"] = known
        for title, cell in cells.items():
            rows.setdefault(title, []).append(cell)
    for title, told in rows.items():
        table.add_row(title, *told)
    return table
