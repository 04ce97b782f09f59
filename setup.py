"""Which packages are installed; all other metadata is in setup.cfg.

``conf/`` stands at the top of the repository and is installed as ``pos/conf``. setup.cfg can map the folder,
but its ``packages = find:`` cannot list a package that lies outside ``pos/``.
"""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["pos", "pos.*"]), "pos.conf"])
