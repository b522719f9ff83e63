"""Masks: random masks with a gradient, binary masks, and networks with learnable masks."""

from prusc.masks.binary_mask import BinaryMask as BinaryMask
from prusc.masks.binary_mask import apply_mask as apply_mask
from prusc.masks.binary_mask import keep_zeros as keep_zeros
from prusc.masks.channel_groups import ChannelGroup as ChannelGroup
from prusc.masks.channel_groups import ChannelMap as ChannelMap
from prusc.masks.channel_groups import channel_mask as channel_mask
from prusc.masks.channel_masked_model import ChannelMaskedModel as ChannelMaskedModel
from prusc.masks.channel_masked_model import keep_units as keep_units
from prusc.masks.checkpointing import no_checkpointing as no_checkpointing
from prusc.masks.gumbel_sigmoid import sample_masked_weight as sample_masked_weight
from prusc.masks.gumbel_sigmoid import sample_masked_weights as sample_masked_weights
from prusc.masks.masked_model import MaskedModel as MaskedModel
from prusc.masks.masked_model import left_out_parameters as left_out_parameters
from prusc.masks.masked_model import maskable_parameters as maskable_parameters
from prusc.masks.masked_model import module_modes as module_modes
from prusc.masks.masked_model import whole_mask as whole_mask
from prusc.masks.plain_network import list_changes as list_changes
from prusc.masks.plain_network import plain_network as plain_network
