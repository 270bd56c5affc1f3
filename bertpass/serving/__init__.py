"""The inference server: a queue by tokens in front of engine processes on cores of their own, and HTTP before it.

``queue`` knows no HTTP, ``worker`` and ``instance`` know no queue; ``app`` puts them together.
"""
