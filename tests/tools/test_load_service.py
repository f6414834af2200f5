"""The load test for two seconds; `tools/load_service.py` takes a duration."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from small_photos import need_mtcnn

pytest.importorskip("fastapi", reason="the extra 'service' is not installed")
sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import load_service

from facekd.weights import shipped_model

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
RATES = {"per_second", "processor_ms", "p50_ms", "p95_ms", "p99_ms"}


def test_the_service_is_measured_beside_the_bare_pipeline() -> None:
    if shipped_model() is None:
        pytest.skip("no student came with this facekd")
    need_mtcnn()
    ran = CliRunner().invoke(load_service.main, [str(SAMPLES), "--seconds", "1", "--clients", "2"])
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.output)
    for bare in (found["bare_before"], found["bare_after"]):
        assert set(bare) == RATES
    (load,) = found["service"]
    assert set(load) > RATES
    assert load["statuses"] == {"200": load["requests"]}
    assert 0 < load["p50_ms"] <= load["p95_ms"] <= load["p99_ms"]
    assert 0 < found["memory_at_start"] <= load["memory_most"]
    # after the first requests nothing is kept of the others
    assert load["memory_after"] < load["memory_before"] + 20_000_000
