"""Scores to numbers: rates with protocol, counts, interval and failures. No torch here."""

from facekd.verification.allpairs import AllPairs, all_pairs
from facekd.verification.calibration import (
    Conditions,
    calibrate_threshold,
    calibration_at,
    calibration_entries,
)
from facekd.verification.compare import Paired, paired
from facekd.verification.identification import IdentificationResult
from facekd.verification.intervals import Interval
from facekd.verification.left_out import LeftOut
from facekd.verification.mapfit import FittedMap, fit_map
from facekd.verification.operating import OperatingPoint
from facekd.verification.people import AllPairsResult
from facekd.verification.pictures.plots import roc_figure
from facekd.verification.protocols import Embed, PairList, Protocol, list_names, open_protocol, protocol_names
from facekd.verification.result import PairResult, Result
from facekd.verification.scoremap import PRIOR, log_likelihood_ratio, probability
from facekd.verification.scores import ScoreResult
from facekd.verification.tables import results_table

__all__ = [
    "PRIOR",
    "AllPairs",
    "AllPairsResult",
    "Conditions",
    "Embed",
    "FittedMap",
    "IdentificationResult",
    "Interval",
    "LeftOut",
    "OperatingPoint",
    "PairList",
    "PairResult",
    "Paired",
    "Protocol",
    "Result",
    "ScoreResult",
    "all_pairs",
    "calibrate_threshold",
    "calibration_at",
    "calibration_entries",
    "fit_map",
    "list_names",
    "log_likelihood_ratio",
    "open_protocol",
    "paired",
    "probability",
    "protocol_names",
    "results_table",
    "roc_figure",
]
