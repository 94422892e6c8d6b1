"""Requests that a server answers before it calls a version ready, so that the first caller does not wait for it.

TensorFlow Serving reads them from assets.extra/tf_serving_warmup_requests, a TFRecord file of `PredictionLog`s.
"""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from pipelines import input_pipeline
from rgan_tf import config as config_lib
from rgan_tf import scene_requests
from rgan_tf.errors import UserError
from rgan_tf.scene_graph import SceneGraph, Vocabulary, unpad_scene
from rgan_tf.training import artifacts
from rgan_tf.workspace import Workspace

# Servers ignore it in warm-up, but a request has one.
_MODEL_NAME = "rgan_tf"


def real_scene(
    workspace: Workspace, config: config_lib.ExperimentConfig, names: Vocabulary, held: np.ndarray
) -> SceneGraph:
    """The first test scene of the workspace that the exported bank can draw.

    Args:
      workspace: with the data set.
      config: of its training.
      names: its vocabulary.
      held: int, the categories of the exported patches.

    Raises:
      UserError: there is none.
    """
    source = artifacts.scene_source(workspace, config, "test")
    with artifacts.reading(workspace):
        for batch in input_pipeline.evaluation_batches(source, 1):
            objects, mask, triples, triple_mask = (
                batch[name][0].numpy() for name in ("objects", "object_mask", "triples", "triple_mask")
            )
            if np.isin(objects[mask], held).all():
                return unpad_scene(objects, mask, triples, triple_mask, names)
    raise UserError("The bank has patches for all objects of no test scene; build it from more scenes, or export more.")


def write(path, functions: Mapping[str, tf.types.experimental.ConcreteFunction], scene: SceneGraph) -> None:
    """Writes a request for each signature, all about one scene.

    Args:
      path: the file.
      functions: concrete functions by signature; the plain one is run to get boxes and patches for the others.
      scene: what to draw.
    """
    _, specs = functions[scene_requests.GENERATE].structured_input_signature
    sizes = specs["object_names"].shape[1], specs["subjects"].shape[1]
    inputs = scene_requests.to_inputs([scene], scene_requests.WITH_PATCHES, *sizes, seed=0)
    asked = functions[scene_requests.RETRIEVE].structured_input_signature[1]
    drawn = functions[scene_requests.GENERATE](**{name: tf.constant(inputs[name]) for name in asked})
    drawn = {name: value.numpy() for name, value in drawn.items()}
    scene_requests.require_all(drawn, scene_requests.refusals(drawn))
    # Padding is zero in the boxes that come out, and -1 in those that go in.
    given = inputs["object_names"] != b""
    inputs["boxes"] = np.where(given[..., None], drawn["boxes"], np.float32(scene_requests.OPEN))
    inputs["patch_ids"] = drawn["patch_ids"]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, function in functions.items():
            request = predict_pb2.PredictRequest()
            request.model_spec.name = _MODEL_NAME
            request.model_spec.signature_name = signature
            for name in function.structured_input_signature[1]:
                request.inputs[name].CopyFrom(tf.make_tensor_proto(inputs[name]))
            log = prediction_log_pb2.PredictLog(request=request)
            writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())
