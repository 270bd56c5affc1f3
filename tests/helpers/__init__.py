"""What tests of several files share; each module is imported by its full name."""

from pathlib import Path

#: The source folder.
ROOT = Path(__file__).resolve().parents[2]
