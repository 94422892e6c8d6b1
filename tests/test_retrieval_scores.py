"""Retrieval scores against brute force pair by pair, and what they do where there is nothing to retrieve."""

import itertools
import types

import numpy as np
import pytest
import tensorflow as tf
from conftest import tiny_config

from pipelines.input_pipeline import evaluation_batches, to_device
from pipelines.own_patches import ground_truth_batches
from pipelines.patch_bank.bank import PatchBank
from pipelines.records import NO_STYLE
from rgan_tf import losses
from rgan_tf.config import PatchEncoderConfig, RetrievalConfig
from rgan_tf.evaluation.metrics.averages import EvaluationError, UndefinedScore
from rgan_tf.evaluation.metrics.retrieval_scores import (
    CooccurrenceDistance,
    GroundTruthRank,
    StyleAgreement,
    training_styles,
)
from rgan_tf.models.retrieval import RetrievalLayer
from rgan_tf.training import artifacts

B, N, K, D = 6, 4, 5, 3


def draw(seed, levels=None):
    """Features and masks; with few `levels`, many distances are equal."""
    rng = np.random.default_rng(seed)
    sample = rng.normal if levels is None else lambda size: rng.integers(0, levels, size)
    truth, candidates = sample(size=(B, N, D)), sample(size=(B, N, K, D))
    truth_mask, candidate_mask = rng.random((B, N)) < 0.7, rng.random((B, N, K)) < 0.6
    truth_mask[0], truth_mask[1] = False, [True, False, False, False]
    candidate_mask[2, 1] = False
    return truth.astype(np.float32), truth_mask, candidates.astype(np.float32), candidate_mask


def brute_force_ranks(truth, truth_mask, candidates, candidate_mask):
    """(accuracy, rank, competitors) of every pair of a scene, ties by the mean over all orders, scene by scene."""
    scenes = []
    for b in range(len(truth)):
        pairs = []
        for q, i in itertools.permutations(range(N), 2):
            others = [c for c, valid in zip(candidates[b, i], candidate_mask[b, i]) if valid]
            if not (truth_mask[b, q] and truth_mask[b, i] and others):
                continue
            own = np.square(truth[b, q] - truth[b, i]).sum()
            distances = [np.square(truth[b, q] - other).sum() for other in others]
            closer, equal = sum(d < own for d in distances), sum(d == own for d in distances)
            ranks = range(closer + 1, closer + equal + 2)
            pairs.append((np.mean([rank == 1 for rank in ranks]), np.mean(ranks), len(others)))
        if pairs:
            scenes.append(np.array(pairs))
    return scenes


@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize("seed", range(4))
def test_rank_equals_brute_force(seed, levels):
    inputs = draw(seed, levels)
    rank = GroundTruthRank()
    for part in (slice(0, 4), slice(4, B)):
        rank.update(*(value[part] for value in inputs))
    scenes = brute_force_ranks(*inputs)
    result = rank.result()
    for name, of in (
        ("accuracy", lambda pairs: pairs[:, 0]),
        ("mean_rank", lambda pairs: pairs[:, 1]),
        ("chance_accuracy", lambda pairs: 1 / (1 + pairs[:, 2])),
        ("chance_mean_rank", lambda pairs: (2 + pairs[:, 2]) / 2),
    ):
        np.testing.assert_allclose(result[name].mean, of(np.concatenate(scenes)).mean(), rtol=1e-12)
        np.testing.assert_allclose(result[name].scene_mean, np.mean([of(pairs).mean() for pairs in scenes]), rtol=1e-12)
        assert result[name].count == sum(map(len, scenes)) and result[name].scenes == len(scenes)


def test_rank_agrees_with_the_logits_of_the_loss():
    """L_sel_gt draws one query: of the pairs with that query, the own patch's rank among the loss's logits."""
    layer = RetrievalLayer(RetrievalConfig(encoder=PatchEncoderConfig(width=4, feature_dim=D)))
    truth, _, candidates, _ = draw(7)
    truth_mask, candidate_mask = np.ones([B, 2], bool), np.ones([B, 2, K], bool)
    truth, candidates = truth[:, :2], candidates[:, :2]
    # With two objects, the two possible queries are all pairs there are: seeds are drawn until each was seen.
    seen = {}
    for seed in range(20):
        seeds = tf.constant([[seed, b] for b in range(B)], tf.int32)
        logits, weights = layer.ground_truth_logits(truth, truth_mask, candidates, candidate_mask, seeds, 0)
        first = np.argmax(logits, axis=-1) == 0
        for b, i in np.argwhere(weights.numpy() > 0):
            seen[b, i] = first[b, i]
    assert len(seen) == 2 * B
    hits = np.mean(list(seen.values()))
    rank = GroundTruthRank()
    rank.update(truth, truth_mask, candidates, candidate_mask)
    np.testing.assert_allclose(rank.result()["accuracy"].mean, hits, rtol=1e-12)


def test_an_embedding_without_content_scores_chance():
    _, truth_mask, candidates, candidate_mask = draw(3)
    rank = GroundTruthRank()
    rank.update(np.ones([B, N, D]), truth_mask, np.ones_like(candidates), candidate_mask)
    result = rank.result()
    assert result["accuracy"] == result["chance_accuracy"] and result["mean_rank"] == result["chance_mean_rank"]


def test_rank_of_an_embedding_that_knows_the_scene():
    truth, truth_mask, candidates, candidate_mask = draw(4)
    truth[:] = 100.0 + np.arange(B)[:, None, None]
    rank = GroundTruthRank()
    rank.update(truth, truth_mask, candidates, candidate_mask)
    assert rank.result()["accuracy"].mean == rank.result()["mean_rank"].mean == 1.0


def test_rank_ignores_what_is_masked_and_refuses_what_is_not_finite():
    truth, truth_mask, candidates, candidate_mask = draw(5)
    plain, junk = GroundTruthRank(), GroundTruthRank()
    plain.update(truth, truth_mask, candidates, candidate_mask)
    truth[~truth_mask], candidates[~candidate_mask] = np.nan, np.nan
    junk.update(truth, truth_mask, candidates, candidate_mask)
    assert plain.result() == junk.result()
    candidates[np.nonzero(candidate_mask)[0][0], :, :] = np.nan
    with pytest.raises(EvaluationError, match="Feature of a candidate at .* is not finite"):
        junk.update(truth, truth_mask, candidates, candidate_mask)


def test_rank_of_single_objects_is_not_defined():
    truth, _, candidates, candidate_mask = draw(6)
    rank = GroundTruthRank()
    rank.update(truth, np.eye(N, dtype=bool)[np.zeros(B, int)], candidates, candidate_mask)
    rank.update(truth, np.ones([B, N], bool), candidates, np.zeros_like(candidate_mask))
    with pytest.raises(UndefinedScore, match="no scene of the split has a single pair of rankable objects"):
        rank.result()


def made_up_bank(seed, patches=40, scenes=10, removed=()):
    """A bank in memory with embeddings of unit length."""
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(patches, 6)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=-1, keepdims=True)
    gone = np.zeros(patches, bool)
    gone[list(removed)] = True

    def gather(rows):
        return np.where((rows >= 0)[..., None] & ~gone[rows][..., None], embeddings[rows], np.float32(0))

    scene_index = rng.integers(0, scenes, patches)
    return types.SimpleNamespace(
        gather_cooccurrence=gather, removed=gone, scene_index=scene_index, num_scenes=scenes, embeddings=embeddings
    )


def pair_scores(rows, present, of):
    """Lists of `of` over the pairs of every scene that has one."""
    scenes = []
    for scene in rows:
        kept = [row for row in scene if row >= 0 and present(row)]
        pairs = [of(a, b) for a, b in itertools.combinations(kept, 2)]
        scenes += [pairs] if pairs else []
    return scenes


def assert_score(score, scenes):
    entries = list(itertools.chain(*scenes))
    assert score.count == len(entries) and score.scenes == len(scenes)
    np.testing.assert_allclose(score.mean, np.mean(entries), rtol=1e-6)
    np.testing.assert_allclose(score.scene_mean, np.mean([np.mean(scene) for scene in scenes]), rtol=1e-6)


def draw_rows(seed, patches=40):
    rng = np.random.default_rng(seed)
    rows = np.where(rng.random((B, N)) < 0.7, rng.integers(0, patches, (B, N)), -1)
    rows[0], rows[1], rows[2] = -1, [3, -1, -1, -1], [3, 3, 8, -1]
    return rows


@pytest.mark.parametrize("seed", range(3))
def test_cooccurrence_distance_equals_brute_force(seed):
    bank, rows = made_up_bank(seed, removed=(8, 9)), draw_rows(seed)
    distance = CooccurrenceDistance(bank)
    for part in (rows[:2], rows[2:]):
        distance.update(part)

    def squared(a, b):
        return sum((x - y) ** 2 for x, y in zip(bank.embeddings[a].tolist(), bank.embeddings[b].tolist()))

    assert_score(
        distance.result()["cooccurrence_distance"], pair_scores(rows, lambda row: not bank.removed[row], squared)
    )


def test_cooccurrence_distance_is_equation_5():
    """The loss with one-hot selections, which counts the two scenes without a pair as 0."""
    bank, rng = made_up_bank(4), np.random.default_rng(4)
    candidates, choice = rng.integers(0, 40, (B, N, K)), rng.integers(0, K, (B, N))
    mask = rng.random((B, N)) < 0.8
    mask[0], mask[1], mask[2:, :2] = False, [False, True, False, False], True
    selection = np.eye(K, dtype=np.float32)[choice] * mask[..., None]
    loss = losses.selection_cooccurrence_loss(selection, bank.gather_cooccurrence(candidates), mask)
    distance = CooccurrenceDistance(bank)
    distance.update(np.where(mask, np.take_along_axis(candidates, choice[..., None], -1)[..., 0], -1))
    score = distance.result()["cooccurrence_distance"]
    assert score.scenes == B - 2
    np.testing.assert_allclose(score.scene_mean * (B - 2) / B, loss, rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_style_agreement_equals_brute_force(seed):
    bank, rows = made_up_bank(seed, removed=(8,)), draw_rows(seed)
    styles = np.random.default_rng(seed).integers(-1, 3, 10)
    agreement = StyleAgreement(bank, styles)
    for part in (rows[:4], rows[4:]):
        agreement.update(part)
    of = {row: int(styles[bank.scene_index[row]]) for row in range(40)}
    scenes = pair_scores(rows, lambda row: row != 8 and of[row] != NO_STYLE, lambda a, b: of[a] == of[b])
    assert_score(agreement.result()["style_agreement"], scenes)


def test_pairs_of_nothing_are_not_defined():
    bank = made_up_bank(0)
    distance, agreement = CooccurrenceDistance(bank), StyleAgreement(bank, np.full(10, NO_STYLE))
    distance.update(np.eye(N, dtype=int) * 5 - 1)
    with pytest.raises(UndefinedScore, match="no scene of the split has a single pair of retrieved patches"):
        distance.result()
    agreement.update(np.arange(B * N).reshape(B, N))
    with pytest.raises(UndefinedScore, match="pair of retrieved patches with a style"):
        agreement.result()
    with pytest.raises(ValueError, match=r"\(3,\) styles for a bank of 10 scenes"):
        StyleAgreement(bank, np.zeros(3, int))


def test_a_data_set_without_styles_is_not_read():
    class Unread:
        builder = types.SimpleNamespace(name="coco_stuff", info=types.SimpleNamespace(metadata={"style_names": []}))

    with pytest.raises(UndefinedScore, match="coco_stuff has no styles"):
        training_styles(Unread())


def test_ground_truth_patches_are_the_banks(tiny_workspace):
    """Cropped from the training split's records, they are what the bank holds of the same objects."""
    config = tiny_workspace.trained_config()
    bank = PatchBank.open(tiny_workspace.directory("patch_bank"))
    table = bank.scene_rows(config.data.max_objects)
    source = artifacts.scene_source(tiny_workspace, config, "train")
    seen = []
    for batch in ground_truth_batches(source, bank.patch_shape, 10).as_numpy_iterator():
        rows = table[batch["scene_index"]]
        np.testing.assert_array_equal(batch["ground_truth_mask"], rows >= 0)
        np.testing.assert_array_equal(batch["ground_truth_patches"], bank.gather_patches(rows))
        seen += batch["scene_index"].tolist()
    assert seen == list(range(48)) and table.shape == (48, tiny_config().data.max_objects)


def test_all_scores_of_a_workspace(tiny_workspace):
    """A split in one pass beside its ground truth, with the trained embedding."""
    config, names = tiny_workspace.trained_config(), artifacts.vocabulary(tiny_workspace)
    source = artifacts.scene_source(tiny_workspace, config, "validation")
    reader = artifacts.bank_reader(tiny_workspace, config, "validation")
    model = artifacts.trained_model(tiny_workspace, config, names)
    styles = training_styles(artifacts.scene_source(tiny_workspace, config, "train"))
    scores = GroundTruthRank(), CooccurrenceDistance(reader.bank), StyleAgreement(reader.bank, styles)
    beside = evaluation_batches(source, 3, reader), ground_truth_batches(source, reader.bank.patch_shape, 3)
    for batch, truth in tf.data.Dataset.zip(beside):
        np.testing.assert_array_equal(batch["scene_index"], truth["scene_index"])
        np.testing.assert_array_equal(batch["object_mask"], truth["ground_truth_mask"])
        batch, truth = to_device(batch), to_device(truth)
        embedded = [model.retrieval.embed(x) for x in (truth["ground_truth_patches"], batch["candidate_patches"])]
        scores[0].update(embedded[0], truth["ground_truth_mask"], embedded[1], batch["candidate_mask"])
        for score in scores[1:]:
            score.update(batch["candidates"][..., 0])
    rank, distance, agreement = (score.result() for score in scores)
    assert 1.0 <= rank["mean_rank"].mean <= 1 + config.candidates.k_max
    assert 1 / (1 + config.candidates.k_max) <= rank["chance_accuracy"].mean < 0.5
    assert 0.0 < distance["cooccurrence_distance"].mean < 4.0
    assert 0.0 <= agreement["style_agreement"].mean <= 1.0 and agreement["style_agreement"].scenes == 8
