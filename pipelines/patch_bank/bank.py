"""A finished patch bank, opened; the package's docstring has its arrays."""

import json
import math
import os
import pathlib
import zlib

import numpy as np

from rgan_tf.errors import UserError

MANIFEST = "bank.json"
FORMAT_VERSION = 1
# Of the co-occurrence stage: float32 [M, D_o].
EMBEDDINGS = "embeddings.npy"
# The category of a tombstone; nothing ever asks for it, since objects' categories start at 1.
REMOVED_CATEGORY = 0


class PatchBankError(UserError):
    """A bank that cannot be written or read; the message names the place, the value and the mend."""


def damaged(directory, what: str) -> PatchBankError:
    """The error for a bank of which something cannot be read."""
    return PatchBankError(f"{what}; delete {directory} and run the stage that makes it again (--stage=patch_bank).")


def candidate_lists(path, mode=None):
    """A split's candidates, as the stage leaves them: int32 [S, N, k_max], in memory or mapped by NumPy's `mode`.

    Raises:
      PatchBankError: the file cannot be read.
    """
    try:
        return np.load(path, mmap_mode=mode, allow_pickle=False)
    except (OSError, EOFError, ValueError, SyntaxError) as error:
        raise PatchBankError(
            f"{path} cannot be read ({error}); delete its folder and run its stage again (--stage=candidates)."
        ) from error


class StoredRows:
    """Rows of a .npy file, each read from its place in the file straight into the result.

    A memory map of the whole file would serve too, but the kernel maps whatever lies together in its cache around each
    page that is touched: random reads made a freshly written bank of 4.6 GiB resident as a whole, and were not faster.
    Here only the result ever is, and a file cut short is an error instead of a bus error.
    """

    def __init__(self, path):
        """Opens the array at `path`, in C order, read only.

        Raises:
          PatchBankError: there is none, or it is not whole.
        """
        try:
            self._path, self._file = path, open(path, "rb", buffering=0)
            np.lib.format.read_magic(self._file)
            self.shape, _, self.dtype = np.lib.format.read_array_header_1_0(self._file)
        except (OSError, ValueError, SyntaxError) as error:
            raise PatchBankError(f"{path} cannot be read ({error}); it is damaged, run its stage again.") from error
        self._offset = self._file.tell()
        self._row_bytes = self.dtype.itemsize * math.prod(self.shape[1:])
        size, expected = os.fstat(self._file.fileno()).st_size, self._offset + self.shape[0] * self._row_bytes
        if size != expected:
            raise PatchBankError(f"{path} has {size} bytes instead of {expected}; it is damaged, run its stage again.")

    def gather(self, rows):
        """Returns [..., row's shape] for int `rows` [...], zeros where a row is -1; callable from any thread.

        Raises:
          IndexError: on a row that does not exist.
          PatchBankError: on a file that is shorter than its header says.
        """
        rows = np.asarray(rows)
        if rows.size and (rows.min() < -1 or rows.max() >= self.shape[0]):
            raise IndexError(
                f"Rows from {rows.min()} to {rows.max()} were asked of {self._path}, which has {self.shape[0]}; "
                "rows start at 0, and -1 stands for none."
            )
        result = np.zeros((rows.size, self._row_bytes), np.uint8)
        descriptor = self._file.fileno()
        for target, row in zip(result, rows.reshape(-1).tolist()):
            if row >= 0 and os.preadv(descriptor, [target], self._offset + row * self._row_bytes) != self._row_bytes:
                raise PatchBankError(f"{self._path} ends before its row {row}; it is damaged, run its stage again.")
        return result.view(self.dtype).reshape(rows.shape + self.shape[1:])


class PatchBank:
    """A finished bank.

    The small arrays that the package names are attributes, memory-mapped; patches and co-occurrence embeddings
    are gathered by row. `patch_shape` is (h, w, C).
    """

    def __init__(self, directory, cooccurrence_path=None):
        """As `open`."""
        self.directory = pathlib.Path(directory)
        manifest = self._manifest()
        self.num_scenes = manifest["scenes"]
        self.patch_size = manifest["patch_size"]
        self.next_patch_id = manifest["next_patch_id"]
        self.patch_shape = (self.patch_size, self.patch_size, manifest["channels"])
        self._patches = self._open_patches(manifest["patches"])
        self.category = self._column("category")
        self._min_coverage = manifest["min_coverage"]
        self._coverage = self._column("coverage") if self.has_mattes else None
        self.graph_feature = self._column("graph_feature")
        self.patch_id = self._column("patch_id")
        self.scene_index = self._column("scene_index")
        self.object_index = self._column("object_index")
        self.box = self._column("box")
        self.image_id = self._column("image_id")
        self.license = self._column("license")
        # Of each patch; a bank of before there were checksums has none. Read once, a patch is not checked again.
        has_checksums = (self.directory / "patch_crc32.npy").exists()
        self._checksums = self._column("patch_crc32") if has_checksums else None
        self._intact = np.zeros(len(self), bool)
        self._cooccurrence = None
        if cooccurrence_path is not None:
            self._cooccurrence = StoredRows(cooccurrence_path)
            if self._cooccurrence.shape[:1] != (len(self),) or len(self._cooccurrence.shape) != 2:
                raise PatchBankError(
                    f"{cooccurrence_path} has the shape {list(self._cooccurrence.shape)}; this bank needs "
                    f"[{len(self)}, features]. Run the co-occurrence stage again."
                )

    @classmethod
    def open(cls, directory, cooccurrence_path=None):
        """Opens a bank.

        Args:
          directory: the bank's folder.
          cooccurrence_path: .npy file float32 [M, D_o] with the patches' co-occurrence embeddings, made later and kept
            elsewhere by another stage; None where they are not needed.

        Raises:
          PatchBankError: where there is no whole bank, or where the embeddings belong to another bank.
        """
        return cls(directory, cooccurrence_path)

    def _manifest(self):
        path = self.directory / MANIFEST
        if not path.is_file():
            raise PatchBankError(f"{self.directory} holds no whole patch bank ({MANIFEST} is missing); build it first.")
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            if manifest["format"] != FORMAT_VERSION:
                raise PatchBankError(
                    f"{path} has format {manifest['format']}; this version reads {FORMAT_VERSION}. Rebuild it."
                )
            counts = {name: int(manifest[name]) for name in ("patches", "scenes", "patch_size", "next_patch_id")}
            # Banks of before there were mattes say nothing of them.
            channels, least = int(manifest.get("channels", 3)), float(manifest.get("min_coverage", 0.0))
            return {**counts, "channels": channels, "min_coverage": least}
        except PatchBankError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise damaged(self.directory, f"{path} is damaged ({type(error).__name__}: {error})") from error

    def _column(self, name):
        path = self.directory / f"{name}.npy"
        try:
            column = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, EOFError, ValueError, SyntaxError) as error:
            raise damaged(self.directory, f"{path} cannot be read ({error})") from error
        if column.shape[:1] != (len(self),):
            raise damaged(self.directory, f"{path} has the shape {list(column.shape)}, not {len(self)} rows")
        return column

    def _open_patches(self, count):
        rows, shape = StoredRows(self.directory / "patches.npy"), (count, *self.patch_shape)
        if rows.shape != shape or rows.dtype != np.uint8:
            found = f"{rows.dtype}{list(rows.shape)}"
            raise damaged(self.directory, f"{self.directory / 'patches.npy'} holds {found}, not uint8{list(shape)}")
        return rows

    def __len__(self):
        """Number of patches."""
        return self._patches.shape[0]

    @property
    def removed(self):
        """bool [M], the tombstones of removed patches; read anew, so that a removal shows in a bank that is open."""
        return np.asarray(self.category) == REMOVED_CATEGORY

    @property
    def has_mattes(self):
        """Whether patches say what of them is the object's, by a fourth channel."""
        return self.patch_shape[-1] == 4

    @property
    def offered(self):
        """int32 [M], the category for whose objects a patch may be a candidate; `REMOVED_CATEGORY` where for none, as
        it was removed or too little of it is the object's (`patch_bank.min_coverage`)."""
        category = np.asarray(self.category)
        if self._coverage is None:
            return category
        return np.where(np.asarray(self._coverage) >= self._min_coverage, category, REMOVED_CATEGORY)

    def row_of(self, patch_id):
        """The row, int, of a patch by its id.

        Raises:
          PatchBankError: the bank has no such patch, or had it and it was removed.
        """
        found = np.flatnonzero(np.asarray(self.patch_id) == patch_id)
        if not len(found):
            raise PatchBankError(
                f"The bank in {self.directory} holds no patch {patch_id}; its ids go from {self.patch_id.min()} to "
                f"{self.patch_id.max()}."
            )
        if self.category[found[0]] == REMOVED_CATEGORY:
            raise PatchBankError(
                f"Patch {patch_id} was removed from the bank in {self.directory} for good; choose another."
            )
        return int(found[0])

    def gather_patches(self, rows):
        """Patches uint8 [..., h, w, C] of int rows [...]; zeros for row -1. Only the result is held in memory.

        Raises:
          PatchBankError: a patch is not what was written.
        """
        patches = self._patches.gather(rows)
        if self.has_checksums:
            flat = np.asarray(rows).reshape(-1)
            unseen = np.flatnonzero((flat >= 0) & ~self._intact[flat])
            self._compare(flat[unseen], patches.reshape(-1, *patches.shape[-3:])[unseen])
        return patches

    @property
    def has_checksums(self):
        """Whether each patch has one."""
        return self._checksums is not None

    def differing(self, rows, patches=None):
        """Those of int rows [n] whose patches are not what was written; the bank must have checksums.

        Args:
          rows: to compare.
          patches: uint8 [n, h, w, C], their patches, where they were read already.
        """
        patches = self._patches.gather(rows) if patches is None else patches
        found = np.array([zlib.crc32(patch.data) for patch in patches], np.uint32)
        differing = rows[found != self._checksums[rows]]
        # A removal may go on at this moment; it takes the category first.
        return differing[self.category[differing] != REMOVED_CATEGORY]

    def _compare(self, rows, patches):
        differing = self.differing(rows, patches)
        if len(differing):
            path = self.directory / "patches.npy"
            raise damaged(self.directory, f"{path} is damaged: its row {differing[0]} is not what was written")
        self._intact[rows] = True

    @property
    def has_cooccurrence(self):
        """Whether it was opened with co-occurrence embeddings."""
        return self._cooccurrence is not None

    @property
    def cooccurrence_dim(self):
        """D_o of the co-occurrence embeddings."""
        return self._cooccurrence.shape[1]

    def gather_cooccurrence(self, rows):
        """Co-occurrence embeddings float32 [..., D_o] of int rows [...]; zeros for row -1."""
        if self._cooccurrence is None:
            raise PatchBankError(
                f"The bank in {self.directory} was opened without co-occurrence embeddings; give their path."
            )
        return self._cooccurrence.gather(rows)

    def scene_rows(self, max_objects=None):
        """The bank row of every object of every scene.

        Args:
          max_objects: N of the result; by default that of the scene with the most objects.

        Returns:
          int32 [S, N], -1 where a scene has no such object or the object's patch was removed.
        """
        most = int(self.object_index.max()) + 1
        max_objects = most if max_objects is None else max_objects
        if most > max_objects:
            raise PatchBankError(f"A scene of the bank has {most} objects; max_objects is {max_objects}. Raise it.")
        table = np.full((self.num_scenes, max_objects), -1, np.int32)
        kept = np.flatnonzero(~self.removed)
        table[self.scene_index[kept], self.object_index[kept]] = kept
        return table
