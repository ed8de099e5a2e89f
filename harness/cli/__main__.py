"""``python -m mqproof.harness.cli`` is the command ``mqproof``."""

from mqproof.harness.cli.main import main

main()
