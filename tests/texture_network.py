"""A small network, exported as a SavedModel, packed, and served, for the tests of HubNetwork."""

import contextlib
import functools
import http.server
import tarfile
import threading

import numpy as np
import tensorflow as tf

KERNEL = np.random.default_rng(1).normal(0, 0.3, (3, 3, 3, 4)).astype(np.float32)
ANY_SIZE = tf.TensorSpec([None, None, None, 3])


class Texture(tf.Module):
    """A convolution, and statistics of it."""

    def __init__(self):
        super().__init__()
        self.kernel = tf.Variable(KERNEL)

    def maps(self, images):
        return tf.tanh(tf.nn.conv2d(images, self.kernel, 1, "VALID"))

    @tf.function(input_signature=[ANY_SIZE])
    def values(self, images):
        maps = self.maps(images)
        names = tf.fill([tf.shape(images)[0]], "texture")
        return {"maps": maps, "mean": tf.reduce_mean(maps, [1, 2]), "name": names, "all": tf.reduce_mean(maps)}

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 6, 3])])
    def fixed(self, images):
        return {"maps": self.maps(images), "pixels": tf.identity(images)}

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float16)])
    def half(self, images):
        return {"pixels": tf.identity(images)}

    @tf.function(input_signature=[ANY_SIZE, ANY_SIZE])
    def pair(self, images, others):
        return {"maps": self.maps(images - others)}

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
    def quantized(self, images):
        return {"maps": self.maps(tf.cast(images, tf.float32))}

    @tf.function(input_signature=[tf.TensorSpec([1, 8, 8, 3])])
    def single(self, images):
        return {"maps": self.maps(images)}

    @tf.function
    def __call__(self, images, training=False):
        return [self.maps(images) * (100.0 if training else 1.0), tf.reduce_mean(images, [1, 2])]


def export_texture(path):
    """Saves a `Texture` with its signatures and its own call; returns the folder."""
    module = Texture()
    for training in (True, False):
        module.__call__.get_concrete_function(ANY_SIZE, training=training)
    named = ("fixed", "half", "pair", "quantized", "single")
    signatures = {"serving_default": module.values, **{name: getattr(module, name) for name in named}}
    tf.saved_model.save(module, str(path), signatures)
    return str(path)


def images(height=7, width=9, batch=(2,)):
    return tf.constant(np.random.default_rng(0).uniform(-1, 1, (*batch, height, width, 3)), tf.float32)


def pack(folder, path, name="."):
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, arcname=name)
    return str(path)


@contextlib.contextmanager
def serving(directory):
    """Serves a folder; gives the address, and a list that grows by each path that is asked for."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *values):
            asked.append(self.path)

    handler = functools.partial(Handler, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()
