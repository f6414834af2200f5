"""The made-up benchmark as a fixture."""

import pytest
from made_up import make_benchmark

from facekd.benchmark import Benchmark


@pytest.fixture
def made() -> Benchmark:
    return make_benchmark()
