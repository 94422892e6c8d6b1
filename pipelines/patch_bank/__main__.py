"""Takes patches down, or verifies a bank: python -m pipelines.patch_bank --workspace=… --remove=IDS_FILE | --verify.

A removal is refused while a stage of the workspace is being made; `removal` and `verification` do the work.
"""

from absl import flags

from rgan_tf import commands  # isort: split

from pipelines.patch_bank import removal, verification
from rgan_tf.errors import UserError
from rgan_tf.workspace import Workspace

_UNTOUCHED = (
    "Not touched: the data set's records, trained weights, and pictures in TensorBoard's files.",
    "Exports made before, and the versions of them that TF Serving serves, still hold the patches: "
    "export again and put the new version in their place.",
)


def main() -> None:
    """Removes the patches and says what changed, or says that all is as it was written."""
    given = flags.FLAGS
    if bool(given.remove) == given.verify:
        raise UserError("Give --remove=IDS_FILE to take patches down, or --verify to compare checksums, and not both.")
    workspace = Workspace(given.workspace)
    lines = verification.verify(workspace) if given.verify else [*removal.remove(workspace, given.remove), *_UNTOUCHED]
    for line in lines:
        print(line)


if __name__ == "__main__":
    flags.DEFINE_string("workspace", None, "The workspace whose bank it is.", required=True)
    flags.DEFINE_string("remove", "", "File of patch ids, one a line; # starts a comment. Nothing brings them back.")
    flags.DEFINE_bool("verify", False, "Compare every file and every patch with its checksum.")
    commands.run(main)
