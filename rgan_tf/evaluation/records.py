"""The lines of evaluation/metrics.jsonl: each figure with all that it depends on, appended and never changed."""

import datetime
import importlib.metadata
import json
import math
import pathlib
from collections.abc import Sequence

from rgan_tf import config as config_lib
from rgan_tf import integrity
from rgan_tf.errors import UserError
from rgan_tf.evaluation.measurements import PICTURES, Measurement, Setting
from rgan_tf.workspace import Workspace, fingerprint

FILE = pathlib.Path("evaluation") / "metrics.jsonl"
_LIBRARIES = ("rgan_tf", "tensorflow", "tensorflow-gan", "numpy")


def append(
    path: pathlib.Path, of: dict, setting: Setting, measurements: Sequence[Measurement], seconds: float
) -> list[dict]:
    """Writes a line for each figure and returns them.

    Args:
      path: the file, which is appended to.
      of: what was measured: `of_checkpoint` or `of_pictures`.
      setting: how the split was drawn.
      measurements: the figures.
      seconds: that the whole evaluation took.

    Raises:
      UserError: a figure is not finite.
    """
    common = {
        **of,
        **setting._asdict(),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        "seconds": round(seconds, 1),
    }
    lines = [integrity.sealed({"name": m.name, **m._asdict(), **common}) for m in measurements]
    broken = [line["name"] for line in lines if not math.isfinite(line["value"])]
    if broken:
        raise UserError(f"{broken[0]} is not finite; the model or the network that measures it has diverged.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        file.writelines(json.dumps(line, allow_nan=False) + "\n" for line in lines)
    return lines


def of_checkpoint(config: config_lib.ExperimentConfig, step: int) -> dict:
    """What lines say of a training's checkpoint."""
    return {"fingerprint": fingerprint(config.model, config), "step": step}


def of_pictures(config: config_lib.ExperimentConfig) -> dict:
    """What lines say of pictures from a folder: the data set whose scenes they show."""
    return {"fingerprint": fingerprint("dataset", config), "dataset": config.data.builder}


def check(workspace: Workspace) -> None:
    """Reads what a workspace's file holds, if it has one.

    Raises:
      UserError: it is damaged.
    """
    if (workspace.root / FILE).exists():
        read(workspace)


def read(workspace: Workspace) -> list[dict]:
    """All lines of a workspace, oldest first.

    Raises:
      UserError: it was not evaluated, or its file is damaged.
    """
    command = f"python -m rgan_tf.evaluate --workspace={workspace.root}"
    return _read(workspace.root / FILE, str(workspace.root), command)


def _read(path: pathlib.Path, what: str, command: str) -> list[dict]:
    """All lines of a file, oldest first.

    Args:
      path: the file.
      what: was evaluated.
      command: that writes it.

    Raises:
      UserError: it is not there, or is damaged.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if text and not text.endswith("\n"):
            raise ValueError("its last line is cut short")
        lines = [json.loads(line) for line in text.splitlines()]
        for line in lines:
            integrity.unsealed(line)
        return lines
    except FileNotFoundError as error:
        raise UserError(f"{what} was not evaluated; run {command} first.") from error
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); mend or remove the line, and evaluate again.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); mend that, or remove it.") from error


def spread(line: dict) -> str:
    """The deviation or bootstrap interval of a line, to be put behind its value; "" where it has none."""
    if line["deviation"] is not None:
        return f" ± {line['deviation']:.3g}"
    interval = line["notes"].get("interval")
    return "" if interval is None else " [{:.4g}, {:.4g}]".format(*interval)


def newest(lines: Sequence[dict]) -> dict[str, dict]:
    """The last line of each name."""
    return {line["name"]: line for line in lines}


def of_training(
    workspace: Workspace, config: config_lib.ExperimentConfig, split: str, samples: int, policy: str, boxes: str
) -> dict[str, dict]:
    """The newest line of each metric of a finished training, by metric; empty where it was not measured so.

    Args:
      workspace: whose lines they are.
      config: of the training; lines of another one, or of a checkpoint before its last step, do not count.
      split: drawn.
      samples: pictures of a scene.
      policy: of retrieval.
      boxes: that pictures were laid out by.
    """
    wanted = {"fingerprint": fingerprint(config.model, config), "policy": policy}
    lines = read(workspace) if (workspace.root / FILE).is_file() else []
    return _by_metric(
        [line for line in lines if line["step"] >= config.training.steps], split, samples, boxes, **wanted
    )


def of_folder(directory, split: str, samples: int, boxes: str) -> dict[str, dict]:
    """The newest line of each metric of a folder of pictures, by metric; empty where it was not measured so.

    The arguments are those of `of_training`.
    """
    path = pathlib.Path(directory) / FILE.name
    command = f"python -m rgan_tf.evaluate --workspace=… --pictures={directory}"
    lines = _read(path, str(directory), command) if path.is_file() else []
    return _by_metric(lines, split, samples, boxes, policy=PICTURES)


def _by_metric(lines: Sequence[dict], split: str, samples: int, boxes: str, **wanted) -> dict[str, dict]:
    wanted.update(split=split, samples=samples, boxes=boxes)
    return {line["metric"]: line for line in lines if all(line[name] == value for name, value in wanted.items())}
