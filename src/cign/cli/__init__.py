"""The command line: parser, terminal output, one module per command."""
