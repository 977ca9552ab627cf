"""The algorithm of `sklearn.neural_network`, for the estimators."""
