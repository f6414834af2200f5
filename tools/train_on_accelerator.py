"""Train a student, or a large teacher, on an accelerator in a few minutes, from a checkout alone.

    python3 tools/train_on_accelerator.py default.toml --out runs/fast --start data/student/leg7.safetensors
    python3 tools/train_on_accelerator.py default.toml --out runs/resnet --network iresnet50 --batch 512
    python3 tools/train_on_accelerator.py default.toml --out runs/fast --resume

The recipe is in the folder of the packs and lists that it names. All crops are decoded once and stay on the
device, where views are computed, teachers embed them and the network is trained. ``--seconds`` bounds the
whole call: the learning rate reaches zero when they are over. ``--resume`` continues from where the rate had
not begun to fall, with the whole schedule again. ``--out`` is a run folder that `facekd export` accepts.

facekd need not be installed, but the packages that it needs for training must be (`NEEDED`); missing ones are
named.
"""

from __future__ import annotations

import argparse
import sys
import time
from importlib.util import find_spec
from pathlib import Path

#: modules, and the packages that provide them if these have other names
NEEDED = {
    "cv2": "opencv-python-headless",
    "filelock": "",
    "lazy_loader": "lazy-loader",
    "numpy": "",
    "PIL": "pillow",
    "pydantic": "",
    "safetensors": "",
    "timm": "",
    "tomli_w": "tomli-w",
    "torch": "",
    "torchvision": "",
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; its exit code."""
    since = time.perf_counter()
    options = _parser().parse_args(arguments)
    missing = [package or module for module, package in NEEDED.items() if find_spec(module) is None]
    if missing:
        print(
            f"missing: {', '.join(missing)}\nIf nothing can be installed here, bring them along: "
            f"pip install --target site {' '.join(missing)}, and set PYTHONPATH=site there.",
            file=sys.stderr,
        )
        return 2
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
    from accelerator_recipe import Options
    from accelerator_run import train_here

    from facekd.errors import FacekdError, Terminated

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    try:
        train_here(Options(**vars(options), since=since), say)
    except FacekdError as error:
        say(f"Error: {error}")
        return int(error.exit_code)
    except KeyboardInterrupt as error:
        say("stopped: continue with --resume")
        return 143 if isinstance(error, Terminated) else 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("recipe", type=Path, help="The recipe, in the folder of the packs and lists that it names.")
    add("--out", type=Path, required=True, help="The run folder.")
    add("--device", default="cuda", help="cuda, cuda:1 or cpu (default: cuda).")
    add("--seconds", type=_positive, default=520.0, help="Time limit of the whole call (default: 520).")
    add("--images", type=int, help="Stop after this many images, if that comes first.")
    add("--network", help="Train this network, for example iresnet50, instead of the recipe's student.")
    add("--start", type=Path, help="Weights to start from, packed or not, including projectors.")
    teacher = "A torch teacher instead of the recipe's: timm:NAME:FILE or a run folder; may be repeated."
    add("--teacher", dest="teachers", action="append", default=[], help=teacher)
    add("--batch", type=int, default=1024, help="Views in a batch (default: 1024).")
    add("--rate", type=_positive, help="The peak learning rate (default: the recipe's).")
    add(
        "--precision",
        choices=("bf16", "float32"),
        default="bf16",
        help="Precision of the student (default: bf16).",
    )
    lower = "Precision of the teachers; float32 if this one is too inaccurate (default: bf16)."
    add("--teacher-precision", choices=("fp16", "bf16", "float32"), default="bf16", help=lower)
    add("--compile", dest="compiled", action="store_true", help="Compile the networks first.")
    add("--save-every", type=_positive, default=60.0, help="Seconds between checkpoints (default: 60).")
    add(
        "--shards",
        type=Path,
        help="Also write the weights there, in a quarter of their size, as small files.",
    )
    add("--processes", type=int, help="Processes that decode (default: one for each processor).")
    add("--resume", action="store_true", help="Continue the run in --out.")
    add("--force", action="store_true", help="Replace the run in --out.")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
