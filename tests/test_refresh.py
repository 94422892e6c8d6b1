"""Candidates found anew by E_p: which they are, how they are drawn, and that a resumed run has the same."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from conftest import mirrored, tiny_config
from test_training import checkpoint_values, kill_after, run_stage, workspace_copy  # noqa: F401

from pipelines.bank_reader import BankReader
from pipelines.patch_bank.bank import PatchBank
from rgan_tf.config import ConfigError
from rgan_tf.fingerprints import fingerprint
from rgan_tf.ops import pixels, scene_random
from rgan_tf.training import artifacts, stages
from rgan_tf.training.retrievegan.refresh import CandidateRefresh
from rgan_tf.workspace import Workspace

# Checkpoints are written after every second step.
REFRESHING = "retrieval.refresh_interval=4,training.steps=8"


@pytest.fixture(scope="module")
def refreshed(tiny_workspace):
    """A refresh by the tiny workspace's trained E_p, and that model."""
    config = tiny_config(REFRESHING)
    model = artifacts.trained_model(tiny_workspace, config, artifacts.vocabulary(tiny_workspace))
    refresh = CandidateRefresh(tiny_workspace, config)
    assert (refresh.rows == -1).all()
    refresh.refresh(model.retrieval, 2)
    return refresh, model


def test_candidates_are_the_nearest_to_the_query_among_all_of_the_category(tiny_workspace, refreshed):
    refresh, model = refreshed
    bank, config = artifacts.open_bank(tiny_workspace), tiny_config()
    features = model.retrieval.embed(pixels.to_float(bank.gather_patches(np.arange(len(bank))))).numpy()
    listed = np.load(tiny_workspace.directory("candidates") / "train.npy")
    own, compared = bank.scene_rows(config.data.recorded_objects), 0
    for scene in range(0, bank.num_scenes, 7):
        seeds = scene_random.scene_seeds(tf.constant([config.training_seed, 2]), tf.constant([scene]))
        rows = listed[scene : scene + 1]
        query = model.retrieval(tf.constant(features[rows]), rows >= 0, seeds, tf.constant(2)).query.numpy()[0]
        for place, row in enumerate(own[scene]):
            if row < 0:
                assert (refresh.rows[scene, place] == -1).all()
                continue
            others = np.flatnonzero((bank.category == bank.category[row]) & (bank.scene_index != scene))
            distances = np.sum((features[others].astype(np.float64) - query) ** 2, axis=1)
            found = refresh.rows[scene, place]
            k = min(len(others), len(found))
            assert set(found[:k]) <= set(others) and (found[k:] == -1).all() and len(set(found[:k])) == k
            nearest = np.sum((features[found[:k]].astype(np.float64) - query) ** 2, axis=1)
            np.testing.assert_allclose(nearest, np.sort(distances)[:k], rtol=1e-4, atol=1e-6)
            compared += k
    assert compared > 50
    assert (refresh.rows != listed).any()


def test_a_share_of_the_candidates_is_drawn_from_those_and_none_twice(tiny_workspace):
    bank = PatchBank.open(tiny_workspace.directory("patch_bank"))
    scenes, objects, places, k = 5, 3, 8, 4
    rows = np.arange(scenes * objects * places, dtype=np.int32).reshape(scenes, objects, places) % len(bank)
    # The other half of a list has patches of its own; one object has but one of them, another none.
    refreshed = np.concatenate([rows[..., :3], (rows[..., :5] + 1000) % len(bank)], axis=-1)
    refreshed[0, 0, 1:], refreshed[1] = -1, -1
    draw = BankReader(bank, None, rows, k, True, refreshed, refreshed_share=0.5)._choose
    seeds = np.array([[number, 7] for number in range(scenes)])
    everywhere = np.tile(np.arange(objects), (scenes, 1))
    seen = set()
    for round_ in range(40):
        drawn = draw(np.arange(scenes), everywhere, seeds + 100 * round_)
        assert drawn.shape == (scenes, objects, k) and (drawn >= 0).all()
        for scene, place in np.ndindex(scenes, objects):
            found, near = drawn[scene, place], refreshed[scene, place]
            assert len(set(found)) == k
            first = min(2, (near >= 0).sum())
            assert set(found[:first]) <= set(near) and set(found[first:]) <= set(rows[scene, place])
        seen.update(drawn[2, 0])
    assert seen == set(refreshed[2, 0]) | set(rows[2, 0])
    np.testing.assert_array_equal(
        draw(np.arange(scenes), everywhere, seeds), draw(np.arange(scenes), everywhere, seeds)
    )


def test_before_the_first_refresh_batches_are_those_of_the_paper(tiny_workspace):
    config = tiny_config(REFRESHING)
    reader = artifacts.bank_reader(tiny_workspace, config, "train")
    assert CandidateRefresh(tiny_workspace, config).reader(reader) is reader


def test_a_patch_that_was_removed_is_no_candidate_any_more(tiny_workspace, refreshed, monkeypatch):
    refresh, _ = refreshed
    taken = refresh.rows[0, 0, 0]
    removed = np.zeros(len(artifacts.open_bank(tiny_workspace)), bool)
    removed[taken] = True
    monkeypatch.setattr(PatchBank, "removed", removed)
    rows = refresh.reader(artifacts.bank_reader(tiny_workspace, tiny_config(), "train")).refreshed
    assert taken in refresh.rows and taken not in rows
    np.testing.assert_array_equal(rows[refresh.rows != taken], refresh.rows[refresh.rows != taken])


def test_killed_and_resumed_equals_uninterrupted(workspace_copy, monkeypatch, tmp_path):  # noqa: F811
    config = tiny_config(REFRESHING)
    shutil.copytree(workspace_copy.root, tmp_path / "whole")
    whole = Workspace(tmp_path / "whole")
    run_stage(whole, config)
    # It goes on from step 4, where a refresh is due, and from 6, with the candidates of the one before.
    for killed_after in (5, 3):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            kill_after(patch, killed_after)
            run_stage(workspace_copy, config)
    run_stage(workspace_copy, config)
    values, resumed = (checkpoint_values(w.directory("retrievegan")) for w in (whole, workspace_copy))
    assert values.keys() == resumed.keys()
    assert any("candidate_refresh" in name for name in values)
    for name, value in values.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)


def test_two_replicas_find_what_one_would(workspace_copy, monkeypatch):  # noqa: F811
    config, weights, refresh = (
        tiny_config("retrieval.refresh_interval=2,training.steps=3"),
        [],
        CandidateRefresh.refresh,
    )

    def watched(self, retrieval, step):
        weights.append(([value.numpy() for value in retrieval.variables], step))
        refresh(self, retrieval, step)

    with monkeypatch.context() as patch:
        patch.setattr(CandidateRefresh, "refresh", watched)
        stages.StageRunner(workspace_copy, config, mirrored()).run("retrievegan")
    found, again = CandidateRefresh(workspace_copy, config), CandidateRefresh(workspace_copy, config)
    checkpoint = tf.train.latest_checkpoint(str(workspace_copy.directory("retrievegan")))
    tf.train.Checkpoint(candidate_refresh=found).restore(checkpoint).expect_partial()
    # By one replica, with the weights that the two had.
    ((values, step),) = weights
    model = artifacts.untrained_model(config, artifacts.vocabulary(workspace_copy))
    for variable, value in zip(model.retrieval.variables, values):
        variable.assign(value)
    again.refresh(model.retrieval, step)
    assert step == 2 and (found.rows >= 0).any()
    np.testing.assert_array_equal(found.rows, again.rows)


def test_configuration():
    assert fingerprint("retrievegan", tiny_config()) == fingerprint("retrievegan", tiny_config("training.steps=9"))
    assert fingerprint("retrievegan", tiny_config(REFRESHING)) != fingerprint("retrievegan", tiny_config())
    with pytest.raises(ConfigError, match=r"retrieval\.refreshed_share is 1\.5"):
        tiny_config("retrieval.refreshed_share=1.5")
