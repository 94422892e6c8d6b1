"""The models that can be trained as a workspace's main training: a row of this table, and a room of its own, each.

A room is a package with `settings.py`, whose `Settings` is the model's section of the configuration (`baseline`), and
`system.py`, whose `SYSTEM` says how it is trained and how it draws (`rgan_tf.training.systems`). They are found by
name, so that nothing else need know of a model.
"""

import importlib
from typing import NamedTuple

from official.modeling import hyperparams


class ModelEntry(NamedTuple):
    """A row.

    room: its package. inputs: finished stages that its training reads. reads: sections of the configuration that shape
    it, by their dotted names, beside `training` and the seed.
    """

    room: str
    inputs: tuple[str, ...]
    reads: tuple[str, ...]


MODELS = {
    "retrievegan": ModelEntry(
        "rgan_tf.training.retrievegan",
        ("candidates", "cooccurrence"),
        ("retrieval", "generator", "discriminators", "losses", "candidates.k_train"),
    ),
    "sg2im": ModelEntry(
        "rgan_tf.baselines.sg2im", ("dataset",), ("data", "graph_encoder", "discriminators", "baseline")
    ),
    "pastegan": ModelEntry(
        "rgan_tf.baselines.pastegan",
        ("candidates",),
        ("data", "graph_encoder", "generator", "discriminators", "losses.feature_network", "baseline"),
    ),
    "layout2im": ModelEntry("rgan_tf.baselines.layout2im", ("graph_encoder",), ("data", "discriminators", "baseline")),
}


def settings_of(model: str) -> hyperparams.Config:
    """A model's own section of the configuration, with its defaults."""
    return importlib.import_module(f"{MODELS[model].room}.settings").Settings()
