"""An exported model, which needs nothing of the workspace that it came from."""

import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from google.protobuf import message

from rgan_tf import export_files, scene_requests
from rgan_tf.errors import UserError
from rgan_tf.runtime_messages import sentence_of
from rgan_tf.scene_generator.interface import SceneGenerator
from rgan_tf.scene_graph import SceneError, SceneGraph, Vocabulary
from rgan_tf.scene_requests import CandidatePatches, GeneratedScene


class SavedModelGenerator(SceneGenerator):
    """An exported model; needs nothing but its folder."""

    def __init__(self, folder):
        """Loads the version in `folder`.

        Raises:
          DamageError: a file of it is damaged.
          UserError: it is no SavedModel, or one of something else.
        """
        folder = pathlib.Path(folder)
        export_files.check(folder)
        try:
            # The loaded object owns the variables that its signatures read.
            self._model = tf.saved_model.load(str(folder))
            self._signatures = self._model.signatures
            _, inputs = self._signatures[scene_requests.WITH_PATCHES].structured_input_signature
            self.max_objects = inputs["object_names"].shape[1]
            self.max_triples = inputs["subjects"].shape[1]
            names = [(folder / "assets" / f"{kind}.txt").read_text().splitlines() for kind in ("objects", "predicates")]
        except (OSError, LookupError, ValueError, RuntimeError, message.DecodeError, tf.errors.OpError) as error:
            reason = sentence_of(str(error))
            raise UserError(f"{folder} holds no model that rgan_tf exported ({reason}); export one.") from error
        self.vocabulary = Vocabulary(*map(tuple, names))

    def draw(self, scenes: Sequence[SceneGraph], seed: int) -> list[GeneratedScene]:
        """See `SceneGenerator`."""
        return scene_requests.from_outputs(scenes, self._answer(scene_requests.pick_signature(scenes), scenes, seed))

    def rank(self, scene: SceneGraph, seed: int) -> list[CandidatePatches]:
        """See `SceneGenerator`."""
        outputs = self._answer(scene_requests.pick_retrieval([scene]), [scene], seed)
        return scene_requests.candidates_from(len(scene.objects), outputs)

    def _answer(self, signature: str, scenes: Sequence[SceneGraph], seed: int) -> dict[str, np.ndarray]:
        if signature not in self._signatures:
            raise SceneError(
                f"The export has no signature {signature!r}, since it is an old one; export the model again."
            )
        inputs = scene_requests.to_inputs(scenes, signature, self.max_objects, self.max_triples, seed)
        try:
            outputs = self._signatures[signature](**{name: tf.constant(value) for name, value in inputs.items()})
        except tf.errors.InvalidArgumentError as error:
            raise SceneError(sentence_of(error.message)) from error
        return {name: value.numpy() for name, value in outputs.items()}
