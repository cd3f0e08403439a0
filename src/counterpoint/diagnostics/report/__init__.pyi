from .sections import diagnose as diagnose
from .subject import Section as Section
from .subject import Subject as Subject
