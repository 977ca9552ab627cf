import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from multilayer.model.predictor import Predictor
from multilayer.runtime.forward import ROWS_AT_ONCE, Forward
from multilayer.runtime.networks import network_steps
from tests.runtime.test_networks import CONFIGS, PLAIN, rows, state, trained


def link(output):
    """Row by row, and not linear, so that the mean is of what it gives."""
    return np.exp(-np.logaddexp(0.0, -output.astype(np.float64)))


def forward_of(configs, weights=None):
    nets = [trained(config, seed) for seed, config in enumerate(configs)]
    steps = [network_steps(config.to_json(), state(net)) for config, net in zip(configs, nets, strict=True)]
    return Forward(steps, link, weights), Predictor(nets, link, weights, kernels=False)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_mean_is_that_of_the_predictor(name):
    config = CONFIGS[name]
    forward, predictor = forward_of([config] * 3, (1.0, 2.5, 0.0))
    x = rows(config, n=100)
    assert np.abs(forward(x) - predictor(x)).max() < 1e-6


@pytest.mark.parametrize("name", CONFIGS)
def test_a_rows_bits_do_not_depend_on_the_rows_beside_it(name):
    forward, _ = forward_of([CONFIGS[name]] * 2)
    x = rows(CONFIGS[name], n=2 * ROWS_AT_ONCE + 3)
    together = forward(x)
    for n in (1, 2, 3, 5, 8, 63, 64, 65):
        assert forward(x[:n]).tobytes() == together[:n].tobytes()
        assert forward(x[-n:]).tobytes() == together[-n:].tobytes()
    alone = np.concatenate([forward(x[i : i + 1]) for i in range(len(x))])
    assert alone.tobytes() == together.tobytes()


def test_networks_of_several_architectures_keep_their_weights():
    configs = [PLAIN, replace(PLAIN, hidden=()), PLAIN, replace(PLAIN, activation="tanh"), PLAIN]
    forward, predictor = forward_of(configs, (1.0, 20.0, 3.0, 400.0, 5.0))
    x = rows(PLAIN, n=9)
    assert np.abs(forward(x) - predictor(x)).max() < 1e-6


def test_threads_get_the_same_bits():
    forward, _ = forward_of([PLAIN] * 3)
    x = rows(PLAIN, n=150)
    alone = forward(x).tobytes()
    with ThreadPoolExecutor(4) as pool:
        assert {found.tobytes() for found in pool.map(forward, [x] * 20)} == {alone}


OF_A_PROCESSOR = """
import sys
import numpy as np
from multilayer.runtime.forward import _products
rng = np.random.default_rng(0)
for d_in, d_out in [(80, 64), (64, 1), (17, 28), (33, 10), (189, 115), (128, 128), (384, 3), (512, 512)]:
    x = rng.normal(size=(60, d_in)).astype(np.float32)
    w = rng.normal(size=(2, d_in, d_out)).astype(np.float32)
    together = _products(x, w)
    alone = np.concatenate([_products(x[i : i + 1], w) for i in range(60)], axis=1)
    assert together.tobytes() == alone.tobytes(), (d_in, d_out)
"""


@pytest.mark.parametrize("core", ["Haswell", "SkylakeX", "Zen", "Nehalem", "Prescott"])
@pytest.mark.parametrize("threads", ["1", "4"])
def test_matrix_products_keep_a_rows_bits_on_every_processor(core, threads):
    environment = os.environ | {"OPENBLAS_CORETYPE": core, "OPENBLAS_NUM_THREADS": threads}
    done = subprocess.run(
        [sys.executable, "-c", OF_A_PROCESSOR], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
