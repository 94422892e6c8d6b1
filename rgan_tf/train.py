"""Trains RetrieveGAN from nothing: python -m rgan_tf.train --config_file=… --workspace=…

Runs every stage that is missing or stale, in order: data set, graph encoder, patch bank, candidates, co-occurrence
embedding, and the adversarial training of the full model; of another model (`model` in the configuration) those that it
needs. A run that was killed goes on where its last checkpoint is.
"""

from absl import flags

from rgan_tf import commands  # isort: split

from pipelines.beam_options import parse_beam_options
from rgan_tf import config as config_lib
from rgan_tf import preflight
from rgan_tf.fingerprints import STAGES, stages_of
from rgan_tf.training import runtime
from rgan_tf.training.stages import StageRunner
from rgan_tf.workspace import Workspace


def main() -> None:
    """Applies the runtime configuration and runs the stages."""
    given = flags.FLAGS
    config, beam_options = configuration(given), parse_beam_options(given.beam_pipeline_options)
    workspace, strategy = Workspace(given.workspace, config.model), runtime.prepare(config.runtime)
    preflight.check(config, workspace, [given.stage] if given.stage else stages_of(config.model), strategy)
    StageRunner(workspace, config, strategy, given.profile_steps, beam_options).run(given.stage)


def configuration(given) -> config_lib.ExperimentConfig:
    """What the flags describe: the file, overrides, strategy, and the workers."""
    overrides = [given.params_override]
    strategy = given.distribution_strategy or ("multi_worker_mirrored" if given.worker_hosts else "")
    if strategy:
        overrides.append(f"runtime.distribution_strategy='{strategy}'")
    if given.task_index >= 0 and not given.worker_hosts:
        overrides.append(f"runtime.task_index={given.task_index}")
    config = config_lib.load_config(given.config_file, ",".join(filter(None, overrides)))
    if given.worker_hosts:
        # Not among the overrides, which commas part from each other.
        config.runtime.worker_hosts, config.runtime.task_index = given.worker_hosts, given.task_index
        config_lib.validate(config)
    return config


if __name__ == "__main__":
    flags.DEFINE_string("config_file", None, "YAML configuration; see configs/.", required=True)
    flags.DEFINE_string("workspace", None, "Directory of the experiment's artifacts.", required=True)
    flags.DEFINE_enum("stage", "", ["", *STAGES], "Run this stage alone; its inputs must be current.")
    flags.DEFINE_string("params_override", "", "Fields to override: key=value,key.subkey=value.")
    flags.DEFINE_string("distribution_strategy", "", "Overrides runtime.distribution_strategy.")
    flags.DEFINE_string("worker_hosts", "", "All workers as host:port,host:port; sets runtime.worker_hosts.")
    flags.DEFINE_integer("task_index", -1, "This process's place among them, from 0; sets runtime.task_index.")
    flags.DEFINE_string("profile_steps", "", "First and last step of the main training to trace, e.g. 10,15.")
    flags.DEFINE_string(
        "beam_pipeline_options",
        "",
        "Makes records and crops on Apache Beam, e.g. runner=DirectRunner,direct_num_workers=2; see docs/data.md.",
    )
    commands.run(main)
