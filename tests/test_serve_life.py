"""From a folder of versions to a running server and back: what is loaded, what is refused, how it starts and stops."""

import re
import signal
import socket
import subprocess
import sys
import urllib.error

import numpy as np
import pytest
import tensorflow as tf
from conftest import REPOSITORY
from stand_in_model import HALF, http, save
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from export.development_server.folder import ServingError
from export.development_server.loaded_model import ServedModel
from export.development_server.server import DevelopmentServer


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    """Versions 2 and 10, and what is no version."""
    folder = tmp_path_factory.mktemp("models")
    save(folder / "10", 10)
    save(folder / "2", 2)
    (folder / "11.partial").mkdir()
    (folder / "12").write_text("not a folder")
    return folder


@pytest.fixture(scope="module")
def model(model_dir):
    return ServedModel(model_dir, "stand_in")


def test_the_newest_version_is_served_or_the_one_asked_for(model_dir, model):
    assert model.version == 10
    old = ServedModel(model_dir, "old", version=2)
    outputs = old.run(old.signature(""), {"names": np.array([[b"a", b"b"]], object), "seed": np.array([1])})
    assert outputs["version"].tolist() == [2]
    with pytest.raises(ServingError, match="no version 3; it holds 2, 10"):
        ServedModel(model_dir, "m", version=3)


def test_folders_that_cannot_be_served(tmp_path):
    with pytest.raises(ServingError, match="cannot be read"):
        ServedModel(tmp_path / "missing", "m")
    with pytest.raises(ServingError, match="holds no version"):
        ServedModel(tmp_path, "m")
    (tmp_path / "1").mkdir()
    with pytest.raises(ServingError, match="no readable saved_model.pb"):
        ServedModel(tmp_path, "m")
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"\xff" * 99)
    with pytest.raises(ServingError, match="not a SavedModel"):
        ServedModel(tmp_path, "m")
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ServingError, match="serve"):
        ServedModel(tmp_path, "m")
    save(tmp_path / "2", 2)
    next((tmp_path / "2" / "variables").glob("*.index")).unlink()
    with pytest.raises(ServingError, match="cannot be loaded"):
        ServedModel(tmp_path, "m")


def test_warm_up_requests_are_replayed_and_a_failing_one_is_named(tmp_path):
    save(tmp_path / "1", 1)
    extra = tmp_path / "1" / "assets.extra"
    extra.mkdir()
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "another", "half"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))
    good = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    request.inputs["y"].CopyFrom(tf.make_tensor_proto([1.0]))
    bad = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    for logs in ([good], [good, bad]):
        with tf.io.TFRecordWriter(str(extra / "tf_serving_warmup_requests")) as writer:
            for log in logs:
                writer.write(log.SerializeToString())
        if len(logs) == 1:
            ServedModel(tmp_path, "m")
    with pytest.raises(ServingError, match='warm-up request 1: .*"y"'):
        ServedModel(tmp_path, "m")
    (extra / "tf_serving_warmup_requests").write_bytes(b"noise" * 99)
    with pytest.raises(ServingError, match="cannot be read"):
        ServedModel(tmp_path, "m")


def test_a_taken_port_is_named_and_the_other_one_is_freed(model):
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        port, rest_port = taken.getsockname()[1], free.getsockname()[1]
        free.close()
        with pytest.raises(ServingError, match=f"{port}.*--port"):
            DevelopmentServer(model, port=port, rest_port=rest_port)
        with pytest.raises(ServingError, match=f"{port}.*--rest_port"):
            DevelopmentServer(model, rest_port=port)
        socket.create_server(("127.0.0.1", rest_port)).close()
    with DevelopmentServer(model) as first, pytest.raises(ServingError):
        # gRPC would let two servers share a port, and callers meet either.
        DevelopmentServer(model, port=int(first.address.rsplit(":", 1)[1]))


def test_stopping_frees_the_ports(model):
    server = DevelopmentServer(model)
    address, url = server.address, server.rest_url
    assert http(url)[0] == 200
    server.stop()
    with pytest.raises(urllib.error.URLError):
        http(url)
    for used in (address, url.split("/")[2]):
        host, port = used.rsplit(":", 1)
        socket.create_server((host, int(port))).close()


def start(model_dir, *flags):
    command = [sys.executable, "-m", "export.serve", f"--model_dir={model_dir}", "--port=0", *flags]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_command_says_where_it_serves_and_stops_when_told(model_dir):
    taken = socket.create_server(("127.0.0.1", 0))
    process = start(model_dir, "--rest_port=0", "--version=2", "--model_name=m")
    hindered = start(model_dir, f"--rest_port={taken.getsockname()[1]}")
    try:
        line = process.stdout.readline()
        found = re.fullmatch(
            r"Serving m version 2: gRPC on 127\.0\.0\.1:(\d+), REST on (http://127\.0\.0\.1:\d+/v1/models/m)\n", line
        )
        assert found, line + process.stderr.read()
        assert http(f"{found[2]}:predict", {**HALF, "instances": [1]}) == (200, {"predictions": [0.5]})
        _, errors = hindered.communicate(timeout=60)
        assert hindered.returncode == 2 and "Traceback" not in errors
        assert [line for line in errors.splitlines() if line.startswith("error:") and "--rest_port" in line]
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        hindered.kill()
        taken.close()
    assert (process.returncode, output) == (0, "Stopped.\n") and "Traceback" not in errors
