"""What the builders of scenes share: records made in this process, or on Apache Beam where that is asked for."""

import abc
import functools
import json
import pathlib
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Callable, Optional

import tensorflow_datasets as tfds

from pipelines import on_beam, photographs
from pipelines.beam_options import BeamError
from rgan_tf.errors import UserError


class SceneBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A builder that knows whether its records are made on Beam, where its splits are transforms and not generators."""

    uses_beam = False

    def _download_and_prepare(self, dl_manager, download_config):
        self.uses_beam = download_config.beam_options is not None
        # Scenes of each split that were given out, and how many of them no record was made of.
        self._given: dict[str, int] = {}
        self._left_out: Counter = Counter()
        if not self.uses_beam:
            super()._download_and_prepare(dl_manager, download_config)
            return
        runner = download_config.beam_options.get_all_options()["runner"]
        try:
            super()._download_and_prepare(dl_manager, download_config)
        except UserError:
            raise
        except Exception as error:
            # A machine's error may come as the text of its trace.
            last = str(error).strip().splitlines()[-1]
            raise BeamError(f"Apache Beam ({runner}) failed: {last}") from error
        self._take_back()
        self._check_complete(runner)
        shutil.rmtree(self._beam_folder, ignore_errors=True)

    def _on_beam(
        self,
        split: str,
        scenes: int,
        parts: Sequence[Any],
        make: Callable[[Any], Iterable[on_beam.Made]],
        problems_file: Optional[pathlib.Path] = None,
    ):
        """What makes a split's records of so many scenes; the rest is `on_beam.records_of`'s."""
        self._given[split] = scenes
        return on_beam.records_of(parts, make, problems_file)

    def _take_back(self):
        """Called when Beam has made all records."""

    def _check_complete(self, runner: str) -> None:
        """A runner that loses what a machine had made, as the direct runner with worker processes was seen to do once,
        must not leave a data set with holes."""
        for split, given in self._given.items():
            made = self.info.splits[split].num_examples
            if made + self._left_out[split] != given:
                raise BeamError(
                    f"Apache Beam ({runner}) lost scenes: of {given} of the {split} split it made {made} records and "
                    f"left {self._left_out[split]} out; nothing of it was kept, run again."
                )

    @property
    def _beam_folder(self) -> pathlib.Path:
        """What the machines are given and give back beside records: beside the folder of those."""
        return pathlib.Path(self.data_dir).parent / "on_beam"


class PhotographBuilder(SceneBuilder, skip_registration=True):
    """A builder of photographs' scenes, which counts what is wrong with them."""

    @abc.abstractmethod
    def _note_problems(self, split: str, problems: Counter) -> None:
        """Puts what was wrong with a split's photographs into the metadata."""

    def _photographs(
        self,
        split: str,
        scenes: Sequence[Any],
        examine: Callable[[Any], photographs.Finding],
        to_record: Callable[[Any, photographs.Finding], dict],
        sources: str,
    ):
        """What makes a split's records; the arguments are those of `photographs.examples`.

        Scenes give themselves as a line, by `to_json`, and are made of one by `from_json`.
        """
        if not self.uses_beam:
            return self._generate_examples(split, scenes, examine, to_record, sources)
        lines = (scene.to_json() for scene in scenes)
        parts = on_beam.write_parts(lines, len(scenes), self._beam_folder / split)
        stride = photographs.key_stride(len(scenes))
        make = functools.partial(_make_part, type(scenes[0]).from_json, examine, to_record, stride)
        return self._on_beam(split, len(scenes), parts, make, self._problems_file(split))

    def _generate_examples(self, split, scenes, examine, to_record, sources) -> Iterator[tuple[int, dict]]:
        problems: Counter = Counter()
        journal = photographs.journal(self, split, sources)
        yield from photographs.examples(split, scenes, examine, to_record, problems, journal)
        self._note_problems(split, problems)

    def _problems_file(self, split: str) -> pathlib.Path:
        return self._beam_folder / f"{split}.problems.json"

    def _take_back(self):
        for split in self.info.splits:
            problems = Counter(json.loads(self._problems_file(split).read_text(encoding="utf-8")))
            self._left_out[split] = problems.pop(on_beam.LEFT_OUT, 0)
            self._note_problems(split, problems)


def _make_part(from_json, examine, to_record, stride, part):
    """Runs on Beam's machines: the scenes of a file, examined and made records."""
    for index, line in on_beam.read_part(part):
        scene = from_json(line)
        finding = examine(scene)
        example = (index * stride, to_record(scene, finding)) if finding.usable else None
        yield on_beam.Made(example, finding.problems)
