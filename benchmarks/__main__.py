"""`python -m benchmarks` says what there is to measure."""

print(
    "python -m benchmarks.spine FOLDER   the command line against HistGradientBoosting, on a suite of tables"
)
