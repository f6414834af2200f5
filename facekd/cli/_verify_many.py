"""The answers of `verify` to many pairs of photos, one line per pair."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import nullcontext
from typing import TYPE_CHECKING

from facekd.cli.output import answer, answer_json, progress, say, say_failure
from facekd.csv_rows import csv_line
from facekd.errors import Exit

if TYPE_CHECKING:
    from facekd.verification.results import ComparedPair
    from facekd.workflows import PhotoPair, Recognizer


def verify_many(recognizer: Recognizer, pairs: list[PhotoPair], as_json: bool, keep_all: bool) -> Exit:
    """Compare ``pairs`` and print the answer to each at once; a note or failure of a photo is printed once,
    however many pairs it is in. ``keep_all`` keeps all photos in memory, for many pairs of few photos. The
    exit code is that of the most serious failure."""
    from facekd.reporting import PAIR_COLUMNS, pair_row, pair_summary
    from facekd.workflows import KEPT_PHOTOS, compare_pairs

    if not as_json:
        answer(csv_line(PAIR_COLUMNS))
    answers: Counter[str] = Counter()
    said: set[str] = set()
    worst = Exit.DONE
    with nullcontext() if sys.stdout.isatty() else progress("verify", len(pairs)) as advance:
        for pair in compare_pairs(recognizer, pairs, None if keep_all else KEPT_PHOTOS):
            for told in _told(pair):
                if told not in said:
                    (say if told.startswith("note: ") else say_failure)(told)
                said.add(told)
            if as_json:
                answer_json(pair.to_dict(), indent=None)
            else:
                answer(csv_line(pair_row(pair)))
            answers[_outcome(pair)] += 1
            worst = max(worst, pair.exit_code)
            if advance is not None:
                advance()
    limit = recognizer.threshold
    for sentence in pair_summary(answers, limit.value, limit.fmr):
        say(sentence)
    return worst


def _told(pair: ComparedPair) -> list[str]:
    failure = pair.failure
    failed = [f"no answer ({failure.reason}): {failure.message}"] if failure else []
    return [*(f"note: {note}" for note in pair.notes), *failed]


def _outcome(pair: ComparedPair) -> str:
    if pair.failure:
        return pair.failure.reason
    return "same" if pair.same else "different"
