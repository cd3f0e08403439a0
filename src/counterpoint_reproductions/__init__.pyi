from ._presets import find as find
from ._registry import CLAIMS as CLAIMS
from .lab.lab import Lab as Lab
from .lab.plan import RunPlan as RunPlan
from .lab.plan import plan as plan
from .lab.reproduction import reproduce as reproduce
