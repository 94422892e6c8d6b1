"""Trains RetrieveGAN from nothing: python -m rgan_tf.train --config_file=… --workspace=…

Runs every stage that is missing or stale, in order: data set, graph encoder, patch bank, candidates, co-occurrence
embedding, and the adversarial training of the full model. A run that was killed goes on where its last checkpoint is.
"""

from absl import flags

from rgan_tf import commands  # isort: split

from rgan_tf import config as config_lib
from rgan_tf import preflight
from rgan_tf.training import runtime
from rgan_tf.training.stages import StageRunner
from rgan_tf.workspace import STAGES, Workspace

_CONFIG_FILE = flags.DEFINE_string("config_file", None, "YAML configuration; see configs/.", required=True)
_WORKSPACE = flags.DEFINE_string("workspace", None, "Directory of the experiment's artifacts.", required=True)
_STAGE = flags.DEFINE_enum("stage", "", ["", *STAGES], "Run this stage alone; its inputs must be current.")
_OVERRIDE = flags.DEFINE_string("params_override", "", "Fields to override: key=value,key.subkey=value.")
_STRATEGY = flags.DEFINE_string("distribution_strategy", "", "Overrides runtime.distribution_strategy.")
_HOSTS = flags.DEFINE_string("worker_hosts", "", "All workers as host:port,host:port; sets runtime.worker_hosts.")
_TASK = flags.DEFINE_integer("task_index", -1, "This process's place among them, from 0; sets runtime.task_index.")
_PROFILE = flags.DEFINE_string("profile_steps", "", "First and last step of the main training to trace, e.g. 10,15.")


def main() -> None:
    """Applies the runtime configuration and runs the stages."""
    config = _configuration()
    workspace, strategy = Workspace(_WORKSPACE.value), runtime.prepare(config.runtime)
    preflight.check(config, workspace, [_STAGE.value] if _STAGE.value else list(STAGES), strategy)
    StageRunner(workspace, config, strategy, _PROFILE.value).run(_STAGE.value)


def _configuration() -> config_lib.ExperimentConfig:
    overrides = [_OVERRIDE.value]
    strategy = _STRATEGY.value or ("multi_worker_mirrored" if _HOSTS.value else "")
    if strategy:
        overrides.append(f"runtime.distribution_strategy='{strategy}'")
    if _TASK.value >= 0 and not _HOSTS.value:
        overrides.append(f"runtime.task_index={_TASK.value}")
    config = config_lib.load_config(_CONFIG_FILE.value, ",".join(filter(None, overrides)))
    if _HOSTS.value:
        # Not among the overrides, which commas part from each other.
        config.runtime.worker_hosts, config.runtime.task_index = _HOSTS.value, _TASK.value
        config_lib.validate(config)
    return config


if __name__ == "__main__":
    commands.run(main)
