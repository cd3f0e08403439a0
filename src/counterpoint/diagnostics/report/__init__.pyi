from .sections import diagnose as diagnose
from .subject import DiagnosticSection as DiagnosticSection
from .subject import Subject as Subject
