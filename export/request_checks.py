"""Requests as a served model gets them: names to ids, and what is wrong with those that make no sense.

A wrong shape is refused at once. What is wrong with scenes is given as faults beside the values, which are safe to look
at but mean nothing where there is a fault.
"""

from collections.abc import Sequence

import tensorflow as tf

from export import refusals
from export.refusals import Fault, shown

# Most scenes of one request: bounds what a small message can make the server allocate.
MAX_SCENES = 64


def check_shapes(inputs: dict[str, tf.Tensor], sizes: dict[str, Sequence[int]]) -> dict[str, tf.Tensor]:
    """Refuses inputs of other shapes than [batch, *size], of different batches, or of too many scenes.

    A server feeds what it gets, whatever the signature says, and the graph would trust the signature; Python's call of
    a function would fail at the shape that it knows, in words of its own. So all is read behind an operation that
    forgets the static shape.
    """
    inputs = {name: tf.raw_ops.PlaceholderWithDefault(input=inputs[name], shape=tf.TensorShape(None)) for name in sizes}
    wrong, found, batches = [], [], []
    for name, size in sizes.items():
        shape = tf.shape(inputs[name])
        expected = tf.constant(list(size), tf.int32)
        rank = len(size) + 1
        wrong.append(
            tf.cond(
                tf.equal(tf.size(shape), rank),
                lambda s=shape, e=expected: tf.reduce_any(tf.not_equal(s[1:], e)),
                lambda: tf.constant(True),
            )
        )
        found.append(tf.strings.reduce_join(tf.strings.as_string(shape), separator=", "))
        batches.append(tf.concat([shape, [0]], axis=0)[0])
    names, found, batch = tf.constant(list(sizes)), tf.stack(found), tf.stack(batches)
    wanted = tf.constant([", ".join(["batch", *map(str, size)]) for size in sizes.values()])

    def misshapen(places):
        name, shape, right = (tf.gather_nd(values, places) for values in (names, found, wanted))
        return ["The input ", name, " has the shape [", shape, "]; it must be [", right, "]."]

    def differ(places):
        parts = [shown(batch[0]), " scenes and ", tf.gather_nd(names, places), " ", shown(tf.gather_nd(batch, places))]
        return [f"The input {next(iter(sizes))} has ", *parts, "; give every input the same number of scenes."]

    faults = [
        Fault(tf.stack(wrong), misshapen),
        Fault(tf.not_equal(batch, batch[0]), differ),
        Fault(
            tf.logical_or(batch < 1, batch > MAX_SCENES),
            lambda places: [
                "The request has ",
                shown(tf.gather_nd(batch, places)),
                f" scenes; give 1 to {MAX_SCENES}.",
            ],
        ),
    ]
    table = refusals.sentences(faults, lambda rows: tf.fill(tf.shape(rows), ""))
    known = refusals.gated(refusals.refuse(table), inputs)
    return {name: tf.ensure_shape(value, [None, *sizes[name]]) for name, value in known.items()}


def pad_inputs(inputs: dict[str, tf.Tensor], sizes: dict[str, Sequence[int]]) -> dict[str, tf.Tensor]:
    """Fills inputs up to [batch, *size] with what stands for none.

    Longer ones stay as they are, though their static shape says otherwise; `check_shapes` refuses them.
    """
    padded = {}
    for name, size in sizes.items():
        value = inputs[name]
        missing = tf.maximum(tf.constant([0, *size]) - tf.shape(value), 0) if size else None
        fill = "" if value.dtype == tf.string else tf.constant(-1, value.dtype)
        if missing is not None:
            value = tf.pad(value, tf.stack([tf.zeros_like(missing), missing], axis=1), constant_values=fill)
            value.set_shape([None, *size])
        padded[name] = value
    return padded


class SceneReader:
    """Reads scene graphs by name into the padded arrays of `rgan_tf.scene_graph.pad_scenes`."""

    def __init__(self, objects_file: str, predicates_file: str, max_objects: int, max_triples: int):
        """Takes text files with a name a line, the reserved one first, and the sizes N and T of the model."""
        self.tables = [_table(objects_file), _table(predicates_file)]
        self.max_objects, self.max_triples = max_objects, max_triples

    def graph_sizes(self) -> dict[str, tuple[int, ...]]:
        """What follows the batch in the shape of each input that describes a scene graph."""
        triples = (self.max_triples,)
        return {
            "object_names": (self.max_objects,),
            "subjects": triples,
            "predicates": triples,
            "objects_of": triples,
        }

    def read(self, inputs: dict[str, tf.Tensor]) -> tuple[dict[str, tf.Tensor], list[Fault]]:
        """objects, object_mask, triples, triple_mask of inputs whose shapes are checked, and faults; all triples are
        padding where the inputs have none.
        """
        names = inputs["object_names"]
        ids = tf.cast(self.tables[0].lookup(names), tf.int32)
        mask = tf.not_equal(names, "")
        faults = _name_faults(names, ids, mask)
        if "predicates" in inputs:
            triples, triple_mask, more = self._triples(inputs, tf.reduce_sum(tf.cast(mask, tf.int32), axis=-1))
            faults += more
        else:
            batch = tf.shape(names)[0]
            triples = tf.zeros([batch, self.max_triples, 3], tf.int32)
            triple_mask = tf.zeros([batch, self.max_triples], tf.bool)
        # -1, an unknown name's, is no row of anything.
        graph = {"objects": tf.maximum(ids, 0) * tf.cast(mask, tf.int32), "object_mask": mask}
        graph.update(triples=triples * tf.cast(triple_mask, tf.int32)[..., None], triple_mask=triple_mask)
        return graph, faults

    def _triples(self, inputs, counts):
        subjects, targets, names = inputs["subjects"], inputs["objects_of"], inputs["predicates"]
        ids, mask = tf.cast(self.tables[1].lookup(names), tf.int32), tf.not_equal(names, "")
        faults = [
            Fault(
                tf.logical_and(mask, ids < 1),
                lambda p: (
                    _has(p, "the unknown name `", names, "` as predicate of relationship ")
                    + ["; assets/predicates.txt lists the known ones."]
                ),
            )
        ]
        for indices in (subjects, targets):
            outside = tf.logical_or(indices < 0, indices >= counts[:, None])
            faults.append(
                Fault(
                    tf.logical_and(mask, outside),
                    lambda p, i=indices: (
                        _has(p, "the index ", i, " in relationship ")
                        + ["; it must be from 0 to ", shown(tf.gather(counts, p[:, 0]) - 1), "."]
                    ),
                )
            )
            faults.append(
                Fault(
                    tf.logical_and(tf.logical_not(mask), tf.not_equal(indices, -1)),
                    lambda p, i=indices: (
                        _has(p, "the index ", i, " in relationship ")
                        + [", which has no predicate; pad indices with -1."]
                    ),
                )
            )
        faults.append(
            Fault(
                tf.logical_and(mask, tf.equal(subjects, targets)),
                lambda p: _has(p, "object ", subjects, " related to itself in relationship ") + ["; name two objects."],
            )
        )
        return tf.stack([subjects, ids, targets], axis=-1), mask, faults


def read_boxes(boxes: tf.Tensor, mask: tf.Tensor, all_given: bool) -> tuple[tf.Tensor, tf.Tensor, list[Fault]]:
    """Boxes [B, N, 4], zero where left open, and which are given [B, N], from boxes with -1 four times for open."""
    given = tf.logical_not(tf.reduce_all(tf.equal(boxes, -1.0), axis=-1))
    x0, y0, x1, y1 = tf.unstack(boxes, axis=-1)
    # Written so that a NaN fails it.
    whole = (x0 >= 0.0) & (y0 >= 0.0) & (x0 < x1) & (y0 < y1) & (x1 <= 1.0) & (y1 <= 1.0)

    def say(places):
        numbers = tf.strings.as_string(tf.gather_nd(boxes, places), shortest=True)
        box = tf.strings.reduce_join(numbers, axis=-1, separator=", ")
        rule = "x0 < x1 and y0 < y1 in [0, 1]" + ("." if all_given else ", or four times -1 where left open.")
        return [" has the box [", box, "] for object ", shown(places[:, 1]), f"; it must be {rule}"]

    faults = [Fault(given & ~mask, lambda p: _beyond(p, "a box")), Fault(given & ~whole, say)]
    if all_given:
        faults.append(Fault(mask & ~given, say))
    return tf.where(given[..., None], boxes, 0.0), given, faults


def read_patches(ids: tf.Tensor, rows: tf.Tensor, mask: tf.Tensor, all_given: bool) -> tuple[tf.Tensor, list[Fault]]:
    """Bank rows [B, N] of the patches with the ids [B, N], -1 where left open; `rows` is -1 for unknown ids."""
    given = tf.not_equal(ids, -1)

    def say(places):
        return _has(places, "the patch ", ids, " for object ") + ["; the bank holds no patch of this id."]

    faults = [
        Fault(tf.logical_and(given, tf.logical_not(mask)), lambda p: _beyond(p, "a patch")),
        Fault(tf.logical_and(given, rows < 0), say),
    ]
    if all_given:
        faults.append(Fault(tf.logical_and(mask, tf.logical_not(given)), say))
    return tf.where(given, rows, -1), faults


def candidate_faults(
    objects: tf.Tensor, names: tf.Tensor, mask: tf.Tensor, counts: tf.Tensor, pinned: tf.Tensor
) -> list[Fault]:
    """Objects [B, N] of which the bank has no patch, by its counts [C], and for which none is pinned."""
    missing = tf.logical_and(mask, tf.logical_and(tf.equal(tf.gather(counts, objects), 0), pinned < 0))

    def say(places):
        return _has(places, "the name `", names, "` as object ") + [", of which the bank has no patch; name another."]

    return [Fault(missing, say)]


def _name_faults(names, ids, mask) -> list[Fault]:
    """Scenes without objects, names after a gap, unknown names."""
    gap = tf.logical_and(mask[:, 1:], tf.logical_not(mask[:, :-1]))
    gap = tf.pad(gap, [[0, 0], [1, 0]])
    return [
        Fault(
            tf.logical_not(tf.reduce_any(mask, axis=-1)),
            lambda p: [" has no objects; name at least one."],
        ),
        Fault(
            gap,
            lambda p: _has(p, "the name `", names, "` as object ") + [", after an empty one; put padding last."],
        ),
        Fault(
            tf.logical_and(mask, ids < 1),
            lambda p: (
                _has(p, "the unknown name `", names, "` as object ") + ["; assets/objects.txt lists the known ones."]
            ),
        ),
    ]


def _has(places, before: str, values: tf.Tensor, after: str) -> list:
    """A scene has `before` the value `after` position."""
    return [" has ", before, shown(tf.gather_nd(values, places)), after, shown(places[:, 1])]


def _beyond(places, what: str) -> list:
    return [f" has {what} for object ", shown(places[:, 1]), ", which has no name; pad with -1."]


def _table(path: str) -> tf.lookup.StaticHashTable:
    lines = tf.lookup.TextFileInitializer(
        path, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
    )
    return tf.lookup.StaticHashTable(lines, default_value=-1)
