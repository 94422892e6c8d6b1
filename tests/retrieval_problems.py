"""Random problems for Algorithm 1, and its settings."""

import numpy as np
import tensorflow as tf

from rgan_tf.ops import relaxed_subset

ESTIMATORS = relaxed_subset.ESTIMATORS
SETTINGS = [(d, u) for d in relaxed_subset.DISTANCES for u in relaxed_subset.QUERY_UPDATES]


def draw(rng, batch=3, objects=4, candidates=3, depth=5, scale=1.0, keep=0.7):
    features = (rng.normal(size=(batch, objects, candidates, depth)) * scale).astype(np.float32)
    mask = rng.random((batch, objects, candidates)) < keep
    mask[:, 0, 0] = True
    query = (rng.normal(size=(batch, depth)) * scale).astype(np.float32)
    noise = rng.gumbel(size=(batch, objects, objects, candidates)).astype(np.float32)
    return features, mask, query, noise


def run(features, mask, query, noise, temperature=1.0, **kwargs):
    return relaxed_subset.retrieve(
        tf.constant(features), tf.constant(mask), tf.constant(query), tf.constant(noise), temperature, **kwargs
    )
