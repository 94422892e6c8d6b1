"""The convolutional patch embedding: E_p, and F_occur (paper section 3.3)."""

from typing import Optional

import tensorflow as tf

from rgan_tf.config import PatchEncoderConfig

_LEVELS = 3


class PatchEncoder(tf.keras.Model):
    """Embeds patches: strided convolutions, mean over space, two dense layers.

    There is no normalization over space: it would take away a patch's brightness and hue, which say whether two patches
    fit each other.

    Args:
      config: width of the first convolution (each further one doubles it) and length of the embedding.
      normalize: scale embeddings to unit length (F_occur, whose triplet loss compares directions).
      name: the model's name.
    """

    def __init__(self, config: PatchEncoderConfig, normalize: bool = False, name: Optional[str] = None):
        """Takes sizes; the patch size is known when it is first called."""
        super().__init__(name=name)
        self._normalize = normalize
        self._convolutions = [
            tf.keras.layers.Conv2D(
                config.width * 2**level,
                kernel_size=3,
                strides=2,
                padding="same",
                activation="relu",
                kernel_initializer="he_normal",
                name=f"conv_{level}",
            )
            for level in range(_LEVELS)
        ]
        self._pool = tf.keras.layers.GlobalAveragePooling2D(dtype=tf.float32, name="pool")
        self._hidden = tf.keras.layers.Dense(
            config.width * 2 ** (_LEVELS - 1), activation="relu", kernel_initializer="he_normal", name="hidden"
        )
        self._embedding = tf.keras.layers.Dense(config.feature_dim, dtype=tf.float32, name="embedding")

    def call(self, patches: tf.Tensor) -> tf.Tensor:
        """Embeds patches.

        Args:
          patches: `[..., h, w, C]` float in [-1, 1], any leading dimensions; h and w at least 8; C 3, or 4 with mattes.

        Returns:
          `[..., feature_dim]` float32; of unit length where the encoder normalizes.
        """
        flat = tf.reshape(patches, [-1, *patches.shape[-3:]])
        for convolution in self._convolutions:
            flat = convolution(flat)
        embedding = self._embedding(self._hidden(self._pool(flat)))
        if self._normalize:
            embedding = tf.math.l2_normalize(embedding, axis=-1)
        return tf.reshape(embedding, tf.concat([tf.shape(patches)[:-3], [embedding.shape[-1]]], axis=0))
