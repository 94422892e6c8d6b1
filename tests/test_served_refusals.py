"""Requests that make no sense, refused inside the graph with a sentence."""

import numpy as np
import pytest
import tensorflow as tf
from served_scenes import SCENES, asking

from rgan_tf import scene_requests
from rgan_tf.runtime_messages import sentence_of
from rgan_tf.scene_graph import SceneGraph
from rgan_tf.scene_requests import GENERATE, WITH_PATCHES

REFUSED = {
    "unknown name": ({"object_names": "unicorn"}, "Scene 1 has the unknown name `unicorn` as object 0"),
    "reserved name": ({"object_names": "__image__"}, "unknown name `__image__`"),
    "rubbish": ({"object_names": b"\xff\n\x00"}, "unknown name"),
    "long name": ({"object_names": "x" * 10**6}, "unknown name `" + "x" * 64 + "` as"),
    "empty scene": ({"object_names": ""}, "Scene 1 has no objects"),
    "unknown predicate": (
        {"predicates": "beside"},
        "Scene 1 has the unknown name `beside` as predicate of relationship 0",
    ),
    "index": ({"subjects": 1}, "Scene 1 has the index 1 in relationship 0; it must be from 0 to 0"),
    "negative index": ({"objects_of": -5}, "Scene 1 has the index -5"),
    "box": ({"boxes": [0.5, 0.1, 1.5, 0.2]}, "Scene 1 has the box [0.5, 0.1, 1.5, 0.2] for object 0"),
    "turned box": ({"boxes": [0.5, 0.1, 0.4, 0.2]}, "x0 < x1"),
    "not a number": ({"boxes": [0.5, np.nan, 0.9, 0.2]}, "nan"),
    "infinite": ({"boxes": [0.5, 0.0, np.inf, 0.2]}, "inf"),
    "unknown patch": ({"patch_ids": 10**12}, "Scene 1 has the patch 1000000000000 for object 0"),
    "negative patch": ({"patch_ids": -2}, "the patch -2"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_senseless_requests_are_refused_with_a_sentence(case, loaded_export):
    change, sentence = REFUSED[case]
    inputs = scene_requests.to_inputs(SCENES, WITH_PATCHES, 4, 6, 0)
    for name, value in change.items():
        if name in ("subjects", "objects_of"):
            inputs["predicates"][1, 0] = b"above"
            inputs["subjects"][1, 0], inputs["objects_of"][1, 0] = 0, 0
        if name == "predicates":
            inputs["subjects"][1, 0], inputs["objects_of"][1, 0] = 0, 0
        inputs[name][1, 0] = value
    with pytest.raises(tf.errors.InvalidArgumentError) as refused:
        loaded_export.signatures[WITH_PATCHES](**{name: tf.constant(value) for name, value in inputs.items()})
    found = sentence_of(refused.value.message)
    assert sentence in found and "\n" not in found and len(found) < 250


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"object_names": [[b"sky", b"", b"sea", b""]]}, "`sea` as object 2, after an empty one"),
        ({"boxes": np.zeros((1, 4, 4), np.float32)}, "Scene 0 has a box for object 1, which has no name"),
        ({"patch_ids": [[-1, -1, 3, -1]]}, "Scene 0 has a patch for object 2, which has no name"),
        ({"seed": [1, 2]}, "1 scenes and seed 2; give every input the same number"),
        ({"subjects": [[-1, 0, -1, -1, -1, -1]]}, "the index 0 in relationship 1, which has no predicate"),
    ],
)
def test_what_does_not_fit_together_is_refused(change, sentence, loaded_export):
    inputs = {**scene_requests.to_inputs([SceneGraph(("sky",))], WITH_PATCHES, 4, 6, 0)}
    for name, value in change.items():
        inputs[name] = np.array(value, inputs[name].dtype)
    with pytest.raises(tf.errors.InvalidArgumentError) as refused:
        loaded_export.signatures[WITH_PATCHES](**{name: tf.constant(value) for name, value in inputs.items()})
    assert sentence in sentence_of(refused.value.message)


def test_too_many_scenes_are_refused(loaded_export):
    with pytest.raises(tf.errors.InvalidArgumentError) as refused:
        loaded_export.signatures[GENERATE](**asking([SceneGraph(("sky",))] * 65, GENERATE))
    assert sentence_of(refused.value.message) == "The request has 65 scenes; give 1 to 64."
