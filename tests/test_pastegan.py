"""PasteGAN's crop selector, and its terms by hand."""

import numpy as np
import tensorflow as tf
from conftest import tiny_config

from pipelines.input_pipeline import evaluation_batches, to_device
from pipelines.patch_bank.bank import PatchBank
from rgan_tf.baselines.pastegan.model import chosen_patches, nearest_choice
from rgan_tf.baselines.pastegan.system import SYSTEM
from rgan_tf.training import artifacts


def test_the_nearest_candidate_is_chosen_or_the_pinned_one():
    mask = np.array([[[True, True], [True, False], [False, False]]])
    np.testing.assert_array_equal(nearest_choice(tf.constant(mask)), [[0, 0, -1]])
    pinned = tf.constant([[[0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]])
    choice = nearest_choice(tf.constant(mask), pinned)
    np.testing.assert_array_equal(choice, [[1, 0, -1]])
    patches = tf.random.stateless_normal([1, 3, 2, 4, 4, 3], [0, 1])
    chosen = chosen_patches(choice, patches).numpy()
    np.testing.assert_array_equal(chosen[0, 0], patches[0, 0, 1])
    np.testing.assert_array_equal(chosen[0, 1], patches[0, 1, 0])
    assert not chosen[0, 2].any()


def test_the_reader_gives_the_nearest_patch_by_graph_features(tiny_workspace):
    config = tiny_config("model=pastegan")
    source = artifacts.scene_source(tiny_workspace, config, "validation")
    reader = SYSTEM.reader(tiny_workspace, config, "validation")
    batch = next(iter(evaluation_batches(source, 8, reader)))
    assert batch["candidates"].shape == (8, 4, 1) and "candidate_cooccurrence" not in batch
    bank = PatchBank.open(tiny_workspace.directory("patch_bank"))
    encoder = artifacts.pretrained_graph_encoder(tiny_workspace, config)
    features = encoder(
        batch["objects"], batch["object_mask"], batch["triples"], batch["triple_mask"]
    ).object_features.numpy()
    for b, n in zip(*np.nonzero(batch["object_mask"].numpy())):
        row = int(batch["candidates"][b, n, 0])
        if row < 0:
            assert not (bank.category == int(batch["objects"][b, n])).any()
            continue
        rows = np.flatnonzero(bank.category == int(batch["objects"][b, n]))
        distances = np.linalg.norm(bank.graph_feature[rows].astype(np.float64) - features[b, n], axis=1)
        assert distances[list(rows).index(row)] <= distances.min() * (1 + 1e-4) + 1e-6


def test_crops_are_matched_by_their_own_encoder(tiny_workspace):
    config = tiny_config("model=pastegan")
    source = artifacts.scene_source(tiny_workspace, config, "train")
    batch = next(iter(evaluation_batches(source, 3, SYSTEM.reader(tiny_workspace, config, "train"))))
    trainer = SYSTEM.make_trainer(tiny_workspace, config, artifacts.vocabulary(tiny_workspace), batch)
    batch = to_device(batch)
    found = trainer.losses(batch).terms
    model, encoding = trainer.model, trainer.model.graph_encoder.encode(batch)
    chosen = batch["candidate_patches"][:, :, 0]
    image = model(chosen, batch["boxes"], batch)
    expected = []
    for b in range(3):
        values = []
        for n in np.flatnonzero(batch["object_mask"][b].numpy() & batch["candidate_mask"][b, :, 0].numpy()):
            x0, y0, x1, y1 = batch["boxes"][b, n].numpy()
            crops = tf.stack([_crop(image[b], (x0, y0, x1, y1), 16), chosen[b, n]])
            features = tf.repeat(encoding.object_features[b, n][None], 2, axis=0)
            maps = model.generator.crop_encoder(crops, features).numpy()
            values.append(np.abs(maps[0] - maps[1]).mean())
        expected.append(np.mean(values))
    np.testing.assert_allclose(found["crop_matching"], np.mean(expected), rtol=1e-3)


def _crop(image, box, size):
    """Bilinear samples at pixel centres, edges held, by hand."""
    image, (x0, y0, x1, y1) = image.numpy(), box
    side = image.shape[0]

    def axis(low, high):
        places = np.clip((low + (np.arange(size) + 0.5) / size * (high - low)) * side - 0.5, 0, side - 1)
        first = np.minimum(places.astype(int), side - 2)
        return first, places - first

    (rows, down), (columns, right) = axis(y0, y1), axis(x0, x1)
    lines = image[rows] * (1 - down)[:, None, None] + image[rows + 1] * down[:, None, None]
    return tf.constant(
        lines[:, columns] * (1 - right)[None, :, None] + lines[:, columns + 1] * right[None, :, None], tf.float32
    )
