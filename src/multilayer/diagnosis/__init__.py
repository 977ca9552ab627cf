"""The training doctor: what is wrong with a network, loss, optimiser or table, and how to mend it."""
