"""PruSC behind the contract of a method; its stages are those of `prusc.debias`."""

from dataclasses import dataclass
from typing import Any

from prusc.config import MaskConfig, RunConfig
from prusc.errors import ConfigError
from prusc.methods.method import Method, MethodResult
from prusc.runs.debias import debias_session
from prusc.runs.session import Session


@dataclass(frozen=True)
class _PruSC(Method):
    """PruSC: its settings are those of the run, and its chosen network is called ``subnetwork``."""

    @property
    def family(self) -> str:
        """``subnetwork``, whether or not the chosen network has a mask."""
        return "subnetwork"

    @property
    def shared_stages(self) -> frozenset[str]:
        """Only the evaluation: PruSC pays for its clusters, which merely judge the other methods."""
        return frozenset({"evaluation"})

    def fits_validation(self, config: RunConfig) -> bool:
        """Return whether these settings fit heads or masks to validation samples."""
        return config.trains_on_validation

    def settings_to_try(self, config: RunConfig, num_train: int) -> tuple[Any, ...]:
        """Return the one setting, because PruSC chooses among its own candidates.

        Raises:
            ConfigError: If ``config.method_options`` is not empty.
        """
        del num_train
        self.read_options(config)
        return self.settings

    def read_options(self, config: RunConfig) -> None:
        """Check that there are no options of another method.

        Raises:
            ConfigError: If ``config.method_options`` is not empty.
        """
        if config.method_options:
            raise ConfigError(
                f"method_options are for the other methods, found {config.method_options!r}; the settings of PruSC are "
                "those of the run, such as masks.steps"
            )

    def apply(self, session: Session) -> MethodResult:
        """Run the stages of PruSC."""
        done = debias_session(session)
        return MethodResult(
            method=self,
            model=done.model,
            erm=done.erm,
            chosen=done.chosen["subnetwork"],
            judged_by=done.judged_by,
            evaluations=done.evaluations,
            seconds=done.seconds,
            debiasing=done,
        )


PRUSC = _PruSC(
    name="prusc",
    title="PruSC",
    paper="Le et al. 2024, arXiv:2407.14974",
    group_labels="none",
    settings=(MaskConfig(),),
    starts_from_erm=True,
)
