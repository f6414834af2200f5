"""A student's first weights out of a larger network."""

from __future__ import annotations

import pytest
import torch

from facekd.errors import Misfit, UsageError
from facekd.models import FaceNet, build_model, start_from


def net(widths: list[int], depths: list[int], seed: int, dim: int = 8) -> FaceNet:
    torch.manual_seed(seed)
    made = build_model("plainres", dim=dim, widths=widths, depths=depths)
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var)
    return made


def test_channels_are_evenly_spaced_and_match_from_layer_to_layer() -> None:
    large, small = net([9, 5, 8, 8], [0, 1, 2, 1], 0), net([5, 3, 8, 8], [0, 1, 1, 0], 1, dim=4)
    before = {name: value.clone() for name, value in small.state_dict().items()}
    done = start_from(small, large.state_dict())
    theirs, mine = large.state_dict(), small.state_dict()
    first, second = [0, 2, 4, 6, 8], [0, 2, 4]
    assert torch.equal(mine["stage1.0.0.weight"], theirs["stage1.0.0.weight"][first])
    assert torch.equal(mine["stage2.0.0.weight"], theirs["stage2.0.0.weight"][second][:, first])
    assert torch.equal(mine["stage2.1.second.weight"], theirs["stage2.1.second.weight"][second][:, second])
    assert torch.equal(mine["stage2.0.1.running_var"], theirs["stage2.0.1.running_var"][second])
    assert all(name.startswith("stage") for name in done.taken)
    assert set(done.taken) | set(done.fresh) == set(mine)
    for name in done.fresh:
        assert name.startswith(("head", "pool"))
        assert torch.equal(mine[name], before[name])


def test_a_subnet_that_the_large_one_computes_is_found_again() -> None:
    """Where all other channels are silent, the selected student computes the large one's maps."""
    large, small = net([5, 3, 3, 3], [0, 1, 0, 0], 0), net([3, 2, 2, 2], [0, 1, 0, 0], 1)
    chosen = {5: [0, 2, 4], 3: [0, 2]}
    with torch.no_grad():
        for name, value in large.state_dict().items():
            if name.startswith("stage") and value.ndim == 4:
                for axis in (0, 1):
                    kept = chosen.get(value.shape[axis])
                    if kept and not (name == "stage1.0.0.weight" and axis == 1):
                        silent = [c for c in range(value.shape[axis]) if c not in kept]
                        value.index_fill_(axis, torch.tensor(silent), 0.0)
    start_from(small, large.state_dict())
    planes = torch.rand(2, 3, 112, 112)
    theirs = large.eval().outputs(planes, features=True).features["stage4"][:, [0, 2]]
    mine = small.eval().outputs(planes, features=True).features["stage4"]
    assert torch.allclose(mine, theirs, atol=1e-5)


def test_equal_shapes_are_taken_whole_or_blended() -> None:
    large, small = net([4, 4, 4, 4], [0, 0, 0, 0], 0), net([4, 4, 4, 4], [0, 0, 0, 0], 1)
    before = small.state_dict()["stage1.0.0.weight"].clone()
    theirs = large.state_dict()["stage1.0.0.weight"].clone()
    done = start_from(small, large.state_dict(), "equal", blend=0.25)
    expected = 0.25 * theirs + 0.75 * before
    assert torch.allclose(small.state_dict()["stage1.0.0.weight"], expected, atol=1e-6)
    large.state_dict()["stage1.0.0.weight"].zero_()
    assert torch.equal(done.taken["stage1.0.0.weight"], theirs)  # kept as they were there
    with pytest.raises(UsageError, match="at most 1"):
        start_from(small, large.state_dict(), blend=1.5)


def test_the_whole_of_a_network_is_taken_head_included() -> None:
    large, small = net([4, 4, 4, 4], [0, 0, 0, 0], 0), net([4, 4, 4, 4], [0, 0, 0, 0], 1)
    done = start_from(small, large.state_dict(), "whole")
    assert done.fresh == ()
    assert all(torch.equal(value, large.state_dict()[name]) for name, value in small.state_dict().items())
    other = net([4, 4, 4, 4], [0, 0, 0, 0], 2, dim=4)
    with pytest.raises(Misfit, match=r"cannot be copied: head.* is \[8.* there and \[4"):
        start_from(other, large.state_dict(), "whole")


def test_norms_prune_to_the_channels_that_count() -> None:
    """Where all channels but some are silent, the pruned network is the large one, head and all."""
    large, small = net([6, 5, 4, 7], [0, 1, 0, 1], 0), net([3, 2, 2, 3], [0, 1, 0, 1], 1)
    loud = {6: [0, 4, 5], 5: [1, 2], 4: [2, 3], 7: [1, 2, 6]}
    with torch.no_grad():
        for name, value in large.state_dict().items():
            kept = loud.get(len(value) if value.ndim else 0)
            if kept and not name.startswith(("head", "num")):
                silent = torch.tensor([c for c in range(len(value)) if c not in kept])
                if value.ndim == 4 or name.endswith((".weight", ".bias", "running_mean")):
                    value.index_fill_(0, silent, 0.0)
    done = start_from(small, large.state_dict(), "norms")
    assert done.fresh == ()
    for name, value in small.state_dict().items():
        if name.startswith("stage4.0.0.weight"):
            assert torch.equal(value, large.state_dict()[name][loud[7]][:, loud[4]])
    planes = torch.rand(2, 3, 112, 112)
    assert torch.allclose(small.eval()(planes), large.eval()(planes), atol=1e-4)


def test_a_share_of_nothing_tells_the_weights_and_leaves_the_student() -> None:
    large, small = net([9, 5, 8, 8], [0, 1, 2, 1], 0), net([5, 3, 8, 8], [0, 1, 1, 0], 1, dim=4)
    before = {name: value.clone() for name, value in small.state_dict().items()}
    done = start_from(small, large.state_dict(), blend=0.0)
    assert all(torch.equal(value, before[name]) for name, value in small.state_dict().items())
    start_from(small, large.state_dict())
    filled = small.state_dict()
    assert done.taken
    assert all(torch.equal(value, filled[name]) for name, value in done.taken.items())


def test_what_does_not_fit_is_named_with_its_sizes() -> None:
    large, small = net([8, 4, 4, 4], [0, 0, 0, 0], 0), net([4, 4, 4, 4], [0, 0, 0, 0], 1)
    with pytest.raises(Misfit, match=r"unequal shape .*stage1.0.0.weight is \[8, 3, 3, 3\] there and \[4"):
        start_from(small, large.state_dict(), "equal")
    with pytest.raises(Misfit, match="at least as wide"):
        start_from(large, small.state_dict())
    with pytest.raises(Misfit, match="of another family"):
        start_from(small, build_model("mobilefacenet").state_dict())
    deeper = net([4, 4, 4, 4], [0, 1, 0, 0], 2)
    with pytest.raises(Misfit, match=r"of another family: they have no 'stage2\.1"):
        start_from(deeper, small.state_dict(), "equal")
    done = start_from(deeper, small.state_dict())
    assert any(name.startswith("stage2.1") for name in done.fresh)


@pytest.mark.parametrize("name", ["iresnet18", "mobilefacenet"])
def test_other_families_start_from_themselves(name: str) -> None:
    done = start_from(build_model(name, dim=8), build_model(name, dim=16).state_dict())
    assert done.taken
    assert all(n.startswith(("head", "bn2", "fc", "features")) for n in done.fresh)
