from ._base import RESULT_SECTIONS as RESULT_SECTIONS
from ._base import ResultsPage as ResultsPage
