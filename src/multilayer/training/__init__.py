"""Training: losses, schedules, metrics, the loop and its engines."""

from multilayer.training.history import History
from multilayer.training.loop import Progress, train, train_pack
from multilayer.training.losses import LOSSES
from multilayer.training.metrics import METRICS
from multilayer.training.optim import SCHEDULES
from multilayer.training.task import Task

__all__ = ["LOSSES", "METRICS", "SCHEDULES", "History", "Progress", "Task", "train", "train_pack"]
