"""doctor-bench: small programs with known faults, and healthy ones; what the doctor says of each."""
