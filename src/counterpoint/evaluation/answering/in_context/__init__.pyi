from .flaws import AXES as AXES
from .flaws import Axis as Axis
from .flaws import examine as examine
from .flaws import sections as sections
from .shots import NOTHING as NOTHING
from .shots import ZERO_SHOT as ZERO_SHOT
from .shots import InContext as InContext
from .shots import Shots as Shots
