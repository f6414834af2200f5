"""One drawn photo: the same every time, another for another person, and true to its conditions."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import FrozenInstanceError, asdict, replace

import numpy as np
import pytest

from facekd.samples import draw, landmarks, person
from facekd.samples.camera import normals, turn
from facekd.samples.capture import capture
from facekd.samples.head import head, skull
from facekd.samples.layout import layout
from facekd.samples.light import hollows, shade, shadows


def test_person_is_a_function_of_the_seed():
    assert person(7) == person(7)
    people = [person(seed) for seed in range(60)]
    assert len({hash(p) for p in people}) == 60
    with pytest.raises(FrozenInstanceError):
        people[0].age = 0.1
    for p in people:
        colours = [*p.skin, *p.lips, *p.iris, *p.hair_colour, *p.shirt]
        assert min(colours) >= 0
        assert max(colours) <= 1
        assert 0 <= p.age <= 1
    assert {p.glasses for p in people} >= {"none", "round"}
    assert len({p.hair for p in people}) >= 7


def test_shape_values_are_standard_deviations():
    spacing = [person(seed).eye_spacing for seed in range(400)]
    assert abs(np.mean(spacing)) < 0.15
    assert 0.8 < np.std(spacing) < 1.1


def test_draw_gives_rgb_bytes_of_the_size_asked_for():
    for size in (96, 200):
        pixels = draw(person(3), 0, size)
        assert pixels.shape == (size, size, 3)
        assert pixels.dtype == np.uint8
        assert pixels.std() > 15


def test_draw_is_the_same_in_another_process():
    here = hashlib.sha256(draw(person(11), 4, 128).tobytes()).hexdigest()
    draw(person(12), 0, 128)
    assert hashlib.sha256(draw(person(11), 4, 128).tobytes()).hexdigest() == here
    program = (
        "import hashlib; from facekd.samples import draw, person;"
        "print(hashlib.sha256(draw(person(11), 4, 128).tobytes()).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


def test_photos_and_people_differ():
    pictures = [draw(person(seed), photo, 96).astype(int) for seed in (1, 2) for photo in (0, 1)]
    for one in range(4):
        for other in range(one):
            assert np.abs(pictures[one] - pictures[other]).mean() > 5


def test_landmarks_lie_as_on_a_face():
    for seed in range(6):
        for photo in range(4):
            points = landmarks(person(seed), photo, 200)
            assert points.shape == (5, 2)
            assert points.min() > 20
            assert points.max() < 180
            eyes, mouth = points[:2].mean(0), points[3:].mean(0)
            assert eyes[1] < points[2, 1] < mouth[1]
            assert points[0, 0] < points[1, 0]
            assert points[3, 0] < points[4, 0]


def test_landmarks_follow_the_pose():
    both = [(s, n) for s in range(8) for n in range(8)]
    turned = [(s, n) for s, n in both if abs(capture(s, n).yaw) > 15 and abs(capture(s, n).roll) < 5]
    assert len(turned) >= 5
    for seed, photo in turned:
        points = landmarks(person(seed), photo, 200)
        towards = points[2, 0] - points[:2, 0].mean()
        assert np.sign(towards) == np.sign(capture(seed, photo).yaw)
    # a head that is both turned and nodding has slanted eyes without any roll
    for seed, photo in [
        (s, n) for s, n in both if abs(capture(s, n).roll) > 6 and abs(capture(s, n).yaw) < 12
    ]:
        across = np.subtract(*landmarks(person(seed), photo, 200)[[1, 0]])
        assert np.sign(-across[1]) == np.sign(capture(seed, photo).roll)


def test_landmarks_scale_with_the_photo():
    np.testing.assert_allclose(landmarks(person(5), 1, 400), 2 * landmarks(person(5), 1, 200), atol=0.2)


def test_parameters_move_what_they_are_named_for():
    average = person(0)
    wide = replace(average, eye_spacing=average.eye_spacing + 2, nose_length=average.nose_length + 2)
    before, after = layout(average), layout(wide)
    assert after.eye_x > before.eye_x
    assert after.nose_y < before.nose_y
    forward = replace(average, nose_forward=average.nose_forward + 2)
    assert head(forward, layout(forward)).points[..., 2].max() > head(average, before).points[..., 2].max()
    broad = replace(average, face_width=average.face_width + 2)
    assert np.ptp(skull(broad)[..., 0]) > np.ptp(skull(average)[..., 0]) * 1.05


def test_an_expression_moves_what_it_should():
    p = person(0)
    where = layout(p)
    neutral = replace(capture(0, 0), smile=0.0, mouth_open=0.0, brow_raise=0.0)
    model = head(p, where)
    at_rest = model.with_expression(neutral)
    np.testing.assert_array_equal(at_rest, model.points)
    moved = model.with_expression(replace(neutral, mouth_open=1.0)) - at_rest
    low, high = at_rest[..., 1] < where.mouth_y - 0.2, at_rest[..., 1] > where.eye_y
    front = at_rest[..., 2] > 0.3
    assert np.all(moved[low & front][:, 1] < -0.05)
    assert np.all(moved[high] == 0)


def test_normals_of_a_head_point_outwards():
    points = skull(person(2))
    outward = normals(points)
    inner = slice(12, -12)
    np.testing.assert_allclose(np.linalg.norm(outward[inner], axis=-1), 1, atol=1e-4)
    assert np.mean((outward * points).sum(-1)[inner] > 0) > 0.99


def test_turning_keeps_distances():
    points = skull(person(2))[::20, ::20]
    turned = turn(points, capture(2, 3))
    flat, flat_turned = points.reshape(-1, 3), turned.reshape(-1, 3)
    before, after = (np.linalg.norm(p - p[7], axis=1) for p in (flat, flat_turned))
    np.testing.assert_allclose(before, after, atol=1e-4)


def test_surfaces_that_face_the_light_are_brighter():
    taken = replace(capture(0, 0), light=(0.6, 0.0, 0.8))
    facing = np.array([(0.6, 0, 0.8), (0, 0, 1), (-0.6, 0, 0.8)], np.float32)
    grey, one = np.full((3, 3), 0.5, np.float32), np.ones(3, np.float32)
    light = shade(grey, facing, one, one, taken).sum(1)
    assert light[0] > light[1] > light[2]
    assert np.all(shade(grey, facing, 0 * one, one, taken).sum(1) < light)


def test_what_stands_in_the_light_casts_a_shadow_away_from_it():
    depth = np.zeros((120, 120), np.float32)
    depth[:, 50:70] = 25
    lit = shadows(depth, replace(capture(0, 0), light=(0.8, 0.0, 0.6), hardness=1.0))
    assert lit[60, 35] < 0.5 < lit[60, 100]
    assert hollows(depth)[60, 47] < hollows(depth)[60, 10]


def test_person_is_plain_data():
    assert asdict(person(4))["seed"] == 4
