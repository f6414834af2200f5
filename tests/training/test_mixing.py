"""Mixed views: what is mixed with what, how often, and whose they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from facekd.training import Mixing
from facekd.training.data import Batch
from facekd.training.mixing import rectangles

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


def test_settings_that_make_no_sense_and_none_at_all(batch: Batch) -> None:
    with pytest.raises(ValidationError, match="add up to 1"):
        Mixing(p_mixup=0.6, p_cutmix=0.6)
    assert not Mixing().active
    assert torch.equal(Mixing().mix(batch).views, batch.views)
