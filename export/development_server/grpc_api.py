"""The gRPC side of the development server: tensorflow/serving's services over a `ServedModel`.

Requests are decoded here rather than by gRPC, which would answer bytes that are no request with INTERNAL. Methods that
are not listed are answered UNIMPLEMENTED.
"""

from concurrent import futures
from typing import Callable

import grpc
from absl import logging
from google.protobuf import message
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from export.development_server.folder import ServingError
from export.development_server.loaded_model import ServedModel
from export.development_server.status import StatusError

# Threads beyond those that predict, so that health is answered meanwhile.
_SPARE_THREADS = 4


def handlers(model: ServedModel) -> list[grpc.GenericRpcHandler]:
    """The handlers of PredictionService (Predict, GetModelMetadata) and ModelService (GetModelStatus)."""
    prediction = {
        "Predict": _method(predict_pb2.PredictRequest, model.predict),
        "GetModelMetadata": _method(get_model_metadata_pb2.GetModelMetadataRequest, model.metadata),
    }
    status = {"GetModelStatus": _method(get_model_status_pb2.GetModelStatusRequest, model.status)}
    return [
        grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", prediction),
        grpc.method_handlers_generic_handler("tensorflow.serving.ModelService", status),
    ]


def start(model: ServedModel, host: str, port: int) -> tuple[grpc.Server, int]:
    """Starts a server on a port, any free one for 0.

    Returns:
      The server and its port.

    Raises:
      ServingError: the port is taken.
    """
    threads = model.limits.max_concurrency + _SPARE_THREADS
    server = grpc.server(
        futures.ThreadPoolExecutor(threads, thread_name_prefix="grpc"),
        handlers(model),
        options=[
            ("grpc.max_receive_message_length", model.limits.max_message_bytes),
            # Two servers on one port would share its calls at random.
            ("grpc.so_reuseport", 0),
        ],
        maximum_concurrent_rpcs=threads,
    )
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        # As gRPC's older releases say it.
        port = 0
    if not port:
        raise ServingError(f"The gRPC address {address} cannot be used; choose another --port or --host.")
    server.start()
    return server, port


def _method(request_type: type, answer: Callable) -> grpc.RpcMethodHandler:
    def handle(content: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            return answer(_parsed(request_type, content)).SerializeToString()
        except StatusError as error:
            status = error.code, str(error)
        except Exception:  # A fault of this server or of the model's: the caller hears of it, its trace is for us.
            logging.exception("%s failed.", request_type.__name__)
            status = grpc.StatusCode.INTERNAL, "The server failed at this request; its log says why."
        context.abort(*status)

    return grpc.unary_unary_rpc_method_handler(handle)


def _parsed(request_type: type, content: bytes) -> message.Message:
    try:
        return request_type.FromString(content)
    except message.DecodeError as error:
        raise StatusError.invalid(
            f"The {len(content)} bytes of the request are not a {request_type.DESCRIPTOR.full_name}."
        ) from error
