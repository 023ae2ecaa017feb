"""Shared by all commands: options and their parsing, output on the screen, output as table files."""
