from .arm import DecodingArm as DecodingArm
from .design import DecodingDesign as DecodingDesign
from .study import compare_decoding as compare_decoding
