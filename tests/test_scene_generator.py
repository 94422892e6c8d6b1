"""Candidates and their sources, as a workspace and an export give them."""

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.scene_generator import load
from rgan_tf.scene_graph import SceneError, SceneGraph
from rgan_tf.training import artifacts

SCENE = SceneGraph(("sky", "grass", "sheep"), ((0, "above", 1), (2, "inside", 1)))


@pytest.fixture(scope="module")
def generators(tiny_workspace, tiny_export):
    return load(tiny_workspace.root), load(tiny_export)


def pins(first=None, last=None):
    return (first, None, last)


def test_the_choice_among_candidates_is_what_is_drawn(generators):
    for generator in generators:
        free = generator.candidates(SCENE, 5)
        # The worst that fits, in the place of the sheep that would be chosen.
        pinned = pins(last=int(free[2].patch_ids[-1]))
        for fixed in (None, pinned):
            drawn, found = generator.generate(SCENE, 5, pinned=fixed), generator.candidates(SCENE, 5, fixed)
            assert len(found) == 3
            for i, each in enumerate(found):
                assert each.patch_ids[each.choice] == drawn.patch_ids[i]
                np.testing.assert_array_equal(each.patches[each.choice], drawn.patches[i])
                assert each.sources[each.choice] == drawn.sources[i]
                assert each.licenses[each.choice] == drawn.licenses[i]
                assert len(set(each.patch_ids)) == len(each.patch_ids) == len(each.scores) == len(each.patches)
                assert (np.diff(each.scores) <= 0).all()
        assert found[2].patch_ids[found[2].choice] == pinned[2]


def test_workspace_and_export_rank_alike(generators):
    workspace, export = generators
    other = int(workspace.candidates(SCENE, 2)[0].patch_ids[-1])
    for seed in range(6):
        for pinned in (None, pins(first=other)):
            for ours, theirs in zip(workspace.candidates(SCENE, seed, pinned), export.candidates(SCENE, seed, pinned)):
                np.testing.assert_array_equal(ours.patch_ids, theirs.patch_ids)
                np.testing.assert_array_equal(ours.patches, theirs.patches)
                np.testing.assert_allclose(ours.scores, theirs.scores, rtol=1e-3, atol=1e-5)
                assert (ours.choice, ours.sources, ours.licenses) == (theirs.choice, theirs.sources, theirs.licenses)


def test_a_patch_lies_in_its_source(generators, tiny_workspace):
    workspace, export = generators
    bank = artifacts.open_bank(tiny_workspace)
    for row in range(0, len(bank), 17):
        source = workspace.source(int(bank.patch_id[row]))
        height, width, _ = source.image.shape
        scale = np.array([width, height] * 2)
        x0, y0, x1, y1 = np.round(source.box * scale).astype(int)
        cut = tf.image.resize(source.image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)], bank.patch_shape[:2])
        assert np.abs(cut.numpy() - bank.gather_patches(row)).mean() < 16
    with pytest.raises(SceneError, match="holds no patch 999999"):
        workspace.source(999999)
    assert export.source(1) is None


def test_what_cannot_be_ranked_is_one_sentence(generators, baseline_root):
    for generator in generators:
        with pytest.raises(SceneError, match="unknown name 'unicorn'"):
            generator.candidates({"objects": ["unicorn"]})
        with pytest.raises(SceneError, match="999999"):
            generator.candidates(SCENE, pinned=pins(first=999999))
    with pytest.raises(SceneError, match="sg2im draws without patches"):
        load(baseline_root("sg2im"), "sg2im").candidates(SCENE)
    # PasteGAN retrieves by a fixed rule: in the order of its graph features, without scores.
    pastegan = load(baseline_root("pastegan"), "pastegan")
    for each, drawn in zip(pastegan.candidates(SCENE), pastegan.generate(SCENE).patch_ids):
        assert each.scores is None and each.choice == 0 and each.patch_ids[0] == drawn
