"""Small models to serve, with answers that are worked out in a line, and how tests call a server."""

import json
import urllib.error
import urllib.request

import tensorflow as tf

from export.development_server.loaded_model import Limits

LIMITS = Limits(max_message_bytes=1 << 20, max_concurrency=2, max_batch=8)
HALF = {"signature_name": "half"}


def spec(shape, dtype):
    return tf.TensorSpec(shape, dtype)


class StandIn(tf.Module):
    """Signatures of every kind of input, with answers that are worked out in a line."""

    def __init__(self, number):
        super().__init__()
        self.number = tf.Variable(number, dtype=tf.int64)

    @tf.function(input_signature=[spec([None, 2], tf.string), spec([None], tf.int64)])
    def echo(self, names, seed):
        bad = tf.where(tf.equal(names, "bad"))
        sentence = tf.cond(
            tf.shape(bad)[0] > 0,
            lambda: tf.strings.join(["Scene ", tf.strings.as_string(bad[0, 0]), " has `bad` in [it.]."]),
            lambda: tf.constant(""),
        )
        with tf.control_dependencies([tf.debugging.Assert(tf.equal(sentence, ""), [sentence])]):
            joined = tf.strings.reduce_join(names, axis=1)
        return {"joined": joined, "joined_bytes": joined, "seed": seed, "version": tf.zeros_like(seed) + self.number}

    @tf.function(
        input_signature=[
            spec([None, None, 2], tf.float32),
            spec([None, 3], tf.uint8),
            spec([None], tf.bool),
            spec([None], tf.float64),
        ]
    )
    def types(self, floats, bytes_, flags, doubles):
        return {"floats": floats, "small": bytes_, "flags": flags, "doubles": doubles}

    @tf.function(input_signature=[spec([None], tf.float32)])
    def half(self, x):
        return {"y": x / 2}

    @tf.function(input_signature=[spec([None], tf.float32)])
    def scalar(self, x):
        return {"total": tf.reduce_sum(x), "x": x}

    @tf.function(input_signature=[spec(None, tf.int32)])
    def free(self, anything):
        return {"size": tf.reshape(tf.size(anything), [1])}


def save(path, number):
    """Writes a SavedModel whose answers tell its number."""
    model = StandIn(number)
    names = {"serving_default": model.echo, "types": model.types}
    names.update(half=model.half, scalar=model.scalar, free=model.free)
    tf.saved_model.save(model, str(path), signatures=names)


def http(url, body=None, method=None):
    """Status and decoded body of a REST call."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error) if error.headers["Content-Type"] == "application/json" else None
