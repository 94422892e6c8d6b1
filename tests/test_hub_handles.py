"""Where feature networks come from, folders, archives and a server, and every way they can fail to come."""

import io
import pathlib
import tarfile

import numpy as np
import pytest
import tensorflow as tf
from conftest import tiny_config
from texture_network import export_texture, images, pack, serving

from rgan_tf.config import ConfigError, FeatureNetworkConfig
from rgan_tf.errors import UserError
from rgan_tf.models.feature_network import FeatureNetwork, make_feature_network
from rgan_tf.models.feature_weights import FeatureWeightsError
from rgan_tf.models.hub_network import HubNetwork
from rgan_tf.workspace import fingerprint


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return export_texture(tmp_path_factory.mktemp("texture") / "model")


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The address at which tmp_path/served is served, and the paths asked for."""
    (tmp_path / "served").mkdir()
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    with serving(tmp_path / "served") as address_and_asked:
        yield address_and_asked


def test_archives_give_what_the_folder_gives(folder, tmp_path, server):
    address, asked = server[0] + "/model.tar.gz", server[1]
    want = HubNetwork(folder, ["maps"])(images())[0]
    archive = pack(folder, tmp_path / "served" / "model.tar.gz")
    for handle in (archive, address, f"{address}?tf-hub-format=compressed", address):
        np.testing.assert_array_equal(HubNetwork(handle, ["maps"])(images())[0], want)
    assert len(asked) == 2, "the second load from an address is served from the cache"
    assert all("tf-hub-format=compressed" in path for path in asked)


@pytest.mark.parametrize(
    "signature, outputs, words",
    [
        ("serve", ["maps"], "has no signature 'serve'; it has fixed, half, .*serving_default, .*own call"),
        ("serving_default", ["mops"], "has no output 'mops'; it has all, maps, mean, name"),
        ("serving_default", ["maps", "block1_conv2"], "has no output 'block1_conv2'"),
        ("", ["output_2"], "has no output 'output_2'; it has output_0, output_1"),
        ("serving_default", ["name"], "output 'name' is .*string.*not float values of each image"),
        ("serving_default", ["all"], "output 'all' is .*not float values of each image"),
        ("serving_default", [], "No outputs .* are asked for; it has all, maps"),
        ("pair", ["maps"], r"takes images float32 \(None, None, None, 3\), others .*must take one float tensor"),
        ("quantized", ["maps"], "takes images uint8"),
        ("single", ["maps"], r"takes images float32 \(1, 8, 8, 3\)"),
    ],
)
def test_what_a_network_lacks_is_named(folder, signature, outputs, words):
    with pytest.raises(ConfigError, match=words) as caught:
        HubNetwork(folder, outputs, signature)
    assert folder in str(caught.value) and "\n" not in str(caught.value)


def test_a_module_without_a_call_and_another_size_than_the_fixed_one(folder, tmp_path):
    with pytest.raises(ConfigError, match="images of 8 x 6 pixels alone, not 8 x 8"):
        HubNetwork(folder, ["maps"], "fixed", input_size=8)
    tf.saved_model.save(tf.Module(), str(tmp_path / "empty"))
    with pytest.raises(ConfigError, match="has no call of its own; its signatures are none"):
        HubNetwork(str(tmp_path / "empty"), ["maps"], "")
    with pytest.raises(ConfigError, match="no signature 'serving_default'; it has none"):
        HubNetwork(str(tmp_path / "empty"), ["maps"])


def evil_archive(path, member):
    content = io.BytesIO(b"x")
    with tarfile.open(path, "w:gz") as archive:
        member.size = 1 if member.isfile() else 0
        archive.addfile(member, content)


def link():
    member = tarfile.TarInfo("saved_model.pb")
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return member


@pytest.mark.parametrize("make", [lambda: tarfile.TarInfo("../evil"), link])
def test_archives_cannot_leave_their_folder(tmp_path, monkeypatch, make):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    evil_archive(tmp_path / "evil.tar.gz", make())
    with pytest.raises(FeatureWeightsError, match="evil.tar.gz cannot be found or fetched"):
        HubNetwork(str(tmp_path / "evil.tar.gz"), ["maps"])
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["evil.tar.gz", "scratch"]


def test_handles_that_lead_to_no_model_are_named(folder, tmp_path, server):
    (tmp_path / "broken.tar.gz").write_bytes(b"no archive")
    (tmp_path / "served" / "page.tar.gz").write_bytes(b"<html>")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "saved_model.pb").write_bytes(b"\xff" * 100)
    pack(folder, tmp_path / "served" / "nested.tar.gz", name="inner")
    whole = pathlib.Path(pack(folder, tmp_path / "whole.tar.gz")).read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    cases = {
        tmp_path / "absent": "cannot be found or fetched",
        tmp_path / "absent.tgz": "cannot be found or fetched",
        tmp_path / "broken.tar.gz": "cannot be found or fetched",
        tmp_path / "cut.tar.gz": "cannot be found or fetched",
        f"{server[0]}/absent.tar.gz": "cannot be found or fetched .*404",
        f"{server[0]}/page.tar.gz": "cannot be found or fetched",
        "http://127.0.0.1:9/model.tar.gz": "cannot be found or fetched .*refused",
        tmp_path: "is not a SavedModel: it has no saved_model.pb",
        f"{server[0]}/nested.tar.gz": f"is not a SavedModel.*{tmp_path}/cache/.*remove it",
        tmp_path / "damaged": "is a SavedModel that cannot be loaded",
    }
    for handle, words in cases.items():
        with pytest.raises(FeatureWeightsError, match=words) as caught:
            HubNetwork(str(handle), ["maps"])
        assert str(handle) in str(caught.value) and "\n" not in str(caught.value)


def test_the_door_names_the_field(folder):
    for handle, error in ((folder, ConfigError), (f"{folder}/absent", FeatureWeightsError)):
        with pytest.raises(error, match="^losses.feature_network: The feature network .*"):
            make_feature_network(FeatureNetworkConfig(handle=handle))
    assert isinstance(
        make_feature_network(FeatureNetworkConfig(weights="random", layers=["block1_conv1"])), FeatureNetwork
    )


@pytest.mark.parametrize(
    "override, words",
    [
        ("input_range=[0]", r"input_range is \[0\]; it must be two numbers"),
        ("input_range=[1,0]", r"input_range is \[1, 0\]"),
        ("input_range=[a,b]", "input_range"),
        ("input_size=-1", "input_size is -1; it must be at least 0"),
        ("layers=[]", "layers is empty"),
    ],
)
def test_bad_settings_are_refused_before_anything_runs(override, words):
    with pytest.raises(UserError, match=words):
        tiny_config(f"losses.feature_network.{override}")


def test_a_workspace_goes_stale_by_the_fields_that_are_read():
    def stale(before, after):
        before, after = (
            tiny_config(",".join(f"losses.feature_network.{field}" for field in c)) for c in (before, after)
        )
        return fingerprint("retrievegan", before) != fingerprint("retrievegan", after)

    assert not stale(["weights=random"], ["weights=random", "signature=x", "input_size=9"])
    assert stale(["weights=random"], ["handle=a"]) and stale(["handle=a"], ["handle=b"])
    assert stale(["handle=a"], ["handle=a", "input_size=9"]) and stale(["handle=a"], ["handle=a", "signature=x"])
    assert not stale(["handle=a"], ["handle=a", "weights=imagenet"])
