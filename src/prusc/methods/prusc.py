"""PruSC among the remedies; its stages are those of :func:`prusc.debias`."""

from dataclasses import dataclass
from typing import Any

from prusc.config import MaskConfig, RunConfig
from prusc.errors import ConfigError
from prusc.methods.method import Method, MethodResult
from prusc.runs.debias import debias_session
from prusc.runs.session import Session


@dataclass(frozen=True)
class _PruSC(Method):
    """PruSC: its settings are those of the run, and what it hands back is called ``subnetwork``."""

    @property
    def family(self) -> str:
        """``subnetwork``."""
        return "subnetwork"

    @property
    def shared_stages(self) -> frozenset[str]:
        """The evaluation alone: for the other remedies the clusters only judge."""
        return frozenset({"evaluation"})

    def fits_validation(self, config: RunConfig) -> bool:
        """Whether heads, or masks, are learned on validation samples."""
        return config.trains_on_validation

    def settings_to_try(self, config: RunConfig) -> tuple[Any, ...]:
        """Return the one setting; what is tried are the candidates of the run.

        Raises:
            ConfigError: If there are ``config.method_options``.
        """
        if config.method_options:
            raise ConfigError("method_options are for the other remedies; the settings of prusc are those of the run")
        return self.settings

    def apply(self, session: Session) -> MethodResult:
        """Go through the stages of PruSC."""
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
