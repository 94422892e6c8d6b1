"""A feature network that somebody exported: a SavedModel from a folder, an archive or TF Hub, frozen.

A SavedModel is a program: its graph can do whatever TensorFlow's operations can, reading and writing files among it.
Only trusted ones belong here. tensorflow_hub, which finds and unpacks them, refuses links and members that would leave
the archive's folder, but bounds no sizes and compares no digests. It keeps what it downloads for later runs, by handle,
in TFHUB_CACHE_DIR; without that variable in the system's temporary folder, where on a shared machine somebody else
could have put another model.
"""

import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Callable, NamedTuple

import tensorflow as tf
import tensorflow_hub as hub
from tensorflow_hub import file_utils

from rgan_tf.config import ConfigError
from rgan_tf.models.feature_weights import FeatureWeightsError
from rgan_tf.models.layers import fold

_ARCHIVES = (".tar", ".tar.gz", ".tgz")


class HubNetwork:
    """Feature maps, or other values, of images under a SavedModel.

    Attributes:
      size: height and width that images are resized to, None for a side that they keep.

    Its variables are frozen and offered to no optimizer; gradients flow to the image as far as its graph lets them.
    What is done to images and outputs here is in float32 under any precision policy.
    A TensorFlow 1 model whose variables are no resources works on one replica alone, and not with XLA.
    """

    def __init__(
        self,
        handle: str,
        outputs: Sequence[str],
        signature: str = "serving_default",
        input_range: tuple[float, float] = (0.0, 1.0),
        input_size: int = 0,
    ):
        """Finds and loads the SavedModel; call it in the strategy's scope.

        Args:
          handle: a folder, a .tar, .tar.gz or .tgz file, or an address that tensorflow_hub can resolve
            (https://tfhub.dev/…, that of any archive, gs://…).
          outputs: names of the outputs to give, in this order.
          signature: one of the SavedModel's signatures; "" is the object's own call, in inference mode, whose outputs
            have the names that a signature would give them: a dictionary's keys, else output_0, output_1, ….
          input_range: what -1 and 1 become before the network sees them.
          input_size: side to which images are resized; 0 leaves them alone, unless the network has a fixed size.

        Raises:
          FeatureWeightsError: there is no SavedModel to be had, or it cannot be loaded.
          ConfigError: it lacks the signature or an output, or takes anything but one batch of images.
        """
        self._loaded = _load(handle)  # Its functions hold its variables weakly.
        function = _own_call(self._loaded, handle) if signature == "" else _signature(self._loaded, handle, signature)
        if not outputs:
            raise ConfigError(f"No outputs of {handle} are asked for; it has {_listed(sorted(function.outputs))}.")
        for name in outputs:
            _check_output(handle, name, function.outputs)
        # Not named _call: tf.function would take it for the object's own.
        self._function, self._outputs = function, list(outputs)
        self._scale, self._low = (input_range[1] - input_range[0]) / 2.0, input_range[0]
        self.size = _input_size(handle, function.image, input_size)

    def __call__(self, images: tf.Tensor) -> list[tf.Tensor]:
        """Gives the outputs for images.

        Args:
          images: float [B, ..., H, W, 3] in [-1, 1]; all but B static. They are resized where the network asks for it,
            bilinearly and antialiased, as by `tf.image.resize`.

        Returns:
          float32 [B, ..., and the output's own dimensions after the first], in the order asked for.
        """
        images = tf.cast(images, tf.float32)
        inner = images.shape[1:-3]
        pixels = (_resize(fold(images, 3), self.size) + 1.0) * self._scale + self._low
        values = self._function.call(tf.cast(pixels, self._function.image.dtype))
        return [_unfold(tf.cast(values[name], tf.float32), inner) for name in self._outputs]


class _Function(NamedTuple):
    """A function of a SavedModel: how it is called, the image it takes, the outputs it gives by name."""

    call: Callable[[tf.Tensor], Mapping[str, tf.Tensor]]
    image: tf.TensorSpec
    outputs: Mapping[str, tf.TensorSpec]


def _load(handle: str):
    """The SavedModel, all its variables frozen."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            folder = _resolve(handle, scratch)
        except Exception as error:
            raise FeatureWeightsError(
                f"The feature network {handle} cannot be found or fetched ({_first_line(error)}); give the folder or "
                "archive of a SavedModel, or an address that this machine can reach."
            ) from error
        if not tf.saved_model.contains_saved_model(folder):
            kept = "" if folder in (handle, scratch) else f" (what came is in {folder}; remove it to fetch it again)"
            raise FeatureWeightsError(
                f"The feature network {handle} is not a SavedModel: it has no saved_model.pb at its top{kept}."
            )
        try:
            with tf.variable_creator_scope(_frozen):
                return hub.load(folder)
        except Exception as error:
            raise FeatureWeightsError(
                f"The feature network {handle} is a SavedModel that cannot be loaded: {_first_line(error)}"
            ) from error


def _resolve(handle: str, scratch: str) -> str:
    """The folder of a handle; a local archive, which hub.resolve takes for a folder, is unpacked into `scratch`."""
    if handle.endswith(_ARCHIVES) and "://" not in handle:
        with open(handle, "rb") as archive:
            file_utils.extract_tarfile_to_destination(archive, scratch)
        return scratch
    return hub.resolve(handle)


def _frozen(create: Callable, **settings):
    """A variable creator; without it gradient tapes would watch the network's variables."""
    return create(**{**settings, "trainable": False})


def _signature(loaded, handle: str, name: str) -> _Function:
    if name not in loaded.signatures:
        own_call = ", and its own call, which is ''" if callable(loaded) else ""
        known = _listed(sorted(loaded.signatures)) + own_call
        raise ConfigError(f"The feature network {handle} has no signature {name!r}; it has {known}.")
    function = loaded.signatures[name]
    _, arguments = function.structured_input_signature
    if not _is_one_image(arguments.values()):
        raise _not_one_image(handle, arguments.values())
    ((key, image),) = arguments.items()
    return _Function(lambda images: function(**{key: images}), image, function.structured_outputs)


def _own_call(loaded, handle: str) -> _Function:
    """The object's call, under those settings it was exported with that ask for no training and no extras."""
    if not callable(loaded):
        known = _listed(sorted(loaded.signatures))
        raise ConfigError(f"The feature network {handle} has no call of its own; its signatures are {known}.")
    tensors: list[tf.TensorSpec] = []
    for function in loaded.__call__.concrete_functions:
        settings = function.structured_input_signature
        leaves = tf.nest.flatten(settings)
        tensors = [leaf for leaf in leaves if isinstance(leaf, tf.TensorSpec)]
        if _is_one_image(tensors) and not any(leaf is True for leaf in leaves):
            return _Function(_caller(loaded, settings), tensors[0], _named(function.structured_outputs))
    raise _not_one_image(handle, tensors)


def _caller(loaded, settings) -> Callable[[tf.Tensor], Mapping[str, tf.Tensor]]:
    def call(images):
        arguments, keywords = tf.nest.map_structure(
            lambda leaf: images if isinstance(leaf, tf.TensorSpec) else leaf, settings
        )
        return _named(loaded(*arguments, **keywords))

    return call


def _named(outputs: Any) -> Mapping[str, Any]:
    """Outputs under the names that a signature would give them."""
    if isinstance(outputs, Mapping):
        return outputs
    if not isinstance(outputs, (list, tuple)):
        outputs = [outputs]
    return {f"output_{index}": value for index, value in enumerate(outputs)}


def _is_one_image(tensors: Collection[tf.TensorSpec]) -> bool:
    """Whether all there is to give is one float tensor [B, H, W, 3] of any B."""
    return len(tensors) == 1 and all(
        spec.dtype.is_floating and spec.shape.is_compatible_with([None, None, None, 3]) and _any_batch(spec)
        for spec in tensors
    )


def _any_batch(spec: tf.TensorSpec) -> bool:
    """Whether the first dimension is there and free."""
    return spec.shape.rank is None or (spec.shape.rank > 0 and spec.shape[0] is None)


def _not_one_image(handle: str, tensors: Collection[tf.TensorSpec]) -> ConfigError:
    found = [f"{spec.name} {spec.dtype.name} {spec.shape}" for spec in tensors]
    return ConfigError(
        f"The feature network {handle} takes {_listed(found)} under this signature; it must take one float tensor "
        "[B, H, W, 3], any B; name another signature ('' is the object's own call)."
    )


def _check_output(handle: str, name: str, outputs: Mapping[str, tf.TensorSpec]) -> None:
    if name not in outputs:
        raise ConfigError(f"The feature network {handle} has no output {name!r}; it has {_listed(sorted(outputs))}.")
    spec = outputs[name]
    # A TensorFlow 1 model describes its outputs by symbolic tensors.
    if not isinstance(spec, (tf.TensorSpec, tf.Tensor)) or not spec.dtype.is_floating or not _any_batch(spec):
        raise ConfigError(f"The feature network {handle}: output {name!r} is {spec}, not float values of each image.")


def _input_size(handle: str, image: tf.TensorSpec, asked: int) -> tuple:
    """Height and width that images get, None where they keep their own."""
    own = (None, None) if image.shape.rank is None else tuple(image.shape[1:3])
    if asked and any(side not in (None, asked) for side in own):
        raise ConfigError(
            f"The feature network {handle} takes images of {own[0]} x {own[1]} pixels alone, not {asked} x {asked}; "
            "leave its input size 0."
        )
    return tuple(side or asked or None for side in own)


def _resize(images: tf.Tensor, size: tuple) -> tf.Tensor:
    """[M, H, W, 3] to the given sides, each None or static; as products of matrices, which XLA compiles."""
    height, width = images.shape[1:3]
    if size[0] not in (None, height):
        images = tf.einsum("yh,bhwc->bywc", _resize_weights(height, size[0]), images)
    if size[1] not in (None, width):
        images = tf.einsum("xw,bhwc->bhxc", _resize_weights(width, size[1]), images)
    return images


def _resize_weights(side: int, target: int):
    """Float32 [target, side]: `tf.image.resize` of one axis, whose antialiasing kernel XLA lacks, as a matrix."""
    with tf.init_scope(), tf.device("CPU:0"):
        basis = tf.eye(side)[:, tf.newaxis, :]
        return tf.image.resize(basis, (target, 1), antialias=True)[:, 0].numpy()


def _unfold(values: tf.Tensor, inner: Sequence[int]) -> tf.Tensor:
    """`layers.unfold` of values whose further dimensions may be unknown."""
    return tf.reshape(values, tf.concat([[-1], inner, tf.shape(values)[1:]], axis=0)) if len(inner) else values


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
