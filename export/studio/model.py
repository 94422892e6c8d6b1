"""What draws for the page: a workspace, an exported model, or a server, all alike."""

from typing import Optional

from export.client import GenerationClient
from export.connection import GenerationError
from export.studio.scene_editor import StudioScene
from export.studio.sessions import Drawn
from rgan_tf import scene_requests
from rgan_tf.scene_generator import RetrievingGenerator, SceneGenerator, WorkspaceGenerator, load
from rgan_tf.scene_graph import SceneError, SceneGraph, Vocabulary
from rgan_tf.scene_requests import CandidatePatches, GeneratedScene, SourcePicture


class ServedGenerator(SceneGenerator):
    """A model behind tensorflow/serving's gRPC."""

    def __init__(self, client: GenerationClient, vocabulary: Optional[Vocabulary] = None):
        """Asks for the largest scene; a server does not tell its names, which are left to it to check without
        `vocabulary`.

        Raises:
          GenerationError: it cannot be reached, or serves something else.
        """
        self._client, self.vocabulary = client, vocabulary
        self.max_objects, self.max_triples = client.sizes()

    def draw(self, scenes, seed) -> list[GeneratedScene]:
        """See `SceneGenerator`."""
        try:
            return self._client.generate(scenes, seed)
        except GenerationError as error:
            raise SceneError(error.sentence) from error

    def rank(self, scene: SceneGraph, seed: int) -> list[CandidatePatches]:
        """See `SceneGenerator`."""
        try:
            return scene_requests.candidates_from(len(scene.objects), self._client.retrieve([scene], seed))
        except GenerationError as error:
            raise SceneError(error.sentence) from error


class StudioModel:
    """A generator as the page uses it.

    Attributes:
      vocabulary: names that scenes may use, None for any. max_objects, max_triples: the largest scene.
      has_patches: whether pictures are made of patches. has_sources: whether the pictures that those were cut from are
        at hand.
    """

    def __init__(self, generator: SceneGenerator):
        """Takes what draws."""
        self._generator = generator
        self.vocabulary = generator.vocabulary
        self.max_objects, self.max_triples = generator.max_objects, generator.max_triples
        self.has_sources = isinstance(generator, RetrievingGenerator)
        self.has_patches = self.has_sources or not isinstance(generator, WorkspaceGenerator)

    @classmethod
    def of_path(cls, path: str) -> "StudioModel":
        """The model of a workspace, or an exported one.

        Raises:
          UserError: it is neither.
        """
        return cls(load(path))

    def draw(self, revision: int, scene: StudioScene) -> Drawn:
        """A scene's picture, and what its patches were chosen from.

        Raises:
          SceneError: it cannot be drawn; one sentence says why.
        """
        (answer,) = self._generator.draw([scene.graph], scene.seed)
        candidates = None if answer.patches is None else self._generator.rank(scene.graph, scene.seed)
        return Drawn(revision, scene, answer, candidates)

    def picture(self, scene: StudioScene, seed: int) -> GeneratedScene:
        """The same scene under another seed.

        Raises:
          SceneError: as `draw`.
        """
        return self._generator.draw([scene.graph], seed)[0]

    def source(self, patch_id: int) -> Optional[SourcePicture]:
        """See `SceneGenerator.source`."""
        return self._generator.source(patch_id)
