"""What commands read a workspace by, each as a function: a digest of what it finds."""

import hashlib
import json
import shutil

import numpy as np
import tensorflow as tf
from conftest import tiny_config

from pipelines.patch_bank.ledger import read_ledger
from rgan_tf.evaluation import records
from rgan_tf.evaluation.feature_networks import in_domain_classifier
from rgan_tf.evaluation.metrics.image_statistics import ImageStatistics
from rgan_tf.fingerprints import stages_of
from rgan_tf.training import artifacts, checkpoints, stages

TRAINED = ("graph_encoder", "cooccurrence", "retrievegan")
COLUMNS = ("category", "graph_feature", "patch_id", "scene_index", "object_index", "box", "image_id", "license")


def digest(*values):
    """Of arrays and texts."""
    parts = [np.asarray(value).tobytes() if not isinstance(value, str) else value.encode() for value in values]
    return hashlib.sha256(b"|".join(parts)).hexdigest()


def checkpoint_of(directory):
    path = checkpoints.newest(directory)
    with checkpoints.reading(path):
        reader = tf.train.load_checkpoint(str(path))
        names = sorted(name for name in reader.get_variable_to_shape_map() if "OBJECT_GRAPH" not in name)
        return digest(*names, *(reader.get_tensor(name) for name in names))


def bank_of(workspace):
    bank = artifacts.open_bank(workspace)
    rows = np.flatnonzero(~bank.removed)
    columns = [np.asarray(getattr(bank, name)) for name in COLUMNS]
    return digest(bank.gather_patches(rows), bank.gather_cooccurrence(rows), *columns)


def scenes_of(workspace, split):
    with artifacts.reading(workspace):
        source = artifacts.scene_source(workspace, tiny_config(), split)
        scenes = list(source.records().as_numpy_iterator())
    return digest(*(record["image"] for _, record in scenes), *(record["objects"]["box"] for _, record in scenes))


def lists_of(workspace):
    readers = [artifacts.bank_reader(workspace, tiny_config(), split) for split in stages.SPLITS]
    return digest(*(reader.candidates for reader in readers))


def classifier_of(workspace):
    found = in_domain_classifier.trained(tiny_config(), workspace)
    return digest(json.dumps(found.notes), *found.model.get_weights())


def statistics_of(workspace):
    found = ImageStatistics.load(workspace.root / "evaluation" / "real_statistics" / "mark.npz", "mark")
    return found and digest(found.moments.mean, found.moments.scatter, *(part.marginal for part in found.parts))


def resumed(workspace):
    """What a stage that was killed goes on from."""
    partial, kept = workspace.partial("graph_encoder"), workspace.root / "kept"
    shutil.copytree(partial, kept)
    try:
        with workspace.making("graph_encoder", tiny_config()):
            raise Resumed(checkpoint_of(partial) if checkpoints.newest(partial) else "anew")
    except Resumed as found:
        return str(found)
    finally:
        shutil.rmtree(partial)
        kept.rename(partial)


class Resumed(Exception):
    """Ends a stage in the making, as a kill would."""


# What commands read a workspace by.
READERS = {
    "current": lambda w: [w.is_current(stage, tiny_config()) for stage in stages_of("retrievegan")],
    "config": lambda w: json.dumps(w.trained_config().as_dict()),
    "vocabulary": artifacts.vocabulary,
    "bank": bank_of,
    "candidates": lists_of,
    "figures": records.read,
    "ledger": lambda w: read_ledger(w.root),
    "classifier": classifier_of,
    "statistics": statistics_of,
    "resumption": resumed,
    **{split: lambda w, split=split: scenes_of(w, split) for split in stages.SPLITS},
    **{stage: lambda w, stage=stage: checkpoint_of(w.directory(stage)) for stage in TRAINED},
}


# By which of them a folder's files are read; the sweep (test_damage_sweep.py) asks every command about every file.
READ_BY = {
    "dataset": ("vocabulary", *stages.SPLITS),
    "graph_encoder": ("graph_encoder",),
    "patch_bank": ("bank",),
    "candidates": ("candidates",),
    "cooccurrence": ("cooccurrence", "bank"),
    "retrievegan": ("config", "retrievegan"),
    "evaluation": ("figures", "classifier", "statistics"),
    ".graph_encoder.partial": ("resumption",),
    "removed_patches.json": ("ledger",),
}
