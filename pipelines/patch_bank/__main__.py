"""Takes patches down: python -m pipelines.patch_bank --workspace=… --remove=IDS_FILE.

It is refused while a stage of the workspace is being made; `removal` does the work.
"""

from absl import flags

from rgan_tf import commands  # isort: split

from pipelines.patch_bank import removal
from rgan_tf.workspace import Workspace

_WORKSPACE = flags.DEFINE_string("workspace", None, "The workspace whose bank is to lose patches.", required=True)
_REMOVE = flags.DEFINE_string(
    "remove", None, "File of patch ids, one a line; # starts a comment. Nothing brings them back.", required=True
)
_UNTOUCHED = (
    "Not touched: the data set's records, trained weights, and pictures in TensorBoard's files.",
    "Exports made before, and the versions of them that TF Serving serves, still hold the patches: "
    "export again and put the new version in their place.",
)


def main() -> None:
    """Removes the patches and says what changed."""
    for line in (*removal.remove(Workspace(_WORKSPACE.value), _REMOVE.value), *_UNTOUCHED):
        print(line)


if __name__ == "__main__":
    commands.run(main)
