"""Losses: pure functions of tensors, never of a model."""

from prusc.losses.contrastive import ContrastiveTerms as ContrastiveTerms
from prusc.losses.contrastive import cluster_contrastive_loss as cluster_contrastive_loss
from prusc.losses.contrastive import cluster_contrastive_terms as cluster_contrastive_terms
