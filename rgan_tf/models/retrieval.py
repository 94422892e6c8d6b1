"""The retrieval layer: E_p, first queries, noise and temperature around Algorithm 1 (paper section 3.3)."""

from typing import NamedTuple, Optional

import tensorflow as tf

from rgan_tf.config import RetrievalConfig
from rgan_tf.models.patch_encoder import PatchEncoder
from rgan_tf.ops import relaxed_subset, scene_random

# What a draw is for; folded into the scene's seed.
_FIRST_QUERY, _NOISE, _GROUND_TRUTH_QUERY = 1, 2, 3
# Logit of a masked candidate: its share is exactly zero in float32.
_MASKED_LOGIT = -1e9


class GroundTruthLogits(NamedTuple):
    """What L_sel_gt compares.

    Attributes:
      logits: `[B, N, 1 + k]` float32, log pi of the ground-truth patch (first) and the candidates; -1e9 where masked.
      weights: `[B, N]` float32, 1 for each valid object other than the query's.
    """

    logits: tf.Tensor
    weights: tf.Tensor


class RetrievalLayer(tf.keras.Model):
    """Retrieves one patch an object, such that the patches fit each other.

    Every draw depends on (seed, step) only, and a scene's draws on its own seed and slots only: not on the other scenes
    of the batch, nor on how far it is padded.

    Args:
      config: see `RetrievalConfig`.
      name: the layer's name.
    """

    def __init__(self, config: RetrievalConfig, name: str = "retrieval"):
        """Takes the configuration of Algorithm 1 and of E_p."""
        # Distances, softmax and noise are float32 under any policy; E_p follows the policy.
        super().__init__(name=name, dtype=tf.float32)
        self._config = config
        self.patch_encoder = PatchEncoder(config.encoder, normalize=False, name="patch_encoder")

    def embed(self, patches: tf.Tensor) -> tf.Tensor:
        """Embeds patches `[..., h, w, 3]` in [-1, 1] by E_p to `[..., D]` float32."""
        return self.patch_encoder(patches)

    def temperature(self, step: tf.Tensor) -> tf.Tensor:
        """The temperature at a step: geometric from the configured start to its end, constant afterwards."""
        config = self._config
        progress = tf.clip_by_value(tf.cast(step, tf.float32) / max(config.temperature_steps, 1), 0.0, 1.0)
        return config.temperature_start * tf.pow(config.temperature_end / config.temperature_start, progress)

    def initial_query(
        self,
        features: tf.Tensor,
        candidate_mask: tf.Tensor,
        seed: tf.Tensor,
        step: tf.Tensor,
        pinned: Optional[tf.Tensor] = None,
    ) -> tf.Tensor:
        """The first query: a uniformly drawn valid candidate's feature, or the mean over pinned patches.

        Args:
          features: `[B, N, k, D]` float32.
          candidate_mask: `[B, N, k]` bool.
          seed: `[2]` or `[B, 2]` int32, see `call`.
          step: scalar int.
          pinned: `[B, N, k]`, non-zero at pinned candidates, or None. Decides in the scenes that have a pinned patch.

        Returns:
          `[B, D]` float32; zeros for a scene without candidates.
        """
        num_objects, num_candidates = candidate_mask.shape[1:]
        seeds = _per_scene(seed, candidate_mask)
        uniform = scene_random.scene_uniform(seeds, (1, num_objects, num_candidates), [step, _FIRST_QUERY])
        slots = num_objects * num_candidates
        weights = scene_random.uniform_choice(tf.reshape(uniform, [-1, slots]), tf.reshape(candidate_mask, [-1, slots]))
        if pinned is not None:
            fixed = tf.reshape(tf.cast(_pinned(pinned, candidate_mask), tf.float32), [-1, slots])
            count = tf.reduce_sum(fixed, axis=-1, keepdims=True)
            weights = tf.where(count > 0.0, tf.math.divide_no_nan(fixed, count), weights)
        flat = tf.reshape(features, [-1, slots, features.shape[-1]])
        return tf.reduce_sum(weights[..., tf.newaxis] * flat, axis=1)

    def call(
        self,
        features: tf.Tensor,
        candidate_mask: tf.Tensor,
        seed: tf.Tensor,
        step: tf.Tensor,
        pinned: Optional[tf.Tensor] = None,
        noise_scale: float = 1.0,
        temperature: Optional[tf.Tensor] = None,
        differentiable: bool = True,
    ) -> relaxed_subset.RetrievalResult:
        """Chooses a patch for every valid object.

        Args:
          features: `[B, N, k, D]` float32, from `embed` or from the bank.
          candidate_mask: `[B, N, k]` bool; an object is valid if it has a valid candidate.
          seed: int32, `[B, 2]`, a seed for each scene, or `[2]`, from which the scenes' seeds are derived by their
            positions in the batch.
          step: scalar int, the training step; sets noise and temperature. 0 when a picture is generated.
          pinned: `[B, N, k]`, non-zero at candidates that a user fixed, or None. An object with pinned candidates has
            no other ones.
          noise_scale: factor of the Gumbel noise.
          temperature: scalar; None takes the schedule's.
          differentiable: whether a gradient will be taken.

        Returns:
          A `RetrievalResult`.
        """
        config = self._config
        num_objects, num_candidates = candidate_mask.shape[1:]
        query = self.initial_query(features, candidate_mask, seed, step, pinned)
        if pinned is not None:
            fixed = _pinned(pinned, candidate_mask)
            is_fixed = tf.reduce_any(fixed, axis=-1, keepdims=True)
            candidate_mask = tf.where(is_fixed, fixed, candidate_mask)
        uniform = scene_random.scene_uniform(
            _per_scene(seed, candidate_mask), (num_objects, num_objects, num_candidates), [step, _NOISE]
        )
        return relaxed_subset.retrieve(
            features,
            candidate_mask,
            query,
            scene_random.gumbel(uniform) * noise_scale,
            self.temperature(step) if temperature is None else temperature,
            distance=config.distance,
            query_update=config.query_update,
            estimator=config.estimator,
            differentiable=differentiable,
        )

    def choose(
        self,
        features: tf.Tensor,
        candidate_mask: tf.Tensor,
        scene_seed: tf.Tensor,
        pinned: Optional[tf.Tensor] = None,
    ) -> relaxed_subset.RetrievalResult:
        """As `call`, when a picture is generated: with the noise and temperature of inference, for no gradient.

        Args:
          features: `[B, N, k, D]` float32, of the candidates under E_p.
          candidate_mask: `[B, N, k]` bool.
          scene_seed: `[B, 2]` int32.
          pinned: see `call`.
        """
        config = self._config
        return self(
            features,
            candidate_mask,
            scene_seed,
            step=0,
            pinned=pinned,
            noise_scale=config.inference_noise,
            temperature=config.inference_temperature,
            differentiable=False,
        )

    def ground_truth_logits(
        self,
        ground_truth_features: tf.Tensor,
        ground_truth_mask: tf.Tensor,
        features: tf.Tensor,
        candidate_mask: tf.Tensor,
        seed: tf.Tensor,
        step: tf.Tensor,
    ) -> GroundTruthLogits:
        """Logits of L_sel_gt: the query is the ground-truth patch of one random object.

        Args:
          ground_truth_features: `[B, N, D]` float32, E_p of each object's own patch.
          ground_truth_mask: `[B, N]` bool, which objects have one.
          features: `[B, N, k, D]` float32, of the candidates.
          candidate_mask: `[B, N, k]` bool.
          seed: see `call`.
          step: scalar int.

        Returns:
          `GroundTruthLogits`; all weights are zero in a scene with one object.
        """
        num_objects = ground_truth_mask.shape[1]
        seeds = _per_scene(seed, candidate_mask)
        uniform = scene_random.scene_uniform(seeds, (1, num_objects, 1), [step, _GROUND_TRUTH_QUERY])
        chosen = scene_random.uniform_choice(uniform[:, 0, :, 0], ground_truth_mask)
        query = tf.reduce_sum(chosen[..., tf.newaxis] * ground_truth_features, axis=1)[:, tf.newaxis, tf.newaxis]
        patches = tf.concat([ground_truth_features[:, :, tf.newaxis], features], axis=2)
        mask = tf.concat([ground_truth_mask[..., tf.newaxis], candidate_mask], axis=2)
        distances = relaxed_subset.candidate_distances(patches, query, self._config.distance)
        logits = tf.where(mask, -distances, _MASKED_LOGIT)
        return GroundTruthLogits(logits, tf.cast(ground_truth_mask, tf.float32) - chosen)


def _per_scene(seed, candidate_mask):
    """Seeds `[B, 2]` from a seed for each scene or a common one."""
    if seed.shape.rank == 2:
        return seed
    return scene_random.scene_seeds(seed, tf.range(tf.shape(candidate_mask)[0]))


def _pinned(pinned, candidate_mask):
    return tf.logical_and(tf.cast(pinned, tf.bool), candidate_mask)
