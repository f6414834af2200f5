"""Every loss against its formula, written out again in numpy, and its gradient."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from batches import STUDENT, TEACHER, Data, N, gradient_agrees, make_data, softmax, unit

from facekd.distillation.losses import (
    Classes,
    Example,
    Setting,
    check_settings,
    loss_class,
    loss_names,
    register_loss,
)
from facekd.errors import RecipeError
from facekd.models import Outputs


@pytest.fixture
def data() -> Data:
    return make_data()


def test_the_registry_lists_the_folder() -> None:
    assert {"arcface", "cosface", "cosine", "logit"} <= set(loss_names())
    with pytest.raises(RecipeError, match=r"cosinus(.|\n)*Known: .*cosine"):
        loss_class("cosinus")
    assert check_settings("logit", {"tempreature": 2}) == [
        "loss 'logit' has no setting 'tempreature' (it has: temperature, scale, classifier, "
        "standardise, target_probability, final_temperature, target_entropy, by, sample)"
    ]
    (fault,) = check_settings("dkd", {"gamma": 2})  # its own, then those of its base
    assert "(it has: alpha, beta, temperature, scale," in fault


def test_a_loss_says_itself_what_several_processes_show_it() -> None:
    for name in loss_names():
        assert isinstance(vars(loss_class(name))["whole_batch"], bool), name
    single = {name for name in loss_names() if not loss_class(name).whole_batch}
    assert single == {"attention", "cosine", "fitnet", "l2_sp", "mse"}

    class Silent(loss_class("cosine")):  # type: ignore[misc]
        pass

    with pytest.raises(TypeError, match="Silent does not state whole_batch"):
        register_loss("silent")(Silent)
    assert "silent" not in loss_names()


def test_cosine_with_equal_sizes_is_one_minus_cos(data) -> None:
    _, teacher, example, setting = data
    same = Setting(TEACHER, TEACHER, setting.classes, setting.sample)
    rows = torch.tensor(np.random.default_rng(1).normal(size=(N, TEACHER)), dtype=torch.float32)
    loss = loss_class("cosine")(same)
    assert not list(loss.parameters())
    expected = np.mean(1 - np.sum(unit(rows.numpy()) * teacher.embedding.numpy(), axis=1))
    assert loss(Outputs(rows), teacher, example, 0.0)["cosine"].item() == pytest.approx(expected, rel=1e-5)
    # the unit stated in the docs: MSE of unit vectors, mean over D, is (2 / D)(1 - cos)
    mse = np.mean((unit(rows.numpy()) - teacher.embedding.numpy()) ** 2)
    assert mse == pytest.approx(2 / TEACHER * expected, rel=1e-5)
    gradient_agrees(loss, "cosine", rows, teacher, example, 0.0)


def test_cosine_projects_where_sizes_differ(data) -> None:
    student, teacher, example, setting = data
    loss = loss_class("cosine")(setting)
    projected = student.embedding.detach().numpy() @ loss.match.projector.weight.detach().numpy().T
    expected = np.mean(1 - np.sum(unit(projected) * teacher.embedding.numpy(), axis=1))
    assert loss(student, teacher, example, 0.0)["cosine"].item() == pytest.approx(expected, rel=1e-5)
    gradient_agrees(loss, "cosine", student.embedding, teacher, example, 0.0)


def test_cosine_by_pca_keeps_the_most_length(data) -> None:
    student, teacher, example, setting = data
    loss = loss_class("cosine")(setting, match="pca")
    rows = teacher.embedding.numpy().astype(np.float64)
    _, _, directions = np.linalg.svd(rows, full_matrices=False)
    reduced = rows @ directions[:STUDENT].T
    kept = (rows @ loss.match.basis.double().numpy()) ** 2
    assert kept.sum() == pytest.approx((reduced**2).sum(), rel=1e-5)
    cosines = np.sum(
        unit(student.embedding.detach().numpy()) * unit(rows @ loss.match.basis.double().numpy()), axis=1
    )
    assert loss(student, teacher, example, 0.0)["cosine"].item() == pytest.approx(
        np.mean(1 - cosines), rel=1e-5
    )
    gradient_agrees(loss, "cosine", student.embedding, teacher, example, 0.0)
    with pytest.raises(RecipeError, match="enlarge"):
        loss_class("cosine")(Setting(12, TEACHER, setting.classes, setting.sample), match="pca")


@pytest.mark.parametrize("classifier", ["own", "shared"])
def test_logit_is_the_softened_divergence_with_each_crop_left_out(data, classifier: str) -> None:
    student, teacher, example, setting = data
    temperature, scale = 3.0, 16.0
    loss = loss_class("logit")(setting, temperature=temperature, scale=scale, classifier=classifier)
    rows, sums = teacher.embedding.numpy(), setting.classes.sums.numpy()
    total, count = 0.0, 0
    for i, label in enumerate(example.labels.tolist()):
        wanted = int(setting.classes.of_label[label])
        if wanted < 0:
            continue
        prototypes = sums.copy()
        prototypes[wanted] -= rows[i]
        z_t = scale * unit(prototypes) @ rows[i]
        embedding = student.embedding[i].detach().numpy()
        if classifier == "own":
            z_s = scale * unit(loss.weight.detach().numpy()) @ unit(embedding)
        else:
            z_s = scale * unit(prototypes) @ unit(loss.teacher.projector.weight.detach().numpy() @ embedding)
        p, q = softmax(z_t / temperature), softmax(z_s / temperature)
        total += float(np.sum(p * (np.log(p) - np.log(q))))
        count += 1
    assert count == 9
    found = loss(student, teacher, example, 0.0)["logit"].item()
    assert found == pytest.approx(temperature**2 * total / count, rel=1e-4)
    gradient_agrees(loss, "logit", student.embedding, teacher, example, 0.0)


def test_a_batch_without_labels_gives_zero_with_a_gradient(data) -> None:
    student, teacher, example, setting = data
    unlabelled = Example(torch.full((N,), -1), example.own)
    for name in ("logit", "arcface", "dkd", "dist", "prototypes", "adadistill"):
        value = loss_class(name)(setting)(student, teacher, unlabelled, 0.0)[name]
        value.backward()
        assert value.item() == 0


@pytest.mark.parametrize(("name", "margin"), [("arcface", 0.5), ("cosface", 0.35)])
def test_margin_softmax(data, name: str, margin: float) -> None:
    student, _, example, setting = data
    loss = loss_class(name)(setting, margin=margin, scale=8.0)
    cosines = unit(student.embedding.detach().numpy()) @ unit(loss.weight.detach().numpy()).T
    expected = []
    for i, label in enumerate(example.labels.tolist()):
        wanted = int(setting.classes.of_label[label])
        if wanted < 0:
            continue
        z = cosines[i].copy()
        if name == "cosface":
            z[wanted] -= margin
        elif math.acos(z[wanted]) + margin < math.pi:
            z[wanted] = math.cos(math.acos(z[wanted]) + margin)
        else:
            z[wanted] -= margin * math.sin(margin)
        expected.append(-np.log(softmax(8.0 * z)[wanted]))
    found = loss(student, None, example, 0.0)[name].item()
    assert found == pytest.approx(np.mean(expected), rel=1e-5)
    gradient_agrees(loss, name, student.embedding, None, example, 0.0)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("logit", {"temperature": 0}, "above zero"),
        ("logit", {"temperature": "warm"}, "a number or auto"),
        ("gkd", {"target_probability": 1.0}, "between 0 and 1"),
        ("logit", {"final_temperature": -1.0}, "above zero"),
        ("logit", {"classifier": "mine"}, "must be shared or own"),
        ("cosine", {"match": "svd"}, "must be linear, mlp or pca"),
        ("arcface", {"scale": -1}, "above zero"),
        ("dkd", {"alpha": 0, "beta": 0}, "one must be above zero"),
        ("gkd", {"mass": 1.0}, "between 0 and 1"),
        ("dist", {"within": -1}, "must not be negative"),
        ("rkd", {"distance": 0, "angle": 0}, "one must be above zero"),
        ("cckd", {"terms": 1}, "two or more"),
        ("ekd", {"fmrs": [0.1, 1.0]}, "between 0 and 1"),
        ("ekd", {"momentum": 0.0}, "momentum in"),
        ("l2_sp", {"alpha": -1.0}, "must not be negative"),
        ("l2_sp", {}, "needs the weights of another network"),
        ("prototypes", {"kind": "softmax"}, "must be arcface or cosface"),
        ("adadistill", {"margin": -0.1}, "not negative"),
        ("fitnet", {"student": "stage9"}, r"no feature map 'stage9' \(it has: small, large\)"),
        ("attention", {"teacher": "x"}, "the teacher has no feature map 'x'"),
    ],
)
def test_settings_that_make_no_sense_are_named(data, name: str, settings: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        loss_class(name)(data[3], **settings)


def test_too_few_classes_are_named(data) -> None:
    nobody = Classes(torch.full((6,), -1), torch.empty(0, TEACHER))
    for name in ("logit", "arcface", "gkd", "prototypes", "adadistill"):
        with pytest.raises(RecipeError, match="identities"):
            loss_class(name)(Setting(STUDENT, TEACHER, nobody, data[3].sample))
