"""Photo and landmarks to crop, checked against the definition, other libraries and embeddings."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from skimage.transform import SimilarityTransform, estimate_transform

from facekd.card.contract import ARCFACE_TEMPLATE, BoxCrop, LandmarkCrop
from facekd.errors import Misfit, TooSmall
from facekd.geometry import recrop
from facekd.geometry.transform import scale_of, similarity
from facekd.preprocess import Face, cut, decode, find_face, open_source, quality
from facekd.preprocess.detectors import make_detector

TEMPLATE = np.asarray(ARCFACE_TEMPLATE, np.float32)
ARCFACE = LandmarkCrop(size=112)


def made_up_face(scale: float, degrees: float, x: float, y: float) -> Face:
    """The template enlarged, turned and moved into a photo; its crop is known exactly."""
    placed = SimilarityTransform(scale=scale, rotation=np.deg2rad(degrees), translation=(x, y))(TEMPLATE)
    low, high = placed.min(0), placed.max(0)
    return Face(np.concatenate([low, high]).astype(np.float32), 0.9, placed.astype(np.float32))


def waves(x: np.ndarray, y: np.ndarray, length: float) -> np.ndarray:
    """A smooth picture as a function of place, [..., 3]."""
    k = 2 * np.pi / length
    return np.stack(
        [128 + 100 * np.sin(k * x), 128 + 100 * np.cos(k * y), 128 + 60 * np.sin(k * (x + y))], -1
    )


@pytest.mark.parametrize("seed", range(5))
def test_similarity_is_the_least_squares_one(seed: int) -> None:
    random = np.random.default_rng(seed)
    source = TEMPLATE * random.uniform(0.3, 5) + random.normal(0, 6, (5, 2)) + random.uniform(-90, 900, 2)
    other = estimate_transform("similarity", source, TEMPLATE.astype(np.float64))
    assert np.allclose(similarity(source, TEMPLATE), other.params[:2], atol=1e-8)
    assert scale_of(similarity(source, TEMPLATE)) == pytest.approx(other.scale)


def test_landmarks_that_coincide_are_no_face() -> None:
    for points in (np.full((5, 2), 3.0), np.full((5, 2), np.nan)):
        with pytest.raises(TooSmall):
            similarity(points, TEMPLATE)


@pytest.mark.parametrize("scale", [0.6, 1.0, 1.9, 2.0, 3.7, 8.0])
def test_crop_shows_what_the_photo_has_at_each_place(scale: float) -> None:
    """The crop of a photo that is a function of place is that function at the mapped places."""
    found_at = made_up_face(scale, 17, 60 * scale, 40 * scale)
    y, x = np.mgrid[: int(260 * scale), : int(280 * scale)]
    photo = np.round(waves(x, y, 40 * scale)).astype(np.uint8)
    crop = cut(photo, found_at, ARCFACE)
    v, u = np.mgrid[:112, :112]
    back = SimilarityTransform(scale=scale, rotation=np.deg2rad(17), translation=(60 * scale, 40 * scale))
    places = back(np.stack([u.ravel(), v.ravel()], 1))
    expected = waves(places[:, 0], places[:, 1], 40 * scale).reshape(112, 112, 3)
    # bilinear steps and means of blocks flatten waves a little, and move nothing
    assert np.abs(crop - expected).mean() < 1.2
    assert np.abs(crop - expected).max() < 8


def test_outside_the_photo_is_black_also_after_reduction() -> None:
    for scale in (1.0, 4.0):
        white = np.full((int(100 * scale), int(112 * scale), 3), 255, np.uint8)
        crop = cut(white, made_up_face(scale, 0, 0, 0), ARCFACE)
        assert (crop[1:98, 1:110] == 255).all()
        assert (crop[102:] == 0).all()
    far = cut(np.full((50, 50, 3), 255, np.uint8), made_up_face(1, 0, 5000, 5000), ARCFACE)
    assert (far == 0).all()


def test_a_photo_wider_than_opencv_can_warp() -> None:
    photo = np.zeros((200, 40_000, 3), np.uint8)
    photo[:, 39_000:] = 200
    assert cut(photo, made_up_face(1, 0, 39_500, 20), ARCFACE).min() == 200


def test_noise_is_averaged_by_a_large_reduction() -> None:
    """Means of 8 x 8 blocks hold an eighth of it; one bilinear step would keep a half to all."""
    random = np.random.default_rng(0)
    noise = np.clip(128 + random.normal(0, 30, (1200, 1200, 3)), 0, 255).astype(np.uint8)
    assert cut(noise, made_up_face(8, 0, 100, 100), ARCFACE).std() < 30 / 8 * 1.05


def test_recrop_equals_the_direct_cut_inside_the_first_crop() -> None:
    photo = cv2.GaussianBlur(skimage.data.astronaut(), (0, 0), 1.5)
    points = np.array([[205, 102], [247, 104], [225, 129], [202, 139], [245, 142]], np.float32)
    found = Face(np.array([181, 62, 268, 172], np.float32), 0.9, points)
    want = LandmarkCrop(size=80, template=tuple((x * 0.7 + 1, y * 0.7 + 2) for x, y in ARCFACE_TEMPLATE))
    direct = cut(photo, found, want)
    through = recrop(cut(photo, found, ARCFACE)[None], ARCFACE, want)[0]
    assert through.shape == (80, 80, 3)
    # a second interpolation blurs; nothing may have moved
    assert np.abs(through[4:-2, 4:-2].astype(int) - direct[4:-2, 4:-2]).mean() < 2.0
    shifted = np.abs(np.roll(through, 1, axis=1)[4:-2, 4:-2].astype(int) - direct[4:-2, 4:-2]).mean()
    assert shifted > 2 * np.abs(through[4:-2, 4:-2].astype(int) - direct[4:-2, 4:-2]).mean()


def test_recrop_of_equal_specs_touches_nothing() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    assert recrop(crops, ARCFACE, LandmarkCrop(size=112)) is crops
    box = BoxCrop(size=160, margin=0)
    assert recrop(crops, box, box) is crops


def test_recrop_refuses_box_crops_and_wrong_sizes() -> None:
    crops = np.zeros((1, 112, 112, 3), np.uint8)
    box = BoxCrop(size=112, margin=0)
    other = LandmarkCrop(size=128, template=tuple((x + 8, y + 8) for x, y in ARCFACE_TEMPLATE))
    for have, want in ((ARCFACE, box), (box, ARCFACE)):
        with pytest.raises(Misfit, match="box crops cannot be made"):
            recrop(crops, have, want)
    with pytest.raises(Misfit, match="112"):
        recrop(crops, other, ARCFACE)


@pytest.mark.parametrize("box", [(181.1, 62.2, 267.7, 172.9), (-12.5, 300.0, 90.0, 560.0)])
@pytest.mark.parametrize(("size", "margin"), [(160, 0), (160, 44), (96, 14)])
def test_box_crops_are_those_of_facenet_pytorch(box: tuple[float, ...], size: int, margin: int) -> None:
    pytest.importorskip("torch")
    from PIL import Image

    from facekd.models._torchvision_ops import ensure_torchvision_ops

    ensure_torchvision_ops()
    from facenet_pytorch import extract_face

    photo = skimage.data.astronaut()
    theirs = extract_face(Image.fromarray(photo), np.array(box), image_size=size, margin=margin)
    ours = cut(photo, Face(np.array(box), 0.9, TEMPLATE), BoxCrop(size=size, margin=margin))
    assert np.array_equal(ours, theirs.permute(1, 2, 0).numpy().astype(np.uint8))


def test_box_crops_that_cannot_be() -> None:
    photo = np.zeros((50, 50, 3), np.uint8)
    away = Face(np.array([90, 90, 120, 120], np.float32), 0.9, TEMPLATE)
    with pytest.raises(TooSmall):
        cut(photo, away, BoxCrop(size=160, margin=0))
    with pytest.raises(Misfit, match="margin"):
        cut(photo, away, BoxCrop(size=16, margin=16))


def test_quality_falls_with_blur_size_turn_and_light() -> None:
    photo = skimage.data.astronaut()
    points = np.array([[205, 102], [247, 104], [225, 129], [202, 139], [245, 142]], np.float32)
    found = Face(np.array([181, 62, 268, 172], np.float32), 0.9, points)
    crop = cut(photo, found, ARCFACE)
    good = quality(crop, found)
    assert 0.6 < good <= 1
    across = np.array([[0, 0], [-1, 0], [1, 0], [0, 0], [-1, 0]], np.float32)
    worse = {
        "blur": [quality(cv2.GaussianBlur(crop, (0, 0), sigma), found) for sigma in (1, 2, 4)],
        "size": [quality(crop, found.moved(scale)) for scale in (0.6, 0.4, 0.2)],
        "turn": [quality(crop, Face(found.box, 0.9, points + across * by)) for by in (8, 14, 20)],
        "light": [quality(crop // by, found) for by in (8, 14, 20)],
    }
    for cause, values in worse.items():
        assert good > values[0] > values[1] > values[2] >= 0, (cause, values)
    assert quality(np.zeros_like(crop), found) == 0


@pytest.mark.needs_faces
def test_a_photo_enlarged_eight_times_with_noise_keeps_its_embedding(faces: Path) -> None:
    from facekd.runtime import load_embedder

    embedder = load_embedder(faces / "models" / "edgeface_xs.onnx", threads=1)
    detector = make_detector(f"scrfd:{faces / 'detectors' / 'scrfd_500m.onnx'}", threads=1)
    source = open_source(faces / "lfw.zip")
    random = np.random.default_rng(7)
    for name in source.names()[50::1600]:
        photo = decode(source.read(name), name)
        found = find_face(photo, detector)
        large = cv2.resize(photo.pixels, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)
        noise = random.normal(0, 25, large.shape).astype(np.float32)
        noisy = np.clip(large + noise, 0, 255).astype(np.uint8)
        # the centre of pixel x lies at 8 x + 3.5 in the enlarged photo
        moved = found.moved(8, (3.5, 3.5))
        crops = np.stack([cut(photo.pixels, found, ARCFACE), cut(noisy, moved, ARCFACE)])
        first, second = embedder.embed(crops)
        assert first @ second >= 0.98, name


@pytest.mark.needs_faces
def test_crops_for_a_model_of_another_template(faces: Path) -> None:
    """From the photo and from the 112-pixel crop, the model sees nearly the same face."""
    from facekd.card.contract import InputSpec
    from facekd.runtime import load_embedder

    embedder = load_embedder(faces / "models" / "ov_reid_0095.onnx", threads=1)
    points = ((0.3156, 0.4616), (0.6827, 0.4616), (0.5003, 0.6405), (0.3495, 0.8247), (0.6534, 0.8233))
    want = LandmarkCrop(size=128, template=tuple((x * 128, y * 128) for x, y in points))
    raw_bgr = InputSpec(size=128, colour="bgr", mean=0, std=1)
    embedder.card = embedder.card.model_copy(update={"input": raw_bgr, "crop": want})
    detector = make_detector(f"scrfd:{faces / 'detectors' / 'scrfd_500m.onnx'}", threads=1)
    source = open_source(faces / "lfw.zip")
    for name in source.names()[99::1600]:
        photo = decode(source.read(name), name)
        found = find_face(photo, detector)
        direct = cut(photo.pixels, found, want)
        through = recrop(cut(photo.pixels, found, ARCFACE)[None], ARCFACE, want)[0]
        first, second = embedder.embed(np.stack([direct, through]))
        assert first @ second > 0.9, name
