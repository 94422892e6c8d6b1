"""How a served model says no: what is wrong becomes one table of sentences, for which the call or each scene answers.

It all runs in the graph, from stock operations, so that any server refuses the same requests with the same words: a
failed assertion is INVALID_ARGUMENT in TF Serving. Sentences hold no quotation mark, which the runtime would escape.
"""

from collections.abc import Sequence
from typing import Callable, NamedTuple

import tensorflow as tf

from rgan_tf.scene_requests import ANY_SCENE

# A refused scene fails its call; or it answers for itself, in the output `scene_requests.ERROR`.
MODES = CALL, SCENE = ("call", "scene")
_SHOWN_BYTES = 64

Tensors = dict[str, tf.Tensor]
Parts = list


class Fault(NamedTuple):
    """A way in which the rows of a table, scenes or inputs, can be wrong.

    bad: bool [R, …], true where it is. say: from places int64 [P, rank of bad], the first bad one of each bad row, to
    parts, strings or string tensors [P], which joined are the sentences after their opening.
    """

    bad: tf.Tensor
    say: Callable[[tf.Tensor], Parts]


def sentences(faults: Sequence[Fault], opening: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """The table: string [F, R], what each fault says of each row, "" where it is not there.

    Args:
      faults: all of the same R; the earlier is the one to name where a row has several.
      opening: from rows int64 [P] to strings [P], with which their sentences begin.
    """
    table = []
    for fault in faults:
        # Nothing is looked at beyond the bad places, so the sentence may read any array there.
        places = _first_of_each_row(tf.where(fault.bad))
        said = tf.strings.join([opening(places[:, 0]), *fault.say(places)])
        table.append(tf.scatter_nd(places[:, :1], said, tf.shape(fault.bad, tf.int64)[:1]))
    return tf.stack(table)


def with_position(rows: tf.Tensor) -> tf.Tensor:
    """Opens sentences about scenes with their place in the call."""
    return tf.strings.join(["Scene ", tf.strings.as_string(rows)])


def without_position(rows: tf.Tensor) -> tf.Tensor:
    """Opens sentences about scenes without their place: a server's batch holds other callers' scenes as well."""
    return tf.fill(tf.shape(rows), ANY_SCENE)


def refuse(table: tf.Tensor) -> tf.Operation:
    """An assertion that fails with the first sentence of a table, that of the earliest fault, if there is any."""
    found = tf.where(tf.not_equal(table, ""))[:1]
    return tf.debugging.Assert(tf.equal(tf.size(found), 0), [tf.strings.reduce_join(tf.gather_nd(table, found))])


def gated(check: tf.Operation, tensors):
    """The same tensors, had only after the check."""
    with tf.control_dependencies([check]):
        return tf.nest.map_structure(tf.identity, tensors)


def one_by_one(table: tf.Tensor, scenes: Tensors, answer: Callable[[Tensors], Tensors], error: str) -> Tensors:
    """Answers each scene that a table says nothing of, by itself; zeros and "" stand in the rows of the others.

    Every scene is answered as a batch of one: kernels may round otherwise in batches of another size, so this alone
    makes an answer the same to the bit whatever it is sent with.

    Args:
      table: [F, B], of `sentences`.
      scenes: tensors [B, …].
      answer: a `tf.function` from such tensors with B = 1 to others.
      error: name of one more output, string [B], the first sentence of each scene, "" where it was answered.
    """
    said = tf.not_equal(table, "")
    first = tf.gather(tf.transpose(table), tf.argmax(tf.cast(said, tf.int32), axis=0), batch_dims=1)
    good = tf.where(tf.equal(first, ""))
    alone = {name: tf.TensorSpec([1, *value.shape[1:]], value.dtype) for name, value in scenes.items()}
    specs = answer.get_concrete_function(alone).structured_outputs
    answers = tf.map_fn(
        lambda scene: tf.nest.map_structure(lambda value: value[0], answer(tf.nest.map_structure(_batched, scene))),
        {name: tf.gather_nd(value, good) for name, value in scenes.items()},
        fn_output_signature={name: tf.TensorSpec(spec.shape[1:], spec.dtype) for name, spec in specs.items()},
    )
    batch = tf.shape(first, tf.int64)
    spread = {
        name: tf.scatter_nd(good, value, tf.concat([batch, tf.shape(value, tf.int64)[1:]], axis=0))
        for name, value in answers.items()
    }
    return {**{name: tf.ensure_shape(v, [None, *answers[name].shape[1:]]) for name, v in spread.items()}, error: first}


def shown(values: tf.Tensor) -> tf.Tensor:
    """Values for people: numbers as they are, texts cut short and made printable."""
    if values.dtype != tf.string:
        return tf.strings.as_string(values)
    cut = tf.strings.substr(values, 0, _SHOWN_BYTES)
    return tf.strings.unicode_transcode(cut, "UTF-8", "UTF-8", errors="replace", replace_control_characters=True)


def _first_of_each_row(places: tf.Tensor) -> tf.Tensor:
    """Of places [P, rank] in the order of `tf.where`, the first with each row."""
    rows = places[:, 0]
    return tf.boolean_mask(places, tf.concat([rows[:1] >= 0, rows[1:] > rows[:-1]], axis=0))


def _batched(value: tf.Tensor) -> tf.Tensor:
    return value[None]
