"""What the tests of serving talk to: the development server on `tiny_export`, and a server that the environment names.

TF_SERVING_ADDRESS is HOST:PORT of its gRPC, TF_SERVING_REST its http://HOST:PORT; it must serve an export of a training
on the synthetic scenes, and call it rgan_tf.
"""

import contextlib
import functools
import os
from typing import NamedTuple, Optional

import pytest

from export.development_server.loaded_model import Limits, ServedModel
from export.development_server.server import DevelopmentServer

_REAL = "TF_SERVING_ADDRESS"
TARGETS = [
    "development",
    pytest.param(
        "tensorflow/serving", marks=pytest.mark.skipif(_REAL not in os.environ, reason=f"{_REAL} names no server.")
    ),
]


class Target(NamedTuple):
    """Where a server is, and the `ServedModel` behind it where it is ours."""

    address: str
    rest_url: Optional[str]
    model: Optional[ServedModel]


@functools.lru_cache(maxsize=2)
def served(directory) -> ServedModel:
    """A folder's newest version, loaded once for all tests of a process."""
    return ServedModel(directory, "rgan_tf", limits=Limits())


@contextlib.contextmanager
def running(request):
    """The target that a fixture's request asks for."""
    if request.param == "development":
        model = served(request.getfixturevalue("tiny_export"))
        with DevelopmentServer(model) as server:
            yield Target(server.address, server.rest_url, model)
    else:
        rest = os.environ.get("TF_SERVING_REST")
        yield Target(os.environ[_REAL], rest and f"{rest.rstrip('/')}/v1/models/rgan_tf", None)
