"""What all commands share: how they start, and how they fail. Imported before anything that loads TensorFlow."""

import os
import sys
import warnings
from typing import Callable, NoReturn

from absl import app, logging

from rgan_tf.errors import UserError

# TensorFlow's start-up messages (missing CUDA plug-ins and the like) drown ours; what really fails is raised as well.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# TensorFlow leaves oneDNN's convolutions off where the CPU lacks AVX-512, though they are faster there, too.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
for _notice in ("(?s).*TensorFlow Addons", "pkg_resources is deprecated"):
    warnings.filterwarnings("ignore", message=_notice)
warnings.filterwarnings("ignore", category=FutureWarning, module="google")
# tensorflow-datasets says these of every data set that is made for a configuration, as all of ours are.
_DATASET_NOTICES = ("Using custom data configuration", "has no dataset_info.json")
logging.get_absl_logger().addFilter(lambda record: not any(n in record.getMessage() for n in _DATASET_NOTICES))


def fail(*sentences: str) -> NoReturn:
    """Ends the command as errors for people end it, with a line for each sentence."""
    for sentence in sentences:
        print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)


def run(main: Callable[[], None]) -> None:
    """Runs a command's main function after its flags are parsed; a `UserError` becomes a sentence and exit status 2."""

    def checked(argv: list[str]) -> None:
        if len(argv) > 1:
            raise app.UsageError(f"{argv[1]!r} is not a flag; see --help.")
        try:
            main()
        except UserError as error:
            fail(str(error))

    # Libraries' notices are left out; what users should see is printed.
    logging.set_verbosity(logging.WARNING)
    app.run(checked)
