from .embedder import Embedder as Embedder
from .embedder import embedder_under as embedder_under
from .embedder import load_embedder as load_embedder
from .embedder import unit_rows as unit_rows
from .fusion import fuse as fuse
from .names import unique_names as unique_names
from .session import open_session as open_session
from .session import threads_available as threads_available
