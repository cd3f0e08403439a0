from .decoding.study import compare_decoding as compare_decoding
from .design import Design as Design
from .runner import run as run
from .runner import train as train
from .side_by_side import evaluate as evaluate
from .study import Study as Study
from .training_study import compare as compare
