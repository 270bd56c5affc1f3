"""The classes that people know from sentence-transformers and PyLate, for inference: the same calls, types and shapes.

They stand on :class:`~bertpass.engines.model.Model`. PyTorch is imported only where a tensor is asked for.
"""

from bertpass.engines.encoders.cross import CrossEncoder
from bertpass.engines.encoders.multi_vector import MultiVectorEncoder
from bertpass.engines.encoders.sentence import SentenceEncoder
from bertpass.engines.encoders.sparse import SparseEncoder

__all__ = ["CrossEncoder", "MultiVectorEncoder", "SentenceEncoder", "SparseEncoder"]
