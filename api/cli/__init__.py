"""The command line. `main` assembles the commands; the other rooms hold one group of commands each."""
