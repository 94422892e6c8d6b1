"""How the client calls: attempts, pauses, deadlines, limits, TLS; against servers that answer by a script."""

import contextlib
import datetime
import ipaddress
import socket
import threading
import time
from concurrent import futures

import grpc
import numpy as np
import pytest
import tensorflow as tf
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

from export.client import GenerationClient, GenerationError

OK = "OK"
X = {"x": np.array([1.0], np.float32)}


class ScriptedServer:
    """Answers Predict with the codes of a script, in order, and OK when it is over; takes scenes of `sizes`, if any."""

    def __init__(self, script=(), seconds=0.0, answer_bytes=1, credentials=None, port=0, details="No room.", sizes=()):
        self.script, self.seconds, self.answer_bytes, self.details = list(script), seconds, answer_bytes, details
        self.sizes, self.asked_for_sizes, self.calls, self.remaining = sizes, 0, [], []
        handlers = {
            "Predict": grpc.unary_unary_rpc_method_handler(self.predict),
            "GetModelMetadata": grpc.unary_unary_rpc_method_handler(self.metadata),
        }
        self.server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.max_send_message_length", -1)])
        self.server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", handlers)]
        )
        address = f"127.0.0.1:{port}"
        secure, plain = self.server.add_secure_port, self.server.add_insecure_port
        self.port = plain(address) if credentials is None else secure(address, credentials)
        self.address = f"127.0.0.1:{self.port}"

    def predict(self, content, context):
        self.calls.append(time.monotonic())
        self.remaining.append(context.time_remaining())
        time.sleep(self.seconds)
        code = self.script.pop(0) if self.script else OK
        if code != OK:
            context.abort(getattr(grpc.StatusCode, code), self.details)
        response = predict_pb2.PredictResponse()
        response.outputs["y"].CopyFrom(tf.make_tensor_proto(np.zeros(self.answer_bytes, np.uint8)))
        return response.SerializeToString()

    def metadata(self, content, context):
        self.asked_for_sizes += 1
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, size in zip(("object_names", "predicates"), self.sizes):
            shape = signatures.signature_def["serving_default"].inputs[name].tensor_shape
            shape.dim.add(size=-1)
            shape.dim.add(size=size)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(signatures)
        return response.SerializeToString()

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *_):
        self.server.stop(None).wait()


def failing(address, **settings):
    """The error of a call that must fail."""
    with GenerationClient(address, **settings) as client, pytest.raises(GenerationError) as caught:
        client.predict("", X)
    assert "\n" not in str(caught.value) and address in str(caught.value)
    return caught.value


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED"])
def test_no_room_is_tried_again_after_growing_pauses(code):
    with ScriptedServer([code] * 3) as server, GenerationClient(server.address) as client:
        assert client.predict("", X)["y"].tolist() == [0]
    assert len(server.calls) == 4
    # 0.1, 0.2 and 0.4 seconds, each shortened by up to a half; and what a busy machine adds.
    pauses = np.diff(server.calls)
    assert (pauses >= [0.05, 0.1, 0.2]).all() and (pauses < np.array([0.1, 0.2, 0.4]) + 2).all(), pauses


def test_pauses_differ_between_clients(monkeypatch):
    pauses = []
    monkeypatch.setattr("export.connection.time.sleep", pauses.append)
    for _ in range(4):
        with ScriptedServer(["UNAVAILABLE"]) as server, GenerationClient(server.address) as client:
            client.predict("", X)
    # The server's own sleeps are of no time.
    pauses = [pause for pause in pauses if pause]
    assert len(set(pauses)) == 4 and all(0.05 <= pause <= 0.1 for pause in pauses)


@pytest.mark.parametrize(
    "code",
    ["INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "INTERNAL", "UNIMPLEMENTED", "ABORTED", "DATA_LOSS"],
)
def test_everything_else_is_final(code):
    with ScriptedServer([code] * 3) as server:
        error = failing(server.address)
    assert len(server.calls) == 1
    assert (error.code.name, error.sentence) == (code, "No room.")


def test_the_number_of_attempts_is_bounded():
    with ScriptedServer(["UNAVAILABLE"] * 9) as server:
        assert failing(server.address, attempts=3).code is grpc.StatusCode.UNAVAILABLE
    assert len(server.calls) == 3


def test_no_call_outlives_its_time():
    with ScriptedServer(seconds=3) as server:
        start = time.monotonic()
        assert failing(server.address, timeout=0.3).code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert time.monotonic() - start < 2
    # The time that is left goes over the wire in rounded units.
    assert len(server.calls) == 1 and server.remaining[0] < 0.35


def test_the_time_is_for_all_attempts_together():
    with ScriptedServer(["UNAVAILABLE"] * 99) as server:
        start = time.monotonic()
        assert failing(server.address, timeout=0.6, attempts=99).code is grpc.StatusCode.UNAVAILABLE
        assert time.monotonic() - start < 2
    assert len(server.calls) > 1
    assert all(later < earlier for earlier, later in zip(server.remaining, server.remaining[1:]))


@contextlib.contextmanager
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    yield port


def test_nobody_listens():
    with free_port() as port:
        assert failing(f"127.0.0.1:{port}", timeout=10).code is grpc.StatusCode.UNAVAILABLE


def test_a_server_that_starts_meanwhile_is_found():
    with free_port() as port, contextlib.ExitStack() as started:
        threading.Timer(0.4, lambda: started.enter_context(ScriptedServer(port=port))).start()
        with GenerationClient(f"127.0.0.1:{port}", attempts=20) as client:
            assert client.predict("", X)["y"].tolist() == [0]


def test_what_the_runtime_adds_to_a_sentence_is_left_out():
    # As tensorflow/serving passes an assertion of the graph on.
    details = "assertion failed: [Scene 0 has no objects; name at least one.]\n\t [[{{node Assert/Assert}}]]"
    with ScriptedServer(["INVALID_ARGUMENT"], details=details) as server:
        assert failing(server.address).sentence == "Scene 0 has no objects; name at least one."


def test_answers_beyond_grpcs_own_limit():
    with ScriptedServer(answer_bytes=8 << 20) as server:
        with GenerationClient(server.address) as client:
            assert len(client.predict("", X)["y"]) == 8 << 20
        error = failing(server.address, max_message_bytes=4 << 20)
    # It would be too large again: one call each.
    assert error.code is grpc.StatusCode.RESOURCE_EXHAUSTED and len(server.calls) == 2


def test_sizes_are_asked_for_once_and_again_after_a_failure():
    with ScriptedServer(["INVALID_ARGUMENT"], sizes=(3, 5)) as server, GenerationClient(server.address) as client:
        assert client.sizes() == client.sizes() == (3, 5) and server.asked_for_sizes == 1
        server.sizes = (4, 6)
        with pytest.raises(GenerationError):
            client.predict("", X)
        assert client.sizes() == (4, 6)


def test_a_model_of_another_kind_and_an_answer_that_lacks_something():
    with ScriptedServer() as server, GenerationClient(server.address, "cats") as client:
        with pytest.raises(GenerationError, match='"cats" takes no scene graphs'):
            client.sizes()
        with pytest.raises(GenerationError, match="lacks png_bytes"):
            client.predict("", X, ["png_bytes", "y"])


def authority(name):
    """A self-signed certificate for 127.0.0.1 and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).add_extension(address, critical=False)
    builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(1))
    certificate = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    pem = serialization.Encoding.PEM
    return certificate.sign(key, hashes.SHA256()).public_bytes(pem), key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def test_tls():
    certificate, key = authority("server")
    stranger, _ = authority("stranger")
    with ScriptedServer(credentials=grpc.ssl_server_credentials([(key, certificate)])) as server:
        with GenerationClient(server.address, root_certificates=certificate) as client:
            assert client.predict("", X)["y"].tolist() == [0]
        # Without TLS, or with trust in someone else, nothing is said.
        assert failing(server.address, attempts=2).code is grpc.StatusCode.UNAVAILABLE
        error = failing(server.address, attempts=2, root_certificates=stranger)
        assert error.code is grpc.StatusCode.UNAVAILABLE
    assert len(server.calls) == 1


def test_tls_of_both_sides():
    certificate, key = authority("server")
    caller, caller_key = authority("caller")
    credentials = grpc.ssl_server_credentials([(key, certificate)], caller, require_client_auth=True)
    with ScriptedServer(credentials=credentials) as server:
        with GenerationClient(
            server.address, root_certificates=certificate, client_key=caller_key, client_certificate=caller
        ) as client:
            assert client.predict("", X)["y"].tolist() == [0]
        assert failing(server.address, attempts=2, root_certificates=certificate).code is grpc.StatusCode.UNAVAILABLE
    assert len(server.calls) == 1
