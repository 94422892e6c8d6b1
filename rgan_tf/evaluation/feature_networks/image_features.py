"""Features and class logits of images under the configured network, behind one door.

Images come as uint8 and reach a network as float32 in the range it was trained with, resized bilinearly (antialiased
where they shrink). No file format and no other rounding lies between.
"""

import contextlib
import hashlib
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Callable, Optional, Union

import numpy as np
import tensorflow as tf

from rgan_tf import config as config_lib
from rgan_tf import gan_library
from rgan_tf.errors import UserError
from rgan_tf.evaluation.feature_networks import in_domain_classifier
from rgan_tf.evaluation.metrics.averages import EvaluationError
from rgan_tf.evaluation.metrics.image_statistics import ImageFeatures
from rgan_tf.models.feature_network import FeatureNetwork
from rgan_tf.models.feature_weights import FeatureWeightsError
from rgan_tf.models.hub_network import HubNetwork
from rgan_tf.ops import pixels
from rgan_tf.workspace import Workspace

_WITHOUT_NETWORK = "set evaluation.network to in_domain for a classifier that needs no download"

# The layer of VGG19 whose maps, averaged over space, are features for photographs smaller than Inception's.
_VGG19_LAYER = "block3_conv4"
# Its activations are of hundreds; by this much less, distances have figures that can be read.
_VGG19_SCALE = 1000.0

# Images float32 [B, H, W, 3] in [-1, 1] to features and, of a network with classes, logits, any shapes with B first.
_Network = Callable[[tf.Tensor], Sequence[tf.Tensor]]


class FeatureExtractor:
    """A feature network as the scores use it.

    Attributes:
      name: short, for the names of metrics.
      resize: how images are brought to the network's size, for the names of metrics: "none64", "bilinear299".
      fingerprint: differs where the network, or what is done to images before it, differs.
      notes: how good the network itself was measured to be; empty for a published one.
      caution: a sentence that belongs beside its scores, "" where there is none.
    """

    def __init__(
        self,
        network: _Network,
        name: str,
        resize: str,
        identity: str,
        batch_size: int,
        notes: Optional[Mapping[str, Union[str, float]]] = None,
        caution: str = "",
    ):
        """Takes the network; `identity` tells it from others, its weights among it."""
        self.name, self.resize, self.notes, self.caution = name, resize, dict(notes or {}), caution
        self.fingerprint = _digest([f"{name} {resize} {identity}".encode()])
        self._batch_size = batch_size
        self._function = tf.function(lambda images: network(pixels.to_float(images)), autograph=False)

    def __call__(self, images: np.ndarray) -> ImageFeatures:
        """Gives the features of images.

        Args:
          images: uint8 [B, H, W, 3], any B; they go through the network a few at a time.

        Raises:
          EvaluationError: they are something else, or the network gives no single vector of features or of logits of
            each image, or probabilities instead of logits.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or not len(images):
            raise EvaluationError(
                f"Features were asked of an array {images.dtype} {list(images.shape)}; give images uint8 [B, H, W, 3]."
            )
        compute = self._function.get_concrete_function(tf.TensorSpec([None, *images.shape[1:]], tf.uint8))
        starts = range(0, len(images), self._batch_size)
        batches = [compute(tf.constant(images[start : start + self._batch_size])) for start in starts]
        pool, *logits = (np.concatenate([value.numpy() for value in values]) for values in zip(*batches))
        features = ImageFeatures(
            self._vectors(pool, "features"), self._vectors(logits[0], "logits") if logits else None
        )
        if logits:
            self._check_logits(features.logits)
        return features

    def _vectors(self, values: np.ndarray, what: str) -> np.ndarray:
        """[B, D] of [B, D] or [B, 1, 1, D]."""
        if values.size != len(values) * values.shape[-1] or values.ndim < 2:
            raise EvaluationError(
                f"The network {self.name} gives {what} {list(values.shape)}, not one vector for an image; name in "
                "evaluation.outputs an output that is pooled over space."
            )
        return values.reshape(len(values), -1).astype(np.float32)

    def _check_logits(self, logits: np.ndarray) -> None:
        if (logits >= 0).all() and np.allclose(logits.sum(axis=1), 1.0, atol=1e-3):
            raise EvaluationError(
                f"The network {self.name} gives probabilities where the Inception Score needs logits; name the output "
                "before the softmax as the second of evaluation.outputs."
            )


def make_feature_extractor(config: config_lib.ExperimentConfig, workspace: Workspace) -> FeatureExtractor:
    """Makes the configured network.

    Args:
      config: `evaluation` says which; `data` is what the in-domain classifier is trained on.
      workspace: whose pictures the in-domain classifier learns from and is kept with (`evaluation/in_domain/`).

    Raises:
      ConfigError: a SavedModel lacks what the configuration names.
      FeatureWeightsError: a network cannot be downloaded or read.
      WorkspaceError: the in-domain classifier is asked for, and the workspace has no data set.
      EvaluationError: the kept in-domain classifier cannot be read, or its training diverged.
    """
    evaluation, image_size = config.evaluation, config.data.image_size
    if evaluation.network == "in_domain":
        return _in_domain(config, workspace)
    if evaluation.network == "keras_inception":
        return _keras_inception(evaluation, image_size)
    if evaluation.network == "vgg19_block3":
        return _vgg19(evaluation, image_size)
    if evaluation.network == "inception_tfgan":
        handle = evaluation.handle or gan_library.INCEPTION_HANDLE
        arguments = (gan_library.INCEPTION_OUTPUTS, "", (-1.0, 1.0), gan_library.INCEPTION_SIZE)
    else:
        handle = evaluation.handle
        arguments = (evaluation.outputs, evaluation.signature, tuple(evaluation.input_range), evaluation.input_size)
    try:
        network = HubNetwork(handle, *arguments)
    except FeatureWeightsError as error:
        raise FeatureWeightsError(f"evaluation.handle: {str(error).rstrip('.')}; or {_WITHOUT_NETWORK}.") from error
    except UserError as error:
        raise type(error)(f"evaluation: {error}") from error
    identity = f"{_content(handle)} {arguments}"
    resize = _resize_label(image_size, *network.size)
    return FeatureExtractor(network, evaluation.network, resize, identity, evaluation.batch_size)


def _in_domain(config: config_lib.ExperimentConfig, workspace: Workspace) -> FeatureExtractor:
    classifier = in_domain_classifier.trained(config, workspace)
    return FeatureExtractor(
        classifier.features_and_logits,
        "in_domain",
        _resize_label(config.data.image_size),
        _digest(classifier.model.get_weights()),
        config.evaluation.batch_size,
        classifier.notes,
        classifier.caution,
    )


def _keras_inception(evaluation: config_lib.EvaluationConfig, image_size: int) -> FeatureExtractor:
    """Keras' InceptionV3: other weights than tensorflow-gan's, so other scores."""
    weights, size = evaluation.weights, gan_library.INCEPTION_SIZE
    if weights != "imagenet" and not pathlib.Path(weights).is_file():
        raise FeatureWeightsError(f"evaluation.weights: there is no file {weights}; give one, or 'imagenet'.")
    try:
        with _float32():
            model = tf.keras.applications.InceptionV3(weights=weights, classifier_activation=None)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise FeatureWeightsError(
            f"Keras' InceptionV3 cannot be made with evaluation.weights {weights} ({reason}); give the path of Keras' "
            f".h5 file with the classes' layer, or {_WITHOUT_NETWORK}."
        ) from error
    network = tf.keras.Model(model.input, [model.get_layer("avg_pool").output, model.output])

    def call(images: tf.Tensor) -> Sequence[tf.Tensor]:
        resized = tf.image.resize(images, (size, size), antialias=True)
        return network(resized, training=False)

    identity = _digest(network.get_weights())
    return FeatureExtractor(call, "keras_inception", _resize_label(image_size, size), identity, evaluation.batch_size)


def _vgg19(evaluation: config_lib.EvaluationConfig, image_size: int) -> FeatureExtractor:
    """VGG19's maps after its third block, averaged over space: a network without classes."""
    if evaluation.weights == "random":
        raise FeatureWeightsError(
            "evaluation.weights is 'random'; distances under random features mean nothing to others, so give the path "
            f"of a .npz or .h5 file, or 'imagenet', or {_WITHOUT_NETWORK}."
        )
    try:
        network = FeatureNetwork(config_lib.FeatureNetworkConfig(weights=evaluation.weights, layers=[_VGG19_LAYER]))
    except FeatureWeightsError as error:
        # The network is the losses' as well.
        reason = str(error).replace("losses.feature_network.weights", "evaluation.weights").rstrip(".")
        raise FeatureWeightsError(f"{reason}; or {_WITHOUT_NETWORK}.") from error

    def call(images: tf.Tensor) -> Sequence[tf.Tensor]:
        return [tf.reduce_mean(maps, axis=[1, 2]) / _VGG19_SCALE for maps in network(images)]

    identity = _digest(network.get_weights())
    return FeatureExtractor(call, "vgg19_block3", _resize_label(image_size), identity, evaluation.batch_size)


@contextlib.contextmanager
def _float32() -> Iterator[None]:
    """Keras layers made here compute in float32 whatever precision training uses."""
    policy = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("float32")
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(policy)


def _resize_label(image_size: int, *sides) -> str:
    """ "none64" where images keep their side, else "bilinear299", with both sides where they differ."""
    sides = [side or image_size for side in sides] or [image_size]
    kind = "none" if set(sides) == {image_size} else "bilinear"
    return kind + "x".join(str(side) for side in dict.fromkeys(sides))


def _content(handle: str) -> str:
    """A digest of a local handle's files; an address itself, whose content is for its owner to keep."""
    path = pathlib.Path(handle)
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    if not path.exists():
        return handle
    return _digest([part for file in files for part in (file.name.encode(), file.read_bytes())])


def _digest(parts) -> str:
    """A short hash of bytes or arrays."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]
