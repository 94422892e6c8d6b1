"""A workspace's bank held against what was written: the checksums of its files and of every patch."""

import numpy as np

from pipelines.patch_bank.bank import PatchBank, PatchBankError
from rgan_tf.progress import progress_bar
from rgan_tf.workspace import Workspace

# Patches read at once.
_BATCH = 4096
# Ids named in a message.
_NAMED = 10


def verify(workspace: Workspace) -> list[str]:
    """Reads the whole bank, a batch of patches at a time.

    Returns:
      Lines that say what was compared.

    Raises:
      WorkspaceError: there is no bank.
      DamageError: a file but the patches' is not what was written.
      PatchBankError: a patch is not.
    """
    # Compares the files that have no checksums of their own.
    bank = PatchBank.open(workspace.directory("patch_bank"))
    removed = int(bank.removed.sum())
    if not bank.has_checksums:
        return [
            f"{len(bank)} patches; the bank is from before there were checksums, so that sizes alone were compared."
        ]
    differing = []
    with progress_bar(total=len(bank), desc="patches", unit="patch") as bar:
        for start in range(0, len(bank), _BATCH):
            rows = np.arange(start, min(start + _BATCH, len(bank)))
            differing.extend(bank.patch_id[bank.differing(rows)].tolist())
            bar.update(len(rows))
    if differing:
        named = ", ".join(map(str, differing[:_NAMED])) + (", …" if len(differing) > _NAMED else "")
        raise PatchBankError(
            f"{len(differing)} of {len(bank)} patches in {bank.directory} are not what was written (ids {named}); "
            f"{workspace.make_again('patch_bank')}."
        )
    return [f"{len(bank)} patches, {removed} of them removed: every file and every patch is what was written."]
