"""The main job: from a network that takes shortcuts to one that does without them, stage by stage."""

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor, nn

from prusc.candidates import Candidate, Setting, try_candidates
from prusc.clustering import Clustering, ClusterCountTrial, cluster_representations, given_clustering
from prusc.config import RunConfig
from prusc.data import Data, InputTransform, Split, load_data
from prusc.data.batches import take_inputs
from prusc.debiasing_set import DebiasingSet, build_debiasing_set
from prusc.errors import RunFolderError
from prusc.evaluation import GroupEvaluation, evaluate_groups
from prusc.mask_learning import LearnedMasks, MaskHistoryEntry, learn_masks
from prusc.masks import BinaryMask, maskable_parameters
from prusc.models import build_model, find_head, load_weights, model_normalisation, read_weights, to_device
from prusc.progress import Progress, SilentProgress
from prusc.representations import Representations, extract_representations
from prusc.result import VERDICT_TEXTS, CandidateSummary, DebiasingResult, Verdict
from prusc.run_files import read_clustering, read_masks, write_clustering, write_masks, write_result
from prusc.run_folder import RunFolder, read_cluster_csv
from prusc.runtime import Runtime, stage_generator
from prusc.selection import PseudoGroups, make_pseudo_groups
from prusc.subnetwork import extract_subnetwork
from prusc.training import epoch_batches, num_epoch_batches, train_weights
