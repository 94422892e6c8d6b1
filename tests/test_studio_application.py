"""The studio without a browser: what its server answers and refuses, and models of every origin behind it."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from export.client import GenerationClient
from export.development_server.loaded_model import ServedModel
from export.development_server.server import DevelopmentServer
from export.studio.application import make_application
from export.studio.model import ServedGenerator, StudioModel
from export.studio.scene_editor import StudioScene
from rgan_tf.scene_generator import load
from rgan_tf.scene_graph import SceneError, SceneGraph

SCENE = StudioScene(SceneGraph(("sky", "sea", "boat"), ((0, "above", 1), (2, "inside", 1))), seed=2)


@pytest.fixture(scope="module")
def client(tiny_workspace):
    return make_application(StudioModel.of_path(tiny_workspace.root), 1).server.test_client()


def test_browsers_are_told_to_load_nothing_from_elsewhere(client):
    page = client.get("/", base_url="http://127.0.0.1:8050")
    policy = dict(rule.split(" ", 1) for rule in page.headers["Content-Security-Policy"].split("; "))
    assert page.status_code == 200 and policy["default-src"] == "'none'"
    scripts = policy["script-src"].split()
    assert scripts[0] == "'self'" and all(each.startswith("'sha256-") for each in scripts[1:])
    assert policy["connect-src"] == "'self'" and policy["frame-ancestors"] == "'none'"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    text = page.get_data(as_text=True)
    assert 'lang="en"' in text and "http://" not in text and "https://" not in text


@pytest.mark.parametrize("host, answer", [("127.0.0.1:8050", 200), ("localhost", 200), ("[::1]:8050", 200)])
def test_names_of_this_machine_are_answered(client, host, answer):
    assert client.get("/", base_url=f"http://{host}").status_code == answer


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8050", "10.0.0.7"])
def test_other_names_are_refused(client, host):
    page = client.get("/", base_url=f"http://{host}")
    assert page.status_code == 421 and "does not answer to the name" in page.get_data(as_text=True)


def test_named_hosts_are_answered(tiny_export):
    server = make_application(StudioModel.of_path(tiny_export), 1, hosts=["studio.example"]).server.test_client()
    assert server.get("/", base_url="http://studio.example:8050").status_code == 200
    assert server.get("/", base_url="http://127.0.0.1:8050").status_code == 421
    # An export has no pictures that its patches were cut from.
    assert server.get("/source/1.png", base_url="http://studio.example").status_code == 404


def test_sources_by_number_alone(client):
    found = client.get("/source/3.png", base_url="http://localhost")
    picture = Image.open(io.BytesIO(found.data))
    assert found.mimetype == "image/png" and min(picture.size) >= 384
    unknown = client.get("/source/999999.png", base_url="http://localhost")
    assert unknown.status_code == 404 and unknown.get_data(as_text=True) == "There is no patch 999999."
    # Whatever else is asked for is the page itself, or nothing.
    for path in ("/source/../page.py", "/source/-1.png", "/source/%2e%2e%2fpage.py", "/assets/../page.py", "/page.py"):
        answer = client.get(path, base_url="http://localhost")
        assert answer.status_code == 404 or b"<title>RetrieveGAN studio</title>" in answer.data
        assert b"import" not in answer.data


def test_a_large_request_is_refused(client):
    sent = client.post(
        "/_dash-update-component", data=b"x" * (2 << 20), base_url="http://localhost", content_type="application/json"
    )
    assert sent.status_code == 413


def test_a_model_draws_alike_wherever_it_comes_from(tiny_workspace, tiny_export):
    workspace, export = StudioModel.of_path(tiny_workspace.root), StudioModel.of_path(tiny_export)
    with DevelopmentServer(ServedModel(tiny_export, "rgan_tf"), "127.0.0.1", 0, 0) as server:
        with GenerationClient(server.address) as connection:
            served = StudioModel(ServedGenerator(connection))
            models = [workspace, export, served]
            drawn = [model.draw(1, SCENE) for model in models]
            with pytest.raises(SceneError, match="unicorn"):
                served.draw(1, StudioScene(SceneGraph(("unicorn",))))
    assert [model.has_sources for model in models] == [True, False, False]
    assert all(model.has_patches for model in models) and served.vocabulary is None
    assert len({(model.max_objects, model.max_triples) for model in models}) == 1
    for other in drawn[1:]:
        np.testing.assert_array_equal(other.answer.patch_ids, drawn[0].answer.patch_ids)
        assert np.abs(other.answer.image.astype(int) - drawn[0].answer.image).max() <= 1
        for ours, theirs in zip(drawn[0].candidates, other.candidates):
            np.testing.assert_array_equal(ours.patch_ids, theirs.patch_ids)


def test_a_model_without_patches(baseline_root):
    model = StudioModel(load(baseline_root("sg2im"), "sg2im"))
    drawn = model.draw(0, SCENE)
    assert drawn.candidates is None and not model.has_patches and not model.has_sources
    page = make_application(model, 1).server.test_client().get("/_dash-layout", base_url="http://localhost")
    assert "This model draws without patches." in page.get_data(as_text=True)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "Name one model"),
        (["--workspace=a", "--server=b:1"], "Name one model"),
        (["--workspace=nowhere"], "nowhere is neither a trained workspace nor an exported model"),
        (["--server=127.0.0.1:1"], "failed with UNAVAILABLE"),
    ],
)
def test_what_the_command_refuses(arguments, words):
    command = [sys.executable, "-m", "export.studio", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
