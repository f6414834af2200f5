"""Feature, relation and class-centre losses against their formulas, written out again in numpy."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from batches import (
    CLASSES,
    STUDENT,
    STUDENT_MAPS,
    TEACHER,
    Data,
    N,
    agrees,
    classes_in,
    divergence,
    make_data,
    map_gradient_agrees,
    softmax,
    unit,
)

from facekd.distillation.losses import Setting, loss_class
from facekd.errors import RecipeError
from facekd.models import Outputs, build_model, start_from


@pytest.fixture
def data() -> Data:
    return make_data()


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy()


def both(data: Data) -> list[np.ndarray]:
    """Unit embeddings of student and teacher."""
    return [unit(array(x.embedding)).astype(float) for x in (data.student, data.teacher)]


def value(data: Data, loss: torch.nn.Module, name: str) -> float:
    return loss(data.student, data.teacher, data.example, 0.0)[name].item()


def test_mse_of_unit_vectors_and_of_raw_ones(data: Data) -> None:
    loss = loss_class("mse")(data.setting)
    projected = array(data.student.embedding) @ array(loss.match.projector.weight).T
    theirs = array(data.teacher.embedding)
    agrees(data, loss, "mse", np.sum((unit(projected) - theirs) ** 2) / (N * TEACHER))
    raw = loss_class("mse")(data.setting, normalise=False)
    raw.load_state_dict(loss.state_dict())
    agrees(data, raw, "mse", np.sum((projected - theirs) ** 2) / (N * TEACHER))


def test_an_mlp_projects_through_a_hidden_layer(data: Data) -> None:
    loss = loss_class("cosine")(data.setting, match="mlp").eval()
    first, norm, _, last = loss.match.projector
    hidden = array(data.student.embedding) @ array(first.weight).T
    hidden = np.maximum(hidden / np.sqrt(1 + norm.eps), 0)
    cosines = np.sum(unit(hidden @ array(last.weight).T) * array(data.teacher.embedding), axis=1)
    agrees(data, loss, "cosine", np.mean(1 - cosines))
    # while it learns, each hidden number is set against the others of the batch
    hidden = array(data.student.embedding) @ array(first.weight).T
    hidden = np.maximum((hidden - hidden.mean(0)) / np.sqrt(hidden.var(0) + norm.eps), 0)
    cosines = np.sum(unit(hidden @ array(last.weight).T) * array(data.teacher.embedding), axis=1)
    agrees(data, loss.train(), "cosine", np.mean(1 - cosines))


@pytest.mark.parametrize("name", ["cosine", "mse"])
def test_a_projector_where_the_sizes_are_equal(data: Data, name: str) -> None:
    """Only on request; the loss is that of the projected embeddings."""
    setting = dataclasses.replace(data.setting, student_dim=TEACHER)
    student = Outputs(data.teacher.embedding.flip(0), {})
    mine, theirs = array(student.embedding), array(data.teacher.embedding)
    plain = loss_class(name)(setting)
    assert not list(plain.parameters())
    loss = loss_class(name)(setting, always=True)
    weight = array(loss.match.projector.weight)
    assert weight.shape == (TEACHER, TEACHER)
    found = loss(student, data.teacher, data.example, 0.0)[name].item()
    cosine = np.mean(1 - np.sum(unit(mine @ weight.T) * unit(theirs), axis=1))
    assert found == pytest.approx(cosine if name == "cosine" else 2 / TEACHER * cosine, rel=1e-5)
    with pytest.raises(RecipeError, match="'pca' has no projector"):
        loss_class(name)(setting, match="pca", always=True)


def test_rkd_compares_distances_and_angles(data: Data) -> None:
    def huber(d: np.ndarray) -> np.ndarray:
        return np.where(np.abs(d) < 1, 0.5 * d**2, np.abs(d) - 0.5)

    distances, angles = [], []
    for x in both(data):
        d = np.array([np.linalg.norm(x[i] - x[j]) for i in range(N) for j in range(N) if i != j])
        distances.append(d / d.mean())
        cosines = np.zeros((N, N, N))
        for j, i, k in np.ndindex(N, N, N):
            a, b = x[i] - x[j], x[k] - x[j]
            size = np.linalg.norm(a) * np.linalg.norm(b)
            cosines[j, i, k] = a @ b / size if size else 0.0
        angles.append(cosines)
    loss = loss_class("rkd")(data.setting, distance=1.5, angle=2.0)
    agrees(data, loss, "rkd_distance", 1.5 * huber(distances[0] - distances[1]).mean())
    agrees(data, loss, "rkd_angle", 2.0 * huber(angles[0] - angles[1]).mean())
    only = loss_class("rkd")(data.setting, angle=0.0)(*data[:3], 0.0)
    assert set(only) == {"rkd_distance"}


def test_sp_compares_rows_of_similarities(data: Data) -> None:
    grams = [unit(x @ x.T) for x in both(data)]
    expected = np.sum((grams[0] - grams[1]) ** 2) / N**2
    agrees(data, loss_class("sp")(data.setting), "sp", expected)


def test_pkt_compares_who_is_near_whom(data: Data) -> None:
    near = []
    for x in both(data):
        kernel = (x @ x.T + 1) / 2
        others = np.array([np.delete(row, i) for i, row in enumerate(kernel)])
        near.append(others / others.sum(1, keepdims=True))
    expected = np.mean([divergence(p, q) for q, p in zip(*near, strict=True)])
    agrees(data, loss_class("pkt")(data.setting), "pkt", float(expected))


def test_cckd_approaches_the_gaussian_kernel(data: Data) -> None:
    kernels = [np.exp(-0.4 * ((x[:, None] - x[None]) ** 2).sum(-1)) for x in both(data)]
    expected = float(np.mean((kernels[0] - kernels[1]) ** 2))
    agrees(data, loss_class("cckd")(data.setting, gamma=0.4, terms=12), "cckd", expected)
    series = [
        math.exp(-0.8) * sum(0.8**p / math.factorial(p) * (x @ x.T) ** p for p in range(3))
        for x in both(data)
    ]
    paper = float(np.mean((series[0] - series[1]) ** 2))
    agrees(data, loss_class("cckd")(data.setting), "cckd", paper)


@pytest.mark.parametrize("name", ["rkd", "sp", "pkt", "cckd"])
def test_relations_stay_finite_for_two_crops_of_one_embedding(data: Data, name: str) -> None:
    rows = torch.randn(N, STUDENT, generator=torch.Generator().manual_seed(2))
    rows[1] = rows[0]
    rows.requires_grad_()
    terms = loss_class(name)(data.setting)(Outputs(rows), data.teacher, data.example, 0.0)
    sum(terms.values()).backward()
    assert rows.grad is not None
    assert torch.isfinite(rows.grad).all()


@pytest.mark.parametrize("kind", ["arcface", "cosface"])
def test_prototypes_are_class_means_without_the_crop(data: Data, kind: str) -> None:
    loss = loss_class("prototypes")(data.setting, kind=kind, margin=0.3, scale=8.0)
    values = []
    for i, wanted in classes_in(data):
        means = array(data.setting.classes.sums).copy()
        means[wanted] -= array(data.teacher.embedding)[i]
        z = unit(means) @ unit(array(loss.teacher.projector.weight) @ array(data.student.embedding)[i])
        angle = math.acos(z[wanted])
        assert angle + 0.3 < math.pi
        z[wanted] = math.cos(angle + 0.3) if kind == "arcface" else z[wanted] - 0.3
        values.append(-np.log(softmax(8.0 * z)[wanted]))
    agrees(data, loss, "prototypes", float(np.mean(values)))


def test_adadistill_moves_its_centres_as_the_paper_says(data: Data) -> None:
    loss = loss_class("adadistill")(data.setting, kind="cosface", margin=0.2, scale=8.0)
    centres = np.zeros((CLASSES, TEACHER))
    theirs = array(data.teacher.embedding)
    mine = unit(array(data.student.embedding) @ array(loss.projector.weight).T)
    for _ in range(3):
        found = value(data, loss, "adadistill")
        moved: dict[int, list[np.ndarray]] = {}
        for i, y in classes_in(data):
            size = np.linalg.norm(centres[y])
            settled = np.clip(centres[y] @ theirs[i] / size if size else 0.0, 1e-6, 1)
            keep = np.clip(mine[i] @ theirs[i] * settled, 1e-6, 1)
            moved.setdefault(y, []).append(keep * centres[y] + (1 - keep) * theirs[i])
        for y, places in moved.items():
            centres[y] = np.mean(places, axis=0)
        assert np.allclose(array(loss.centres), centres, atol=1e-5)
        directions = centres / np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
        values = []
        for i, y in classes_in(data):
            z = directions @ mine[i]
            z[y] -= 0.2
            values.append(-np.log(softmax(8.0 * z)[y]))
        assert found == pytest.approx(np.mean(values), rel=1e-4)
    before = loss.centres.clone()
    agrees(data, loss.eval(), "adadistill", value(data, loss, "adadistill"))
    assert torch.equal(loss.centres, before)  # judged, not moved


def test_ekd_compares_how_many_thresholds_a_score_passes(data: Data) -> None:
    settings = {"fmrs": (0.3, 0.1), "temperature": 0.2, "momentum": 0.25, "hardest": 20}
    loss = loss_class("ekd")(data.setting, **settings)
    labels = data.example.labels.tolist()
    pairs = [(i, j) for i in range(N) for j in range(i + 1, N)]
    mated = [labels[i] == labels[j] >= 0 for i, j in pairs]
    assert sum(mated) == 9
    scores = [np.array([x[i] @ x[j] for i, j in pairs]) for x in both(data)]

    def thresholds(s: np.ndarray) -> np.ndarray:
        ordered = np.sort(s[~np.array(mated)])[::-1]
        return ordered[[int(0.3 * len(ordered)), int(0.1 * len(ordered))]]

    def ranks(s: np.ndarray, marks: np.ndarray) -> np.ndarray:
        return (1 / (1 + np.exp(-(s[:, None] - marks) / 0.2))).sum(1)

    first = value(data, loss, "ekd")
    mine, theirs = (ranks(s, thresholds(s)) for s in scores)
    same, other = np.array(mated), ~np.array(mated)
    hard = np.argsort(-scores[0][other])[:20]
    apart = (mine - theirs) ** 2
    assert first == pytest.approx(apart[same].mean() + 0.5 * apart[other][hard].mean(), rel=1e-4)
    turned = data._replace(student=Outputs(data.student.embedding.detach().flip(1)))
    value(turned, loss, "ekd")
    assert np.allclose(array(loss.mine), thresholds(scores[0]), atol=1e-6)  # cosines are the same
    other_rows = torch.randn(N, STUDENT, generator=torch.Generator().manual_seed(8))
    value(data._replace(student=Outputs(other_rows)), loss, "ekd")
    moved = unit(array(other_rows))
    new = thresholds(np.array([moved[i] @ moved[j] for i, j in pairs]))
    assert np.allclose(array(loss.mine), 0.75 * thresholds(scores[0]) + 0.25 * new, atol=1e-5)
    agrees(data, loss.eval(), "ekd", value(data, loss, "ekd"))


def test_l2_sp_holds_old_weights_at_their_start_and_new_ones_at_zero(data: Data) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    taken = {f"0.{name}": p.detach().clone() for name, p in network[0].named_parameters()}
    setting = dataclasses.replace(data.setting, network=network, started=taken)
    loss = loss_class("l2_sp")(setting, alpha=0.5, beta=0.25, decay=0.125)
    assert not list(loss.parameters())
    assert not loss.state_dict()
    start = [p.detach().clone() for p in network.parameters()]
    with torch.no_grad():
        for p in network.parameters():
            p += torch.randn(p.shape, generator=torch.Generator().manual_seed(1))
    now = [array(p) for p in network.parameters()]
    expected = sum(
        0.25 * ((w - array(s)) ** 2).sum() + 0.0625 * (w**2).sum()
        for w, s in zip(now[:2], start[:2], strict=True)
    ) + sum(0.125 * (w**2).sum() for w in now[2:])
    found = loss(*data[:3], 0.0)["l2_sp"]
    assert found.item() == pytest.approx(expected, rel=1e-5)
    found.backward()
    slope = 0.5 * (now[0] - array(start[0])) + 0.125 * now[0]
    assert np.allclose(array(network[0].weight.grad), slope, atol=1e-6)
    assert np.allclose(array(network[1].bias.grad), 0.25 * now[3], atol=1e-6)


@pytest.mark.parametrize("blend", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("decay", [0.0, 0.25])
def test_weights_are_pulled_to_the_teachers_whatever_the_student_began_with(
    data: Data, blend: float, decay: float
) -> None:
    """``|w_s - w_t|^2 / 2 + decay / 2 |w_s|^2``, where the head's ``w_t`` counts as zero."""
    torch.manual_seed(0)
    shape = {"widths": [4, 4, 4, 4], "depths": [0, 0, 0, 0]}
    teacher, student = build_model("plainres", dim=8, **shape), build_model("plainres", dim=6, **shape)
    theirs = {name: array(p).astype(float) for name, p in teacher.named_parameters()}
    begun = {name: array(p).astype(float) for name, p in student.named_parameters()}
    taken = start_from(student, teacher.state_dict(), "equal", blend).taken
    with torch.no_grad():
        for p in teacher.parameters():
            p.zero_()  # what becomes of the other network is of no account
    setting = dataclasses.replace(data.setting, network=student, started=taken)
    loss = loss_class("l2_sp")(setting, alpha=1.0, beta=decay, decay=decay)
    found = loss(*data[:3], 0.0)["l2_sp"]
    found.backward()
    expected = 0.0
    for name, p in student.named_parameters():
        head = name.startswith(("head", "pool"))
        w = begun[name] if head else blend * theirs[name] + (1 - blend) * begun[name]
        apart = np.zeros_like(w) if head else w - theirs[name]
        expected += 0.5 * (apart**2).sum() + decay / 2 * (w**2).sum()
        slope = 0.0 if p.grad is None else array(p.grad)
        assert np.allclose(slope, apart + decay * w, atol=1e-6), name
    assert found.item() == pytest.approx(expected, rel=1e-5)
    assert (expected > 0) == (blend < 1 or decay > 0)


def areas(maps: np.ndarray, size: int) -> np.ndarray:
    """Means of whole blocks, down to ``size`` [N, C, size, size]."""
    n, c, side, _ = maps.shape
    step = side // size
    return maps.reshape(n, c, size, step, size, step).mean((3, 5))


def doubled(maps: np.ndarray) -> np.ndarray:
    """Bilinear enlargement to [N, C, 2 H, 2 W]: the centre of a new pixel is a quarter of an old pixel away
    from that pixel's centre, towards the next one."""
    for axis in (2, 3):
        size = maps.shape[axis]
        places = np.clip((np.arange(2 * size) + 0.5) / 2 - 0.5, 0, size - 1)
        before = np.floor(places).astype(int)
        after = np.minimum(before + 1, size - 1)
        share = (places - before).reshape([-1 if a == axis else 1 for a in range(4)])
        maps = (1 - share) * maps.take(before, axis) + share * maps.take(after, axis)
    return maps


@pytest.mark.parametrize("which", ["first", "second", "third"])
def test_hints_are_regressed_onto_the_teachers_map(data: Data, which: str) -> None:
    """A teacher's map that is larger than the student's, as large, and smaller."""
    loss = loss_class("fitnet")(data.setting, teacher=which)
    mine, theirs = array(data.student.features["large"]), array(data.teacher.features[which])
    theirs = areas(theirs, 4) if which == "first" else doubled(theirs) if which == "third" else theirs
    weight, bias = array(loss.regressor.weight)[:, :, 0, 0], array(loss.regressor.bias)
    predicted = np.einsum("oc,nchw->nohw", weight, mine) + bias[:, None, None]
    assert value(data, loss, "fitnet") == pytest.approx(np.mean((predicted - theirs) ** 2), rel=1e-5)
    loss(*data[:3], 0.0)["fitnet"].backward()
    slope = 2 * np.mean(predicted - theirs, axis=(0, 2, 3)) / predicted.shape[1]
    assert np.allclose(array(loss.regressor.bias.grad), slope, atol=1e-6)
    map_gradient_agrees(data, loss, "fitnet", "large")


def test_maps_are_paired_by_size_unless_named(data: Data) -> None:
    assert loss_class("fitnet")(data.setting).pair.teacher == "second"
    assert loss_class("fitnet")(data.setting, student="small").pair.teacher == "third"
    assert set(STUDENT_MAPS) == {"small", "large"}


def test_attention_compares_where_the_channels_are_strong(data: Data) -> None:
    loss = loss_class("attention")(data.setting, student="small", teacher="second")
    maps = array(data.student.features["small"]), areas(array(data.teacher.features["second"]), 2)
    looks = [unit((x**2).sum(1).reshape(N, -1)) for x in maps]
    expected = np.mean(np.sum((looks[0] - looks[1]) ** 2, axis=1))
    assert value(data, loss, "attention") == pytest.approx(expected, rel=1e-5)
    map_gradient_agrees(data, loss, "attention", "small")
    enlarged = loss_class("attention")(data.setting, student="large", teacher="third")
    maps = array(data.student.features["large"]), doubled(array(data.teacher.features["third"]))
    looks = [unit((x**2).sum(1).reshape(N, -1)) for x in maps]
    expected = np.mean(np.sum((looks[0] - looks[1]) ** 2, axis=1))
    assert value(data, enlarged, "attention") == pytest.approx(expected, rel=1e-5)
    map_gradient_agrees(data, enlarged, "attention", "large")


@pytest.mark.parametrize("name", ["fitnet", "attention"])
def test_a_teacher_without_maps_is_named(data: Data, name: str) -> None:
    plain = Setting(STUDENT, TEACHER, data.setting.classes, data.setting.sample, STUDENT_MAPS)
    with pytest.raises(RecipeError, match="this teacher has no feature maps"):
        loss_class(name)(plain)
