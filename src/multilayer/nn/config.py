"""What a tabular network is, without its weights, as a model file says it. It loads without PyTorch."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

Link = Literal["identity", "sigmoid", "softmax"]
Fields = TypeVar("Fields", bound="NetworkFields")


@dataclass(frozen=True)
class NetworkFields:
    """The fields of a `NetworkConfig`, which says what each is.

    >>> NetworkFields(n_num=2, cardinalities=(), periodic=(0,), hidden=(8,), d_out=1).hidden
    (8,)
    """

    n_num: int
    cardinalities: tuple[int, ...]
    periodic: tuple[int, ...]
    hidden: tuple[int, ...]
    d_out: int
    activation: str = "relu"
    norm: str | None = None
    dropout: float = 0.0
    rising: tuple[int, ...] = ()
    falling: tuple[int, ...] = ()
    unused: tuple[int, ...] = ()
    architecture: str = "mlp"
    keep: tuple[int, ...] | None = None
    piecewise: tuple[int, ...] = ()
    n_bins: int = 48
    n_frequencies: int = 8
    d_periodic: int = 2
    d_piecewise: int = 16
    link: Link = "identity"

    def to_json(self) -> dict[str, Any]:
        """Plain values for a model file; `from_json` reads them back."""
        return asdict(self)

    @classmethod
    def from_json(cls: type[Fields], values: dict[str, Any]) -> Fields:
        """The inverse of `to_json`; files that do not say it have 16 frequencies, 4 outputs."""
        values = {"n_frequencies": 16, "d_periodic": 4, **values}
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list | tuple)}
        return cls(**{**values, **lists})
