"""PruSC's entry among the remedies; its stages are :func:`prusc.debias`."""

from prusc.config import MaskConfig
from prusc.methods.method import Method

PRUSC = Method(
    name="prusc",
    title="PruSC",
    paper="Le et al. 2024, arXiv:2407.14974",
    group_labels="none",
    train=None,
    settings=(MaskConfig(),),
    starts_from_erm=True,
)
