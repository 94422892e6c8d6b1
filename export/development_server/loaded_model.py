"""One version of a SavedModel, loaded, answering what tensorflow/serving's services ask of it."""

import contextlib
import pathlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Optional

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import message
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2, predict_pb2
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest, GetModelStatusResponse

from export.development_server.folder import WARM_UP, ServingError, find_version, read_signatures, warm_up_requests
from export.development_server.status import StatusError, shown
from export.development_server.tensor_checks import TensorLimits, TensorSpec, check_batches, check_names, decode
from rgan_tf import export_files
from rgan_tf.runtime_messages import sentence_of

DEFAULT_SIGNATURE = "serving_default"
SIGNATURE_FIELD = "signature_def"


class Limits(NamedTuple):
    """What one server takes: bytes of a message, predictions at a time, scenes of a request."""

    max_message_bytes: int = 32 << 20
    max_concurrency: int = 4
    max_batch: int = 64


DEFAULT_LIMITS = Limits()


class Signature(NamedTuple):
    """One of a model's functions: its name, its inputs by name, the names of its outputs."""

    name: str
    inputs: dict[str, TensorSpec]
    outputs: tuple[str, ...]


class ServedModel:
    """A loaded version. Its methods may be called from several threads; what they refuse is a `StatusError`."""

    def __init__(self, model_dir, name: str, version: Optional[int] = None, limits: Limits = DEFAULT_LIMITS):
        """Loads a version and replays its warm-up requests.

        Args:
          model_dir: folder of versions, folders with integer names.
          name: what clients call the model.
          version: the one to serve; None: the newest.
          limits: what requests may ask for.

        Raises:
          DamageError: a file of it is damaged.
          ServingError: there is no such version, or it cannot be loaded, or it fails at its own warm-up requests.
        """
        self.name, self.limits = name, limits
        self.version, path = find_version(pathlib.Path(model_dir), version)
        export_files.check(path, extras=[WARM_UP])
        self._signature_defs = read_signatures(path)
        self._signatures = {key: _signature(key, parts) for key, parts in self._signature_defs.items()}
        try:
            # Kept whole: signatures do not hold on to the model's variables.
            self._model = tf.saved_model.load(str(path))
        except (OSError, ValueError, LookupError, RuntimeError, message.DecodeError, tf.errors.OpError) as error:
            raise ServingError(f"The model {path} cannot be loaded: {sentence_of(str(error))}") from error
        self._places = threading.BoundedSemaphore(limits.max_concurrency)
        self._warm_up(path)

    def check(self, spec: model_pb2.ModelSpec) -> None:
        """Refuses to speak for another model or version.

        Raises:
          StatusError: NOT_FOUND; INVALID_ARGUMENT for no name, and for a label, of which this server knows none.
        """
        if not spec.name:
            raise StatusError.invalid("The request names no model.")
        choice = spec.WhichOneof("version_choice")
        if choice == "version_label":
            raise StatusError.invalid(f'The version label "{shown(spec.version_label)}" is not known.')
        version = spec.version.value if choice else self.version
        if spec.name != self.name or version != self.version:
            wanted = f'"{shown(spec.name)}"' + (f" version {version}" if choice else "")
            raise StatusError(
                grpc.StatusCode.NOT_FOUND,
                f'The model {wanted} is not served here; this is "{self.name}" version {self.version}.',
            )

    def signature(self, name: str) -> Signature:
        """A signature by name, "" meaning the default one.

        Raises:
          StatusError: FAILED_PRECONDITION; there is no such signature.
        """
        name = name or DEFAULT_SIGNATURE
        if name not in self._model.signatures:
            known = ", ".join(sorted(self._model.signatures))
            raise StatusError(
                grpc.StatusCode.FAILED_PRECONDITION, f'The model has no signature "{shown(name)}"; it has {known}.'
            )
        return self._signatures[name]

    def tensor_limits(self) -> TensorLimits:
        """What one input may be."""
        return TensorLimits(self.limits.max_batch, self.limits.max_message_bytes)

    def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """Answers PredictionService.Predict.

        Raises:
          StatusError: as tensorflow/serving does.
        """
        if not request.HasField("model_spec"):
            raise StatusError.invalid("The request has no model_spec.")
        self.check(request.model_spec)
        signature = self.signature(request.model_spec.signature_name)
        check_names(signature.inputs, request.inputs)
        limits = self.tensor_limits()
        arrays = {alias: decode(spec, request.inputs[alias], limits) for alias, spec in signature.inputs.items()}
        response = predict_pb2.PredictResponse()
        response.model_spec.name, response.model_spec.signature_name = self.name, signature.name
        response.model_spec.version.value = self.version
        for alias, value in self.run(signature, arrays, request.output_filter).items():
            # NumPy does not say that objects are texts where there are none.
            dtype = tf.string if value.dtype == object else value.dtype
            response.outputs[alias].CopyFrom(tf.make_tensor_proto(value, dtype))
        return response

    def run(
        self, signature: Signature, arrays: Mapping[str, np.ndarray], output_filter: Sequence[str] = ()
    ) -> dict[str, np.ndarray]:
        """Runs a signature on arrays that have the types and shapes of its inputs.

        Returns:
          Every output, or those of the filter, by name.

        Raises:
          StatusError: INVALID_ARGUMENT for batches that differ, for an unknown or repeated output, and for values that
            the model refuses; RESOURCE_EXHAUSTED while as many predictions run as may.
        """
        for i, alias in enumerate(output_filter):
            if alias not in signature.outputs:
                raise StatusError.invalid(
                    f'The signature has no output "{shown(alias)}"; it has {", ".join(signature.outputs)}.'
                )
            if alias in output_filter[:i]:
                raise StatusError.invalid(f'The output "{alias}" is asked for twice.')
        check_batches(signature.inputs, arrays)
        feeds = {alias: tf.constant(arrays[alias], spec.dtype) for alias, spec in signature.inputs.items()}
        with self._place():
            try:
                results = self._model.signatures[signature.name](**feeds)
                return {alias: results[alias].numpy() for alias in output_filter or signature.outputs}
            except tf.errors.OpError as error:
                raise StatusError.of_runtime(error.error_code, error.message) from error

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise StatusError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"This server runs {self.limits.max_concurrency} predictions at a time and all are taken; try again.",
            )
        try:
            yield
        finally:
            self._places.release()

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Answers PredictionService.GetModelMetadata: the signatures.

        Raises:
          StatusError: as tensorflow/serving does.
        """
        if not request.HasField("model_spec"):
            raise StatusError.invalid("The request has no model_spec.")
        if set(request.metadata_field) != {SIGNATURE_FIELD}:
            fields = shown(", ".join(request.metadata_field[:3])) or "none"
            raise StatusError.invalid(f'The metadata_field is {fields}; the one there is, is "{SIGNATURE_FIELD}".')
        self.check(request.model_spec)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = self.name
        response.model_spec.version.value = self.version
        response.metadata[SIGNATURE_FIELD].Pack(self.signature_map())
        return response

    def signature_map(self) -> get_model_metadata_pb2.SignatureDefMap:
        """All signatures as the SavedModel describes them."""
        return get_model_metadata_pb2.SignatureDefMap(signature_def=self._signature_defs)

    def status(self, request: GetModelStatusRequest) -> GetModelStatusResponse:
        """Answers ModelService.GetModelStatus: the one version, available.

        Raises:
          StatusError: as tensorflow/serving does.
        """
        if not request.HasField("model_spec"):
            raise StatusError.invalid("The request has no model_spec.")
        self.check(request.model_spec)
        available = get_model_status_pb2.ModelVersionStatus(version=self.version, state="AVAILABLE")
        # Zero as it is: set, so that there is a status at all, which the JSON form then shows.
        available.status.error_code = 0
        return GetModelStatusResponse(model_version_status=[available])

    def _warm_up(self, path: pathlib.Path) -> None:
        """Replays the requests that come with the model: the first of each signature is slow."""
        for number, request in enumerate(warm_up_requests(path)):
            # Recorded under whatever name; it is this model that is meant.
            request.model_spec.name = self.name
            request.model_spec.ClearField("version_choice")
            try:
                self.predict(request)
            except StatusError as error:
                raise ServingError(f"The model {path} fails at its warm-up request {number}: {error}") from error


def _signature(name: str, parts: meta_graph_pb2.SignatureDef) -> Signature:
    inputs = {alias: TensorSpec.of(alias, info) for alias, info in sorted(parts.inputs.items())}
    return Signature(name, inputs, tuple(sorted(parts.outputs)))
