"""Servers and client of a model whose bad scenes answer for themselves: over gRPC, over REST, and in the command."""

import base64
import json
import subprocess
import sys

import grpc
import numpy as np
import pytest
from conftest import REPOSITORY
from PIL import Image
from request_faults import EVERY
from scene_mixtures import SCENES, check_row, good_requests, merged, mixtures, row, rows
from serving_targets import served
from stand_in_model import http

from export import client as client_command
from export.client import GenerationClient, GenerationError, SceneRefusalError
from export.development_server.server import DevelopmentServer
from rgan_tf.scene_graph import SceneGraph, load_each

UNKNOWN = SceneGraph(("sky", "unicorn"))


@pytest.fixture(scope="module")
def model(scene_export):
    return served(scene_export)


@pytest.fixture(scope="module")
def server(model):
    with DevelopmentServer(model) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with GenerationClient(server.address) as open_client:
        yield open_client


@pytest.fixture(scope="module")
def base(model):
    return good_requests(model._model.signatures)


def plain(value):
    if value.dtype != object:
        return value.tolist()
    return [[{"b64": base64.b64encode(text).decode()} for text in texts] for texts in value]


def read(value, like):
    """A column of a JSON answer as the array that gRPC gives."""
    if like.dtype != object:
        return np.array(value, like.dtype)
    texts = [base64.b64decode(v["b64"]) if isinstance(v, dict) else v.encode() for v in np.ravel(value)]
    return np.array(texts, object).reshape(like.shape)


@pytest.mark.parametrize("signature", EVERY)
def test_both_apis_answer_each_scene_by_itself(signature, server, client, base):
    rng = np.random.default_rng(10 + EVERY.index(signature))
    batch = next(b for b in reversed(mixtures(*rows(base, signature, rng), rng)) if len(b) > 2)
    inputs = merged(batch)
    alone = [client.predict(signature, request) for request in batch]
    columns = {"signature_name": signature, "inputs": {name: plain(value) for name, value in inputs.items()}}
    code, body = http(f"{server.rest_url}:predict", columns)
    assert code == 200, body
    over_grpc = client.predict(signature, inputs)
    over_rest = {name: read(value, over_grpc[name]) for name, value in body["outputs"].items()}
    for answer in (over_grpc, over_rest):
        for number, request in enumerate(alone):
            check_row(answer, number, request)
    by_row = [{name: value[i] for name, value in columns["inputs"].items()} for i in range(len(batch))]
    code, body = http(f"{server.rest_url}:predict", {"signature_name": signature, "instances": by_row})
    assert code == 200 and [r["error"].encode() for r in body["predictions"]] == over_grpc["error"].tolist()


def test_the_client_gives_the_pictures_and_the_sentences(client):
    assert client.refuses_by_scene()
    with pytest.raises(SceneRefusalError) as caught:
        client.generate([SCENES[0], UNKNOWN, SCENES[1]], seed=4)
    refused = caught.value
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.sentence.startswith("Scene 1 has the unknown name `unicorn` as object 1; ")
    assert refused.sentences == {1: refused.sentence} and refused.answers[1] is None
    for place, scene in ((0, SCENES[0]), (2, SCENES[1])):
        (alone,) = client.generate([scene], seed=4)
        for found, expected in zip(refused.answers[place], alone):
            np.testing.assert_array_equal(found, expected)


def test_one_bad_scene_fails_like_in_other_models(client, tiny_export):
    with DevelopmentServer(served(tiny_export)) as server, GenerationClient(server.address) as strict:
        assert not strict.refuses_by_scene()
        said = []
        for asked in (strict, client):
            with pytest.raises(GenerationError) as caught:
                asked.generate([UNKNOWN])
            said.append((caught.value.code, caught.value.sentence))
            with pytest.raises(GenerationError, match="Scene 0 has the unknown name `unicorn`"):
                asked.retrieve([UNKNOWN])
    assert said[0] == said[1]


def test_retrieve_and_synthesize_tell_too(client, base):
    with pytest.raises(SceneRefusalError) as caught:
        client.retrieve([SCENES[0], UNKNOWN])
    assert set(caught.value.sentences) == {1}
    check_row(caught.value.answers, 0, client.retrieve(SCENES[:1]))
    inputs = row(base["synthesize"], 1)
    given = SceneGraph(
        SCENES[1].objects, (), tuple(map(tuple, inputs["boxes"][0, :2].tolist())), tuple(inputs["patch_ids"][0, :2])
    )
    open_box = SceneGraph(SCENES[1].objects, (), (None, given.boxes[1]), given.patches)
    with pytest.raises(SceneRefusalError, match="2 scenes are refused; the first: Scene 0 has the box") as caught:
        client.synthesize([open_box, given, open_box])
    assert [picture is None for picture in caught.value.answers] == [True, False, True]
    np.testing.assert_array_equal(caught.value.answers[1], client.synthesize([given])[0])


def test_a_client_notices_that_the_model_is_another(scene_export, tiny_export):
    by_scene, strict = served(scene_export), served(tiny_export)
    with DevelopmentServer(strict) as server:
        address, port = server.address, int(server.address.rsplit(":", 1)[1])
    with GenerationClient(address) as client:
        for model, message in ((strict, None), (by_scene, "exchanged for a model"), (strict, 'no output "error"')):
            with DevelopmentServer(model, port=port):
                if message:
                    with pytest.raises(GenerationError, match=message):
                        client.generate([SCENES[0], UNKNOWN])
                with pytest.raises(GenerationError, match="Scene 1 has the unknown name"):
                    client.generate([SCENES[0], UNKNOWN])
                # After a refusal nothing is known, and the next model would be asked.
                client.generate(SCENES)


def test_command_draws_the_good_and_names_the_bad(server, client, tmp_path):
    bad = {"objects": ["sky"], "relationships": [[0, "above", 0]]}
    scenes = [bad, SCENES[0].to_dict(), UNKNOWN.to_dict(), bad, SCENES[1].to_dict()]
    (tmp_path / "mixed.json").write_text(json.dumps(scenes))
    files = [f"--scene={tmp_path}/mixed.json", f"--output={tmp_path}/mixed.png"]
    command = [sys.executable, "-m", "export.client", f"--server={server.address}", *files, "--nosheet", "--seed=4"]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 2 and "Traceback" not in ended.stderr, ended
    told = [line for line in ended.stderr.splitlines() if line.startswith("error: Scene ")]
    starts = ["Scene 0 relates object 0 to itself", "Scene 2 has the unknown name `unicorn`", "Scene 3 relates object"]
    assert len(told) == 3 and all(start in line for start, line in zip(starts, told)), told
    assert "mixed.png: 2 of 5 scenes." in ended.stdout
    expected = np.concatenate([client.generate([scene], seed=4)[0].image for scene in SCENES])
    with Image.open(tmp_path / "mixed.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), expected)


def test_command_draws_nothing_where_nothing_is_good(client, tmp_path):
    (tmp_path / "bad.json").write_text(json.dumps([{"objects": []}, UNKNOWN.to_dict()]))
    scenes = load_each(tmp_path / "bad.json", None, *client.sizes())
    for asked, places in ((scenes, [0, 1]), (scenes[:1], [0])):
        drawn, refused = client_command._draw(client, asked, 0, None, None)
        assert drawn == [] and sorted(refused) == places
        assert all(sentence.startswith(f"Scene {place} ") for place, sentence in refused.items())
