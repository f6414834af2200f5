"""Mixed views: what is mixed with what, how often, and whose they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from facekd.training import Mixing
from facekd.training.data import Batch
from facekd.training.mixing import patches, rectangles

N = 400


@pytest.fixture
def batch() -> Batch:
    """View i is all of one value, which no other has for a while."""
    torch.manual_seed(0)
    values = torch.arange(N) % 250
    views = values.to(torch.uint8)[:, None, None, None].expand(N, 20, 20, 3).contiguous()
    flat = torch.arange(N)
    return Batch(views, flat, torch.zeros(N, dtype=torch.int64), torch.zeros(N, dtype=torch.bool), flat)


def test_mixup_blends_two_views_and_they_are_nobodys(batch: Batch) -> None:
    mixed = Mixing(p_mixup=0.5).mix(batch)
    touched = (mixed.labels == -1).numpy()
    assert 150 < touched.sum() < 250
    assert torch.equal(mixed.views[~touched], batch.views[~touched])
    assert torch.equal(mixed.labels[~touched], batch.labels[~touched])
    assert torch.equal(mixed.crops, batch.crops)
    assert (mixed.views.flatten(1).float().std(1) == 0).all()  # one share for a whole view
    changed = (mixed.views[:, 0, 0, 0] != batch.views[:, 0, 0, 0]).numpy()
    assert changed[touched].mean() > 0.9
    assert not changed[~touched].any()


def test_a_blend_lies_between_its_two_by_the_drawn_share(batch: Batch) -> None:
    torch.manual_seed(7)
    mixed = Mixing(p_mixup=1.0).mix(batch).views[:, 0, 0, 0].numpy().astype(float)
    torch.manual_seed(7)
    torch.rand(N)
    share = torch.distributions.Beta(1.0, 1.0).sample((N,)).numpy()
    shift = int(torch.randint(1, N, (1,)))
    values = batch.views[:, 0, 0, 0].numpy().astype(float)
    expected = share * values + (1 - share) * np.roll(values, -shift)
    assert np.abs(mixed - expected).max() <= 0.5 + 1e-4


def test_cutmix_pastes_from_the_same_place(batch: Batch) -> None:
    mixed = Mixing(p_cutmix=1.0).mix(batch)
    assert (mixed.labels == -1).all()
    own = mixed.views[..., 0] == batch.views[..., 0]
    for view, mine in zip(mixed.views[..., 0], own, strict=True):
        assert len(view.unique()) <= 2
        rows, columns = torch.nonzero(~mine, as_tuple=True)
        if len(rows):  # what is not its own is one rectangle
            height, width = rows.max() - rows.min() + 1, columns.max() - columns.min() + 1
            assert int(height * width) == len(rows)


def test_rectangles_have_the_stated_area_where_they_lie_inside() -> None:
    torch.manual_seed(1)
    found = rectangles(torch.full((3000,), 0.75), 40, 40)
    assert int(found.flatten(1).sum(1).max()) == 400  # a quarter
    assert not rectangles(torch.ones(5), 40, 40).any()


@pytest.fixture
def scenes(batch: Batch) -> Batch:
    """Views of which hardly two pixels are alike."""
    torch.manual_seed(3)
    return replace(batch, views=torch.randint(0, 256, batch.views.shape, dtype=torch.uint8))


def test_cutpaste_pastes_from_another_place(scenes: Batch) -> None:
    torch.manual_seed(11)
    mixed = Mixing(p_cutpaste=0.7).mix(scenes)
    # the same numbers again: who, how much, whose, then rows and columns of where from and where to
    torch.manual_seed(11)
    chosen = torch.rand(N) < 0.7
    share = torch.distributions.Beta(1.0, 1.0).sample((N,))
    shift = int(torch.randint(1, N, (1,)))
    rectangles(share, 20, 20)
    up, down = torch.rand(2, N).numpy()
    left, right = torch.rand(2, N).numpy()
    elsewhere = 0
    for n in range(N):
        expected = scenes.views[n].numpy().copy()
        if chosen[n]:
            side = round(20 * (1 - float(share[n])) ** 0.5)
            free = 21 - side
            y, x, top, begin = (int(free * drawn[n]) for drawn in (up, left, down, right))
            other = scenes.views[(n + shift) % N].numpy()
            expected[top : top + side, begin : begin + side] = other[y : y + side, x : x + side]
            elsewhere += (y, x) != (top, begin) and side > 0
        assert np.array_equal(mixed.views[n].numpy(), expected)
    assert elsewhere > 200
    assert torch.equal(mixed.labels == -1, chosen)
    assert torch.equal(mixed.labels[~chosen], scenes.labels[~chosen])


def test_patches_lie_within_the_image_at_every_size() -> None:
    share = torch.linspace(0, 1, 201)
    found = patches(share, 24, 30)
    for n in range(201):
        rows, columns = found.inside[n].any(1), found.inside[n].any(0)
        side = (1 - float(share[n])) ** 0.5
        assert abs(int(rows.sum()) - 24 * side) <= 0.51
        assert abs(int(columns.sum()) - 30 * side) <= 0.51
        assert int(found.inside[n].sum()) == int(rows.sum() * columns.sum())
        for where, sources in ((rows, found.rows[n]), (columns, found.columns[n])):
            assert (sources[where].diff() == 1).all()  # one stretch, not around the edge


def test_a_share_of_each_kind_and_old_runs_draw_what_they_drew(scenes: Batch) -> None:
    torch.manual_seed(5)
    every = Mixing(p_mixup=0.2, p_cutmix=0.3, p_cutpaste=0.4).mix(scenes)
    torch.manual_seed(5)
    two = Mixing(p_mixup=0.2, p_cutmix=0.3).mix(scenes)
    after = torch.rand(3)
    torch.manual_seed(5)
    draw = torch.rand(N)
    torch.distributions.Beta(1.0, 1.0).sample((N,))
    torch.randint(1, N, (1,))
    rectangles(torch.ones(N), 20, 20)
    assert torch.equal(torch.rand(3), after)
    first = draw < 0.5
    assert torch.equal(every.views[first], two.views[first])
    assert torch.equal(every.labels == -1, draw < 0.9)
    assert torch.equal(two.labels == -1, first)
    assert torch.equal(every.views[draw >= 0.9], scenes.views[draw >= 0.9])


def test_settings_that_make_no_sense_and_none_at_all(batch: Batch) -> None:
    with pytest.raises(ValidationError, match="add up to at most 1"):
        Mixing(p_mixup=0.6, p_cutmix=0.6)
    with pytest.raises(ValidationError, match="add up to at most 1"):
        Mixing(p_mixup=0.4, p_cutmix=0.4, p_cutpaste=0.4)
    assert Mixing(p_mixup=0.7, p_cutmix=0.17, p_cutpaste=0.13).active
    assert Mixing(p_cutpaste=0.1).active
    assert not Mixing().active
    assert torch.equal(Mixing().mix(batch).views, batch.views)
