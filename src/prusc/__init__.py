"""Find the subnetwork of a trained classifier that does not use the shortcut, without group labels."""

from importlib.metadata import version

from prusc.config import RunConfig as RunConfig
from prusc.data import Data as Data
from prusc.data import Split as Split
from prusc.data import load_data as load_data
from prusc.errors import PruscError as PruscError
from prusc.losses import cluster_contrastive_loss as cluster_contrastive_loss
from prusc.masks import BinaryMask as BinaryMask
from prusc.masks import MaskedModel as MaskedModel
from prusc.report import with_report
from prusc.runs.audit import AuditResult as AuditResult
from prusc.runs.audit import audit as _audit
from prusc.runs.debias import debias as _debias
from prusc.runs.result import DebiasingResult as DebiasingResult
from prusc.stages.evaluation import evaluate_groups as evaluate_groups

# Every run folder holds a report. The stages know nothing of reports, so it is here that they come together.
audit, debias = with_report(_audit), with_report(_debias)

__version__ = version("prusc")
