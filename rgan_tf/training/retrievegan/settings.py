"""RetrieveGAN's own section of the configuration: none, since the sections around it are its."""

import dataclasses

from official.modeling import hyperparams


@dataclasses.dataclass
class Settings(hyperparams.Config):
    """Empty."""
