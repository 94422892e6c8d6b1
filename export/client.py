"""Asks a server for pictures over gRPC: tensorflow/serving, or `export.serve`.

    with GenerationClient("127.0.0.1:8500") as client:
        drawn = client.generate(scenes, seed=3)

and from the shell: python -m export.client --server=HOST:PORT --scene=FILE.json --output=FILE.png.
"""

import io
import itertools
import pathlib
import random
import time
from collections.abc import Sequence
from typing import Callable, Optional, Union

import grpc
import numpy as np
from absl import flags
from PIL import Image

from rgan_tf import commands  # isort: split

import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, model_pb2, predict_pb2, prediction_service_pb2_grpc

from rgan_tf import scene_requests
from rgan_tf.drawing import SceneView, draw_sheet
from rgan_tf.errors import UserError
from rgan_tf.runtime_messages import sentence_of
from rgan_tf.scene_graph import SceneGraph, load_scenes
from rgan_tf.scene_requests import GeneratedScene

_RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_MAX_MESSAGE_BYTES = 256 << 20
_METADATA = "signature_def"

# A version's number, or its label.
Version = Union[int, str]


class GenerationError(UserError):
    """A call that failed. `code` is its gRPC status, `sentence` what the server, or gRPC, says of it."""

    def __init__(self, address: str, code: grpc.StatusCode, sentence: str):
        """Takes the server's address, the status, and what was said."""
        super().__init__(f"The call to {address} failed with {code.name}: {sentence}")
        self.code, self.sentence = code, sentence


class GenerationClient:
    """A connection to a server of an exported model. Use as a context manager, or call `close`."""

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
        self._service = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._sizes: dict[Optional[Version], tuple[int, int]] = {}

    def __enter__(self) -> "GenerationClient":
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """Closes the connection; calls under way are cancelled."""
        self._channel.close()

    def sizes(self, version: Optional[Version] = None) -> tuple[int, int]:
        """The most objects and relationships that the model takes, as its signature says.

        Raises:
          GenerationError: the call failed, or the model is not an export of rgan_tf.
        """
        if version not in self._sizes:
            request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=self._spec("", version))
            request.metadata_field.append(_METADATA)
            response = self._call(self._service.GetModelMetadata, request)
            signatures = get_model_metadata_pb2.SignatureDefMap()
            response.metadata[_METADATA].Unpack(signatures)
            inputs = signatures.signature_def[scene_requests.GENERATE].inputs
            shapes = [[dim.size for dim in inputs[name].tensor_shape.dim] for name in ("object_names", "predicates")]
            if any(len(shape) != 2 or shape[1] < 1 for shape in shapes):
                raise self._unusable(f'"{self.model}" takes no scene graphs: it is not an export of rgan_tf')
            self._sizes[version] = (shapes[0][1], shapes[1][1])
        return self._sizes[version]

    def generate(
        self,
        scenes: Sequence[SceneGraph],
        seed: int = 0,
        signature: Optional[str] = None,
        version: Optional[Version] = None,
    ) -> list[GeneratedScene]:
        """Draws scenes, all in one request.

        Args:
          scenes: names are left for the server to check.
          seed: the same seed gives the same picture, whatever else is in the request.
          signature: one that generates; None: the plainest that can say what the scenes fix.
          version: of the model, by number or label; None: the one that the server takes by itself.

        Raises:
          GenerationError: the call failed; nothing is tried again but what the server had no room for.
          UserError: a scene is larger than the model takes.
        """
        signature = signature or scene_requests.pick_signature(scenes)
        inputs = scene_requests.to_inputs(scenes, signature, *self.sizes(version), seed)
        # The filter keeps the raw image out of the answer: the PNG says it all.
        outputs = self.predict(signature, inputs, scene_requests.OUTPUTS, version)
        return scene_requests.from_outputs(scenes, outputs)

    def retrieve(
        self, scenes: Sequence[SceneGraph], seed: int = 0, version: Optional[Version] = None
    ) -> dict[str, np.ndarray]:
        """Each object's ranked candidates: the outputs of the signature "retrieve", padding included.

        Raises:
          GenerationError: the call failed.
          UserError: a scene is larger than the model takes.
        """
        inputs = scene_requests.to_inputs(scenes, scene_requests.GENERATE, *self.sizes(version), seed)
        return self.predict("retrieve", inputs, (), version)

    def synthesize(self, scenes: Sequence[SceneGraph], version: Optional[Version] = None) -> list[np.ndarray]:
        """Pictures uint8 [H, W, 3] of scenes whose every box and patch is given; relationships are not looked at.

        Raises:
          GenerationError: the call failed.
          UserError: a scene is larger than the model takes.
        """
        inputs = scene_requests.to_inputs(scenes, scene_requests.WITH_PATCHES, *self.sizes(version), 0)
        inputs = {name: inputs[name] for name in ("object_names", "boxes", "patch_ids")}
        pictures = self.predict("synthesize", inputs, ("png_bytes",), version)["png_bytes"]
        return [np.asarray(Image.open(io.BytesIO(png), formats=["PNG"])) for png in pictures]

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
                    # A model of other sizes may have taken the place of the one that was asked for them.
                    self._sizes.clear()
                    raise GenerationError(self.address, error.code(), sentence_of(error.details() or "")) from error
            time.sleep(pause)

    def _unusable(self, what: str) -> GenerationError:
        return GenerationError(self.address, grpc.StatusCode.FAILED_PRECONDITION, f"{what}.")


def _worth_another_try(error: grpc.RpcError) -> bool:
    # A message over a limit is RESOURCE_EXHAUSTED as well, and would be again.
    return error.code() in _RETRIED and "larger than max" not in (error.details() or "")


def main() -> None:
    """Reads scenes, has them drawn by the server, writes the PNG."""
    given = flags.FLAGS
    roots = None if given.root_certificates is None else _read(given.root_certificates)
    version = int(given.version) if given.version is not None and given.version.isdecimal() else given.version
    with GenerationClient(given.server, model=given.model, timeout=given.timeout, root_certificates=roots) as client:
        scenes = load_scenes(given.scene, None, *client.sizes(version))
        drawn = client.generate(scenes, given.seed, given.signature, version)
    if given.sheet:
        views = [SceneView(s, g.boxes, g.patches, (("image", g.image),)) for s, g in zip(scenes, drawn)]
        picture = draw_sheet(views)
    else:
        picture = Image.fromarray(np.concatenate([g.image for g in drawn]))
    scene_requests.save_picture(picture, given.output)
    print(f"{given.output}: {len(scenes)} scenes.")


def _read(path: str) -> bytes:
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"The certificates {path} cannot be read: {error.strerror}.") from error


if __name__ == "__main__":
    flags.DEFINE_string("server", None, "HOST:PORT of a server's gRPC.", required=True)
    flags.DEFINE_string("model", "rgan_tf", "The server's name for the model.")
    flags.DEFINE_string("version", None, "A version's number or label; the server's own choice if not given.")
    flags.DEFINE_string("scene", None, "JSON file with a scene graph or a list of them.", required=True)
    flags.DEFINE_string("output", None, "The PNG to write.", required=True)
    flags.DEFINE_integer("seed", 0, "The same seed gives the same picture.", lower_bound=0)
    flags.DEFINE_string("signature", None, "One that generates; chosen by what the scenes fix if not given.")
    flags.DEFINE_bool("sheet", True, "Draw graph, boxes and patches beside each picture; --nosheet: pictures alone.")
    flags.DEFINE_float("timeout", 60.0, "Seconds for a call, further attempts included.", lower_bound=0.001)
    flags.DEFINE_string("root_certificates", None, "PEM file of whom to trust; the connection is then TLS.")
    commands.run(main)
