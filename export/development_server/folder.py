"""A model's folder as servers read it: versions, the signatures of one, and the requests it comes with."""

import pathlib
from collections.abc import Iterator
from typing import Optional

import tensorflow as tf
from google.protobuf import message
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from rgan_tf.errors import UserError

WARM_UP = "assets.extra/tf_serving_warmup_requests"


class ServingError(UserError):
    """A model that cannot be served; the message names the folder and the mend."""


def find_version(model_dir: pathlib.Path, version: Optional[int]) -> tuple[int, pathlib.Path]:
    """A version's number and folder; the newest if None is given.

    Raises:
      ServingError: there is none, or not that one.
    """
    try:
        versions = {int(p.name): p for p in model_dir.iterdir() if p.name.isascii() and p.name.isdigit() and p.is_dir()}
    except OSError as error:
        raise ServingError(f"The model folder {model_dir} cannot be read: {error.strerror}.") from error
    if not versions:
        raise ServingError(
            f"The folder {model_dir} holds no version, a folder with an integer name; export a model there first."
        )
    chosen = max(versions) if version is None else version
    if chosen not in versions:
        held = ", ".join(map(str, sorted(versions)))
        raise ServingError(f"The folder {model_dir} holds no version {chosen}; it holds {held}.")
    return chosen, versions[chosen]


def read_signatures(path: pathlib.Path) -> dict[str, meta_graph_pb2.SignatureDef]:
    """The signatures of a version's graph that is tagged for serving.

    Raises:
      ServingError: it is not a SavedModel, or has no such graph.
    """
    try:
        saved_model = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    except OSError as error:
        raise ServingError(f"The model {path} has no readable saved_model.pb: {error.strerror}.") from error
    except message.DecodeError as error:
        raise ServingError(
            f"The model {path} has a saved_model.pb that is not a SavedModel; export it again."
        ) from error
    for graph in saved_model.meta_graphs:
        if "serve" in graph.meta_info_def.tags:
            return dict(graph.signature_def)
    raise ServingError(f'The model {path} has no graph with the tag "serve"; export it with tf.saved_model.save.')


def warm_up_requests(path: pathlib.Path) -> Iterator[predict_pb2.PredictRequest]:
    """The requests that come with a version, to be replayed when it is loaded; none where there is no such file.

    Raises:
      ServingError: the file cannot be read.
    """
    file = path / WARM_UP
    if not file.exists():
        return
    try:
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            yield prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
    except (message.DecodeError, tf.errors.OpError) as error:
        raise ServingError(f"The warm-up requests {file} cannot be read; export the model again.") from error
