"""The development server over REST: paths, bodies and codes of tensorflow/serving's documentation and source."""

import base64

import pytest
from stand_in_model import HALF, LIMITS, http, save

from export.development_server.loaded_model import ServedModel
from export.development_server.server import DevelopmentServer


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save(folder / "10", 10)
    with DevelopmentServer(ServedModel(folder, "stand_in", limits=LIMITS)) as running:
        yield running


def test_status_reads_as_the_real_server_prints_it(server):
    status = {"version": "10", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in ("", "/versions/10"):
        assert http(server.rest_url + path) == (200, {"model_version_status": [status]})


def test_metadata(server):
    code, body = http(f"{server.rest_url}/metadata")
    assert code == 200 and body["model_spec"]["name"] == "stand_in" and body["model_spec"]["version"] == "10"
    signature = body["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert [dim["size"] for dim in signature["inputs"]["names"]["tensor_shape"]["dim"]] == ["-1", "2"]
    assert signature["outputs"]["seed"]["dtype"] == "DT_INT64"


def test_rows_and_columns(server):
    b64 = {"b64": base64.b64encode(b"\xff").decode()}
    rows = [{"names": ["a", "é"], "seed": 3}, {"names": [b64, "c"], "seed": 4}]
    code, body = http(f"{server.rest_url}:predict", {"instances": rows})
    assert code == 200
    expected = [
        {"joined": "aé", "joined_bytes": {"b64": base64.b64encode("aé".encode()).decode()}, "seed": 3, "version": 10},
        {"joined": "\ufffdc", "joined_bytes": {"b64": base64.b64encode(b"\xffc").decode()}, "seed": 4, "version": 10},
    ]
    assert body == {"predictions": expected}
    columns = {"names": [row["names"] for row in rows], "seed": [3, 4]}
    code, body = http(f"{server.rest_url}/versions/10:predict", {"inputs": columns})
    assert code == 200
    assert body == {"outputs": {key: [row[key] for row in expected] for key in expected[0]}}


def test_numbers(server):
    floats, doubles = [[[0.2, float("nan")]], [[float("-inf"), 1e-30]]], [1 / 3, 1e300]
    inputs = {"floats": floats, "bytes_": [[0, 1, 255]] * 2, "flags": [True, False], "doubles": doubles}
    code, body = http(f"{server.rest_url}:predict", {"signature_name": "types", "inputs": inputs})
    assert code == 200, body
    # repr, because NaN is not equal to itself; float32 values come back with their own digits, 0.2.
    assert repr(body["outputs"]["floats"]) == repr(floats)
    assert body["outputs"]["doubles"] == doubles and body["outputs"]["flags"] == [True, False]
    assert body["outputs"]["small"] == [[0, 1, 255]] * 2


def test_names_are_left_out_where_there_is_one(server):
    url = f"{server.rest_url}:predict"
    assert http(url, {"signature_name": "half", "instances": [1, 5.0]}) == (200, {"predictions": [0.5, 2.5]})
    assert http(url, {"signature_name": "half", "instances": [{"x": 1}]}) == (200, {"predictions": [0.5]})
    assert http(url, {"signature_name": "half", "inputs": [3]}) == (200, {"outputs": [1.5]})


@pytest.mark.parametrize(
    "body, words",
    [
        (b"", ["not JSON"]),
        (b"\xff\xfe\xff", ["not JSON"]),
        (b"[" * 100_000, ["not JSON"]),
        (b'{"instances": [' + b"9" * 5000 + b"]}", []),
        ([1], ["a list"]),
        ({"instances": []}, ["at least one"]),
        ({"instances": [1], "inputs": [1]}, ["either"]),
        ({}, ["either"]),
        ({"signature_name": 3, "inputs": [1]}, ["signature_name"]),
        ({"signature_name": "nothing", "inputs": [1]}, ["nothing"]),
        ({"instances": [[["a", "b"], 1]]}, ["names", "seed"]),
        ({"instances": [{"names": ["a", "b"]}]}, ["seed", "missing"]),
        ({"instances": [{"names": ["a", "b"], "seed": 1, "z": 1}]}, ['"z"']),
        ({"instances": [{"names": ["a", "b"], "seed": 1}, 3]}, ["a number at 1"]),
        ({"instances": [{"names": ["a", "b"], "seed": 1}, {"names": ["a"], "seed": 1}]}, ["a list of 1"]),
        ({"inputs": {"names": [["a", "b"]]}}, ["seed", "missing"]),
        ({"inputs": {"names": [["a", "b"]], "seed": [1], "z": 1}}, ['"z"']),
        ({"inputs": {"names": [["a", "b"]], "seed": [1, 2]}}, ["batch"]),
        ({"inputs": {"names": [["a", "b", "c"]], "seed": [1]}}, ["[1, 3]"]),
        ({"inputs": {"names": [["a", 3]], "seed": [1]}}, ["3", "string"]),
        ({"inputs": {"names": [["a", {"b64": "%"}]], "seed": [1]}}, ["%"]),
        ({"inputs": {"names": [["a", {"b64": "YQ==", "c": 1}]], "seed": [1]}}, ["an object"]),
        ({"inputs": {"names": [["a", "\ud800"]], "seed": [1]}}, ["ud800"]),
        ({"inputs": {"names": [["a", "b"]], "seed": [1.5]}}, ["1.5", "int64"]),
        ({"inputs": {"names": [["a", "b"]], "seed": [2**63]}}, [str(2**63)]),
        ({"inputs": {"names": [["a", "b"]], "seed": [True]}}, ["true"]),
        ({"inputs": {"names": [["a", "bad"]], "seed": [1]}}, ["Scene 0 has `bad` in [it.]."]),
        ({**HALF, "instances": ["1"]}, ['"1"', "float32"]),
        ({**HALF, "instances": [None]}, ["null"]),
        ({**HALF, "instances": [10**400]}, ["float32"]),
        ({**HALF, "instances": [[1]]}, ["[1, 1]"]),
        ({**HALF, "inputs": 1}, ["[]"]),
        (b'{"signature_name": "free", "inputs": ' + b"[" * 40 + b"]" * 40 + b"}", ["at most 32 dimensions"]),
        (b'{"signature_name": "free", "inputs": ' + b"[" * 900 + b"]" * 900 + b"}", ["at most 32 dimensions"]),
        ({"signature_name": "scalar", "instances": [1.0]}, ["one batch"]),
        ({"signature_name": "types", "instances": [{"floats": [[1, 1]], "bytes_": [1, 2, 256]}]}, ["missing"]),
    ],
)
def test_bodies_that_do_not_fit(server, body, words):
    code, answer = http(f"{server.rest_url}:predict", body)
    assert code == 400 and list(answer) == ["error"]
    assert all(word in answer["error"] for word in words) and "\n" not in answer["error"], answer


@pytest.mark.parametrize(
    "path, method, code",
    [
        ("/v1/models/other", "GET", 404),
        ("/v1/models/other:predict", "POST", 404),
        ("/v1/models/stand_in/versions/2", "GET", 404),
        ("/v1/models/stand_in/versions/99999999999999999999", "GET", 400),
        ("/v1/models/stand_in/labels/stable", "GET", 400),
        ("/v1/models/stand_in:classify", "POST", 501),
        ("/v1/models/stand_in:predict", "GET", 400),
        ("/v1/models/stand_in:train", "POST", 400),
        ("/v1/nothing", "GET", 400),
        ("/", "GET", 404),
    ],
)
def test_paths(server, path, method, code):
    root = server.rest_url[: server.rest_url.index("/v1")]
    found, answer = http(root + path, b'{"instances": []}' if method == "POST" else None, method)
    assert (found, list(answer)) == (code, ["error"])
