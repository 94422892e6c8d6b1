"""The configuration: layers, overrides, types, and that every shipped file loads."""

import pathlib

import pytest

from rgan_tf import config as config_lib
from rgan_tf.config import ConfigError, load_config, save_config

CONFIGS = sorted(path for path in (pathlib.Path(__file__).parents[1] / "configs").rglob("*.yaml"))


@pytest.fixture
def base(tmp_path):
    """A file that starts from another one."""
    (tmp_path / "base.yaml").write_text("seed: 3\ntraining:\n  optimizer: {learning_rate: 1e-3}\n")
    path = tmp_path / "child.yaml"
    path.write_text("base: base.yaml\nlosses: {bbx: 2}\nruntime: {distribution_strategy: off}\n")
    return path


def test_layers_and_overrides_in_order(base):
    config = load_config(base, "losses.bbx=5,generator.decoder_widths=[16],training.steps=7")
    assert config.seed == 3
    assert config.training.optimizer.learning_rate == 1e-3
    assert config.losses.bbx == 5.0 and isinstance(config.losses.bbx, float)
    assert config.generator.decoder_widths == [16]
    assert config.training.steps == 7
    assert config.runtime.distribution_strategy == "off"


def test_saved_configuration_reads_back(base, tmp_path):
    config = load_config(base, "seed=9")
    save_config(config, tmp_path / "saved.yaml")
    assert load_config(tmp_path / "saved.yaml").as_dict() == config.as_dict()


def test_instances_share_no_sections():
    first, second = config_lib.ExperimentConfig(), config_lib.ExperimentConfig()
    first.training.optimizer.learning_rate = 9.0
    first.generator.decoder_widths.append(1)
    assert second.training.optimizer.learning_rate != 9.0
    assert second.generator.decoder_widths == [64]


@pytest.mark.parametrize(
    "override, words",
    [
        ("training.step=3", ["training.step", "training.steps"]),
        ("losses.adversarial=hing", ["losses.adversarial", "'hing'", "'hinge'"]),
        ("seed=a", ["seed", "'a'", "int"]),
        ("training=3", ["training", "section"]),
        ("data.builder=coco_stuff", ["data.source_dir", "images/"]),
        ("training.steps=0", ["training.steps", "at least 1"]),
        ("graph_encoder.training.batch_size=0", ["graph_encoder.training.batch_size"]),
        ("training.checkpoint_interval=7", ["training.checkpoint_interval", "multiple"]),
        ("losses.bbx=-1", ["losses.bbx", "-1"]),
        ("generator.canvas_size=16", ["canvas_size", "image_size"]),
        ("candidates.k_train=99", ["candidates.k_max", "99"]),
        ("retrieval.temperature_end=0.0", ["temperature"]),
        ("training.optimizer.ema_momentum=1.0", ["ema_momentum"]),
        ("nonsense", ["nonsense", "key=value"]),
    ],
)
def test_bad_overrides_are_one_sentence(base, override, words):
    with pytest.raises(ConfigError) as caught:
        load_config(base, override)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    "text", ["[1, 2]", "a: [", "unknown_section: {a: 1}", "data: {builder: !!python/name:os.system }"]
)
def test_bad_files_are_refused(tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ConfigError):
        load_config(tmp_path / "bad.yaml")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="nowhere.yaml"):
        load_config(tmp_path / "nowhere.yaml")


def test_ablations_differ_in_the_losses_of_retrieval_alone():
    rows = {path.stem: load_config(path) for path in CONFIGS if path.parent.name == "ablations"}
    weights = {name: (row.losses.sel_gt, row.losses.sel_occur) for name, row in rows.items()}
    assert weights == {"neither": (0.0, 0.0), "sel_gt": (1.0, 0.0), "sel_occur": (0.0, 0.3), "both": (1.0, 0.3)}
    for row in rows.values():
        row.losses.sel_gt = row.losses.sel_occur = 0.0
    assert all(row.as_dict() == rows["both"].as_dict() for row in rows.values())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_shipped_configurations_load_and_say_what_they_are(path):
    load_config(path)
    header = path.read_text()
    assert header.startswith("#") and "rgan_tf" in header and ("measured" in header or "Time" in header)
