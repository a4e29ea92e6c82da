"""The paper's tables and figures, from result files and images of test runs."""
