"""Losses: pure functions of tensors, never of a model."""

from prusc.losses.contrastive import ContrastiveTerms as ContrastiveTerms
from prusc.losses.contrastive import cluster_contrastive_loss as cluster_contrastive_loss
from prusc.losses.contrastive import cluster_contrastive_terms as cluster_contrastive_terms
from prusc.losses.debiased_contrastive import debiased_contrastive_terms as debiased_contrastive_terms
from prusc.losses.generalized_cross_entropy import generalized_cross_entropy as generalized_cross_entropy
from prusc.losses.invariance import full_batch_irm_loss as full_batch_irm_loss
from prusc.losses.invariance import irm_loss as irm_loss
from prusc.losses.invariance import scale_gradients as scale_gradients
from prusc.losses.prototypes import prototype_similarity as prototype_similarity
from prusc.losses.unit_rows import unit_rows as unit_rows
