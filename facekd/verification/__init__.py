"""Scores to numbers: rates with protocol, counts, interval and failures. No torch here."""

from facekd.verification.allpairs import AllPairs, all_pairs
from facekd.verification.calibration import calibrate_threshold, calibration_entries
from facekd.verification.compare import Paired, paired
from facekd.verification.intervals import Interval
from facekd.verification.operating import OperatingPoint
from facekd.verification.plots import roc_figure
from facekd.verification.protocols import Embed, PairList, Protocol, list_names, open_protocol, protocol_names
from facekd.verification.result import PairResult, Result
from facekd.verification.tables import notes, results_table

__all__ = [
    "AllPairs",
    "Embed",
    "Interval",
    "OperatingPoint",
    "PairList",
    "PairResult",
    "Paired",
    "Protocol",
    "Result",
    "all_pairs",
    "calibrate_threshold",
    "calibration_entries",
    "list_names",
    "notes",
    "open_protocol",
    "paired",
    "protocol_names",
    "results_table",
    "roc_figure",
]
