"""Drills of section B: messages, exit codes and JSON."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from drill_list import CannotHold, Outcome, drill, fact, together
from drill_material import (
    change_rows,
    claim_ann,
    enroll,
    line_with,
    made_network,
    named_by_call,
    pixels_of,
    verify,
    zip_of,
)
from drill_site import EVALUATE, EVALUATE_SCORES, ROOT, SAMPLES, Ran, Site


@drill("B1", "every command with what it cannot use, with --json",
       "one document each, valid UTF-8, a reason, the right exit code")  # fmt: skip
def failures_are_documents(site: Site) -> Outcome:
    work = site.new()
    (work / "text.txt").write_text("not what it should be\n[[[")
    (work / "empty").mkdir()
    text, folder, none = work / "text.txt", work / "empty", work / "not there"
    model = site.model
    gone = ("--gallery", none)
    cases: tuple[tuple[tuple[object, ...], int, str], ...] = (
        (("verify", none, none, "--model", model), 5, "io"),
        (("verify", text, text, "--model", model), 5, "unreadable"),
        (("verify", text, "--model", model), 2, "usage"),
        (("verify", text, text, "--model", none), 2, "usage"),
        (("verify", text, text, "--model", text), 5, "unreadable"),
        (("verify", text, "--claim", "ann", "--model", model, *gone), 5, "io"),
        (("enroll", "ann", none, "--model", model, "--gallery", work / "g.db"), 5, "io"),
        (("enroll", "ann", "--model", model), 2, "usage"),
        (("gallery", "list", *gone), 5, "io"),
        (("gallery", "list", "--gallery", text), 5, "unreadable"),
        (("gallery", "remove", "ann", "--yes", *gone), 5, "io"),
        (("align", folder, work / "crops"), 5, "io"),
        (("card", text), 5, "unreadable"),
        (("calibrate", model, "--data", folder), 5, "io"),
        (("calibrate", model, "--data", none), 2, "usage"),
        ((*EVALUATE, model), 2, "usage"),
        ((*EVALUATE_SCORES, text), 5, "unreadable"),
        (("benchmark", model, text), 5, "unreadable"),
        (("degrade", text, "--data", folder), 2, "usage"),
        (("data", "check", folder, "--against", folder, "--model", model), 5, "io"),
        (("export", none), 5, "io"),
        (("distill", text), 2, "recipe"),
        (("train", text), 2, "recipe"),
        (("recipe", "check", text), 2, "recipe"),
        (("nonsense",), 2, "usage"),
    )
    return together(*(
        named_by_call(site.facekd(*call, "--json", space=24 << 30).check(code, reason=reason), call)
        for call, code, reason in cases
    ))  # fmt: skip


@drill("B1", "a file name that is no UTF-8, with --json", "valid UTF-8, the byte escaped", short=True)
def a_name_that_is_no_utf8(site: Site) -> Outcome:
    name = os.fsencode(site.new()) + b"/\xff\xfe.jpg"
    Path(os.fsdecode(name)).write_bytes(b"no image")
    ran = site.facekd("verify", name, name, "--model", site.model, "--json")
    return together(ran.check(5, reason="unreadable"), fact("\\x" not in ran.out, "stdout is valid UTF-8"))


@drill("B1", "claim and remove somebody who is not enrolled", "exit 2, unknown_person", short=True)
def nobody_of_that_name(site: Site) -> Outcome:
    gallery = site.own_gallery()
    claim = site.facekd(
        "verify", site.ann[0], "--claim", "Zed", "--model", site.model, "--gallery", gallery, "--json"
    )
    remove = site.facekd("gallery", "remove", "Zed", "--yes", "--gallery", gallery, "--json")
    return together(claim.check(2, reason="unknown_person"), remove.check(2, reason="unknown_person"))


@drill("B2", "a file name with control characters", "escaped on stderr", short=True)
def control_characters(site: Site) -> Outcome:
    photo = site.new() / "a\x1b[31m\x07\u202e.jpg"
    photo.write_bytes(b"no image")
    return verify(site, photo, photo).check(5, "\\x1b[31m\\x07", never=("\x1b", "\x07", "\u202e"))


@drill("B2", "a float16 model, one of 112 x 96, one with a 0-dimensional output, one of several outputs",
       "a clear answer each, never 70")  # fmt: skip
def odd_models(site: Site) -> Outcome:
    work = site.new()
    told = []
    for name, settings in (
        ("half", {"half": True}), ("narrow", {"width": 96}), ("scalar", {"scalar": True}),
    ):  # fmt: skip
        model = made_network(work / f"{name}.onnx", **settings)
        for call in (
            ("card", model, "--convention", "insightface"),
            (*EVALUATE, model, "--protocol", "people", "--data", site.tree),
            ("verify", *site.ann[:2], "--model", model, "--threshold", "0.5"),
        ):
            ran = site.facekd(*call)
            told.append(fact(ran.code in (0, 1, 2, 3, 4, 5) and "Traceback" not in ran.err,
                             f"{name}, {call[0]}: exit {ran.code}, {line_with(ran, 'facekd:')}"))  # fmt: skip
    return together(*told)


@drill("B2", "claim and list a person whose templates are gone from the file", "exit 5, no 70")
def person_without_templates(site: Site) -> Outcome:
    gallery = site.own_gallery()
    change_rows(gallery, "DELETE FROM templates WHERE person = 1")
    listed = site.facekd("gallery", "list", "--gallery", gallery)
    enrolled = enroll(site, site.own_gallery(), "bob", site.bob[2])
    return together(
        claim_ann(site, gallery).check((2, 5), never=("internal",)),
        listed.check((0, 5), never=("internal",)),
        enrolled.check(0),
    )


@drill("B2", "claim, list and enroll with flipped bytes anywhere in the gallery",
       "right, or exit 5; never 70, never another answer")  # fmt: skip
def flipped_bytes(site: Site) -> Outcome:
    ran = site.python(_FLIPPED, site.gallery, site.new(), site.model, site.ann[2], seconds=300)
    return ran.check(0, "galleries with flipped bytes")


_FLIPPED = """
import contextlib, io, random, sys
from collections import Counter
from pathlib import Path
from facekd.cli.main import main
gallery, work, model, photo = map(Path, sys.argv[1:])
good, codes = gallery.read_bytes(), Counter()
def run(*arguments):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()) as err:
        code = main([str(a) for a in arguments])
    assert code in (0, 2, 4, 5), (code, arguments, err.getvalue())
    return int(code), out.getvalue()
for seed in range(60):
    damaged = bytearray(good)
    for place in random.Random(seed).sample(range(len(good)), 1 + seed % 40):
        damaged[place] ^= 1 << (seed % 8)
    file = work / f"{seed}.db"
    file.write_bytes(damaged)
    codes[run("gallery", "list", "--gallery", file)[0]] += 1
    if seed % 4 == 0:
        code, said = run("verify", photo, "--claim", "ann", "--model", model, "--gallery", file)
        assert code != 0 or "same person" in said
        codes[code] += 1
print(f"60 galleries with flipped bytes: exits {dict(sorted(codes.items()))}")
"""


@drill("B2", "stdout closed, and a reader that goes away", "no traceback, 0 or 5, never 1")
def closed_output(site: Site) -> Outcome:
    command = f"'{sys.executable}' -m facekd card '{site.model}'"
    closed = site.run(["bash", "-c", f"{command} >&-"])
    gone = site.run(["bash", "-c", f"{command} --json | true; exit ${{PIPESTATUS[0]}}"])
    both = site.run(["bash", "-c", f"{command} >&- 2>&-"])
    return together(closed.check((0, 5)), gone.check((0, 5)), both.check((0, 5)))


@drill("B2", "verify one person's photos with stdout, stderr and both on a full disk", "exit 5, never 1")
def output_on_a_full_disk(site: Site) -> Outcome:
    if not Path("/dev/full").exists():
        raise CannotHold("there is no /dev/full here")
    a, b = site.ann[:2]
    command = f"'{sys.executable}' -m facekd verify '{a}' '{b}' --model '{site.model}'"
    ends = (">/dev/full", "2>/dev/full", ">/dev/full 2>/dev/full")
    return together(*(site.run(["bash", "-c", f"{command} {end}"]).check(5) for end in ends))


@drill("B2", "a photo, model and gallery of mode 000", "exit 5, each")
def mode_000(site: Site) -> Outcome:
    site.need_modes()
    work = site.new()
    photo, model = Path(shutil.copy(site.ann[0], work)), Path(shutil.copy(site.model, work))
    gallery = site.own_gallery()
    for file in (photo, model, gallery):
        file.chmod(0)
    a, b = site.ann[:2]
    return together(
        verify(site, photo, a, "--json").check(5, "Permission denied", reason="io"),
        site.facekd("verify", a, b, "--model", model, "--json").check(5, reason="io"),
        claim_ann(site, gallery, "--json").check(5, reason="io"),
        site.facekd("gallery", "list", "--gallery", gallery, "--json").check(5, reason="io"),
    )


@drill(
    "B2",
    "enroll --from a tree with a subfolder that may not be read",
    "the others are enrolled; exit 5",
    short=True,
)
def unreadable_subfolder(site: Site) -> Outcome:
    site.need_modes()
    work = site.new()
    shutil.copytree(site.tree, work / "people")
    (work / "people" / "ann").chmod(0)
    ran = site.facekd("enroll", "--from", work / "people", "--model", site.model, "--gallery", work / "g.db")
    (work / "people" / "ann").chmod(0o700)
    return ran.check(5, "enrolled bob: 2 new", "ann", "1 of 2 people enrolled")


@drill("B2", "calibrate on missing data, an empty folder and an empty zip", "2, 5 and 5")
def calibrate_on_nothing(site: Site) -> Outcome:
    work = site.new()
    (work / "empty").mkdir()
    zip_of(work / "empty.zip", {})
    return together(
        site.facekd("calibrate", site.model, "--data", work / "none").check(2),
        site.facekd("calibrate", site.model, "--data", work / "empty").check(5),
        site.facekd("calibrate", site.model, "--data", work / "empty.zip").check(5),
        site.facekd(*EVALUATE, site.model, "--protocol", "people", "--data", work / "empty").check(5),
    )


@drill("B2", "Ctrl-C after 0.02 to 2 s of an import, and of a verification", "130 (or done), no traceback")
def ctrl_c_at_any_moment(site: Site) -> Outcome:
    told = []
    for number, delay in enumerate((0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 2.5)):
        work = site.new()
        ran = site.facekd(
            "enroll", "--from", SAMPLES, "--model", site.model, "--gallery", work / "g.db", "--force",
            after=lambda process, delay=delay: _interrupt(process, delay),
        )  # fmt: skip
        told.append(_interrupted(ran))
        if number % 3 == 0:
            verified = site.facekd(
                "verify", *site.ann[:2], "--model", site.model,
                after=lambda process, delay=delay: _interrupt(process, delay),
            )  # fmt: skip
            told.append(_interrupted(verified))
    return together(*told)


@drill(
    "B3",
    "enroll --from with people who cannot be enrolled",
    "a summary names each with the reason; one hint",
    short=True,
)
def an_import_ends_with_a_summary(site: Site) -> Outcome:
    work = site.new()
    shutil.copytree(site.tree, work / "people")
    for name in ("carl", "dora"):
        (work / "people" / name).mkdir()
        _side_by_side(site, work / "people" / name / "both.png")
    (work / "people" / "emil").mkdir()
    (work / "people" / "emil" / "text.jpg").write_text("no image")
    ran = site.facekd("enroll", "--from", work / "people", "--model", site.model, "--gallery", work / "g.db")
    hints = ran.err.count("--on-many best takes")
    return together(
        ran.check(5, "2 of 5 people enrolled", "not enrolled: carl (1 several_faces)", "not enrolled: dora",
                  "not enrolled: emil (1 unreadable)", "photos not enrolled: 2 several_faces"),
        fact(hints == 1, f"{hints} hint"),
    )  # fmt: skip


@drill("B3", "enroll a photo with a small bystander, and one of two equal faces", "taken; several_faces")
def bystanders(site: Site) -> Outcome:
    work = site.new()
    small = _with_bystander(site, work / "small.png")
    equal = _side_by_side(site, work / "equal.png")
    best = enroll(site, work / "b.db", "ann", equal, "--on-many", "best")
    return together(
        enroll(site, work / "a.db", "ann", small).check(0, "enrolled ann: 1 new"),
        enroll(site, work / "c.db", "ann", equal, "--json").check(3, reason="several_faces"),
        best.check(0, "enrolled ann"),
    )


@drill(
    "B4", "verify with a model that was calibrated with another detector", "one note on stderr", short=True
)
def one_note(site: Site) -> Outcome:
    ran = verify(site, *site.ann[:2])
    notes = [line for line in ran.err.splitlines() if line.startswith("note:")]
    return together(ran.check(0), fact(len(notes) <= 1, f"{len(notes)} note: {' | '.join(notes)[:90]}"))


@drill("B4", "verify a HEIC file that cannot be decoded, and a PDF", "exit 5 that names the format")
def formats_by_name(site: Site) -> Outcome:
    work = site.new()
    (work / "a.heic").write_bytes(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(200))
    (work / "b.avif").write_bytes(b"\x00\x00\x00\x18ftypavif\x00\x00\x00\x00mif1avif" + bytes(200))
    return together(
        verify(site, site.ann[0], work / "a.heic").check(5, "HEIC"),
        verify(site, site.ann[0], work / "b.avif").check(5, "AVIF"),
    )


@drill("B4", "a missing model; a decimal comma; 'compare'; one enrolled photo",
       "says where models come from, how to write it, 'verify', '1 photo'")  # fmt: skip
def helpful_words(site: Site) -> Outcome:
    a, b = site.ann[:2]
    gallery = site.new() / "g.db"
    enroll(site, gallery, "ann", a)
    return together(
        site.facekd("verify", a, b, "--model", "none.onnx").check(2, "A model is an ONNX file"),
        verify(site, a, b, "--threshold", "0,4").check(2, "0.4"),
        site.facekd("compare", a, b).check(2, "Did you mean 'verify'"),
        claim_ann(site, gallery).check(0, "(1 photo)"),
    )


@drill("B4", "the command lists of facekd and of its groups", "whole first sentences", short=True)
def whole_sentences(site: Site) -> Outcome:
    told = []
    for group in ((), ("gallery",), ("data",), ("recipe",)):
        ran = site.facekd(*group, "--help")
        listed = ran.out.partition("Commands:")[2]
        told.append(fact(bool(listed.strip()) and "..." not in listed, f"facekd {' '.join(group)}--help"))
    return together(*told)


def _interrupted(ran: Ran) -> Outcome:
    """Whether Ctrl-C ended it as it should: by 130, or by the signal itself before there is anything to tell.
    Before Python has come to a line of facekd, the answer is Python's own."""
    if "KeyboardInterrupt" in ran.err and str(ROOT / "facekd") not in ran.err:
        return fact(True, "Python itself was interrupted")
    return ran.check((0, 130, -2))


def _interrupt(process: subprocess.Popen[bytes], delay: float) -> None:
    time.sleep(delay)
    if process.poll() is None:
        os.kill(process.pid, signal.SIGINT)


def _side_by_side(site: Site, path: Path) -> Path:
    """Two faces, neither of which dominates."""
    import cv2

    one = pixels_of(site.ann[0])
    cv2.imwrite(str(path), np.concatenate([one, one[:, ::-1]], axis=1))
    return path


def _with_bystander(site: Site, path: Path) -> Path:
    """Ann large in the middle, bob small at the border."""
    import cv2

    ann = cv2.resize(pixels_of(site.ann[0]), (400, 400))
    bob = cv2.resize(pixels_of(site.bob[0]), (120, 120))
    canvas = np.full((400, 800, 3), 128, np.uint8)
    canvas[:, 200:600] = ann
    canvas[280:, 20:140] = bob
    cv2.imwrite(str(path), canvas)
    return path
