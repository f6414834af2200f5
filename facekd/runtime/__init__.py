"""Crop to embedding, from an exported model. No torch here."""

from facekd.runtime.embedder import Embedder, OnnxEmbedder, load_embedder
from facekd.runtime.session import open_session, threads_available

__all__ = ["Embedder", "OnnxEmbedder", "load_embedder", "open_session", "threads_available"]
