from ._base import RESULT_FIGURES as RESULT_FIGURES
from ._base import ComparedResults as ComparedResults
from ._base import drawings as drawings
