"""Writes the patch bank: crops every training object and appends it to the bank's arrays.

One pass over the scenes, a few of them in memory at a time. What is there is saved now and then, and a run that was
killed goes on from there; `bank.json` comes last, so a bank that was not finished cannot be opened. The package
describes the arrays.
"""

import json
import pathlib
import zlib
from collections.abc import Iterable
from typing import Callable

import numpy as np

from pipelines.patch_bank.bank import FORMAT_VERSION, MANIFEST, PatchBank, PatchBankError
from pipelines.patch_bank.cropping import CutScene
from rgan_tf import integrity
from rgan_tf.progress import progress_bar

# Scenes whose text is written at once.
_TEXT_SCENES = 65536
# Of a bank that is being made: what was saved of it, and a line a scene.
_SAVED, _SOURCES = "saved.json", "sources.jsonl"


class PatchBankWriter:
    """Writes a bank scene by scene, in the order of the training split.

    Used as a context manager, it completes the bank at a normal exit and leaves it without `bank.json`, and so
    unreadable, after an exception. What an earlier run saved in the folder, of a bank of the same sizes, is taken over:
    `scenes` tells how many there are already.
    """

    def __init__(self, directory, count, patch_size, graph_feature_dim, mattes=False, min_coverage=0.0):
        """Starts the arrays, or goes on with them.

        Args:
          directory: an existing or new folder for the arrays.
          count: number of patches (objects of all scenes) that will be added.
          patch_size: side of a patch in pixels.
          graph_feature_dim: D_g.
          mattes: whether patches have a fourth channel, which says what is the object's.
          min_coverage: share of a patch that must be the object's for it to be a candidate.
        """
        if count < 1 or patch_size < 1 or graph_feature_dim < 1:
            raise PatchBankError(
                f"A patch bank of {count} patches of side {patch_size} with {graph_feature_dim} graph features cannot "
                "be made; each number must be at least 1."
            )
        self._directory = pathlib.Path(directory)
        self._directory.mkdir(parents=True, exist_ok=True)
        (self._directory / MANIFEST).unlink(missing_ok=True)
        self._count, self._patch_size, self._graph_feature_dim = count, patch_size, graph_feature_dim
        self._mattes, self._min_coverage = mattes, min_coverage
        columns = {
            "patches": (np.uint8, (count, patch_size, patch_size, 4 if mattes else 3)),
            "patch_crc32": (np.uint32, (count,)),
            "category": (np.int32, (count,)),
            "graph_feature": (np.float32, (count, graph_feature_dim)),
            "patch_id": (np.int64, (count,)),
            "scene_index": (np.int32, (count,)),
            "object_index": (np.int32, (count,)),
            "box": (np.float32, (count, 4)),
            **({"coverage": (np.float32, (count,))} if mattes else {}),
        }
        self._paths = {name: self._directory / f"{name}.npy" for name in columns}
        self._paths[_SOURCES] = self._directory / _SOURCES
        sizes = self._saved_sizes()
        # Files are appended to, not mapped: a full disk is then an OSError where a written map would kill the process.
        if sizes:
            self._files = {name: _cut_to(path, sizes[name]) for name, path in self._paths.items()}
        else:
            self._files = {name: self._start(name, *column) for name, column in columns.items()}
            self._files[_SOURCES] = open(self._paths[_SOURCES], "wb")
        lines = self._paths[_SOURCES].read_text(encoding="utf-8").splitlines()
        self._sources = [tuple(json.loads(line)) for line in lines]
        self._rows = sum(number for _, _, number in self._sources)

    @property
    def scenes(self):
        """How many scenes the bank has."""
        return len(self._sources)

    @property
    def patches(self):
        """How many patches the bank has."""
        return self._rows

    def _saved_sizes(self):
        """Bytes of each file that an earlier run saved; empty where it was of another bank, or they are not there."""
        try:
            saved = integrity.read_json(self._directory / _SAVED, "delete it")
        except (FileNotFoundError, integrity.DamageError):
            return {}
        sizes = saved["sizes"]
        whole = sizes.keys() == self._paths.keys() and all(
            path.exists() and path.stat().st_size >= sizes[name] for name, path in self._paths.items()
        )
        return sizes if whole and saved["bank"] == self._bank else {}

    @property
    def _bank(self):
        return [self._count, self._patch_size, self._graph_feature_dim, *([self._min_coverage] if self._mattes else [])]

    def _start(self, name, dtype, shape):
        file = open(self._directory / f"{name}.npy", "wb")
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        return file

    def save(self):
        """Makes what is there the state that a later run goes on from."""
        for file in self._files.values():
            file.flush()
        sizes = {name: path.stat().st_size for name, path in self._paths.items()}
        integrity.write_json(self._directory / _SAVED, {"bank": self._bank, "sizes": sizes})

    def add(self, cut, graph_features):
        """Adds the next scene.

        Args:
          cut: a `cropping.CutScene`.
          graph_features: float [N, D_g] with N at least its number of objects; rows past those are padding.

        Raises:
          PatchBankError: on more patches than announced, or graph features of another shape.
        """
        number, shape = len(cut.category), np.shape(graph_features)
        place = f"Scene {self.scenes} (picture {cut.image_id!r})"
        if self._rows + number > self._count:
            raise PatchBankError(
                f"{place} exceeds the {self._count} patches announced; count the objects of every scene."
            )
        if len(shape) != 2 or shape[0] < number or shape[1] != self._graph_feature_dim:
            raise PatchBankError(
                f"{place} has graph features of shape {list(shape)}; they must be [{number} or more, "
                f"{self._graph_feature_dim}]."
            )
        self._append("patches", cut.patches)
        self._append("patch_crc32", np.array([zlib.crc32(patch.data) for patch in cut.patches], np.uint32))
        self._append("category", cut.category.astype(np.int32))
        self._append("graph_feature", np.asarray(graph_features[:number], np.float32))
        self._append("patch_id", np.arange(self._rows, self._rows + number, dtype=np.int64))
        self._append("scene_index", np.full(number, self.scenes, np.int32))
        self._append("object_index", np.arange(number, dtype=np.int32))
        self._append("box", cut.boxes)
        if self._mattes:
            self._append("coverage", np.mean(cut.patches[..., 3], axis=(1, 2), dtype=np.float32) / np.float32(255))
        self._rows += number
        source = (cut.image_id, cut.license, number)
        self._files[_SOURCES].write(f"{json.dumps(source)}\n".encode())
        self._sources.append(source)

    def _append(self, name, values):
        self._files[name].write(np.ascontiguousarray(values).tobytes())

    def close(self):
        """Completes the bank; raises PatchBankError, leaving it unreadable, when patches are missing."""
        self._close_files()
        if self._rows != self._count:
            raise PatchBankError(
                f"The bank in {self._directory} got {self._rows} of {self._count} announced patches; add every scene."
            )
        self._write_text("image_id", 0)
        self._write_text("license", 1)
        manifest = {
            "format": FORMAT_VERSION,
            "patches": self._count,
            "scenes": len(self._sources),
            "patch_size": self._patch_size,
            "graph_feature_dim": self._graph_feature_dim,
            "next_patch_id": self._count,
            **({"channels": 4, "min_coverage": self._min_coverage} if self._mattes else {}),
        }
        (self._directory / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        for name in (_SAVED, _SOURCES):
            (self._directory / name).unlink(missing_ok=True)

    def _write_text(self, name, field):
        # The width of a unicode array is known only now; one string a scene was kept until here.
        dtype = np.dtype(f"<U{max(1, max(len(source[field]) for source in self._sources))}")
        with self._start(name, dtype, (self._count,)) as file:
            for start in range(0, len(self._sources), _TEXT_SCENES):
                chunk = self._sources[start : start + _TEXT_SCENES]
                values = np.array([source[field] for source in chunk], dtype)
                file.write(np.repeat(values, [source[2] for source in chunk]).tobytes())

    def _close_files(self):
        for file in self._files.values():
            file.close()

    def __enter__(self):
        """Returns the writer."""
        return self

    def __exit__(self, kind, error, trace):
        """Completes the bank, or after an exception only closes its files."""
        if kind is None:
            self.close()
        else:
            self._close_files()


def _cut_to(path, size):
    """A file opened to append to its first bytes."""
    file = open(path, "r+b")
    file.truncate(size)
    file.seek(size)
    return file


def build(
    cuts_from: Callable[[int], Iterable[tuple[CutScene, np.ndarray]]],
    directory,
    count,
    patch_size,
    graph_feature_dim,
    save_every=1024,
    progress=True,
    mattes=False,
    min_coverage=0.0,
):
    """Writes a whole bank, or the rest of one that an earlier run began in the same folder, and opens it.

    Args:
      cuts_from: called with a number of scenes; gives the pairs (cut scene, graph features) that come after so many:
        of `cropping.cut_in_threads`, or crops that were made before.
      directory: as of PatchBankWriter, like the next three and the last two.
      count: number of patches.
      patch_size: side of a patch in pixels.
      graph_feature_dim: D_g.
      save_every: scenes after which what is there is saved.
      progress: whether a bar is shown.
      mattes: as of PatchBankWriter.
      min_coverage: as of PatchBankWriter.
    """
    with PatchBankWriter(directory, count, patch_size, graph_feature_dim, mattes, min_coverage) as writer:
        with progress_bar(
            total=count, initial=writer.patches, unit="patch", desc="patch bank", disable=not progress
        ) as bar:
            for cut, graph_features in cuts_from(writer.scenes):
                writer.add(cut, graph_features)
                bar.update(len(cut.category))
                if writer.scenes % save_every == 0:
                    writer.save()
    return PatchBank.open(directory)
