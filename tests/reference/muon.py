"""Muon as published (Algorithm 2), in float64: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/.

eta: learning rate, mu: momentum, theta: a weight matrix (d_out, d_in), G: its gradient, B: momentum.
"""

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def newton_schulz5(G: Matrix, steps: int = 5) -> Matrix:
    """Each singular value x of G / |G| goes through a x + b x^3 + c x^5, again and again."""
    a, b, c = 3.4445, -4.7750, 2.0315
    X = G / (np.linalg.norm(G) + 1e-7)
    for _ in range(steps):
        X = a * X + b * X @ X.T @ X + c * X @ X.T @ X @ X.T @ X
    return X


def muon(theta: Matrix, gradients: list[Matrix], *, eta: float, mu: float, nesterov: bool) -> list[Matrix]:
    """theta after each step."""
    B = np.zeros_like(theta)
    found = []
    for G in gradients:
        B = mu * B + G
        O = newton_schulz5(G + mu * B if nesterov else B)  # noqa: E741
        theta = theta - eta * O * np.sqrt(max(1, theta.shape[0] / theta.shape[1]))
        found.append(theta)
    return found
