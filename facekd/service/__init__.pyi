from .server import run_service as run_service
from .settings import ServiceSettings as ServiceSettings
from .settings import is_loopback as is_loopback
from .tokens import Token as Token
from .tokens import read_tokens as read_tokens
