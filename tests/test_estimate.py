"""Estimates from the configuration against what is really built, and what a training is refused for."""

import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow as tf
from conftest import REPOSITORY, tiny_config

from pipelines import relations
from pipelines.synthetic_scenes import layout
from rgan_tf import preflight
from rgan_tf.config import ConfigError, blueprint, estimate, estimate_memory, load_config
from rgan_tf.fingerprints import stages_of
from rgan_tf.models.discriminators import ImageDiscriminator, ObjectDiscriminator
from rgan_tf.models.feature_network import FeatureNetwork
from rgan_tf.models.feature_weights import FeatureWeightsError
from rgan_tf.models.patch_encoder import PatchEncoder
from rgan_tf.models.retrievegan import RetrieveGAN
from rgan_tf.scene_graph import Vocabulary
from rgan_tf.training import artifacts
from rgan_tf.workspace import Workspace

GIB = 2**30
ALL = tuple(stages_of("retrievegan"))
NAMES = Vocabulary.from_names(["sky", "sea", "boat"], ["above", "inside"])
VARIATIONS = [
    "",
    "generator.crop_size=16,generator.refiner_layers=0,generator.residual_blocks=0,graph_encoder.layers=0",
    "generator.canvas_size=8,generator.decoder_widths=[6,4],generator.normalization=group,generator.crop_size=2,"
    "generator.refiner_layers=2,discriminators.image_layers=4,losses.feature_network.layers=[block1_conv2,block2_conv1]",
    "generator.canvas_size=32,generator.decoder_widths=[],generator.normalization=none,generator.crop_width=9,"
    "discriminators.normalization=none,discriminators.object_layers=3,retrieval.encoder.width=3",
    "data.image_size=64,generator.decoder_widths=[4,4],discriminators.image_layers=5,patch_bank.patch_size=8",
]


def scene_batch(config):
    n, t, k, side = (
        config.data.max_objects,
        config.data.max_triples,
        config.candidates.k_train,
        config.patch_bank.patch_size,
    )
    return {
        "objects": tf.ones([1, n], tf.int32),
        "object_mask": tf.ones([1, n], bool),
        "triples": tf.zeros([1, t, 3], tf.int32),
        "triple_mask": tf.ones([1, t], bool),
        "boxes": tf.constant([[[0.0, 0.0, 1.0, 1.0]] * n]),
        "box_given": tf.zeros([1, n], bool),
        "candidate_patches": tf.zeros([1, n, k, side, side, 3]),
        "candidate_mask": tf.ones([1, n, k], bool),
        "scene_seed": tf.zeros([1, 2], tf.int32),
    }


@pytest.mark.parametrize("override", VARIATIONS, ids=range(len(VARIATIONS)))
def test_parameters_are_those_of_the_models_that_are_built(override):
    config = tiny_config(override)
    batch, side = scene_batch(config), config.patch_bank.patch_size
    model = RetrieveGAN(config, NAMES.num_objects, NAMES.num_predicates)
    image = model.generate(batch).image
    critics = ImageDiscriminator(config.discriminators), ObjectDiscriminator(config.discriminators, NAMES.num_objects)
    critics[0](image), critics[1](image, batch["boxes"])
    encoder = PatchEncoder(config.cooccurrence.encoder)
    encoder(tf.zeros([1, side, side, 3]))
    built = {
        "retrievegan": model,
        "image_discriminator": critics[0],
        "object_discriminator": critics[1],
        "feature_network": FeatureNetwork(config.losses.feature_network),
        "cooccurrence": encoder,
        "graph_encoder": artifacts.graph_encoder(config, NAMES),
    }
    counted = estimate.count_parameters(config, NAMES.num_objects, NAMES.num_predicates)
    assert counted == {
        name: sum(weight.shape.num_elements() for weight in model.weights) for name, model in built.items()
    }


def convolved(function, *inputs):
    """Elements that the convolutions of a function give."""
    specs = [tf.TensorSpec(value.shape, value.dtype) for value in inputs]
    graph = tf.function(function, autograph=False).get_concrete_function(*specs).graph
    return sum(op.outputs[0].shape.num_elements() for op in graph.get_operations() if op.type == "Conv2D")


def test_values_follow_the_maps_that_the_models_compute():
    config = tiny_config("generator.canvas_size=8,generator.decoder_widths=[8,8]")
    batch, data, bank = scene_batch(config), config.data, config.patch_bank
    model = RetrieveGAN(config, NAMES.num_objects, NAMES.num_predicates)
    patches, image = batch["candidate_patches"][:, :, 0], tf.zeros([1, data.image_size, data.image_size, 3])
    model.generate(batch)
    cases = [
        (
            blueprint.generator(config.generator, bank, data.image_size, data.max_objects, data.max_triples, 16),
            convolved(lambda patches, boxes: model.synthesize(patches, boxes, batch), patches, batch["boxes"]),
        ),
        (
            blueprint.image_discriminator(config.discriminators, data.image_size),
            convolved(ImageDiscriminator(config.discriminators), image),
        ),
        (
            blueprint.object_discriminator(config.discriminators, 4).times(data.max_objects),
            convolved(ObjectDiscriminator(config.discriminators, 4), image, batch["boxes"]),
        ),
        (
            blueprint.feature_network(config.losses.feature_network, data.image_size),
            convolved(FeatureNetwork(config.losses.feature_network), image),
        ),
        (blueprint.patch_encoder(config.retrieval.encoder, bank), convolved(model.retrieval.embed, patches[0, :1])),
    ]
    # A convolution's map is kept again after normalization and activation; the generator keeps what it pastes as well.
    assert [1.9 <= cost.values / maps <= 6.0 for cost, maps in cases] == [True] * len(cases), cases


def test_the_vocabulary_is_that_of_the_data_sets():
    assert estimate.VOCABULARY["synthetic_scenes"] == (len(layout.CATEGORIES) + 1, len(relations.PREDICATES) + 1)


def test_disk_is_what_a_workspace_takes(tiny_workspace):
    found, config = estimate_memory(tiny_config()), tiny_config()

    def size(folder, pattern="*"):
        return sum(path.stat().st_size for path in (tiny_workspace.root / folder).rglob(pattern) if path.is_file())

    patches = len(np.load(tiny_workspace.root / "patch_bank" / "category.npy"))
    bank = size("patch_bank") + size("cooccurrence", "embeddings.npy")
    assert 0.5 < found.bank_disk_per_patch / (bank / patches) < 2.0
    # Scenes of three or four objects: the estimate takes four.
    assert 0.5 < found.bank_disk / bank < 2.0
    assert 0.5 < found.dataset_disk / size("dataset", "*.tfrecord*") < 2.0
    assert 1.0 <= size("candidates", "*.npy") / found.candidates_disk < 1.2
    assert found.scene_tables > config.data.train_scenes


def test_estimates_grow_with_what_they_are_of():
    base = estimate_memory(tiny_config())
    assert estimate_memory(tiny_config("training.batch_size=8,cooccurrence.training.batch_size=1")).step_activations > 0
    main = "cooccurrence.training.batch_size=1,graph_encoder.training.batch_size=1,training.batch_size="
    small, large = (estimate_memory(tiny_config(f"{main}{size}")).step_activations for size in (64, 128))
    assert large == 2 * small
    assert estimate_memory(tiny_config(f"{main}128"), replicas=2).step_activations == small
    mixed = estimate_memory(tiny_config(f"{main}64,runtime.mixed_precision=true")).step_activations
    assert small / 2 < mixed < small
    averaged = estimate_memory(tiny_config("training.optimizer.ema_momentum=0.0"))
    assert averaged.parameters_and_optimizer < base.parameters_and_optimizer
    # Every anchor, positive and negative of a batch.
    pairs = [
        estimate_memory(tiny_config(f"cooccurrence.training.batch_size={size}")).step_activations
        for size in (512, 1024)
    ]
    assert 7.0 < pairs[1] / pairs[0] < 8.1


def test_what_the_configuration_does_not_tell_is_none():
    found = estimate_memory(load_config(REPOSITORY / "configs" / "coco_stuff.yaml"))
    assert (found.dataset_disk, found.bank_disk, found.candidates_disk, found.scene_tables) == (None,) * 4
    assert found.disk == 0 and found.bank_disk_per_patch > 64 * 64 * 3


def machine(monkeypatch, memory, disk=10**12):
    monkeypatch.setattr(preflight, "machine_memory", lambda: memory)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: types.SimpleNamespace(total=disk))


def look(config, tmp_path, stages=ALL, replicas=1):
    preflight.check(config, Workspace(tmp_path), stages, types.SimpleNamespace(num_replicas_in_sync=replicas))


@pytest.mark.parametrize("name", ["demo", "coco_sample", "coco_stuff", "visual_genome", "ablations/both"])
def test_no_shipped_configuration_is_refused_on_a_small_machine(name, monkeypatch, tmp_path):
    machine(monkeypatch, 4 * GIB, 20 * GIB)
    look(load_config(REPOSITORY / "configs" / f"{name}.yaml"), tmp_path)


@pytest.mark.parametrize(
    "override, words",
    [
        ("training.batch_size=65536", "GiB of memory"),
        ("cooccurrence.training.batch_size=1024", "GiB of memory"),
        ("data.max_objects=256,data.max_triples=256,candidates.k_train=512,candidates.k_max=512", "GiB of memory"),
        ("generator.canvas_width=16384,generator.residual_blocks=16", "GiB of memory"),
        ("data.train_scenes=100000000", "GiB of memory"),
        ("data.train_scenes=10000000", "GiB, and the disk of"),
    ],
)
def test_what_cannot_fit_is_refused_in_one_sentence(override, words, monkeypatch, tmp_path):
    machine(monkeypatch, 64 * GIB, 60 * GIB)
    with pytest.raises(ConfigError, match=words) as caught:
        look(load_config(REPOSITORY / "configs" / "demo.yaml", override), tmp_path)
    assert "\n" not in str(caught.value) and "lower" in str(caught.value)


def test_only_stages_that_will_be_made_are_looked_at(monkeypatch, tmp_path, tiny_workspace):
    machine(monkeypatch, 1)
    look(tiny_config(), tmp_path, ["dataset"])
    stages = stages_of("retrievegan")
    preflight.check(tiny_config(), tiny_workspace, stages, types.SimpleNamespace(num_replicas_in_sync=3))
    with pytest.raises(ConfigError, match="of memory"):
        look(tiny_config(), tmp_path)


def test_a_batch_is_shared_equally(tmp_path):
    look(tiny_config(), tmp_path, replicas=4)
    with pytest.raises(ConfigError, match=r"^graph_encoder.training.batch_size is 16; .*multiple of the 3 devices"):
        look(tiny_config(), tmp_path, replicas=3)
    with pytest.raises(ConfigError, match=r"^training.batch_size is 4; .*multiple of the 8 devices"):
        look(tiny_config(), tmp_path, replicas=8)


@pytest.mark.parametrize("override", ["weights=absent.npz", "weights=absent.txt", "handle=absent/folder"])
def test_a_feature_network_that_is_not_there_is_told_before_the_first_stage(override, tmp_path):
    config = tiny_config(f"losses.feature_network.{override}")
    with pytest.raises(FeatureWeightsError, match="losses.feature_network.* absent|'absent.txt'"):
        look(config, tmp_path)
    look(config, tmp_path, ["dataset", "graph_encoder"])
    look(tiny_config("losses.feature_network.handle=https://tfhub.dev/a/b/1"), tmp_path)


def test_a_container_limits_the_memory(monkeypatch, tmp_path):
    limits = [tmp_path / name for name in ("max", "bytes", "absent")]
    limits[0].write_text("max\n")
    limits[1].write_text(f"{GIB}\n")
    monkeypatch.setattr(preflight, "_MEMORY_LIMITS", [limits[0], limits[2]])
    whole = preflight.machine_memory()
    monkeypatch.setattr(preflight, "_MEMORY_LIMITS", limits)
    assert preflight.machine_memory() == GIB < whole


def test_the_command_refuses_before_it_makes_anything(tmp_path):
    command = [sys.executable, "-m", "rgan_tf.train", "--config_file=configs/demo.yaml", f"--workspace={tmp_path}/made"]
    done = subprocess.run(
        [*command, "--params_override=cooccurrence.training.batch_size=65536"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and not (tmp_path / "made").exists()
    assert done.stderr.splitlines()[-1].startswith("error: By this configuration training would need about ")
    assert "Traceback" not in done.stderr
