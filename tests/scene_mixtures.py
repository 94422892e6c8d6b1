"""Requests in which good and bad scenes are mixed, for models whose bad scenes answer for themselves."""

import numpy as np
from request_faults import FAULTS, Draft
from served_scenes import asking

from rgan_tf.scene_graph import SceneGraph
from rgan_tf.scene_requests import GENERATE

# Of three and two objects, as the faults expect them.
SCENES = [
    SceneGraph(("sky", "grass", "tree"), ((0, "above", 1), (2, "above", 1))),
    SceneGraph(("sky", "grass"), ((1, "below", 0),)),
]
_MOST = 6


def good_requests(signatures):
    """Arrays about `SCENES` by signature and name, with the boxes and patches of a picture that was drawn."""
    drawn = signatures[GENERATE](**asking(SCENES, GENERATE))
    named = asking(SCENES, GENERATE)["object_names"].numpy() != b""
    boxes = np.where(named[..., None], drawn["boxes"], np.float32(-1))
    return {
        signature: {
            name: value.numpy()
            for name, value in asking(SCENES, signature, boxes=boxes, patch_ids=drawn["patch_ids"].numpy()).items()
        }
        for signature in signatures
    }


class _Focused(Draft):
    """Of which every fault spoils the first scene."""

    def scene(self):
        return 0


def rows(base, signature, rng):
    """Requests about one scene each: one with every fault that a scene can have, some with two, and good ones."""
    found = []
    for spoil, signatures, times in FAULTS.values():
        draft = Draft(base, signature, rng)
        if signature in signatures and times is None:
            spoil(draft)
        if draft.words and draft.words[0].startswith("Scene "):
            found.append((spoil, row(draft.inputs, int(draft.words[0].split()[1]))))
    spoils, spoilt = zip(*found)
    twice = []
    for _ in range(4):
        draft = _Focused(base, signature, rng)
        for index in rng.choice(len(spoils), 2, replace=False):
            spoils[index](draft)
        twice.append(row(draft.inputs, 0))
    good = [row(base[signature], number % 2) for number in range(8)]
    for seed, request in enumerate(good):
        if "seed" in request:
            request["seed"] = np.array([seed], np.int64)
    return [*spoilt, *twice], good


def row(inputs, number):
    return {name: value[number : number + 1] for name, value in inputs.items()}


def merged(requests):
    """One request of several, as a batching server makes it."""
    return {name: np.concatenate([request[name] for request in requests]) for name in requests[0]}


def mixtures(bad, good, rng):
    """The rows in random order, cut into batches of random sizes; and batches of bad, and of good ones alone."""
    every = [*bad, *good]
    order = rng.permutation(len(every))
    batches = [bad[:3], good[:3]]
    while len(order):
        size = int(rng.integers(1, _MOST + 1))
        batches.append([every[i] for i in order[:size]])
        order = order[size:]
    return batches


def check_row(answer, number, alone):
    """That a row of an answer is, to the bit, what the scene gets alone, and nothing but zeros if it is refused."""
    assert set(answer) == set(alone)
    for name, value in alone.items():
        found = answer[name][number : number + 1]
        assert (found.dtype, found.shape) == (value.dtype, value.shape), name
        same = (found == value).all() if found.dtype == object else found.tobytes() == value.tobytes()
        assert same, f"{name} of row {number} is not what it is alone"
    if alone["error"][0]:
        empty = {name: value for name, value in alone.items() if name != "error"}
        assert all((value == (b"" if value.dtype == object else 0)).all() for value in empty.values())
