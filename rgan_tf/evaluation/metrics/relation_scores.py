"""Whether boxes satisfy the relations of their scene graph."""

import tensorflow as tf

from pipelines.relations import PREDICATES, predicate_ids
from rgan_tf.evaluation.metrics.averages import SceneAverage, Score, UndefinedScore, check_finite


class RelationAccuracy:
    """Share of a scene graph's triples that hold between the boxes by which it was drawn.

    A triple holds if its subject's box and its object's, with the boxes' centres for the centroids of objects, have the
    predicate that the data set's rule gives (sg2im's sectors, `pipelines.relations`). Scene graphs were drawn with the
    objects' true centroids, so that true boxes do not reach 1; they are the reference.
    """

    def __init__(self, predicates):
        """Takes the vocabulary's predicates in id order, the reserved one first.

        Raises:
          UndefinedScore: they are annotated, not drawn from boxes; no rule says whether boxes satisfy them.
        """
        if tuple(predicates[1:]) != PREDICATES:
            raise UndefinedScore(
                "Relation accuracy is left out: this data set's relations are annotated, and no rule says whether two "
                "boxes satisfy them."
            )
        self._average = SceneAverage("Relation accuracy", "relation")

    def update(self, boxes, triples, triple_mask) -> None:
        """Adds scenes.

        Args:
          boxes: `[B, N, 4]` float, (x0, y0, x1, y1).
          triples: `[B, T, 3]` int of (subject index, predicate id, object index).
          triple_mask: `[B, T]` bool.

        Raises:
          EvaluationError: the box at either end of a triple is not finite.
        """
        triples = tf.cast(triples, tf.int32)
        ends = [tf.gather(tf.cast(boxes, tf.float64), triples[..., end], batch_dims=1) for end in (0, 2)]
        check_finite(tf.concat(ends, axis=-1).numpy(), triple_mask, "The boxes of a relation's ends")
        centres = [(end[..., :2] + end[..., 2:]) / 2 for end in ends]
        self._average.update((predicate_ids(*ends, *centres) == triples[..., 1]).numpy(), triple_mask)

    def result(self) -> Score:
        """The accuracy.

        Raises:
          UndefinedScore: no scene had a relation.
        """
        return self._average.result()
