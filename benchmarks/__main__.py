"""`python -m benchmarks` says what there is to measure."""

print(
    "python -m benchmarks.quality FOLDER scores, times and memory against everyone, on many tables\n"
    "python -m benchmarks.quality_report FILE   what it measured, as a page and plots\n"
    "python -m benchmarks.more_tables FOLDER   writes some forty more tables for it\n"
    "python -m benchmarks.spine FOLDER   the command line against HistGradientBoosting, on many tables\n"
    "python -m benchmarks.step           a training step against PyTorch, others, its matrix products\n"
    "python -m benchmarks.call           a whole call of train, of 400 small steps, against PyTorch\n"
    "python -m benchmarks.matmul         our matrix products against those of the libraries\n"
    "python -m benchmarks.pack           sixteen networks at once against one after the other\n"
    "python -m benchmarks.predict        one row, and 100,000 rows, against PyTorch\n"
    "python -m benchmarks.bits           whether all results stay the same to the bit\n"
    "python -m benchmarks.published FOLDER   networks of the literature against their papers' figures\n"
    "python -m benchmarks.export FOLDER   exported models beside the library: differences, sizes, times\n"
    "python -m benchmarks.coverage FOLDER   how often intervals and sets hold the truth, on many tables\n"
    "python -m benchmarks.explain FOLDER   errors of Shapley values, and time of explanations\n"
    "python -m benchmarks.scale          time and peak memory up to 10,000,000 rows"
)
