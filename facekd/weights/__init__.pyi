from .shipped import shipped_model as shipped_model
