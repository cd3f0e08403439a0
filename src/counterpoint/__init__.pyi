__version__: str

from . import catalog as catalog
from . import data as data
from . import diagnostics as diagnostics
from . import evaluation as evaluation
from . import execution as execution
from . import exporting as exporting
from . import losses as losses
from . import methods as methods
from . import models as models
from . import networks as networks
from . import pairwise as pairwise
from . import recipes as recipes
from . import serving as serving
from . import statistics as statistics
from . import study as study
from . import training as training
from . import types as types
from .execution import work as work
from .exporting import export as export
from .models import load as load
from .serving import embed as embed
from .serving import index as index
from .study import compare as compare
from .study import compare_decoding as compare_decoding
from .study import evaluate as evaluate
from .study import train as train
