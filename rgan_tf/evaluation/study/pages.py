"""The page of a compatibility study, and the key that says which workspace stands on which side of each question.

The page is one file: pictures, style and script lie in it, and its policy lets the browser load nothing else. Neither
names nor order tell raters what they look at: sides are dealt out at random, each workspace left as often as right, and
the page holds no trace of the seed that they come from. The key is a file of its own; raters must not get it.
"""

import base64
import hashlib
import html
import importlib.resources
import json
import os
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rgan_tf.drawing import page_picture, patch_picture
from rgan_tf.errors import UserError
from rgan_tf.scene_graph import SceneGraph
from rgan_tf.scene_requests import GeneratedScene

PAGE, KEY = "index.html", "key.json"
SIDES = ("left", "right")
_KEYS = {"left": ("←", "F"), "right": ("→", "J")}
_POLICY = (
    "default-src 'none'; img-src data:; style-src {style}; script-src {script}; base-uri 'none'; form-action 'none'"
)
_STUDY_ID_DIGITS = 12


class PatchSets(NamedTuple):
    """What both workspaces retrieved for one test scene.

    number: the scene's position in the test split; scene: its graph; drawn: one answer a workspace.
    """

    number: int
    scene: SceneGraph
    drawn: tuple[GeneratedScene, GeneratedScene]


def write_study(
    sets: Sequence[PatchSets], workspaces: Sequence[str], seed: int, directory, identical: int = 0
) -> pathlib.Path:
    """Writes `index.html` and `key.json`.

    Args:
      sets: in the order in which they are asked.
      workspaces: the two names that the key gives; they are not on the page.
      seed: from which the sides are dealt out; kept in the key.
      directory: of the study.
      identical: for how many scenes passed over both retrieved the same; kept in the key.

    Returns:
      The page's path.

    Raises:
      UserError: patches of the two differ in size, which would give them away; the directory holds another study; or a
        file cannot be written.
    """
    directory = pathlib.Path(directory)
    left = _deal_sides(len(sets), seed)
    study, page = _page(sets, left)
    key = {
        "study": study,
        "seed": seed,
        "workspaces": list(workspaces),
        "identical": identical,
        "questions": [_key_entry(workspaces, *pair) for pair in zip(sets, left)],
    }
    _check_free(directory, study)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _write(directory / KEY, json.dumps(key, indent=1, ensure_ascii=False) + "\n")
        _write(directory / PAGE, page)
    except OSError as error:
        raise UserError(f"The study cannot be written to {directory}: {error.strerror}.") from error
    return directory / PAGE


def _deal_sides(count: int, seed: int) -> list[int]:
    """Which of the two stands left, question by question: each as often as the other, or one more, chosen by chance."""
    draws = np.random.default_rng(seed)
    sides = np.arange(count) + draws.integers(2)
    return [int(side) % 2 for side in draws.permutation(sides)]


def _page(sets: Sequence[PatchSets], left: Sequence[int]) -> tuple[str, str]:
    """The study's id, which is made from what raters see and so tells nothing more, and the page."""
    template = (importlib.resources.files("rgan_tf.evaluation.study") / "page.html").read_text(encoding="utf-8")
    questions = "\n".join(_question(item, first) for item, first in zip(sets, left))
    study = hashlib.sha256(questions.encode()).hexdigest()[:_STUDY_ID_DIGITS]
    values = {
        "study": study,
        "count": str(len(sets)),
        "questions": questions,
        "policy": _POLICY.format(style=_hash_of(template, "style"), script=_hash_of(template, "script")),
    }
    return study, re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], template)


def _hash_of(template: str, tag: str) -> str:
    """By which the policy knows the one inline element of a kind."""
    content = re.search(f"<{tag}>(.*?)</{tag}>", template, re.DOTALL)[1]
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _question(item: PatchSets, left: int) -> str:
    sizes = [answer.patches.shape[1:] for answer in item.drawn]
    if sizes[0] != sizes[1]:
        raise UserError(
            f"One workspace has patches of {sizes[0][0]} x {sizes[0][1]} pixels, the other of {sizes[1][0]} x "
            f"{sizes[1][1]}: raters could tell them apart; compare workspaces of one patch_bank.patch_size."
        )
    sides = "".join(
        f'<button class="side" data-side="{side}" aria-label="The {side} set">\n<span class="patches">\n'
        f"{_patches(item.scene.objects, item.drawn[which].patches)}</span>\n"
        f"<span>{side} {' '.join(f'<kbd>{key}</kbd>' for key in _KEYS[side])}</span></button>\n"
        for side, which in zip(SIDES, (left, 1 - left))
    )
    words = html.escape(item.scene.in_words())
    content = f'<p class="scene">{words}</p>\n<div class="sides">\n{sides}</div>'
    return f'<section class="question" hidden>\n{content}\n</section>'


def _patches(names: Sequence[str], patches: np.ndarray) -> str:
    """Patches uint8 [n, h, w, C] with their names below."""
    return "".join(
        f'<span class="patch">{page_picture(picture, name)}<span>{html.escape(name)}</span></span>\n'
        for name, picture in zip(names, (patch_picture(patch, len(patch)) for patch in patches))
    )


def _key_entry(workspaces: Sequence[str], item: PatchSets, left: int) -> dict:
    """Which side is whose, and whose pictures the patches are from: their credits cannot be on the page."""
    sides = {}
    for side, which in zip(SIDES, (left, 1 - left)):
        answer = item.drawn[which]
        sides[side] = {
            "workspace": workspaces[which],
            "patch_ids": [int(number) for number in answer.patch_ids],
            "sources": list(answer.sources),
            "licenses": list(answer.licenses),
        }
    return {"scene": item.number, **sides}


def _check_free(directory: pathlib.Path, study: str) -> None:
    """An overwritten key would make the answers collected so far worthless."""
    try:
        found = json.loads((directory / KEY).read_text(encoding="utf-8")).get("study")
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError, AttributeError):
        found = None
    if found != study:
        raise UserError(f"{directory} holds another study ({KEY} of {found}); give another --output.")


def _write(path: pathlib.Path, content: str) -> None:
    """Beside and renamed, so that a file is whole or not there."""
    beside = path.with_name(f".{path.name}.partial")
    beside.write_text(content, encoding="utf-8")
    os.replace(beside, path)
