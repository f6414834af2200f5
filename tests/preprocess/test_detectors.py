"""MTCNN against facenet-pytorch; YuNet and SCRFD against MTCNN; the files they come from."""

from __future__ import annotations

import importlib.util
import json
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data

from facekd.card import ARCFACE_TEMPLATE
from facekd.errors import DeviceError, InputOutput, Unreadable, UsageError
from facekd.geometry import Pixels, scale_of, similarity
from facekd.preprocess import Detector, Face, decode, find_face, open_source
from facekd.preprocess.detectors import _mtcnn_files as mtcnn_files
from facekd.preprocess.detectors import detector_names, export_mtcnn, make_detector
from facekd.preprocess.detectors._mtcnn_landmarks import OFFSETS
from facekd.preprocess.detectors._overlap import suppress
from facekd.preprocess.detectors._second_look import second_look
from facekd.preprocess.detectors._torch_file import read_state_dict

ASTRONAUT = skimage.data.astronaut()


@pytest.fixture(scope="module")
def mtcnn(cache: Path) -> Detector:
    return make_detector("mtcnn", threads=1)


@pytest.fixture(scope="module")
def theirs() -> Any:
    torch = pytest.importorskip("torch")
    from facekd.models._torchvision_ops import ensure_torchvision_ops

    ensure_torchvision_ops()
    from facenet_pytorch import MTCNN

    torch.set_num_threads(1)
    return MTCNN(keep_all=True)


def assert_agree(mtcnn: Detector, theirs: Any, pixels: Pixels) -> int:
    """Same faces, boxes, probabilities and landmarks; returns how many."""
    boxes, scores, points = theirs.detect(pixels, landmarks=True)
    ours = mtcnn.detect(pixels)
    if boxes is None:
        assert ours == []
        return 0
    order = np.argsort(-scores.astype(float), kind="stable")
    assert len(ours) == len(order)
    for face, index in zip(ours, order, strict=True):
        assert np.abs(face.box - boxes[index]).max() < 0.01
        assert abs(face.score - scores[index]) < 1e-4
        assert np.abs(face.landmarks - points[index]).max() < 0.01
    return len(ours)


def test_mtcnn_agrees_with_facenet_pytorch(mtcnn: Detector, theirs: Any) -> None:
    assert assert_agree(mtcnn, theirs, ASTRONAUT) == 1
    four = np.concatenate([ASTRONAUT[:300, 80:380], ASTRONAUT[:300, 80:380][:, ::-1]], axis=1)
    assert assert_agree(mtcnn, theirs, np.concatenate([four, four[:, ::-1]])[20:, 7:]) == 4
    cut_off = ASTRONAUT[70:200, 195:300]
    assert_agree(mtcnn, theirs, np.ascontiguousarray(cut_off))
    assert_agree(mtcnn, theirs, np.random.default_rng(0).integers(0, 255, (200, 130, 3), dtype=np.uint8))


def test_mtcnn_of_pictures_too_small_or_empty(mtcnn: Detector) -> None:
    for shape in ((1, 1, 3), (19, 19, 3), (12, 500, 3), (90, 70, 3)):
        assert mtcnn.detect(np.zeros(shape, np.uint8)) == []


@pytest.mark.needs_faces
def test_mtcnn_agrees_on_real_photos(mtcnn: Detector, theirs: Any, faces: Path) -> None:
    source = open_source(faces / "lfw.zip")
    photos = [decode(source.read(name), name).pixels for name in source.names()[30::900]]
    assert sum(assert_agree(mtcnn, theirs, pixels) for pixels in photos) >= len(photos)


@pytest.mark.needs_faces
@pytest.mark.parametrize("spec", ["yunet:yunet_2023mar.onnx", "scrfd:scrfd_500m.onnx"])
def test_other_detectors_put_the_landmarks_where_mtcnn_does(spec: str, mtcnn: Detector, faces: Path) -> None:
    name, _, file = spec.partition(":")
    detector = make_detector(f"{name}:{faces / 'detectors' / file}", threads=1)
    assert detector.name == Path(file).stem
    source = open_source(faces / "lfw.zip")
    away = []
    for photo_name in source.names()[40::900]:
        photo = decode(source.read(photo_name), photo_name)
        there, here = find_face(photo, mtcnn), find_face(photo, detector)
        eyes = np.linalg.norm(there.landmarks[1] - there.landmarks[0])
        away.append(np.linalg.norm(here.landmarks - there.landmarks, axis=1).mean() / eyes)
        assert here.landmarks[0, 0] < here.landmarks[1, 0]
        assert here.landmarks[3, 0] < here.landmarks[4, 0]
        x1, y1, x2, y2 = here.box
        assert ((here.landmarks > (x1, y1)) & (here.landmarks < (x2, y2))).all()
    assert np.mean(away) < 0.2


@pytest.mark.needs_faces
@pytest.mark.parametrize("spec", ["yunet:yunet_2023mar.onnx", "scrfd:scrfd_500m.onnx"])
def test_faces_scale_and_sort_on_photos_larger_than_the_network_sees(spec: str, faces: Path) -> None:
    name, _, file = spec.partition(":")
    detector = make_detector(f"{name}:{faces / 'detectors' / file}", threads=1)
    (alone,) = detector.detect(ASTRONAUT)
    large = ASTRONAUT.repeat(2, axis=0).repeat(2, axis=1)
    (doubled,) = detector.detect(large)
    eyes = np.linalg.norm(alone.landmarks[1] - alone.landmarks[0])
    assert np.linalg.norm(doubled.landmarks / 2 - alone.landmarks, axis=1).mean() < 0.1 * eyes
    assert np.abs(doubled.box / 2 - alone.box).mean() < 0.1 * eyes
    two = detector.detect(np.concatenate([ASTRONAUT, ASTRONAUT[:, ::-1]], axis=1))
    assert len(two) == 2
    assert two[0].score >= two[1].score
    assert detector.detect(np.zeros((33, 65, 3), np.uint8)) == []


def test_the_registry_lists_the_folder() -> None:
    assert {"mtcnn", "scrfd", "yunet"} <= set(detector_names())
    with pytest.raises(UsageError, match="mtcnn, scrfd, yunet"):
        make_detector("retinaface")


@pytest.mark.parametrize("name", ["yunet", "scrfd"])
def test_model_files_that_are_missing_or_wrong(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{name}:FILE"):
        make_detector(name)
    with pytest.raises(InputOutput, match="no such model file"):
        make_detector(f"{name}:{tmp_path / 'absent.onnx'}")
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(b"not a model")
    with pytest.raises(Unreadable):
        make_detector(f"{name}:{wrong}")


@pytest.mark.needs_faces
def test_a_model_that_is_no_detector(faces: Path) -> None:
    model = faces / "models" / "edgeface_xxs.onnx"
    for name in ("yunet", "scrfd"):
        with pytest.raises(Unreadable):
            make_detector(f"{name}:{model}")
    with pytest.raises(DeviceError):
        make_detector(f"yunet:{faces / 'detectors' / 'yunet_2023mar.onnx'}", device="cuda")


def test_suppression_by_hand() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 4.9], [20, 20, 30, 30]], np.float32)
    scores = np.array([0.8, 0.9, 0.7, 0.6], np.float32)
    # the second is best; the first shares exactly half with it, the third 0.98
    assert suppress(boxes, scores, 0.5).tolist() == [1, 0, 3]
    assert suppress(boxes, scores, 0.49).tolist() == [1, 3]
    assert suppress(boxes[:0], scores[:0], 0.5).tolist() == []


def test_a_box_inside_a_better_one_goes_by_the_smaller_of_the_two() -> None:
    boxes = np.array([[0, 0, 99, 99], [10, 10, 29, 29], [90, 90, 109, 109], [200, 0, 209, 9]], np.float32)
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    # the second lies in the first by a 25th of the union; of the third a quarter lies there
    assert suppress(boxes, scores, 0.5).tolist() == [0, 1, 2, 3]
    assert suppress(boxes, scores, 0.5, of_smaller=True, edge=1).tolist() == [0, 2, 3]
    # 10 x 10 of 20 x 20 pixels, both edges counted
    assert suppress(boxes, scores, 0.24, of_smaller=True, edge=1).tolist() == [0, 3]
    assert suppress(boxes, scores, 0.26, of_smaller=True, edge=1).tolist() == [0, 2, 3]
    equal = np.full(4, 0.5, np.float32)
    assert suppress(boxes, equal, 0.5, of_smaller=True, edge=1).tolist()[0] == 3


# --- the converted files -----------------------------------------------------------------------


def facenet_weights() -> dict[str, bytes]:
    """The three weight files of the installed facenet-pytorch."""
    spec = importlib.util.find_spec("facenet_pytorch")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("facenet-pytorch is not installed")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    return {name: (folder / f"{name}.pt").read_bytes() for name in mtcnn_files.NETWORKS}


def hide(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """As if ``packages`` were not installed."""
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n in packages else real(n, *a))


def test_both_packages_give_the_same_networks_to_the_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facenet_weights()
    monkeypatch.setenv("FACEKD_CACHE", str(tmp_path))
    ours = mtcnn_files.mtcnn_networks()
    hide(monkeypatch, "mtcnnruntime")
    assert mtcnn_files.mtcnn_networks() == ours
    assert len(list(tmp_path.iterdir())) == 2


def test_other_files_in_the_package_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in mtcnn_files.NETWORKS:
        (tmp_path / "weights").mkdir(exist_ok=True)
        (tmp_path / "weights" / f"{name}.onnx").write_bytes(b"another")
    found = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: found)
    with pytest.raises(Unreadable, match=r"pnet\.onnx is not the file of mtcnn-runtime"):
        mtcnn_files.mtcnn_networks()


def test_weights_are_read_as_torch_reads_them(cache: Path) -> None:
    torch = pytest.importorskip("torch")
    for name, content in facenet_weights().items():
        import io

        expected = torch.load(io.BytesIO(content), weights_only=True)
        found = read_state_dict(content, name)
        assert list(found) == list(expected)
        assert all(np.array_equal(found[key], expected[key].numpy()) for key in found)


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("this ran",))


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_hostile_weights_file_runs_nothing(protocol: int, capsys: pytest.CaptureFixture[str]) -> None:
    content = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {}))
    for hostile in (pickle.dumps(Hostile(), protocol), content + pickle.dumps(Hostile(), protocol)):
        with pytest.raises(Unreadable, match="not part of a state dict"):
            read_state_dict(hostile, "evil.pt")
    assert capsys.readouterr().out == ""


def test_weights_cut_short_are_unreadable(cache: Path) -> None:
    content = facenet_weights()["pnet"]
    for length in (0, 10, 500, len(content) - 1000):
        with pytest.raises(Unreadable):
            read_state_dict(content[:length], "pnet.pt")


def test_the_cache_is_made_once_and_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setenv("FACEKD_CACHE", str(tmp_path))
    first = mtcnn_files.mtcnn_networks()
    (folder,) = tmp_path.iterdir()
    times = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert sorted(f.name for f in folder.iterdir()) == ["mtcnn.json", "onet.onnx", "pnet.onnx", "rnet.onnx"]
    assert mtcnn_files.mtcnn_networks() == first
    assert times == {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    (folder / "rnet.onnx").write_bytes(b"damaged")
    assert mtcnn_files.mtcnn_networks() == first
    (folder / "mtcnn.json").unlink()
    assert mtcnn_files.mtcnn_networks() == first
    assert mtcnn_files.read_networks(folder) == first


def test_a_cache_that_cannot_be_written_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    file = tmp_path / "a file, not a folder"
    file.touch()
    monkeypatch.setenv("FACEKD_CACHE", str(file))
    assert make_detector("mtcnn", threads=1).name == "mtcnn"


def test_starting_many_times_at_once_leaves_one_good_cache(tmp_path: Path, cache: Path) -> None:
    program = "from facekd.preprocess.detectors import make_detector; make_detector('mtcnn', threads=1)"
    environment = {"FACEKD_CACHE": str(tmp_path), "PATH": ""}
    started = [subprocess.Popen([sys.executable, "-c", program], env=environment) for _ in range(4)]
    assert [process.wait(60) for process in started] == [0] * 4
    (folder,) = tmp_path.iterdir()
    assert sorted(mtcnn_files.read_networks(folder)) == ["onet", "pnet", "rnet"]
    assert len(list(folder.iterdir())) == 4


def test_without_either_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path, mtcnn: Detector
) -> None:
    export_mtcnn(tmp_path / "exported")
    hide(monkeypatch, "mtcnnruntime", "facenet_pytorch")
    assert make_detector("mtcnn", threads=1).name == "mtcnn"  # the cache still serves
    monkeypatch.setenv("FACEKD_CACHE", str(tmp_path / "empty"))
    with pytest.raises(UsageError, match=r"(?s)not installed.*detector export DIR.*yunet:FILE.*scrfd:FILE"):
        make_detector("mtcnn")
    exported = make_detector(f"mtcnn:{tmp_path / 'exported'}", threads=1)
    assert np.array_equal(exported.detect(ASTRONAUT)[0].landmarks, mtcnn.detect(ASTRONAUT)[0].landmarks)


def test_exported_files_that_are_absent_or_damaged(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(InputOutput, match="no converted MTCNN"):
        make_detector(f"mtcnn:{tmp_path}")
    export_mtcnn(tmp_path)
    manifest = json.loads((tmp_path / "mtcnn.json").read_text())
    (tmp_path / "mtcnn.json").write_text(json.dumps(manifest | {"onet": "0" * 64}))
    with pytest.raises(Unreadable, match=r"onet\.onnx: damaged"):
        make_detector(f"mtcnn:{tmp_path}")
    (tmp_path / "mtcnn.json").write_text("[1")
    with pytest.raises(Unreadable, match="damaged"):
        make_detector(f"mtcnn:{tmp_path}")


def test_detecting_loads_no_torch(cache: Path) -> None:
    program = (
        "import sys, numpy as np\n"
        "import facekd.preprocess.detectors as p\n"
        "early = {'cv2', 'onnxruntime', 'PIL', 'torch'} & set(sys.modules)\n"
        "p.make_detector('mtcnn', threads=1).detect(np.zeros((60, 60, 3), np.uint8))\n"
        "late = {'torch', 'torchvision', 'facenet_pytorch', 'sklearn'} & set(sys.modules)\n"
        "print(early | late)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


def moved_photo(degrees: float, scale: float, shift: float) -> tuple[Pixels, np.ndarray]:
    """ASTRONAUT rotated and scaled about her face, and the transform [2, 3]."""
    matrix = cv2.getRotationMatrix2D((225, 115), degrees, scale)
    matrix[:, 2] += shift
    return cv2.warpAffine(ASTRONAUT, matrix, (512, 512), flags=cv2.INTER_AREA), matrix  # type: ignore[return-value]


def scatter(detector: Any) -> tuple[float, float]:
    """Mean standard deviation of the landmarks in a face that is rotated, scaled and moved: as detected and
    after the second look."""
    raw, better = [], []
    turns, scales = (-12, -8, -4, 0, 4, 8, 12, 0, 0, 0, 6, -6), (1, 1, 1, 1, 1, 1, 1, 0.6, 0.8, 1.3, 0.7, 0.9)
    for shift, (degrees, scale) in enumerate(zip(turns, scales, strict=True)):
        pixels, matrix = moved_photo(degrees, scale, shift)
        face = max(detector.detect(pixels), key=lambda one: one.area)
        for kept, points in ((raw, face.landmarks), (better, detector.refine(pixels, face).landmarks)):
            kept.append(np.linalg.solve(matrix[:, :2], (points - matrix[:, 2]).T).T)
    return np.std(raw, axis=0).mean(), np.std(better, axis=0).mean()


def test_landmarks_of_mtcnn_scatter_less_after_a_second_look(mtcnn: Detector) -> None:
    raw, better = scatter(mtcnn)
    assert better < 0.6 * raw


@pytest.mark.needs_faces
def test_landmarks_of_yunet_scatter_less_after_a_second_look(faces: Path) -> None:
    raw, better = scatter(make_detector(f"yunet:{faces / 'detectors' / 'yunet_2023mar.onnx'}", threads=1))
    assert better < 0.6 * raw


def test_no_second_look_where_no_face_is_seen(mtcnn: Detector) -> None:
    """The landmarks are only corrected, as far as the face is turned, too."""
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    template = np.asarray(ARCFACE_TEMPLATE)
    turned = template[:, ::-1] * [1, -1] + [40, 160]  # a quarter to the left
    for landmarks, moved in ((template + 40, -OFFSETS), (turned, (-OFFSETS)[:, ::-1] * [1, -1])):
        face = Face(np.array([40, 40, 150, 150], np.float32), 0.9, landmarks.astype(np.float32))
        again = mtcnn.refine(noise, face)  # type: ignore[attr-defined]
        assert np.abs(again.landmarks - landmarks - moved).max() < 0.05
        assert (again.score, again.box.tolist()) == (face.score, face.box.tolist())


def test_a_second_look_step_by_step() -> None:
    template = np.asarray(ARCFACE_TEMPLATE)
    offsets = np.array([[1, 0], [-1, 0], [0, 0.5], [0, -1], [0, 0.5]])
    turn = np.array([[0, -1], [1, 0]]) * 2  # twice as large, a quarter to the right
    true = template @ turn.T + 300
    shown = []

    def look(aligned: np.ndarray) -> np.ndarray:
        shown.append(true @ aligned[:, :2].T + aligned[:, 2])
        return (template + offsets) @ turn.T + 300

    found = second_look([look, look], true + np.array([6, -4]), offsets)
    assert np.abs(found - true).max() < 1e-3
    assert np.abs(shown[0] - template).max() > 1.5
    assert np.abs(shown[1] - template).max() < 1e-6
    for other in (lambda _: None, lambda _: true + 80):
        assert np.abs(second_look([look, other], true, offsets) - true + offsets @ turn.T).max() < 0.2
    together = np.full((5, 2), 80.0)
    assert second_look([look], together, offsets).tolist() == together.tolist()


@pytest.mark.needs_faces
def test_refined_landmarks_lie_nearer_to_those_of_scrfd(mtcnn: Detector, faces: Path) -> None:
    scrfd = make_detector(f"scrfd:{faces / 'detectors' / 'scrfd_500m.onnx'}", threads=1)
    source = open_source(faces / "lfw.zip")
    raw, better, wider = [], [], []
    for name in source.names()[55::400]:
        photo = decode(source.read(name), name)
        there, here = find_face(photo, scrfd), find_face(photo, mtcnn)
        first = min(mtcnn.detect(photo.pixels), key=lambda face: float(np.abs(face.box - here.box).max()))
        aligned = similarity(there.landmarks, ARCFACE_TEMPLATE)
        for kept, face in ((raw, first), (better, here)):
            kept.append(np.linalg.norm((face.landmarks - there.landmarks) @ aligned[:, :2].T, axis=1).mean())
        wider.append(scale_of(aligned) / scale_of(similarity(here.landmarks, ARCFACE_TEMPLATE)))
    assert np.mean(better) < np.mean(raw)
    assert abs(np.mean(wider) - 1) < 0.015
