from pathlib import Path

import numpy as np
import pytest
from small_photos import need_mtcnn, write_photos
from tiny_model import write_tiny_model

from facekd.card.contract import ARCFACE_TEMPLATE, Calibration, Counts, LogisticCurve, Sample, ScoreMap
from facekd.card.onnx_file import read_card
from facekd.errors import InputOutput, NoCard, NoFace, SeveralFaces, Unreadable, UsageError
from facekd.preprocess import ALIGNER, Face
from facekd.runtime import fuse, load_embedder
from facekd.workflows.recognizer import Recognizer, cosine
from facekd.workflows.thresholds import choose_threshold, doubts


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory: pytest.TempPathFactory) -> Recognizer:
    need_mtcnn()
    return Recognizer(write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx"))


class Stub:
    """Finds faces that lie exactly on the template, moved to the given places."""

    name = "stub"

    def __init__(self, *places: tuple[int, int]) -> None:
        self.places = places

    def detect(self, pixels: np.ndarray) -> list[Face]:
        template = np.asarray(ARCFACE_TEMPLATE, np.float32)
        return [
            Face(np.array([x, y, x + 112, y + 112], np.float32), 0.9, template + np.float32((x, y)))
            for x, y in self.places
        ]


def png(pixels: np.ndarray) -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_embeds_exactly_the_crop_that_the_card_asks_for(recognizer: Recognizer) -> None:
    """With landmarks on the template the crop is a plain cut-out, made here by slicing."""
    pixels = np.random.default_rng(0).integers(0, 256, (240, 300, 3), dtype=np.uint8)
    found = Recognizer(recognizer.embedder, detector=Stub((50, 40))).recognise(png(pixels), "noise")
    expected = recognizer.embedder.embed(pixels[None, 40:152, 50:162])[0]
    np.testing.assert_allclose(found.embedding, expected, atol=1e-4)
    assert found.faces == 1
    assert found.photo == "noise"


def test_says_which_face_of_how_many(recognizer: Recognizer) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (240, 500, 3), dtype=np.uint8)
    two = Recognizer(recognizer.embedder, detector=Stub((10, 10), (200, 60)))
    found = two.recognise(png(pixels))
    assert found.faces == 2
    assert found.face.box[0] == 200  # nearer to the centre
    with pytest.raises(SeveralFaces, match="noise"):
        two.recognise(png(pixels), "noise", on_many="skip")


def test_a_real_face(recognizer: Recognizer, photos: Path) -> None:
    import hashlib

    first, second = recognizer.recognise(photos / "a.jpg"), recognizer.recognise(photos / "b.jpg")
    assert first.sha256 == hashlib.sha256((photos / "a.jpg").read_bytes()).hexdigest()
    assert abs(np.linalg.norm(first.embedding) - 1) < 1e-5
    assert cosine(first.embedding, second.embedding) > 0.99
    assert 0 < first.quality <= 1


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("blank.jpg", NoFace),
        ("cut.jpg", Unreadable),
        ("text.jpg", Unreadable),
        ("empty.jpg", Unreadable),
        ("absent.jpg", InputOutput),
    ],
)
def test_errors_name_the_photo(recognizer: Recognizer, photos: Path, name: str, error: type) -> None:
    with pytest.raises(error, match=name):
        recognizer.recognise(photos / name)


def test_the_contract_states_model_detector_and_aligner(recognizer: Recognizer) -> None:
    contract = recognizer.contract
    assert (contract.model, contract.dim) == ("tiny", 32)
    assert contract.space == recognizer.embedder.space
    assert (contract.detector, contract.aligner) == ("mtcnn", ALIGNER)
    assert recognizer.differences(contract) == []
    other = Recognizer(recognizer.embedder, detector=Stub((0, 0)))
    assert other.differences(contract) == ["made with detector mtcnn, this is stub"]


def test_a_model_without_a_card_is_refused(recognizer: Recognizer, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(write_tiny_model(tmp_path / "tiny.onnx"))
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    for model in (tmp_path / "bare.onnx", load_embedder(tmp_path / "bare.onnx")):
        with pytest.raises(NoCard, match="bare"):
            Recognizer(model, detector=recognizer.detector)


def entry(fmr: float, threshold: float) -> Calibration:
    counts = Counts(mated=10, non_mated=10_000, false_matches=10, false_non_matches=1)
    return Calibration(
        fmr=fmr, threshold=threshold, low=0.5 * fmr, high=2 * fmr, data="held-out", counts=counts,
        detector="mtcnn", aligner=ALIGNER,
    )  # fmt: skip


class TestThreshold:
    @pytest.fixture
    def card(self, tmp_path: Path):
        entries = (entry(1e-2, 0.2), entry(1e-3, 0.3))
        return read_card(write_tiny_model(tmp_path / "tiny.onnx", calibration=entries))[0]

    def test_the_strictest_unless_asked_otherwise(self, card) -> None:
        strictest = choose_threshold(card)
        assert (strictest.value, strictest.fmr, strictest.source) == (0.3, 1e-3, "card")
        assert choose_threshold(card, fmr=0.01).value == 0.2

    def test_the_option_comes_first(self, card) -> None:
        given = choose_threshold(card, threshold=-0.1)
        assert (given.value, given.source, given.fmr) == (-0.1, "option", None)

    def test_an_uncalibrated_rate_is_refused(self, card) -> None:
        with pytest.raises(UsageError, match="no threshold at FMR 1e-05"):
            choose_threshold(card, fmr=1e-5)

    def test_both_are_refused_and_so_is_nan(self, card) -> None:
        with pytest.raises(UsageError):
            choose_threshold(card, threshold=0.3, fmr=1e-3)
        for beyond in (float("nan"), 1.5, -2):
            with pytest.raises(UsageError, match="no cosine"):
                choose_threshold(card, threshold=beyond)

    def test_without_calibration_it_says_how_to_get_one(self, tmp_path: Path) -> None:
        card, _ = read_card(write_tiny_model(tmp_path / "tiny.onnx"))
        with pytest.raises(UsageError) as caught:
            choose_threshold(card)
        assert caught.value.exit_code == 2
        assert "--threshold" in str(caught.value.fix)

    def test_another_detector_is_a_doubt(self, card) -> None:
        assert doubts(choose_threshold(card), "mtcnn") == []
        assert "yunet" in doubts(choose_threshold(card), "yunet")[0]
        assert doubts(choose_threshold(card, threshold=0.3), "yunet") == []

    def test_doubts_of_two_kinds_are_one_note(self, card) -> None:
        fitted = ScoreMap(
            curve=LogisticCurve(slope=10, offset=-4), cllr=0.1, min_cllr=0.1, data="d",
            sample=Sample(people=5, photos=30, digest="0" * 64), detector="scrfd", aligner=ALIGNER, date="",
        )  # fmt: skip
        assert doubts(choose_threshold(card), "yunet", fitted) == [
            "the threshold was calibrated with detector mtcnn; the score map was fitted with detector scrfd; "
            "this is yunet: the false match rate and the probability may differ"
        ]
        assert doubts(choose_threshold(card), "mtcnn", fitted) == [
            "the score map was fitted with detector scrfd; this is mtcnn: the probability may differ"
        ]


class TestFusion:
    def test_one_embedding_is_itself(self) -> None:
        row = np.float32([0.6, 0.8])
        np.testing.assert_allclose(fuse([row]), row)

    def test_the_direction_of_the_mean(self) -> None:
        rows = [np.float32([1, 0]), np.float32([0, 1])]
        np.testing.assert_allclose(fuse(rows), np.sqrt([0.5, 0.5]), rtol=1e-6)

    def test_more_photos_are_not_more_chances(self) -> None:
        """Random impostors on a sphere of 512 dimensions: with the best of five scores the false
        match rate grows towards fivefold, with the mean direction it stays."""
        rng = np.random.default_rng(0)
        people = rng.normal(size=(300, 1, 512)) + rng.normal(size=(300, 5, 512))
        people /= np.linalg.norm(people, axis=2, keepdims=True)
        impostors = rng.normal(size=(2000, 512))
        impostors /= np.linalg.norm(impostors, axis=1, keepdims=True)
        single = impostors @ people[:, 0].T
        threshold = np.quantile(single, 0.99)
        fused = np.stack([fuse(list(rows.astype(np.float32))) for rows in people])
        best = (impostors @ people.transpose(0, 2, 1).reshape(300, 512, 5)).max(axis=2)
        assert (impostors @ fused.T >= threshold).mean() == pytest.approx(0.01, rel=0.1)
        assert (best >= threshold).mean() > 0.025

    def test_a_cosine_never_leaves_its_range(self) -> None:
        row = np.full(3, 0.57735029, np.float32) * np.float32(1.0001)
        assert cosine(row, row) == 1.0
        assert cosine(row, -row) == -1.0
