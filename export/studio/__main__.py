"""A page to play with a model: python -m export.studio --workspace=… | --model_dir=… | --server=HOST:PORT.

Opens on the loopback address unless told otherwise; docs/studio.md says what the page does.
"""

import logging
import pathlib
import signal
import threading
from typing import Optional

from absl import flags

from rgan_tf import commands  # isort: split

from werkzeug.serving import make_server

from export.client import GenerationClient
from export.studio.application import make_application
from export.studio.model import ServedGenerator, StudioModel
from rgan_tf.errors import UserError
from rgan_tf.scene_graph import Vocabulary

_WORKSPACE = flags.DEFINE_string("workspace", None, "A trained workspace.")
_MODEL_DIR = flags.DEFINE_string("model_dir", None, "An exported model: a folder of versions, or one of them.")
_SERVER = flags.DEFINE_string("server", None, "HOST:PORT of tensorflow/serving's gRPC, or export.serve's.")
_MODEL_NAME = flags.DEFINE_string("model_name", "rgan_tf", "With --server: its name for the model.")
_VOCABULARY = flags.DEFINE_string(
    "vocabulary", None, "With --server, which tells no names: the vocabulary.json of the workspace's dataset folder."
)
_HOST = flags.DEFINE_string("host", "127.0.0.1", "Where to listen; 0.0.0.0 lets everyone in who reaches this machine.")
_PORT = flags.DEFINE_integer("port", 8050, "Of the page; 0: any free one.", lower_bound=0, upper_bound=65535)
_NAMES = flags.DEFINE_list("names", [], "With another --host: the names by which browsers may ask for the page.")
_PLACES = flags.DEFINE_integer("max_concurrency", 2, "Pictures that are drawn at once.", lower_bound=1)


def main() -> None:
    """Loads the model, opens the page, and waits to be stopped."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    hosts = None if _HOST.value in ("127.0.0.1", "localhost", "::1") else [_HOST.value, *_NAMES.value]
    application = make_application(_model(), _PLACES.value, hosts)
    # Werkzeug would tell of every request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    try:
        server = make_server(_HOST.value, _PORT.value, application.server, threaded=True)
    except (OSError, SystemExit) as error:
        raise UserError(
            f"The page cannot be opened on {_HOST.value}:{_PORT.value} ({error}); name a free --port."
        ) from error
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"The studio is open on http://{_HOST.value}:{server.server_port}/ (Ctrl-C closes it)", flush=True)
    stopping.wait()
    server.shutdown()
    print("Closed.", flush=True)


def _model() -> StudioModel:
    given = [name for name in (_WORKSPACE.value, _MODEL_DIR.value, _SERVER.value) if name]
    if len(given) != 1:
        raise UserError("Name one model: --workspace=DIR, --model_dir=DIR or --server=HOST:PORT.")
    if not _SERVER.value:
        return StudioModel.of_path(given[0])
    return StudioModel(ServedGenerator(GenerationClient(_SERVER.value, model=_MODEL_NAME.value), _vocabulary()))


def _vocabulary() -> Optional[Vocabulary]:
    if not _VOCABULARY.value:
        return None
    try:
        return Vocabulary.load(pathlib.Path(_VOCABULARY.value))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"--vocabulary={_VOCABULARY.value} cannot be read ({error}); it is a vocabulary.json."
        ) from error


if __name__ == "__main__":
    commands.run(main)
