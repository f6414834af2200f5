"""What `doctor` says of a whole installation, and of broken ones."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from made_galleries import CONTRACT, enroll
from onnx import TensorProto, helper, numpy_helper
from tiny_model import write_tiny_model

import facekd as package
from facekd import benchmark
from facekd.card import Card, EmbeddingSpec, InputSpec, LandmarkCrop, read_card, write_card
from facekd.gallery import gallery_place
from facekd.weights import shipped_model
from facekd.workflows import doctor_installation, doctor_look

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder; no model and no gallery named."""
    for name in ("FACEKD_MODEL", "FACEKD_GALLERY", "FACEKD_DETECTOR", "FACEKD_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(ran: Any) -> dict[str, Any]:
    """The document, whose counts and exit code must be those of its checks."""
    document: dict[str, Any] = json.loads(ran.out)
    assert document["schema"] == "doctor/1"
    checks = document["checks"]
    assert document["faults"] == sum(check["status"] == "fault" for check in checks)
    assert document["notes"] == sum(check["status"] == "note" for check in checks)
    assert ran.code == document["exit_code"] == max(check["exit_code"] for check in checks)
    assert all((check["exit_code"] > 0) == (check["status"] == "fault") for check in checks)
    return document


def of(document: dict[str, Any], section: str, status: str | None = None) -> list[dict[str, Any]]:
    checks = [check for check in document["checks"] if check["section"] == section]
    return checks if status is None else [check for check in checks if check["status"] == status]


def faults(document: dict[str, Any]) -> list[tuple[str, str, int]]:
    return [
        (check["section"], check["name"], check["exit_code"])
        for check in document["checks"]
        if check["status"] == "fault"
    ]


class TestWhole:
    def test_every_section_is_there_and_nothing_at_fault(self, facekd, photos: Path, place: Path) -> None:
        document = told(facekd("doctor", "--json"))
        assert list(dict.fromkeys(check["section"] for check in document["checks"])) == [
            "libraries", "settings", "devices", "detectors", "models", "folders", "gallery",
            "optional packages", "self-test",
        ]  # fmt: skip
        assert faults(document) == []
        shipped = shipped_model()
        assert shipped is not None
        model = of(document, "models")[0]
        assert model["name"] == shipped.name
        assert model["values"]["digest"]
        thresholds = of(document, "models")[1]
        assert f"measured with {read_card(shipped)[0].calibration[0].detector}" in thresholds["message"]
        assert of(document, "detectors")[0]["values"]["weights"]
        assert not list(place.iterdir())

    def test_drawn_people_are_found_and_told_apart(self, facekd, photos: Path) -> None:
        found, speed, apart = of(told(facekd("doctor", "--json")), "self-test")
        assert found["values"]["photos"] == 4
        assert found["values"]["milliseconds"] > 0
        assert speed["values"]["align_milliseconds"] > 0
        assert speed["values"]["embed_milliseconds"] > 0
        assert speed["values"]["lowest_same"] > speed["values"]["highest_different"]
        assert apart["message"].startswith("tells synthetic people apart")

    def test_in_words(self, facekd, photos: Path) -> None:
        ran = facekd("doctor")
        assert ran.code == 0
        lines = ran.out.splitlines()
        assert lines[0] == "libraries"
        assert f"  ok     facekd: {package.__version__}, Python " in lines[1]
        assert "self-test" in lines
        assert re.fullmatch(r"no faults \(\d+ notes?\)\n", ran.err)


def pyproject() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project


def test_the_libraries_are_those_that_are_required() -> None:
    required = dict(re.match(r"([\w-]+)[>=]=(.*)", line).groups() for line in pyproject()["dependencies"])
    del required["mtcnn-runtime"]  # its files are looked at, among the detectors
    assert {one.package: one.least for one in doctor_installation.LIBRARIES} == required


def test_the_extras_are_those_that_are_offered() -> None:
    offered = {
        name: {re.match(r"[\w-]+", line).group() for line in lines}
        for name, lines in pyproject()["optional-dependencies"].items()
        if name not in {"test", "docs"}  # for those who change facekd
    }
    assert {extra.name: set(extra.modules) for extra in doctor_installation.EXTRAS} == offered


# --- broken installations ------------------------------------------------------------------------

# Python runs this before anything else: packages are hidden as if they had never been installed, or break
# while they are loaded
_SITE = """
import sys

class Hiding:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {hidden!r}:
            return None
        return self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
"""


@pytest.fixture
def run_with(tmp_path: Path) -> Callable[..., Any]:
    """Run the command in a process whose first folder of packages is ``site``."""

    class Ran:
        def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
            self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    def run(site: Path, *arguments: object, **environment: str) -> Ran:
        paths = os.pathsep.join((str(site), str(Path(package.__file__).parents[1])))
        command = [sys.executable, "-m", "facekd", "doctor", "--json", *map(str, arguments)]
        env = {**os.environ, "PYTHONPATH": paths, **environment}
        done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path, timeout=120)
        assert "Traceback" not in done.stderr
        return Ran(done)

    return run


@pytest.mark.parametrize(
    ("module", "name", "not_looked_at"),
    [
        ("onnxruntime", "onnxruntime", {"devices", "models"}),
        ("onnx", "onnx", {"models"}),
        ("cv2", "opencv-python", set()),
        ("numpy", "numpy", {"models"}),
        ("pydantic", "pydantic", {"models"}),
        ("scipy", "scipy", set()),
        ("platformdirs", "platformdirs", {"folders"}),
    ],
)
def test_without_a_library(
    run_with: Callable[..., Any], tmp_path: Path, module: str, name: str, not_looked_at: set[str]
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(_SITE.format(hidden=module))
    environment = (
        {"FACEKD_CACHE": str(tmp_path / "cache")} if module != "platformdirs" else {"FACEKD_CACHE": ""}
    )
    document = told(run_with(tmp_path / "site", **environment))
    library = next(check for check in of(document, "libraries") if check["name"] == name)
    assert (library["status"], library["message"]) == ("fault", "not installed")
    assert f"pip install '{name}>=" in library["fix"]
    assert document["exit_code"] == 2
    assert "internal" not in str(document)
    for section in not_looked_at:
        assert any("not checked" in check["message"] for check in of(document, section, "note")), section


def test_a_library_that_breaks_while_it_is_loaded(run_with: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "site" / "onnxruntime").mkdir(parents=True)
    broken = "raise ImportError('libonnxruntime.so.1: cannot open shared object file', name='onnxruntime')"
    (tmp_path / "site" / "onnxruntime" / "__init__.py").write_text(broken)
    document = told(run_with(tmp_path / "site"))
    library = next(check for check in of(document, "libraries") if check["name"] == "onnxruntime")
    assert library["status"] == "fault"
    assert "cannot be imported (libonnxruntime.so.1" in library["message"]
    assert "--force-reinstall" in library["fix"]
    assert document["exit_code"] == 2


def test_other_weights_in_the_place_of_mtcnn(run_with: Callable[..., Any], tmp_path: Path) -> None:
    weights = tmp_path / "site" / "mtcnnruntime" / "weights"
    weights.mkdir(parents=True)
    (weights.parent / "__init__.py").touch()
    for name in ("pnet", "rnet", "onet"):
        (weights / f"{name}.onnx").write_bytes(b"another network")
    document = told(run_with(tmp_path / "site"))
    assert faults(document) == [("detectors", "mtcnn", 5)]
    fault = of(document, "detectors", "fault")[0]
    assert "is not the file of mtcnn-runtime" in fault["message"]
    assert "--force-reinstall mtcnn-runtime" in fault["fix"]
    assert of(document, "self-test")[0]["message"] == "not tried: the detector cannot be loaded"


def test_a_converted_network_that_is_damaged(facekd, photos: Path, tmp_path: Path) -> None:
    assert facekd("detector", "export", tmp_path / "mtcnn").code == 0
    (tmp_path / "mtcnn" / "rnet.onnx").write_bytes(b"damaged")
    document = told(facekd("doctor", "--json", "--detector", f"mtcnn:{tmp_path / 'mtcnn'}"))
    assert faults(document) == [("detectors", "mtcnn", 5)]
    assert "rnet.onnx: damaged" in of(document, "detectors", "fault")[0]["message"]


def test_an_older_library_and_two_of_a_kind(facekd, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"scipy": "1.2.3", "opencv-python-headless": "5.0.0"}
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: versions.get(name) or real(name))
    document = told(facekd("doctor", "--json"))
    assert faults(document) == [("libraries", "scipy", 2)]
    assert of(document, "libraries", "fault")[0]["message"] == "1.2.3, older than 1.12"
    twins = of(document, "libraries", "note")[0]
    assert "opencv-python and opencv-python-headless are installed" in twins["message"]


def test_a_bug_is_a_line_too(facekd, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks() -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("facekd.preprocess.detectors._making.detector_help", breaks)
    monkeypatch.setattr("facekd.preprocess.detectors.detector_help", breaks, raising=False)
    document = told(facekd("doctor", "--json"))
    assert faults(document) == [("detectors", "others", 70)]
    assert "internal error (ZeroDivisionError" in of(document, "detectors", "fault")[0]["message"]


# --- models and galleries ------------------------------------------------------------------------


def test_a_damaged_model(facekd, photos: Path, tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "cut.onnx")
    model.write_bytes(model.read_bytes()[:2000])
    changed = write_tiny_model(tmp_path / "changed.onnx")
    network = onnx.load(changed)
    weights = numpy_helper.to_array(network.graph.initializer[0]) * np.float32(1.5)
    network.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "weights"))
    onnx.save(network, changed)
    document = told(facekd("doctor", "--json", "--model", model, "--model", changed, "--model", "no.onnx"))
    assert faults(document) == [
        ("models", "cut.onnx", 5),
        ("models", "changed.onnx", 5),
        ("models", "no.onnx", 2),
    ]
    messages = [check["message"] for check in of(document, "models", "fault")]
    assert "the card does not match this network" in messages[1]
    assert [check["message"] for check in of(document, "self-test", "note")] == [
        "not tried: the model cannot be loaded"
    ] * 3
    assert of(document, "self-test", "ok")  # the shipped one


def test_a_model_without_a_card(facekd, photos: Path, tmp_path: Path) -> None:
    network = onnx.load(write_tiny_model(tmp_path / "bare.onnx"))
    del network.metadata_props[:]
    onnx.save(network, tmp_path / "bare.onnx")
    document = told(facekd("doctor", "--json", "--model", tmp_path / "bare.onnx"))
    assert faults(document) == [("models", "bare.onnx", 2)]
    assert "facekd card" in of(document, "models", "fault")[0]["fix"]


def test_a_model_that_was_never_calibrated(facekd, operator: Path, photos: Path) -> None:
    document = told(facekd("doctor", "--json"))
    assert of(document, "models")[0]["message"].startswith("FACEKD_MODEL: ")
    assert "not calibrated" in of(document, "models", "note")[0]["message"]
    assert faults(document) == []


def test_a_model_that_finds_everybody_alike(facekd, photos: Path, tmp_path: Path) -> None:
    weights = np.random.default_rng(0).normal(size=(3 * 14 * 14, 8)).astype(np.float32) * 1e-4
    bias = np.ones(8, np.float32)
    nodes = [
        helper.make_node("AveragePool", ["crops"], ["blocks"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["blocks"], ["row"]),
        helper.make_node("Gemm", ["row", "weights", "bias"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes, "alike",
        [helper.make_tensor_value_info("crops", TensorProto.FLOAT, ["N", 3, 112, 112])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", 8])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )  # fmt: skip
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    card = Card(name="alike", input=InputSpec(), crop=LandmarkCrop(), embedding=EmbeddingSpec(dim=8))
    write_card(network, card, tmp_path / "alike.onnx")
    document = told(facekd("doctor", "--json", "--model", tmp_path / "alike.onnx"))
    assert faults(document) == [("self-test", "alike.onnx", 4)]
    assert "--check-on" in of(document, "self-test", "fault")[0]["fix"]


class TestGallery:
    def test_of_the_model_in_use(self, facekd, operator: Path, photos: Path) -> None:
        assert facekd("enroll", "Ann", photos / "a.jpg", photos / "b.jpg").code == 0
        checks = of(told(facekd("doctor", "--json")), "gallery")
        assert [check["status"] for check in checks] == ["ok"] * 4
        assert (checks[0]["values"]["people"], checks[0]["values"]["templates"]) == (1, 2)
        assert checks[2]["message"] == "of the space of tiny"
        assert "Ann" not in str(checks)

    def test_of_another_model(self, facekd, photos: Path, tmp_path: Path) -> None:
        enroll(tmp_path / "gallery.db", ("Ann", 1))
        document = told(facekd("doctor", "--json"))
        assert faults(document) == [("gallery", "gallery.db", 4)]
        fault = of(document, "gallery", "fault")[0]
        assert f"made with {CONTRACT.model} (space {CONTRACT.space[:12]})" in fault["message"]
        assert fault["values"]["space"] == CONTRACT.space

    def test_that_others_may_read(self, facekd, operator: Path, photos: Path) -> None:
        facekd("enroll", "Ann", photos / "a.jpg")
        operator.chmod(0o644)
        document = told(facekd("doctor", "--json"))
        assert faults(document) == []
        note = of(document, "gallery", "note")[0]
        assert note["message"] == "others may read or change it (mode 0644)"
        assert note["fix"].startswith("chmod 600")

    def test_of_an_older_schema(self, facekd, photos: Path, tmp_path: Path) -> None:
        stored = ROOT / "tests" / "stored"
        old = next(path for path in sorted(stored.rglob("*.db")))
        (tmp_path / "gallery.db").write_bytes(old.read_bytes())
        document = told(facekd("doctor", "--json"))
        schema = next(check for check in of(document, "gallery") if "schema" in check["values"])
        assert schema["status"] == "note"
        assert schema["message"].endswith("by the next change")
        assert (tmp_path / "gallery.db").read_bytes() == old.read_bytes()

    def test_that_is_damaged(self, facekd, operator: Path, photos: Path) -> None:
        facekd("enroll", "Ann", photos / "a.jpg")
        with sqlite3.connect(operator) as db:
            db.execute("UPDATE templates SET checksum = 'x'")
        db.close()
        document = told(facekd("doctor", "--json"))
        assert faults(document) == [("gallery", "gallery", 5)]
        operator.write_text("no gallery at all, but a text that is long enough to be taken for one")
        assert faults(told(facekd("doctor", "--json"))) == [("gallery", "gallery", 5)]


# --- folders and devices -------------------------------------------------------------------------


def test_a_cache_that_cannot_be_written(
    facekd, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FACEKD_CACHE", str(tmp_path / "file" / "cache"))
    document = told(facekd("doctor", "--json"))
    assert faults(document) == []
    cache = next(check for check in of(document, "folders") if check["name"] == "cache")
    assert (cache["status"], cache["values"]["writable"]) == ("note", False)
    assert "not writable" in cache["message"]
    assert "FACEKD_CACHE" in cache["fix"]


def test_the_size_of_the_cache(facekd, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache" / "targets").mkdir(parents=True)
    (tmp_path / "cache" / "targets" / "rows").write_bytes(b"x" * 4321)
    monkeypatch.setenv("FACEKD_CACHE", str(tmp_path / "cache"))
    checks = {check["name"]: check["values"] for check in of(told(facekd("doctor", "--json")), "folders")}
    assert checks["targets"]["bytes"] == 4321
    assert checks["cache"]["bytes"] >= 4321
    assert checks["cache"]["writable"] is True


def test_a_device_that_is_not_there(facekd, photos: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("there is one")
    document = told(facekd("doctor", "--json", "--device", "cuda"))
    assert document["exit_code"] == 2
    assert ("devices", "ONNX Runtime", 2) in faults(document)


@pytest.mark.parametrize(
    ("instructions", "is_slow"),
    [(("avx2", "fma"), True), (("avx2", "avx512f", "avx512_vnni"), False), (("avx2", "avx_vnni"), False),
     (("asimd", "asimddp"), False)],
)  # fmt: skip
def test_a_processor_on_which_int8_is_slow(
    instructions: tuple[str, ...], is_slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = benchmark.Hardware("some processor", 2, instructions, None, "some system")
    monkeypatch.setattr(benchmark, "this_hardware", lambda: found)
    settings = doctor_look.DoctorSettings((), gallery_place("gallery.db"))
    checks = doctor_installation.look_at_devices(settings)
    message = next(check.message for check in checks if check.name == "processors")
    assert (
        "no VNNI: int8 is hardly faster than float32 unless exported with --any-processor" in message
    ) is is_slow
    assert message.startswith(f"2 usable, some processor {' '.join(instructions)};")


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_device_that_onnx_runtime_falls_back_from(
    facekd, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where CUDA's libraries are missing the provider is listed, and a session has the CPU's all the same."""
    import onnxruntime

    listed = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)
    document = told(facekd("doctor", "--json"))
    assert faults(document) == []
    assert "falls back to the CPU" in of(document, "devices", "note")[0]["message"]
    assert "cuDNN" in of(document, "devices", "note")[0]["fix"]


def test_a_look_that_fails_keeps_what_it_found() -> None:
    def look():
        yield from ()
        raise OSError(28, "No space left on device")

    (check,) = doctor_look.taken("folders", "cache", look)
    assert (check.status, check.exit_code) == ("fault", 5)
    assert "No space left" in check.message
