"""Find the subnetwork of a trained classifier that does not use the shortcut, without group labels."""

from importlib.metadata import version

from prusc.auditing import AuditResult as AuditResult
from prusc.auditing import audit as audit
from prusc.config import RunConfig as RunConfig
from prusc.data import Data as Data
from prusc.data import Split as Split
from prusc.data import load_data as load_data
from prusc.errors import PruscError as PruscError
from prusc.evaluation import evaluate_groups as evaluate_groups
from prusc.losses import cluster_contrastive_loss as cluster_contrastive_loss
from prusc.masks import BinaryMask as BinaryMask
from prusc.masks import MaskedModel as MaskedModel
from prusc.pipeline import debias as debias
from prusc.result import DebiasingResult as DebiasingResult

__version__ = version("prusc")
