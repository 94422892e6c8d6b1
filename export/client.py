"""Asks a server for pictures over gRPC: tensorflow/serving, or `export.serve`.

    with GenerationClient("127.0.0.1:8500") as client:
        drawn = client.generate(scenes, seed=3)

and from the shell: python -m export.client --server=HOST:PORT --scene=FILE.json --output=FILE.png.
"""

import contextlib
import pathlib
from collections.abc import Iterator, Sequence
from typing import Optional, Union

import grpc
import numpy as np
from absl import flags
from PIL import Image

from rgan_tf import commands  # isort: split

from export.connection import Connection, GenerationError, Version
from rgan_tf import scene_requests
from rgan_tf.drawing import SceneView, draw_sheet
from rgan_tf.errors import UserError
from rgan_tf.scene_graph import SceneError, SceneGraph, load_each, load_scenes
from rgan_tf.scene_requests import GeneratedScene, RefusedScenesError


class SceneRefusalError(GenerationError):
    """A call of which some scenes were refused and the others answered, by a model in which they answer for themselves.

    answers: what the method would have given, with None (`retrieve`: rows of zeros) for the refused. sentences: why, by
    the scenes' positions in the call. `code` is INVALID_ARGUMENT, as if the whole call had been refused.
    """

    def __init__(self, address: str, refused: RefusedScenesError):
        """Takes the server's address, and what it refused."""
        super().__init__(address, grpc.StatusCode.INVALID_ARGUMENT, str(refused))
        self.answers, self.sentences = refused.answers, refused.sentences


class GenerationClient(Connection):
    """A connection to a server of an exported model. Use as a context manager, or call `close`."""

    def sizes(self, version: Optional[Version] = None) -> tuple[int, int]:
        """The most objects and relationships that the model takes, as its signature says.

        Raises:
          GenerationError: the call failed, or the model is not an export of rgan_tf.
        """
        inputs = self.signature_def(scene_requests.GENERATE, version).inputs
        shapes = [[dim.size for dim in inputs[name].tensor_shape.dim] for name in ("object_names", "predicates")]
        if any(len(shape) != 2 or shape[1] < 1 for shape in shapes):
            raise self._unusable(f'"{self.model}" takes no scene graphs: it is not an export of rgan_tf')
        return shapes[0][1], shapes[1][1]

    def refuses_by_scene(self, version: Optional[Version] = None) -> bool:
        """Whether bad scenes answer for themselves; in other models one of them fails its call.

        Raises:
          GenerationError: the call failed.
        """
        return scene_requests.ERROR in self.signature_def(scene_requests.GENERATE, version).outputs

    def generate(
        self,
        scenes: Sequence[SceneGraph],
        seed: int = 0,
        signature: Optional[str] = None,
        version: Optional[Version] = None,
    ) -> list[GeneratedScene]:
        """Draws scenes, all in one request.

        Args:
          scenes: names are left for the server to check.
          seed: the same seed gives the same picture, whatever else is in the request: to the bit where bad scenes
            answer for themselves, else up to rounding.
          signature: one that generates; None: the plainest that can say what the scenes fix.
          version: of the model, by number or label; None: the one that the server takes by itself.

        Raises:
          SceneRefusalError: some scenes were refused and the others drawn; it has their pictures.
          GenerationError: the call failed; nothing is tried again but what the server had no room for.
          UserError: a scene is larger than the model takes, or the signature does not generate.
        """
        signature = signature or scene_requests.pick_signature(scenes)
        if signature not in scene_requests.GENERATING:
            raise UserError(
                f"The signature {signature!r} does not generate; use {', '.join(scene_requests.GENERATING)}."
            )
        inputs = scene_requests.to_inputs(scenes, signature, *self.sizes(version), seed)
        # The filter keeps the raw image out of the answer: the PNG says it all.
        outputs = self._pictures(signature, inputs, scene_requests.OUTPUTS, version)
        with self._naming_refusals():
            return scene_requests.from_outputs(scenes, outputs)

    def retrieve(
        self, scenes: Sequence[SceneGraph], seed: int = 0, version: Optional[Version] = None
    ) -> dict[str, np.ndarray]:
        """Each object's ranked candidates: the outputs of the signature "retrieve", padding included; of
        "retrieve_with_patches" where scenes pin patches.

        Raises:
          SceneRefusalError: some scenes were refused and the others answered.
          GenerationError: the call failed.
          UserError: a scene is larger than the model takes.
        """
        signature = scene_requests.pick_retrieval(scenes)
        inputs = scene_requests.to_inputs(scenes, signature, *self.sizes(version), seed)
        outputs = self.predict(signature, inputs, (), version)
        with self._naming_refusals():
            return scene_requests.require_all(outputs, scene_requests.refusals(outputs))

    def synthesize(self, scenes: Sequence[SceneGraph], version: Optional[Version] = None) -> list[np.ndarray]:
        """Pictures uint8 [H, W, 3] of scenes whose every box and patch is given; relationships are not looked at.

        Raises:
          SceneRefusalError: some scenes were refused and the others drawn; it has their pictures.
          GenerationError: the call failed.
          UserError: a scene is larger than the model takes.
        """
        inputs = scene_requests.to_inputs(scenes, scene_requests.WITH_PATCHES, *self.sizes(version), 0)
        inputs = {name: inputs[name] for name in ("object_names", "boxes", "patch_ids")}
        outputs = self._pictures("synthesize", inputs, ("png_bytes",), version)
        refused = scene_requests.refusals(outputs)
        pictures = [None if b in refused else scene_requests.decoded(p) for b, p in enumerate(outputs["png_bytes"])]
        with self._naming_refusals():
            return scene_requests.require_all(pictures, refused)

    def _pictures(
        self, signature: str, inputs: dict[str, np.ndarray], names: Sequence[str], version: Optional[Version]
    ) -> dict[str, np.ndarray]:
        """The outputs named, and with them the refusals where the model has them."""
        by_scene = self.refuses_by_scene(version)
        outputs = self.predict(signature, inputs, (*names, scene_requests.ERROR) if by_scene else names, version)
        if not by_scene and b"" in outputs["png_bytes"]:
            # No picture, and nobody asked why: another kind of model has taken the place of the one that was known.
            raise self._unusable(f'"{self.model}" has been exchanged for a model that refuses by scene; call again')
        return outputs

    @contextlib.contextmanager
    def _naming_refusals(self) -> Iterator[None]:
        try:
            yield
        except RefusedScenesError as refused:
            raise SceneRefusalError(self.address, refused) from refused


def main() -> None:
    """Reads scenes, has them drawn by the server, writes the PNG; says why of each scene that was refused by itself."""
    given = flags.FLAGS
    roots = None if given.root_certificates is None else _read(given.root_certificates)
    version = int(given.version) if given.version is not None and given.version.isdecimal() else given.version
    with GenerationClient(given.server, model=given.model, timeout=given.timeout, root_certificates=roots) as client:
        load = load_each if client.refuses_by_scene(version) else load_scenes
        scenes = load(given.scene, None, *client.sizes(version))
        drawn, refused = _draw(client, scenes, given.seed, given.signature, version)
    if drawn:
        scene_requests.save_picture(_picture(drawn, given.sheet), given.output)
        print(f"{given.output}: {f'{len(drawn)} of ' if refused else ''}{len(scenes)} scenes.")
    if refused:
        commands.fail(*(refused[position] for position in sorted(refused)))


def _draw(
    client: GenerationClient, scenes: Sequence[Union[SceneGraph, SceneError]], *how
) -> tuple[list[tuple[SceneGraph, GeneratedScene]], dict[int, str]]:
    """The scenes that can be drawn, with their answers; sentences about the others, by position."""
    refused = {position: str(scene) for position, scene in enumerate(scenes) if isinstance(scene, SceneError)}
    asked = [position for position in range(len(scenes)) if position not in refused]
    try:
        answers = client.generate([scenes[position] for position in asked], *how) if asked else []
    except SceneRefusalError as error:
        answers = error.answers
        for place, sentence in error.sentences.items():
            refused[asked[place]] = scene_requests.sentence_at(asked[place], sentence)
    return [(scenes[position], answer) for position, answer in zip(asked, answers) if answer is not None], refused


def _picture(drawn: Sequence[tuple[SceneGraph, GeneratedScene]], sheet: bool) -> Image.Image:
    if sheet:
        return draw_sheet([SceneView(s, g.boxes, g.patches, (("image", g.image),)) for s, g in drawn])
    return Image.fromarray(np.concatenate([g.image for _, g in drawn]))


def _read(path: str) -> bytes:
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"The certificates {path} cannot be read: {error.strerror}.") from error


if __name__ == "__main__":
    flags.DEFINE_string("server", None, "HOST:PORT of a server's gRPC.", required=True)
    flags.DEFINE_string("model", "rgan_tf", "The server's name for the model.")
    flags.DEFINE_string("version", None, "A version's number or label; the server's own choice if not given.")
    flags.DEFINE_string("scene", None, "JSON file with a scene graph or a list of them.", required=True)
    flags.DEFINE_string("output", None, "The PNG to write.", required=True)
    flags.DEFINE_integer("seed", 0, "The same seed gives the same picture.", lower_bound=0)
    flags.DEFINE_string("signature", None, "One that generates; chosen by what the scenes fix if not given.")
    flags.DEFINE_bool("sheet", True, "Draw graph, boxes and patches beside each picture; --nosheet: pictures alone.")
    flags.DEFINE_float("timeout", 60.0, "Seconds for a call, further attempts included.", lower_bound=0.001)
    flags.DEFINE_string("root_certificates", None, "PEM file of whom to trust; the connection is then TLS.")
    commands.run(main)
