"""`python -m node`: the same as `enlace`."""

from node.main import main

main()
