"""The largest singular value of weights, by which a critic is kept from being too steep (Miyato et al., ICLR 2018)."""

import numpy as np
import tensorflow as tf

_ITERATIONS = 8
_SEED = 1
_TINY = 1e-12


def spectral_norm(kernel: tf.Tensor) -> tf.Tensor:
    """The largest singular value of a kernel as a matrix from inputs to outputs, by power iteration.

    The iteration starts from one fixed vector at every call, where the published code keeps the last one: there is no
    state that replicas could disagree about or that a resumed run could lose. It never gives more than the value, and
    of matrices of Gaussian weights a few percent less at most. Gradients are those of the value with the singular
    vectors held.

    Args:
      kernel: `[..., C_in, C_out]` float, of a convolution or a dense layer.

    Returns:
      Scalar float32, above zero.
    """
    matrix = tf.cast(tf.reshape(kernel, [-1, kernel.shape[-1]]), tf.float32)
    held = tf.stop_gradient(matrix)
    # A constant: TensorFlow's own random numbers are others under XLA.
    right = _unit(tf.constant(np.random.default_rng(_SEED).normal(size=matrix.shape[1]), tf.float32))
    for _ in range(_ITERATIONS):
        left = _unit(tf.linalg.matvec(held, right))
        right = _unit(tf.linalg.matvec(held, left, transpose_a=True))
    return tf.maximum(tf.tensordot(left, tf.linalg.matvec(matrix, right), 1), _TINY)


def _unit(vector):
    return vector / tf.maximum(tf.norm(vector), _TINY)
