"""What draws scenes, wherever its model comes from."""

import abc
from collections.abc import Sequence
from typing import Optional, Union

import numpy as np

from rgan_tf.scene_graph import Box, SceneGraph, Vocabulary, parse_scenes
from rgan_tf.scene_requests import CandidatePatches, GeneratedScene, SourcePicture


class SceneGenerator(abc.ABC):
    """Draws scene graphs.

    Attributes:
      vocabulary: the names that scenes may use.
      max_objects, max_triples: the largest scene.
    """

    vocabulary: Vocabulary
    max_objects: int
    max_triples: int

    def generate(
        self,
        scene: Union[SceneGraph, dict],
        seed: int = 0,
        boxes: Optional[Sequence[Optional[Box]]] = None,
        pinned: Optional[Sequence[Optional[int]]] = None,
    ) -> GeneratedScene:
        """Draws one scene.

        Args:
          scene: a scene graph, or its JSON form as a dictionary.
          seed: the same seed gives the same picture.
          boxes: one (x0, y0, x1, y1) in [0, 1] an object, None where it is left open; instead of the scene's own.
          pinned: one patch id of the bank an object, None where it is left open; instead of the scene's own.

        Raises:
          SceneError: the scene cannot be drawn; one sentence says why.
        """
        return self.draw([self._parsed(scene, boxes, pinned)], seed)[0]

    def candidates(
        self,
        scene: Union[SceneGraph, dict],
        seed: int = 0,
        pinned: Optional[Sequence[Optional[int]]] = None,
    ) -> list[CandidatePatches]:
        """What each object's patch is chosen from when `generate` draws the scene with this seed and these patches.

        Raises:
          SceneError: the scene cannot be drawn, or the model draws without patches; one sentence says so.
        """
        return self.rank(self._parsed(scene, None, pinned), seed)

    def _parsed(self, scene, boxes, pinned) -> SceneGraph:
        content = dict(scene.to_dict() if isinstance(scene, SceneGraph) else scene)
        if boxes is not None:
            content["boxes"] = [None if box is None else np.asarray(box).tolist() for box in boxes]
        if pinned is not None:
            content["patches"] = [None if patch is None else int(patch) for patch in pinned]
        return parse_scenes(content, self.vocabulary, self.max_objects, self.max_triples)[0]

    @abc.abstractmethod
    def rank(self, scene: SceneGraph, seed: int) -> list[CandidatePatches]:
        """See `candidates`."""

    def source(self, patch_id: int) -> Optional[SourcePicture]:
        """The picture that a patch was cut from; None where it is not at hand, as in an export.

        Raises:
          SceneError: there is no such patch.
        """
        return None

    @abc.abstractmethod
    def draw(self, scenes: Sequence[SceneGraph], seed: int) -> list[GeneratedScene]:
        """Draws scenes at once; each answer depends on its own scene and the seed alone.

        Raises:
          SceneError: a pinned patch is not in the bank, or the bank has no patch for an object.
          RefusedScenesError: the same from an export in which bad scenes answer for themselves; it is a SceneError that
            has the pictures of the others.
        """
