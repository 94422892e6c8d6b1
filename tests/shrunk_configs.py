"""The shipped configurations made tiny: each with its own kinds of operations, on the batches of the tiny workspace.

Layers are few as well as narrow, since XLA takes minutes to compile a deep step.
"""

import pathlib

from rgan_tf import config as config_lib

CONFIGS = pathlib.Path(__file__).resolve().parents[1] / "configs"
_SIZES = (
    "data.source_dir=none,data.image_size=32,data.max_objects=4,data.max_triples=6,"
    "data.visual_genome.max_relationships=6,patch_bank.patch_size=16,"
    "graph_encoder.embedding_dim=16,graph_encoder.hidden_dim=32,graph_encoder.layers=2,"
    "candidates.k_max=6,candidates.k_train=3,"
    "cooccurrence.encoder.width=4,cooccurrence.encoder.feature_dim=8,"
    "retrieval.encoder.width=4,retrieval.encoder.feature_dim=8,"
    "generator.crop_width=8,generator.crop_size=8,generator.refiner_layers=1,"
    "generator.canvas_size=16,generator.canvas_width=8,generator.residual_blocks=1,generator.decoder_widths=[8],"
    "discriminators.image_width=8,discriminators.image_layers=2,"
    "discriminators.object_width=8,discriminators.object_layers=2,"
    "discriminators.object_crop_size=16,training.batch_size=4,losses.feature_network.weights=random,"
    # A pooling lies between the two; deeper layers repeat that.
    "losses.feature_network.layers=[block1_conv2,block2_conv2],"
    "seed=0"
)
# Values that no operation depends on.
_VALUES = {
    "learning_rate",
    "beta_1",
    "beta_2",
    "steps",
    "refresh_interval",
    "refreshed_share",
    *config_lib.LOSS_TERMS,
}
# Values of which it matters only whether they are 0.
_SWITCHES = {"ema_momentum", "clip_norm"}


def shrunk(path: pathlib.Path, overrides: str = "") -> config_lib.ExperimentConfig:
    """A shipped configuration at tiny sizes."""
    return config_lib.load_config(path, ",".join(filter(None, [_SIZES, overrides])))


def distinct() -> dict[str, pathlib.Path]:
    """Files among the shipped configurations, recipes aside, that have every operation of any of them."""
    files = sorted(path for path in CONFIGS.rglob("*.yaml") if path.parent.name != "recipes")
    return {"/".join(path.relative_to(CONFIGS).with_suffix("").parts): path for path in _with_new_operations(files)}


def distinct_recipes() -> list[pathlib.Path]:
    """Files among the recipes of adversarial training that have every operation which no other configuration has."""
    others = list(distinct().values())
    return _with_new_operations([*others, *sorted((CONFIGS / "ablations" / "recipes").glob("*.yaml"))])[len(others) :]


def _with_new_operations(files: list[pathlib.Path]) -> list[pathlib.Path]:
    """Those of the files that have an operation which none before has."""
    kept, seen = [], set()
    for path in files:
        operations = _operations(path)
        if not operations <= seen:
            kept.append(path)
            seen |= operations
    return kept


def _operations(path: pathlib.Path) -> set[str]:
    """The fields of a configuration, with their values, on which it depends what a step does."""
    tree = shrunk(path).as_dict()
    rooms = {name: tree[name] for name in ("graph_encoder", "cooccurrence", "retrieval", "generator")}
    rooms.update({name: tree[name] for name in ("discriminators", "losses")})
    rooms["mattes"] = tree["patch_bank"]["mattes"]
    for name in ("graph_encoder", "cooccurrence"):
        rooms[name] = {**rooms[name], "training": rooms[name]["training"]["optimizer"]}
    rooms["training"] = tree["training"]["optimizer"]
    return set(_fields(rooms, ""))


def _fields(tree, place: str):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _fields(value, f"{place}.{key}")
        elif key in _SWITCHES:
            yield f"{place}.{key}: {value > 0}"
        elif key not in _VALUES:
            yield f"{place}.{key}: {value}"
