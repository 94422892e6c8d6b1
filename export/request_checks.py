"""Requests as a served model gets them: names to ids, and a sentence for every request that makes no sense.

It all runs in the graph, from stock operations, so that any server refuses the same requests with the same words: a
failed assertion is INVALID_ARGUMENT in TF Serving. Sentences hold no quotation mark, which the runtime would escape.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

# Most scenes of one request: bounds what a small message can make the server allocate.
MAX_SCENES = 64
_SHOWN_BYTES = 64


class Fault(NamedTuple):
    """A way in which a request can be wrong.

    bad: bool tensor, true where it is. say: from the first such place, an int tensor, to the parts of the sentence.
    """

    bad: tf.Tensor
    say: object


def refuse(faults: Sequence[Fault]) -> tf.Operation:
    """An assertion that fails with the sentence of the first fault that is there, at the first place where it is."""
    sentences = []
    for fault in faults:
        places = tf.where(fault.bad)
        # Nothing is looked at beyond the first bad place, so the sentence may read any array there.
        sentence = tf.cond(
            tf.shape(places)[0] > 0, lambda f=fault, p=places: tf.strings.join(f.say(p[0])), lambda: tf.constant("")
        )
        sentences.append(sentence)
    sentences = tf.stack(sentences)
    found = tf.where(tf.not_equal(sentences, ""))[:1, 0]
    return tf.debugging.Assert(tf.equal(tf.size(found), 0), [tf.strings.reduce_join(tf.gather(sentences, found))])


def gated(check: tf.Operation, tensors):
    """The same tensors, had only after the check."""
    with tf.control_dependencies([check]):
        return tf.nest.map_structure(tf.identity, tensors)


def shown(value: tf.Tensor) -> tf.Tensor:
    """A scalar for people: numbers as they are, text cut short and made printable."""
    if value.dtype != tf.string:
        return tf.strings.as_string(value)
    cut = tf.strings.substr(value, 0, _SHOWN_BYTES)
    return tf.strings.unicode_transcode(cut, "UTF-8", "UTF-8", errors="replace", replace_control_characters=True)


def check_shapes(inputs: dict[str, tf.Tensor], sizes: dict[str, Sequence[int]]) -> dict[str, tf.Tensor]:
    """Refuses inputs of other shapes than [batch, *size], of different batches, or of too many scenes.

    A server feeds what it gets, whatever the signature says, and the graph would trust the signature: so the true shape
    is read behind an operation that forgets the static one.
    """
    faults, batches = [], []
    for name, size in sizes.items():
        forgotten = tf.raw_ops.PlaceholderWithDefault(input=inputs[name], shape=tf.TensorShape(None))
        shape = tf.shape(forgotten)
        expected = tf.constant(list(size), tf.int32)
        rank = len(size) + 1
        wrong = tf.cond(
            tf.equal(tf.size(shape), rank),
            lambda s=shape, e=expected: tf.reduce_any(tf.not_equal(s[1:], e)),
            lambda: tf.constant(True),
        )
        wanted = ", ".join(["batch", *map(str, size)])

        def say(place, shape=shape, name=name, wanted=wanted):
            found = tf.strings.reduce_join(tf.strings.as_string(shape), separator=", ")
            return [f"The input {name} has the shape [", found, f"]; it must be [{wanted}]."]

        faults.append(Fault(wrong[None], say))
        batches.append(tf.concat([shape, [0]], axis=0)[0])
    batch, names = tf.stack(batches), tf.constant(list(sizes))

    def differ(place):
        other = place[0]
        parts = [tf.strings.as_string(batch[0]), " scenes and ", shown(names[other]), " ", shown(batch[other])]
        return [f"The input {next(iter(sizes))} has ", *parts, "; give every input the same number of scenes."]

    faults.append(Fault(tf.not_equal(batch, batch[0]), differ))
    faults.append(
        Fault(
            tf.logical_or(batch[:1] < 1, batch[:1] > MAX_SCENES),
            lambda place: ["The request has ", shown(batch[0]), f" scenes; give 1 to {MAX_SCENES}."],
        )
    )
    known = gated(refuse(faults), {name: inputs[name] for name in sizes})
    return {name: tf.ensure_shape(value, [None, *sizes[name]]) for name, value in known.items()}


def pad_inputs(inputs: dict[str, tf.Tensor], sizes: dict[str, Sequence[int]]) -> dict[str, tf.Tensor]:
    """Fills inputs up to [batch, *size] with what stands for none; longer ones are left for `check_shapes`."""
    padded = {}
    for name, size in sizes.items():
        value = inputs[name]
        missing = tf.maximum(tf.constant([0, *size]) - tf.shape(value), 0) if size else None
        fill = "" if value.dtype == tf.string else tf.constant(-1, value.dtype)
        padded[name] = (
            value
            if missing is None
            else tf.pad(value, tf.stack([tf.zeros_like(missing), missing], axis=1), constant_values=fill)
        )
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

    def read(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """objects, object_mask, triples, triple_mask of inputs whose shapes are checked; all triples are padding where
        the inputs have none.
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
        graph = {"objects": ids * tf.cast(mask, tf.int32), "object_mask": mask}
        graph.update(triples=triples * tf.cast(triple_mask, tf.int32)[..., None], triple_mask=triple_mask)
        return gated(refuse(faults), graph)

    def _triples(self, inputs, counts):
        subjects, targets, names = inputs["subjects"], inputs["objects_of"], inputs["predicates"]
        ids, mask = tf.cast(self.tables[1].lookup(names), tf.int32), tf.not_equal(names, "")
        faults = [
            Fault(
                tf.logical_and(mask, ids < 1),
                lambda p: (
                    _scene(p, "the unknown name `", names, "` as predicate of relationship ")
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
                        _scene(p, "the index ", i, " in relationship ")
                        + ["; it must be from 0 to ", shown(counts[p[0]] - 1), "."]
                    ),
                )
            )
            faults.append(
                Fault(
                    tf.logical_and(tf.logical_not(mask), tf.not_equal(indices, -1)),
                    lambda p, i=indices: (
                        _scene(p, "the index ", i, " in relationship ")
                        + [", which has no predicate; pad indices with -1."]
                    ),
                )
            )
        faults.append(
            Fault(
                tf.logical_and(mask, tf.equal(subjects, targets)),
                lambda p: (
                    _scene(p, "object ", subjects, " related to itself in relationship ") + ["; name two objects."]
                ),
            )
        )
        return tf.stack([subjects, ids, targets], axis=-1), mask, faults


def read_boxes(boxes: tf.Tensor, mask: tf.Tensor, all_given: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Boxes [B, N, 4], zero where left open, and which are given [B, N], from boxes with -1 four times for open."""
    given = tf.logical_not(tf.reduce_all(tf.equal(boxes, -1.0), axis=-1))
    x0, y0, x1, y1 = tf.unstack(boxes, axis=-1)
    # Written so that a NaN fails it.
    whole = (x0 >= 0.0) & (y0 >= 0.0) & (x0 < x1) & (y0 < y1) & (x1 <= 1.0) & (y1 <= 1.0)

    def say(place):
        box = tf.strings.reduce_join(tf.strings.as_string(tf.gather_nd(boxes, place), shortest=True), separator=", ")
        rule = "x0 < x1 and y0 < y1 in [0, 1]" + ("." if all_given else ", or four times -1 where left open.")
        return [
            "Scene ",
            shown(place[0]),
            " has the box [",
            box,
            "] for object ",
            shown(place[1]),
            f"; it must be {rule}",
        ]

    faults = [Fault(given & ~mask, lambda p: _beyond(p, "a box")), Fault(given & ~whole, say)]
    if all_given:
        faults.append(Fault(mask & ~given, say))
    boxes, given = gated(refuse(faults), (boxes, given))
    return tf.where(given[..., None], boxes, 0.0), given


def read_patches(ids: tf.Tensor, rows: tf.Tensor, mask: tf.Tensor, all_given: bool) -> tf.Tensor:
    """Bank rows [B, N] of the patches with the ids [B, N], -1 where left open; `rows` is -1 for unknown ids."""
    given = tf.not_equal(ids, -1)

    def say(place):
        return _scene(place, "the patch ", ids, " for object ") + ["; the bank holds no patch of this id."]

    faults = [
        Fault(tf.logical_and(given, tf.logical_not(mask)), lambda p: _beyond(p, "a patch")),
        Fault(tf.logical_and(given, rows < 0), say),
    ]
    if all_given:
        faults.append(Fault(tf.logical_and(mask, tf.logical_not(given)), say))
    return gated(refuse(faults), tf.where(given, rows, -1))


def require_candidates(
    objects: tf.Tensor, names: tf.Tensor, mask: tf.Tensor, counts: tf.Tensor, pinned: tf.Tensor
) -> tf.Tensor:
    """Refuses objects [B, N] of which the bank has no patch, by its counts [C], and for which none is pinned."""
    missing = tf.logical_and(mask, tf.logical_and(tf.equal(tf.gather(counts, objects), 0), pinned < 0))

    def say(place):
        return _scene(place, "the name `", names, "` as object ") + [", of which the bank has no patch; name another."]

    return gated(refuse([Fault(missing, say)]), objects)


def _name_faults(names, ids, mask) -> list[Fault]:
    """Scenes without objects, names after a gap, unknown names."""
    gap = tf.logical_and(mask[:, 1:], tf.logical_not(mask[:, :-1]))
    gap = tf.pad(gap, [[0, 0], [1, 0]])
    return [
        Fault(
            tf.logical_not(tf.reduce_any(mask, axis=-1)),
            lambda p: ["Scene ", shown(p[0]), " has no objects; name at least one."],
        ),
        Fault(
            gap,
            lambda p: _scene(p, "the name `", names, "` as object ") + [", after an empty one; put padding last."],
        ),
        Fault(
            tf.logical_and(mask, ids < 1),
            lambda p: (
                _scene(p, "the unknown name `", names, "` as object ") + ["; assets/objects.txt lists the known ones."]
            ),
        ),
    ]


def _scene(place, before: str, values: tf.Tensor, after: str) -> list:
    """Scene B has `before` the value `after` position."""
    return ["Scene ", shown(place[0]), " has ", before, shown(tf.gather_nd(values, place)), after, shown(place[1])]


def _beyond(place, what: str) -> list:
    return ["Scene ", shown(place[0]), f" has {what} for object ", shown(place[1]), ", which has no name; pad with -1."]


def _table(path: str) -> tf.lookup.StaticHashTable:
    lines = tf.lookup.TextFileInitializer(
        path, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
    )
    return tf.lookup.StaticHashTable(lines, default_value=-1)
