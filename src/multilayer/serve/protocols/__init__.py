"""What is asked of a server, a file a protocol; each gives a request's answer from the model and its body."""
