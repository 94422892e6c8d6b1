"""The development server over gRPC, with small models of its own: answers and codes of tensorflow/serving."""

import contextlib
import http.client as http_client
import resource
import threading
import urllib.parse

import grpc
import numpy as np
import pytest
import tensorflow as tf
from stand_in_model import HALF, LIMITS, http, save
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from export.development_server.loaded_model import ServedModel
from export.development_server.server import DevelopmentServer
from export.development_server.status import StatusError
from rgan_tf.runtime_messages import MAX_MESSAGE_BYTES, bounded, sentence_of


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save(folder / "10", 10)
    return folder


@pytest.fixture(scope="module")
def model(model_dir):
    return ServedModel(model_dir, "stand_in", limits=LIMITS)


@pytest.fixture(scope="module")
def server(model):
    with DevelopmentServer(model) as running:
        yield running


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(server.address) as open_channel:
        yield open_channel


@pytest.fixture(scope="module")
def predict(channel):
    """Calls Predict with arrays or protos."""
    service = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def call(signature, output_filter=(), name="stand_in", version=None, **inputs):
        request = predict_pb2.PredictRequest(output_filter=output_filter)
        request.model_spec.name, request.model_spec.signature_name = name, signature
        if version is not None:
            request.model_spec.version.value = version
        for key, value in inputs.items():
            proto = value if isinstance(value, tensor_pb2.TensorProto) else tf.make_tensor_proto(value)
            request.inputs[key].CopyFrom(proto)
        return service.Predict(request, timeout=20)

    return call


def refused(call, *arguments, **inputs):
    """The code and sentence of a refusal."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **inputs)
    details = caught.value.details()
    assert details and "\n" not in details and len(details.encode()) <= MAX_MESSAGE_BYTES
    return caught.value.code().name, details


ECHO = {"names": np.array([[b"a", b"b"], [b"\xff", b"\xc3\xa9"]], object), "seed": np.array([3, 4])}


# What is answered.


def test_outputs_types_and_the_model_spec(predict):
    answer = predict("", **ECHO)
    assert (answer.model_spec.name, answer.model_spec.signature_name) == ("stand_in", "serving_default")
    assert answer.model_spec.version.value == 10
    outputs = {name: tf.make_ndarray(value) for name, value in answer.outputs.items()}
    assert outputs["joined"].tolist() == outputs["joined_bytes"].tolist() == [b"ab", b"\xff\xc3\xa9"]
    assert outputs["seed"].tolist() == [3, 4] and outputs["version"].tolist() == [10, 10]


def test_output_filter(predict):
    assert list(predict("", ["seed"], **ECHO).outputs) == ["seed"]
    assert refused(predict, "", ["sed"], **ECHO) == (
        "INVALID_ARGUMENT",
        'The signature has no output "sed"; it has joined, joined_bytes, seed, version.',
    )
    assert refused(predict, "", ["seed", "seed"], **ECHO)[0] == "INVALID_ARGUMENT"


def test_an_empty_batch_of_texts(predict):
    answer = predict("", names=np.zeros([0, 2], object), seed=np.zeros([0], np.int64))
    assert tf.make_ndarray(answer.outputs["joined"]).shape == (0,)


def compact(values, field, dtype, *sizes):
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, field).extend(values)
    return proto


@pytest.mark.parametrize("values", [[], [7], [7, 8], [7, 8, 9]])
def test_short_protos_are_filled_up_as_tensorflow_does(predict, values):
    names = compact([str(v).encode() for v in values], "string_val", tf.string, 3, 2)
    seed = compact(values, "int64_val", tf.int64, 3)
    answer = predict("", names=names, seed=seed)
    wanted = tf.io.parse_tensor(seed.SerializeToString(), tf.int64).numpy()
    assert tf.make_ndarray(answer.outputs["seed"]).tolist() == wanted.tolist()
    texts = tf.io.parse_tensor(names.SerializeToString(), tf.string).numpy()
    assert tf.make_ndarray(answer.outputs["joined"]).tolist() == [a + b for a, b in texts]


def test_status_and_metadata(channel):
    status = model_service_pb2_grpc.ModelServiceStub(channel)
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "stand_in"
    (found,) = status.GetModelStatus(request).model_version_status
    assert found.version == 10 and found.state == get_model_status_pb2.ModelVersionStatus.AVAILABLE
    request.model_spec.version.value = 2
    assert refused(status.GetModelStatus, request)[0] == "NOT_FOUND"
    service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "stand_in"
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert service.GetModelMetadata(request).metadata["signature_def"].Unpack(signatures)
    shape = signatures.signature_def["serving_default"].inputs["names"].tensor_shape
    assert [dim.size for dim in shape.dim] == [-1, 2]
    for fields in ([], ["labels"]):
        del request.metadata_field[:]
        request.metadata_field.extend(fields)
        assert refused(service.GetModelMetadata, request)[0] == "INVALID_ARGUMENT"


def test_calls_at_the_same_time_do_not_mix(model_dir):
    crowd = 8
    with DevelopmentServer(ServedModel(model_dir, "m", limits=LIMITS._replace(max_concurrency=crowd))) as server:
        answers = {}

        def call(number):
            body = {"signature_name": "half", "instances": [number] * 8}
            answers[number] = [http(f"{server.rest_url}:predict", body) for _ in range(8)]

        threads = [threading.Thread(target=call, args=(number,)) for number in range(crowd)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {number: [(200, {"predictions": [number / 2] * 8})] * 8 for number in range(crowd)}


# What is refused, and how.


def test_another_model_version_label_or_signature(predict, channel):
    assert refused(predict, "", name="other", **ECHO)[0] == "NOT_FOUND"
    assert refused(predict, "", version=2, **ECHO) == (
        "NOT_FOUND",
        'The model "stand_in" version 2 is not served here; this is "stand_in" version 10.',
    )
    code, sentence = refused(predict, "genrate", **ECHO)
    assert code == "FAILED_PRECONDITION" and "genrate" in sentence and "serving_default" in sentence
    assert refused(predict, "", name="", **ECHO)[0] == "INVALID_ARGUMENT"
    service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = predict_pb2.PredictRequest()
    assert refused(service.Predict, request) == ("INVALID_ARGUMENT", "The request has no model_spec.")
    request.model_spec.name, request.model_spec.version_label = "stand_in", "stable"
    code, sentence = refused(service.Predict, request)
    assert code == "INVALID_ARGUMENT" and "stable" in sentence


def test_other_methods_are_unimplemented(channel):
    service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    assert refused(service.Classify, classification_pb2.ClassificationRequest())[0] == "UNIMPLEMENTED"


def dims(*sizes, dtype=tf.int64, **fields):
    proto = compact([], "int64_val", dtype, *sizes)
    proto.MergeFrom(tensor_pb2.TensorProto(**fields))
    return proto


def unranked():
    proto = dims()
    proto.tensor_shape.unknown_rank = True
    return proto


@pytest.mark.parametrize(
    "change, words",
    [
        ({"seed": None}, ["seed", "missing"]),
        ({"sed": np.array([1])}, ['"sed"']),
        ({"x" * 5000: np.array([1])}, ["xxx"]),
        ({"seed": np.array([1, 2], np.int32)}, ["seed", "int32", "int64"]),
        ({"seed": np.array([b"1"], object)}, ["string", "int64"]),
        ({"seed": tensor_pb2.TensorProto(dtype=99)}, ["seed", "99"]),
        ({"seed": np.array([[1], [2]])}, ["[2, 1]", "[batch]"]),
        ({"names": np.array([[b"a"]], object)}, ["[1, 1]", "[batch, 2]"]),
        ({"names": np.array(b"a", object)}, ["[]"]),
        ({"seed": np.arange(9)}, ["9", "at most 8"]),
        ({"seed": np.arange(3)}, ["seed", "3", "2"]),
        ({"seed": dims(-1)}, ["-1"]),
        ({"seed": dims(10**9, 10**9, int64_val=[1])}, ["1000000000"]),
        ({"seed": dims(2**62, int64_val=[1])}, [str(2**62)]),
        ({"seed": dims(*[1] * 300)}, ["1, 1, 1"]),
        ({"seed": unranked()}, ["no shape"]),
        ({"seed": dims(2, tensor_content=b"123")}, ["3 bytes", "16"]),
        ({"seed": dims(2, int64_val=[1, 2, 3])}, ["3 values", "2"]),
        ({"names": dims(1, 2, dtype=tf.string, tensor_content=b"123")}, ["string_val"]),
        ({"names": np.array([[b"a", b"b"], [b"bad", b"d"]], object)}, ["Scene 1 has `bad` in [it.]."]),
    ],
)
def test_inputs_that_do_not_fit(predict, change, words):
    inputs = {name: value for name, value in {**ECHO, **change}.items() if value is not None}
    code, sentence = refused(predict, "", **inputs)
    assert code == "INVALID_ARGUMENT" and all(word in sentence for word in words), sentence


def test_what_the_model_asserts_comes_without_the_runtimes_words(predict):
    code, sentence = refused(predict, "", names=np.array([[b"bad", b""]], object), seed=np.array([1]))
    assert (code, sentence) == ("INVALID_ARGUMENT", "Scene 0 has `bad` in [it.].")


def test_a_large_shape_with_few_values_costs_no_memory(predict):
    # A free size, which the signature would let through.
    floats = compact([1.0], "float_val", tf.float32, 8, 2**27, 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code, sentence = refused(
        predict, "types", floats=floats, bytes_=np.zeros([8, 3], np.uint8), flags=np.ones(8, bool), doubles=np.ones(8)
    )
    assert code == "INVALID_ARGUMENT" and "floats" in sentence and "134217728" in sentence
    anything = compact([1], "int_val", tf.int32, *[2**15] * 4)
    assert refused(predict, "free", anything=anything)[0] == "INVALID_ARGUMENT"
    # 2 GiB, or 8 GiB, would show; kilobytes on Linux.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 * 1024


def test_bytes_that_are_no_request(channel):
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    assert refused(call, b"\xff" * 7) == (
        "INVALID_ARGUMENT",
        "The 7 bytes of the request are not a tensorflow.serving.PredictRequest.",
    )


def test_messages_over_the_limit(predict, server):
    names = np.array([[b"x" * LIMITS.max_message_bytes, b""]], object)
    assert refused(predict, "", names=names, seed=np.array([1]))[0] == "RESOURCE_EXHAUSTED"
    # Announced and not sent: the server closes the connection, and a client that were still sending might not read why.
    address = urllib.parse.urlsplit(server.rest_url)
    with contextlib.closing(http_client.HTTPConnection(address.netloc, timeout=20)) as connection:
        connection.putrequest("POST", f"{address.path}:predict")
        connection.putheader("Content-Length", str(LIMITS.max_message_bytes + 1))
        connection.endheaders()
        assert connection.getresponse().status == 413


def test_predictions_beyond_the_concurrency_are_turned_away_and_health_is_not(predict, model, server):
    x = np.array([1.0], np.float32)
    body = {"signature_name": "half", "instances": [1]}
    with model._place(), model._place():
        code, sentence = refused(predict, "half", x=x)
        assert code == "RESOURCE_EXHAUSTED" and "2 predictions" in sentence
        assert http(f"{server.rest_url}:predict", body)[0] == 429
        assert http(server.rest_url)[0] == 200
    assert http(f"{server.rest_url}:predict", body) == (200, {"predictions": [0.5]})


@pytest.mark.parametrize(
    "message, sentence",
    [
        # As tensorflow/serving passes it on, and as eager TensorFlow raises it.
        ("assertion failed: [A [b.].]\n\t [[{{node Assert/Assert}}]]", "A [b.]."),
        (
            "Graph execution error:\n\nDetected at node A/B defined at (most recent call last):\n"
            "<stack traces unavailable>\nIncompatible shapes: [2] vs. [3]\n\t [[{{node add}}]] [Op:__inference_f_1]",
            "Incompatible shapes: [2] vs. [3]",
        ),
        (r"assertion failed: [No `child\'s \"bike\"`, no C:\\x.] [Op:Assert]", 'No `child\'s "bike"`, no C:\\x.'),
        ("Servable not found", "Servable not found"),
        ("", "The model gave no reason."),
    ],
)
def test_sentences_of_the_runtime(message, sentence):
    assert sentence_of(message) == sentence


def test_messages_are_bounded_printable_text():
    for text in ("é" * 9999, "a" * (MAX_MESSAGE_BYTES - 1) + "é", "\ud800", "a\nb\x00c", "ok."):
        encoded = bounded(text).encode()
        assert len(encoded) <= MAX_MESSAGE_BYTES
        assert encoded.decode().isprintable()
    assert bounded("ok.") == "ok." and bounded("a\nb") == "a b"


def test_a_fault_of_the_server_is_not_the_callers(predict, model, monkeypatch, server):
    monkeypatch.setattr(model, "run", lambda *_: 1 / 0)
    code, sentence = refused(predict, "half", x=np.array([1.0], np.float32))
    assert code == "INTERNAL" and "division" not in sentence
    assert http(f"{server.rest_url}:predict", {**HALF, "instances": [1]})[0] == 500
    with pytest.raises(StatusError):
        model.check(predict_pb2.PredictRequest().model_spec)
