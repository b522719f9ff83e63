"""Find the subnetwork of a trained classifier that does without its shortcuts, without group labels.

The names come in four groups: whole tasks, the stages of the method, its parts, results and errors. Each is imported
once it is used, so ``import prusc`` takes no time.
"""

import lazy_loader

from prusc.config.version import find_version

# Where each name comes from stands in __init__.pyi.
__getattr__, __dir__, _ = lazy_loader.attach_stub(__name__, __file__)

__all__ = [  # noqa: RUF022 -- in the order in which one needs them
    # Tasks
    "debias",
    "audit",
    "export",
    "audit_features",
    "inspect_modularity",
    "load_data",
    "Data",
    "Features",
    "Split",
    "RunConfig",
    # Stages
    "extract_representations",
    "cluster_representations",
    "build_debiasing_set",
    "learn_masks",
    "extract_subnetwork",
    "fit_head",
    "evaluate_groups",
    # Parts
    "MaskedModel",
    "BinaryMask",
    "apply_mask",
    "keep_zeros",
    "load_compact",
    "Cells",
    "cluster_contrastive_loss",
    "find_names",
    "find_label_issues",
    # Results and errors
    "DebiasingResult",
    "AuditResult",
    "FeaturesResult",
    "MethodResult",
    "ExportResult",
    "Names",
    "ModularityResult",
    "GroupEvaluation",
    "Representations",
    "Clustering",
    "DebiasingSet",
    "LearnedMasks",
    "Head",
    "PruscError",
    "ConfigError",
    "DataError",
    "ModelError",
    "TrainingError",
    "RunFolderError",
]

__version__ = find_version()
