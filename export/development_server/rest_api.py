"""The REST side of the development server: status, metadata and :predict as tensorflow/serving has them."""

import json
import logging as standard_logging
import socket
import threading

import grpc
import waitress
from absl import logging
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2
from waitress import wasyncore
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter, Map, Rule
from werkzeug.wrappers import Request, Response

from export.development_server import json_tensors
from export.development_server.folder import ServingError
from export.development_server.loaded_model import SIGNATURE_FIELD, ServedModel
from export.development_server.status import StatusError, shown

# tensorflow/serving's table of codes; what it does not list is 500.
_HTTP_STATUS = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}
_SPARE_THREADS = 4
_MAX_CONNECTIONS = 64


class _Name(BaseConverter):
    regex = "[^/:]+"


def _rules() -> list[Rule]:
    """Every path there is."""
    rules = []
    for choice in ("", "/versions/<int:version>", "/labels/<name:label>"):
        path = f"/v1/models/<name:model>{choice}"
        rules += [
            Rule(path, endpoint="status", methods=["GET"]),
            Rule(f"{path}/metadata", endpoint="metadata", methods=["GET"]),
            Rule(f"{path}:predict", endpoint="predict", methods=["POST"]),
            Rule(f"{path}:<any(classify, regress):method>", endpoint="unimplemented", methods=["POST"]),
        ]
    return rules


class RestApplication:
    """The WSGI application of a `ServedModel`."""

    _paths = Map(_rules(), converters={"name": _Name})

    def __init__(self, model: ServedModel):
        """Takes the model to speak for."""
        self._model = model

    def __call__(self, environ, start_response):
        """Answers one request; an error is an object with the one key "error"."""
        request = Request(environ)
        try:
            body, status = self._answer(request), 200
        except StatusError as error:
            body, status = {"error": str(error)}, _HTTP_STATUS.get(error.code, 500)
        except HTTPException:
            body = {"error": f"There is nothing to {request.method} at {shown(request.path)}."}
            # As the real server has it: malformed within its API, not found beyond.
            status = 400 if request.path.startswith("/v1/") else 404
        except Exception:  # As in the gRPC handlers.
            logging.exception("%s %s failed.", request.method, request.path)
            body, status = {"error": "The server failed at this request; its log says why."}, 500
        text = body if isinstance(body, str) else json.dumps(body)
        return Response(text, status, content_type="application/json")(environ, start_response)

    def _answer(self, request: Request):
        endpoint, values = self._paths.bind_to_environ(request.environ).match()
        spec = model_pb2.ModelSpec(name=values["model"], version_label=values.get("label"))
        if "version" in values:
            _set_version(spec, values["version"])
        return getattr(self, f"_{endpoint}")(spec, request)

    def _status(self, spec: model_pb2.ModelSpec, request: Request) -> str:
        return _to_json(self._model.status(get_model_status_pb2.GetModelStatusRequest(model_spec=spec)))

    def _metadata(self, spec: model_pb2.ModelSpec, request: Request) -> dict:
        wanted = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=[SIGNATURE_FIELD])
        answer = self._model.metadata(wanted)
        signatures = _to_json(self._model.signature_map())
        return {
            "model_spec": json.loads(_to_json(answer.model_spec)),
            "metadata": {SIGNATURE_FIELD: json.loads(signatures)},
        }

    def _predict(self, spec: model_pb2.ModelSpec, request: Request) -> dict:
        self._model.check(spec)
        body = json_tensors.parse_body(request.get_data())
        signature = self._model.signature(body.signature)
        arrays = json_tensors.read_inputs(body, signature.inputs, self._model.tensor_limits())
        return json_tensors.write_outputs(self._model.run(signature, arrays), body.by_row)

    def _unimplemented(self, spec: model_pb2.ModelSpec, request: Request):
        raise StatusError(grpc.StatusCode.UNIMPLEMENTED, "This server answers :predict alone.")


class RestServer:
    """The application on a port."""

    def __init__(self, model: ServedModel, host: str, port: int):
        """Listens on a port, any free one for 0, and answers from threads of its own.

        Raises:
          ServingError: the port is taken.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listening = socket.create_server((host, port), family=family)
        except OSError as error:
            raise ServingError(
                f"The REST address {host}:{port} cannot be used ({error.strerror}); choose other --rest_port or --host."
            ) from error
        self.port = listening.getsockname()[1]
        # Its warnings of a full queue are of no use to whoever reads the terminal.
        standard_logging.getLogger("waitress").setLevel(standard_logging.ERROR)
        self._connections: dict = {}
        self._server = waitress.create_server(
            RestApplication(model),
            map=self._connections,
            sockets=[listening],
            threads=model.limits.max_concurrency + _SPARE_THREADS,
            connection_limit=_MAX_CONNECTIONS,
            max_request_body_size=model.limits.max_message_bytes,
            ident=None,
        )
        self._thread = threading.Thread(target=self._server.run, name="rest", daemon=True)
        self._thread.start()

    def stop(self, grace: float) -> None:
        """Lets requests under way end, for `grace` seconds at most, and closes every connection."""
        self._server.task_dispatcher.shutdown(timeout=grace)
        # In the thread that waits on the connections, which then has none left and ends.
        self._server.trigger.pull_trigger(lambda: wasyncore.close_all(self._connections))
        self._thread.join(grace)


def _set_version(spec: model_pb2.ModelSpec, version: int) -> None:
    try:
        spec.version.value = version
    except ValueError as error:
        raise StatusError.invalid(f"The version {shown(str(version))} is not a 64-bit integer.") from error


def _to_json(proto) -> str:
    """With every field, as the real server prints them."""
    return json_format.MessageToJson(proto, including_default_value_fields=True, preserving_proto_field_name=True)
