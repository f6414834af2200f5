"""The order of turns, what a ratio withstands, and memory seen from outside."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_model import write_tiny_model

from facekd.benchmark import memory
from facekd.benchmark.memory import Footprint, footprints
from facekd.benchmark.timing import (
    BATCH,
    LEAST_REPEATS,
    LEAST_ROUNDS,
    MOST_REPEATS,
    MOST_ROUNDS,
    Setting,
    Timing,
    faster,
    interleave,
    plan,
    settings_for,
    time_models,
)
from facekd.errors import InputOutput
from facekd.runtime import threads_available


def test_every_model_runs_in_every_round_and_the_order_turns() -> None:
    calls: list[str] = []
    runs = {name: lambda name=name: calls.append(name) for name in "abc"}
    seconds = interleave(runs, rounds=3, repeats={"a": 1, "b": 2, "c": 1})
    # each burst begins with one call that is not timed
    assert "".join(calls) == "aabbbcc" + "bbbccaa" + "ccaabbb"
    assert {name: times.shape for name, times in seconds.items()} == {"a": (3, 1), "b": (3, 2), "c": (3, 1)}


def test_nothing_is_told_while_a_model_is_timed() -> None:
    told: list[str] = []
    runs = {name: lambda name=name: told.append(name) for name in "ab"}
    interleave(runs, 2, {"a": 1, "b": 1}, after_round=lambda turn: told.append(f"round {turn}"))
    assert told == [*"aabb", "round 0", *"bbaa", "round 1"]


class Machine:
    """A clock that runs only while models do, on a machine whose pace changes."""

    def __init__(self, pace: list[float]) -> None:
        self.now, self.calls, self.pace = 0.0, 0, pace

    def work(self, seconds: float) -> None:
        self.now += seconds * self.pace[min(self.calls * len(self.pace) // 60, len(self.pace) - 1)]
        self.calls += 1


def test_a_machine_that_slows_down_does_not_change_the_ratio() -> None:
    machine = Machine([1.0, 7.0])
    runs = {"slow": lambda: machine.work(0.02), "fast": lambda: machine.work(0.01)}
    found = interleave(runs, 10, {"slow": 2, "fast": 2}, clock=lambda: machine.now)
    slow, fast = (Timing(Setting(1, 1), found[name]) for name in ("slow", "fast"))
    ratio = faster(slow, fast)
    assert ratio.median == pytest.approx(2)
    assert (ratio.low, ratio.high) == pytest.approx((2, 2))
    # timed one after the other on the same machine, the fast model would look slower
    other = Machine([1.0, 7.0])
    one_after_the_other = []
    for seconds in (0.02, 0.01):
        begun = other.now
        for _ in range(30):
            other.work(seconds)
        one_after_the_other.append(other.now - begun)
    assert one_after_the_other[0] < one_after_the_other[1]


def test_what_a_timing_tells() -> None:
    seconds = np.arange(1, 101, dtype=float).reshape(20, 5)
    timing = Timing(Setting(1, 32), seconds)
    assert timing.median == 50.5
    assert timing.p95 == pytest.approx(95.05)
    assert timing.crops_per_second == pytest.approx(32 / 50.5)


def test_a_plan_keeps_to_its_budget_within_limits() -> None:
    rounds, repeats = plan({"quick": 1e-4, "heavy": 0.4}, latency=True)
    assert repeats == {"quick": MOST_REPEATS, "heavy": LEAST_REPEATS}
    assert rounds == LEAST_ROUNDS
    assert plan({"quick": 1e-4}, latency=True)[0] == MOST_ROUNDS
    assert plan({"quick": 1e-4}, latency=False)[1] == {"quick": 1}


def test_settings_are_one_crop_and_a_batch_on_one_thread_and_on_all() -> None:
    threads = sorted({1, threads_available()})
    assert settings_for("cpu") == [Setting(t, b) for b in (1, BATCH) for t in threads]
    assert {s.threads for s in settings_for("cuda")} == {threads_available()}


def test_models_are_timed_in_the_same_rounds(tmp_path: Path) -> None:
    models = {name: write_tiny_model(tmp_path / f"{name}.onnx") for name in ("one", "two")}
    crops = {name: np.zeros((BATCH, 112, 112, 3), np.uint8) for name in models}
    parts: list[int] = []
    found = time_models(models, crops, Setting(1, BATCH), advance=parts.append)
    assert sum(parts) == MOST_ROUNDS
    assert len(parts) == found["one"].seconds.shape[0]
    assert found["one"].seconds.shape == found["two"].seconds.shape
    assert found["one"].seconds.shape[1] == 1
    assert (found["one"].seconds > 0).all()


def heavy_model(path: Path, megabytes: int) -> Path:
    """One weight of ``megabytes`` that every crop passes through."""
    weight = np.ones((megabytes * 250, 1000), np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["x"], ["p"]),
            helper.make_node("Flatten", ["p"], ["f"]),
            helper.make_node("ReduceSum", ["w"], ["s"], keepdims=0),
            helper.make_node("Mul", ["f", "s"], ["y"]),
        ],
        "heavy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 112, 112])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(weight, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_memory_is_that_of_the_model_in_a_process_of_its_own(tmp_path: Path) -> None:
    ballast = np.ones(25_000_000)  # 200 MB in this process must not count
    models = {
        "tiny": [(write_tiny_model(tmp_path / "tiny.onnx"), 112)],
        "heavy": [(heavy_model(tmp_path / "heavy.onnx", 100), 112)],
    }
    found = footprints(models, processes=1)
    assert ballast.nbytes == 200_000_000
    assert found["tiny"].peak_bytes < 60_000_000
    assert found["heavy"].peak_bytes - found["tiny"].peak_bytes > 90_000_000
    assert found["heavy"].load_seconds > 0


def test_memory_that_the_system_does_not_tell_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_probe", lambda files, device: Footprint(None, 0.5))
    ended: list[int] = []
    assert footprints({"one": []}, advance=ended.append) == {"one": Footprint(None, 0.5)}
    assert ended == [1] * memory.PROCESSES


def test_a_model_that_cannot_be_loaded_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_text("no model")
    with pytest.raises(InputOutput) as caught:
        footprints({"bad": [(tmp_path / "bad.onnx", 112)]}, processes=1)
    assert "Traceback" not in caught.value.cause
    assert "\n" not in caught.value.cause
