"""Losses stand where each tool looks for them, and a run is the same with a logger as without."""

import csv
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import multilayer as ml
from multilayer import CSVLogger, MissingExtraError, MLflowLogger, OutputError, TensorBoardLogger

X = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))


def run(callback: Any, epochs: int = 3, **more: Any) -> ml.History:
    torch.manual_seed(0)
    net = ml.mlp(3, [4], 1)
    return ml.train(net, X, X[:, :1], loss="mse", epochs=epochs, validation=0.25, callbacks=callback, **more)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv_has_a_line_an_epoch(tmp_path: Path) -> None:
    history = run(CSVLogger(tmp_path / "run.csv"))
    rows = rows_of(tmp_path / "run.csv")

    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [float(row["train_loss"]) for row in rows] == pytest.approx(history.train_loss)
    assert [float(row["val_loss"]) for row in rows] == pytest.approx(history.val_loss)
    assert [float(row["lr"]) for row in rows] == pytest.approx(history.lr)


def test_csv_starts_anew_or_goes_on(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path / "run.csv")
    run(logger)
    run(logger, epochs=2)
    assert len(rows_of(tmp_path / "run.csv")) == 2

    run(CSVLogger(tmp_path / "run.csv", append=True))
    assert [row["epoch"] for row in rows_of(tmp_path / "run.csv")] == ["1", "2", "1", "2", "3"]


def test_csv_of_a_fit_and_of_a_pack(tmp_path: Path) -> None:
    table = {"x": list(range(80)), "y": [2.5 * i for i in range(80)]}
    logged = ml.fit(table, target="y", members=2, epochs=2, callbacks=[CSVLogger(tmp_path / "fit.csv")])
    plain = ml.fit(table, target="y", members=2, epochs=2)
    assert len(rows_of(tmp_path / "fit.csv")) == 2
    assert (logged.predict(table) == plain.predict(table)).all()

    nets = [ml.mlp(3, [4], 1) for _ in range(2)]
    ml.train_pack(nets, X, X[:, :1], loss="mse", epochs=2, callbacks=[CSVLogger(tmp_path / "pack.csv")])
    row = rows_of(tmp_path / "pack.csv")[0]
    assert row["val_loss"] == "" and float(row["train_loss"]) > 0


def test_csv_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="must be a file that can be written"):
        run(CSVLogger(tmp_path / "nowhere" / "run.csv"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_the_scalars(tmp_path: Path) -> None:
    with TensorBoardLogger(tmp_path) as logger:
        history = run(logger)

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(tmp_path))
    read.Reload()
    assert set(read.Tags()["scalars"]) == {"loss/train", "loss/validation", "lr"}
    found = read.Scalars("loss/validation")
    assert [event.step for event in found] == [1, 2, 3]
    assert [event.value for event in found] == pytest.approx(history.val_loss, rel=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_mlflow_has_a_run_of_its_own_or_the_active_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/runs.db")
    uri = (tmp_path / "runs").as_uri()
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    with MLflowLogger("flats", run_name="first", tracking_uri=uri) as logger:
        history = run(logger)

    client = mlflow.MlflowClient(tracking_uri=uri)
    done = client.get_run(logger.run_id)
    assert done.info.status == "FINISHED" and done.info.run_name == "first"
    values = [metric.value for metric in client.get_metric_history(logger.run_id, "val_loss")]
    assert values == pytest.approx(history.val_loss)
    assert client.get_experiment(done.info.experiment_id).name == "flats"

    again = MLflowLogger(run_id=logger.run_id, tracking_uri=uri)
    assert again.run_id == logger.run_id


@pytest.mark.parametrize(
    ("logger", "package", "name"),
    [(TensorBoardLogger, "tensorboard", "tensorboard"), (MLflowLogger, "mlflow", "mlflow")],
)
def test_a_missing_extra_is_named(
    logger: Any, package: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(MissingExtraError, match=rf"pip install 'multilayer\[{name}\]'"):
        logger()
