"""`python -m ecgcam`: the command line, of this very Python."""

from ecgcam.cli import main

main()
