from .loop import TrainingProgress as TrainingProgress
from .loop import fit as fit
from .run import Run as Run
from .run import RunState as RunState
from .saving.checkpoint import CheckpointError as CheckpointError
from .speed.memory import MemoryReport as MemoryReport
from .start import load as load
