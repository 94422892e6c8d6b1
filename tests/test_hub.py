"""A packed model loads as TF Hub loads models: from a folder, an archive and an address."""

import functools
import http.server
import shutil
import tarfile
import threading

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub

from export.hub import pack
from rgan_tf import scene_requests
from rgan_tf.errors import UserError
from rgan_tf.scene_graph import SceneGraph

SCENE = SceneGraph(("sky", "grass", "sheep"), ((0, "above", 1), (2, "inside", 1)))


@pytest.fixture(scope="module")
def archive(tiny_export, tmp_path_factory):
    path = tmp_path_factory.mktemp("hub") / "rgan.tar.gz"
    page = pack(tiny_export / "1", path)
    assert page == path.with_name("rgan.md")
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def address(archive):
    """The archive over HTTP, as TF Hub asks for it: with ?tf-hub-format=compressed."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            """Says nothing of requests among the tests' own output."""

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(archive.parent))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/{archive.name}"
    server.shutdown()
    server.server_close()


def arguments():
    names = tf.constant([SCENE.objects])
    subjects, predicates, targets = zip(*SCENE.relationships)
    return names, tf.constant([subjects]), tf.constant([predicates]), tf.constant([targets])


def check(model):
    """That a loaded model has its signatures and answers like them, also without padding."""
    assert set(model.signatures) >= {"serving_default", "generate_with_layout", "retrieve", "synthesize"}
    answer = model.generate(*arguments(), seed=tf.constant([3], tf.int64))
    inputs = scene_requests.to_inputs([SCENE], scene_requests.GENERATE, 4, 6, 3)
    expected = model.signatures["serving_default"](**{name: tf.constant(value) for name, value in inputs.items()})
    for name, value in expected.items():
        np.testing.assert_array_equal(answer[name], value)
    fixed = answer["boxes"][:, :3], answer["patch_ids"][:, :3]
    assert model.synthesize(arguments()[0], *fixed)["image"].shape == answer["image"].shape
    assert model.retrieve(*arguments(), seed=np.array([3], np.int64))["scores"].shape == [1, 4, 6]


def test_hub_loads_a_folder(tiny_export):
    check(hub.load(str(tiny_export / "1")))


def test_hub_loads_an_archive_from_its_address_as_the_page_says(archive, address, tmp_path, monkeypatch):
    page = archive.with_name("rgan.md").read_text()
    snippet = page.split("```python\n")[1].split("```")[0].replace("HANDLE OR PATH", address)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(snippet, "page", "exec"), names)
    assert tf.io.decode_png((tmp_path / "picture.png").read_bytes()).shape == [32, 32, 3]
    check(names["model"])


def test_a_keras_layer_of_it_works_in_a_model(tiny_export, loaded_export):
    layer = hub.KerasLayer(str(tiny_export / "1"), signature="serving_default", signature_outputs_as_dict=True)
    inputs = {
        name: tf.keras.Input(shape=value.shape[1:], dtype=tf.constant(value).dtype, name=name)
        for name, value in scene_requests.to_inputs([SCENE], scene_requests.GENERATE, 4, 6, 3).items()
    }
    brightness = tf.keras.layers.Lambda(lambda image: tf.reduce_mean(tf.cast(image, tf.float32), axis=[1, 2, 3]))
    outputs = layer(inputs)
    model = tf.keras.Model(inputs, {"brightness": brightness(outputs["image"]), "image": outputs["image"]})
    asked = scene_requests.to_inputs([SCENE] * 2, scene_requests.GENERATE, 4, 6, 3)
    answer = model({name: tf.constant(value) for name, value in asked.items()})
    expected = loaded_export.signatures["serving_default"](
        **{name: tf.constant(value) for name, value in asked.items()}
    )
    np.testing.assert_array_equal(answer["image"], expected["image"])
    np.testing.assert_allclose(answer["brightness"], expected["image"].numpy().mean(axis=(1, 2, 3)), rtol=1e-5)


def test_archive_is_a_saved_model_at_its_root_and_the_same_every_time(archive, tiny_export, tmp_path):
    with tarfile.open(archive) as packed:
        names = set(packed.getnames())
        assert all(member.uid == 0 and not member.uname and (member.isfile() or member.isdir()) for member in packed)
    files = {str(file.relative_to(tiny_export / "1")) for file in (tiny_export / "1").rglob("*")}
    assert names == files and "saved_model.pb" in names
    again = tmp_path / "other.tar.gz"
    copy = shutil.copytree(tiny_export / "1", tmp_path / "copy" / "1")
    pack(copy, again)
    assert again.read_bytes() == archive.read_bytes()


def test_page_has_the_fields_of_tf_hub_and_the_card(archive):
    page = archive.with_name("rgan.md").read_text()
    assert page.startswith("# Module rgan_tf/rgan_tf/1\n\nDraws pictures")
    for field in ("<!-- asset-path: rgan.tar.gz -->", "<!-- format: saved_model_2 -->", "<!-- fine-tunable: false -->"):
        assert field in page
    assert "### Licences of the patches" in page and 'tf.constant([["sky", "person"]])' in page


def test_what_cannot_be_packed_is_said(tiny_export, tmp_path):
    with pytest.raises(UserError, match=r"must end in \.tar\.gz"):
        pack(tiny_export / "1", tmp_path / "model.zip")
    with pytest.raises(UserError, match="no model that rgan_tf exported"):
        pack(tmp_path, tmp_path / "model.tar.gz")
    assert not list(tmp_path.iterdir())
