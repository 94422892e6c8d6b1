"""A connection to a server over gRPC: calls with patience, arrays in and out."""

import itertools
import random
import time
from collections.abc import Sequence
from typing import Callable, Optional, TypeVar, Union

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, model_pb2, predict_pb2, prediction_service_pb2_grpc

from rgan_tf.errors import UserError
from rgan_tf.runtime_messages import sentence_of

_RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_MAX_MESSAGE_BYTES = 256 << 20
_METADATA = "signature_def"

# A version's number, or its label.
Version = Union[int, str]

_Self = TypeVar("_Self", bound="Connection")


class GenerationError(UserError):
    """A call that failed. `code` is its gRPC status, `sentence` what the server, or gRPC, says of it."""

    def __init__(self, address: str, code: grpc.StatusCode, sentence: str):
        """Takes the server's address, the status, and what was said."""
        super().__init__(f"The call to {address} failed with {code.name}: {sentence}")
        self.code, self.sentence = code, sentence


class Connection:
    """A connection to a server of a model. Use as a context manager, or call `close`."""

    def __init__(
        self,
        address: str,
        model: str = "rgan_tf",
        timeout: float = 60.0,
        attempts: int = 5,
        max_message_bytes: int = _MAX_MESSAGE_BYTES,
        root_certificates: Optional[bytes] = None,
        client_key: Optional[bytes] = None,
        client_certificate: Optional[bytes] = None,
    ):
        """Prepares a connection, which the first call opens.

        Args:
          address: HOST:PORT of gRPC.
          model: the server's name for the model.
          timeout: seconds for a whole call, pauses and further attempts included.
          attempts: how often a call is tried while the server is unavailable or exhausted, with growing pauses between.
          max_message_bytes: largest message to send or take; gRPC's own 4 MiB is too little for a batch of pictures.
          root_certificates: PEM of whom to trust; with these, or a client certificate, the connection is TLS.
          client_key: PEM, where the server asks for a client certificate.
          client_certificate: PEM, likewise.
        """
        self.address, self.model = address, model
        self._timeout, self._attempts = timeout, attempts
        options = [
            ("grpc.max_send_message_length", max_message_bytes),
            ("grpc.max_receive_message_length", max_message_bytes),
            # A lost connection is tried again as soon as our own pauses are over.
            ("grpc.initial_reconnect_backoff_ms", int(_FIRST_PAUSE * 1000)),
            ("grpc.max_reconnect_backoff_ms", int(_LONGEST_PAUSE * 1000)),
        ]
        if root_certificates or client_certificate:
            credentials = grpc.ssl_channel_credentials(root_certificates, client_key, client_certificate)
            self._channel = grpc.secure_channel(address, credentials, options)
        else:
            self._channel = grpc.insecure_channel(address, options)
        self._signatures: dict[Optional[Version], dict[str, meta_graph_pb2.SignatureDef]] = {}
        self._service = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """Closes the connection; calls under way are cancelled."""
        self._channel.close()

    def signature_def(self, signature: str, version: Optional[Version] = None) -> meta_graph_pb2.SignatureDef:
        """A signature as the model describes it, empty where it has none; asked for once, and again after a failure.

        Raises:
          GenerationError: the call failed.
        """
        if version not in self._signatures:
            request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=self._spec("", version))
            request.metadata_field.append(_METADATA)
            response = self._call(self._service.GetModelMetadata, request)
            signatures = get_model_metadata_pb2.SignatureDefMap()
            response.metadata[_METADATA].Unpack(signatures)
            self._signatures[version] = dict(signatures.signature_def)
        return self._signatures[version].get(signature, meta_graph_pb2.SignatureDef())

    def predict(
        self,
        signature: str,
        inputs: dict[str, np.ndarray],
        output_filter: Sequence[str] = (),
        version: Optional[Version] = None,
    ) -> dict[str, np.ndarray]:
        """Calls a signature with arrays; gives the outputs named, or all.

        Raises:
          GenerationError: the call failed, or the answer lacks an output.
        """
        request = predict_pb2.PredictRequest(model_spec=self._spec(signature, version), output_filter=output_filter)
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        response = self._call(self._service.Predict, request)
        missing = sorted(set(output_filter) - set(response.outputs))
        if missing:
            raise self._unusable(f'the answer of "{signature}" lacks {", ".join(missing)}')
        return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}

    def _spec(self, signature: str, version: Optional[Version]) -> model_pb2.ModelSpec:
        spec = model_pb2.ModelSpec(name=self.model, signature_name=signature)
        if isinstance(version, str):
            spec.version_label = version
        elif version is not None:
            spec.version.value = version
        return spec

    def _call(self, method: Callable, request):
        """Calls until it is answered, refused, or no attempt or time is left."""
        deadline = time.monotonic() + self._timeout
        for attempt in itertools.count(1):
            try:
                return method(request, timeout=deadline - time.monotonic())
            except grpc.RpcError as error:
                pause = min(_FIRST_PAUSE * 2 ** (attempt - 1), _LONGEST_PAUSE) * random.uniform(0.5, 1.0)
                late = time.monotonic() + pause >= deadline
                if not _worth_another_try(error) or attempt >= self._attempts or late:
                    # Another model may have taken the place of the one that was asked about itself.
                    self._signatures.clear()
                    raise GenerationError(self.address, error.code(), sentence_of(error.details() or "")) from error
            time.sleep(pause)

    def _unusable(self, what: str) -> GenerationError:
        """The error of an answer from a model that is not what it is taken for; the model will be asked anew."""
        self._signatures.clear()
        return GenerationError(self.address, grpc.StatusCode.FAILED_PRECONDITION, f"{what}.")


def _worth_another_try(error: grpc.RpcError) -> bool:
    # A message over a limit is RESOURCE_EXHAUSTED as well, and would be again.
    return error.code() in _RETRIED and "larger than max" not in (error.details() or "")
