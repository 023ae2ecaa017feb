"""What all commands share: options, tables and JSON on stdout, progress on stderr, tables as files."""
