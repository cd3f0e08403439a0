from .loop import Progress as Progress
from .loop import fit as fit
from .memory import MemoryReport as MemoryReport
from .run import Run as Run
from .run import RunState as RunState
from .run import load as load
from .saving.checkpoint import CheckpointError as CheckpointError
