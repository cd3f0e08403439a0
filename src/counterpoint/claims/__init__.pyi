from ._registry import CLAIMS as CLAIMS
from .lab.lab import Lab as Lab
from .lab.lab import reproduce as reproduce
