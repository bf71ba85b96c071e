"""The migrations, each named v<revision>_<what it does>.py."""
