"""What a fit is worth, and why, on one page: see `multilayer.report.report`."""
