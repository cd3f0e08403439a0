from .sections import diagnose as diagnose
from .subject import DiagnosticCard as DiagnosticCard
from .subject import DiagnosticSection as DiagnosticSection
from .subject import Subject as Subject
