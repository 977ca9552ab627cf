"""Models as one page that predicts in a browser, offline."""
