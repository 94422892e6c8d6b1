"""Learned perceptual image patch similarity, and the Diversity Score that the paper takes from it.

LPIPS: Zhang, Isola, Efros, Shechtman, Wang, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
CVPR 2018, with AlexNet and the linear heads of version 0.1. An image passes AlexNet's convolutions; at each of the five
maps after ReLU every pixel's feature is scaled to unit length, the squared difference of two images is weighted by
channel with the layer's head, summed over channels and averaged over pixels. The distance is the sum of the five.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from rgan_tf.evaluation.metrics.lpips_weights import KERNEL_SHAPES, LpipsError, load_weights
from rgan_tf.ops import pixels

# The scaling layer: (RGB in [-1, 1] - shift) / scale, which is ImageNet's normalization in that range.
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
# Stride and padding of torchvision's AlexNet, and the layers before which it pools: the largest of 3 x 3, stride 2.
_STRIDES = (4, 1, 1, 1, 1)
_PADDINGS = (2, 2, 1, 1, 1)
_POOLED = (1, 2)
# Added to a feature's length, as in the authors' code: a feature of zeros stays one.
_EPSILON = 1e-10
# The narrowest image of which the second pooling leaves a pixel.
MIN_SIZE = 31


class Lpips(tf.Module):
    """The distance of images by AlexNet's features; 0 for equal images, larger the more different they look.

    Images are compared at the size they have: nothing is resized, and distances at different sizes do not compare. It
    computes in float32 under any precision policy.
    """

    def __init__(self, weights_path):
        """Loads the weights.

        Args:
          weights_path: a .npz or .h5 file as `rgan_tf.evaluation.lpips_weights` describes it.

        Raises:
          LpipsError: the file cannot be used.
        """
        super().__init__(name="lpips")
        weights = load_weights(weights_path)
        self._kernels, self._biases, self._heads = (
            [tf.constant(array) for array in arrays] for arrays in (weights.kernels, weights.biases, weights.heads)
        )

    def __call__(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Distances of images, pair by pair.

        Args:
          a: uint8 `[B, H, W, 3]`, B at least 1, RGB, H and W at least `MIN_SIZE`.
          b: of the same shape.

        Returns:
          float32 `[B]`, not negative.

        Raises:
          LpipsError: the images have another type or shape, are none or too small, or differ in shape.
        """
        return self.layer_distances(a, b).sum(axis=-1)

    def layer_distances(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """What each layer adds to the distance: float32 `[B, 5]`; arguments and errors as of a call."""
        a, b = _checked(a), _checked(b)
        if a.shape != b.shape:
            raise LpipsError(f"LPIPS compares images of one shape, pair by pair; these have {a.shape} and {b.shape}.")
        return self._compare(self._features(a), self._features(b)).numpy()

    def pairwise(self, images: np.ndarray) -> np.ndarray:
        """Distances of all pairs of a few images, each passing the network once.

        Args:
          images: uint8 `[n, H, W, 3]`, RGB, H and W at least `MIN_SIZE`.

        Returns:
          float32 `[n (n - 1) / 2]`, in no order that means anything.

        Raises:
          LpipsError: the images have another type or shape, are none or too small.
        """
        maps = self._features(_checked(images))
        # All pairs at one distance in the list at once: what is held grows with n, not with the number of pairs.
        shifted = [
            self._compare([m[:-shift] for m in maps], [m[shift:] for m in maps]).numpy()
            for shift in range(1, len(images))
        ]
        return np.concatenate([np.zeros([0, len(KERNEL_SHAPES)], np.float32), *shifted]).sum(axis=-1)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
    def _features(self, images: tf.Tensor) -> list[tf.Tensor]:
        """The five maps `[B, h, w, C]`, every feature of unit length."""
        maps = (pixels.to_float(images) - tf.constant(_SHIFT)) / tf.constant(_SCALE)
        outputs = []
        for layer, (kernel, bias) in enumerate(zip(self._kernels, self._biases)):
            if layer in _POOLED:
                maps = tf.nn.max_pool2d(maps, 3, 2, "VALID")
            margin = [_PADDINGS[layer]] * 2
            maps = tf.nn.conv2d(maps, kernel, _STRIDES[layer], [[0, 0], margin, margin, [0, 0]])
            maps = tf.nn.relu(maps + bias)
            outputs.append(maps / (tf.norm(maps, axis=-1, keepdims=True) + _EPSILON))
        return outputs

    @tf.function(input_signature=[[tf.TensorSpec([None, None, None, shape[3]]) for shape in KERNEL_SHAPES]] * 2)
    def _compare(self, a: list[tf.Tensor], b: list[tf.Tensor]) -> tf.Tensor:
        """`layer_distances` of two lists of maps."""
        weighted = [
            tf.reduce_sum(head * tf.math.squared_difference(x, y), axis=-1) for head, x, y in zip(self._heads, a, b)
        ]
        return tf.stack([tf.reduce_mean(values, axis=[1, 2]) for values in weighted], axis=-1)


class Diversity(NamedTuple):
    """The Diversity Score: per_scene float64 [S], their mean, their (population) standard deviation."""

    per_scene: np.ndarray
    mean: float
    deviation: float


class DiversityScore:
    """The Diversity Score of the paper's table 1: how different images of one scene graph are under different seeds.

    A scene's score is the mean LPIPS over all pairs of its images; the whole is the mean over scenes. It takes scene
    after scene and keeps only their scores.
    """

    def __init__(self, lpips: Lpips):
        """Takes the distance."""
        self._lpips = lpips
        self._scores: list[float] = []

    def add(self, images: np.ndarray) -> float:
        """Counts a scene in.

        Args:
          images: uint8 `[samples, H, W, 3]`, at least two; scenes need not have equally many.

        Returns:
          The scene's score.

        Raises:
          LpipsError: there are fewer than two images, or they are nothing that LPIPS takes.
        """
        if len(images) < 2:
            raise LpipsError(
                f"The Diversity Score compares images of one scene, but scene {len(self._scores)} has "
                f"{len(images)}; draw at least two with different seeds."
            )
        distances = self._lpips.pairwise(images)
        self._scores.append(float(distances.mean(dtype=np.float64)))
        return self._scores[-1]

    def result(self) -> Diversity:
        """The score of the scenes so far.

        Raises:
          LpipsError: there are none.
        """
        if not self._scores:
            raise LpipsError("The Diversity Score of no scenes is not defined; add at least one.")
        scores = np.array(self._scores)
        return Diversity(scores, float(scores.mean()), float(scores.std()))


def diversity(lpips: Lpips, scenes: Iterable[np.ndarray]) -> Diversity:
    """The Diversity Score of all scenes at once.

    Args:
      lpips: the distance.
      scenes: uint8 `[S, samples, H, W, 3]`, or any iterable of what `DiversityScore.add` takes.

    Raises:
      LpipsError: as of `DiversityScore`.
    """
    score = DiversityScore(lpips)
    for images in scenes:
        score.add(images)
    return score.result()


def _checked(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise LpipsError(f"LPIPS takes uint8 images [B, H, W, 3]; these are {images.dtype} {images.shape}.")
    if not len(images):
        raise LpipsError("LPIPS was given no images; give at least one.")
    if min(images.shape[1:3]) < MIN_SIZE:
        raise LpipsError(
            f"Images of {images.shape[1]} x {images.shape[2]} pixels are too small for LPIPS, which needs "
            f"{MIN_SIZE} x {MIN_SIZE}; compare larger ones."
        )
    return images
