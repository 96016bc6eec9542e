"""`python -m leanformer_cli`, which torchrun starts."""

from leanformer_cli import main

if __name__ == "__main__":
    main()
