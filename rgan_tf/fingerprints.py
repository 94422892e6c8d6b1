"""What each stage of an experiment is made from, and a short hash of it by which a change is known."""

import hashlib
import json

from rgan_tf import config as config_lib

# In the order in which they run; each with the stages it reads. The last ones are main trainings, a model each.
STAGES: dict[str, tuple[str, ...]] = {
    "dataset": (),
    "graph_encoder": ("dataset",),
    "patch_bank": ("dataset", "graph_encoder"),
    "candidates": ("patch_bank",),
    "cooccurrence": ("patch_bank",),
    **{name: entry.inputs for name, entry in config_lib.MODELS.items()},
}
# Fields that came after workspaces were made, with the values by which those were.
_LATER = {
    "data": {"group_separator": "", "mattes": False, "hidden_factors": False},
    "patch_bank": {"mattes": False, "min_coverage": 0.0},
    "candidates": {"min_recall": 0.99},
    "retrieval": {"marginal_gradient": False, "refresh_interval": 0, "refreshed_share": 0.5},
    "discriminators": {"spectral": False, "projected": False, "augmentation": [], "r1": 0.0, "r2": 0.0},
}
# Fields that say how a run reports, not what it learns.
_REPORTING = ("summary_interval", "panel_interval", "checkpoint_interval", "keep_checkpoints")


def stages_of(model: str) -> list[str]:
    """The stages that a model's main training needs, in the order in which they run, and that training."""
    needed = {model}
    for stage in reversed(STAGES):
        needed.update(STAGES[stage] if stage in needed else ())
    return [stage for stage in STAGES if stage in needed]


def fingerprint(stage: str, config: config_lib.ExperimentConfig) -> str:
    """A short hash of all that a stage's result depends on: its configuration and, in turn, its inputs'."""
    return hash_of(part_of(stage, config), [fingerprint(name, config) for name in STAGES[stage]])


def hash_of(part: dict, inputs: list) -> str:
    """The fingerprint of a part of a configuration and the fingerprints of its inputs."""
    content = {"part": part, "inputs": inputs}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def part_of(stage: str, config: config_lib.ExperimentConfig) -> dict:
    """The part of the configuration that a stage itself depends on."""
    tree = config.as_dict()
    for room, fields in _LATER.items():
        unset = [name for name, value in fields.items() if tree[room][name] == value]
        tree[room] = _without(tree[room], *unset)
    # Its builder alone reads it, and workspaces of others were made before it was there.
    tree["data"] = tree["data"] if config.data.builder == "visual_genome" else _without(tree["data"], "visual_genome")
    if stage == "dataset":
        return {"data": _without(tree["data"], "max_triples", "shuffle_buffer")}
    if stage in ("graph_encoder", "cooccurrence"):
        part = {**tree[stage], "training": _without(tree[stage]["training"], *_REPORTING)}
        return {stage: part, "data": tree["data"], "seed": config.seed}
    if stage == "patch_bank":
        return {stage: tree[stage]}
    if stage == "candidates":
        return {stage: _without(tree[stage], "k_train")}
    tree["losses"] = {**tree["losses"], "feature_network": _read_fields(tree["losses"]["feature_network"])}
    rooms = {}
    for name in config_lib.MODELS[stage].reads:
        room, _, field = name.partition(".")
        rooms[field or room] = tree[room][field] if field else tree[room]
    if config.discriminators.projected:
        rooms["feature_network"] = tree["losses"]["feature_network"]
    training = _without(tree["training"], "steps", *_REPORTING)
    return {**rooms, "training": training, "seed": config.training_seed}


def _read_fields(network: dict) -> dict:
    """The fields that the feature network is made from: VGG19 reads none of a handle's, and the other way round."""
    if network["handle"]:
        return _without(network, "weights")
    return _without(network, "handle", "signature", "input_range", "input_size")


def _without(tree: dict, *keys: str) -> dict:
    return {key: value for key, value in tree.items() if key not in keys}
