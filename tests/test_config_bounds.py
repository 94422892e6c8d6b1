"""Every field's bound: declared for all, met by what is shipped, and held against nonsense."""

import dataclasses
import math
import typing

import pytest
import yaml
from conftest import REPOSITORY
from official.modeling import hyperparams

from pipelines.prefilter import candidates
from rgan_tf import config as config_lib
from rgan_tf import losses
from rgan_tf.config import ConfigError, ExperimentConfig, checks, load_config
from rgan_tf.config.bounds import Flag, Integer, Interval, ListOf, Number, OneOf, Text
from rgan_tf.models import layers
from rgan_tf.ops import augmentation, relaxed_subset

TYPES = {Flag: bool, Integer: int, Number: float, Interval: list, OneOf: str, Text: str, ListOf: list}
NONSENSE = [
    math.nan, math.inf, -math.inf, -1, 0, -0.5, 1e-300, 1e300, 2**31, 2**63, 10**20, 10**400, True, None, "",
    "nonsense", "a\nb", "\x00", "x" * 5000, [], [1], [math.nan], [[1]], ["a", {"b": 1}], [1, "a"], {}, {"a": 1},
]  # fmt: skip
REFUSED = [
    "training.optimizer.learning_rate=-1", "discriminators.image_optimizer.learning_rate=-1",
    "graph_encoder.training.optimizer.beta_1=.inf", "training.optimizer.beta_2=.nan", "training.optimizer.beta_2=1.0",
    "cooccurrence.training.optimizer.ema_momentum=.nan", "training.optimizer.clip_norm=-1", "cooccurrence.margin=.nan",
    "cooccurrence.encoder.width=-1", "discriminators.image_layers=-1", "discriminators.image_width=-1",
    "candidates.query_batch=0", "data.shuffle_buffer=0", "data.min_object_area=1e9", "data.min_object_area=1",
    "data.validation_scenes=99999999999999999999", "seed=2147483648", "losses.bbx=.nan", "losses.bbx=1" + "0" * 400,
    "retrieval.temperature_start=0", "retrieval.inference_noise=-1", "generator.decoder_widths=[32,-16]",
    "generator.decoder_widths=[32,true]", "losses.feature_network.layers=[block1_conv1,block1_conv1]",
    "evaluation.outputs=[logits]", "evaluation.input_range=[0,.inf]", "runtime.num_gpus=-2", "runtime.xla=1",
    "runtime.worker_hosts=here", "data.image_size=1000000", "graph_encoder.hidden_dim=100000000", "seed=true",
]  # fmt: skip


DEMO = REPOSITORY / "configs" / "demo.yaml"


def leaves(tree, prefix=""):
    """Dotted names of a nested dictionary's values."""
    for key, value in tree.items():
        yield from leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]


def sections(kind=ExperimentConfig):
    """Every class of the tree."""
    yield kind
    for hint in typing.get_type_hints(kind).values():
        if isinstance(hint, type) and issubclass(hint, hyperparams.Config):
            yield from sections(hint)


def section_of(config, field):
    *path, name = field.split(".")
    for part in path:
        config = getattr(config, part)
    return config, name


def assert_one_sentence(error, *words):
    message = str(error)
    assert "\n" not in message and len(message) < 500 and message.endswith("."), message
    assert all(word in message for word in words), message


@pytest.mark.parametrize("kind", sorted(set(sections()), key=lambda kind: kind.__name__))
def test_every_field_declares_its_type_and_one_bound(kind):
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if not (isinstance(hint, type) and issubclass(hint, hyperparams.Config)):
            declared = getattr(hint, "__metadata__", ())
            assert [type(bound) in TYPES for bound in declared] == [True], f"{field.name} declares {declared}"
            stated = typing.get_origin(hint.__origin__) or hint.__origin__
            assert stated is TYPES[type(declared[0])], field.name


def test_the_walk_meets_every_field_and_every_default_is_within_its_bound():
    walked = list(checks.walk(ExperimentConfig()))
    assert [name for name, _, _ in walked] == list(leaves(ExperimentConfig().as_dict()))
    assert not [name for name, value, bound in walked if bound.mend(value)]


def test_numbers_have_finite_bounds_that_tensorflow_can_hold():
    for name, _, bound in checks.walk(ExperimentConfig()):
        if isinstance(bound, (Integer, Number, Interval)):
            assert math.isfinite(bound.low) and math.isfinite(bound.high) and bound.low < bound.high, name
            assert bound.high < (2**31 if isinstance(bound, Integer) else 3e38), name


def test_names_are_those_that_the_code_knows():
    bounds = {name: bound for name, _, bound in checks.walk(ExperimentConfig())}
    known = {
        "candidates.backend": candidates.BACKENDS,
        "generator.normalization": layers.NORMALIZATIONS,
        "retrieval.distance": relaxed_subset.DISTANCES,
        "retrieval.query_update": relaxed_subset.QUERY_UPDATES,
        "losses.adversarial": losses.KINDS,
    }
    assert {name: set(bounds[name].names) for name in known} == {name: set(names) for name, names in known.items()}
    assert set(bounds["discriminators.augmentation"].element.names) == set(augmentation.KINDS)


@pytest.mark.parametrize("override", REFUSED)
def test_nonsense_that_was_once_accepted_is_refused(override):
    with pytest.raises(ConfigError) as caught:
        load_config(DEMO, override)
    assert_one_sentence(caught.value, override.partition("=")[0], "it must be", "--params_override")


def test_any_value_of_any_field_is_within_its_bound_or_refused_by_name():
    config, accepted = ExperimentConfig(), 0
    for field, default, bound in checks.walk(ExperimentConfig()):
        section, name = section_of(config, field)
        for value in NONSENSE:
            vars(section)[name] = value  # As a program might; hyperparams would itself fall over some.
            try:
                config_lib.validate(config)
            except ConfigError as error:
                assert_one_sentence(error, name)
                continue
            kinds = (int, float) if type(default) is float else (type(default),)
            assert type(value) in kinds and not bound.mend(value), (field, value)
            accepted += 1
        vars(section)[name] = default
    assert 0 < accepted < 300


@pytest.mark.parametrize("value", [math.nan, -1, 10**400, "\x00", {"a": [{}]}], ids=range(5))
def test_a_file_with_any_nonsense_in_any_field_is_refused_by_name(tmp_path, value):
    for field, _, bound in checks.walk(ExperimentConfig()):
        if not bound.mend(value):
            continue
        tree = value
        for part in reversed(field.split(".")):
            tree = {part: tree}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(tree))
        with pytest.raises(ConfigError) as caught:
            load_config(tmp_path / "config.yaml")
        assert_one_sentence(caught.value, field, "config.yaml")


def test_an_integer_passes_for_a_number_and_nothing_else_changes_its_type(tmp_path):
    config = load_config(DEMO, "losses.bbx=2,losses.feature_network.input_range=[0,255],seed=2147483647")
    assert type(config.losses.bbx) is float and config.seed == 2**31 - 1
    # Elements stay what they are: a workspace's fingerprint is made of them.
    assert [type(bound) for bound in config.losses.feature_network.input_range] == [int, int]


@pytest.mark.parametrize(
    "content, words",
    [
        (b"\xff\xfe\x00", ["valid YAML"]),
        (b"seed: " + b"9" * 5000, ["valid YAML"]),
        (b"seed: [\n 1", ["valid YAML"]),
        (b"base: config.yaml", ["base", "itself"]),
        (b"base: 3", ["base", "3"]),
        (b"training: {optimizer: 3}", ["training.optimizer", "section"]),
    ],
)
def test_files_that_make_no_sense_are_one_sentence(tmp_path, content, words):
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "config.yaml")
    assert_one_sentence(caught.value, "config.yaml", *words)
