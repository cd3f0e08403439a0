from .decoding.study import compare_decoding as compare_decoding
from .design import Design as Design
from .side_by_side import evaluate as evaluate
from .study import Study as Study
from .training.runner import run as run
from .training.runner import train as train
from .training.study import compare as compare
