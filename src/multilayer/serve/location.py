"""Where the model is, and where to listen, as platforms tell it in variables."""

from collections.abc import Mapping
from pathlib import Path

from multilayer.errors import ConfigError

MODEL_VARIABLE = "MULTILAYER_MODEL"
SAGEMAKER_FOLDER = "/opt/ml/model"
VERTEX_PORT, VERTEX_PREDICT, VERTEX_HEALTH = "AIP_HTTP_PORT", "AIP_PREDICT_ROUTE", "AIP_HEALTH_ROUTE"
PORT = 8080  # of SageMaker, Vertex AI and most examples


def model_path(given: str | None, variables: Mapping[str, str], folder: str = SAGEMAKER_FOLDER) -> Path:
    """The model's file: as given, else as $MULTILAYER_MODEL says, else in /opt/ml/model.

    Raises:
        ConfigError: there is none, or a folder holds several.
    """
    name = given or variables.get(MODEL_VARIABLE)
    if name is None and not Path(folder).is_dir():
        raise ConfigError(
            f"`multilayer serve` needs a model file; none is named, ${MODEL_VARIABLE} is not set, and there "
            f"is no folder {folder}. Name the file: multilayer serve model.mlp"
        )
    path = Path(name or folder)
    if not path.is_dir():
        return path
    found = sorted(path.glob("*.mlp"))
    if len(found) != 1:
        names = ", ".join(each.name for each in found[:6]) or "none"
        raise ConfigError(
            f"A folder to serve from must hold one .mlp file; {path} holds {len(found)} ({names}). "
            "Name the file itself."
        )
    return found[0]


def address(host: str | None, port: int | None, variables: Mapping[str, str]) -> tuple[str, int]:
    """Host and port: as given, else as Vertex AI says, else 127.0.0.1 and 8080.

    Raises:
        ConfigError: the variable of the port holds none.
    """
    of_vertex = variables.get(VERTEX_PORT)
    if port is None and of_vertex is not None:
        if not of_vertex.isdecimal() or not 0 < int(of_vertex) < 1 << 16:
            raise ConfigError(f"${VERTEX_PORT} must be a port from 1 to 65535; it is {of_vertex!r}. Mend it.")
        port = int(of_vertex)
    return host or "127.0.0.1", PORT if port is None else port


def more_routes(variables: Mapping[str, str]) -> dict[str, str]:
    """Paths that Vertex AI wants -> the path here that is meant."""
    wanted = {VERTEX_PREDICT: "/invocations", VERTEX_HEALTH: "/ready"}
    return {variables[name]: ours for name, ours in wanted.items() if variables.get(name, "").startswith("/")}
