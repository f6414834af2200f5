"""The tool that measures templates in half precision, against rounding and counting by hand."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import measure_half_templates as tool


def test_the_cost_is_what_rounding_each_value_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "FMRS", (0.01,))
    monkeypatch.setattr(tool, "_BLOCK", 50)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 8))[np.repeat(np.arange(40), 4)] + 0.5 * rng.normal(size=(160, 8))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    people = [f"P{number}" for number in np.repeat(np.arange(40), 4)]
    half = np.array([[float(np.float16(value)) for value in row] for row in rows])
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    found = tool.cost(rows, people)
    changes = np.abs(rows.astype(float) @ rows.T.astype(float) - half @ half.T)
    assert found.largest == pytest.approx(changes.max(), rel=1e-2)
    assert 0 < found.largest < 1e-3
    for scores, tar in ((rows @ rows.T, found.before), (half @ half.T, found.after)):
        one, other = np.triu_indices(160, 1)
        same = np.array(people)[one] == np.array(people)[other]
        ranked = np.sort(scores[one, other][~same])[::-1]
        above = scores[one, other][same] > ranked[int(0.01 * len(ranked))]
        assert tar[0] == pytest.approx(above.mean(), abs=2 / above.size)
