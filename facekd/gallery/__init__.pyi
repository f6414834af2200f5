from .fused_templates import FusedTemplates as FusedTemplates
from .names import NAME_LIMIT as NAME_LIMIT
from .names import clean_name as clean_name
from .names import shown as shown
from .records import Contract as Contract
from .records import GalleryRecords as GalleryRecords
from .records import Person as Person
from .template import Template as Template
