"""Scenes to start from, in the vocabularies that this project makes."""

from typing import Optional

from rgan_tf.scene_graph import SceneGraph, Vocabulary

# What a page opens with is the first that its model knows.
_TOLD = (
    (("sky", "sea", "boat", "sun"), ((0, "above", 1), (2, "inside", 1), (3, "inside", 0))),
    (
        ("sky", "grass", "house", "tree", "sheep"),
        ((0, "above", 1), (2, "above", 1), (3, "right of", 2), (4, "below", 2)),
    ),
    (("sky", "snow", "hill", "tree", "person", "dog"), ((0, "above", 1), (3, "left of", 4), (5, "right of", 4))),
    (("sky", "moon", "sea", "grass", "house"), ((1, "inside", 0), (0, "above", 2), (2, "above", 3), (4, "inside", 3))),
    (("sky-other", "grass", "sheep", "tree"), ((0, "above", 1), (2, "inside", 1), (3, "above", 1))),
    (("sky-other", "sea", "sand", "person"), ((0, "above", 1), (1, "above", 2), (3, "above", 2))),
    (("sky-other-merged", "grass-merged", "elephant"), ((0, "above", 1), (2, "inside", 1))),
    (("wall-other-merged", "dining table", "bowl", "person"), ((0, "above", 1), (2, "inside", 1), (3, "above", 1))),
    (("sky", "building", "road", "car", "tree"), ((0, "above", 2), (1, "above", 2), (3, "inside", 2))),
    (("sky", "mountain", "grass", "sheep"), ((0, "above", 1), (1, "behind", 2), (3, "standing on", 2))),
    (("street", "bus", "building", "sign"), ((1, "parked on", 0), (2, "behind", 1), (3, "on", 2))),
)


def examples(vocabulary: Optional[Vocabulary], max_objects: int, max_triples: int) -> list[SceneGraph]:
    """Those scenes that a model can draw, as far as is known; at least one.

    Args:
      vocabulary: the model's names; None where they are not known.
      max_objects: of the model.
      max_triples: of the model.
    """
    scenes = [
        SceneGraph(objects, triples)
        for objects, triples in _TOLD
        if len(objects) <= max_objects and len(triples) <= max_triples
    ]
    if vocabulary is None:
        return scenes or [SceneGraph(("sky",))]
    known = [
        scene
        for scene in scenes
        if set(scene.objects) <= set(vocabulary.objects)
        and {predicate for _, predicate, _ in scene.relationships} <= set(vocabulary.predicates)
    ]
    return known or [SceneGraph((vocabulary.objects[1],))]
