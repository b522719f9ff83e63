from . import config as config
from . import methods as methods
from .config import RunConfig as RunConfig
from .data import Data as Data
from .data import Split as Split
from .data import load_data as load_data
from .data.features import Features as Features

# Results and errors
from .errors import ConfigError as ConfigError
from .errors import DataError as DataError
from .errors import ModelError as ModelError
from .errors import PruscError as PruscError
from .errors import RunFolderError as RunFolderError
from .errors import TrainingError as TrainingError

# Parts
from .losses import cluster_contrastive_loss as cluster_contrastive_loss
from .masks import BinaryMask as BinaryMask
from .masks import MaskedModel as MaskedModel
from .masks import apply_mask as apply_mask
from .masks import keep_zeros as keep_zeros
from .methods.method import MethodResult as MethodResult
from .models.shrinking import load_compact as load_compact
from .report.tasks import audit as audit
from .report.tasks import audit_features as audit_features
from .report.tasks import debias as debias
from .report.tasks import inspect_modularity as inspect_modularity
from .runs.audit import AuditResult as AuditResult
from .runs.export.task import ExportResult as ExportResult
from .runs.export.task import export as export
from .runs.features import FeaturesResult as FeaturesResult
from .runs.modularity import ModularityResult as ModularityResult
from .runs.result import DebiasingResult as DebiasingResult
from .runs.samples.names import Names as Names
from .runs.samples.names import find_names as find_names
from .stages import modularity as modularity
from .stages.audit.label_issues import find_label_issues as find_label_issues
from .stages.cells import Cells as Cells

# Stages
from .stages.debiasing_set import DebiasingSet as DebiasingSet
from .stages.debiasing_set import build_debiasing_set as build_debiasing_set
from .stages.evaluation import GroupEvaluation as GroupEvaluation
from .stages.evaluation import evaluate_groups as evaluate_groups
from .stages.heads import Head as Head
from .stages.heads import fit_head as fit_head
from .stages.mask_learning import LearnedMasks as LearnedMasks
from .stages.mask_learning import learn_masks as learn_masks
from .stages.pseudo_attributes.clustering import Clustering as Clustering
from .stages.pseudo_attributes.clustering import cluster_representations as cluster_representations
from .stages.representations import Representations as Representations
from .stages.representations import extract_representations as extract_representations
from .stages.subnetwork import extract_subnetwork as extract_subnetwork

__version__: str
