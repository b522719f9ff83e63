"""The other remedies, each in a file of its own, and PruSC among them: one interface, equal terms."""

from prusc.methods.apply import MethodResult as MethodResult
from prusc.methods.apply import check_groups as check_groups
from prusc.methods.apply import family_of as family_of
from prusc.methods.apply import run_method as run_method
from prusc.methods.apply import settings_to_try as settings_to_try
from prusc.methods.method import Method as Method
from prusc.methods.method import MethodInputs as MethodInputs
from prusc.methods.method import Trained as Trained
from prusc.methods.registry import METHODS as METHODS
from prusc.methods.registry import find_method as find_method
