"""Scenes, and requests about them, for the tests of exported models."""

import tensorflow as tf

from export.scene_service import SYNTHESIZE
from rgan_tf import scene_requests
from rgan_tf.scene_graph import SceneGraph
from rgan_tf.scene_requests import GENERATE, RETRIEVE, RETRIEVE_WITH_PATCHES, WITH_LAYOUT, WITH_PATCHES

SCENES = [
    SceneGraph(("sky", "grass", "sheep"), ((0, "above", 1), (2, "inside", 1))),
    SceneGraph(("sea",)),
    SceneGraph(
        ("sky", "sea", "boat", "sun"),
        ((1, "below", 0), (2, "inside", 1), (3, "inside", 0)),
        boxes=(None, (0.0, 0.5, 1.0, 1.0), None, (0.7, 0.1, 0.9, 0.3)),
    ),
]


def asking(scenes, signature, seed=3, **changes):
    """Tensors for a signature; boxes and patches of `synthesize` come from a picture that was drawn."""
    inputs = {**scene_requests.to_inputs(scenes, WITH_PATCHES, 4, 6, seed), **changes}
    graph = ("object_names", "subjects", "predicates", "objects_of")
    names = {
        GENERATE: (*graph, "seed"),
        WITH_LAYOUT: (*graph, "seed", "boxes"),
        WITH_PATCHES: (*graph, "seed", "boxes", "patch_ids"),
        RETRIEVE: (*graph, "seed"),
        RETRIEVE_WITH_PATCHES: (*graph, "seed", "patch_ids"),
        SYNTHESIZE: ("object_names", "boxes", "patch_ids"),
    }[signature]
    return {name: tf.constant(inputs[name]) for name in names}
