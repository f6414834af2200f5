from .shipped import is_shipped as is_shipped
from .shipped import refuse_to_change as refuse_to_change
from .shipped import shipped_model as shipped_model
