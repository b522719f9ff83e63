"""Functional modularity: which weights does a sub-function of a network use?

Masks that keep only what a function needs are learned over the frozen network, and compared: Csordas et al. 2021,
arXiv:2010.02066.
"""

from prusc.stages.modularity.accuracy import NO_MASK as NO_MASK
from prusc.stages.modularity.accuracy import AccuracyTable as AccuracyTable
from prusc.stages.modularity.accuracy import HalfMaskResult as HalfMaskResult
from prusc.stages.modularity.accuracy import MaskedAccuracy as MaskedAccuracy
from prusc.stages.modularity.accuracy import cross_accuracy as cross_accuracy
from prusc.stages.modularity.accuracy import half_mask_test as half_mask_test
from prusc.stages.modularity.accuracy import inverse_accuracy as inverse_accuracy
from prusc.stages.modularity.class_removal import CONTROL as CONTROL
from prusc.stages.modularity.class_removal import ClassRemoval as ClassRemoval
from prusc.stages.modularity.class_removal import RemovedClass as RemovedClass
from prusc.stages.modularity.class_removal import make_removal_functions as make_removal_functions
from prusc.stages.modularity.class_removal import measure_class_removal as measure_class_removal
from prusc.stages.modularity.comparison import ALL_LAYERS as ALL_LAYERS
from prusc.stages.modularity.comparison import MaskComparison as MaskComparison
from prusc.stages.modularity.comparison import Overlap as Overlap
from prusc.stages.modularity.comparison import SharedWeights as SharedWeights
from prusc.stages.modularity.comparison import compare_masks as compare_masks
from prusc.stages.modularity.comparison import stability as stability
from prusc.stages.modularity.functions import IGNORED as IGNORED
from prusc.stages.modularity.functions import Examples as Examples
from prusc.stages.modularity.functions import Part as Part
from prusc.stages.modularity.learning import FunctionHistoryEntry as FunctionHistoryEntry
from prusc.stages.modularity.learning import FunctionMasks as FunctionMasks
from prusc.stages.modularity.learning import learn_function_masks as learn_function_masks
