"""Models side by side: what they weigh, how fast they are, and a page that shows it. No torch here."""

from facekd.benchmark.accuracy import accuracy_of, roc_words
from facekd.benchmark.counts import ModelCounts, count_model, model_files
from facekd.benchmark.machine import Machine, this_machine
from facekd.benchmark.measure import BATCH, footprints, settings_for, time_models
from facekd.benchmark.results import Accuracy, Benchmark, HardPair, ModelResult, Protocol, Rate
from facekd.benchmark.sections import headlines, write_report
from facekd.benchmark.table import side_by_side
from facekd.verification.pages.page import Cell, FacePair, Page, Picture, Section, Table, write_page

__all__ = [
    "BATCH",
    "Accuracy",
    "Benchmark",
    "Cell",
    "FacePair",
    "HardPair",
    "Machine",
    "ModelCounts",
    "ModelResult",
    "Page",
    "Picture",
    "Protocol",
    "Rate",
    "Section",
    "Table",
    "accuracy_of",
    "count_model",
    "footprints",
    "headlines",
    "model_files",
    "roc_words",
    "settings_for",
    "side_by_side",
    "this_machine",
    "time_models",
    "write_page",
    "write_report",
]
