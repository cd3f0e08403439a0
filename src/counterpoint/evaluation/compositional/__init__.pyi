from .counting import confusion as confusion
from .mining import BlindPairs as BlindPairs
from .mining import blind_pairs as blind_pairs
from .mining import similarity_quantile as similarity_quantile
from .patterns import PatternProfile as PatternProfile
from .patterns import pattern_profile as pattern_profile
