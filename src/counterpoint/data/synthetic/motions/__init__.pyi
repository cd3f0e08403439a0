from .activity import ACTIVITIES as ACTIVITIES
from .activity import DEVICES as DEVICES
from .activity import Motion as Motion
from .activity import Stretch as Stretch
from .config import MotionConfig as MotionConfig
from .presets import PRESETS as PRESETS
from .world import Motions as Motions
