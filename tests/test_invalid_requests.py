"""A thousand requests that make no sense, each answered with a sentence about what is wrong, and then a good one."""

import base64
import contextlib
import itertools
import json
import urllib.error
import urllib.request

import grpc
import numpy as np
import pytest
from request_faults import EVERY, Draft, drafts
from serving_targets import TARGETS, running

from export.client import GenerationClient, GenerationError
from rgan_tf import scene_requests
from rgan_tf.runtime_messages import MAX_MESSAGE_BYTES, sentence_of
from rgan_tf.scene_graph import SceneGraph

REQUESTS = 1000
SCENES = [
    SceneGraph(("sky", "grass", "tree"), ((0, "above", 1), (2, "above", 1))),
    SceneGraph(("sky", "grass"), ((1, "below", 0),)),
]


@pytest.fixture(scope="module", params=TARGETS)
def target(request):
    with running(request) as found:
        yield found


@pytest.fixture(scope="module")
def client(target):
    with GenerationClient(target.address, timeout=60) as open_client:
        yield open_client


@pytest.fixture(scope="module")
def base(client):
    """Good inputs of every signature, with the boxes and patches of a picture that was drawn."""
    drawn = client.generate(SCENES, seed=2)
    fixed = [
        SceneGraph(
            scene.objects, scene.relationships, tuple(map(tuple, g.boxes.tolist())), tuple(map(int, g.patch_ids))
        )
        for scene, g in zip(SCENES, drawn)
    ]
    inputs = scene_requests.to_inputs(fixed, scene_requests.WITH_PATCHES, *client.sizes(), seed=2)
    given = {"synthesize": ("object_names", "boxes", "patch_ids"), scene_requests.WITH_PATCHES: tuple(inputs)}
    given[scene_requests.WITH_LAYOUT] = [name for name in inputs if name != "patch_ids"]
    given[scene_requests.RETRIEVE_WITH_PATCHES] = [name for name in inputs if name != "boxes"]
    plain = [name for name in inputs if name not in ("boxes", "patch_ids")]
    return {signature: {name: inputs[name] for name in given.get(signature, plain)} for signature in EVERY}


def over_grpc(address, content):
    """Code and details of a refusal."""
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        with pytest.raises(grpc.RpcError) as caught:
            call(content, timeout=60)
    return caught.value.code().name, caught.value.details()


def over_rest(url, draft):
    """The same of a request in columns."""
    inputs = {name: plain(value) for name, value in draft.inputs.items()}
    body = json.dumps({"signature_name": draft.signature, "inputs": inputs}).encode()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{url}:predict", body, timeout=60)
    return {400: "INVALID_ARGUMENT"}.get(caught.value.code), json.load(caught.value)["error"]


def plain(value):
    if value.dtype != object:
        return value.tolist()
    return [[{"b64": base64.b64encode(text).decode()} for text in row] for row in value]


def test_every_one_is_refused_by_name_and_a_good_one_is_still_answered(target, client, base):
    before = {signature: client.predict(signature, base[signature]) for signature in EVERY}
    ways = {"grpc": 0, "rest": 0}
    for number, (fault, draft) in enumerate(itertools.islice(drafts(base), REQUESTS)):
        if number % 4 == 0 and draft.rest and target.rest_url:
            ways["rest"] += 1
            code, details = over_rest(target.rest_url, draft)
        elif draft.body is None or target.model:
            ways["grpc"] += 1
            code, details = over_grpc(target.address, draft.serialized("rgan_tf"))
        sentence = sentence_of(details)
        said = f"{fault} in {draft.signature}: {code}: {details}"
        assert code == "INVALID_ARGUMENT", said
        if target.model or sentence.startswith("Scene"):
            assert all(word in sentence for word in draft.words), f"{said}; it must name {draft.words}"
            assert len(sentence.encode()) <= MAX_MESSAGE_BYTES and sentence.isprintable()
        if target.model:
            assert details == sentence and sentence.endswith("."), said
    assert ways["grpc"] > REQUESTS / 2 and (ways["rest"] > REQUESTS / 10 or not target.rest_url)
    for signature, outputs in before.items():
        after = client.predict(signature, base[signature])
        assert set(after) == set(outputs)
        for name, value in outputs.items():
            np.testing.assert_array_equal(after[name], value, f"{signature} {name}")
    if target.model:
        # No prediction that failed has kept its place.
        with contextlib.ExitStack() as places:
            for _ in range(target.model.limits.max_concurrency):
                places.enter_context(target.model._place())


def test_an_unknown_signature_is_another_code(target, client, base):
    for name in ("generate", "x" * 10_000):
        with pytest.raises(GenerationError) as caught:
            client.predict(name, base[scene_requests.GENERATE])
        assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION and name[:50] in caught.value.sentence


def test_the_good_request_that_is_spoilt_is_good(target, client, base):
    draft = Draft(base, scene_requests.WITH_PATCHES, np.random.default_rng(0))
    with grpc.insecure_channel(target.address) as channel:
        assert channel.unary_unary("/tensorflow.serving.PredictionService/Predict")(draft.serialized("rgan_tf"))
    if target.rest_url:
        inputs = {name: plain(value) for name, value in draft.inputs.items()}
        body = json.dumps({"signature_name": draft.signature, "inputs": inputs}).encode()
        with urllib.request.urlopen(f"{target.rest_url}:predict", body) as answer:
            assert "outputs" in json.load(answer)
