"""schemathesis against the service for some seconds; `tools/fuzz_service.py` runs it as long as asked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from small_photos import need_mtcnn

pytest.importorskip("fastapi", reason="the extra 'service' is not installed")
sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import fuzz_service

from facekd.weights import shipped_model


@pytest.mark.long
def test_no_request_gets_an_answer_that_the_document_does_not_describe() -> None:
    schemathesis, model = fuzz_service.find_schemathesis(), shipped_model()
    if schemathesis is None:
        pytest.skip("schemathesis is not on the PATH: it is installed in an environment of its own")
    if model is None:
        pytest.skip("no student came with this facekd")
    need_mtcnn()
    found, wrong = fuzz_service.fuzzed(schemathesis, model, fuzz_service.SAMPLES, seconds=20, seed=1)
    assert wrong == []
    assert found["cases"] > 50
    # it came past the door, and was turned away for what it sent
    assert {"200", "401", "404", "422"} <= set(found["statuses"])
