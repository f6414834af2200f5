import json
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
    """Finds faces whose landmarks are exactly the template's, moved to the given places."""

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


def test_a_photo_as_path_bytes_or_pixels(recognizer: Recognizer, photos: Path) -> None:
    from facekd.preprocess import decode

    file = photos / "a.jpg"
    expected = recognizer.recognise(file).embedding
    for photo in (str(file), file.read_bytes(), decode(file).pixels):
        np.testing.assert_array_equal(recognizer.embed(photo), expected)
    bgr = decode(file).pixels[:, :, ::-1]
    assert cosine(recognizer.embed(bgr), expected) < 0.99


class TestVerify:
    def test_the_answer_is_that_of_the_command(
        self, facekd, recognizer: Recognizer, photos: Path, tmp_path: Path
    ) -> None:
        model = write_tiny_model(tmp_path / "tiny.onnx")
        for other, threshold in (("b.jpg", 0.9), ("mirrored.jpg", 0.9), ("two.jpg", -1)):
            mine = Recognizer(model, threshold=threshold).verify(photos / "a.jpg", photos / other)
            ran = facekd(
                "verify", photos / "a.jpg", photos / other, "--model", model, "--threshold", threshold,
                "--json",
            )  # fmt: skip
            told = json.loads(ran.out)
            assert ran.code == int(not mine.same)
            assert (mine.same, mine.score) == (told["same"], pytest.approx(told["score"], abs=1e-6))
            assert [photo.faces for photo in mine.photos] == [photo["faces"] for photo in told["photos"]]
            assert (mine.threshold.value, mine.threshold.source) == (threshold, "option")
            assert (mine.evidence, mine.claim, mine.templates) == (None, None, None)

    def test_the_score_is_the_dot_product_of_the_embeddings(
        self, recognizer: Recognizer, photos: Path
    ) -> None:
        lenient = Recognizer(recognizer.embedder, detector=recognizer.detector, threshold=0)
        one, other = photos / "a.jpg", photos / "mirrored.jpg"
        expected = float(lenient.embed(one) @ lenient.embed(other))
        assert lenient.verify(one, other).score == pytest.approx(expected, abs=1e-6)

    def test_it_has_no_truth_value(self, recognizer: Recognizer, photos: Path) -> None:
        answer = Recognizer(recognizer.embedder, threshold=0.5).verify(photos / "a.jpg", photos / "a.jpg")
        assert answer.same is True
        with pytest.raises(TypeError, match=r"use its \.same"):
            bool(answer)

    def test_a_log_of_it_holds_no_embedding(self, recognizer: Recognizer, photos: Path) -> None:
        """Neither in the words of the answer nor in those of what was taken of a photo."""
        found = recognizer.recognise(photos / "a.jpg")
        assert "embedding" not in repr(found)
        answer = Recognizer(recognizer.embedder, threshold=0.5).verify(photos / "a.jpg", photos / "b.jpg")
        assert "embedding" not in repr(answer)

    def test_errors_know_which_photo_it_was(self, recognizer: Recognizer, photos: Path) -> None:
        asked = Recognizer(recognizer.embedder, detector=recognizer.detector, threshold=0.5)
        blank, face = photos / "blank.jpg", photos / "a.jpg"
        for pair, named in (
            ((face, blank), str(blank)),
            ((blank.read_bytes(), face), "the first photo"),
            ((face, blank.read_bytes()), "the second photo"),
        ):
            with pytest.raises(NoFace, match=named) as caught:
                asked.verify(*pair)
            assert caught.value.photo == named

    def test_without_a_threshold_there_is_no_answer(self, recognizer: Recognizer, photos: Path) -> None:
        assert recognizer.embed(photos / "a.jpg").shape == (32,)
        with pytest.raises(UsageError, match="no threshold is known"):
            recognizer.verify(photos / "a.jpg", photos / "b.jpg")

    def test_thresholds_that_cannot_be_are_refused_at_once(self, recognizer: Recognizer) -> None:
        for settings in ({"threshold": 1.5}, {"threshold": 0.3, "fmr": 1e-3}, {"fmr": 1e-3}):
            with pytest.raises(UsageError):
                Recognizer(recognizer.embedder, detector=recognizer.detector, **settings)

    def test_the_cards_thresholds(self, recognizer: Recognizer, photos: Path, tmp_path: Path) -> None:
        entries = (entry(1e-2, 0.2), entry(1e-3, 0.3))
        model = write_tiny_model(tmp_path / "calibrated.onnx", calibration=entries)
        assert Recognizer(model).threshold.value == 0.3
        lax = Recognizer(model, fmr=1e-2, detector=Stub((40, 40)))
        answer = lax.verify(photos / "a.jpg", photos / "b.jpg")
        assert (answer.threshold.fmr, answer.threshold.source) == (1e-2, "card")
        assert answer.notes == (
            "the threshold was calibrated with detector mtcnn; this is stub: the false match rate may differ",
        )


def test_without_a_model_it_is_the_student_that_ships(monkeypatch: pytest.MonkeyPatch) -> None:
    from facekd.weights import shipped_model

    monkeypatch.setenv("FACEKD_MODEL", "/absent.onnx")
    shipped = shipped_model()
    assert shipped is not None
    assert Recognizer(detector=Stub()).embedder.space == load_embedder(shipped).space
    monkeypatch.setattr("facekd.workflows.recognizer.shipped_model", lambda: None)
    with pytest.raises(UsageError, match="no model is given"):
        Recognizer(detector=Stub())


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
            with pytest.raises(UsageError, match="not a cosine"):
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
