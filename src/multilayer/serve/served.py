"""The model that is served, with all that is made of it once; and how another one takes its place."""

import hashlib
import os
import threading
from functools import cached_property
from pathlib import Path
from typing import Any

from multilayer.errors import ModelFileError
from multilayer.model.file import read_bytes
from multilayer.runtime.model import RuntimeModel
from multilayer.serve.bodies import BodyReader
from multilayer.serve.limits import Limits
from multilayer.serve.row_schema import RowSchema
from multilayer.serve.rows import RowPredictor


class Served:
    """A model, and what reads and predicts its rows. It never changes, so that threads may share it.

    Before it is used, the rows that stand in its file must be predicted as where it was saved.

    path:    of its file
    name:    of the model, as protocols call it: that of the file
    version: the beginning of the file's SHA-256
    """

    def __init__(self, path: Path, limits: Limits, *, refuse_extra: bool = False) -> None:
        data = read_bytes(path)
        self.path, self.limits, self.refuse_extra = path, limits, refuse_extra
        self.name = path.name.removesuffix(".mlp")
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.version = self.sha256[:12]
        self.model = RuntimeModel.from_bytes(data)
        if self.model.verification is not None:  # files of before have no rows to be verified by
            self.model.verify()
        self.schema = RowSchema(self.model, refuse_extra=refuse_extra)
        self.reader = BodyReader(self.schema, limits)
        self.rows = RowPredictor(self.model, refuse_extra=refuse_extra)
        self.outputs = self.rows.outputs

    @cached_property
    def labels(self) -> dict[str, str]:
        """What names the model in metrics."""
        return {"name": self.name, "sha256": self.sha256}


class Watched:
    """A model's file: it is read anew where it changed, and the old model stays until the new one will do."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.failure: str | None = None
        self._seen = _stamp(served.path)
        self._lock = threading.Lock()

    def has_changed(self) -> bool:
        """Whether the file is another one than the one that was looked at last."""
        stamp = _stamp(self.served.path)
        return stamp is not None and stamp != self._seen

    def reload(self) -> bool | None:
        """Read the file beside the model, and take what it holds; None where that is the same model.

        Where it will not do, `failure` says why, and the model stays.
        """
        with self._lock:
            old, stamp = self.served, _stamp(self.served.path)
            self._seen = stamp
            try:
                new = Served(old.path, old.limits, refuse_extra=old.refuse_extra)
                _check_takes_place(old, new)
            except ModelFileError as error:
                self.failure = str(error)
                return False
            self.failure = None
            if new.sha256 == old.sha256:
                return None
            self.served = new
            return True


def _stamp(path: Path) -> Any:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _check_takes_place(old: Served, new: Served) -> None:
    """Refuse a model that takes or gives other columns: whoever sends requests must know of these first."""
    if old.schema.names != new.schema.names:
        raise ModelFileError(
            f"the model in {new.path} must have the columns of the one that is served, in their order; it "
            "has others. Start the server anew to serve it."
        )
    if list(old.outputs) != list(new.outputs):
        raise ModelFileError(
            f"the model in {new.path} must predict what the one that is served predicts; it predicts "
            f"{', '.join(new.outputs)}. Start the server anew to serve it."
        )
