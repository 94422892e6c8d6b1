"""The configuration of tensorflow/serving: read by the servers' own definitions, or by what is known of them."""

import json
import pathlib
import re
import socket
import subprocess

import pytest
import yaml
from conftest import REPOSITORY
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from stand_in_model import LIMITS, save
from tensorflow_serving.config import model_server_config_pb2

from export.development_server.loaded_model import ServedModel
from export.development_server.server import DevelopmentServer
from rgan_tf.config import load_config

FOLDER = REPOSITORY / "export" / "tf_serving"
# Of tensorflow_serving/model_servers/main.cc, release 2.15.1: the flags that are used here.
FLAGS = {
    "allow_version_labels_for_unavailable_models",
    "batching_parameters_file",
    "enable_batching",
    "enable_model_warmup",
    "enable_profiler",
    "grpc_max_threads",
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "monitoring_config_file",
}
# Of session_bundle_config.proto and monitoring_config.proto, which tensorflow-serving-api leaves out: numbers, types.
COUNT = ".google.protobuf.Int64Value"
FIELDS = {
    "BatchingParameters": {
        "max_batch_size": (1, COUNT),
        "batch_timeout_micros": (2, COUNT),
        "max_enqueued_batches": (3, COUNT),
        "num_batch_threads": (4, COUNT),
        "allowed_batch_sizes": (6, "repeated int64"),
        "pad_variable_length_inputs": (7, "bool"),
    },
    "PrometheusConfig": {"enable": (1, "bool"), "path": (2, "string")},
    "MonitoringConfig": {"prometheus_config": (1, ".rgan_tf.test.PrometheusConfig")},
}


@pytest.fixture(scope="module")
def messages():
    """Message classes of `FIELDS`."""
    file = descriptor_pb2.FileDescriptorProto(name="rgan_tf_test.proto", package="rgan_tf.test", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for name, fields in FIELDS.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            label = "LABEL_REPEATED" if kind.startswith("repeated") else "LABEL_OPTIONAL"
            added = message.field.add(name=field, number=number, label=label)
            if kind.startswith("."):
                added.type, added.type_name = added.TYPE_MESSAGE, kind
            else:
                added.type = getattr(added, f"TYPE_{kind.split()[-1].upper()}")
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"rgan_tf.test.{name}")) for name in FIELDS
    }


@pytest.mark.parametrize(
    "name, versions, labels",
    [("models", [], {}), ("models.labels", [1, 2], {"stable": 1, "canary": 2})],
)
def test_models(name, versions, labels):
    text = (FOLDER / f"{name}.config").read_text()
    (model,) = text_format.Parse(text, model_server_config_pb2.ModelServerConfig()).model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == ("rgan_tf", "/models/rgan_tf", "tensorflow")
    assert list(model.model_version_policy.specific.versions) == versions
    assert dict(model.version_labels) == labels
    assert model.model_version_policy.WhichOneof("policy_choice") == ("specific" if versions else "latest")


def test_batching(messages):
    parameters = text_format.Parse((FOLDER / "batching.config").read_text(), messages["BatchingParameters"]())
    sizes = list(parameters.allowed_batch_sizes)
    # What tensorflow/serving asks of them.
    assert sizes == sorted(set(sizes)) and sizes[-1] == parameters.max_batch_size.value
    assert all(
        getattr(parameters, n).value >= 1 for n, (_, kind) in FIELDS["BatchingParameters"].items() if kind == COUNT
    )
    threads = int(options("compose.batching.yaml")["grpc_max_threads"])
    assert threads > 2 * parameters.max_batch_size.value


def test_monitoring(messages):
    config = text_format.Parse((FOLDER / "monitoring.config").read_text(), messages["MonitoringConfig"]())
    assert config.prometheus_config.enable
    assert config.prometheus_config.path in (REPOSITORY / "docs" / "serving.md").read_text()


def service(name):
    (found,) = yaml.safe_load((FOLDER / name).read_text())["services"].values()
    return found


def options(name):
    return dict(option.removeprefix("--").split("=", 1) for option in service(name)["command"])


@pytest.mark.parametrize("name", ["compose.yaml", "compose.batching.yaml"])
def test_compose_files_name_flags_and_files_that_exist(name):
    given = options(name)
    assert set(given) <= FLAGS
    for flag, value in given.items():
        if flag.endswith("_file"):
            file = re.sub(r"\$\{\w+:-(.*)\}", r"\1", value)
            assert file.startswith("/config/") and (FOLDER / pathlib.PurePath(file).name).is_file()


def test_batching_changes_nothing_else():
    plain, batching = options("compose.yaml"), options("compose.batching.yaml")
    assert {**batching, **plain} == batching
    assert set(batching) - set(plain) == {"enable_batching", "batching_parameters_file", "grpc_max_threads"}


def test_batching_names_the_export_it_wants():
    for name in ("compose.batching.yaml", "batching.config"):
        assert "--refusals=scene" in (FOLDER / name).read_text()


def test_compose_exposes_nothing_beyond_this_machine_and_mounts_read_only():
    found = service("compose.yaml")
    assert found["image"] == "tensorflow/serving:2.15.1"
    assert found["ports"] == ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]
    assert all(volume["read_only"] for volume in found["volumes"])
    assert "mem_limit" in found


def test_health_check_runs_and_tells(tmp_path):
    save(tmp_path / "1", 1)
    kind, *command = service("compose.yaml")["healthcheck"]["test"]
    assert kind == "CMD"

    def check(port):
        there = [part.replace("8501", str(port)) for part in command]
        return subprocess.run(there, capture_output=True, timeout=20, check=False).returncode

    with socket.create_server(("127.0.0.1", 0)) as nobody:
        closed = nobody.getsockname()[1]
    assert check(closed) != 0
    for name, code in (("rgan_tf", 0), ("other", 1)):
        with DevelopmentServer(ServedModel(tmp_path, name, limits=LIMITS)) as server:
            assert check(server.rest_url.split(":")[2].split("/")[0]) == code


def test_the_request_of_the_documentation_has_the_demos_sizes():
    data = load_config(REPOSITORY / "configs" / "demo.yaml", "").data
    for row in json.loads((FOLDER / "request.json").read_text())["instances"]:
        assert len(row["object_names"]) == data.max_objects
        assert {len(row[name]) for name in ("subjects", "predicates", "objects_of")} == {data.max_triples}
