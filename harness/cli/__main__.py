"""``python -m mqproof.harness.cli`` is the command ``mqproof``."""

from mqproof.harness.cli.start import main

main()
