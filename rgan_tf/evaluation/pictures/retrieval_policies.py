"""Ways to choose one candidate an object beside the learned retrieval: two that it has to beat, and F_occur's own.

Each takes a batch as `pipelines.input_pipeline` makes it, and gives what `RetrievalResult.hard_index` gives: int32
[B, N], the index of the chosen candidate, -1 where an object has none. `RetrieveGAN.generate` draws a picture from any
of them when its `pinned` is `tf.one_hot(choice, k)`.
"""

import numpy as np
import tensorflow as tf

from rgan_tf.models.retrieval import RetrievalLayer
from rgan_tf.models.retrievegan import Batch
from rgan_tf.ops import scene_random

# Folded into the scene's seed as (step, purpose); purposes 1 to 3 are the retrieval layer's own.
_RANDOM_CHOICE = (0, 4)


def cooccurrence_choice(retrieval: RetrievalLayer, batch: Batch) -> tf.Tensor:
    """Algorithm 1 without noise, with F_occur's embeddings in the place of E_p's: how well F_occur itself would choose.

    Args:
      retrieval: gives the rules; its E_p is not used.
      batch: candidate_cooccurrence, candidate_mask, scene_seed.
    """
    features, mask = batch["candidate_cooccurrence"], batch["candidate_mask"]
    # Without noise the temperature changes no choice.
    return retrieval(features, mask, batch["scene_seed"], step=0, noise_scale=0.0, temperature=1.0).hard_index


def random_choice(batch: Batch) -> tf.Tensor:
    """Each object's candidate drawn uniformly from its valid ones, by the scene's seed, independently of all others.

    Args:
      batch: candidate_mask, scene_seed.
    """
    mask = tf.convert_to_tensor(batch["candidate_mask"])
    num_objects, num_candidates = mask.shape[1:]
    uniform = scene_random.scene_uniform(batch["scene_seed"], (1, num_objects, num_candidates), list(_RANDOM_CHOICE))
    return _first_largest(uniform[:, 0], mask)


def graph_feature_choice(batch: Batch) -> tf.Tensor:
    """Each object's nearest candidate by fixed graph features, alone: PasteGAN's crop selector (NeurIPS 2019).

    Candidates come in the order of that distance (paper section 3.2), so it is the first valid one.

    Args:
      batch: candidate_mask.
    """
    mask = tf.convert_to_tensor(batch["candidate_mask"])
    return _first_largest(tf.ones(tf.shape(mask)), mask)


def chosen_rows(candidates, choice) -> np.ndarray:
    """The bank rows of a choice.

    Args:
      candidates: int `[B, N, k]` bank rows.
      choice: int `[B, N]`, indices of candidates; -1 for none.

    Returns:
      int32 `[B, N]`, -1 where nothing was chosen.
    """
    choice = np.asarray(choice)
    rows = np.take_along_axis(np.asarray(candidates), np.maximum(choice, 0)[..., None], axis=-1)[..., 0]
    return np.where(choice >= 0, rows, -1).astype(np.int32)


def _first_largest(keys, mask):
    """Index of the largest key among an object's valid candidates, the first of equals; keys above 0."""
    best = tf.argmax(tf.where(mask, keys, 0.0), axis=-1, output_type=tf.int32)
    return tf.where(tf.reduce_any(mask, axis=-1), best, -1)
