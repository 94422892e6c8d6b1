"""What a served model does: the signatures, from names and seeds to pictures, in one graph of stock operations.

A request is checked, its scene graphs encoded, each object's candidates searched in the bank, patches retrieved, and
the picture synthesized. Everything that chooses runs scene by scene on shapes of its own, so that no choice can depend
on what else is in the batch, even by rounding. Pictures are then synthesized as one batch, where a bad scene fails its
call; where it answers for itself, everything runs scene by scene.
"""

from collections.abc import Sequence
from typing import Callable, NamedTuple

import tensorflow as tf

from export import refusals, request_checks
from export.request_checks import SceneReader
from export.served_bank import ServedBank
from rgan_tf import config as config_lib
from rgan_tf import scene_requests
from rgan_tf.models.graph_encoder import GraphEncoder
from rgan_tf.models.retrievegan import RetrieveGAN
from rgan_tf.ops import pixels, relaxed_subset

SYNTHESIZE = "synthesize"
_TYPES = {
    "object_names": tf.string,
    "subjects": tf.int32,
    "predicates": tf.string,
    "objects_of": tf.int32,
    "seed": tf.int64,
    "boxes": tf.float32,
    "patch_ids": tf.int64,
}

Tensors = dict[str, tf.Tensor]


class Retrieval(NamedTuple):
    """rows int32 [B, N, k], -1 where there are fewer; chosen int32 [B, N], rows, -1 where an object is padding; scores
    float32 [B, N, k]: minus the distance to the query after the last round, so of fitting the chosen patches.
    """

    rows: tf.Tensor
    chosen: tf.Tensor
    scores: tf.Tensor


class SceneService:
    """Answers requests with a trained model and the bank it was exported with."""

    def __init__(
        self,
        model: RetrieveGAN,
        prefilter: GraphEncoder,
        bank: ServedBank,
        reader: SceneReader,
        config: config_lib.ExperimentConfig,
        mode: str = refusals.CALL,
    ):
        """Takes built parts: `prefilter` is the graph encoder by whose features the bank was made; `mode` is one of
        `refusals.MODES`.
        """
        self._model, self._prefilter, self._bank, self._reader = model, prefilter, bank, reader
        self._config, self._mode = config, mode
        # Traced once and shared by all that call them.
        self._draw, self._rank, self._retrieve, self._synthesize = map(
            traced, (self._draw_scenes, self._rank_scenes, self._retrieve_scenes, self._synthesize_scenes)
        )
        n = config.data.max_objects
        graph = reader.graph_sizes()
        self._sizes = {**graph, "seed": (), "boxes": (n, 4), "patch_ids": (n,)}
        asked = [*graph, "seed"]
        self.inputs = {
            scene_requests.GENERATE: asked,
            scene_requests.WITH_LAYOUT: [*asked, "boxes"],
            scene_requests.WITH_PATCHES: [*asked, "boxes", "patch_ids"],
            scene_requests.RETRIEVE: asked,
            scene_requests.RETRIEVE_WITH_PATCHES: [*asked, "patch_ids"],
            SYNTHESIZE: ["object_names", "boxes", "patch_ids"],
        }

    def generate(self, inputs: Tensors) -> Tensors:
        """Pictures of scene graphs, with boxes and patches left open where the inputs say so or have none."""
        inputs, graph, faults = self._read(inputs)
        mask = graph["object_mask"]
        scenes = {**graph, "seed": inputs["seed"], "pinned": tf.fill(tf.shape(mask), -1)}
        scenes["boxes"], scenes["box_given"] = tf.zeros(tf.concat([tf.shape(mask), [4]], axis=0)), tf.zeros_like(mask)
        faults += self._pin(inputs, scenes)
        if "boxes" in inputs:
            scenes["boxes"], scenes["box_given"], more = request_checks.read_boxes(
                inputs["boxes"], mask, all_given=False
            )
            faults += more
        faults += self._candidate_faults(scenes, inputs["object_names"])
        return self._answer(self._draw, scenes, faults)

    def retrieve(self, inputs: Tensors) -> Tensors:
        """Each object's candidates, the best fitting first, and the place of the one that generation takes, beside the
        patches that the inputs pin, if any."""
        inputs, graph, faults = self._read(inputs)
        scenes = {**graph, "seed": inputs["seed"], "pinned": tf.fill(tf.shape(graph["objects"]), -1)}
        faults += self._pin(inputs, scenes)
        faults += self._candidate_faults(scenes, inputs["object_names"])
        return self._answer(self._rank, scenes, faults)

    def synthesize(self, inputs: Tensors) -> Tensors:
        """The picture of given patches on a given layout, without relations between the objects."""
        inputs, graph, faults = self._read(inputs)
        mask = graph["object_mask"]
        boxes, _, box_faults = request_checks.read_boxes(inputs["boxes"], mask, all_given=True)
        rows = self._bank.rows_of(inputs["patch_ids"])
        rows, patch_faults = request_checks.read_patches(inputs["patch_ids"], rows, mask, all_given=True)
        scenes = {**graph, "boxes": boxes, "rows": rows}
        return self._answer(self._synthesize, scenes, [*faults, *box_faults, *patch_faults])

    def pad(self, inputs: Tensors) -> Tensors:
        """Inputs of any number of objects and triples, padded to the model's."""
        return request_checks.pad_inputs(inputs, {name: self._sizes[name] for name in inputs})

    def open_boxes(self, object_names: tf.Tensor) -> tf.Tensor:
        """Boxes [B, N, 4] that are all left open, for scenes whose objects' names are given."""
        return tf.fill([tf.shape(object_names)[0], *self._sizes["boxes"]], -1.0)

    def specs(self, names: Sequence[str], static: bool) -> dict[str, tf.TensorSpec]:
        """Specifications of inputs: with the model's sizes, or of any number of objects and triples."""

        def shape(size):
            return [None, *size] if static or not size else [None, None, *size[1:]]

        return {name: tf.TensorSpec(shape(self._sizes[name]), _TYPES[name], name) for name in names}

    def _read(self, inputs: Tensors) -> tuple[Tensors, Tensors, list[refusals.Fault]]:
        inputs = request_checks.check_shapes(inputs, {name: self._sizes[name] for name in inputs})
        graph, faults = self._reader.read(inputs)
        return inputs, graph, faults

    def _pin(self, inputs: Tensors, scenes: Tensors) -> list[refusals.Fault]:
        """Says in the scenes which patches the inputs pin, if they can."""
        if "patch_ids" not in inputs:
            return []
        rows, mask = self._bank.rows_of(inputs["patch_ids"]), scenes["object_mask"]
        scenes["pinned"], faults = request_checks.read_patches(inputs["patch_ids"], rows, mask, all_given=False)
        return faults

    def _candidate_faults(self, scenes: Tensors, names: tf.Tensor) -> list[refusals.Fault]:
        counts = self._bank.category_counts()
        return request_checks.candidate_faults(
            scenes["objects"], names, scenes["object_mask"], counts, scenes["pinned"]
        )

    def _answer(self, answer: Callable, scenes: Tensors, faults: Sequence[refusals.Fault]) -> Tensors:
        """The answer for scenes, of which those with faults fail the call or, as the mode is, answer for themselves."""
        if self._mode == refusals.SCENE:
            table = refusals.sentences(faults, refusals.without_position)
            return refusals.one_by_one(table, scenes, answer, scene_requests.ERROR)
        table = refusals.sentences(faults, refusals.with_position)
        return answer(refusals.gated(refusals.refuse(table), scenes))

    def _draw_scenes(self, scenes: Tensors) -> Tensors:
        graph = _graph(scenes)
        predicted = self._model.graph_encoder.encode(graph).boxes
        boxes = tf.where(scenes["box_given"][..., None], scenes["boxes"], predicted)
        chosen = self._retrieve({**graph, "seed": scenes["seed"], "pinned": scenes["pinned"]}).chosen
        provenance = self._bank.describe(chosen)
        provenance["patch_png_bytes"] = provenance.pop("png_bytes")
        return {**self._synthesize({**graph, "boxes": boxes, "rows": chosen}), "boxes": boxes, **provenance}

    def _rank_scenes(self, scenes: Tensors) -> Tensors:
        found = self._retrieve(scenes)
        order = tf.argsort(found.scores, direction="DESCENDING", stable=True)
        rows = tf.gather(found.rows, order, batch_dims=2)
        place = tf.argmax(tf.equal(rows, found.chosen[..., None]), axis=-1, output_type=tf.int32)
        return {
            **self._bank.describe(rows),
            "scores": tf.gather(found.scores, order, batch_dims=2),
            "choice": tf.where(scenes["object_mask"], place, -1),
        }

    def _retrieve_scenes(self, scenes: Tensors) -> Retrieval:
        """Candidates and choice, scene by scene."""
        seed = scenes["seed"]
        scene_seed = tf.stack(
            [tf.cast(tf.math.floormod(seed, 2**31), tf.int32), tf.zeros_like(seed, tf.int32)], axis=-1
        )
        n, k = self._config.data.max_objects, self._config.candidates.k_max
        return tf.map_fn(
            self._retrieve_scene,
            {**_graph(scenes), "scene_seed": scene_seed, "pinned": scenes["pinned"]},
            fn_output_signature=Retrieval(
                tf.TensorSpec([n, k], tf.int32), tf.TensorSpec([n], tf.int32), tf.TensorSpec([n, k], tf.float32)
            ),
        )

    def _retrieve_scene(self, scene: Tensors) -> Retrieval:
        batch = {name: value[None] for name, value in scene.items()}
        queries = self._prefilter.encode(batch).object_features[0]
        rows = self._bank.candidates(queries, scene["objects"], self._config.candidates.k_max)
        # A pinned patch takes the first place, and is the only one that may be chosen.
        pinned = scene["pinned"][:, None]
        first = tf.where(pinned >= 0, pinned, rows[:, :1])
        rows = tf.concat([first, tf.where(rows[:, 1:] == pinned, -1, rows[:, 1:])], axis=1)
        is_pinned = tf.pad(tf.cast(pinned >= 0, tf.float32), [[0, 0], [0, rows.shape[1] - 1]])
        mask, features = rows >= 0, self._bank.embeddings(rows)
        result = self._model.retrieval.choose(features[None], mask[None], batch["scene_seed"], is_pinned[None])
        distances = relaxed_subset.candidate_distances(features, result.query[0], self._config.retrieval.distance)
        index = result.hard_index[0]
        chosen = tf.where(index >= 0, tf.gather(rows, tf.maximum(index, 0), batch_dims=1), -1)
        return Retrieval(rows, chosen, tf.where(mask, -distances, float("-inf")))

    def _synthesize_scenes(self, scenes: Tensors) -> Tensors:
        patches = pixels.to_float(self._bank.draw(scenes["rows"]))
        image = pixels.to_uint8(self._model.synthesize(patches, scenes["boxes"], _graph(scenes)))
        return {"image": image, "png_bytes": tf.io.encode_png(image)}


def _graph(scenes: Tensors) -> Tensors:
    """The scene graphs alone."""
    return {name: scenes[name] for name in ("objects", "object_mask", "triples", "triple_mask")}


def traced(function: Callable) -> tf.types.experimental.GenericFunction:
    """A `tf.function` without autograph: nothing here branches in Python on a tensor, and tracing is twice as fast."""
    return tf.function(function, autograph=False)
