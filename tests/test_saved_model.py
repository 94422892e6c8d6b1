"""The exported SavedModel: it equals the live model, needs nothing of ours, and refuses what makes no sense."""

import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from conftest import REPOSITORY
from served_scenes import SCENES, asking
from tensorflow.core.protobuf import config_pb2, saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

import rgan_tf
from export import saved_model
from export.scene_service import SYNTHESIZE
from pipelines.patch_bank import removal
from rgan_tf.errors import UserError
from rgan_tf.runtime_messages import sentence_of
from rgan_tf.scene_graph import SceneError, SceneGraph
from rgan_tf.scene_requests import GENERATE, RETRIEVE, RETRIEVE_WITH_PATCHES, WITH_LAYOUT, WITH_PATCHES
from rgan_tf.training import artifacts
from rgan_tf.workspace import Workspace

# A process that loads the model with none of our packages, nor any that defines operations beyond TensorFlow's own.
STRANGER = """
import sys, json
class Forbidden:
    def find_spec(self, name, path=None, target=None):
        ours = ("rgan_tf", "export", "pipelines")
        if name.split(".")[0] in (*ours, "scann", "tensorflow_addons", "tensorflow_gan", "official"):
            raise ImportError(name)
sys.meta_path.insert(0, Forbidden())
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
with np.load(sys.argv[2], allow_pickle=False) as given, open(sys.argv[3], "wb") as out:
    answers = {}
    for signature, function in model.signatures.items():
        names = function.structured_input_signature[1]
        answer = function(**{n: tf.constant(given[f"{signature}/{n}"]) for n in names})
        for n, value in answer.items():
            value = value.numpy()
            text = value.dtype == object
            answers[f"{signature}/{n}"] = np.vectorize(bytes.hex)(value) if text else value
    np.savez(out, **answers)
assert not set(sys.modules) & {"rgan_tf", "scann"}
"""


@pytest.fixture(scope="module")
def live(tiny_workspace):
    return rgan_tf.load(tiny_workspace.root)


@pytest.fixture(scope="module")
def exported(tiny_export):
    return rgan_tf.load(tiny_export)


def fixed_by(drawn, scenes):
    """Boxes and patches of a picture, as inputs."""
    boxes, ids = np.full((len(scenes), 4, 4), -1, np.float32), np.full((len(scenes), 4), -1, np.int64)
    for b, scene in enumerate(scenes):
        n = len(scene.objects)
        boxes[b, :n], ids[b, :n] = drawn["boxes"][b, :n], drawn["patch_ids"][b, :n]
    return {"boxes": boxes, "patch_ids": ids}


def test_it_draws_what_the_workspace_draws(live, exported):
    for seed in (0, 7, 2**40 + 1):
        for a, b in zip(live.draw(SCENES, seed), exported.draw(SCENES, seed)):
            np.testing.assert_array_equal(a.patch_ids, b.patch_ids)
            np.testing.assert_array_equal(a.patches, b.patches)
            np.testing.assert_allclose(a.boxes, b.boxes, atol=1e-5)
            assert np.abs(a.image.astype(int) - b.image).max() <= 1
            assert (a.sources, a.licenses) == (b.sources, b.licenses)
    assert any(
        (live.draw(SCENES, 0)[0].patch_ids != live.draw(SCENES, seed)[0].patch_ids).any() for seed in range(1, 9)
    ), "seeds change the choice"


def test_a_pinned_patch_is_drawn_and_the_rest_is_chosen_around_it(live, exported, tiny_workspace):
    bank = artifacts.open_bank(tiny_workspace)
    pinned = [None, int(bank.patch_id[5]), None]
    a, b = (generator.generate(SCENES[0], seed=1, pinned=pinned) for generator in (live, exported))
    assert a.patch_ids[1] == b.patch_ids[1] == bank.patch_id[5]
    np.testing.assert_array_equal(a.patch_ids, b.patch_ids)
    np.testing.assert_array_equal(b.patches[1], bank.gather_patches(np.array(5)))
    assert np.abs(a.image.astype(int) - b.image).max() <= 1
    boxes = [None, (0.1, 0.2, 0.6, 0.9), None]
    np.testing.assert_allclose(exported.generate(SCENES[0], boxes=boxes).boxes[1], boxes[1], atol=1e-6)


@pytest.mark.parametrize("generator", ["live", "exported"])
def test_python_refuses_a_scene_in_one_sentence(generator, request):
    generator = request.getfixturevalue(generator)
    with pytest.raises(SceneError, match=r"unknown name 'unicorn' as object 0.*nearest"):
        generator.generate({"objects": ["unicorn"]})
    with pytest.raises(SceneError, match=r"Scene 0 .*patch 123456789.*\.$"):
        generator.generate({"objects": ["sky"]}, pinned=[123456789])
    with pytest.raises(UserError, match="neither a trained workspace nor an exported model"):
        rgan_tf.load(REPOSITORY / "configs")


def test_a_stranger_process_gets_the_same_from_every_signature(loaded_export, tiny_export, tmp_path):
    drawn = loaded_export.signatures[GENERATE](**asking(SCENES, GENERATE))
    given = {}
    for signature in loaded_export.signatures:
        for name, value in asking(SCENES, signature, **fixed_by(drawn, SCENES)).items():
            value = value.numpy()
            given[f"{signature}/{name}"] = value.astype("S") if value.dtype == object else value
    np.savez(tmp_path / "given.npz", **given)
    files = [str(tmp_path / "given.npz"), str(tmp_path / "answers.npz")]
    command = [sys.executable, "-c", STRANGER, str(tiny_export / "1"), *files]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, timeout=200)
    with np.load(files[1], allow_pickle=False) as answers:
        assert {name.split("/")[0] for name in answers} == set(loaded_export.signatures)
        for signature, function in loaded_export.signatures.items():
            inputs = asking(SCENES, signature, **fixed_by(drawn, SCENES))
            for name, value in function(**inputs).items():
                found, value = answers[f"{signature}/{name}"], value.numpy()
                if value.dtype == object:
                    # Pictures may differ by rounding, and then in every byte.
                    assert (
                        name == "png_bytes"
                        or (np.vectorize(bytes.fromhex, otypes=[object])(found.astype(str)) == value).all()
                    )
                else:
                    np.testing.assert_allclose(
                        found.astype(float), value.astype(float), atol=1.0 if name == "image" else 1e-4
                    )


def test_synthesize_equals_generation_without_relations(loaded_export):
    scenes = [SceneGraph(("sky", "grass", "sheep")), SceneGraph(("sea", "boat"))]
    drawn = loaded_export.signatures[GENERATE](**asking(scenes, GENERATE))
    again = loaded_export.signatures[SYNTHESIZE](**asking(scenes, SYNTHESIZE, **fixed_by(drawn, scenes)))
    assert np.abs(again["image"].numpy().astype(int) - drawn["image"].numpy()).max() <= 1
    np.testing.assert_array_equal(tf.io.decode_png(again["png_bytes"][0]), again["image"][0])


def test_generation_with_everything_fixed_gives_the_same_picture(loaded_export):
    drawn = loaded_export.signatures[WITH_LAYOUT](**asking(SCENES, WITH_LAYOUT))
    again = loaded_export.signatures[WITH_PATCHES](**asking(SCENES, WITH_PATCHES, seed=99, **fixed_by(drawn, SCENES)))
    np.testing.assert_array_equal(again["patch_ids"], drawn["patch_ids"])
    assert np.abs(again["image"].numpy().astype(int) - drawn["image"].numpy()).max() <= 1


def test_retrieve_ranks_the_candidates_and_says_which_is_taken(loaded_export, tiny_workspace):
    answer = {n: v.numpy() for n, v in loaded_export.signatures[RETRIEVE](**asking(SCENES, RETRIEVE)).items()}
    drawn = loaded_export.signatures[GENERATE](**asking(SCENES, GENERATE))["patch_ids"].numpy()
    bank = artifacts.open_bank(tiny_workspace)
    assert answer["patch_ids"].shape == answer["scores"].shape == (3, 4, 6)
    for b, scene in enumerate(SCENES):
        for i in range(4):
            ids, place = answer["patch_ids"][b, i], answer["choice"][b, i]
            if i >= len(scene.objects):
                assert place == -1 and (ids == -1).all() and (answer["png_bytes"][b, i] == b"").all()
                continue
            assert ids[place] == drawn[b, i]
            held = ids[ids >= 0]
            assert len(set(held)) == len(held) and (np.diff(answer["scores"][b, i, : len(held)]) <= 0).all()
            names = artifacts.vocabulary(tiny_workspace).objects
            assert {names[c] for c in bank.category[held]} == {scene.objects[i]}
            patch = tf.io.decode_png(answer["png_bytes"][b, i, 0])
            np.testing.assert_array_equal(patch, bank.gather_patches(held[0]))
            assert answer["patch_source"][b, i, 0].decode() == bank.image_id[held[0]]


def test_retrieve_beside_pinned_patches(loaded_export):
    asked, drawn = loaded_export.signatures, loaded_export.signatures[GENERATE](**asking(SCENES, GENERATE))
    free = asked[RETRIEVE](**asking(SCENES, RETRIEVE))
    # Nothing pinned, then the worst candidate of the first scene's sky.
    open_, pinned = np.full((3, 4), -1), np.full((3, 4), -1)
    ids = free["patch_ids"][0, 0].numpy()
    pinned[0, 0] = worst = ids[ids >= 0][-1]
    again = asked[RETRIEVE_WITH_PATCHES](**asking(SCENES, RETRIEVE_WITH_PATCHES, patch_ids=open_))
    for name, value in free.items():
        np.testing.assert_array_equal(again[name], value)
    beside = asked[RETRIEVE_WITH_PATCHES](**asking(SCENES, RETRIEVE_WITH_PATCHES, patch_ids=pinned))
    with_it = asked[WITH_PATCHES](**asking(SCENES, WITH_PATCHES, patch_ids=pinned))
    assert worst != drawn["patch_ids"][0, 0]
    chosen = np.take_along_axis(beside["patch_ids"].numpy(), np.maximum(beside["choice"], 0)[..., None], -1)[..., 0]
    np.testing.assert_array_equal(np.where(beside["choice"] >= 0, chosen, -1), with_it["patch_ids"])
    assert chosen[0, 0] == worst
    for row in beside["patch_ids"].numpy()[0, :3]:
        assert len(set(row[row >= 0])) == (row >= 0).sum()
    # Scores are those of the query that the pinned patch moved; a scene without it stays what it was.
    assert not np.allclose(beside["scores"][0, 1], free["scores"][0, 1])
    np.testing.assert_array_equal(beside["scores"][1:], free["scores"][1:])


def test_an_answer_depends_on_its_own_scene_alone(loaded_export):
    function = loaded_export.signatures[WITH_LAYOUT]
    together = function(**asking(SCENES * 2, WITH_LAYOUT))
    for b, scene in enumerate(SCENES):
        alone = function(**asking([scene], WITH_LAYOUT))
        for place in (b, b + len(SCENES)):
            np.testing.assert_array_equal(alone["patch_ids"][0], together["patch_ids"][place])
            np.testing.assert_allclose(alone["boxes"][0], together["boxes"][place], atol=1e-5)
            difference = alone["image"][0].numpy().astype(int) - together["image"][place].numpy()
            assert np.abs(difference).max() <= 1


def test_callables_take_scenes_of_any_size(loaded_export):
    scene = SCENES[0]
    names, subjects = tf.constant([scene.objects]), tf.constant([[s for s, _, _ in scene.relationships]])
    predicates = tf.constant([[p for _, p, _ in scene.relationships]])
    targets = tf.constant([[o for _, _, o in scene.relationships]])
    expected = loaded_export.signatures[GENERATE](**asking([scene], GENERATE))
    answer = loaded_export.generate(names, subjects, predicates, targets, tf.constant([3], tf.int64))
    np.testing.assert_array_equal(answer["patch_ids"], expected["patch_ids"])
    fixed = {"boxes": answer["boxes"][:, :3], "patch_ids": answer["patch_ids"][:, :3]}
    again = loaded_export.generate(names, subjects, predicates, targets, np.array([5], np.int64), **fixed)
    assert np.abs(again["image"].numpy().astype(int) - expected["image"].numpy()).max() <= 1
    pinned = {"patch_ids": fixed["patch_ids"]}
    again = loaded_export.generate(names, subjects, predicates, targets, np.array([5], np.int64), **pinned)
    np.testing.assert_array_equal(again["patch_ids"], expected["patch_ids"])
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"patch_ids has the shape \[1, 5\]; it must be \[batch, 4\]"
    ):
        loaded_export.synthesize(names, fixed["boxes"], np.zeros([1, 5], np.int64))
    assert loaded_export.synthesize(names, **fixed)["image"].shape == expected["image"].shape
    retrieved = loaded_export.retrieve(names, subjects, predicates, targets, tf.constant([3], tf.int64))
    assert retrieved["scores"].shape == [1, 4, 6]


def test_in_a_session_as_tensorflow_serving_runs_it(loaded_export, tiny_export):
    """The C++ loader and session, fed without Python's checks of shapes."""
    inputs = {name: value.numpy() for name, value in asking(SCENES, WITH_LAYOUT).items()}
    expected = loaded_export.signatures[WITH_LAYOUT](**asking(SCENES, WITH_LAYOUT))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(tiny_export / "1"))
        signature = meta.signature_def[WITH_LAYOUT]
        outputs = {name: info.name for name, info in signature.outputs.items()}
        feeds = {signature.inputs[name].name: value for name, value in inputs.items()}
        answer = session.run(outputs, feeds)
        np.testing.assert_array_equal(answer["patch_ids"], expected["patch_ids"])
        wide = {**inputs, "boxes": np.full((3, 5, 4), -1, np.float32)}
        feed = [signature.inputs[name].name for name in wide]
        # The public calls compare shapes in Python first; a server does not.
        run = session._make_callable_from_options(
            config_pb2.CallableOptions(feed=feed, fetch=[signature.outputs["image"].name])
        )
        with pytest.raises(tf.errors.InvalidArgumentError) as refused:
            run(*wide.values())
        sentence = sentence_of(refused.value.message)
        assert sentence == "The input boxes has the shape [3, 5, 4]; it must be [batch, 4, 4]."


@pytest.mark.parametrize("export", ["tiny_export", "scene_export"])
def test_graph_has_stock_operations_only(export, request):
    content = (request.getfixturevalue(export) / "1" / "saved_model.pb").read_bytes()
    meta = saved_model_pb2.SavedModel.FromString(content).meta_graphs[0]
    functions = meta.graph_def.library.function
    operations = {node.op for function in functions for node in function.node_def} | {n.op for n in meta.graph_def.node}
    assert not [op for op in operations if "PyFunc" in op or "scann" in op.lower() or "Addons" in op]
    assert not any(f.attr["_XlaMustCompile"].b for f in functions)
    text = str(meta)
    assert str(REPOSITORY) not in text


def test_extra_assets(tiny_export, tiny_workspace, loaded_export):
    extra = tiny_export / "1" / "assets.extra"
    asked = set()
    for record in tf.data.TFRecordDataset(str(extra / "tf_serving_warmup_requests")):
        warm_up = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        asked.add(warm_up.model_spec.signature_name)
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in warm_up.inputs.items()}
        loaded_export.signatures[warm_up.model_spec.signature_name](**inputs)
    assert asked == set(loaded_export.signatures)
    card = (extra / "model_card.md").read_text()
    bank = artifacts.open_bank(tiny_workspace)
    assert f"holds {len(bank):,} of its training objects" in card and "not evaluated" in card and "k_max: 6" in card
    assert "source_dir" not in card


def test_versions_count_up_and_are_never_overwritten(tiny_export, tiny_workspace):
    with pytest.raises(UserError, match="has a version 1 already"):
        saved_model.export(tiny_workspace, tiny_export, version=1)
    assert [path.name for path in pathlib.Path(tiny_export).iterdir()] == ["1"]


def test_jpeg_and_fewer_patches_export_and_removed_ones_are_gone(tiny_workspace, tmp_path):
    """The other ways of exporting, together: the bank as JPEG, cut down, after a removal."""
    root = shutil.copytree(tiny_workspace.root, tmp_path / "workspace")
    bank = artifacts.open_bank(Workspace(root))
    gone = bank.patch_id[::9]
    (tmp_path / "ids").write_text("\n".join(map(str, gone)))
    removal.remove(Workspace(root), tmp_path / "ids")
    most = len(np.unique(bank.category)) + 40
    folder = saved_model.export(Workspace(root), tmp_path / "models", 7, "jpeg", most)
    assert folder == tmp_path / "models" / "7"
    exported = rgan_tf.load(folder)
    answer = exported.generate(SCENES[0], seed=2)
    row = {int(i): number for number, i in enumerate(bank.patch_id)}
    for patch, identity, name in zip(answer.patches, answer.patch_ids, SCENES[0].objects):
        assert identity not in gone
        original = bank.gather_patches(np.array(row[int(identity)]))
        assert exported.vocabulary.objects[bank.category[row[int(identity)]]] == name
        assert np.abs(patch.astype(int) - original).mean() < 12
    with pytest.raises(SceneError, match=f"patch {gone[0]} "):
        exported.generate(SCENES[0], pinned=[int(gone[0]), None, None])
    other = tf.saved_model.load(str(folder))
    (ids,) = (part.patch_id.numpy() for part in other.kept if hasattr(part, "patch_id"))
    assert len(ids) == most and not set(ids) & set(gone)


def test_a_seed_beyond_64_bits_is_refused(exported):
    with pytest.raises(UserError, match="seed is 9223372036854775808"):
        exported.generate(SCENES[0], seed=2**63)
