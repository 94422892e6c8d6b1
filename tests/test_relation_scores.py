"""Relation accuracy against sg2im's rule with angles, by hand."""

import math

import numpy as np
import pytest

from pipelines.relations import PREDICATES
from rgan_tf.evaluation.metrics.averages import EvaluationError, UndefinedScore
from rgan_tf.evaluation.metrics.relation_scores import RelationAccuracy

NAMES = ("__in_image__", *PREDICATES)


def relation(subject, other):
    """By the angle between centres, as sg2im writes it."""
    if all(subject[:2] < other[:2]) and all(subject[2:] > other[2:]):
        return "surrounding"
    if all(subject[:2] > other[:2]) and all(subject[2:] < other[2:]):
        return "inside"
    dx, dy = (subject[:2] + subject[2:] - other[:2] - other[2:]) / 2
    theta = math.atan2(dy, dx)
    if theta >= 3 * math.pi / 4 or theta <= -3 * math.pi / 4:
        return "left of"
    if -3 * math.pi / 4 <= theta < -math.pi / 4:
        return "above"
    return "right of" if theta < math.pi / 4 else "below"


def test_accuracy_is_the_share_of_relations_that_hold():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 0.6, (12, 5, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.05, 0.4, corner.shape)], axis=-1).astype(np.float32)
    triples = np.stack([rng.integers(0, 5, (12, 7)), rng.integers(1, 7, (12, 7)), rng.integers(0, 5, (12, 7))], axis=-1)
    mask = (rng.random((12, 7)) < 0.7) & (triples[..., 0] != triples[..., 2])
    truth = np.zeros((12, 7), int)
    for place in np.ndindex(12, 7):
        subject, _, other = triples[place]
        truth[place] = NAMES.index(relation(*boxes[place[0]][[subject, other]].astype(float)))
    triples[..., 1] = np.where(rng.random((12, 7)) < 0.5, truth, triples[..., 1])
    accuracy = RelationAccuracy(NAMES)
    accuracy.update(boxes[:5], triples[:5], mask[:5])
    accuracy.update(boxes[5:], triples[5:], mask[5:])
    score = accuracy.result()
    holds = [truth[place] == triples[place][1] for place in zip(*np.nonzero(mask))]
    assert score.mean == pytest.approx(np.mean(holds)) and score.count == len(holds) and 0.4 < score.mean < 0.9


def test_annotated_relations_have_no_rule():
    with pytest.raises(UndefinedScore, match="relations are annotated, and no rule says"):
        RelationAccuracy(("__in_image__", "on", "near"))


def test_scenes_without_relations_and_boxes_that_are_no_numbers():
    accuracy = RelationAccuracy(NAMES)
    boxes, triples = np.full((1, 2, 4), np.nan), np.array([[[0, 1, 1]]])
    accuracy.update(boxes, triples, np.zeros((1, 1), bool))
    with pytest.raises(UndefinedScore, match="single relation"):
        accuracy.result()
    with pytest.raises(EvaluationError, match="boxes of a relation's ends"):
        accuracy.update(boxes, triples, np.ones((1, 1), bool))
