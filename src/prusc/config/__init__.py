"""All settings and their defaults, as frozen dataclasses that validate themselves."""

from prusc.config.data import USE_OPTIONS as USE_OPTIONS
from prusc.config.data import DataConfig as DataConfig
from prusc.config.data import StickerConfig as StickerConfig
from prusc.config.files import read_config as read_config
from prusc.config.plain import config_from_dict as config_from_dict
from prusc.config.plain import config_to_dict as config_to_dict
from prusc.config.run import RunConfig as RunConfig
from prusc.config.run import RuntimeConfig as RuntimeConfig
from prusc.config.run import is_function_name as is_function_name
from prusc.config.sources import BiasedConfig as BiasedConfig
from prusc.config.sources import PseudoAttributeConfig as PseudoAttributeConfig
from prusc.config.sources import TwinsConfig as TwinsConfig
from prusc.config.stages import AuditConfig as AuditConfig
from prusc.config.stages import ClusteringConfig as ClusteringConfig
from prusc.config.stages import DebiasingSetConfig as DebiasingSetConfig
from prusc.config.stages import ERMConfig as ERMConfig
from prusc.config.stages import FinetuneConfig as FinetuneConfig
from prusc.config.stages import MaskConfig as MaskConfig
from prusc.config.stages import SelectionConfig as SelectionConfig
