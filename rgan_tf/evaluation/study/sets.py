"""The patch sets that raters compare: two workspaces retrieve for the same test scenes."""

from collections.abc import Iterator, Sequence

import numpy as np

from pipelines import input_pipeline
from rgan_tf import config as config_lib
from rgan_tf import scene_generator
from rgan_tf.errors import UserError
from rgan_tf.evaluation.study.pages import PatchSets
from rgan_tf.progress import progress_bar
from rgan_tf.scene_graph import SceneGraph, unpad_scene
from rgan_tf.training import artifacts
from rgan_tf.workspace import Workspace

_BATCH = 8
# Of the order of scenes; the sides are dealt out from the seed itself.
_ORDER = 1


def draw_sets(workspaces: Sequence[Workspace], count: int, seed: int) -> tuple[list[PatchSets], int]:
    """Retrieves for test scenes in random order until there is enough to ask.

    A scene is passed over where there is nothing to judge: it has one object, a bank holds no patch for one of its
    objects, or both workspaces retrieve the same patches.

    Args:
      workspaces: two, trained, with the same test scenes.
      count: of scenes; fewer are given where there are no more.
      seed: of the order and of the retrieval.

    Returns:
      The sets, and for how many scenes passed over both retrieved the same.

    Raises:
      WorkspaceError: one of them has not been trained.
      UserError: their test scenes differ, or there is nothing to compare.
    """
    scenes = shared_scenes(workspaces)
    where = f"{workspaces[0].root} and {workspaces[1].root}"
    held = [set(np.unique(artifacts.open_bank(workspace).offered).tolist()) for workspace in workspaces]
    known = artifacts.vocabulary(workspaces[0]).objects.index
    usable = [
        number
        for number, scene in enumerate(scenes)
        if len(scene.objects) > 1 and all(known(name) in bank for bank in held for name in scene.objects)
    ]
    if not usable:
        raise UserError(
            f"None of the {len(scenes)} test scenes has two objects or more of which the banks of {where} "
            "hold patches; build them from more scenes."
        )
    order = np.random.default_rng([seed, _ORDER]).permutation(usable).tolist()
    sets: list[PatchSets] = []
    identical = 0
    with progress_bar(total=min(count, len(order)), unit="scene", desc="patch sets") as bar:
        for item in _draw(workspaces, scenes, order, seed):
            if np.array_equal(*(answer.patches for answer in item.drawn)):
                identical += 1
            else:
                sets.append(item)
                bar.update()
            if len(sets) == count:
                break
    if not sets:
        raise UserError(
            f"{where} retrieve the same patches for all {identical} test scenes that can be compared; "
            "give two workspaces that differ in their retrieval."
        )
    return sets, identical


def shared_scenes(workspaces: Sequence[Workspace]) -> list[SceneGraph]:
    """The test scenes of both workspaces, in record order.

    Raises:
      WorkspaceError: one of them has not been trained.
      UserError: they differ.
    """
    configs = [workspace.trained_config() for workspace in workspaces]
    names = [artifacts.vocabulary(workspace) for workspace in workspaces]
    scenes = [list(_test_scenes(*trained)) for trained in zip(workspaces, configs)]
    where = f"{workspaces[0].root} and {workspaces[1].root}"
    mend = "compare workspaces of one data set, seed, max_objects and max_triples."
    if names[0] != names[1]:
        raise UserError(f"{where} have different vocabularies; {mend}")
    if len(scenes[0]) != len(scenes[1]):
        raise UserError(f"{where} have {len(scenes[0])} and {len(scenes[1])} test scenes; {mend}")
    for number, (first, second) in enumerate(zip(*scenes)):
        if first != second:
            raise UserError(
                f"{where} have different test scenes: number {number} is {first.in_words()!r} in one and "
                f"{second.in_words()!r} in the other; {mend}"
            )
    return scenes[0]


def _test_scenes(workspace: Workspace, config: config_lib.ExperimentConfig) -> Iterator[SceneGraph]:
    source = artifacts.scene_source(workspace, config, "test")
    names = artifacts.vocabulary(workspace)
    with artifacts.reading(workspace):
        for batch in input_pipeline.evaluation_batches(source, _BATCH):
            columns = (batch[name].numpy() for name in ("objects", "object_mask", "triples", "triple_mask"))
            for row in zip(*columns):
                yield unpad_scene(*row, names)


def _draw(
    workspaces: Sequence[Workspace], scenes: Sequence[SceneGraph], order: Sequence[int], seed: int
) -> Iterator[PatchSets]:
    """Both answers scene by scene; batches keep the models busy."""
    generators = [scene_generator.load(workspace.root) for workspace in workspaces]
    for start in range(0, len(order), _BATCH):
        numbers = order[start : start + _BATCH]
        asked = [scenes[number] for number in numbers]
        answers = [generator.draw(asked, seed) for generator in generators]
        for number, scene, drawn in zip(numbers, asked, zip(*answers)):
            yield PatchSets(number, scene, drawn)
