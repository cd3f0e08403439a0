from .world import Digits as Digits
