"""A trained model: its file, its checks and its predictions."""

from multilayer.model.file import digest as _digest  # scripts that sign an edited file look for it here  # noqa: F401

__all__: list[str] = []
