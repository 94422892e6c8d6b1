"""Serves an export on this machine, without Docker: python -m export.serve --model_dir=DIR.

A development server with tensorflow/serving's API over gRPC and REST; docs/serving.md says what it is and is not.
"""

import signal
import threading

from absl import flags

from rgan_tf import commands  # isort: split

from export.development_server.loaded_model import DEFAULT_LIMITS, Limits, ServedModel
from export.development_server.server import DevelopmentServer

_MODEL_DIR = flags.DEFINE_string("model_dir", None, "Folder of versions, as export.saved_model makes.", required=True)
_MODEL_NAME = flags.DEFINE_string("model_name", "rgan_tf", "What clients call the model.")
_VERSION = flags.DEFINE_integer("version", None, "The version to serve; the newest where not given.", lower_bound=0)
_HOST = flags.DEFINE_string("host", "127.0.0.1", "Where to listen; 0.0.0.0 lets everyone in who reaches this machine.")
_PORT = flags.DEFINE_integer("port", 8500, "gRPC port; 0: any free one.", lower_bound=0, upper_bound=65535)
_REST_PORT = flags.DEFINE_integer("rest_port", 8501, "REST port; 0: any free one.", lower_bound=0, upper_bound=65535)
_MAX_MESSAGE = flags.DEFINE_integer(
    "max_message_mib",
    DEFAULT_LIMITS.max_message_bytes >> 20,
    "Largest request, in MiB.",
    lower_bound=1,
    upper_bound=2047,
)
_MAX_CONCURRENCY = flags.DEFINE_integer(
    "max_concurrency", DEFAULT_LIMITS.max_concurrency, "Predictions at a time; more are refused.", lower_bound=1
)
_MAX_BATCH = flags.DEFINE_integer("max_batch", DEFAULT_LIMITS.max_batch, "Scenes of one request.", lower_bound=1)


def main() -> None:
    """Loads the model, opens the ports, and waits to be stopped."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    limits = Limits(_MAX_MESSAGE.value << 20, _MAX_CONCURRENCY.value, _MAX_BATCH.value)
    model = ServedModel(_MODEL_DIR.value, _MODEL_NAME.value, _VERSION.value, limits)
    with DevelopmentServer(model, _HOST.value, _PORT.value, _REST_PORT.value) as server:
        ports = f"gRPC on {server.address}, REST on {server.rest_url}"
        print(f"Serving {model.name} version {model.version}: {ports}", flush=True)
        stopping.wait()
    print("Stopped.", flush=True)


if __name__ == "__main__":
    commands.run(main)
