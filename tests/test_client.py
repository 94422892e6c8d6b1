"""The client against a server that draws: pictures, versions, the commands and examples of the documentation."""

import base64
import io
import json
import re
import subprocess
import sys

import grpc
import numpy as np
import pytest
import tensorflow as tf
from conftest import REPOSITORY
from PIL import Image
from serving_targets import TARGETS, running

from export.client import GenerationClient, GenerationError
from rgan_tf import scene_requests
from rgan_tf.errors import UserError
from rgan_tf.scene_graph import SceneGraph

SCENE = SceneGraph(("sky", "grass", "tree"), ((0, "above", 1), (2, "above", 1)))
OTHER = SceneGraph(("sky", "sea"), ((0, "above", 1),))
DOCUMENTATION = (REPOSITORY / "docs" / "serving.md").read_text()


@pytest.fixture(scope="module", params=TARGETS)
def target(request):
    with running(request) as found:
        yield found


@pytest.fixture(scope="module")
def client(target):
    with GenerationClient(target.address) as open_client:
        yield open_client


@pytest.fixture(scope="module")
def drawn(client):
    return client.generate([SCENE], seed=5)[0]


def same(one, other):
    np.testing.assert_array_equal(one.patch_ids, other.patch_ids)
    np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-6)
    assert np.abs(one.image.astype(int) - other.image).max() <= 1
    np.testing.assert_array_equal(one.patches, other.patches)
    assert (one.sources, one.licenses) == (other.sources, other.licenses)


def test_a_picture_is_what_the_model_gives(client, drawn, target):
    if target.model is None:
        pytest.skip("The model behind a server that TF_SERVING_ADDRESS names cannot be read here to compare with.")
    inputs = scene_requests.to_inputs([SCENE], scene_requests.GENERATE, *client.sizes(), 5)
    outputs = target.model.run(target.model.signature(""), inputs)
    same(drawn, scene_requests.from_outputs([SCENE], outputs)[0])
    np.testing.assert_array_equal(drawn.image, outputs["image"][0])


def test_a_picture_depends_on_its_scene_and_seed_alone(client, drawn):
    same(client.generate([OTHER, SCENE], seed=5)[1], drawn)
    assert len({tuple(client.generate([SCENE], seed=seed)[0].patch_ids) for seed in range(8)}) > 1


def test_what_a_scene_fixes_is_kept(client, drawn):
    box, pinned = (0.25, 0.25, 0.75, 1.0), int(drawn.patch_ids[2])
    for seed in range(3):
        laid_out = SceneGraph(SCENE.objects, SCENE.relationships, (None, box, None))
        np.testing.assert_array_equal(client.generate([laid_out], seed)[0].boxes[1], box)
        scene = SceneGraph(SCENE.objects, SCENE.relationships, (None, box, None), (None, None, pinned))
        answer = client.generate([scene], seed)[0]
        np.testing.assert_array_equal(answer.boxes[1], box)
        assert answer.patch_ids[2] == pinned
        np.testing.assert_array_equal(answer.patches[2], drawn.patches[2])


def test_retrieve_and_synthesize(client):
    alone = SceneGraph(SCENE.objects)
    drawn = client.generate([alone], seed=1)[0]
    found = client.retrieve([alone], seed=1)
    place = found["choice"][0, :3]
    assert found["patch_ids"][0, np.arange(3), place].tolist() == drawn.patch_ids.tolist()
    given = SceneGraph(
        alone.objects, (), tuple(map(tuple, drawn.boxes.tolist())), tuple(int(i) for i in drawn.patch_ids)
    )
    (picture,) = client.synthesize([given])
    assert np.abs(picture.astype(int) - drawn.image).max() <= 1


def test_versions_and_signatures_by_name(client, drawn):
    same(client.generate([SCENE], 5, signature="generate_with_layout")[0], drawn)
    for change, code in (({"version": 99}, "NOT_FOUND"), ({"version": "unheard_of"}, "INVALID_ARGUMENT")):
        with pytest.raises(GenerationError) as caught:
            client.generate([SCENE], **change)
        assert caught.value.code.name == code
    with pytest.raises(GenerationError, match="draw") as caught:
        client.predict("draw", {})
    assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION
    with pytest.raises(UserError, match="'retrieve' does not generate"):
        client.generate([SCENE], signature="retrieve")


def test_refusals_are_one_sentence_about_the_scene(client):
    with pytest.raises(GenerationError) as caught:
        client.generate([SCENE, SceneGraph(("sky", "unicorn"))])
    error = caught.value
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.sentence.startswith("Scene 1 ") and "unicorn" in error.sentence and error.sentence.endswith(".")
    assert "node" not in error.sentence and "\n" not in str(error)
    with pytest.raises(UserError, match="99 objects"):
        client.generate([SceneGraph(("sky",) * 99)])


def command(target, folder, name, *flags):
    arguments = [f"--server={target.address}", f"--scene={folder}/{name}.json", f"--output={folder}/{name}.png", *flags]
    return subprocess.Popen(
        [sys.executable, "-m", "export.client", *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_command(target, drawn, tmp_path):
    (tmp_path / "good.json").write_text(json.dumps([SCENE.to_dict(), OTHER.to_dict()]))
    (tmp_path / "plain.json").write_text(json.dumps(SCENE.to_dict()))
    (tmp_path / "bad.json").write_text('{"objects": ["unicorn"]}')
    flags = {"good": [], "plain": ["--nosheet", "--seed=5", "--timeout=30"], "bad": []}
    started = {name: command(target, tmp_path, name, *more) for name, more in flags.items()}
    ended = {name: (*process.communicate(timeout=120), process.returncode) for name, process in started.items()}
    output, errors, code = ended["bad"]
    (sentence,) = [line for line in errors.splitlines() if line.startswith("error:")]
    assert code == 2 and "unicorn" in sentence and "Traceback" not in errors and not (tmp_path / "bad.png").exists()
    assert [ended[name][2] for name in ("good", "plain")] == [0, 0], ended
    assert "2 scenes" in ended["good"][0]
    with Image.open(tmp_path / "good.png") as sheet, Image.open(tmp_path / "plain.png") as plain:
        assert sheet.width > 4 * 200 and sheet.height > 2 * 200
        assert np.abs(np.asarray(plain).astype(int) - drawn.image).max() <= 1


def trimmed(request, sizes):
    """The documentation's request, padded to the demo's sizes, for a model of others."""
    for row in request["instances"]:
        for name in ("object_names", "subjects", "predicates", "objects_of"):
            size = sizes[0] if name == "object_names" else sizes[1]
            assert set(row[name][size:]) <= {"", -1}
            row[name] = row[name][:size]
    return request


def test_curl_as_documented(target, client, tmp_path):
    if target.rest_url is None:
        pytest.skip("TF_SERVING_ADDRESS names a server, but TF_SERVING_REST does not name its REST port.")
    name = "export/tf_serving/request.json"
    request = trimmed(json.loads((REPOSITORY / name).read_text()), client.sizes())
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text(json.dumps(request))
    lines = [line.strip() for line in DOCUMENTATION.splitlines() if line.startswith(("    curl", "    python3 -c"))]
    answers = []
    for line in lines:
        if "monitoring" not in line:
            there = line.replace("http://127.0.0.1:8501/v1/models/rgan_tf", target.rest_url)
            done = subprocess.run(there, shell=True, cwd=tmp_path, capture_output=True, check=False, timeout=60)
            assert done.returncode == 0, done.stderr
            answers.append(done.stdout)
    assert len(answers) == 3
    (row,) = json.loads((tmp_path / "answer.json").read_text())["predictions"]
    scene = SceneGraph(("sky", "sea", "boat"), ((0, "above", 1), (2, "inside", 1)))
    expected = client.generate([scene], seed=3)[0]
    for picture in (tmp_path / "answer.png", io.BytesIO(base64.b64decode(row["png_bytes"]["b64"]))):
        with Image.open(picture) as image:
            assert np.abs(np.asarray(image).astype(int) - expected.image).max() <= 1
    assert row["patch_ids"][:3] == expected.patch_ids.tolist()
    assert json.loads(answers[-1])["model_version_status"][-1]["state"] == "AVAILABLE"


def test_python_as_documented(target, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENTATION, re.DOTALL)
    exec(code.replace("127.0.0.1:8500", target.address), {})
    assert re.match(r"\(\d+, \d+, 3\) \[", capsys.readouterr().out)


def test_answers_without_the_filter_hold_the_raw_picture(client, drawn):
    inputs = scene_requests.to_inputs([SCENE], scene_requests.GENERATE, *client.sizes(), 5)
    everything = client.predict("", inputs)
    assert set(scene_requests.OUTPUTS) < set(everything)
    np.testing.assert_array_equal(tf.io.decode_png(everything["png_bytes"][0]), everything["image"][0])
