"""The paper's tables and figures, made of files of results and of the images of test runs."""
