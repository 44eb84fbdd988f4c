"""`python -m vtok`, the same as the command `vtok`."""

from vtok.cli import main

if __name__ == "__main__":
    main()
